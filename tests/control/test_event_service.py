"""EventService as a client sees it: one event, batches, event types."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from afterword.googleapis import error_details_pb2, money_pb2
from afterword.v1 import event_pb2, rule_service_pb2, types_pb2
from afterword.v1 import event_service_pb2 as pb2
from tests.control.kit import (
    NOW_MS,
    PARENT,
    Shop,
    event_pb,
    refused,
    unique,
    with_unknown_field,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
PLANNED = pb2.EventResult.DISPOSITION_PLANNED
NO_MATCH = pb2.EventResult.DISPOSITION_NO_MATCH
DUPLICATE = pb2.EventResult.DISPOSITION_DUPLICATE


async def publish(shop: Shop, event: event_pb2.Event, **fields: Any) -> pb2.EventResult:
    return (await shop.events.Publish(pb2.PublishRequest(event=event, **fields))).result


async def batch(shop: Shop, *events: event_pb2.Event) -> list[pb2.EventResult]:
    answer = await shop.events.BatchPublish(pb2.BatchPublishRequest(parent=PARENT, events=events))
    return list(answer.results)


def told(result: pb2.EventResult) -> tuple[str, str]:
    """Return (reason, field) of a refused event."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    reason = field = ""
    for detail in result.status.details:
        if detail.Unpack(info):
            assert info.domain == "afterword.v1"
            reason = info.reason
        elif detail.Unpack(bad):
            field = bad.field_violations[0].field
            assert bad.field_violations[0].description
    return reason, field


async def test_publish_plans_an_invitation(shop: Shop) -> None:
    """A1, A7."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    answer = await shop.events.Publish(pb2.PublishRequest(event=event_pb(channel)))
    assert answer.result.disposition == PLANNED
    assert len(answer.result.invitations) == 1
    assert answer.result.invitations[0].startswith(f"{PARENT}/invitations/")
    assert answer.result.contact.startswith(f"{PARENT}/contacts/")
    assert answer.durability == types_pb2.DURABILITY_MEMORY, "the tests' server does not fsync"


async def test_publishing_again_gives_the_first_answer(shop: Shop) -> None:
    """d8, pitfall:re-entry."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    event = event_pb(channel)
    first = await publish(shop, event)
    shop.clock.move_to_ms(shop.clock.now_ms() + 5)
    again = await publish(shop, event)
    assert again.disposition == DUPLICATE
    assert list(again.invitations) == list(first.invitations)
    assert again.contact == first.contact


async def test_an_event_id_with_another_body_is_refused(shop: Shop) -> None:
    """d8."""
    channel = await shop.create_channel()
    event = event_pb(channel)
    await publish(shop, event)
    event.order.reference = "another"
    with refused() as refusal:
        await publish(shop, event)
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert (refusal.reason, refusal.field) == ("EVENT_ID_REUSED", "event.id")


async def test_validate_only_changes_nothing(shop: Shop) -> None:
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    event = event_pb(channel)
    checked = await publish(shop, event, validate_only=True)
    assert checked.disposition == PLANNED
    assert (await publish(shop, event)).disposition == PLANNED, "not a duplicate"


async def test_refused_events_leave_no_trace(shop: Shop) -> None:
    channel = await shop.create_channel()
    event = event_pb(channel)
    event.contact.email = "two@signs@example.com"
    with refused():
        await publish(shop, event)
    event.contact.email = "one.sign@example.com"
    assert (await publish(shop, event)).disposition == NO_MATCH


async def test_an_event_without_id_is_known_by_its_order(shop: Shop) -> None:
    """R3."""
    channel = await shop.create_channel()
    event = event_pb(channel, id="")
    assert (await publish(shop, event)).disposition == NO_MATCH
    assert (await publish(shop, event)).disposition == DUPLICATE
    with refused() as refusal:
        await publish(shop, event_pb(channel, id="", type="delivery"))
    assert (refusal.reason, refusal.field) == ("FIELD_REQUIRED", "event.id")


async def test_an_inactive_type_is_stored_and_answered(shop: Shop) -> None:
    channel = await shop.create_channel()
    await shop.events.UpdateEventType(
        pb2.UpdateEventTypeRequest(
            event_type=pb2.EventType(name=f"{PARENT}/eventTypes/store_visit"),
            update_mask=FieldMask(paths=["active"]),
        )
    )
    result = await publish(shop, event_pb(channel, type="store_visit"))
    assert result.disposition == pb2.EventResult.DISPOSITION_INACTIVE


async def test_what_is_not_there_is_named(shop: Shop) -> None:
    channel = await shop.create_channel()
    with refused() as refusal:
        await publish(shop, event_pb(channel, type="no_such_type"))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "event.type")
    with refused() as refusal:
        await publish(shop, event_pb(f"{PARENT}/channels/nowhere"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    with refused() as refusal:
        await publish(shop, event_pb("accounts/other/channels/shop"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    with refused() as refusal:
        await shop.events.Publish(pb2.PublishRequest())
    assert (refusal.reason, refusal.field) == ("FIELD_REQUIRED", "event")


async def test_a_bad_event_does_not_harm_the_others(shop: Shop) -> None:
    channel = await shop.create_channel()
    known = event_pb(channel)
    await publish(shop, known)
    reused = event_pb2.Event()
    reused.CopyFrom(known)
    reused.order.status = "changed"
    ahead = event_pb(channel)
    ahead.occur_time.seconds += 1_000 * 365 * 86_400
    line_break = event_pb(channel, contact=event_pb2.Contact(email="a@example.com\r\nBcc: b@x.y"))
    negative = event_pb(
        channel, order=event_pb2.Order(reference="1", items=[event_pb2.Item(quantity=-1)])
    )
    bad_zone = event_pb(
        channel, contact=event_pb2.Contact(email="a@example.com", time_zone="Mars/Olympus")
    )
    bad_money = event_pb(
        channel, order=event_pb2.Order(reference="1", total=money_pb2.Money(units=1))
    )
    results = await batch(
        shop, event_pb(channel), ahead, line_break, reused, event_pb("accounts/default/channels/no"),
        event_pb(channel, type="unheard_of"), negative, bad_zone, bad_money,
        with_unknown_field(event_pb(channel)), with_unknown_field(event_pb(channel), "contact"),
        event_pb(channel),
    )  # fmt: skip
    assert [result.index for result in results] == list(range(12))
    assert [results[index].disposition for index in (0, 11)] == [NO_MATCH, NO_MATCH]
    assert [told(result) for result in results[1:11]] == [
        ("FIELD_OUT_OF_RANGE", "event.occur_time"),
        ("FIELD_INVALID", "event.contact.email"),
        ("EVENT_ID_REUSED", "event.id"),
        ("RESOURCE_NOT_FOUND", ""),
        ("FIELD_INVALID", "event.type"),
        ("FIELD_OUT_OF_RANGE", "event.order.items[0].quantity"),
        ("FIELD_INVALID", "event.contact.time_zone"),
        ("FIELD_REQUIRED", "event.order.total.currency_code"),
        ("FIELD_UNKNOWN", "event"),
        ("FIELD_UNKNOWN", "event.contact"),
    ]
    assert all("example.com" not in str(result.status) for result in results), "no personal data"


async def test_a_batch_of_bad_events_only_is_answered(shop: Shop) -> None:
    results = await batch(shop, event_pb2.Event(), event_pb2.Event())
    assert [told(result) for result in results] == [("FIELD_REQUIRED", "event.type")] * 2


async def test_an_oversize_batch_is_refused_whole(shop: Shop) -> None:
    channel = await shop.create_channel()
    event = event_pb(channel)
    with refused() as refusal:
        await batch(shop, *[event] * 1_001)
    assert (refusal.reason, refusal.field) == ("FIELD_OUT_OF_RANGE", "events")
    assert (await publish(shop, event)).disposition == NO_MATCH, "nothing was done"
    with refused() as refusal:
        await batch(shop)
    assert refusal.field == "events"
    results = await batch(shop, *[event_pb(channel) for _ in range(1_000)])
    assert len(results) == 1_000


async def test_a_message_over_the_limit_is_refused_whole(shop: Shop) -> None:
    events = [event_pb2.Event(id="x", locale="y" * 60_000)] * 80
    with refused() as refusal:
        await batch(shop, *events)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_batch_names_its_account(shop: Shop) -> None:
    for parent, code in (
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("accounts", grpc.StatusCode.INVALID_ARGUMENT),
        ("accounts/other", grpc.StatusCode.NOT_FOUND),
    ):
        with refused() as refusal:
            await shop.events.BatchPublish(
                pb2.BatchPublishRequest(parent=parent, events=[event_pb2.Event()])
            )
        assert refusal.code is code


# --- event types ----------------------------------------------------------------------------------


async def history(shop: Shop, *events: event_pb2.Event, **fields: Any) -> list[pb2.EventResult]:
    request = pb2.ImportHistoryRequest(**{"parent": PARENT, "events": events, **fields})
    answer = await shop.events.ImportHistory(request)
    assert answer.durability == types_pb2.DURABILITY_MEMORY
    return list(answer.results)


async def test_what_happened_before_leads_to_nothing(shop: Shop) -> None:
    """D9, pitfall: re-import triggers the welcome flow. Not now, nor when it is published again."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    event = event_pb(channel)
    checked = await history(shop, event, validate_only=True)
    assert checked[0].disposition == NO_MATCH
    bad = event_pb(channel, type="unheard_of")
    taken, refused_one = await history(shop, event, bad)
    assert (taken.disposition, len(taken.invitations)) == (NO_MATCH, 0)
    assert taken.contact
    assert told(refused_one) == ("FIELD_INVALID", "event.type")
    assert refused_one.index == 1
    assert (await history(shop, event))[0].disposition == DUPLICATE
    again = await publish(shop, event)
    assert (again.disposition, len(again.invitations)) == (DUPLICATE, 0)
    assert (await publish(shop, event_pb(channel))).disposition == PLANNED


async def test_an_import_is_checked_like_a_batch(shop: Shop) -> None:
    for fields, field in (
        ({"events": []}, "events"),
        ({"parent": ""}, "parent"),
        ({"events": [event_pb("x")] * 1_001}, "events"),
    ):
        with refused() as refusal:
            await history(shop, **{"events": [event_pb("x")], **fields})
        assert refusal.field == field


async def test_shipped_event_types_are_there_by_page(shop: Shop) -> None:
    """A10, C10."""
    names: list[str] = []
    token = ""
    while True:
        answer = await shop.events.ListEventTypes(
            pb2.ListEventTypesRequest(parent=PARENT, page_size=5, page_token=token)
        )
        assert len(answer.event_types) <= 5
        names += [event_type.name for event_type in answer.event_types]
        token = answer.next_page_token
        if not token:
            break
    assert names == sorted(set(names))
    assert f"{PARENT}/eventTypes/checkout" in names
    with refused() as refusal:
        await shop.events.ListEventTypes(
            pb2.ListEventTypesRequest(parent=PARENT, page_token="rubbish")
        )
    assert refusal.field == "page_token"
    with refused() as refusal:
        await shop.events.ListEventTypes(pb2.ListEventTypesRequest(parent=PARENT, page_size=-1))
    assert (refusal.reason, refusal.field) == ("FIELD_OUT_OF_RANGE", "page_size")


async def test_an_event_type_is_created_once(shop: Shop) -> None:
    """C10: an account adds its own."""
    request = pb2.CreateEventTypeRequest(
        parent=PARENT,
        event_type_id=unique("loyalty"),
        event_type=pb2.EventType(display_name="Loyalty", active=True),
        request_id=str(uuid.uuid4()),
    )
    created = await shop.events.CreateEventType(request)
    assert created.active
    assert not created.shipped
    assert created.etag
    assert await shop.events.CreateEventType(request) == created, "the same request id"
    assert await shop.events.GetEventType(pb2.GetEventTypeRequest(name=created.name)) == created
    request.request_id = str(uuid.uuid4())
    with refused() as refusal:
        await shop.events.CreateEventType(request)
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize("event_type_id", ["", "a", "all", "UPPER", "-dash", "x" * 64])
async def test_bad_ids_of_event_types_are_refused(shop: Shop, event_type_id: str) -> None:
    with refused() as refusal:
        await shop.events.CreateEventType(
            pb2.CreateEventTypeRequest(parent=PARENT, event_type_id=event_type_id)
        )
    assert refusal.field == "event_type_id"


async def test_an_event_type_of_the_account_s_own_can_be_removed(shop: Shop) -> None:
    """A10, C10: but not while rules name it, nor a shipped one."""
    request = pb2.CreateEventTypeRequest(parent=PARENT, event_type_id=unique("gift"))
    name = (await shop.events.CreateEventType(request)).name
    rule = await shop.create_rule(
        trigger=rule_service_pb2.Trigger(event_type=request.event_type_id)
    )
    for named in (name, f"{PARENT}/eventTypes/checkout"):
        with refused() as refusal:
            await shop.events.DeleteEventType(pb2.DeleteEventTypeRequest(name=named))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    await shop.rules.DeleteRule(rule_service_pb2.DeleteRuleRequest(name=rule))
    with refused() as refusal:
        await shop.events.DeleteEventType(pb2.DeleteEventTypeRequest(name=name, etag='"0"'))
    assert refusal.reason == "ETAG_MISMATCH"
    await shop.events.DeleteEventType(pb2.DeleteEventTypeRequest(name=name, validate_only=True))
    await shop.events.DeleteEventType(pb2.DeleteEventTypeRequest(name=name))
    with refused() as refusal:
        await shop.events.GetEventType(pb2.GetEventTypeRequest(name=name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_an_update_changes_what_its_mask_names(shop: Shop) -> None:
    """A10: the switch is read back."""
    name = f"{PARENT}/eventTypes/refund"
    first = await shop.events.UpdateEventType(
        pb2.UpdateEventTypeRequest(event_type=pb2.EventType(name=name, display_name="Money back"))
    )
    assert first.active, "not set, so not changed"
    second = await shop.events.UpdateEventType(
        pb2.UpdateEventTypeRequest(
            event_type=pb2.EventType(name=name, etag=first.etag),
            update_mask=FieldMask(paths=["active"]),
        )
    )
    assert not second.active
    assert second.display_name == "Money back"
    assert second.etag != first.etag
    with refused() as refusal:
        await shop.events.UpdateEventType(
            pb2.UpdateEventTypeRequest(
                event_type=pb2.EventType(name=name, etag=first.etag, display_name="Late")
            )
        )
    assert refusal.code is grpc.StatusCode.ABORTED
    assert refusal.reason == "ETAG_MISMATCH"
    with refused() as refusal:
        await shop.events.UpdateEventType(
            pb2.UpdateEventTypeRequest(
                event_type=pb2.EventType(name=name), update_mask=FieldMask(paths=["colour"])
            )
        )
    assert refusal.field == "update_mask"


async def test_the_clock_of_these_tests_stands_still(shop: Shop) -> None:
    assert shop.clock.now_ms() < NOW_MS + 1_000
