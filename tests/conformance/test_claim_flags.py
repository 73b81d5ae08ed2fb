"""Claims that look again, forward data, fall back or replace others (R25, R28, R47, E9)."""

from __future__ import annotations

from typing import Any

import pytest

from core.bounds import DAY_MS, HOUR_MS
from core.contact_ports import ConsentLine
from core.gate import CapRule, ClaimAnswer, ClaimCode
from core.model import ConsentScope, ConsentStatus, Medium, Purpose, Reason, State, WaitReason
from core.ports import DueEntry
from core.records import FLAG_FELL_BACK, FLAG_FOLLOW_UP, Stamp, pack48, pack_contact
from tests.conformance.kit import (
    DEFERRED,
    NOW,
    Hands,
    cap,
    commit,
    contact_key,
    far,
    item,
    key,
    line,
    plan,
)

WINDOW_MS = 14 * DAY_MS
BEST = cap(ledger=b"best", is_replace=True)
LOOK = cap(ledger=b"look", looks_again=True)
ORDER = key("order")


def forwarding(status: int, **fields: Any) -> ConsentLine:
    return line(status, purpose=Purpose.DATA_FORWARDING, **fields)


async def stood_still(hands: Hands, member: bytes, answer: ClaimAnswer) -> None:
    """Assert that a claim has left everything as it was, but for its answer."""
    assert answer == ClaimAnswer(ClaimCode.LOOK_AGAIN, State.SCHEDULED, 0, NOW, 0)
    ref = await hands.ref(member)
    assert (ref.state, ref.wait, ref.due_ms) == (State.SCHEDULED, WaitReason.NONE, NOW)
    assert await hands.lane(far(NOW)) == [DueEntry(member, NOW)]
    assert await hands.store.notes(0, [member]) == [b""]
    assert (await hands.counters()).scheduled == 1


# --- look again -----------------------------------------------------------------------------------


async def test_a_full_cap_that_looks_again_changes_nothing(hands: Hands) -> None:
    """R28: a product that was asked about lately drops out of the mail; the rest may go."""
    first = await hands.plan(medium=Medium.SMS)
    await hands.take(item(first.member, caps=(LOOK, cap())))
    before = await hands.record()
    planned = await hands.plan()
    token = hands.new_token()
    for _ in range(2):  # the same token: the same answer
        answer = (await hands.claim(item(planned.member, caps=(LOOK, cap())), token=token))[0]
        await stood_still(hands, planned.member, answer)
    assert (await hands.record()).stamps == before.stamps
    await hands.take(item(planned.member))


async def test_what_comes_first_of_looking_again_and_skipping_decides(hands: Hands) -> None:
    never_look, never = cap(ledger=b"look", limit=0, looks_again=True), cap(limit=0)
    first, second = await hands.plan(), await hands.plan()
    answers = await hands.claim(
        item(first.member, caps=(never_look, never)), item(second.member, caps=(never, never_look))
    )
    assert [answer.code for answer in answers] == [ClaimCode.LOOK_AGAIN, ClaimCode.ENDED]


async def test_expiry_and_consent_come_before_a_second_look(hands: Hands) -> None:
    never = cap(ledger=b"look", limit=0, looks_again=True)
    late, unwanted = await hands.plan(expire_ms=NOW), await hands.plan()
    answers = await hands.claim(
        item(late.member, caps=(never,), forwards_data=True),
        item(unwanted.member, caps=(never,), forwards_data=True, needs_consent=True),
    )
    assert [answer.reason for answer in answers] == [Reason.TOO_LATE, Reason.NO_CONSENT]


# --- forwarding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "is_claimed"),
    [
        ((), False),
        ((forwarding(ConsentStatus.GRANTED),), True),
        ((forwarding(ConsentStatus.CONFIRMED),), True),
        ((forwarding(ConsentStatus.DENIED),), False),
        ((forwarding(ConsentStatus.PENDING),), False),
        ((forwarding(ConsentStatus.GRANTED, expire_ms=NOW),), False),
        ((forwarding(ConsentStatus.GRANTED, expire_ms=NOW + 1),), True),
        ((forwarding(ConsentStatus.GRANTED, medium=Medium.SMS),), False),
        ((line(ConsentStatus.GRANTED),), False),
        (
            (
                forwarding(ConsentStatus.GRANTED),
                forwarding(ConsentStatus.DENIED, scope=ConsentScope.ORDER, scope_key=ORDER),
            ),
            False,
        ),
        ((forwarding(ConsentStatus.GRANTED), forwarding(ConsentStatus.WITHDRAWN)), False),
        ((forwarding(ConsentStatus.GRANTED, medium=0),), True),
        ((forwarding(ConsentStatus.GRANTED, medium=0), forwarding(ConsentStatus.DENIED)), False),
        ((forwarding(ConsentStatus.GRANTED), forwarding(ConsentStatus.DENIED, medium=0)), True),
        ((forwarding(ConsentStatus.GRANTED), forwarding(ConsentStatus.WITHDRAWN, medium=0)), False),
    ],
)
async def test_r47_what_leads_to_others_needs_consent_to_forward_data(
    hands: Hands, lines: tuple[ConsentLine, ...], is_claimed: bool
) -> None:
    """A29, R47: checked again at the claim."""
    planned = await hands.plan(order_key=ORDER)
    await hands.write(*lines)
    answer = (await hands.claim(item(planned.member, forwards_data=True)))[0]
    if is_claimed:
        assert answer.code == ClaimCode.CLAIMED
    else:
        await stood_still(hands, planned.member, answer)


async def test_r47_what_may_not_be_forwarded_any_more_waits_again_at_the_second_look(
    hands: Hands,
) -> None:
    """E4: taken, but not handed over yet: it is judged anew, without an attempt or a stamp."""
    planned = await hands.plan()
    await hands.write(forwarding(ConsentStatus.GRANTED))
    taken = item(planned.member, forwards_data=True, caps=(cap(),))
    token = await hands.take(taken)
    assert await hands.store.mark_sending(0, token, [taken], NOW) == [True]
    await hands.write(forwarding(ConsentStatus.WITHDRAWN))
    for _ in range(2):
        assert await hands.store.mark_sending(0, token, [taken], NOW) == [False]
    ref = await hands.ref(planned.member)
    assert (ref.state, ref.due_ms, ref.attempts) == (State.SCHEDULED, NOW, 0)
    assert await hands.lane(DEFERRED) == [DueEntry(planned.member, NOW)]
    assert (await hands.record()).stamps == []
    assert not (await hands.settle(token, planned.member, State.SENT)).is_settled


async def test_r47_what_fell_back_is_remembered_when_it_is_claimed(hands: Hands) -> None:
    full = (cap(ledger=b"full", limit=0, looks_again=True),)
    planned = await hands.plan(flags=FLAG_FOLLOW_UP)
    await hands.claim(item(planned.member, fell_back=True, caps=full))
    assert (await hands.ref(planned.member)).flags == FLAG_FOLLOW_UP
    for _ in range(2):
        token = await hands.take(item(planned.member, far(NOW), fell_back=True))
        ref = await hands.ref(planned.member)
        assert (ref.flags, ref.attempts > 0) == (FLAG_FOLLOW_UP | FLAG_FELL_BACK, True)
        await hands.settle(token, planned.member, State.SCHEDULED, due_ms=NOW)


# --- what waiting knows -------------------------------------------------------------------------------


async def test_the_contact_is_read_with_what_waits(hands: Hands) -> None:
    await hands.write(line(ConsentStatus.GRANTED, expire_ms=NOW + 9))
    planned = await hands.plan(order_key=ORDER)
    await hands.take(item(planned.member, caps=(cap(),)))
    waiting = await hands.read(planned.member)
    assert waiting is not None
    assert waiting.record == pack_contact(await hands.record())


# --- replacing -----------------------------------------------------------------------------------------


class Rivals:
    """A contact whose cap is full, and entries that come to it one after the other."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands

    @classmethod
    async def of(cls, hands: Hands, *caps: CapRule) -> Rivals:
        sent = await hands.plan()
        await hands.take(item(sent.member, caps=caps))
        return cls(hands)

    async def come(self, *caps: CapRule, **fields: Any) -> tuple[bytes, ClaimAnswer]:
        """Plan and claim one more; return its member and what the gate said."""
        planned = await self.hands.plan(**fields)
        asked = item(planned.member, caps=caps or (BEST,))
        return planned.member, (await self.hands.claim(asked, now_ms=NOW + 1))[0]


def notes(*lines: tuple[int, int, bytes, int]) -> list[bytes]:
    return [b"".join(pack48(n) + pack48(u) + led + bytes((code,)) for n, u, led, code in lines)]


async def test_r28_the_newest_of_equal_priority_replaces_those_that_wait(hands: Hands) -> None:
    rivals = await Rivals.of(hands, BEST)
    first, deferred = await rivals.come()
    assert (deferred.code, deferred.due_ms) == (ClaimCode.DEFERRED, NOW + WINDOW_MS)
    second, answer = await rivals.come()
    assert (answer.code, answer.due_ms) == (ClaimCode.DEFERRED, NOW + WINDOW_MS)
    assert await hands.state(first) == (State.SKIPPED, Reason.REPLACED)
    assert await hands.body(first) == b""
    ref = await hands.ref(second)
    assert (ref.state, ref.wait) == (State.SCHEDULED, WaitReason.CAPPED)
    assert (await hands.counters()).ended[State.SKIPPED, Reason.REPLACED] == 1
    assert [outcome.member for outcome in await hands.outcomes()] == [first]
    assert await hands.store.notes(0, [second]) == notes((NOW + 1, NOW + WINDOW_MS, b"best", 1))


async def test_r28_a_lower_priority_gives_way_to_what_waits(hands: Hands) -> None:
    rivals = await Rivals.of(hands, BEST)
    first, _ = await rivals.come(priority=5)
    second, answer = await rivals.come(priority=4)
    assert (answer.code, answer.state, answer.reason) == (
        ClaimCode.ENDED, State.SKIPPED, Reason.REPLACED,
    )  # fmt: skip
    assert (await hands.ref(first)).wait == WaitReason.CAPPED
    assert await hands.lane(far(NOW)) == []
    assert await hands.store.notes(0, [second]) == notes((NOW + 1, NOW + WINDOW_MS, b"best", 3))
    third, _ = await rivals.come(priority=9)
    assert await hands.state(first) == (State.SKIPPED, Reason.REPLACED)
    assert await hands.lane(DEFERRED) == [
        DueEntry(member, NOW + WINDOW_MS) for member in (first, third)
    ]  # an index may hold what waits no more


async def test_r28_only_what_waits_for_this_very_cap_is_replaced(hands: Hands) -> None:
    other = cap(ledger=b"else", window_ms=2 * WINDOW_MS)
    rivals = await Rivals.of(hands, BEST, other)
    elsewhere, _ = await rivals.come(other)
    later, _ = await rivals.come(BEST, other)
    retried = (await hands.plan()).member
    token = await hands.take(item(retried))
    await hands.settle(token, retried, State.SCHEDULED, due_ms=NOW + HOUR_MS)
    ben = await hands.commit(plan(), contact_key=contact_key("ben"))
    await hands.take(item(ben.plans[0].member, caps=(BEST,)))
    bens = (await hands.commit(plan(), contact_key=contact_key("ben"))).plans[0].member
    await hands.claim(item(bens, caps=(BEST,)), now_ms=NOW + 1)
    last, _ = await rivals.come()
    for member in (elsewhere, later, retried, bens, last):
        assert await hands.state(member) in ((State.SCHEDULED, 0), (State.SCHEDULED, Reason.NONE))


async def test_r28_what_was_claimed_since_is_no_rival(hands: Hands) -> None:
    rivals = await Rivals.of(hands, BEST)
    first, _ = await rivals.come(priority=5)
    answer = (await hands.claim(item(first, DEFERRED, caps=(BEST,)), now_ms=NOW + WINDOW_MS))[0]
    assert answer.code == ClaimCode.CLAIMED
    second, _ = await rivals.come(priority=1)
    now_ms = NOW + 2 * WINDOW_MS - 1
    third = (await hands.commit(plan(priority=1, due_ms=now_ms), now_ms=now_ms)).plans[0].member
    asked = [item(third, far(now_ms), caps=(BEST,))]
    assert (await hands.claim(*asked, now_ms=now_ms))[0].code == ClaimCode.DEFERRED
    assert await hands.state(second) == (State.SKIPPED, Reason.REPLACED)


async def test_r28_several_of_one_claim_replace_each_other(hands: Hands) -> None:
    sent = await hands.plan()
    await hands.take(item(sent.member, caps=(BEST,)))
    listed = [plan(priority=priority) for priority in (1, 7, 3)]
    low, high, middle = [p.member for p in (await hands.commit(*listed)).plans]
    answers = await hands.claim(*(item(m, caps=(BEST,)) for m in (low, middle, high)))
    assert [answer.code for answer in answers] == [ClaimCode.DEFERRED] * 3
    for member, state in (
        (low, State.SKIPPED), (middle, State.SKIPPED), (high, State.SCHEDULED)
    ):  # fmt: skip
        assert (await hands.ref(member)).state == state


async def test_r30_what_expires_before_the_cap_frees_replaces_nothing(hands: Hands) -> None:
    rivals = await Rivals.of(hands, BEST)
    first, _ = await rivals.come()
    _, answer = await rivals.come(expire_ms=NOW + DAY_MS, priority=9)
    assert (answer.state, answer.reason) == (State.EXPIRED, Reason.NO_SLOT)
    assert (await hands.ref(first)).state == State.SCHEDULED


# --- stamps of others ----------------------------------------------------------------------------------


async def test_r4_sends_of_a_contact_that_turned_out_to_be_the_same_count_too(
    hands: Hands,
) -> None:
    """R4: on a merge ledgers unite."""
    planned = await hands.plan()
    await hands.take(item(planned.member, caps=(cap(),)))
    early, late = (b"cap1", key("a"), NOW - DAY_MS), (b"cap2", key("b"), NOW + 1)
    for name in ("one", "two"):
        listed = [commit(event_key=key(name), stamps=(late, early, early))]
        await hands.store.commit({0: listed}, NOW)
    own = Stamp(b"cap1", bytes(2) + planned.member[8:14], NOW)
    assert (await hands.record()).stamps == [Stamp(*early), own, Stamp(*late)]
    second = await hands.plan()
    two = (cap(limit=2),)
    answer = (await hands.claim(item(second.member, caps=two)))[0]
    assert (answer.code, answer.due_ms) == (ClaimCode.DEFERRED, NOW - DAY_MS + WINDOW_MS)


async def test_two_caps_of_one_ledger_leave_one_stamp(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.take(item(planned.member, caps=(cap(limit=2), cap(), cap(ledger=b"cap2"))))
    assert [stamp.ledger for stamp in (await hands.record()).stamps] == [b"cap1", b"cap2"]
