"""RecordFeedback, ResolveInvitation and the complaint breaker as a client sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from afterword.v1 import channel_service_pb2 as channels
from afterword.v1 import event_pb2, event_service_pb2, rule_service_pb2, types_pb2
from afterword.v1 import invitation_service_pb2 as pb2
from control.daemon import Daemon
from core.bounds import EVENT_BATCH_MAX
from core.clock import ManualClock
from core.model import Medium
from core.sending import Delivery, Letter
from senders.postbox import Postbox
from tests.control.kit import (
    NOW_MS,
    PARENT,
    Outbox,
    Shop,
    channel_pb,
    event_pb,
    open_shop,
    refused,
    settings_for,
    unique,
    with_unknown_field,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
Kind = pb2.Feedback.Kind
EMAIL = types_pb2.MEDIUM_EMAIL
AT_ONCE = rule_service_pb2.Step(
    id="ask",
    wait=rule_service_pb2.Wait(days=0),
    actions=[rule_service_pb2.Action(medium=EMAIL)],
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """A daemon of its own: complaints count for whole channels."""
    folder: Path = tmp_path_factory.mktemp("feedback")
    async with open_shop(folder) as shop:
        yield shop


async def open_channel(shop: Shop, **fields: Any) -> str:
    """Open a channel that asks for reviews at once."""
    channel = await shop.create_channel(**fields)
    await shop.create_rule(channel, steps=[AT_ONCE])
    return channel


async def send(shop: Shop, channel: str, email: str = "", **fields: Any) -> str:
    """Let somebody buy, and the request go out; return its name."""
    who = email or f"{unique('who')}@example.com"
    event = event_pb(channel, contact=event_pb2.Contact(email=who), **fields)
    answer = await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    await shop.daemon.engine.advance_to(shop.clock.now_ms())
    return str(answer.result.invitations[0])


async def get(shop: Shop, name: str) -> pb2.Invitation:
    return await shop.invitations.GetInvitation(pb2.GetInvitationRequest(name=name))


async def tell(shop: Shop, *told: pb2.Feedback, **fields: Any) -> list[pb2.FeedbackResult]:
    request = pb2.RecordFeedbackRequest(parent=PARENT, feedback=told, **fields)
    return list((await shop.invitations.RecordFeedback(request)).results)


async def tell_one(shop: Shop, name: str, kind: Kind.ValueType) -> pb2.FeedbackResult:
    (result,) = await tell(shop, pb2.Feedback(invitation=name, kind=kind))
    assert result.status.code == 0, result.status.message
    return result


# --- feedback ---------------------------------------------------------------------------------------


async def test_a_bounce_is_told_by_delivery_id(shop: Shop) -> None:
    """g10, R18: what a provider knows of a message is the delivery id."""
    channel = await open_channel(shop)
    email = f"{unique('who')}@example.com"
    name = await send(shop, channel, email)
    told = pb2.Feedback(
        delivery_id=(await get(shop, name)).delivery_id, kind=Kind.KIND_HARD_BOUNCED
    )
    told.occur_time.seconds = NOW_MS // 1_000 - 60
    (result,) = await tell(shop, told)
    assert result.status.code == 0
    assert (result.index, result.invitation, result.duplicate) == (0, name, False)
    assert result.state == pb2.Invitation.STATE_NOT_DELIVERED
    read = await get(shop, name)
    assert read.reason == pb2.Invitation.REASON_INVALID_RECIPIENT
    assert read.bounce_time == told.occur_time
    assert not read.HasField("deliver_time")
    later = await get(shop, await send(shop, channel, email))
    assert (later.state, later.reason) == (
        pb2.Invitation.STATE_SKIPPED,
        pb2.Invitation.REASON_SUPPRESSED,
    )
    (again,) = await tell(shop, told)
    assert again.duplicate


async def test_everything_is_told_with_its_time(shop: Shop) -> None:
    """R8: times, not states; lists leave them out."""
    name = await send(shop, await open_channel(shop))
    for kind in (Kind.KIND_DELIVERED, Kind.KIND_OPENED, Kind.KIND_CLICKED, Kind.KIND_REVIEWED):
        await tell_one(shop, name, kind)
    read = await get(shop, name)
    assert read.state == pb2.Invitation.STATE_DELIVERED
    for field in ("deliver_time", "open_time", "click_time", "review_time"):
        assert getattr(read, field).seconds == shop.clock.now_ms() // 1_000
    for field in ("bounce_time", "complaint_time", "unsubscribe_time"):
        assert not read.HasField(field)


async def test_each_is_answered_for_itself(shop: Shop) -> None:
    """A bad one does not harm the others, and says what would be right."""
    channel = await open_channel(shop)
    name = await send(shop, channel)
    good = pb2.Feedback(invitation=name, kind=Kind.KIND_OPENED)
    told = [
        pb2.Feedback(kind=Kind.KIND_OPENED),
        pb2.Feedback(invitation=name),
        pb2.Feedback(invitation=name, kind=99),  # type: ignore[arg-type]
        pb2.Feedback(delivery_id="not ours", kind=Kind.KIND_OPENED),
        pb2.Feedback(delivery_id="0" * 32, kind=Kind.KIND_OPENED),
        pb2.Feedback(invitation="accounts/other/invitations/1", kind=Kind.KIND_OPENED),
        with_unknown_field(good),
        good,
    ]
    results = await tell(shop, *told)
    assert [result.index for result in results] == list(range(len(told)))
    codes = [result.status.code for result in results]
    bad, absent = grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.NOT_FOUND.value[0]
    assert codes == [bad, bad, bad, absent, absent, absent, bad, 0]
    assert "feedback[0].invitation" in results[0].status.message
    assert "KIND_HARD_BOUNCED" in results[1].status.message


async def test_what_was_not_sent_is_not_heard_of(shop: Shop) -> None:
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    name = await send(shop, channel)
    (result,) = await tell(shop, pb2.Feedback(invitation=name, kind=Kind.KIND_COMPLAINED))
    assert result.status.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert "never sent" in result.status.message


async def test_a_batch_has_its_bounds(shop: Shop) -> None:
    for told, field in (([], "feedback"), ([pb2.Feedback()] * (EVENT_BATCH_MAX + 1), "feedback")):
        with refused() as refusal:
            await tell(shop, *told)
        assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    results = await tell(shop, *[pb2.Feedback()] * EVENT_BATCH_MAX)
    assert len(results) == EVENT_BATCH_MAX


async def test_validate_only_changes_nothing(shop: Shop) -> None:
    name = await send(shop, await open_channel(shop))
    told = pb2.Feedback(invitation=name, kind=Kind.KIND_HARD_BOUNCED)
    (result,) = await tell(shop, told, validate_only=True)
    assert (result.status.code, result.state) == (0, pb2.Invitation.STATE_SENT)
    assert (await get(shop, name)).state == pb2.Invitation.STATE_SENT


# --- unknown outcomes -------------------------------------------------------------------------------


async def test_an_operator_resolves_what_is_unknown(shop: Shop) -> None:
    """R48."""
    channel = await open_channel(shop)
    name = await send(shop, channel)
    request = pb2.ResolveInvitationRequest(
        name=name, outcome=pb2.ResolveInvitationRequest.OUTCOME_NOT_DELIVERED
    )
    with refused() as refusal:
        await shop.invitations.ResolveInvitation(request)
    assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
    request.outcome = pb2.ResolveInvitationRequest.OUTCOME_SENT
    assert (await shop.invitations.ResolveInvitation(request)).state == pb2.Invitation.STATE_SENT
    with refused() as refusal:
        await shop.invitations.ResolveInvitation(pb2.ResolveInvitationRequest(name=name))
    assert refusal.field == "outcome"


class Holding(Outbox):
    """A transport that never hears whether a message was taken."""

    holds_unknown = True

    async def send(self, letters: list[tuple[Letter, bytes]]) -> list[Delivery]:
        return [Delivery(Delivery.Kind.UNKNOWN, was_handed_over=True) for _ in letters]


async def test_an_unknown_outcome_becomes_what_the_operator_says(tmp_path: Path) -> None:
    """R48."""
    clock, outbox = ManualClock(NOW_MS), Holding()
    postbox = Postbox({Medium.EMAIL: outbox})
    daemon = Daemon(settings_for(tmp_path), clock=clock, postbox=postbox)
    await daemon.start()
    try:
        async with grpc.aio.insecure_channel(daemon.grpc_address) as channel:
            shop = Shop(channel, daemon, clock, outbox)
            name = await send(shop, await open_channel(shop))
            assert (await get(shop, name)).state == pb2.Invitation.STATE_UNKNOWN
            request = pb2.ResolveInvitationRequest(
                name=name, outcome=pb2.ResolveInvitationRequest.OUTCOME_SENT, validate_only=True
            )
            checked = await shop.invitations.ResolveInvitation(request)
            assert checked.state == pb2.Invitation.STATE_UNKNOWN
            request.validate_only = False
            resolved = await shop.invitations.ResolveInvitation(request)
            assert resolved.state == pb2.Invitation.STATE_SENT
    finally:
        await daemon.stop()


# --- the complaint breaker --------------------------------------------------------------------------


def settings(**fields: Any) -> channels.ComplaintBreaker:
    return channels.ComplaintBreaker(**{"threshold": 0.5, "min_complaints": 2, **fields})


async def channel_of(shop: Shop, name: str) -> channels.Channel:
    return await shop.channels.GetChannel(channels.GetChannelRequest(name=name))


async def test_too_many_complaints_hold_a_channel_back_until_it_is_reset(shop: Shop) -> None:
    """g6: seen in the channel and in the metrics; the reset lets go what waited."""
    channel = await open_channel(shop, complaint_breaker=settings())
    other = await open_channel(shop, complaint_breaker=settings())
    sent = [await send(shop, channel) for _ in range(4)]
    await tell_one(shop, sent[0], Kind.KIND_COMPLAINED)
    assert not (await channel_of(shop, channel)).tripped_breakers
    await tell_one(shop, sent[1], Kind.KIND_COMPLAINED)
    (tripped,) = (await channel_of(shop, channel)).tripped_breakers
    assert (tripped.medium, tripped.sent_count, tripped.complaint_count) == (EMAIL, 4, 2)
    assert tripped.rate == 0.5
    assert "ResetComplaintBreaker" in tripped.message
    held = await get(shop, await send(shop, channel))
    assert held.state == pb2.Invitation.STATE_SCHEDULED
    assert held.wait_reason == pb2.Invitation.WAIT_REASON_COMPLAINTS
    assert (await get(shop, await send(shop, other))).state == pb2.Invitation.STATE_SENT
    id = channel.rpartition("/")[2]
    line = f'afterword_complaint_breaker_open{{account="default",channel="{id}",medium="email"}}'
    metrics = await scraped(shop)
    assert f"{line} 1.0" in metrics
    assert "afterword_complaint_breaker_trips_total 1.0" in metrics
    assert 'afterword_feedback_total{kind="complained"} 2.0' in metrics
    reset = channels.ResetComplaintBreakerRequest(name=channel, medium=EMAIL, validate_only=True)
    assert (await shop.channels.ResetComplaintBreaker(reset)).tripped_breakers
    reset.validate_only = False
    assert not (await shop.channels.ResetComplaintBreaker(reset)).tripped_breakers
    await shop.daemon.engine.advance_to(shop.clock.now_ms())
    assert (await get(shop, held.name)).state == pb2.Invitation.STATE_SENT
    assert f"{line} 0.0" in await scraped(shop)


async def scraped(shop: Shop) -> str:
    host, _, port = shop.daemon.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": 0.00001}, "threshold"),
        ({"threshold": -1.0}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"min_complaints": -1}, "min_complaints"),
        ({"window_days": 31}, "window_days"),
    ],
)
async def test_settings_out_of_bounds_are_refused(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    with refused() as refusal:
        await shop.create_channel(complaint_breaker=channels.ComplaintBreaker(**fields))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.field == f"channel.complaint_breaker.{field}"


async def test_what_is_not_set_has_its_default(shop: Shop) -> None:
    """g6: 0.3 %, from five on, in seven days; output-only fields are ignored."""
    channel = await shop.create_channel(complaint_breaker=channels.ComplaintBreaker(window_days=3))
    read = (await channel_of(shop, channel)).complaint_breaker
    assert (read.threshold, read.min_complaints, read.window_days) == (0.003, 5, 3)
    assert not read.disabled
    changed = channel_pb(name=channel, complaint_breaker=channels.ComplaintBreaker())
    changed.tripped_breakers.add(medium=EMAIL)
    written = await shop.channels.UpdateChannel(channels.UpdateChannelRequest(channel=changed))
    assert not written.HasField("complaint_breaker")
    assert not written.tripped_breakers


async def test_a_reset_of_what_is_not_there_is_refused(shop: Shop) -> None:
    with refused() as refusal:
        await shop.channels.ResetComplaintBreaker(
            channels.ResetComplaintBreakerRequest(name=f"{PARENT}/channels/nowhere")
        )
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    channel = await shop.create_channel()
    again = channels.ResetComplaintBreakerRequest(name=channel)
    assert (await shop.channels.ResetComplaintBreaker(again)).name == channel
