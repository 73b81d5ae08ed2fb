"""Erasing people while a shop goes on; on both stores (R22)."""

from __future__ import annotations

from typing import Any

import pytest

from core.engine.consent_documents import ConsentDocument
from core.engine.consents import Statement
from core.engine.manual import Wish
from core.engine.reach import Whom
from core.errors import FailedPrecondition, NotFound
from core.model import Contact, Disposition, Event, Medium, Purpose, Reason, State, Suppression
from core.partitions import partition_of
from core.ports import Store
from core.records import ContactRecord, member_of
from core.timing_wheel.memory_store import MemoryStore
from tests.support.automations import ANA, BEN, automation, mail
from tests.support.shop import ACCOUNT, Shop, open_shop

PHONE, SESSION = "+34600000001", "s1"
KNOWN = Contact(email=ANA, phone=PHONE, session_id=SESSION)
STEPS = ("forget_orders", "erase_contact", "forget_events", "finish_erasure")


class Killed(Exception):
    """The process dies here."""


def key_of(shop: Shop, contact: Contact = KNOWN) -> bytes:
    return shop.engine.identity.contact_key(ACCOUNT, contact)


async def record(shop: Shop, key: bytes) -> ContactRecord:
    store = shop.engine.store
    return await store.contact(partition_of(key, 4), key) or ContactRecord()


async def live(shop: Shop) -> list[Event]:
    """Let Ana visit, tell who she is, and order twice; return what was told."""
    events = [
        shop.event("store_visit", contact=Contact(session_id=SESSION)),
        shop.event("identify", contact=KNOWN),
        shop.event(order="1", contact=KNOWN),
        shop.event(order="2", contact=KNOWN),
    ]
    for event in events:
        await shop.publish(event)
    return events


def count_calls(store: Store, dies_at: int, *, is_done: bool) -> list[str]:
    """Let the process die at a step of the saga, before or after it is done; return the steps."""
    steps: list[str] = []

    def watched(name: str, call: Any) -> Any:
        async def step(*arguments: Any) -> Any:
            steps.append(name)
            if len(steps) == dies_at and not is_done:
                raise Killed
            answer = await call(*arguments)
            if len(steps) == dies_at:
                raise Killed
            return answer

        return step

    for name in STEPS:
        setattr(store, name, watched(name, getattr(store, name)))
    return steps


async def assert_forgotten(shop: Shop, events: list[Event]) -> None:
    """Assert that nothing leads to Ana, and that nothing is left to be done."""
    engine, store = shop.engine, shop.engine.store
    key = key_of(shop)
    aliases = engine.identity.alias_keys(ACCOUNT, KNOWN)
    for alias in aliases:
        assert await engine.dossiers.named_for(alias) == ()
    for order in ("1", "2"):
        order_key = engine.identity.order_key(ACCOUNT, "madrid", order)
        assert await engine.dossiers.named_for(order_key) == ()
    for event in events:
        event_key = engine.identity.event_key(ACCOUNT, event.source, event.id)
        found = await store.event_mark(partition_of(event_key, 4), event_key, shop.clock.now_ms())
        assert found is None, event.id
    for each in (key, *aliases):
        held = await engine.dossiers.read(ACCOUNT, each)
        assert held is not None
        assert held.erase_ms == shop.clock.now_ms()
        assert (held.waiting, held.lines, held.timers, held.profile) == ([], [], [], None)
        again = await store.erase_contact(partition_of(each, 4), each, shop.clock.now_ms())
        assert (again.event_keys, again.order_keys) == ((), ()), "it was finished"
    assert (await shop.ends())[State.CANCELLED, Reason.ERASED] == 2
    assert await shop.pending() == 0


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_crash_at_any_step_is_healed_by_asking_again(is_done: bool) -> None:
    """R22: whatever had been done; the order of the steps leaves nothing behind."""
    dies_at, steps = 1, 1
    while dies_at <= steps:
        store: Store = MemoryStore.create(partition_count=4)
        async with open_shop(store) as shop:
            events = await live(shop)
            told = count_calls(store, dies_at, is_done=is_done)
            with pytest.raises(Killed):
                await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
            await shop.restart()
            await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
            # What is left to do gets less, and what is done again is counted too.
            steps = max(steps, len(told) - dies_at)
            await assert_forgotten(shop, events)
        dies_at += 1
    assert steps > len(STEPS), "it has died at each of them"


@pytest.mark.parametrize("dies_at", [2, 5, 9])
async def test_a_crash_is_healed_on_both_stores(store: Store, dies_at: int) -> None:
    """R22: the same, at a few steps."""
    async with open_shop(store) as shop:
        events = await live(shop)
        count_calls(store, dies_at, is_done=True)
        with pytest.raises(Killed):
            await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
        await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
        await assert_forgotten(shop, events)


async def test_who_is_not_known_can_be_erased(store: Store) -> None:
    """R22, g4: an erased person does not come back by an import of the past."""
    async with open_shop(store) as shop:
        done = await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
        assert (done.erase_ms, done.cancelled, done.event_count) == (shop.clock.now_ms(), [], 0)
        past = shop.event(at="2026-02-28 09:00", email=ANA)
        for is_import in (False, True):
            with pytest.raises(FailedPrecondition, match="erased"):
                await shop.publish(past, is_import=is_import)
        await shop.until("2026-03-02 09:00")
        (answer,) = await shop.publish(shop.event(order="2", email=ANA))
        assert answer.disposition == Disposition.PLANNED
        assert await shop.ends() == {(State.SKIPPED, Reason.SUPPRESSED): 1}


async def test_a_refused_event_leaves_nothing(store: Store) -> None:
    """R22: no mark, and no session that leads to whom was erased; others of the batch are taken."""
    async with open_shop(store) as shop:
        await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
        past = [
            shop.event("identify", contact=KNOWN, at="2026-02-28 09:00"),
            shop.event(at="2026-02-28 09:00", email=BEN),
        ]
        answers = await shop.engine.acceptor.accept(ACCOUNT, past)
        assert [answer.error is None for answer in answers] == [False, True]
        event_key = shop.engine.identity.event_key(ACCOUNT, "test", past[0].id)
        mark = await store.event_mark(partition_of(event_key, 4), event_key, shop.clock.now_ms())
        assert mark is None
        for alias in shop.engine.identity.alias_keys(ACCOUNT, KNOWN):
            assert await shop.engine.dossiers.named_for(alias) == ()


async def test_a_link_that_was_told_later_outlives_a_refused_event(store: Store) -> None:
    async with open_shop(store) as shop:
        await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
        await shop.until("2026-03-02 09:00")
        await shop.publish(shop.event("identify", contact=KNOWN))
        with pytest.raises(FailedPrecondition):
            await shop.publish(
                shop.event("identify", id="old", contact=KNOWN, at="2026-02-28 09:00")
            )
        for alias in shop.engine.identity.alias_keys(ACCOUNT, KNOWN):
            assert await shop.engine.dossiers.named_for(alias) == (key_of(shop),)


async def test_a_phone_that_others_are_known_by_stays_theirs(store: Store) -> None:
    """R4: households; the name of the one who was erased goes from its entry."""
    ben = Contact(email=BEN, phone=PHONE)
    rules = [automation("hi", event_type="store_visit")]
    async with open_shop(store, rules=rules) as shop:
        await shop.publish(shop.event("identify", "a", contact=KNOWN))
        await shop.publish(shop.event("identify", "b", contact=ben))
        done = await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
        (phone,) = shop.engine.identity.alias_keys(ACCOUNT, ben)
        assert done.links.shared == (phone,)
        assert phone not in done.links.own
        assert await shop.engine.dossiers.named_for(phone) == (key_of(shop, ben),)
        assert (await record(shop, phone)).consents == []
        (answer,) = await shop.publish(shop.event("store_visit", contact=Contact(phone=PHONE)))
        assert answer.contact_key == key_of(shop, ben)


async def test_what_was_told_of_a_shared_order_is_forgotten_by_those_who_share_it(
    store: Store,
) -> None:
    """R22, E7: an order is known under two addresses; the facts of each are kept with both."""
    ben = Contact(email=BEN, first_name="Benedict")
    async with open_shop(store) as shop:
        await shop.publish(shop.event(contact=Contact(email=ANA)))
        await shop.publish(shop.event("order_updated", "1", id="told by ben", contact=ben))
        await shop.publish(
            shop.event("order_updated", "1", id="by ana", contact=Contact(email=ANA))
        )
        partition = partition_of(key_of(shop), 4)
        (ref,) = (await record(shop, key_of(shop))).references
        member = member_of(key_of(shop), ref.sequence, ref.channel_number)
        (before,) = (await store.read({partition: [member]}))[partition]
        assert before is not None
        assert b"Benedict" in before.facts
        await shop.engine.eraser.erase(ACCOUNT, key_of(shop, ben))
        (after,) = (await store.read({partition: [member]}))[partition]
        assert after is not None
        assert b"Benedict" not in after.facts
        assert b"by ana" in after.facts
        assert await shop.pending() == 1


async def test_a_contact_is_found_by_what_stands_for_it(store: Store) -> None:
    """R4: by phone or session once an identify event has said so; not if two are known by it."""
    async with open_shop(store) as shop:
        find = shop.engine.dossiers.find
        assert await find(ACCOUNT, Contact(phone=PHONE)) == key_of(shop, Contact(phone=PHONE))
        await shop.publish(shop.event("identify", "a", contact=KNOWN))
        assert await find(ACCOUNT, Contact(phone=PHONE)) == key_of(shop)
        assert await find(ACCOUNT, Contact(session_id=SESSION)) == key_of(shop)
        await shop.publish(shop.event("identify", "b", contact=Contact(email=BEN, phone=PHONE)))
        with pytest.raises(FailedPrecondition, match="e-mail"):
            await find(ACCOUNT, Contact(phone=PHONE))


async def test_nobody_erases_the_contacts_of_another_account(store: Store) -> None:
    async with open_shop(store) as shop:
        await shop.registry.ensure_account("other", default_caps=False)
        await live(shop)
        for call in (shop.engine.eraser.erase, shop.engine.eraser.preview):
            with pytest.raises(NotFound):
                await call("other", key_of(shop))
        assert await shop.pending() == 2


async def test_by_hand_about_the_past_is_refused(store: Store) -> None:
    """R22, A3."""
    wish = Wish(0, Purpose.TRANSACTIONAL, Medium.EMAIL, "Your parcel", "It is late.")
    async with open_shop(store) as shop:
        await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
        event = shop.event("checkout", "1", ANA, at="2026-02-28 09:00")
        with pytest.raises(FailedPrecondition) as refusal:
            await shop.engine.by_hand.create(ACCOUNT, event, wish)
        assert refusal.value.reason == "CONTACT_ERASED"
        assert await shop.pending() == 0


async def test_an_eraser_tells_whoever_keeps_files_before_it_begins(store: Store) -> None:
    """R22: a crash right afterwards must not be forgotten."""
    async with open_shop(store) as shop:
        await live(shop)
        told: list[int] = []

        async def note() -> None:
            told.append(len((await record(shop, key_of(shop))).references))

        shop.engine.eraser.on_erase.append(note)
        await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
        assert told == [2]


async def test_a_consent_with_proof_opens_the_phone_as_well(store: Store) -> None:
    """R22, R18: the block is on the phone's own record too, and so is what answers it."""
    text = automation(
        "text", purpose=Purpose.MARKETING, event_type="store_visit",
        steps=[mail("sms", Medium.SMS)],
    )  # fmt: skip
    media = (Medium.EMAIL, Medium.SMS)
    async with open_shop(store, rules=[text], media=media) as shop:
        await shop.publish(shop.event("identify", contact=KNOWN))
        await shop.engine.eraser.erase(ACCOUNT, key_of(shop))
        kinds = {one.kind for one in await shop.engine.consents.suppressions(key_of(shop))}
        assert kinds == {Suppression.ERASED}
        await shop.until("2026-03-02 09:00")
        proof = ConsentDocument("https://shop.example/account", actor="desk")
        said = Statement(Purpose.MARKETING, Medium.SMS, document=proof)
        whom = Whom(contact=Contact(email=ANA, phone=PHONE))
        await shop.engine.consents.grant(ACCOUNT, whom, said)
        await shop.until("2026-03-03 09:00")
        await shop.publish(shop.event("store_visit", contact=KNOWN))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert shop.mails() == [("2026-03-03 09:00", PHONE, False)]
