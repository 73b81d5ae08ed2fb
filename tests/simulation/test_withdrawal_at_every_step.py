"""Withdrawals against dispatch, in every order that their store calls can have; on both stores.

Checked: what R12 promises of whatever forbids a message, for mail, for a phone of one's own and for a
phone that several share, with claims handed over at once and with claims that waited (E4). All orders
are tried on the store in memory, some by lot on the server; the twins agree elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from core import bounds
from core.bounds import DAY_MS
from core.contact_ports import FeedbackKind
from core.engine.consent_documents import ConsentDocument
from core.engine.consents import Statement, Written
from core.engine.engine import Engine
from core.engine.feedback import Told
from core.engine.reach import Whom
from core.errors import FailedPrecondition
from core.model import Contact, Evidence, Medium, Purpose, State, Suppression
from core.partitions import partition_of
from core.ports import Store
from core.registry.registry import Registry
from core.registry.rule_parts import Action, Step, Wait, WaitBase
from core.sending import Delivery, Letter
from core.timing_wheel.memory_store import MemoryStore
from senders.postbox import Postbox
from tests.support.shop import ACCOUNT, KeepingTransport, Shop, open_shop, review_rule
from tests.support.turns import Door, Turns, all_orders, some_orders

ANA, EVA, PHONE = "ana@shop.example", "eva@shop.example", "+34600000001"
REVIEW, EMAIL, SMS = int(Purpose.REVIEW), int(Medium.EMAIL), int(Medium.SMS)
BOTH = (Medium.EMAIL, Medium.SMS)
ORDERS_BY_LOT = 12

DISPATCH = frozenset({"read", "claim", "mark_addresses", "mark_sending", "settle"})
CLIENT = frozenset({
    "write_consents", "erase_contact", "forget_orders", "record_feedback", "commit", "cancel",
    "note_orders",
})  # fmt: skip


class Answer(msgspec.Struct):
    """What a client was told."""

    ended: Sequence[bytes] = ()
    in_flight: Sequence[bytes] | None = None
    """None: this call does not tell."""
    is_refused: bool = False


Way = Callable[[Shop, Engine], Awaitable[Answer]]


class Place(msgspec.Struct, frozen=True):
    """To whom a message goes, and how."""

    name: str
    medium: Medium
    contact: Contact
    is_shared: bool = False


MAIL = Place("mail", Medium.EMAIL, Contact(email=ANA))
OWN_PHONE = Place("phone", Medium.SMS, Contact(phone=PHONE))
SHARED = Place("shared", Medium.SMS, Contact(email=ANA, phone=PHONE), True)


def written(answer: Written) -> Answer:
    return Answer(answer.ended, answer.in_flight)


def said(medium: int, purpose: int = REVIEW) -> Statement:
    return Statement(purpose, medium, document=ConsentDocument(source="test"))


# --- ways to forbid a message -----------------------------------------------------------------------


def withdraw(place: Place) -> Way:
    async def way(shop: Shop, there: Engine) -> Answer:
        whom = Whom(contact=place.contact)
        _, done = await there.consents.withdraw(ACCOUNT, whom, said(place.medium))
        return written(done)

    return way


def withdraw_by_phone(place: Place) -> Way:
    return withdraw(msgspec.structs.replace(place, contact=Contact(phone=PHONE)))


def unsubscribe(place: Place) -> Way:
    async def way(shop: Shop, there: Engine) -> Answer:
        whom = Whom(contact=place.contact)
        return written(await there.consents.unsubscribe(ACCOUNT, whom, [said(place.medium)]))

    return way


def suppress(place: Place) -> Way:
    async def way(shop: Shop, there: Engine) -> Answer:
        whom = Whom(contact=place.contact)
        _, done = await there.consents.suppress(ACCOUNT, whom, said(0, 0), Suppression.BLOCKED)
        return written(done)

    return way


def stop_word(place: Place) -> Way:
    async def way(shop: Shop, there: Engine) -> Answer:
        received = await there.inbox.receive(ACCOUNT, PHONE, "Stop!")
        assert received.written is not None
        return written(received.written)

    return way


def feedback(kind: FeedbackKind, place: Place) -> Way:
    """What is heard of the message before."""

    async def way(shop: Shop, there: Engine) -> Answer:
        earlier = bytes.fromhex(shop.post.letters[0].delivery_id)
        (outcome,) = await there.feedback.record(ACCOUNT, [Told(earlier, int(kind))])
        assert outcome.is_new, outcome
        return Answer(outcome.ended, outcome.in_flight)

    return way


complaint = functools.partial(feedback, FeedbackKind.COMPLAINED)
hard_bounce = functools.partial(feedback, FeedbackKind.HARD_BOUNCED)


def erase(place: Place) -> Way:
    async def way(shop: Shop, there: Engine) -> Answer:
        key = there.identity.contact_key(ACCOUNT, place.contact)
        done = await there.eraser.erase(ACCOUNT, key)
        return Answer(done.cancelled, done.in_flight)

    return way


def unticked_box(place: Place) -> Way:
    async def way(shop: Shop, there: Engine) -> Answer:
        evidence = [Evidence(Purpose.REVIEW, place.medium, False, shop.clock.now_ms())]
        event = shop.event(order="other", contact=place.contact, consents=evidence)
        await there.acceptor.accept(ACCOUNT, [event])
        return Answer()

    return way


def cancelled_order(place: Place) -> Way:
    async def way(shop: Shop, there: Engine) -> Answer:
        event = shop.event("order_cancelled", order="1", contact=place.contact)
        (answer,) = await there.acceptor.accept(ACCOUNT, [event])
        assert answer.error is None
        return Answer()

    return way


def cancel(place: Place) -> Way:
    async def way(shop: Shop, there: Engine) -> Answer:
        (view,) = await there.reader.by_order(ACCOUNT, shop.event().channel, "1")
        try:
            await there.reader.cancel(ACCOUNT, view.member)
        except FailedPrecondition:
            return Answer(is_refused=True)
        return Answer([view.member])

    return way


ALWAYS = (withdraw, unsubscribe, suppress, complaint, hard_bounce, erase, unticked_box,
          cancelled_order, cancel)  # fmt: skip
CASES = [
    *((MAIL, way) for way in ALWAYS),
    *((OWN_PHONE, way) for way in (*ALWAYS, stop_word)),
    *((SHARED, way) for way in (*ALWAYS, stop_word, withdraw_by_phone)),
]
ENDS_A_PHONE = (
    withdraw,
    unsubscribe,
    suppress,
    hard_bounce,
    complaint,
    stop_word,
    withdraw_by_phone,
)
"""Holds for the phone itself, whoever it was said of."""


def name_of(value: Any) -> str:
    if isinstance(value, Place):
        return value.name
    if isinstance(value, functools.partial):
        return value.args[0].name.lower()
    return value.__name__ if callable(value) else str(value)


# --- the race ---------------------------------------------------------------------------------------


class TurningTransport(KeepingTransport):
    """Takes letters when it is its turn."""

    turns: Turns

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        await self.turns.turn("dispatch", "send")
        return await super().send(letters)


def rule_of(place: Place) -> Any:
    """Ask after seven days, remind five days later."""
    body = "Reply STOP to end." if place.medium == Medium.SMS else ""
    first = Step(
        id="ask", wait=Wait(days=7, time_of_day_ms=0),
        actions=[Action(medium=place.medium, body=body)],
    )  # fmt: skip
    again = Step(
        id="remind", wait=Wait(days=5, base=WaitBase.PREVIOUS_STEP_SENT),
        actions=[Action(medium=place.medium, body=body)],
    )  # fmt: skip
    return review_rule(steps=[first, again])


async def prepare(shop: Shop, place: Place, *, has_earlier: bool) -> bytes:
    """Bring a shop to the instant before a message falls due; return its member."""

    def order(reference: str, contact: Contact) -> Any:
        ticked = [Evidence(Purpose.REVIEW, place.medium, True, shop.clock.now_ms())]
        return shop.event(order=reference, contact=contact, consents=ticked)

    if has_earlier:
        await shop.publish(order("0", place.contact))
        await shop.until("2026-03-08 12:00")
        assert shop.post.letters
        earlier = next(one for one in shop.post.letters if one.event.order.reference == "0")  # type: ignore[union-attr]
        shop.post.letters = [earlier]
    (answer,) = await shop.publish(order("1", place.contact))
    (member,) = answer.members
    if place.is_shared:
        await shop.engine.advance_to(shop.clock.now_ms() + DAY_MS)
        await shop.publish(order("eva", Contact(email=EVA, phone=PHONE)))
    (view,) = await shop.engine.reader.by_order(ACCOUNT, shop.event().channel, "1")
    await shop.engine.advance_to(view.reference.due_ms - 1)
    shop.post.sent.clear()
    return member


def race_of(
    store_of: Callable[[], Awaitable[Store]], place: Place, forbids: Callable[[Place], Way],
    *, waited: bool,
) -> Callable[[Turns], Awaitable[None]]:  # fmt: skip
    """Return the race of one way to forbid a message against its dispatch, and the judgement of it."""

    async def race(turns: Turns) -> None:
        store = await store_of()
        here = Door(store, turns, "dispatch", DISPATCH)
        async with open_shop(here, rule=rule_of(place), media=BOTH) as shop:  # type: ignore[arg-type]
            shop.post.__class__ = TurningTransport
            shop.post.turns = turns  # type: ignore[attr-defined]
            has_earlier = isinstance(forbids, functools.partial)
            member = await prepare(shop, place, has_earlier=has_earlier)
            there = await _another_daemon(shop, Door(store, turns, "client", CLIENT))
            answers: list[Answer] = []

            async def client() -> None:
                answers.append(await forbids(place)(shop, there))

            await turns.race(
                dispatch=shop.engine.advance_to(shop.clock.now_ms() + 1), client=client()
            )
            sent = [at for *_, at in shop.post.sent if bytes.fromhex(at) == member]
            await _judge(shop, turns, place, forbids, member, answers[0], len(sent), waited=waited)

    return race


async def _another_daemon(shop: Shop, store: Door) -> Engine:
    registry = await Registry.open(shop.registry._store, shop.clock)
    postbox = Postbox(dict.fromkeys(BOTH, shop.post))
    return Engine(store, registry, postbox, shop.clock)  # type: ignore[arg-type]


async def _judge(
    shop: Shop, turns: Turns, place: Place, forbids: Any, member: bytes, answer: Answer, sent: int,
    *, waited: bool,
) -> None:  # fmt: skip
    story = f"{name_of(place)} {name_of(forbids)}: {turns.log}"
    returned = turns.log.index(("client", "returned"))
    starts = ["claim"] + (["mark_sending"] if waited else [])
    if place.is_shared and forbids in ENDS_A_PHONE:
        starts.append("mark_addresses")
    start, handed = turns.place("dispatch", *starts), turns.place("dispatch", "send")
    assert sent <= 1, story
    if handed < 0:
        assert not sent, story
    if returned < start:
        assert not sent, f"it started after the call had returned: {story}"
    tells = answer.in_flight is not None
    if sent and returned < handed and tells:
        assert member in answer.in_flight, f"in flight, and nobody was told: {story}"  # type: ignore[operator]
    if member in answer.ended:
        assert not sent, f"it was said to have ended: {story}"
    if forbids is cancel:
        assert answer.is_refused == bool(sent), f"the answer is not the truth: {story}"
    await _in_one_end(shop, member, sent, story, is_erased=forbids is erase)
    others = [one for one in shop.post.letters if one.event.order.reference == "eva"]  # type: ignore[union-attr]
    if place.is_shared and forbids in ENDS_A_PHONE:
        assert not others, f"the phone is somebody else's too: {story}"


async def _in_one_end(shop: Shop, member: bytes, sent: int, story: str, *, is_erased: bool) -> None:
    """It has ended once, the sums are right, and no reminder follows."""
    now_ms, store = shop.clock.now_ms(), shop.engine.store
    partition = partition_of(member[:8], store.meta.partition_count)
    lines = [one for one in await store.outcomes(partition, now_ms // DAY_MS)
             if one.member == member]  # fmt: skip
    assert len(lines) == 1, f"{lines}: {story}"
    assert (lines[0].state == State.SENT) == bool(sent), f"{lines}: {story}"
    assert State(lines[0].state).is_ended, story
    if not is_erased:
        view = await shop.engine.reader.get(ACCOUNT, member)
        assert (view.reference.state, view.reference.reason) == (lines[0].state, lines[0].reason)
    counters = await store.counters(range(store.meta.partition_count))
    assert all(one.imbalance == 0 and one.in_flight == 0 for one in counters.values()), story
    await shop.engine.advance_to(now_ms + 30 * DAY_MS)
    again = [one for one in shop.post.letters if one.event.order.reference == "1"]  # type: ignore[union-attr]
    assert len(again) == sent, f"a reminder went: {story}"
    assert await shop.pending() == 0, story


@pytest.mark.parametrize("waited", [False, True], ids=["at-once", "waited"])
@pytest.mark.parametrize(("place", "forbids"), CASES, ids=name_of)
async def test_after_a_withdrawal_has_returned_no_send_starts(
    store: Store, place: Place, forbids: Any, waited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R12, R18, R19, R22, E4, A2: in every order of the calls."""
    if waited:
        monkeypatch.setattr(bounds, "HAND_OVER_MS", -1)
    race = race_of(functools.partial(_fresh, store), place, forbids, waited=waited)
    if isinstance(store, MemoryStore):
        assert await all_orders(race) > 1
    else:
        await some_orders(race, ORDERS_BY_LOT, seed=len(name_of(forbids)))


async def _fresh(store: Store) -> Store:
    """Return an empty store like this one."""
    if isinstance(store, MemoryStore):
        return MemoryStore.create(partition_count=4)
    await store._links[0].call("FLUSHALL")  # type: ignore[attr-defined]
    return store
