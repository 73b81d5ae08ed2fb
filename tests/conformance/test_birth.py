"""How an invitation is born: waiting, or ended at once (R2, R7, R11, E7)."""

from __future__ import annotations

import pytest

from core.model import (
    ConsentScope,
    ConsentStatus,
    Medium,
    Purpose,
    Reason,
    State,
)
from core.outcomes import Outcome
from core.records import NO_KEY, pack48
from tests.conformance.kit import (
    NOW,
    Hands,
    consent_entry,
    contact_key,
    far,
    item,
    key,
    plan,
)

ORDER = key("order")
CANCELLATION, RETURN = 2, 3


async def test_r7_a_plan_ended_by_a_gate_at_accept_is_counted_and_explained(hands: Hands) -> None:
    answer = await hands.commit(
        plan(state=State.EXPIRED, reason=Reason.LATE_EVENT, detail=b"why", rule_number=4)
    )
    created = answer.plans[0]
    assert (created.state, created.reason) == (State.EXPIRED, Reason.LATE_EVENT)
    assert await hands.lane(far(NOW)) == []
    ref = await hands.ref(created.member)
    assert ref.mark == pack48(NOW) + bytes(2)
    assert ref.settle_ms == NOW
    counters = await hands.counters()
    assert (counters.planned, counters.scheduled) == (1, 0)
    assert counters.ended == {(State.EXPIRED, Reason.LATE_EVENT): 1}
    assert await hands.outcomes() == [
        Outcome(created.member, State.EXPIRED, Reason.LATE_EVENT, 4, NOW, 0)
    ]
    waiting = await hands.read(created.member)
    assert waiting is not None
    assert (waiting.detail, waiting.body) == (b"why", b"")


async def test_e21_a_body_is_kept_if_any_plan_waits_under_the_first_sequence(hands: Hands) -> None:
    ended = plan(state=State.SKIPPED, reason=Reason.NO_RECIPIENT)
    answer = await hands.commit(ended, plan())
    assert await hands.body(answer.plans[1].member) == b"body"
    assert [ref.body_sequence for ref in (await hands.record()).references] == [1, 1]


async def test_e7_a_tombstone_cancels_later_plans_of_its_order_at_birth(hands: Hands) -> None:
    await hands.commit(tombstone_order=ORDER, tombstone_type=CANCELLATION, event_time_ms=NOW - 7)
    stopping = {"stop_types": (RETURN, CANCELLATION), "stop_reasons": (39, 38)}
    answer = await hands.commit(
        plan(order_key=ORDER, **stopping),
        plan(order_key=key("another order"), **stopping),
        plan(order_key=ORDER, stop_types=(RETURN,), stop_reasons=(Reason.RETURNED,)),
        plan(order_key=ORDER),
    )
    assert [(p.state, p.reason) for p in answer.plans] == [
        (State.CANCELLED, Reason.ORDER_CANCELLED),
        (State.SCHEDULED, Reason.NONE),
        (State.SCHEDULED, Reason.NONE),
        (State.SCHEDULED, Reason.NONE),
    ]
    tombstones = (await hands.record()).tombstones
    assert [(t.order_key, t.event_type_number, t.time_ms) for t in tombstones] == [
        (ORDER, CANCELLATION, NOW - 7)
    ]


async def test_a_tombstone_stands_once_and_the_oldest_gives_the_reason(hands: Hands) -> None:
    for event_type in (RETURN, CANCELLATION, RETURN):
        await hands.commit(tombstone_order=ORDER, tombstone_type=event_type)
    tombstones = (await hands.record()).tombstones
    assert [t.event_type_number for t in tombstones] == [RETURN, CANCELLATION]
    created = await hands.plan(
        order_key=ORDER, stop_types=(CANCELLATION, RETURN), stop_reasons=(38, 39)
    )
    assert (created.state, created.reason) == (State.CANCELLED, Reason.RETURNED)


@pytest.mark.parametrize(("order_key", "event_type"), [(NO_KEY, RETURN), (ORDER, 0)])
async def test_a_tombstone_needs_an_order_and_an_event_type(
    hands: Hands, order_key: bytes, event_type: int
) -> None:
    await hands.commit(tombstone_order=order_key, tombstone_type=event_type)
    assert (await hands.record()).tombstones == []


async def test_a_tombstone_of_the_same_commit_counts(hands: Hands) -> None:
    answer = await hands.commit(
        plan(order_key=ORDER, stop_types=(RETURN,), stop_reasons=(Reason.RETURNED,)),
        tombstone_order=ORDER,
        tombstone_type=RETURN,
    )
    assert answer.plans[0].state == State.CANCELLED


@pytest.mark.parametrize(
    ("state", "is_holding"),
    [
        (State.SENT, True),
        (State.DELIVERED, True),
        (State.NOT_DELIVERED, True),
        (State.UNKNOWN, True),
        (State.FAILED, True),
        (State.CANCELLED, True),
        (State.SKIPPED, False),
        (State.EXPIRED, False),
    ],
)
async def test_r2_who_holds_a_message_key(hands: Hands, state: State, is_holding: bool) -> None:
    # The one reason for which anything is born as failed.
    reason = Reason.CONTACT_FULL if state is State.FAILED else Reason.NONE
    await hands.plan(message_key=key("message"), state=state, reason=reason)
    created = await hands.plan(message_key=key("message"))
    expected = (State.SKIPPED, Reason.DUPLICATE) if is_holding else (State.SCHEDULED, Reason.NONE)
    assert (created.state, created.reason) == expected


async def test_r2_the_first_planned_holds_the_key_waiting_and_in_flight(hands: Hands) -> None:
    answer = await hands.commit(
        plan(message_key=key("m")), plan(message_key=key("m")), plan(message_key=key("other"))
    )
    assert [p.state for p in answer.plans] == [State.SCHEDULED, State.SKIPPED, State.SCHEDULED]
    await hands.take(item(answer.plans[0].member))
    assert (await hands.plan(message_key=key("m"))).reason == Reason.DUPLICATE


async def test_an_invitation_without_message_key_is_never_a_duplicate(hands: Hands) -> None:
    answer = await hands.commit(plan(message_key=NO_KEY), plan(message_key=NO_KEY))
    assert [p.state for p in answer.plans] == [State.SCHEDULED, State.SCHEDULED]


async def test_another_contact_never_holds_the_key(hands: Hands) -> None:
    for contact in ("anna", "ben"):
        answer = await hands.commit(plan(message_key=key("m")), contact_key=contact_key(contact))
        assert answer.plans[0].state == State.SCHEDULED


@pytest.mark.parametrize(
    ("consents", "state", "reason"),
    [
        ((), State.SKIPPED, Reason.NO_CONSENT),
        ((consent_entry(),), State.SCHEDULED, Reason.NONE),
        ((consent_entry(ConsentStatus.PENDING),), State.SCHEDULED, Reason.NONE),
        ((consent_entry(ConsentStatus.DENIED),), State.SKIPPED, Reason.NO_CONSENT),
        ((consent_entry(ConsentStatus.WITHDRAWN),), State.SKIPPED, Reason.CONSENT_WITHDRAWN),
        ((consent_entry(purpose=Purpose.MARKETING),), State.SKIPPED, Reason.NO_CONSENT),
        ((consent_entry(medium=Medium.SMS),), State.SKIPPED, Reason.NO_CONSENT),
        (
            (consent_entry(scope=ConsentScope.ORDER, scope_key=ORDER),),
            State.SCHEDULED,
            Reason.NONE,
        ),
        (
            (consent_entry(scope=ConsentScope.ORDER, scope_key=NO_KEY),),
            State.SKIPPED,
            Reason.NO_CONSENT,
        ),
        (
            (consent_entry(scope=ConsentScope.CHANNEL, scope_key=(300).to_bytes(8, "little")),),
            State.SCHEDULED,
            Reason.NONE,
        ),
        (
            (consent_entry(ConsentStatus.PENDING), consent_entry(ConsentStatus.WITHDRAWN)),
            State.SKIPPED,
            Reason.CONSENT_WITHDRAWN,
        ),
    ],
)
async def test_r11_consent_at_birth_counts_the_evidence_of_the_same_event(
    hands: Hands, consents: tuple[tuple[int, ...], ...], state: State, reason: Reason
) -> None:
    answer = await hands.commit(
        plan(needs_consent=True, channel_number=300, order_key=ORDER), consents=consents
    )
    assert (answer.plans[0].state, answer.plans[0].reason) == (state, reason)


async def test_what_needs_no_consent_is_planned_without(hands: Hands) -> None:
    withdrawn = consent_entry(ConsentStatus.WITHDRAWN)
    answer = await hands.commit(plan(needs_consent=False), consents=(withdrawn,))
    assert answer.plans[0].state == State.SCHEDULED


async def test_birth_rules_apply_in_their_order(hands: Hands) -> None:
    await hands.commit(tombstone_order=ORDER, tombstone_type=CANCELLATION)
    await hands.plan(message_key=key("held"))
    bad = {
        "order_key": ORDER,
        "message_key": key("held"),
        "needs_consent": True,
    }
    stopping = {"stop_types": (CANCELLATION,), "stop_reasons": (Reason.ORDER_CANCELLED,)}
    answer = await hands.commit(
        plan(**bad, **stopping, state=State.SKIPPED, reason=Reason.NO_RECIPIENT),
        plan(**bad, **stopping),
        plan(**bad),
        plan(order_key=ORDER, needs_consent=True),
    )
    assert [p.reason for p in answer.plans] == [
        Reason.NO_RECIPIENT, Reason.ORDER_CANCELLED, Reason.DUPLICATE, Reason.NO_CONSENT,
    ]  # fmt: skip
