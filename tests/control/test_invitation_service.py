"""InvitationService as a client sees it: read, list, cancel, explain."""

from __future__ import annotations

import uuid

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from afterword.v1 import consent_service_pb2, event_pb2, event_service_pb2, types_pb2
from afterword.v1 import invitation_service_pb2 as pb2
from core.bounds import DAY_MS
from tests.control.kit import NOW_MS, PARENT, Shop, event_pb, open_shop, refused, step_pb

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def planned(shop: Shop, channel: str, event: event_pb2.Event | None = None) -> str:
    """Publish an event that leads to one invitation; return its name."""
    answer = await shop.events.Publish(
        event_service_pb2.PublishRequest(event=event or event_pb(channel))
    )
    return str(answer.result.invitations[0])


async def get(shop: Shop, name: str) -> pb2.Invitation:
    return await shop.invitations.GetInvitation(pb2.GetInvitationRequest(name=name))


def explain(**subject: object) -> pb2.ExplainRequest:
    return pb2.ExplainRequest(parent=PARENT, **subject)  # type: ignore[arg-type]


async def test_an_invitation_tells_where_it_comes_from(shop: Shop) -> None:
    """A7."""
    channel = await shop.create_channel()
    rule = await shop.create_rule(channel)
    event = event_pb(channel)
    found = await get(shop, await planned(shop, channel, event))
    assert (found.channel, found.rule, found.step) == (channel, rule, "first")
    assert (found.order_reference, found.event_id) == (event.order.reference, event.id)
    assert found.state == pb2.Invitation.STATE_SCHEDULED
    assert found.medium == types_pb2.MEDIUM_EMAIL
    assert found.purpose == types_pb2.PURPOSE_REVIEW
    assert found.due_time.ToMilliseconds() == NOW_MS // 1_000 * 1_000 + 7 * DAY_MS
    assert found.first_due_time == found.due_time
    assert found.expire_time.ToMilliseconds() == found.due_time.ToMilliseconds() + 30 * DAY_MS
    assert found.time_zone == "Europe/Madrid"
    assert found.rule_revision == 1
    assert found.delivery_id
    assert not found.HasField("settle_time")
    assert not found.parent_invitation


async def test_cancelling_is_truthful_and_idempotent(shop: Shop) -> None:
    """pitfall:untruthful-cancel."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    name = await planned(shop, channel)
    request = pb2.CancelInvitationRequest(name=name, validate_only=True)
    kept = await shop.invitations.CancelInvitation(request)
    assert kept.state == pb2.Invitation.STATE_SCHEDULED
    assert (await get(shop, name)).state == pb2.Invitation.STATE_SCHEDULED
    request = pb2.CancelInvitationRequest(name=name, request_id=str(uuid.uuid4()))
    for _ in range(2):
        cancelled = await shop.invitations.CancelInvitation(request)
        assert cancelled.state == pb2.Invitation.STATE_CANCELLED
        assert cancelled.reason == pb2.Invitation.REASON_BY_CLIENT
        assert cancelled.HasField("settle_time")


async def test_what_was_sent_cannot_be_cancelled(tmp_path: pytest.TempPathFactory) -> None:
    """pitfall:untruthful-cancel."""
    async with open_shop(tmp_path) as shop:  # type: ignore[arg-type]
        channel = await shop.create_channel()
        await shop.create_rule(channel, steps=[step_pb(), step_pb("again", days=2)])
        event = event_pb(channel)
        name = await planned(shop, channel, event)
        await shop.daemon.engine.advance_to(NOW_MS + 8 * DAY_MS)
        sent = await get(shop, name)
        assert sent.state == pb2.Invitation.STATE_SENT
        assert sent.settle_time.ToMilliseconds() == sent.due_time.ToMilliseconds()
        assert [letter.address for letter in shop.outbox.letters] == [event.contact.email]
        assert shop.outbox.letters[0].delivery_id == sent.delivery_id
        for validate_only in (True, False):
            with refused() as refusal:
                await shop.invitations.CancelInvitation(
                    pb2.CancelInvitationRequest(name=name, validate_only=validate_only)
                )
            assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
            assert "SENT" in refusal.problem.message
        listed = await shop.invitations.ListInvitations(
            pb2.ListInvitationsRequest(
                parent=PARENT, contact=consent_service_pb2.ContactSelector(contact=event.contact)
            )
        )
        assert [one.step for one in listed.invitations] == ["first", "again"]
        assert listed.invitations[1].parent_invitation == name


async def test_names_that_are_no_invitations(shop: Shop) -> None:
    for name, code in (
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("invitations/1", grpc.StatusCode.INVALID_ARGUMENT),
        (f"{PARENT}/invitations/xyz", grpc.StatusCode.NOT_FOUND),
        (f"{PARENT}/invitations/{'0' * 32}", grpc.StatusCode.NOT_FOUND),
        (f"accounts/other/invitations/{'0' * 32}", grpc.StatusCode.NOT_FOUND),
    ):
        with refused() as refusal:
            await get(shop, name)
        assert refusal.code is code
        with refused() as refusal:
            await shop.invitations.CancelInvitation(pb2.CancelInvitationRequest(name=name))
        assert refusal.code is code


async def test_invitations_are_listed_by_contact_by_page(shop: Shop) -> None:
    """R4: one contact, however its address is written."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    contact = event_pb2.Contact(email="Many.Orders@Example.com ")
    names = [await planned(shop, channel, event_pb(channel, contact=contact)) for _ in range(5)]
    # Normalised like the events' own.
    contact = event_pb2.Contact(email="many.orders@example.com")
    selector = consent_service_pb2.ContactSelector(contact=contact)
    listed: list[str] = []
    token = ""
    while True:
        page = await shop.invitations.ListInvitations(
            pb2.ListInvitationsRequest(
                parent=PARENT, contact=selector, page_size=2, page_token=token
            )
        )
        assert len(page.invitations) <= 2
        listed += [one.name for one in page.invitations]
        token = page.next_page_token
        if not token:
            break
    assert listed == names, "newest last"
    by_name = await shop.invitations.ListInvitations(
        pb2.ListInvitationsRequest(
            parent=PARENT,
            contact=consent_service_pb2.ContactSelector(name=page.invitations[0].contact),
        )
    )
    assert [one.name for one in by_name.invitations] == names


async def test_invitations_are_listed_by_order(shop: Shop) -> None:
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    event = event_pb(channel)
    name = await planned(shop, channel, event)
    request = pb2.ListInvitationsRequest(
        parent=PARENT,
        order=pb2.ListInvitationsRequest.ByOrder(
            channel=channel, order_reference=event.order.reference
        ),
    )
    listed = await shop.invitations.ListInvitations(request)
    assert [one.name for one in listed.invitations] == [name]
    request.order.order_reference = "another"
    assert not (await shop.invitations.ListInvitations(request)).invitations
    request.order.order_reference = ""
    with refused() as refusal:
        await shop.invitations.ListInvitations(request)
    assert refusal.field == "order.order_reference"
    request.order.order_reference = "1"
    request.order.channel = f"{PARENT}/channels/none"
    with refused() as refusal:
        await shop.invitations.ListInvitations(request)
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_what_waits_is_listed_by_due_time(shop: Shop) -> None:
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    names = {await planned(shop, channel) for _ in range(5)}
    due_s = NOW_MS // 1_000 + 7 * 86_400
    due = pb2.ListInvitationsRequest.ByDueTime(
        channel=channel,
        start_time=Timestamp(seconds=due_s - 60),
        end_time=Timestamp(seconds=due_s + 60),
    )
    listed: list[str] = []
    token = ""
    while True:
        page = await shop.invitations.ListInvitations(
            pb2.ListInvitationsRequest(parent=PARENT, due=due, page_size=2, page_token=token)
        )
        listed += [one.name for one in page.invitations]
        token = page.next_page_token
        if not token:
            break
    assert len(listed) == 5
    assert set(listed) == names
    due.start_time.seconds = due_s + 120
    with refused() as refusal:
        await shop.invitations.ListInvitations(pb2.ListInvitationsRequest(parent=PARENT, due=due))
    assert refusal.field == "due.end_time"
    with refused() as refusal:
        await shop.invitations.ListInvitations(pb2.ListInvitationsRequest(parent=PARENT))
    assert refusal.field == "by"


async def test_explaining_an_invitation_and_events(shop: Shop) -> None:
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    event = event_pb(channel, source="erp")
    name = await planned(shop, channel, event)
    told = await shop.invitations.Explain(explain(invitation=name))
    assert told.summary
    assert [one.name for one in told.invitations] == [name]
    assert all(line.stage and line.text for line in told.decisions)
    by_event = await shop.invitations.Explain(
        explain(event=pb2.ExplainRequest.EventKey(source="erp", id=event.id))
    )
    assert [one.name for one in by_event.invitations] == [name]
    assert by_event.disposition == event_service_pb2.EventResult.DISPOSITION_PLANNED

    unwanted = event_pb(channel, type="picked_up")
    await shop.events.Publish(event_service_pb2.PublishRequest(event=unwanted))
    told = await shop.invitations.Explain(
        explain(event=pb2.ExplainRequest.EventKey(id=unwanted.id))
    )
    assert told.disposition == event_service_pb2.EventResult.DISPOSITION_NO_MATCH
    assert not told.invitations
    assert told.summary


async def test_what_cannot_be_explained(shop: Shop) -> None:
    with refused() as refusal:
        await shop.invitations.Explain(explain())
    assert refusal.field == "subject"
    with refused() as refusal:
        await shop.invitations.Explain(explain(event=pb2.ExplainRequest.EventKey()))
    assert refusal.field == "event.id"
    with refused() as refusal:
        await shop.invitations.Explain(explain(event=pb2.ExplainRequest.EventKey(id="never")))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
