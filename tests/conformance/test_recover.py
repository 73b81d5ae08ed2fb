"""Recover: what a lost daemon had claimed goes on (E2, E17, E20)."""

from __future__ import annotations

from core.model import Reason, State, WaitReason
from core.ports import DueEntry, Store
from core.records import FLAG_HOLD_UNKNOWN
from tests.conformance.kit import DEFERRED, LEASE_MS, NOW, Hands, far, item


async def test_a_claim_is_left_alone_until_its_deadline(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.take(item(planned.member))
    assert await hands.recover(LEASE_MS - 1) == []
    assert await hands.state(planned.member) == (State.IN_FLIGHT, Reason.NONE)
    assert await hands.recover(LEASE_MS) == [(planned.member, State.SCHEDULED, NOW)]


async def test_what_is_taken_back_waits_again_due_as_before(hands: Hands) -> None:
    """pitfall:crash-between-send-and-state."""
    planned = await hands.plan(due_ms=NOW - 5)
    version = await hands.near_version()
    await hands.take(item(planned.member, far(NOW - 5)))
    await hands.recover(now_ms=NOW + 100)
    ref = await hands.ref(planned.member)
    assert (ref.state, ref.wait, ref.due_ms) == (State.SCHEDULED, WaitReason.RETRY, NOW - 5)
    assert (ref.mark, ref.attempts) == (bytes(8), 1)
    assert await hands.lane(DEFERRED) == [DueEntry(planned.member, NOW - 5)]
    assert await hands.near_version() > version
    counters = await hands.counters()
    assert (counters.scheduled, counters.in_flight) == (1, 0)
    assert await hands.body(planned.member) == b"body"
    assert await hands.recover() == [], "once"


async def test_e17_an_outcome_that_must_be_held_ends_unknown(hands: Hands) -> None:
    """R48, pitfall:crash-between-send-and-state."""
    held = await hands.plan(flags=FLAG_HOLD_UNKNOWN)
    await hands.take(item(held.member))
    now_ms = NOW + 100
    assert await hands.recover(now_ms=now_ms) == [(held.member, State.UNKNOWN, NOW)]
    ref = await hands.ref(held.member)
    assert (ref.state, ref.reason) == (State.UNKNOWN, Reason.OUTCOME_UNKNOWN)
    assert ref.settle_ms == now_ms
    assert await hands.lane(DEFERRED) == []
    assert [o.member for o in await hands.outcomes()] == [held.member]
    assert await hands.body(held.member) == b""


async def test_only_what_is_not_settled_is_taken_back(hands: Hands) -> None:
    members = [(await hands.plan()).member for _ in range(3)]
    token = await hands.take(*(item(member) for member in members))
    await hands.settle(token, members[1], State.SENT)
    recovered = [member for member, _, _ in await hands.recover()]
    assert recovered == [members[0], members[2]]


async def test_claims_run_out_each_at_its_own_deadline(hands: Hands) -> None:
    late, early = await hands.plan(), await hands.plan()
    await hands.take(item(late.member), lease_deadline_ms=200)
    await hands.take(item(early.member), lease_deadline_ms=100)
    assert [m for m, _, _ in await hands.recover(101)] == [early.member]
    assert [m for m, _, _ in await hands.recover(1_000)] == [late.member]


async def test_the_oldest_deadline_is_recovered_first(hands: Hands) -> None:
    late, early = await hands.plan(), await hands.plan()
    await hands.take(item(late.member), lease_deadline_ms=200)
    await hands.take(item(early.member), lease_deadline_ms=100)
    assert [m for m, _, _ in await hands.recover(1_000)] == [early.member, late.member]


async def test_after_the_recovery_the_token_is_forgotten(hands: Hands) -> None:
    planned = await hands.plan()
    token = await hands.take(item(planned.member))
    await hands.recover()
    answers = await hands.claim(item(planned.member, DEFERRED), token=token)
    assert answers[0].attempts == 2


async def test_each_partition_recovers_its_own(store: Store) -> None:
    here = await Hands.own(store, 0)
    there = await Hands.own(store, 1, b"hands 01")
    planned = await here.plan()
    await here.take(item(planned.member))
    assert await there.recover() == []
    both = await store.recover({0: here.owner, 1: there.owner}, LEASE_MS + 1, NOW)
    assert {number: len(entries) for number, entries in both.items()} == {0: 1, 1: 0}
