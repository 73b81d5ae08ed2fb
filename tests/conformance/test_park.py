"""What is held because its rule is frozen (E18, R14), and what is counted of a rule (B37)."""

from __future__ import annotations

from core.bounds import HOUR_MS
from core.gate import ClaimAction, ClaimCode
from core.model import Reason, State, WaitReason
from core.ports import DueEntry, RuleCount, Stop
from core.records import FLAG_FOLLOW_UP, FLAG_REVIEWED, NO_KEY
from tests.conformance.kit import DEFERRED, NOW, PARKED, Hands, far, item, key, plan

ORDER = key("order")
EXPIRES = NOW + HOUR_MS


async def park(hands: Hands, member: bytes, now_ms: int = NOW) -> int:
    """Ask the gate to hold an entry; return its answer."""
    (answer,) = await hands.claim(item(member, action=ClaimAction.PARK), now_ms=now_ms)
    return answer.code


async def test_what_is_held_stands_in_its_lane_at_its_expiry(hands: Hands) -> None:
    """E18: due there means expired; before that nothing fires."""
    member = (await hands.plan(expire_ms=EXPIRES)).member
    before = await hands.near_version()
    assert await park(hands, member) == ClaimCode.PARKED
    ref = await hands.ref(member)
    assert (ref.state, ref.wait, ref.due_ms) == (State.SCHEDULED, WaitReason.FROZEN, NOW)
    assert await hands.lane(PARKED) == [DueEntry(member, EXPIRES)]
    assert await hands.lane(far(NOW)) == []
    assert await hands.near_version() > before
    assert await hands.body(member) == b"body"


async def test_it_expires_where_it_is_held(hands: Hands) -> None:
    """E18, R30: its expiry stands; frozen or thawed by then is all the same."""
    for action in (ClaimAction.PARK, ClaimAction.GATE):
        member = (await hands.plan(expire_ms=EXPIRES)).member
        await park(hands, member)
        (answer,) = await hands.claim(item(member, PARKED, action=action), now_ms=EXPIRES)
        assert answer.code == ClaimCode.ENDED
        assert (await hands.state(member))[0] == State.EXPIRED
        assert await hands.lane(PARKED) == []
        assert await hands.body(member) == b""


async def test_a_move_wakes_it(hands: Hands) -> None:
    """R14: resume lets go what was held, through all gates again."""
    member = (await hands.plan(expire_ms=EXPIRES)).member
    await park(hands, member)
    assert await hands.move(member, PARKED, NOW + 5, now_ms=NOW + 5)
    assert (await hands.ref(member)).wait == WaitReason.NONE
    assert await hands.lane(PARKED) == []
    await hands.take(item(member, DEFERRED), now_ms=NOW + 5)


async def test_what_complaints_hold_is_held_alike(hands: Hands) -> None:
    """g6: it says why it waits, and a move takes the reason away, also if the time stays."""
    member = (await hands.plan(expire_ms=EXPIRES)).member
    held = item(member, action=ClaimAction.PARK, wait=WaitReason.COMPLAINTS)
    (answer,) = await hands.claim(held)
    assert answer.code == ClaimCode.PARKED
    assert (await hands.ref(member)).wait == WaitReason.COMPLAINTS
    assert await hands.lane(PARKED) == [DueEntry(member, EXPIRES)]
    assert await hands.move(member, PARKED, NOW)
    assert (await hands.ref(member)).wait == WaitReason.NONE
    assert await hands.lane(PARKED) == []


async def test_parking_takes_nothing_that_does_not_wait(hands: Hands) -> None:
    member = (await hands.plan()).member
    await hands.cancel([member], State.CANCELLED, Reason.RULE_STOPPED)
    assert await park(hands, member) == ClaimCode.GONE
    assert (await hands.lane(PARKED), await hands.lane(far(NOW))) == ([], [])


async def test_what_is_held_may_still_be_ended(hands: Hands) -> None:
    """D17, E18: an order cancelled meanwhile ends it; the lane forgets it when it looks."""
    member = (await hands.plan(order_key=ORDER, expire_ms=EXPIRES)).member
    await park(hands, member)
    stop = Stop(ORDER, frozenset({1}), Reason.ORDER_CANCELLED)
    answer = await hands.commit(stops=(stop,))
    assert len(answer.stopped) == 1
    (gone,) = await hands.claim(item(member, PARKED), now_ms=EXPIRES)
    assert (gone.code, await hands.lane(PARKED)) == (ClaimCode.GONE, [])


# --- what is counted of a rule ----------------------------------------------------------------------


async def sent(hands: Hands, **fields: object) -> bytes:
    member = (await hands.plan(**{"order_key": ORDER, "kinds": 1, **fields})).member
    token = await hands.take(item(member))
    await hands.settle(token, member, State.SENT)
    return member


def reviewed(of: bytes = ORDER, kinds: int = 3, *, has_comment: bool = False) -> Stop:
    return Stop(of, frozenset({1}), Reason.REVIEWED, kinds, has_comment)


async def counted(hands: Hands) -> dict[RuleCount, int]:
    rules = (await hands.counters()).rules
    return {RuleCount(count): number for (rule, count), number in rules.items() if rule == 1}


async def test_a_review_counts_once_for_each_run(hands: Hands) -> None:
    """B37: however often the order is reviewed, and not again for its reminder."""
    member = await sent(hands)
    await sent(hands, step=1, flags=FLAG_FOLLOW_UP)
    for n in range(3):
        await hands.commit(stops=(reviewed(has_comment=n == 0),))
    assert await counted(hands) == {
        RuleCount.SENT: 2, RuleCount.FIRST_SENT: 1, RuleCount.REVIEWED: 1, RuleCount.COMMENTED: 1,
    }  # fmt: skip
    assert (await hands.ref(member)).flags & FLAG_REVIEWED


async def test_what_was_not_sent_or_not_meant_is_not_counted(hands: Hands) -> None:
    """B37, R38: a request that waited ends instead; other orders and kinds stay uncounted."""
    await sent(hands, order_key=key("another"))
    await sent(hands, kinds=2)
    (waits,) = (await hands.commit(plan(order_key=ORDER, kinds=1))).plans
    await hands.commit(stops=(reviewed(kinds=1),))
    assert await hands.state(waits.member) == (State.CANCELLED, Reason.REVIEWED)
    assert RuleCount.REVIEWED not in await counted(hands)
    await hands.commit(stops=(reviewed(kinds=2),))
    assert (await counted(hands))[RuleCount.REVIEWED] == 1
    assert RuleCount.COMMENTED not in await counted(hands)


async def test_two_runs_reviewed_at_once_are_two(hands: Hands) -> None:
    """B37: a stop for the contact counts each of its runs."""
    await sent(hands)
    await sent(hands, order_key=key("another"))
    await hands.commit(stops=(reviewed(NO_KEY, has_comment=True),))
    found = await counted(hands)
    assert (found[RuleCount.REVIEWED], found[RuleCount.COMMENTED]) == (2, 2)
