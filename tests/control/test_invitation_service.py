"""InvitationService as a client sees it: read, list, cancel, add, reinstate, hurry, explain."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from afterword.v1 import (
    consent_service_pb2,
    event_pb2,
    event_service_pb2,
    rule_service_pb2,
    types_pb2,
)
from afterword.v1 import invitation_service_pb2 as pb2
from core.bounds import DAY_MS
from tests.control.kit import (
    NOW_MS,
    PARENT,
    Shop,
    event_pb,
    open_shop,
    refused,
    step_pb,
    unique,
    with_unknown_field,
)

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


# --- by hand ------------------------------------------------------------------------------------


def wish(on: str, **fields: Any) -> pb2.CreateInvitationRequest:
    """Return a request for a service review that is right."""
    name = unique("hand")
    event = event_pb2.Event(
        id=name,
        contact=event_pb2.Contact(email=f"{name}@example.com"),
        order=event_pb2.Order(reference=name),
    )
    given: dict[str, Any] = {
        "parent": PARENT, "channel": on, "event": event,
        "review_type": pb2.Invitation.REVIEW_TYPE_SERVICE, "medium": types_pb2.MEDIUM_EMAIL,
    }  # fmt: skip
    return pb2.CreateInvitationRequest(**{**given, **fields})


async def test_an_invitation_by_hand_says_so(tmp_path: Path) -> None:
    """A3: mode MANUAL, no rule; the letter says what it was told to."""
    async with open_shop(tmp_path) as shop:
        channel = await shop.create_channel()
        request = wish(channel, subject="How was {{order}}?", body="Tell us.\r\nPlease.")
        checked = pb2.CreateInvitationRequest()
        checked.CopyFrom(request)
        checked.validate_only = True
        would_be = await shop.invitations.CreateInvitation(checked)
        assert (would_be.name, would_be.delivery_id) == ("", "")
        assert would_be.state == pb2.Invitation.STATE_SCHEDULED
        made = await shop.invitations.CreateInvitation(request)
        assert made.mode == pb2.Invitation.MODE_MANUAL
        assert made.review_type == pb2.Invitation.REVIEW_TYPE_SERVICE
        assert (made.rule, made.step, made.event_type) == ("", "", "")
        assert (made.channel, made.event_id) == (channel, request.event.id)
        assert made.purpose == types_pb2.PURPOSE_REVIEW
        assert made.due_time.ToMilliseconds() == NOW_MS
        assert (await shop.invitations.CreateInvitation(request)).name == made.name
        assert (await get(shop, made.name)) == made
        await shop.daemon.engine.advance_to(NOW_MS + 1)
        (letter,) = shop.outbox.letters
        assert (letter.subject, letter.text) == ("How was {{order}}?", "Tell us.\nPlease.")
        request.body = "Another."
        with refused() as refusal:
            await shop.invitations.CreateInvitation(request)
        assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
        assert (refusal.reason, refusal.field) == ("EVENT_ID_REUSED", "event.id")


async def test_what_a_wish_by_hand_must_say(shop: Shop) -> None:
    """A3: every refusal names the field."""
    channel = await shop.create_channel()
    free = {"review_type": pb2.Invitation.REVIEW_TYPE_UNSPECIFIED}
    told = {"subject": "News", "body": "Look.", "purpose": types_pb2.PURPOSE_MARKETING, **free}
    nobody = event_pb2.Event(id="x")
    late = event_pb2.Event(id="x", contact=event_pb2.Contact(email="a@example.com"))
    late.requested_send_time.seconds = NOW_MS // 1_000
    astray = event_pb2.Event(id="x", contact=late.contact, channel=f"{PARENT}/channels/other")
    nameless = event_pb2.Event(contact=late.contact)
    far = Timestamp(seconds=NOW_MS // 1_000 + 731 * 86_400)
    for fields, field in (
        ({"parent": ""}, "parent"),
        ({"channel": ""}, "channel"),
        ({"channel": "shops/1"}, "channel"),
        ({"review_type": 3}, "review_type"),
        ({"review_type": 9}, "review_type"),
        ({"purpose": types_pb2.PURPOSE_MARKETING}, "purpose"),
        ({**told, "purpose": types_pb2.PURPOSE_UNSPECIFIED}, "purpose"),
        ({**told, "purpose": types_pb2.PURPOSE_REVIEW}, "purpose"),
        ({**told, "subject": ""}, "subject"),
        ({**told, "body": ""}, "body"),
        ({**told, "allow_repeat": True}, "allow_repeat"),
        ({"subject": "{{nothing}}"}, "subject"),
        ({"body": "{{nothing}}"}, "body"),
        ({"medium": 0}, "medium"),
        ({"medium": 77}, "medium"),
        ({"due_time": far}, "due_time"),
        ({"event": nobody}, "event.contact"),
        ({"event": late}, "event.requested_send_time"),
        ({"event": astray}, "event.channel"),
        ({"event": nameless}, "event.id"),
    ):
        with refused() as refusal:
            await shop.invitations.CreateInvitation(wish(channel, **fields))
        assert refusal.field == field, fields
    with refused() as refusal:
        await shop.invitations.CreateInvitation(wish(f"{PARENT}/channels/none"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    with refused() as refusal:
        await shop.invitations.CreateInvitation(with_unknown_field(wish(channel), "event.contact"))
    assert refusal.reason == "FIELD_UNKNOWN"
    assert (await shop.invitations.CreateInvitation(wish(channel, **told))).name


async def test_a_wish_may_lie_730_days_ahead_or_in_the_past(shop: Shop) -> None:
    """R45."""
    channel = await shop.create_channel()
    last_s = NOW_MS // 1_000 + 730 * 86_400
    far = await shop.invitations.CreateInvitation(wish(channel, due_time=Timestamp(seconds=last_s)))
    assert far.due_time.seconds == last_s
    past = await shop.invitations.CreateInvitation(wish(channel, due_time=Timestamp(seconds=1)))
    assert past.due_time.ToMilliseconds() == shop.clock.now_ms()


async def test_reinstating_and_sending_now(tmp_path: Path) -> None:
    """R44, R45: un-cancelling, and sending at once."""
    async with open_shop(tmp_path) as shop:
        channel = await shop.create_channel()
        await shop.create_rule(channel)
        name = await planned(shop, channel)
        again = pb2.ReinstateInvitationRequest(name=name, request_id=str(uuid.uuid4()))
        with refused() as refusal:
            await shop.invitations.ReinstateInvitation(again)
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.field == "name"
        await shop.invitations.CancelInvitation(pb2.CancelInvitationRequest(name=name))
        dry = pb2.ReinstateInvitationRequest(name=name, validate_only=True)
        assert (await shop.invitations.ReinstateInvitation(dry)).name == name
        assert (await get(shop, name)).state == pb2.Invitation.STATE_CANCELLED
        back = await shop.invitations.ReinstateInvitation(again)
        assert back.name != name
        assert back.generation == 1
        assert back.state == pb2.Invitation.STATE_SCHEDULED
        assert (await shop.invitations.ReinstateInvitation(again)).name == back.name
        hurry = pb2.SendInvitationNowRequest(name=back.name)
        dry_hurry = pb2.SendInvitationNowRequest(name=back.name, validate_only=True)
        asked = await shop.invitations.SendInvitationNow(dry_hurry)
        assert asked.due_time == (await get(shop, back.name)).due_time == back.due_time
        hurried = await shop.invitations.SendInvitationNow(hurry)
        assert hurried.due_time.ToMilliseconds() == NOW_MS
        assert hurried.first_due_time == back.first_due_time
        await shop.daemon.engine.advance_to(NOW_MS + 1)
        assert (await get(shop, back.name)).state == pb2.Invitation.STATE_SENT
        hurry.name = name
        with refused() as refusal:
            await shop.invitations.SendInvitationNow(hurry)
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert "CANCELLED (BY_CLIENT)" in refusal.problem.message
        for call, request in (
            (shop.invitations.ReinstateInvitation, again),
            (shop.invitations.SendInvitationNow, hurry),
        ):
            request.request_id = "1"
            with refused() as refusal:
                await call(request)
            assert refusal.field == "request_id"


async def test_an_invitation_tells_what_its_questionnaire_is(shop: Shop) -> None:
    """B36: the fields of a review request, and AUTOMATIC for what a rule makes."""
    channel = await shop.create_channel()
    review = rule_service_pb2.ReviewSettings(questionnaire="extended", comment_required=True)
    await shop.create_rule(channel, review=review)
    found = await get(shop, await planned(shop, channel))
    assert found.mode == pb2.Invitation.MODE_AUTOMATIC
    assert found.review_type == pb2.Invitation.REVIEW_TYPE_SERVICE
    assert (found.questionnaire, found.comment_required) == ("extended", True)
    assert (found.carrier, found.generation) == ("", 0)
