"""Another due time for what waits: edits, zones, operators, thaws (R40, d2, E18)."""

from __future__ import annotations

import pytest

from core.bounds import DAY_MS, HOUR_MS
from core.gate import ClaimAction, ClaimCode
from core.model import Reason, State, WaitReason
from core.ports import DueEntry, Move
from core.records import member_of
from tests.conformance.kit import (
    DEFERRED,
    NEAR,
    NOW,
    PARKED,
    Hands,
    contact_key,
    far,
    item,
)

LATER = NOW + 3 * HOUR_MS


async def test_what_waits_moves_from_its_slot_to_the_deferred_lane(hands: Hands) -> None:
    planned = await hands.plan()
    before = await hands.near_version()
    assert await hands.move(planned.member, far(NOW), LATER)
    ref = await hands.ref(planned.member)
    assert (ref.state, ref.due_ms, ref.wait, ref.expire_ms) == (
        State.SCHEDULED, LATER, WaitReason.NONE, NOW + 30 * DAY_MS,
    )  # fmt: skip
    assert await hands.lane(far(NOW)) == []
    assert await hands.lane(DEFERRED) == [DueEntry(planned.member, LATER)]
    assert await hands.near_version() > before
    assert [a.code for a in await hands.claim(item(planned.member, DEFERRED))] == [
        ClaimCode.NOT_DUE
    ]
    await hands.take(item(planned.member, DEFERRED), now_ms=LATER)


async def test_moving_twice_leaves_one_entry(hands: Hands) -> None:
    """Idempotent; back and forth, from the deferred lane into itself."""
    planned = await hands.plan()
    for due_ms in (LATER, LATER, NOW + 1):
        assert await hands.move(planned.member, far(NOW), due_ms)
        assert await hands.lane(DEFERRED) == [DueEntry(planned.member, due_ms)]
        assert await hands.move(planned.member, DEFERRED, due_ms)
        assert await hands.lane(DEFERRED) == [DueEntry(planned.member, due_ms)]


async def test_detail_and_expiry_change_only_where_they_are_told(hands: Hands) -> None:
    """R40: a revision replaces the plan; an operator moves the time alone."""
    planned = await hands.plan()
    await hands.move(planned.member, far(NOW), LATER, expire_ms=LATER + 9, detail=b"revised")
    await hands.move(planned.member, DEFERRED, LATER + 1)
    waiting = await hands.read(planned.member)
    assert waiting is not None
    assert (waiting.detail, waiting.reference.expire_ms) == (b"revised", LATER + 9)


@pytest.mark.parametrize("spare_ms", [0, 1])
async def test_what_has_no_time_left_expires(hands: Hands, spare_ms: int) -> None:
    """R30: due no earlier than it expires is too late; a millisecond before is not."""
    planned = await hands.plan()
    assert await hands.move(planned.member, far(NOW), LATER, expire_ms=LATER + spare_ms)
    if spare_ms:
        assert await hands.state(planned.member) == (State.SCHEDULED, 0)
        return
    assert await hands.state(planned.member) == (State.EXPIRED, Reason.NO_SLOT)
    assert (await hands.ref(planned.member)).expire_ms == LATER
    assert (await hands.lane(far(NOW)), await hands.lane(DEFERRED)) == ([], [])
    assert await hands.body(planned.member) == b""
    assert (await hands.counters()).ended == {(State.EXPIRED, Reason.NO_SLOT): 1}
    assert not await hands.move(planned.member, far(NOW), LATER), "and waits no more"


async def test_only_what_waits_moves(hands: Hands) -> None:
    """In flight, ended and unknown stay as they are; stale index entries go."""
    sent, claimed, cancelled, waits = [(await hands.plan()).member for _ in range(4)]
    token = await hands.take(item(sent))
    await hands.settle(token, sent, State.SENT)
    await hands.take(item(claimed))
    await hands.cancel([cancelled], State.CANCELLED, Reason.RULE_STOPPED)
    unknown = member_of(contact_key("nobody"), 1, 1)
    moves = [Move(m, far(NOW), LATER, 0, b"x") for m in (sent, claimed, unknown, cancelled, waits)]
    assert await hands.store.move(0, moves, NOW) == [False, False, False, False, True]
    states = [(await hands.state(member))[0] for member in (sent, claimed, cancelled)]
    assert states == [State.SENT, State.IN_FLIGHT, State.CANCELLED]
    for member in (sent, claimed, cancelled):
        waiting = await hands.read(member)
        assert waiting is not None
        assert waiting.detail == b"detail"
    assert await hands.lane(far(NOW)) == []
    assert await hands.lane(DEFERRED) == [DueEntry(waits, LATER)]


async def test_a_wait_reason_goes(hands: Hands) -> None:
    """What was held by hours waits for nothing but its time now."""
    planned = await hands.plan()
    held = item(planned.member, action=ClaimAction.DEFER, due_ms=LATER, wait=WaitReason.QUIET_HOURS)
    await hands.claim(held)
    assert (await hands.ref(planned.member)).wait == WaitReason.QUIET_HOURS
    await hands.move(planned.member, DEFERRED, NOW + 1)
    assert (await hands.ref(planned.member)).wait == WaitReason.NONE


async def test_entries_of_several_lanes_move_in_one_call(hands: Hands) -> None:
    slow = (await hands.plan(due_ms=NOW + DAY_MS)).member
    parked = (await hands.plan()).member
    await hands.claim(item(parked, action=ClaimAction.PARK))
    await hands.open_until(NOW + HOUR_MS)
    near = (await hands.plan(due_ms=NOW + 1)).member
    moves = [
        Move(near, NEAR, LATER),
        Move(parked, PARKED, LATER + 1),
        Move(slow, far(NOW + DAY_MS), LATER + 2),
    ]
    assert await hands.store.move(0, moves, NOW) == [True] * 3
    for source in (NEAR, PARKED, far(NOW + DAY_MS)):
        assert await hands.lane(source) == []
    assert [entry.member for entry in await hands.lane(DEFERRED)] == [near, parked, slow]


async def test_more_moves_than_one_script_takes(hands: Hands) -> None:
    members = [(await hands.plan()).member for _ in range(3)]
    moves = [Move(members[n % 3], far(NOW), LATER + n) for n in range(300)]
    assert await hands.store.move(0, moves, NOW) == [True] * 300
    assert [entry.due_ms for entry in await hands.lane(DEFERRED)] == [
        LATER + n for n in (297, 298, 299)
    ]
