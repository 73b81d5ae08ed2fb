"""A phone, reference or session turns out to be somebody: what both sides said counts (R4, E15)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from core.bounds import DAY_MS
from core.contact_ports import ConsentLine
from core.engine.consent_documents import ConsentDocument
from core.engine.consents import Statement
from core.engine.linking import is_overruled
from core.engine.reach import Whom
from core.model import (
    ConsentScope,
    ConsentStatus,
    Contact,
    Event,
    Evidence,
    Medium,
    Purpose,
    Reason,
    State,
    Suppression,
)
from core.partitions import partition_of
from core.ports import Store
from core.records import NO_KEY, ConsentEntry, ContactRecord
from core.registry.resources import Cap, CapScope, CapUnit
from tests.support.automations import ANA, BEN, automation, mail
from tests.support.shop import ACCOUNT, Shop, open_shop

PHONE = "+34600000001"
ANA_KNOWN, BEN_KNOWN = Contact(email=ANA, phone=PHONE), Contact(email=BEN, phone=PHONE)
VISITOR = Contact(phone=PHONE)
MEDIA = (Medium.EMAIL, Medium.SMS)
TEXT = automation(
    "text", purpose=Purpose.MARKETING, event_type="store_visit", steps=[mail("sms", Medium.SMS)]
)


def cap(limit: int = 1) -> Cap:
    return Cap(
        account=ACCOUNT, id="few", scope=CapScope.ACCOUNT, limit=limit, window_ms=14 * DAY_MS,
        purposes=[Purpose.MARKETING], unit=CapUnit.MESSAGE,
    )  # fmt: skip


def key_of(shop: Shop, contact: Contact) -> bytes:
    return shop.engine.identity.contact_key(ACCOUNT, contact)


async def record(shop: Shop, contact: Contact) -> ContactRecord:
    key = key_of(shop, contact)
    return await shop.engine.store.contact(partition_of(key, 4), key) or ContactRecord()


def visit(shop: Shop, id: str, contact: Contact = VISITOR, *, agrees: bool = True) -> Event:
    told = [Evidence(Purpose.MARKETING, Medium.SMS, True, shop.clock.now_ms(), "the desk")]
    event = shop.event("store_visit", id, contact=contact, consents=told if agrees else [])
    return replace(event, order=None)


async def identify(shop: Shop, id: str, contact: Contact = ANA_KNOWN) -> None:
    await shop.publish(replace(shop.event("identify", id, contact=contact), order=None))


async def say(shop: Shop, contact: Contact, status: int, **fields: Any) -> None:
    """Write one line for a contact's own key."""
    values: dict[str, Any] = {
        "scope": ConsentScope.ACCOUNT, "purpose": Purpose.MARKETING, "medium": Medium.SMS,
        "status": status, "time_ms": shop.clock.now_ms(), **fields,
    }  # fmt: skip
    key = key_of(shop, contact)
    await shop.engine.store.write_consents(
        partition_of(key, 4), key, [ConsentLine(**values)], shop.clock.now_ms()
    )


async def statuses(shop: Shop, contact: Contact) -> set[int]:
    return {entry.status for entry in (await record(shop, contact)).consents}


async def test_what_one_side_had_counts_for_the_other(store: Store) -> None:
    """R4, B13: ledgers unite; the contact's first message is one too many."""
    async with open_shop(store, rules=[TEXT], caps=[cap()], media=MEDIA) as shop:
        await shop.publish(visit(shop, "1"))
        await shop.until("2026-03-03 09:00")
        await identify(shop, "a")
        await shop.publish(visit(shop, "2", ANA_KNOWN))
        await shop.until("2026-03-20 09:00")
        assert await shop.ends() == {(State.SENT, 0): 1, (State.SKIPPED, Reason.CAPPED): 1}


async def test_each_is_counted_once_however_often_they_are_linked(store: Store) -> None:
    """R4: the first message of either side has the same sequence, and is another message."""
    async with open_shop(store, rules=[TEXT], caps=[cap(3)], media=MEDIA) as shop:
        await shop.publish(visit(shop, "1"))
        await shop.publish(visit(shop, "2", Contact(email=ANA, phone="+34600000002")))
        await shop.until("2026-03-02 09:00")
        for number in range(3):
            await identify(shop, f"a{number}", ANA_KNOWN)
        stamps = (await record(shop, ANA_KNOWN)).stamps
        assert len({(stamp.ledger, stamp.tag) for stamp in stamps}) == len(stamps) == 2
        assert len((await record(shop, VISITOR)).stamps) == 1


@pytest.mark.parametrize(
    "status",
    [ConsentStatus.WITHDRAWN, ConsentStatus.DENIED, Suppression.UNSUBSCRIBED, Suppression.BLOCKED],
)
async def test_the_stricter_side_wins(store: Store, status: int) -> None:
    """R4, B2: a no goes over as it is, whatever had been said before; with what proves it."""
    async with open_shop(store, rules=[TEXT], media=MEDIA) as shop:
        await say(shop, ANA_KNOWN, ConsentStatus.GRANTED)
        await shop.until("2026-03-02 09:00")
        await say(shop, VISITOR, status, document=b"\x91\xa4desk")
        await shop.until("2026-03-03 09:00")
        await identify(shop, "a")
        assert status in await statuses(shop, ANA_KNOWN)
        key = key_of(shop, ANA_KNOWN)
        log = await store.consent_log(partition_of(key, 4), key)
        assert [line.document for line in log if line.status == status] == [b"\x91\xa4desk"]
        await shop.publish(visit(shop, "1", ANA_KNOWN, agrees=False))
        assert await shop.pending() == 0


async def test_a_no_ends_what_waits_for_the_other_side(store: Store) -> None:
    """R4, R19."""
    later = automation(
        "text", purpose=Purpose.MARKETING, event_type="store_visit",
        steps=[mail("sms", Medium.SMS, days=9)],
    )  # fmt: skip
    async with open_shop(store, rules=[later], media=MEDIA) as shop:
        await shop.publish(visit(shop, "1", ANA_KNOWN))
        await shop.until("2026-03-02 09:00")
        await say(shop, VISITOR, ConsentStatus.WITHDRAWN)
        assert await shop.pending() == 1
        await identify(shop, "a")
        assert await shop.ends() == {(State.SKIPPED, Reason.UNSUBSCRIBED): 1}


async def test_a_consent_of_one_side_does_not_override_a_later_no_of_the_other(
    store: Store,
) -> None:
    """R4, R17: also one for a channel or an order, which would count for more in one table."""
    async with open_shop(store, rules=[TEXT], media=MEDIA) as shop:
        await shop.publish(visit(shop, "1"))
        assert ConsentStatus.GRANTED in await statuses(shop, VISITOR)
        await shop.until("2026-03-02 09:00")
        await say(shop, ANA_KNOWN, ConsentStatus.DENIED)
        await identify(shop, "a")
        assert await statuses(shop, ANA_KNOWN) == {ConsentStatus.DENIED}


async def test_a_consent_after_a_no_goes_over_with_its_evidence(store: Store) -> None:
    """R17."""
    async with open_shop(store, rules=[TEXT], media=MEDIA) as shop:
        await say(shop, ANA_KNOWN, ConsentStatus.DENIED)
        await shop.until("2026-03-02 09:00")
        await shop.publish(visit(shop, "1"))
        await identify(shop, "a")
        assert ConsentStatus.GRANTED in await statuses(shop, ANA_KNOWN)
        key = key_of(shop, ANA_KNOWN)
        (granted,) = [
            line
            for line in await store.consent_log(partition_of(key, 4), key)
            if line.status == ConsentStatus.GRANTED
        ]
        assert b"the desk" in granted.document


async def test_what_was_lifted_stays_lifted(store: Store) -> None:
    """R18: the phone is told of again and again, and its old suppression does not come back."""
    async with open_shop(store, rules=[TEXT], media=MEDIA) as shop:
        await say(shop, VISITOR, Suppression.BLOCKED)
        await identify(shop, "a")
        assert await statuses(shop, ANA_KNOWN) == {Suppression.BLOCKED}
        await say(shop, ANA_KNOWN, ConsentStatus.LIFTED)
        await identify(shop, "b")
        assert await statuses(shop, ANA_KNOWN) == set()


async def test_what_the_contact_forbids_for_phones_is_told_the_phone(store: Store) -> None:
    """R4: what still waits for the phone alone ends."""
    later = automation(
        "text", purpose=Purpose.MARKETING, event_type="store_visit",
        steps=[mail("sms", Medium.SMS, days=9)],
    )  # fmt: skip
    async with open_shop(store, rules=[later], media=MEDIA) as shop:
        await shop.publish(visit(shop, "1"))
        await shop.until("2026-03-02 09:00")
        await say(shop, ANA_KNOWN, Suppression.UNSUBSCRIBED, purpose=0, medium=0)
        await say(shop, ANA_KNOWN, ConsentStatus.WITHDRAWN, medium=Medium.EMAIL)
        assert await shop.pending() == 1
        await identify(shop, "a")
        assert await shop.pending() == 0
        assert await statuses(shop, VISITOR) == {ConsentStatus.GRANTED, Suppression.UNSUBSCRIBED}


async def test_two_e_mails_are_two_people(store: Store) -> None:
    """R4, pitfall:merged-identity: a household's phone merges neither consents nor ledgers of its
    people."""
    async with open_shop(store, rules=[TEXT], caps=[cap()], media=MEDIA) as shop:
        await shop.publish(visit(shop, "1", agrees=False))
        await identify(shop, "a", ANA_KNOWN)
        await say(shop, ANA_KNOWN, ConsentStatus.WITHDRAWN, medium=Medium.EMAIL)
        await say(shop, ANA_KNOWN, Suppression.UNSUBSCRIBED)
        await identify(shop, "b", BEN_KNOWN)
        await identify(shop, "c", ANA_KNOWN)
        assert (await record(shop, BEN_KNOWN)).consents == []
        assert (await record(shop, VISITOR)).consents == []


async def test_a_consent_is_of_one_person_also_by_a_shared_phone(store: Store) -> None:
    """R4: neither what Ana has said with proof nor what somebody with the phone has said is Ben's."""
    async with open_shop(store, rules=[TEXT], media=MEDIA) as shop:
        proof = ConsentDocument("https://shop.example/account", actor="desk")
        said = Statement(Purpose.MARKETING, Medium.SMS, document=proof)
        await shop.engine.consents.grant(ACCOUNT, Whom(contact=ANA_KNOWN), said)
        assert await statuses(shop, VISITOR) == {ConsentStatus.CONFIRMED}
        await identify(shop, "b", BEN_KNOWN)
        assert await statuses(shop, BEN_KNOWN) == set()
    async with open_shop(rules=[TEXT], media=MEDIA) as shop:
        await shop.publish(visit(shop, "1"))
        await identify(shop, "a", ANA_KNOWN)
        await identify(shop, "b", BEN_KNOWN)
        assert await statuses(shop, ANA_KNOWN) == {ConsentStatus.GRANTED}
        assert await statuses(shop, BEN_KNOWN) == set()


async def test_that_somebody_was_erased_stays_with_the_key(store: Store) -> None:
    """R22: whoever turns out to have had the phone has a past of their own."""
    async with open_shop(store, rules=[TEXT], media=MEDIA) as shop:
        await shop.engine.eraser.erase(ACCOUNT, key_of(shop, VISITOR))
        await shop.until("2026-03-02 09:00")
        await identify(shop, "a")
        assert await statuses(shop, ANA_KNOWN) == set()
        assert await statuses(shop, VISITOR) == {Suppression.ERASED}


CALLS = (
    "note_orders", "mark_events", "commit", "contacts", "contact", "timers", "read",
    "write_consents", "consent_log",
)  # fmt: skip


async def withdraw(shop: Shop, whom: Whom) -> None:
    await shop.engine.consents.withdraw(ACCOUNT, whom, Statement(Purpose.MARKETING, Medium.SMS))


@pytest.mark.parametrize("link_is_first", [True, False])
@pytest.mark.parametrize("names_phone", [True, False])
async def test_a_withdrawal_that_meets_a_link_holds_on_both_sides(
    names_phone: bool, link_is_first: bool
) -> None:
    """R4, B2, E15: one of them comes between two calls of the other, whichever side it names."""
    at = 0
    while True:
        at += 1
        phone = Contact(phone=f"+3460000{at:04}")
        ana = Contact(email=ANA, phone=phone.phone)
        whom = Whom(contact=phone if names_phone else ana)
        async with open_shop(rules=[TEXT], media=MEDIA) as shop:
            await shop.publish(visit(shop, f"visit {at}", phone))

            def link(shop: Shop = shop, ana: Contact = ana, at: int = at) -> Awaitable[None]:
                return identify(shop, f"link {at}", ana)

            def no(shop: Shop = shop, whom: Whom = whom) -> Awaitable[None]:
                return withdraw(shop, whom)

            first, second = (link, no) if link_is_first else (no, link)
            if not await one_within_the_other(shop, first, second, at):
                break
            for side in (phone, ana):
                said = await statuses(shop, side)
                assert ConsentStatus.WITHDRAWN in said, f"{side} after call {at}: {said}"
    assert at > 4, "it has come at several calls"


async def one_within_the_other(
    shop: Shop, first: Callable[[], Awaitable[None]], second: Callable[[], Awaitable[None]], at: int
) -> bool:
    """Do the second before the so manieth call of the first; False if the first makes fewer."""
    store, calls, is_second = shop.engine.store, 0, False

    def watched(call: Any) -> Any:
        async def step(*arguments: Any) -> Any:
            nonlocal calls, is_second
            if not is_second:
                calls += 1
                if calls == at:
                    is_second = True
                    await second()
                    is_second = False
            return await call(*arguments)

        return step

    for name in CALLS:
        setattr(store, name, watched(getattr(store, name)))
    await first()
    return calls >= at


@pytest.mark.parametrize(
    ("grant_scope", "no_scope", "no_ms", "expected"),
    [
        (ConsentScope.ORDER, ConsentScope.ACCOUNT, 20, True),
        (ConsentScope.ORDER, ConsentScope.ACCOUNT, 10, True),
        (ConsentScope.ORDER, ConsentScope.ACCOUNT, 9, False),
        (ConsentScope.ACCOUNT, ConsentScope.ORDER, 20, False),
        (ConsentScope.CHANNEL, ConsentScope.CHANNEL, 20, True),
    ],
)
def test_which_no_overrules_a_consent(
    grant_scope: int, no_scope: int, no_ms: int, expected: bool
) -> None:
    """R4: a later one, or one of the same millisecond, of its own scope or a wider one."""
    grant = ConsentEntry(grant_scope, 1, 1, ConsentStatus.GRANTED, NO_KEY, 10)
    for status in (ConsentStatus.DENIED, ConsentStatus.WITHDRAWN):
        no = ConsentEntry(no_scope, 1, 1, status, NO_KEY, no_ms)
        assert is_overruled(grant, [no]) is expected
        other = ConsentEntry(no_scope, 2, 1, status, NO_KEY, no_ms)
        assert not is_overruled(grant, [other])
