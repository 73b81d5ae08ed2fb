"""Large commits, torn reads, and repetitions that meet a changed world."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from core.bounds import CONTACT_TIMERS_MAX, INVITATION_NOTES_MAX
from core.model import Disposition, Reason, State
from core.ports import Guard, Stop
from core.records import FLAG_HOLD_UNKNOWN
from tests.conformance.kit import (
    DEFERRED,
    LEASE_MS,
    NOW,
    TIMERS,
    Hands,
    cap,
    commit,
    far,
    item,
    key,
    plan,
    timer,
)

MANY = 300
"""More than one byte counts."""


async def test_an_event_may_cause_more_invitations_than_a_byte_counts(hands: Hands) -> None:
    """C4: many rules on one event; h1: notifications are not exclusive."""
    plans = [plan(rule_number=number, due_ms=NOW + number) for number in range(1, MANY + 1)]
    event = commit(*plans)
    beside = commit(plan(), event_key=key("beside"))
    first, other = (await hands.store.commit({0: [event, beside]}, NOW))[0]
    assert [one.due_ms for one in first.plans] == [one.due_ms for one in plans]
    assert len(other.plans) == 1
    again = (await hands.store.commit({0: [event]}, NOW))[0][0]
    assert (again.is_duplicate, len(again.plans)) == (True, MANY)


async def test_a_purchase_may_meet_more_rules_than_a_byte_counts(hands: Hands) -> None:
    """D9: each with a guard of its own."""
    numbers = range(1, MANY + 1)
    guards = tuple(Guard(number, 1 + number % 2, 0, NOW) for number in numbers)
    answer = await hands.commit(
        *(plan(rule_number=number) for number in numbers),
        guards=guards,
        history=((1, key("order"), NOW - 1, 1),),
    )
    assert len(answer.plans) == MANY // 2


async def test_an_event_may_set_more_timers_than_a_byte_counts(hands: Hands) -> None:
    """D5, D13: those set last are kept, also of those that stood there before."""
    await hands.commit(timers=(timer("0"),))
    timers = tuple(timer(str(number), due_ms=NOW + number) for number in range(MANY))
    answer = await hands.commit(plan(), timers=(*timers[1:], timers[0]))
    assert len(answer.plans) == 1
    kept = sorted(timer.id for timer in await hands.timers())
    assert kept == sorted(one.id for one in timers[-CONTACT_TIMERS_MAX:])
    assert len(await hands.lane(TIMERS)) == CONTACT_TIMERS_MAX


async def test_what_is_read_waits_with_its_event_or_waits_no_more(hands: Hands) -> None:
    """d8: an invitation that ends while it is read is never half there."""
    planned = await hands.plan()
    read, _ = await asyncio.gather(
        hands.read(planned.member),
        hands.cancel([planned.member], State.CANCELLED, Reason.ORDER_CANCELLED),
    )
    assert read is not None
    assert read.reference.state != State.SCHEDULED or read.body == b"body"


async def test_a_lost_reply_of_a_claim_is_given_again_though_the_registry_has_moved_on(
    hands: Hands,
) -> None:
    """R12, R13: what was claimed before a stop is claimed; held by nobody it would end UNKNOWN."""
    planned = await hands.plan(flags=FLAG_HOLD_UNKNOWN)
    token = hands.new_token()
    first = await hands.claim(item(planned.member), token=token, registry_revision=1)
    await hands.store.require_registry(2)
    assert await hands.claim(item(planned.member), token=token, registry_revision=1) == first


async def test_a_timer_set_again_where_it_ran_out_before_goes(hands: Hands) -> None:
    """R7, d8: an older event of the same instant sets it once more; it has fired already, and must
    not stand there for ever."""
    fired = {"event_key": key("fired"), "fires": (timer().id, timer().due_ms)}
    await hands.commit(timers=(timer(),))
    assert len((await hands.commit(plan(), **fired)).plans) == 1
    await hands.commit(timers=(timer(),))
    again = await hands.commit(plan(), **fired)
    assert (again.is_duplicate, len(again.plans)) == (True, 1)
    assert again.disposition == Disposition.PLANNED
    assert await hands.timers() == await hands.lane(TIMERS) == []


async def test_a_repetition_of_what_fired_leaves_a_timer_that_has_moved(hands: Hands) -> None:
    """R7, d8."""
    fired = {"event_key": key("fired"), "fires": (timer().id, timer().due_ms)}
    await hands.commit(timers=(timer(),))
    await hands.commit(plan(), **fired)
    moved = replace(timer(), due_ms=timer().due_ms + 1)
    await hands.commit(timers=(moved,))
    await hands.commit(plan(), **fired)
    assert await hands.timers() == [moved]


async def test_claims_that_took_nothing_do_not_hold_up_those_that_did(hands: Hands) -> None:
    """E17: however many of them have run out before."""
    for _ in range(40):
        await hands.claim(lease_deadline_ms=LEASE_MS - 1)
    planned = await hands.plan()
    await hands.take(item(planned.member))
    assert [member for member, _, _ in await hands.recover()] == [planned.member]


async def test_of_what_the_gate_wrote_down_the_newest_is_kept(hands: Hands) -> None:
    """d4: a cap of a minute may hold back for weeks."""
    caps = (cap(window_ms=60_000),)
    held = await hands.plan()
    now_ms, source = NOW, far(NOW)
    for _ in range(INVITATION_NOTES_MAX + 5):
        other = await hands.plan(due_ms=now_ms)
        await hands.take(item(other.member, far(now_ms), caps=caps), now_ms=now_ms)
        (answer,) = await hands.claim(item(held.member, source, caps=caps), now_ms=now_ms)
        assert answer.due_ms == now_ms + 60_000
        now_ms, source = answer.due_ms, DEFERRED
    (notes,) = await hands.store.notes(0, [held.member])
    assert len(notes) == 17 * INVITATION_NOTES_MAX
    assert int.from_bytes(notes[-17:-11], "little") == now_ms - 60_000


ORDER = key("order")


async def stop_in_flight(hands: Hands) -> None:
    """Let an event end what waits for the order."""
    stop = Stop(ORDER, frozenset({1}), Reason.PURCHASED)
    answer = await hands.commit(event_key=key("ends it"), stops=(stop,))
    assert answer.stopped == ()


async def test_what_was_ended_in_flight_is_not_tried_again(hands: Hands) -> None:
    """d8, R12: the next attempt would be a send that starts after the order was cancelled."""
    planned = await hands.plan(order_key=ORDER)
    token = await hands.take(item(planned.member))
    await stop_in_flight(hands)
    assert await hands.state(planned.member) == (State.IN_FLIGHT, Reason.PURCHASED)
    await hands.settle(token, planned.member, State.SCHEDULED, due_ms=NOW + 1)
    assert await hands.state(planned.member) == (State.CANCELLED, Reason.PURCHASED)
    assert await hands.lane(DEFERRED) == []
    assert await hands.body(planned.member) == b""


async def test_what_was_ended_in_flight_and_lost_is_not_sent_again(hands: Hands) -> None:
    """d8: its daemon died; to send it twice, and after the end, would be worse than not to know."""
    planned = await hands.plan(order_key=ORDER)
    await hands.take(item(planned.member))
    await stop_in_flight(hands)
    (taken,) = await hands.recover()
    assert taken[:2] == (planned.member, State.CANCELLED)
    assert await hands.state(planned.member) == (State.CANCELLED, Reason.PURCHASED)
    assert await hands.lane(DEFERRED) == []


async def test_what_was_ended_in_flight_has_no_next_step(hands: Hands) -> None:
    """D5, B17: a purchase ends a cart's run also between hand-over and outcome."""
    planned = await hands.plan(order_key=ORDER)
    token = await hands.take(item(planned.member))
    await stop_in_flight(hands)
    answer = await hands.settle(
        token, planned.member, State.SENT, next_plans=(plan(step=1), plan(step=1, medium=2))
    )
    assert await hands.state(planned.member) == (State.SENT, Reason.NONE)
    assert [(one.state, one.reason) for one in answer.next_plans] == [
        (State.CANCELLED, Reason.PURCHASED)
    ] * 2
