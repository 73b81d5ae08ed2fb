"""Settle and the second look: how a claim ends, fenced by its token (E2, E4)."""

from __future__ import annotations

import pytest

from core.bounds import DAY_MS
from core.gate import ClaimCode, Lane
from core.model import ConsentStatus, Reason, State, WaitReason
from core.outcomes import Outcome
from core.ports import DueEntry, Settlement
from core.records import Stamp, member_of
from tests.conformance.kit import (
    DEFERRED,
    LEASE_MS,
    NEAR,
    NOW,
    Hands,
    cap,
    consent_entry,
    contact_key,
    far,
    item,
    key,
    plan,
)

ORDER = key("order")
LATER = NOW + 1_000


# --- outcomes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.SENT, Reason.NONE),
        (State.NOT_DELIVERED, Reason.INVALID_RECIPIENT),
        (State.FAILED, Reason.PROVIDER_ERROR),
        (State.UNKNOWN, Reason.OUTCOME_UNKNOWN),
        (State.SKIPPED, Reason.CONDITION_FALSE),
    ],
)
async def test_a_settled_entry_has_ended_for_good(
    hands: Hands, state: State, reason: Reason
) -> None:
    planned = await hands.plan(rule_number=5)
    token = await hands.take(item(planned.member))
    answer = await hands.settle(token, planned.member, state, LATER, reason=reason)
    assert (answer.is_settled, tuple(answer.next_plans), tuple(answer.woken)) == (True, (), ())
    ref = await hands.ref(planned.member)
    assert (ref.state, ref.reason, ref.settle_ms, ref.attempts) == (state, reason, LATER, 1)
    counters = await hands.counters()
    assert (counters.planned, counters.scheduled, counters.in_flight) == (1, 0, 0)
    assert counters.ended == {(state, reason): 1}
    assert await hands.outcomes() == [Outcome(planned.member, state, reason, 5, LATER, 1)]
    # What has failed may be replayed (R8).
    kept = b"body" if state is State.FAILED else b""
    assert await hands.body(planned.member) == kept


async def test_settling_twice_counts_once(hands: Hands) -> None:
    first, second = await hands.plan(), await hands.plan()
    token = await hands.take(item(first.member), item(second.member))
    assert (await hands.settle(token, first.member, State.SENT)).is_settled
    before = await hands.record()
    again = await hands.settle(token, first.member, State.FAILED, LATER)
    assert not again.is_settled
    assert await hands.record() == before
    assert (await hands.settle(token, second.member, State.SENT)).is_settled
    assert not (await hands.settle(token, second.member, State.SENT)).is_settled
    assert len(await hands.outcomes()) == 2


async def test_e2_another_token_settles_nothing(hands: Hands) -> None:
    planned = await hands.plan()
    token = await hands.take(item(planned.member))
    assert not (await hands.settle(bytes(16), planned.member, State.SENT)).is_settled
    assert await hands.state(planned.member) == (State.IN_FLIGHT, Reason.NONE)
    other = await hands.plan()
    other_token = await hands.take(item(other.member))
    assert not (await hands.settle(other_token, planned.member, State.SENT)).is_settled
    assert not (await hands.settle(token, member_of(contact_key(), 99, 1), 3)).is_settled


async def test_e2_knowledge_of_a_send_is_taken_after_a_take_over(hands: Hands) -> None:
    planned = await hands.plan()
    token = await hands.take(item(planned.member))
    await Hands.own(hands.store, 0, b"daemon b")
    assert (await hands.settle(token, planned.member, State.SENT)).is_settled


async def test_e2_knowledge_after_the_recovery_comes_too_late(hands: Hands) -> None:
    planned = await hands.plan()
    token = await hands.take(item(planned.member))
    await hands.recover()
    assert not (await hands.settle(token, planned.member, State.SENT)).is_settled
    new_token = await hands.take(item(planned.member, DEFERRED))
    assert not (await hands.settle(token, planned.member, State.SENT)).is_settled
    assert (await hands.settle(new_token, planned.member, State.SENT)).is_settled


async def test_settlements_of_one_call_are_answered_in_order(hands: Hands) -> None:
    first, second = await hands.plan(), await hands.plan()
    token = await hands.take(item(first.member), item(second.member))
    answers = await hands.store.settle(
        0,
        token,
        [
            Settlement(second.member, State.SENT),
            Settlement(first.member, State.FAILED, Reason.RENDERING_ERROR),
            Settlement(second.member, State.FAILED),
        ],
        NOW,
    )
    assert [answer.is_settled for answer in answers] == [True, True, False]
    assert [outcome.member for outcome in await hands.outcomes()] == [second.member, first.member]


@pytest.mark.parametrize("state", [State.SENT, State.UNKNOWN])
@pytest.mark.parametrize("mark", [0, 1, 6, 255])
async def test_what_was_said_is_kept_where_the_wait_reason_stood(
    hands: Hands, state: State, mark: int
) -> None:
    """D1: the mark of the template takes no room, and never reads as what the message waits for."""
    planned = await hands.plan()
    token = await hands.take(item(planned.member))
    await hands.settle(
        token, planned.member, state, content_revision=2**16 - 1, template_mark=mark,
        next_plans=(plan(step=1), plan(step=1)),
    )  # fmt: skip
    ref, *next_ones = (await hands.record()).references
    assert (ref.template_mark, ref.wait, ref.mark[6:]) == (mark, WaitReason.NONE, b"\xff\xff")
    assert [one.template_mark for one in next_ones] == [0, 0]
    assert await hands.ref(planned.member) == ref


@pytest.mark.parametrize("mark", [WaitReason.CAPPED, WaitReason.FROZEN])
async def test_a_mark_is_no_wait_for_a_cap(hands: Hands, mark: int) -> None:
    """R25: what was sent is not woken by the reservation that comes back."""
    sent = await hands.plan()
    token = await hands.take(item(sent.member))
    await hands.settle(token, sent.member, State.SENT, template_mark=mark)
    holder, waiting = await hands.plan(), await hands.plan()
    token = await hands.take(item(holder.member, caps=(cap(),)))
    await hands.claim(item(waiting.member, caps=(cap(),)))
    answer = await hands.settle(token, holder.member, State.FAILED, releases_caps=True)
    assert [member for member, _ in answer.woken] == [waiting.member]
    ref = await hands.ref(sent.member)
    assert (ref.state, ref.template_mark) == (State.SENT, mark)


async def test_what_waits_again_has_said_nothing(hands: Hands) -> None:
    planned = await hands.plan()
    token = await hands.take(item(planned.member))
    await hands.settle(token, planned.member, State.SCHEDULED, due_ms=LATER, template_mark=9)
    ref = await hands.ref(planned.member)
    assert (ref.wait, ref.template_mark, ref.mark) == (WaitReason.RETRY, 0, bytes(8))


# --- retry ----------------------------------------------------------------------------------------


async def test_a_retry_waits_in_the_deferred_lane(hands: Hands) -> None:
    await hands.open_until(NOW + DAY_MS)
    planned = await hands.plan()
    token = await hands.take(item(planned.member, NEAR))
    answer = await hands.settle(
        token, planned.member, State.SCHEDULED, due_ms=LATER, reason=Reason.PROVIDER_ERROR
    )
    assert answer.is_settled
    ref = await hands.ref(planned.member)
    assert (ref.state, ref.wait, ref.due_ms) == (State.SCHEDULED, WaitReason.RETRY, LATER)
    assert (ref.reason, ref.mark, ref.attempts) == (Reason.PROVIDER_ERROR, bytes(8), 1)
    assert await hands.lane(DEFERRED) == [DueEntry(planned.member, LATER)]
    assert await hands.lane(NEAR) == []
    assert await hands.body(planned.member) == b"body"
    assert await hands.outcomes() == []
    counters = await hands.counters()
    assert (counters.scheduled, counters.in_flight) == (1, 0)
    answers = await hands.claim(item(planned.member, DEFERRED), now_ms=LATER)
    assert (answers[0].code, answers[0].attempts) == (ClaimCode.CLAIMED, 2)
    assert await hands.state(planned.member) == (State.IN_FLIGHT, Reason.NONE)


# --- steps that follow ------------------------------------------------------------------------------


async def test_r33_the_next_step_is_planned_when_the_previous_is_sent(hands: Hands) -> None:
    """B17."""
    await hands.plan()
    first = (await hands.commit(plan(order_key=ORDER), event_key=key("checkout"))).plans[0]
    token = await hands.take(item(first.member))
    reminder = plan(
        step=1, channel_number=2, order_key=ORDER, due_ms=NOW + 10 * DAY_MS, detail=b"reminder"
    )
    answer = await hands.settle(token, first.member, State.SENT, next_plans=(reminder,))
    created = answer.next_plans[0]
    assert (created.sequence, created.state, created.lane) == (3, State.SCHEDULED, Lane.FAR)
    assert created.member == member_of(contact_key(), 3, 2)
    ref = await hands.ref(created.member)
    assert (ref.event_key, ref.order_key, ref.body_sequence) == (key("checkout"), ORDER, 2)
    assert await hands.lane(far(created.due_ms)) == [DueEntry(created.member, created.due_ms)]
    waiting = await hands.read(created.member)
    assert waiting is not None
    assert (waiting.detail, waiting.body) == (b"reminder", b"body")
    counters = await hands.counters()
    assert (counters.planned, counters.scheduled) == (3, 2)


async def test_a_next_step_due_in_the_loaded_part_goes_near(hands: Hands) -> None:
    await hands.open_until(NOW + DAY_MS)
    first = await hands.plan()
    token = await hands.take(item(first.member, NEAR))
    next_plan = plan(due_ms=LATER)
    answer = await hands.settle(token, first.member, State.SENT, next_plans=(next_plan,))
    created = answer.next_plans[0]
    assert created.lane == Lane.NEAR
    assert await hands.lane(NEAR) == [DueEntry(created.member, LATER)]


async def test_the_body_goes_with_the_last_step(hands: Hands) -> None:
    first = await hands.plan()
    token = await hands.take(item(first.member))
    answer = await hands.settle(token, first.member, State.SENT, next_plans=(plan(),))
    second = answer.next_plans[0].member
    assert await hands.body(first.member) == b"body"
    token = await hands.take(item(second))
    await hands.settle(token, second, State.SENT)
    assert await hands.body(second) == b""


async def test_next_steps_obey_tombstones_and_message_keys_but_not_consent(hands: Hands) -> None:
    await hands.commit(tombstone_order=ORDER, tombstone_type=2)
    first = await hands.plan(message_key=key("m"))
    token = await hands.take(item(first.member))
    answer = await hands.settle(
        token,
        first.member,
        State.SENT,
        next_plans=(
            plan(order_key=ORDER, stop_types=(2,), stop_reasons=(Reason.ORDER_CANCELLED,)),
            plan(message_key=key("m")),
            plan(needs_consent=True),
        ),
    )
    assert [(p.state, p.reason) for p in answer.next_plans] == [
        (State.CANCELLED, Reason.ORDER_CANCELLED),
        (State.SKIPPED, Reason.DUPLICATE),
        (State.SCHEDULED, Reason.NONE),
    ]
    assert (await hands.counters()).planned == 4


async def test_a_refused_settlement_plans_nothing(hands: Hands) -> None:
    first = await hands.plan()
    await hands.take(item(first.member))
    answer = await hands.settle(bytes(16), first.member, State.SENT, next_plans=(plan(),))
    assert (answer.is_settled, tuple(answer.next_plans)) == (False, ())
    assert (await hands.counters()).planned == 1


# --- returned reservations ----------------------------------------------------------------------------


async def test_r25_what_was_not_handed_over_returns_its_reservation(hands: Hands) -> None:
    caps = (cap(limit=2), cap(ledger=b"cap2", limit=2))
    first, second = await hands.plan(), await hands.plan()
    token = await hands.take(item(first.member, caps=caps), item(second.member, caps=caps))
    await hands.settle(token, first.member, State.FAILED, releases_caps=True)
    tag = bytes(2) + (2).to_bytes(6, "big")
    stamps = (await hands.record()).stamps
    assert stamps == [Stamp(b"cap1", tag, NOW), Stamp(b"cap2", tag, NOW)]
    await hands.settle(token, second.member, State.SENT)
    assert (await hands.record()).stamps == stamps


async def test_r25_a_returned_reservation_wakes_the_next_in_line(hands: Hands) -> None:
    caps = (cap(),)
    first = await hands.plan()
    low, high, high_too = (
        await hands.plan(priority=1),
        await hands.plan(priority=5),
        await hands.plan(priority=5),
    )
    token = await hands.take(item(first.member, caps=caps))
    await hands.claim(*(item(created.member, caps=caps) for created in (low, high_too, high)))
    version = await hands.near_version()
    answer = await hands.settle(
        token, first.member, State.FAILED, LATER, releases_caps=True, reason=Reason.PROVIDER_ERROR
    )
    assert [tuple(entry) for entry in answer.woken] == [(high.member, LATER)]
    ref = await hands.ref(high.member)
    assert (ref.state, ref.due_ms, ref.wait) == (State.SCHEDULED, LATER, WaitReason.NONE)
    assert (await hands.lane(DEFERRED))[0] == DueEntry(high.member, LATER)
    assert len(await hands.lane(DEFERRED)) == 3
    assert await hands.near_version() > version
    await hands.take(item(high.member, DEFERRED, caps=caps), now_ms=LATER)


async def test_r26_the_earliest_due_is_woken_before_the_higher_priority(hands: Hands) -> None:
    first = await hands.plan()
    early, late = await hands.plan(priority=1), await hands.plan(priority=9)
    full = (cap(),)
    token = await hands.take(item(first.member, caps=full))
    await hands.claim(item(early.member, caps=full))
    await hands.claim(item(late.member, caps=(cap(window_ms=20 * DAY_MS),)))
    answer = await hands.settle(token, first.member, State.FAILED, LATER, releases_caps=True)
    assert [tuple(entry) for entry in answer.woken] == [(early.member, LATER)]


async def test_r25_only_what_waits_for_a_cap_that_has_room_again_is_woken(hands: Hands) -> None:
    """Whoever waits for another cap, though due before, would only wait again in its place."""
    first, second = await hands.plan(), await hands.plan()
    early, late = await hands.plan(priority=1), await hands.plan(priority=9)
    short, long = cap(ledger=b"shrt"), cap(ledger=b"long", window_ms=20 * DAY_MS)
    token = await hands.take(item(first.member, caps=(short,)), item(second.member, caps=(long,)))
    await hands.claim(item(early.member, caps=(short,)), item(late.member, caps=(long,)))
    answer = await hands.settle(token, second.member, State.FAILED, LATER, releases_caps=True)
    assert [tuple(entry) for entry in answer.woken] == [(late.member, LATER)]
    assert (await hands.ref(early.member)).wait == WaitReason.CAPPED
    await hands.take(item(late.member, DEFERRED, caps=(long,)), now_ms=LATER)


async def test_r25_each_cap_that_has_room_again_wakes_one(hands: Hands) -> None:
    first = await hands.plan()
    waiting = [await hands.plan() for _ in range(4)]
    one, other = cap(ledger=b"aone"), cap(ledger=b"othr", is_order_unit=True)
    token = await hands.take(item(first.member, caps=(one, other)))
    for index, planned in enumerate(waiting):
        await hands.claim(item(planned.member, caps=((one, other)[index % 2],)))
    answer = await hands.settle(token, first.member, State.FAILED, LATER, releases_caps=True)
    assert [member for member, _ in answer.woken] == [waiting[0].member, waiting[1].member]
    assert len(await hands.lane(DEFERRED)) == 4


async def test_each_returned_reservation_wakes_another(hands: Hands) -> None:
    caps = (cap(limit=2),)
    created = [await hands.plan() for _ in range(4)]
    members = [p.member for p in created]
    token = await hands.take(item(members[0], caps=caps), item(members[1], caps=caps))
    await hands.claim(item(members[2], caps=caps), item(members[3], caps=caps))
    woken = []
    for member in members[:2]:
        answer = await hands.settle(token, member, State.FAILED, LATER, releases_caps=True)
        woken += [woken_member for woken_member, _ in answer.woken]
    assert woken == members[2:]


async def test_nothing_is_woken_if_nothing_was_returned(hands: Hands) -> None:
    first, second, waiting = await hands.plan(), await hands.plan(), await hands.plan()
    token = await hands.take(item(first.member, caps=(cap(),)), item(second.member))
    await hands.claim(item(waiting.member, caps=(cap(),)))
    answer = await hands.settle(token, second.member, State.FAILED, releases_caps=True)
    assert tuple(answer.woken) == ()
    assert (await hands.settle(token, first.member, State.SENT)).woken == ()


async def test_other_waits_are_not_woken(hands: Hands) -> None:
    first, waiting = await hands.plan(), await hands.plan()
    token = await hands.take(item(first.member, caps=(cap(),)))
    await hands.claim(item(waiting.member, action=2, due_ms=LATER, wait=WaitReason.QUIET_HOURS))
    answer = await hands.settle(token, first.member, State.FAILED, releases_caps=True)
    assert tuple(answer.woken) == ()


async def test_a_retry_may_return_its_reservation(hands: Hands) -> None:
    first = await hands.plan()
    token = await hands.take(item(first.member, caps=(cap(),)))
    await hands.settle(token, first.member, State.SCHEDULED, due_ms=LATER, releases_caps=True)
    assert (await hands.record()).stamps == []


@pytest.mark.parametrize(
    ("settled_as", "is_kept"),
    [
        (State.SENT, True),
        (State.UNKNOWN, True),
        (State.NOT_DELIVERED, True),
        (None, True),
        (State.FAILED, False),
        (State.SCHEDULED, False),
    ],
)
async def test_r23_the_stamp_of_an_order_stands_while_another_message_of_it_counts(
    hands: Hands, settled_as: State | None, is_kept: bool
) -> None:
    caps = (cap(is_order_unit=True), cap(ledger=b"msgs", limit=9))
    first, second = await hands.plan(order_key=ORDER), await hands.plan(order_key=ORDER)
    token = await hands.take(item(first.member, caps=caps), item(second.member, caps=caps))
    if settled_as is not None:
        await hands.settle(token, first.member, settled_as, due_ms=LATER)
    await hands.settle(token, second.member, State.FAILED, releases_caps=True)
    stamps = (await hands.record()).stamps
    assert (Stamp(b"cap1", ORDER, NOW) in stamps) is is_kept
    assert len(stamps) == 1 + is_kept


# --- the second look (E4) -----------------------------------------------------------------------


async def test_e4_the_second_look_passes_while_consent_stands(hands: Hands) -> None:
    planned, free = await hands.plan(), await hands.plan()
    await hands.commit(consents=(consent_entry(),))
    items = [item(planned.member, needs_consent=True), item(free.member)]
    token = await hands.take(*items)
    for _ in range(2):
        assert await hands.store.mark_sending(0, token, items, LATER) == [True, True]
    assert await hands.state(planned.member) == (State.IN_FLIGHT, Reason.NONE)
    assert (await hands.settle(token, planned.member, State.SENT)).is_settled


async def test_e4_a_withdrawal_after_the_claim_stops_what_was_not_handed_over(
    hands: Hands,
) -> None:
    first, waiting = await hands.plan(), await hands.plan(purpose=2)
    await hands.commit(consents=(consent_entry(),))
    taken = item(first.member, needs_consent=True, caps=(cap(),))
    token = await hands.take(taken)
    await hands.claim(item(waiting.member, caps=(cap(),)))
    await hands.write_consent(consent_entry(ConsentStatus.WITHDRAWN, time_ms=NOW))
    for _ in range(2):
        assert await hands.store.mark_sending(0, token, [taken], LATER) == [False]
    assert await hands.state(first.member) == (State.SKIPPED, Reason.CONSENT_WITHDRAWN)
    assert (await hands.record()).stamps == [], "its reservation is returned"
    assert await hands.lane(DEFERRED) == [DueEntry(waiting.member, LATER)], "the next is woken"
    assert not (await hands.settle(token, first.member, State.SENT)).is_settled
    assert len(await hands.outcomes()) == 1
    assert await hands.body(first.member) == b""


async def test_e4_the_second_look_refuses_what_was_reclaimed(hands: Hands) -> None:
    planned = await hands.plan()
    taken = item(planned.member)
    token = await hands.take(taken)
    await hands.recover(LEASE_MS + 1)
    assert await hands.store.mark_sending(0, token, [taken], LATER) == [False]
    assert await hands.state(planned.member) == (State.SCHEDULED, Reason.NONE)


async def test_r27_what_was_not_tried_used_up_no_attempt(hands: Hands) -> None:
    """d4: put off after the claim, by what its address says: the claim was no attempt."""
    planned = await hands.plan()
    token = await hands.take(item(planned.member, caps=(cap(),)))
    settled = await hands.settle(
        token, planned.member, State.SCHEDULED, LATER, due_ms=NOW + DAY_MS, releases_caps=True,
        was_tried=False,
    )  # fmt: skip
    assert settled.is_settled
    ref = await hands.ref(planned.member)
    assert (ref.state, ref.wait, ref.attempts) == (State.SCHEDULED, WaitReason.RETRY, 0)
    assert ref.due_ms == NOW + DAY_MS
    assert (await hands.record()).stamps == []
