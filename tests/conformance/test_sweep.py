"""Sweep: what its retention has outlived goes; what still matters stays."""

from __future__ import annotations

from core.bounds import DAY_MS, OUTCOME_RETENTION_MS
from core.model import Reason, State
from tests.conformance.kit import (
    NOW,
    Hands,
    cap,
    commit,
    consent_entry,
    contact_key,
    item,
    key,
    plan,
)

END_OF_DAY = NOW - NOW % DAY_MS + DAY_MS
RETAINED = END_OF_DAY + OUTCOME_RETENTION_MS - 1
"""The last instant at which what ended on the day of NOW is kept."""


async def sweep(hands: Hands, now_ms: int) -> int:
    dropped = 0
    while count := await hands.store.sweep(0, now_ms):
        dropped += count
    return dropped


async def test_nothing_goes_within_the_retention(hands: Hands) -> None:
    planned = await hands.plan(state=State.SKIPPED, reason=Reason.UNSUBSCRIBED)
    before = await hands.record()
    assert await sweep(hands, RETAINED) == 0
    assert await hands.record() == before
    assert await hands.read(planned.member) is not None
    assert len(await hands.outcomes()) == 1


async def test_what_ended_goes_with_plan_notes_and_outcome(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.claim(item(planned.member, caps=(cap(limit=0),)))
    counters = await hands.counters()
    assert await sweep(hands, RETAINED + 1) == 1
    assert (await hands.record()).references == []
    assert await hands.read(planned.member) is None
    assert await hands.store.notes(0, [planned.member]) == [b""]
    assert await hands.outcomes() == []
    assert await hands.counters() == counters, "counters are for ever"
    assert await sweep(hands, RETAINED + 1) == 0


async def test_what_waits_or_ended_later_stays(hands: Hands) -> None:
    answer = await hands.commit(plan(), plan(), plan())
    old, new, waiting = (created.member for created in answer.plans)
    await hands.cancel([old], State.CANCELLED, Reason.BY_CLIENT, END_OF_DAY - 1)
    await hands.cancel([new], State.CANCELLED, Reason.BY_CLIENT, END_OF_DAY)
    assert await sweep(hands, RETAINED + 1) == 1
    assert [ref.sequence for ref in (await hands.record()).references] == [2, 3]
    assert [o.member for o in await hands.outcomes(END_OF_DAY)] == [new]
    assert await hands.body(waiting) == b"body"
    assert await hands.read(old) is None


async def test_a_sweep_that_was_missed_for_long_catches_up(hands: Hands) -> None:
    for days in (0, 5, 30):
        now_ms = NOW + days * DAY_MS
        await hands.commit(plan(state=State.SKIPPED, reason=Reason.NO_RECIPIENT), now_ms=now_ms)
    assert await sweep(hands, RETAINED + 60 * DAY_MS) == 3
    assert (await hands.record()).references == []


async def test_consent_tombstones_and_events_seen_stay(hands: Hands) -> None:
    await hands.commit(
        plan(state=State.SKIPPED, reason=Reason.NO_RECIPIENT),
        event_key=key("e"),
        consents=(consent_entry(),),
        tombstone_order=key("order"),
        tombstone_type=2,
    )
    await sweep(hands, RETAINED + 1)
    record = await hands.record()
    assert (len(record.consents), len(record.tombstones), len(record.events)) == (1, 1, 1)
    assert record.next_sequence == 2
    again = await hands.commit(plan(), event_key=key("e"))
    assert (again.is_duplicate, tuple(again.plans)) == (True, ())


async def test_work_is_bounded_and_goes_on(hands: Hands) -> None:
    ended = plan(state=State.SKIPPED, reason=Reason.NO_RECIPIENT)
    commits = [
        commit(*[ended] * 21, event_key=key(str(n)), contact_key=contact_key(str(n)))
        for n in range(50)
    ]
    await hands.store.commit({0: commits}, NOW)
    first = await hands.store.sweep(0, RETAINED + 1)
    assert 0 < first < 1_050
    assert first + await sweep(hands, RETAINED + 1) == 1_050
    assert await hands.outcomes() == []
