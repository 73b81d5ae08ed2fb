"""ContactService as a client sees it: what is known of a person, all of it, and none of it any more."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.struct_pb2 import Struct

from afterword.v1 import (
    channel_service_pb2,
    consent_service_pb2,
    event_pb2,
    event_service_pb2,
    types_pb2,
)
from afterword.v1 import contact_service_pb2 as pb2
from afterword.v1 import invitation_service_pb2 as invitations
from control.conversion import contacts as conversion
from core.bounds import DAY_MS, HOUR_MS
from tests.control.kit import (
    PARENT,
    Shop,
    cap_pb,
    event_pb,
    open_shop,
    refused,
    step_pb,
    unique,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
Selector = consent_service_pb2.ContactSelector
Export = pb2.ContactExport
_numbers = itertools.count(48_600_000_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """A shop of this file's own: its clock goes on."""
    async with open_shop(tmp_path_factory.mktemp("contacts")) as opened:
        yield opened


def somebody(**fields: Any) -> event_pb2.Contact:
    name = unique("who")
    given = {"email": f"{name}@example.com", "first_name": "Ann", "session_id": name}
    return event_pb2.Contact(**{**given, **fields})


def by(contact: event_pb2.Contact) -> Selector:
    return Selector(contact=event_pb2.Contact(email=contact.email))


async def publish(shop: Shop, channel: str, contact: event_pb2.Contact, **fields: Any) -> str:
    """Publish an event of now; return the contact's name."""
    event = event_pb(channel, contact=contact, **fields)
    event.occur_time.FromMilliseconds(shop.clock.now_ms())
    request = event_service_pb2.PublishRequest(event=event)
    return str((await shop.events.Publish(request)).result.contact)


async def summary(shop: Shop, who: Selector) -> pb2.ContactSummary:
    return await shop.contacts.GetContact(pb2.GetContactRequest(parent=PARENT, contact=who))


async def export(shop: Shop, who: Selector, token: str = "") -> pb2.ContactExport:
    return await shop.contacts.ExportContact(
        pb2.ExportContactRequest(parent=PARENT, contact=who, page_token=token)
    )


async def erase(shop: Shop, who: Selector, **fields: Any) -> pb2.EraseContactResponse:
    return await shop.contacts.EraseContact(
        pb2.EraseContactRequest(parent=PARENT, contact=who, **fields)
    )


async def lived(shop: Shop) -> tuple[event_pb2.Contact, str]:
    """Let somebody order twice, be asked once, and be held back by a cap; return who, and the name."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    contact = somebody(
        phone=f"+{next(_numbers)}", address=event_pb2.PostalAddress(lines=["1 Elm St"], city="X")
    )
    await publish(shop, channel, contact, type="identify")
    evidence = event_pb2.ConsentEvidence(
        purpose=types_pb2.PURPOSE_MARKETING, medium=types_pb2.MEDIUM_EMAIL, given=True,
        collection_point="https://shop.example", ip_address="203.0.113.7",
    )  # fmt: skip
    note = Struct()
    note.update({"gift": {"for": "aunt"}, "list": [1, True, None]})
    for _ in range(2):
        name = await publish(shop, channel, contact, consents=[evidence], attributes=note)
    return contact, name


async def test_how_much_is_known(shop: Shop) -> None:
    """Art. 15: counts, and by which other keys."""
    contact, name = await lived(shop)
    found = await summary(shop, by(contact))
    assert (found.name, found.scheduled_count, found.suppressed) == (name, 2, False)
    assert (found.in_flight_count, found.ended_count) == (0, 0)
    # Beside the three events, one by which the contact is reached is remembered.
    assert found.event_count == 4
    assert found.consent_count == 4
    assert len(found.linked_contacts) == 2, "phone and session"
    assert await summary(shop, Selector(name=name)) == found
    by_session = Selector(contact=event_pb2.Contact(session_id=contact.session_id))
    assert await summary(shop, by_session) == found


async def test_everything_that_is_known_is_given_out(shop: Shop) -> None:
    """Art. 15, A29: profile, consents with their evidence, invitations, events as published."""
    contact, name = await lived(shop)
    told = await export(shop, by(contact))
    assert (told.name, told.next_page_token) == (name, "")
    assert told.profile == contact
    assert {one.invitation.state for one in told.invitations} == {
        invitations.Invitation.STATE_SCHEDULED
    }
    assert {one.address for one in told.invitations} == {contact.email}
    kept = [one.event for one in told.events if one.use == Export.KeptEvent.USE_INVITATION]
    assert [event.contact for event in kept] == [contact, contact]
    assert kept[0].attributes["gift"]["for"] == "aunt"
    assert kept[0].consents[0].ip_address == "203.0.113.7"
    facts = [one.event for one in told.events if one.use == Export.KeptEvent.USE_FACT]
    assert {event.type for event in facts} <= {"checkout"}
    assert {line.line.proof.ip_address for line in told.consent_lines} >= {"203.0.113.7"}
    assert {line.contact for line in told.consent_lines} == {name}
    assert {consent.state for consent in told.consents} == {
        consent_service_pb2.Consent.STATE_GRANTED
    }
    assert len(told.seen_events) == 4
    assert told.export_time.ToMilliseconds() == shop.clock.now_ms()


async def test_what_is_large_comes_in_pages(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put together, the pages are what one page would be; a token is good for its contact only."""
    contact, _ = await lived(shop)
    whole = await export(shop, by(contact))
    monkeypatch.setattr(conversion, "PAGE_BYTES_MAX", 500)
    united, token, pages = pb2.ContactExport(), "", 0
    while True:
        page = await export(shop, by(contact), token)
        united.MergeFrom(page)
        token, pages = page.next_page_token, pages + 1
        if not token:
            break
    united.ClearField("next_page_token")
    assert pages > 3
    assert united == whole
    first = await export(shop, by(contact))
    other, _ = await lived(shop)
    with refused() as refusal:
        await export(shop, by(other), first.next_page_token)
    assert refusal.field == "page_token"


async def test_an_erased_contact_is_a_time_and_its_suppressions(shop: Shop) -> None:
    """Art. 17, R22: what was done is told; afterwards there is nothing but the block."""
    contact, name = await lived(shop)
    preview = await erase(shop, by(contact), validate_only=True)
    assert (preview.name, preview.linked_count, preview.cancelled_count) == (name, 2, 0)
    assert (await summary(shop, by(contact))).scheduled_count == 2
    done = await erase(shop, by(contact), request_id=str(uuid.uuid4()))
    assert (done.name, done.cancelled_count, done.linked_count) == (name, 2, 2)
    assert (done.event_count, done.order_count) >= (3, 2)
    assert done.erase_time.ToMilliseconds() == shop.clock.now_ms()
    assert not done.in_flight_invitations
    told = await export(shop, by(contact))
    assert told.erase_time == done.erase_time
    assert {one.kind for one in told.suppressions} == {consent_service_pb2.Suppression.KIND_ERASED}
    for field, value in told.ListFields():
        assert field.name in ("name", "export_time", "erase_time", "suppressions"), (field, value)
    found = await summary(shop, by(contact))
    assert (found.suppressed, found.erase_time) == (True, done.erase_time)
    assert (found.scheduled_count, found.event_count, found.consent_count) == (0, 0, 0)
    again = await erase(shop, by(contact))
    assert (again.cancelled_count, again.event_count, again.linked_count) == (0, 0, 0)


async def test_an_event_of_before_is_refused_and_one_of_after_is_taken(shop: Shop) -> None:
    """R22: named by field and reason; the others of its batch are taken."""
    channel = await shop.create_channel()
    contact = somebody()
    await erase(shop, by(contact))
    events = [event_pb(channel, contact=contact), event_pb(channel, contact=somebody())]
    for event in events:
        event.occur_time.FromMilliseconds(shop.clock.now_ms())
    answer = await shop.events.BatchPublish(
        event_service_pb2.BatchPublishRequest(parent=PARENT, events=events)
    )
    assert [result.status.code for result in answer.results] == [
        grpc.StatusCode.FAILED_PRECONDITION.value[0], 0,
    ]  # fmt: skip
    with refused() as refusal:
        await shop.events.Publish(event_service_pb2.PublishRequest(event=events[0]))
    assert (refusal.reason, refusal.field) == ("CONTACT_ERASED", "event.contact")
    shop.clock.move_to_ms(shop.clock.now_ms() + HOUR_MS)
    assert await publish(shop, channel, contact)


async def test_nobody_is_found_who_is_not_known(shop: Shop) -> None:
    stranger = by(somebody())
    for call in (summary, export):
        with refused() as refusal:
            await call(shop, stranger)
        assert refusal.code is grpc.StatusCode.NOT_FOUND
    for selector in (Selector(), Selector(contact=event_pb2.Contact(first_name="Ann"))):
        with refused() as refusal:
            await summary(shop, selector)
        assert refusal.field.startswith("contact")
    with refused() as refusal:
        await shop.contacts.GetContact(
            pb2.GetContactRequest(parent="accounts/other", contact=stranger)
        )
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_a_phone_of_several_people_names_nobody(shop: Shop) -> None:
    """R4: what is known of one is not told to another."""
    channel = await shop.create_channel()
    phone = "+48600999888"
    for _ in range(2):
        await publish(shop, channel, somebody(phone=phone), type="identify")
    for call in (summary, export, erase):
        with refused() as refusal:
            await call(shop, Selector(contact=event_pb2.Contact(phone=phone)))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.field == "contact"


async def test_an_erasure_marks_the_file_of_the_server(shop: Shop) -> None:
    """R22: the log of the embedded server is rewritten soon, also after a crash."""
    embedded = shop.daemon.embedded
    assert embedded is not None
    await erase(shop, by(somebody()))
    assert (Path(embedded.folder) / "erased").exists()


async def test_what_a_cap_held_back_says_so(shop: Shop) -> None:
    """Art. 15, B13: each time, and by which cap."""
    await shop.channels.CreateCap(
        channel_service_pb2.CreateCapRequest(
            parent=PARENT, cap_id="one",
            cap=cap_pb(limit=1, purposes=[types_pb2.PURPOSE_REVIEW]),
        )
    )  # fmt: skip
    channel = await shop.create_channel()
    await shop.create_rule(channel, steps=[step_pb(days=1)])
    contact = somebody()
    for _ in range(2):
        await publish(shop, channel, contact)
    await shop.daemon.engine.advance_to(shop.clock.now_ms() + DAY_MS + HOUR_MS)
    told = await export(shop, by(contact))
    (note,) = [note for one in told.invitations for note in one.cap_notes]
    assert note.cap == f"{PARENT}/caps/one"
    assert note.until_time.ToMilliseconds() - note.note_time.ToMilliseconds() == DAY_MS
    assert {stamp.cap for stamp in told.cap_stamps} == {f"{PARENT}/caps/one"}
