"""Suppressions: what they stop, what ends them, and what was erased (R10, R18, R22, R49)."""

from __future__ import annotations

import pytest

from core.bounds import DAY_MS
from core.contact_ports import ConsentLine
from core.gate import ClaimAction, ClaimCode
from core.model import (
    ConsentScope,
    ConsentStatus,
    Disposition,
    Medium,
    Purpose,
    Reason,
    State,
    Suppression,
    WaitReason,
)
from core.records import FLAG_ELSEWHERE, NO_KEY, ConsentEntry
from tests.conformance.kit import (
    NOW,
    TIMERS,
    Hands,
    cap,
    consent_entry,
    contact_key,
    far,
    item,
    key,
    line,
    plan,
    timer,
)

ORDER = key("order")
CHANNEL = 300
CHANNEL_KEY = CHANNEL.to_bytes(8, "little")
ALL = {"purpose": 0, "medium": 0}
SKIPPED_AS = [
    (status, Reason.UNSUBSCRIBED if status == Suppression.UNSUBSCRIBED else Reason.SUPPRESSED)
    for status in Suppression
]


async def write_quietly(hands: Hands, *lines: ConsentLine) -> None:
    """Write lines of which none finds anything to end."""
    written = await hands.write(*lines)
    assert (written.ended, written.in_flight) == ((), ())


@pytest.mark.parametrize(("status", "reason"), SKIPPED_AS)
async def test_r18_a_suppression_ends_what_waits_and_names_what_was_claimed(
    hands: Hands, status: Suppression, reason: Reason
) -> None:
    """R12: answered with the ids already claimed."""
    waiting, claimed = (await hands.plan()).member, (await hands.plan()).member
    other = (await hands.plan(medium=Medium.SMS)).member
    token = await hands.take(item(claimed))
    written = await hands.write(line(status, purpose=0), now_ms=NOW + 5)
    assert (written.ended, written.in_flight) == ((waiting,), (claimed,))
    assert await hands.state(waiting) == (State.SKIPPED, reason)
    assert (await hands.ref(waiting)).settle_ms == NOW + 5
    assert await hands.state(other) == (State.SCHEDULED, Reason.NONE)
    assert await hands.body(waiting) == b""
    assert await hands.store.mark_sending(0, token, [item(claimed)], NOW + 6) == [False]
    assert await hands.state(claimed) == (State.SKIPPED, reason)


@pytest.mark.parametrize(("status", "reason"), SKIPPED_AS)
async def test_r10_the_gate_asks_the_suppression_first_and_for_every_purpose(
    hands: Hands, status: Suppression, reason: Reason
) -> None:
    await write_quietly(hands, line(status, **ALL))
    needing = (await hands.plan()).member
    exempt = (await hands.plan(purpose=Purpose.TRANSACTIONAL)).member
    late = (await hands.plan(expire_ms=NOW)).member
    full = (cap(limit=0),)
    answers = await hands.claim(
        item(needing, needs_consent=True), item(exempt, caps=full), item(late)
    )
    assert [answer.reason for answer in answers] == [reason, reason, Reason.TOO_LATE]


async def test_r10_a_deferral_comes_after_the_suppression(hands: Hands) -> None:
    await write_quietly(hands, line(Suppression.BLOCKED, **ALL))
    planned = await hands.plan(purpose=Purpose.TRANSACTIONAL)
    asked = item(
        planned.member, action=ClaimAction.DEFER, due_ms=NOW + DAY_MS, wait=WaitReason.QUIET_HOURS
    )
    answer = (await hands.claim(asked))[0]
    assert (answer.code, answer.reason) == (ClaimCode.ENDED, Reason.SUPPRESSED)


async def test_r10_an_ending_for_an_earlier_reason_keeps_it(hands: Hands) -> None:
    await write_quietly(hands, line(Suppression.BLOCKED, **ALL))
    planned = await hands.plan()
    asked = item(
        planned.member, action=ClaimAction.END, state=State.CANCELLED, reason=Reason.STEP_OFF
    )
    assert (await hands.claim(asked))[0].reason == Reason.STEP_OFF


async def test_at_birth_only_what_needs_consent_is_suppressed(hands: Hands) -> None:
    await write_quietly(hands, line(ConsentStatus.GRANTED), line(Suppression.HARD_BOUNCED, **ALL))
    asking, telling = await hands.plan(needs_consent=True), await hands.plan()
    assert (asking.state, asking.reason) == (State.SKIPPED, Reason.SUPPRESSED)
    assert telling.state == State.SCHEDULED


async def test_r49_what_goes_elsewhere_heeds_no_suppression(hands: Hands) -> None:
    """R49: carriers ignore the customer's consent."""
    planned = await hands.plan(flags=FLAG_ELSEWHERE)
    await write_quietly(hands, line(Suppression.UNSUBSCRIBED, **ALL), line(ConsentStatus.WITHDRAWN))
    asked = item(planned.member, heeds_suppression=False)
    token = await hands.take(asked)
    await write_quietly(hands, line(Suppression.BLOCKED, **ALL))
    assert await hands.store.mark_sending(0, token, [asked], NOW) == [True]


@pytest.mark.parametrize(
    ("fields", "ended"),
    [
        ({}, [0, 1, 2]),
        (ALL, [0, 1, 2, 3, 4]),
        ({"purpose": 0}, [0, 1, 2, 3]),
        ({"medium": 0}, [0, 1, 2, 4]),
        ({"scope": ConsentScope.CHANNEL, "scope_key": CHANNEL_KEY}, [1]),
        ({"scope": ConsentScope.ORDER, "scope_key": ORDER}, [2]),
        ({"scope": ConsentScope.ORDER, "scope_key": NO_KEY}, []),
        ({"purpose": Purpose.DATA_FORWARDING}, []),
    ],
)
async def test_r18_a_suppression_reaches_as_far_as_it_says(
    hands: Hands, fields: dict[str, int | bytes], ended: list[int]
) -> None:
    answer = await hands.commit(
        plan(), plan(channel_number=CHANNEL), plan(order_key=ORDER),
        plan(purpose=Purpose.OPERATIONAL), plan(medium=Medium.SMS),
    )  # fmt: skip
    members = [created.member for created in answer.plans]
    written = await hands.write(line(Suppression.COMPLAINED, **fields))
    assert written.ended == tuple(members[index] for index in ended)


async def test_r18_a_ticked_box_ends_the_withdrawal_and_not_the_suppression(hands: Hands) -> None:
    """R18: an unsubscribe is a withdrawal and a suppression; only a confirmation ends both."""
    await write_quietly(
        hands,
        line(ConsentStatus.WITHDRAWN, time_ms=NOW),
        line(Suppression.UNSUBSCRIBED, time_ms=NOW),
    )
    ticked = consent_entry(scope=ConsentScope.ORDER, scope_key=ORDER, time_ms=NOW + 1)
    answer = await hands.commit(
        plan(needs_consent=True, order_key=ORDER), consents=(ticked,), now_ms=NOW + 1
    )
    assert answer.plans[0].reason == Reason.UNSUBSCRIBED
    await hands.write(line(ConsentStatus.CONFIRMED, time_ms=NOW + 2), now_ms=NOW + 2)
    assert (await hands.plan(needs_consent=True, now_ms=NOW + 2)).state == State.SCHEDULED


@pytest.mark.parametrize("status", [Suppression.UNSUBSCRIBED, Suppression.ERASED])
async def test_r18_a_ticked_box_does_not_bring_back_what_a_confirmation_has_ended(
    hands: Hands, status: Suppression
) -> None:
    """A confirmation stays beside newer evidence: an import without proof takes nothing away."""
    await write_quietly(
        hands,
        line(status, time_ms=NOW - 3),
        line(ConsentStatus.CONFIRMED, time_ms=NOW - 2),
        line(ConsentStatus.GRANTED, time_ms=NOW - 1),
    )
    planned = await hands.plan(needs_consent=True)
    assert (planned.state, planned.reason) == (State.SCHEDULED, Reason.NONE)
    await hands.take(item(planned.member, needs_consent=True))


@pytest.mark.parametrize(
    ("status", "is_lasting"),
    [(status, status in (Suppression.HARD_BOUNCED, Suppression.BLOCKED)) for status in Suppression],
)
@pytest.mark.parametrize("confirm_ms", [NOW - 1, NOW, NOW + 1])
async def test_r18_a_newer_confirmation_ends_what_does_not_last(
    hands: Hands, status: Suppression, is_lasting: bool, confirm_ms: int
) -> None:
    """R22: also after an erasure."""
    written = [
        line(status, **ALL, time_ms=NOW),
        line(ConsentStatus.CONFIRMED, time_ms=confirm_ms, expire_ms=confirm_ms + 1),
        line(ConsentStatus.GRANTED, scope=ConsentScope.ORDER, scope_key=ORDER),
    ]
    await hands.write(*written, now_ms=NOW + 1)
    later = {"now_ms": NOW + 9, "event_time_ms": NOW + 9}
    planned = (await hands.commit(plan(order_key=ORDER), **later)).plans[0]
    answer = (await hands.claim(item(planned.member, needs_consent=True), now_ms=NOW + 9))[0]
    has_ended = confirm_ms > NOW and not is_lasting
    assert (answer.code == ClaimCode.CLAIMED) is has_ended


async def test_r18_a_confirmation_of_something_else_ends_nothing(hands: Hands) -> None:
    await hands.write(
        line(Suppression.UNSUBSCRIBED, **ALL, time_ms=NOW),
        line(ConsentStatus.CONFIRMED, purpose=Purpose.MARKETING, time_ms=NOW + 1),
        line(ConsentStatus.CONFIRMED, medium=Medium.SMS, time_ms=NOW + 1),
        line(ConsentStatus.CONFIRMED, scope=1, scope_key=CHANNEL_KEY, time_ms=NOW + 1),
        line(ConsentStatus.GRANTED, time_ms=NOW + 1),
        now_ms=NOW + 1,
    )
    born = await hands.plan(needs_consent=True, now_ms=NOW + 1)
    assert born.reason == Reason.UNSUBSCRIBED
    there = await hands.plan(needs_consent=True, channel_number=CHANNEL, now_ms=NOW + 1)
    assert there.state == State.SCHEDULED


async def test_a_suppression_older_than_the_confirmation_ends_nothing(hands: Hands) -> None:
    """A list of another system may say what was true once."""
    await hands.write(line(ConsentStatus.CONFIRMED, time_ms=NOW - 5))
    planned = await hands.plan()
    await write_quietly(hands, line(Suppression.IMPORTED, **ALL, time_ms=NOW - 6))
    assert await hands.state(planned.member) == (State.SCHEDULED, Reason.NONE)
    await hands.take(item(planned.member, needs_consent=True))


async def test_suppressions_stand_beside_each_other_and_are_lifted_together(hands: Hands) -> None:
    for status in (Suppression.BLOCKED, Suppression.UNSUBSCRIBED, Suppression.BLOCKED):
        await hands.write(line(status, **ALL, time_ms=NOW - 3))
    await hands.write(line(ConsentStatus.WITHDRAWN), line(Suppression.BLOCKED, time_ms=NOW - 2))
    statuses = [(entry.status, entry.purpose) for entry in (await hands.record()).consents]
    assert statuses == [(19, 0), (16, 0), (ConsentStatus.WITHDRAWN, 1), (19, 1)]
    assert (await hands.plan(needs_consent=True)).reason == Reason.UNSUBSCRIBED
    await hands.write(line(ConsentStatus.LIFTED, **ALL))
    statuses = [(entry.status, entry.purpose) for entry in (await hands.record()).consents]
    assert statuses == [(ConsentStatus.WITHDRAWN, 1), (19, 1)]
    assert (await hands.plan(needs_consent=True)).reason == Reason.SUPPRESSED
    assert [one.status for one in await hands.log()][-1] == ConsentStatus.LIFTED


async def test_lifting_what_nobody_suppressed_is_logged_and_changes_nothing(hands: Hands) -> None:
    stranger = contact_key("stranger")
    await hands.write(line(ConsentStatus.LIFTED, **ALL), contact=stranger)
    record = await hands.record(stranger)
    assert (record.consents, record.consent_lines) == ([], 1)


async def test_one_write_ends_each_once_and_names_each_once(hands: Hands) -> None:
    first, second = (await hands.plan()).member, (await hands.plan(medium=Medium.SMS)).member
    flying = (await hands.plan()).member
    await hands.take(item(flying))
    written = await hands.write(
        line(ConsentStatus.WITHDRAWN), line(Suppression.UNSUBSCRIBED),
        line(Suppression.BLOCKED, **ALL), line(ConsentStatus.GRANTED),
    )  # fmt: skip
    assert (written.ended, written.in_flight) == ((first, second), (flying,))
    assert await hands.state(first) == (State.SKIPPED, Reason.UNSUBSCRIBED)
    assert await hands.state(second) == (State.SKIPPED, Reason.SUPPRESSED)


# --- erased ---------------------------------------------------------------------------------------

ERASED = {"purpose": Purpose.REVIEW, "medium": 0, "time_ms": NOW}


@pytest.mark.parametrize(
    ("event_ms", "is_refused"), [(NOW - 1, True), (NOW, True), (NOW + 1, False)]
)
async def test_r22_an_erased_contact_takes_no_event_of_before(
    hands: Hands, event_ms: int, is_refused: bool
) -> None:
    await hands.write(line(Suppression.ERASED, **ERASED))
    before = await hands.record()
    answer = await hands.commit(
        plan(), event_time_ms=event_ms, consents=(consent_entry(),), timers=(timer(),),
        tombstone_order=ORDER, tombstone_type=2, now_ms=NOW + 1,
    )  # fmt: skip
    assert not answer.is_duplicate
    assert (answer.disposition == Disposition.REFUSED) is is_refused
    assert (len(answer.plans), await hands.record() == before) == (
        (0, True) if is_refused else (1, False)
    )
    counters = await hands.counters()
    assert counters.planned == (0 if is_refused else 1)
    assert counters.events == {answer.disposition: 1}
    assert bool(await hands.timers()) is not is_refused


async def test_r22_a_timer_of_before_does_not_stand_for_ever(hands: Hands) -> None:
    await hands.commit(timers=(timer(),))
    await hands.write(line(Suppression.ERASED, **ERASED))
    fires = (timer().id, timer().due_ms)
    answer = await hands.commit(plan(), fires=fires, is_primary=False, now_ms=timer().due_ms)
    assert answer.disposition == Disposition.REFUSED
    assert await hands.timers() == []
    assert await hands.lane(TIMERS) == []


async def test_suppressions_may_come_with_an_event(hands: Hands) -> None:
    """R4: on a merge the stricter consent wins; what waits is asked at its due."""
    planned = await hands.plan()
    blocked = consent_entry(Suppression.BLOCKED, **ALL)
    await hands.commit(consents=(blocked, consent_entry()))
    assert (await hands.record()).consents[0] == ConsentEntry(*blocked[:7])
    assert await hands.state(planned.member) == (State.SCHEDULED, Reason.NONE)
    answer = (await hands.claim(item(planned.member, far(NOW), needs_consent=True)))[0]
    assert (answer.state, answer.reason) == (State.SKIPPED, Reason.SUPPRESSED)
