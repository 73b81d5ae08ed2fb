"""Claim: the gate (R10, R12) and its replay (E20)."""

from __future__ import annotations

import pytest

from core.bounds import DAY_MS
from core.gate import ClaimAction, ClaimAnswer, ClaimCode
from core.model import ConsentStatus, Reason, State, WaitReason
from core.ports import DueEntry
from core.records import member_of
from tests.conformance.kit import (
    DEFERRED,
    NEAR,
    NOW,
    Hands,
    cap,
    consent_entry,
    contact_key,
    far,
    item,
)


def ended(answer: ClaimAnswer) -> tuple[int, int]:
    assert answer.code == ClaimCode.ENDED
    return answer.state, answer.reason


# --- taking ---------------------------------------------------------------------------------------


async def test_what_passes_is_in_flight_under_the_token(hands: Hands) -> None:
    planned = await hands.plan()
    token = hands.new_token()
    answer = (await hands.claim(item(planned.member), token=token))[0]
    assert answer == ClaimAnswer(ClaimCode.CLAIMED, State.IN_FLIGHT, 0, NOW, 1)
    ref = await hands.ref(planned.member)
    assert (ref.state, ref.mark, ref.attempts) == (State.IN_FLIGHT, token[:8], 1)
    assert (ref.due_ms, ref.wait, ref.settle_ms) == (NOW, WaitReason.NONE, 0)
    assert await hands.lane(far(NOW)) == []
    counters = await hands.counters()
    assert (counters.planned, counters.scheduled, counters.in_flight) == (1, 0, 1)
    assert await hands.body(planned.member) == b"body"


async def test_an_entry_is_taken_from_the_lane_it_was_read_from(hands: Hands) -> None:
    await hands.open_until(NOW + 1)
    planned = await hands.plan()
    await hands.take(item(planned.member, NEAR))
    assert await hands.lane(NEAR) == []


async def test_e20_the_same_token_gives_the_first_answers_again(hands: Hands) -> None:
    passing, late, early = (
        await hands.plan(),
        await hands.plan(expire_ms=NOW),
        await hands.plan(due_ms=NOW + 1),
    )
    later = await hands.plan()
    items = [
        item(passing.member),
        item(late.member),
        item(early.member),
        item(member_of(contact_key(), 99, 1)),
        item(later.member, action=ClaimAction.DEFER, due_ms=NOW + 9, wait=WaitReason.QUIET_HOURS),
    ]
    token = hands.new_token()
    first = await hands.claim(*items, token=token)
    before = await hands.record()
    assert await hands.claim(*items, token=token, now_ms=NOW + 100) == first
    assert await hands.record() == before
    assert (await hands.counters()).in_flight == 1


async def test_e20_a_claim_that_took_nothing_is_remembered_too(hands: Hands) -> None:
    late = await hands.plan(expire_ms=NOW)
    token = hands.new_token()
    first = await hands.claim(item(late.member), token=token)
    assert ended(first[0]) == (State.EXPIRED, Reason.TOO_LATE)
    assert await hands.claim(item(late.member), token=token) == first


async def test_an_empty_claim_answers_nothing(hands: Hands) -> None:
    assert await hands.claim() == []


# --- gone, not due ----------------------------------------------------------------------------------


async def test_unknown_taken_and_cancelled_entries_are_gone(hands: Hands) -> None:
    taken, cancelled = await hands.plan(), await hands.plan()
    await hands.take(item(taken.member))
    await hands.cancel([cancelled.member], State.CANCELLED, Reason.BY_CLIENT)
    before = await hands.record()
    answers = await hands.claim(
        item(taken.member),
        item(cancelled.member),
        item(member_of(contact_key(), 99, 1)),
        item(member_of(contact_key("nobody"), 1, 1)),
    )
    assert [answer.code for answer in answers] == [ClaimCode.GONE] * 4
    assert await hands.record() == before
    assert await hands.lane(far(NOW)) == []


async def test_the_same_entry_twice_in_a_batch_is_taken_once(hands: Hands) -> None:
    """pitfall:two-workers."""
    planned = await hands.plan()
    answers = await hands.claim(item(planned.member), item(planned.member))
    assert [answer.code for answer in answers] == [ClaimCode.CLAIMED, ClaimCode.GONE]


async def test_never_early(hands: Hands) -> None:
    """pitfall:sent-early."""
    planned = await hands.plan(due_ms=NOW + 1)
    answer = (await hands.claim(item(planned.member)))[0]
    assert (answer.code, answer.due_ms) == (ClaimCode.NOT_DUE, NOW + 1)
    assert await hands.lane(far(NOW)) == [DueEntry(planned.member, NOW + 1)]
    await hands.take(item(planned.member), now_ms=NOW + 1)


@pytest.mark.parametrize("action", [ClaimAction.END, ClaimAction.DEFER])
async def test_what_is_not_due_is_not_decided_on(hands: Hands, action: ClaimAction) -> None:
    planned = await hands.plan(due_ms=NOW + 1)
    asked = item(
        planned.member, action=action, state=State.CANCELLED, reason=Reason.RULE_STOPPED,
        due_ms=NOW + 9,
    )  # fmt: skip
    assert (await hands.claim(asked))[0].code == ClaimCode.NOT_DUE
    assert (await hands.ref(planned.member)).due_ms == NOW + 1


# --- actions, expiry, consent -------------------------------------------------------------------------


async def test_the_registry_may_end_an_entry(hands: Hands) -> None:
    planned = await hands.plan(expire_ms=NOW, rule_number=3)
    asked = item(
        planned.member, action=ClaimAction.END, state=State.CANCELLED, reason=Reason.STEP_OFF
    )
    answer = (await hands.claim(asked))[0]
    assert ended(answer) == (State.CANCELLED, Reason.STEP_OFF)
    assert await hands.state(planned.member) == (State.CANCELLED, Reason.STEP_OFF)
    assert await hands.lane(far(NOW)) == []
    assert await hands.body(planned.member) == b""
    outcome = (await hands.outcomes())[0]
    assert (outcome.member, outcome.rule_number, outcome.attempts) == (planned.member, 3, 0)


@pytest.mark.parametrize("expire_ms", [NOW, NOW + DAY_MS])
async def test_r30_there_is_no_slot_at_or_after_the_expiry(hands: Hands, expire_ms: int) -> None:
    planned = await hands.plan(expire_ms=expire_ms)
    asked = item(
        planned.member,
        action=ClaimAction.DEFER,
        due_ms=NOW + DAY_MS,
        wait=WaitReason.QUIET_HOURS,
    )
    expected = Reason.TOO_LATE if expire_ms == NOW else Reason.NO_SLOT
    assert ended((await hands.claim(asked))[0]) == (State.EXPIRED, expected)
    assert await hands.lane(DEFERRED) == []


async def test_windows_may_defer_an_entry(hands: Hands) -> None:
    later_ms = NOW + DAY_MS
    planned = await hands.plan(expire_ms=later_ms + 1)
    asked = item(
        planned.member, action=ClaimAction.DEFER, due_ms=later_ms, wait=WaitReason.QUIET_HOURS
    )
    answer = (await hands.claim(asked))[0]
    assert (answer.code, answer.due_ms) == (ClaimCode.DEFERRED, later_ms)
    ref = await hands.ref(planned.member)
    assert (ref.state, ref.due_ms, ref.wait) == (State.SCHEDULED, later_ms, WaitReason.QUIET_HOURS)
    assert await hands.lane(far(NOW)) == []
    assert await hands.lane(DEFERRED) == [DueEntry(planned.member, later_ms)]
    assert await hands.body(planned.member) == b"body"


async def test_a_deferred_entry_may_be_deferred_again_and_taken(hands: Hands) -> None:
    planned = await hands.plan()
    for source, due_ms in ((far(NOW), NOW + 5), (DEFERRED, NOW + 9)):
        await hands.claim(
            item(planned.member, source, action=ClaimAction.DEFER, due_ms=due_ms, wait=3),
            now_ms=NOW + 5,
        )
        assert await hands.lane(DEFERRED) == [DueEntry(planned.member, due_ms)]
    await hands.take(item(planned.member, DEFERRED), now_ms=NOW + 9)
    assert await hands.lane(DEFERRED) == []
    assert (await hands.ref(planned.member)).wait == WaitReason.NONE


async def test_r30_an_entry_expires_at_its_expire_time(hands: Hands) -> None:
    in_time, late = await hands.plan(expire_ms=NOW + 1), await hands.plan(expire_ms=NOW)
    answers = await hands.claim(item(in_time.member), item(late.member))
    assert answers[0].code == ClaimCode.CLAIMED
    assert ended(answers[1]) == (State.EXPIRED, Reason.TOO_LATE)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (None, Reason.NO_CONSENT),
        (ConsentStatus.DENIED, Reason.NO_CONSENT),
        (ConsentStatus.PENDING, Reason.NO_CONSENT),
        (ConsentStatus.WITHDRAWN, Reason.CONSENT_WITHDRAWN),
    ],
)
async def test_r11_r17_without_consent_the_gate_skips(
    hands: Hands, status: ConsentStatus | None, reason: Reason
) -> None:
    """A2, B2."""
    planned = await hands.plan()
    if status is not None:
        await hands.commit(consents=(consent_entry(status),))
    answer = (await hands.claim(item(planned.member, needs_consent=True)))[0]
    assert ended(answer) == (State.SKIPPED, reason)


async def test_with_consent_the_gate_passes(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.commit(consents=(consent_entry(),))
    await hands.take(item(planned.member, needs_consent=True))


async def test_r10_expiry_comes_before_consent_and_consent_before_caps(hands: Hands) -> None:
    blocking = (cap(limit=0),)
    late, refused, capped = (
        await hands.plan(expire_ms=NOW),
        await hands.plan(),
        await hands.plan(),
    )
    answers = await hands.claim(
        item(late.member, needs_consent=True, caps=blocking),
        item(refused.member, needs_consent=True, caps=blocking),
        item(capped.member, caps=blocking),
    )
    assert [answer.reason for answer in answers] == [
        Reason.TOO_LATE, Reason.NO_CONSENT, Reason.CAPPED,
    ]  # fmt: skip
