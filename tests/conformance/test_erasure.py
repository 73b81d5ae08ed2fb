"""Erasure (R22): what goes, what stays behind the keyed hash, and what is left to do elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from core.bounds import CONTACT_INVITATIONS_MAX, DAY_MS, ORDER_GENERATION_MS
from core.contact_ports import Erased
from core.gate import ClaimAction
from core.model import ConsentScope, Disposition, Medium, Purpose, Reason, State, Suppression
from core.outcomes import Outcome
from core.ports import EventMark, OrderNote, SettleAnswer
from core.records import (
    FLAG_FOLLOW_UP,
    FLAG_HOLD_UNKNOWN,
    NO_KEY,
    ConsentEntry,
    ContactRecord,
    HistoryKind,
)
from tests.conformance.kit import (
    DEFERRED,
    NEAR,
    NOW,
    PARKED,
    TIMERS,
    Hands,
    cap,
    contact_key,
    far,
    item,
    key,
    line,
    plan,
    timer,
)

LATER = NOW + 1_000
ME = contact_key()
ERASED = [
    ConsentEntry(ConsentScope.ACCOUNT, purpose, 0, Suppression.ERASED, NO_KEY, LATER)
    for purpose in (Purpose.REVIEW, Purpose.MARKETING)
]


async def erase(hands: Hands, contact: bytes = ME, now_ms: int = LATER) -> Erased:
    return await hands.store.erase_contact(hands.partition, contact, now_ms)


async def everywhere(hands: Hands) -> tuple[bytes, bytes]:
    """Give the contact something of everything; return (member that waits, member in flight)."""
    await hands.write(line(1), line(3, medium=Medium.SMS))
    answer = await hands.commit(
        plan(order_key=key("order"), message_key=key("message"), due_ms=NOW + DAY_MS),
        event_key=key("the event"),
        history=((HistoryKind.PURCHASE, key("purchase"), NOW, 1),),
        tombstone_order=key("ended order"),
        tombstone_type=2,
        timers=(timer("cart", key=key("cart")),),
    )
    flying = (await hands.plan(order_key=key("order"))).member
    await hands.take(item(flying, caps=(cap(),)))
    capped = (await hands.plan()).member
    await hands.claim(item(capped, caps=(cap(),)))
    await hands.commit(facts_key=NO_KEY, body=b"told later")
    return answer.plans[0].member, flying


# --- what goes ----------------------------------------------------------------------------------


async def test_everything_goes_but_the_hash_and_what_blocks_it(hands: Hands) -> None:
    """R22: the record holds its counters, the block, and nothing else."""
    await everywhere(hands)
    before = await hands.record()
    await erase(hands)
    after = await hands.record()
    assert after.next_sequence == before.next_sequence
    assert after.consent_lines == before.consent_lines == 2
    assert after.consents == ERASED
    assert (after.stamps, after.tombstones, after.history, after.events) == ([], [], [], [])
    members = [entry.member for entry in await hands.lane(DEFERRED)]
    assert members == [] == await hands.lane(TIMERS) == await hands.lane(far(NOW + DAY_MS))
    assert await hands.timers() == []
    assert await hands.log() == []
    assert (await hands.store.scan_details(hands.partition, 0, 1_000))[1] == []


async def test_what_waits_ends_cancelled_and_counted(hands: Hands) -> None:
    """R22, R6: the law holds although the references are gone."""
    waiting, _ = await everywhere(hands)
    notes = await hands.store.notes(hands.partition, [waiting])
    erased = await erase(hands)
    assert waiting in erased.cancelled
    assert len(erased.cancelled) == 2
    counters = await hands.counters()
    assert (counters.planned, counters.scheduled, counters.in_flight) == (3, 0, 1)
    assert counters.ended == {(State.CANCELLED, Reason.ERASED): 2}
    assert (await hands.outcomes())[0] == Outcome(
        waiting, State.CANCELLED, Reason.ERASED, 1, LATER, 0
    )
    assert notes == [b""]
    assert await hands.read(waiting) is None


async def test_notes_and_bodies_go(hands: Hands) -> None:
    """R22: also those of what has ended."""
    member = (await hands.plan()).member
    await hands.take(item(member, caps=(cap(),)))
    waiting = (await hands.plan()).member
    await hands.claim(item(waiting, caps=(cap(),)))
    assert (await hands.store.notes(hands.partition, [waiting]))[0]
    await erase(hands)
    assert await hands.store.notes(hands.partition, [waiting]) == [b""]
    # A new invitation under the next number finds nothing of the old.
    answer = await hands.commit(
        plan(purpose=Purpose.TRANSACTIONAL), event_time_ms=LATER + 1, body=b"new"
    )
    waiting_again = await hands.read(answer.plans[0].member)
    assert waiting_again is not None
    assert (waiting_again.body, waiting_again.facts) == (b"new", b"")


@pytest.mark.parametrize("lane", ["near", "parked"])
async def test_index_entries_go_from_every_lane(hands: Hands, lane: str) -> None:
    await hands.open_until(NOW + DAY_MS)
    member = (await hands.plan()).member
    if lane == "parked":
        await hands.claim(item(member, NEAR, action=ClaimAction.PARK))
    assert len(await hands.lane(PARKED if lane == "parked" else NEAR)) == 1
    assert (await erase(hands)).cancelled == (member,)
    assert await hands.lane(NEAR) == await hands.lane(PARKED) == []


async def test_plans_that_the_record_has_forgotten_go_too(hands: Hands) -> None:
    """R22: a record keeps 1,024 references, the plans live until they are swept."""
    ended: dict[str, Any] = {"state": State.EXPIRED, "reason": Reason.LATE_EVENT}
    for _ in range(9):
        await hands.commit(*(plan(**ended) for _ in range(128)))
    other = (await hands.commit(plan(), contact_key=contact_key("other"))).plans[0].member
    assert len((await hands.record()).references) == CONTACT_INVITATIONS_MAX
    await erase(hands)
    found: list[bytes] = []
    cursor = 0
    while True:
        cursor, part = await hands.store.scan_details(hands.partition, cursor, 100)
        found += [member for member, _ in part]
        if not cursor:
            break
    assert found == [other]


async def test_others_keep_everything(hands: Hands) -> None:
    other = contact_key("other")
    answer = await hands.commit(plan(), contact_key=other, timers=(timer("cart"),))
    await hands.write(line(1), contact=other)
    before = await hands.record(other)
    await everywhere(hands)
    await erase(hands)
    assert await hands.record(other) == before
    assert await hands.body(answer.plans[0].member) == b"body"
    assert len(await hands.timers(other)) == 1
    assert len(await hands.log(other)) == 1


# --- what stays ---------------------------------------------------------------------------------


async def test_a_contact_that_is_not_known_is_erased_all_the_same(hands: Hands) -> None:
    """R22: the block holds for whoever comes later with this address."""
    assert await erase(hands) == Erased((), (), (), ())
    assert await hands.record() == ContactRecord(consents=ERASED)
    refused = await hands.commit(plan(), event_time_ms=LATER)
    assert refused.disposition == Disposition.REFUSED
    later = await hands.commit(plan(needs_consent=True), event_time_ms=LATER + 1)
    assert (later.plans[0].state, later.plans[0].reason) == (State.SKIPPED, Reason.SUPPRESSED)


async def test_a_later_confirmation_opens_a_new_contact(hands: Hands) -> None:
    """R22: with an empty ledger."""
    await hands.take(item((await hands.plan()).member, caps=(cap(),)))
    await erase(hands)
    await hands.write(line(5, time_ms=LATER + 1), now_ms=LATER + 2)
    answer = await hands.commit(plan(needs_consent=True), event_time_ms=LATER + 1)
    assert answer.plans[0].state == State.SCHEDULED
    await hands.take(item(answer.plans[0].member, needs_consent=True, caps=(cap(),)), now_ms=LATER)


async def test_suppressions_that_nothing_ends_stay(hands: Hands) -> None:
    """R18, R22: an address that does not exist is not written to again because it was erased."""
    await hands.write(
        line(Suppression.HARD_BOUNCED, purpose=0),
        line(Suppression.BLOCKED, scope=ConsentScope.CHANNEL, scope_key=(1).to_bytes(8, "little")),
        line(Suppression.BLOCKED, scope=ConsentScope.ORDER, scope_key=key("order")),
        line(Suppression.COMPLAINED),
        line(Suppression.UNSUBSCRIBED),
    )
    erased = await erase(hands)
    table = (await hands.record()).consents
    assert [entry.status for entry in table[:2]] == [Suppression.HARD_BOUNCED, Suppression.BLOCKED]
    assert table[2:] == ERASED
    assert erased.order_keys == (key("order"),)


# --- what is in flight --------------------------------------------------------------------------


async def test_what_is_in_flight_stays_bare_and_is_named(hands: Hands) -> None:
    """R22, R12: it may still arrive."""
    _, flying = await everywhere(hands)
    assert (await erase(hands)).in_flight == (flying,)
    ref = await hands.ref(flying)
    assert (ref.state, ref.reason) == (State.IN_FLIGHT, Reason.ERASED)
    assert (ref.event_key, ref.order_key, ref.message_key) == (NO_KEY, NO_KEY, NO_KEY)
    assert await hands.read(flying) is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.SENT, (State.SENT, Reason.NONE)),
        (State.UNKNOWN, (State.UNKNOWN, Reason.NONE)),
        (State.SCHEDULED, (State.CANCELLED, Reason.ERASED)),
    ],
)
async def test_its_settlement_leaves_nothing_and_plans_nothing(
    hands: Hands, state: State, expected: tuple[int, int]
) -> None:
    """R22: neither a next step nor another attempt."""
    member = (await hands.plan()).member
    token = await hands.take(item(member, caps=(cap(),)))
    await erase(hands)
    following = (plan(step=1, flags=FLAG_FOLLOW_UP),) if state == State.SENT else ()
    answer = await hands.settle(
        token, member, state, LATER, next_plans=following, due_ms=LATER, releases_caps=True
    )
    assert answer == SettleAnswer(True)
    assert await hands.state(member) == expected
    assert (await hands.store.scan_details(hands.partition, 0, 1_000))[1] == []
    counters = await hands.counters()
    assert (counters.planned, counters.ended) == (1, {expected: 1})


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, (State.CANCELLED, Reason.ERASED)),
        (FLAG_HOLD_UNKNOWN, (State.UNKNOWN, Reason.OUTCOME_UNKNOWN)),
    ],
)
async def test_what_is_never_settled_ends(
    hands: Hands, flags: int, expected: tuple[int, int]
) -> None:
    """R22: its lease runs out, and it does not wait again."""
    member = (await hands.plan(flags=flags)).member
    await hands.take(item(member))
    await erase(hands)
    await hands.recover()
    assert await hands.state(member) == expected


async def test_the_second_look_stops_what_was_erased(hands: Hands) -> None:
    """R22, E4."""
    member = (await hands.plan()).member
    token = await hands.take(item(member))
    await erase(hands)
    looked = await hands.store.mark_sending(hands.partition, token, [item(member)], LATER)
    assert looked == [False]
    assert await hands.state(member) == (State.CANCELLED, Reason.ERASED)


# --- what is left to do -------------------------------------------------------------------------


async def test_keys_elsewhere_are_named_until_it_is_finished(hands: Hands) -> None:
    """R22: whoever goes on after a crash asks again and gets the same answer."""
    await everywhere(hands)
    events = {seen.event_key for seen in (await hands.record()).events}
    first = await erase(hands)
    assert set(first.event_keys) == events
    assert len(events) == 4
    orders = {key(name) for name in ("order", "purchase", "ended order", "cart")}
    assert set(first.order_keys) == orders
    assert await erase(hands, now_ms=LATER + 1) == first
    await hands.store.finish_erasure(hands.partition, ME)
    await hands.store.finish_erasure(hands.partition, ME)
    again = await erase(hands, now_ms=LATER + 2)
    assert again == Erased((), (), (), first.in_flight)


async def test_a_repetition_erases_what_has_come_since(hands: Hands) -> None:
    """R22: until it is finished, the answer holds both."""
    await hands.commit(event_key=key("before"))
    await erase(hands)
    answer = await hands.commit(
        plan(purpose=Purpose.TRANSACTIONAL),
        event_key=key("since"),
        event_time_ms=LATER + 1,
    )
    erased = await erase(hands, now_ms=LATER + 2)
    assert set(erased.event_keys) == {key("before"), key("since")}
    assert erased.cancelled == (answer.plans[0].member,)
    assert [entry.time_ms for entry in (await hands.record()).consents] == [LATER + 2] * 2


# --- directories --------------------------------------------------------------------------------


async def test_a_forgotten_event_is_new_again(hands: Hands) -> None:
    """R22: its mark goes from both generations."""
    store = hands.store
    mark, other = EventMark(key("e"), key("body"), ME), EventMark(key("f"), key("body"), ME)
    await store.mark_events({0: [mark, other]}, NOW)
    later = NOW + 14 * DAY_MS  # the mark is in the generation before
    await store.forget_events({0: [mark.event_key], 1: [key("nothing")]}, later)
    assert await store.event_mark(0, mark.event_key, later) is None
    assert await store.event_mark(0, other.event_key, later) is not None
    await store.mark_events({0: [mark]}, later)
    await store.forget_events({0: [mark.event_key]}, later)
    assert (await store.mark_events({0: [mark]}, later))[0][0].is_new


async def test_a_forgotten_contact_is_named_for_no_order(hands: Hands) -> None:
    """R22: others and tombstones stay, in both generations."""
    store, other = hands.store, contact_key("other")
    notes = [
        OrderNote(key("mine"), ME),
        OrderNote(key("ours"), ME),
        OrderNote(key("ours"), other),
        OrderNote(key("ended"), ME, 2, NOW),
        OrderNote(key("theirs"), other),
    ]
    await store.note_orders({0: notes}, NOW)
    later = NOW + ORDER_GENERATION_MS
    await store.note_orders({0: [OrderNote(key("ours"), ME)]}, later)
    orders = [key(name) for name in ("mine", "ours", "ended", "theirs", "nothing")]
    for _ in range(2):
        await store.forget_orders({0: orders}, ME, later)
    asked = {0: [OrderNote(order) for order in orders]}
    for now_ms in (NOW, later):
        answers = (await store.note_orders(asked, now_ms))[0]
        assert [answer.contact_keys for answer in answers] == [(), (other,), (), (other,), ()]
        assert answers[2].tombstones == ((2, NOW),)


async def test_a_scan_shows_every_plan(hands: Hands) -> None:
    """All that is there from the beginning to the end of a scan."""
    members = {(await hands.plan(detail=b"%d" % number)).member for number in range(300)}
    found: dict[bytes, bytes] = {}
    cursor, steps = 0, 0
    while steps == 0 or cursor:
        cursor, part = await hands.store.scan_details(hands.partition, cursor, 50)
        found |= dict(part)
        steps += 1
    assert found.keys() == members
    assert set(found.values()) == {b"%d" % number for number in range(300)}
    assert await hands.store.scan_details(1, 0, 50) == (0, [])
