"""Commit: one event, applied to one contact, once: what it writes and what it stops (R6, R39)."""

from __future__ import annotations

from core.bounds import DAY_MS
from core.gate import Lane
from core.model import (
    ConsentStatus,
    Disposition,
    Medium,
    Purpose,
    Reason,
    State,
)
from core.ports import CommitAnswer, CommittedPlan, DueEntry, Stop
from core.records import NO_KEY, Reference, member_of
from tests.conformance.kit import (
    NEAR,
    NOW,
    Hands,
    commit,
    consent_entry,
    contact_key,
    far,
    item,
    key,
    plan,
)

ORDER = key("order")
CANCELLATION = 2


# --- what a commit writes -----------------------------------------------------------------------


async def test_a_plan_becomes_a_scheduled_invitation_in_its_slot(hands: Hands) -> None:
    due_ms = NOW + 3 * DAY_MS
    answer = await hands.commit(
        plan(
            medium=Medium.SMS, purpose=Purpose.MARKETING, step=2, channel_number=700,
            rule_number=90_000, due_ms=due_ms, expire_ms=due_ms + DAY_MS, order_key=ORDER,
            message_key=key("message"), flags=3, priority=9,
        ),
        event_key=key("checkout"),
    )  # fmt: skip
    member = member_of(contact_key(), 1, 700)
    created = CommittedPlan(1, State.SCHEDULED, Reason.NONE, due_ms, Lane.FAR, member)
    assert answer == CommitAnswer(False, Disposition.PLANNED, (created,), ())
    assert await hands.lane(far(due_ms)) == [DueEntry(member, due_ms)]
    assert await hands.ref(member) == Reference(
        sequence=1, state=State.SCHEDULED, medium=Medium.SMS, purpose=Purpose.MARKETING, step=2,
        channel_number=700, rule_number=90_000, due_ms=due_ms, expire_ms=due_ms + DAY_MS,
        event_key=key("checkout"), order_key=ORDER, message_key=key("message"), body_sequence=1,
        flags=3, priority=9,
    )  # fmt: skip
    counters = await hands.counters()
    assert (counters.planned, counters.scheduled, counters.in_flight) == (1, 1, 0)
    assert counters.events == {Disposition.PLANNED: 1}


async def test_plan_and_body_are_read_back_as_given(hands: Hands) -> None:
    answer = await hands.commit(plan(detail=b"one"), plan(detail=b"two"), body=b"the event")
    first, second = (created.member for created in answer.plans)
    for member, detail in ((first, b"one"), (second, b"two")):
        waiting = await hands.read(member)
        assert waiting is not None
        assert (waiting.member, waiting.detail, waiting.body) == (member, detail, b"the event")
        assert waiting.reference == await hands.ref(member)
    assert await hands.read(member_of(contact_key(), 99, 1)) is None


async def test_sequences_start_at_one_and_go_on(hands: Hands) -> None:
    first = await hands.commit(plan(), plan())
    second = await hands.commit(plan())
    assert [created.sequence for created in first.plans + second.plans] == [1, 2, 3]
    record = await hands.record()
    assert record.next_sequence == 4
    assert [ref.body_sequence for ref in record.references] == [1, 1, 3]


async def test_an_entry_due_in_the_loaded_part_goes_near(hands: Hands) -> None:
    await hands.open_until(NOW + 10)
    near = await hands.plan(due_ms=NOW + 9)
    at_the_edge = await hands.plan(due_ms=NOW + 10)
    assert (near.lane, at_the_edge.lane) == (Lane.NEAR, Lane.FAR)
    assert await hands.lane(NEAR) == [DueEntry(near.member, NOW + 9)]
    assert await hands.lane(far(NOW)) == [DueEntry(at_the_edge.member, NOW + 10)]


async def test_an_event_without_plans_is_remembered_and_counted(hands: Hands) -> None:
    answer = await hands.commit(event_key=key("quiet"))
    assert answer == CommitAnswer(False, Disposition.NO_MATCH, (), ())
    record = await hands.record()
    assert [(e.event_key, e.disposition) for e in record.events] == [
        (key("quiet"), Disposition.NO_MATCH)
    ]
    assert record.events[0].time_ms == NOW
    assert (await hands.counters()).events == {Disposition.NO_MATCH: 1}


async def test_r6_further_contacts_of_an_order_do_not_count_the_event(hands: Hands) -> None:
    await hands.commit(plan(), is_primary=False, event_key=key("e"))
    await hands.commit(plan(), is_primary=False, event_key=key("e"))
    counters = await hands.counters()
    assert counters.events == {}
    assert counters.planned == 1


# --- once -----------------------------------------------------------------------------------------


async def test_a_repeated_event_changes_nothing_and_answers_with_the_present(hands: Hands) -> None:
    event = {"event_key": key("checkout")}
    first = await hands.commit(plan(), plan(due_ms=NOW + 1), **event)
    await hands.take(item(first.plans[0].member))
    await hands.cancel([first.plans[1].member], State.CANCELLED, Reason.BY_CLIENT)
    before = await hands.record()
    again = await hands.commit(
        plan(),
        plan(due_ms=NOW + 1),
        consents=(consent_entry(),),
        stops=(Stop(NO_KEY, frozenset({1}), Reason.PURCHASED),),
        tombstone_order=ORDER,
        tombstone_type=CANCELLATION,
        disposition=Disposition.INACTIVE,
        **event,
    )
    assert (again.is_duplicate, again.disposition) == (True, Disposition.PLANNED)
    assert again.stopped == ()
    assert [(p.sequence, p.state, p.reason, p.due_ms, p.member) for p in again.plans] == [
        (1, State.IN_FLIGHT, Reason.NONE, NOW, first.plans[0].member),
        (2, State.CANCELLED, Reason.BY_CLIENT, NOW + 1, first.plans[1].member),
    ]
    assert await hands.record() == before
    counters = await hands.counters()
    assert counters.planned == 2
    assert counters.events == {Disposition.PLANNED: 1, Disposition.DUPLICATE: 1}


async def test_an_event_counts_once_for_each_contact(hands: Hands) -> None:
    anna, ben = contact_key("anna"), contact_key("ben")
    for contact in (anna, ben):
        answer = await hands.commit(plan(), event_key=key("e"), contact_key=contact)
        assert not answer.is_duplicate
        assert answer.plans[0].member[:8] == contact


async def test_a_batch_applies_in_order_in_every_partition(hands: Hands) -> None:
    there = contact_key(partition=2)
    listed = {
        0: [commit(plan()), commit(plan()), commit(plan(), event_key=key("second"))],
        2: [commit(plan(), contact_key=there)],
    }
    answers = await hands.store.commit(listed, NOW)
    assert [answer.is_duplicate for answer in answers[0]] == [False, True, False]
    assert [answer.plans[0].sequence for answer in answers[0]] == [1, 1, 2]
    assert answers[2][0].plans[0].member == member_of(there, 1, 1)
    counters = await hands.store.counters([0, 1, 2])
    assert [counters[number].planned for number in range(3)] == [2, 0, 1]


# --- stops ----------------------------------------------------------------------------------------


async def test_a_stop_ends_what_waits_for_the_order_under_the_rules(hands: Hands) -> None:
    first = await hands.commit(
        plan(order_key=ORDER, rule_number=1),
        plan(order_key=ORDER, rule_number=2),
        plan(order_key=ORDER, rule_number=3),
        plan(order_key=key("another"), rule_number=1),
        plan(order_key=ORDER, rule_number=1),
    )
    members = [created.member for created in first.plans]
    await hands.take(item(members[4]))
    answer = await hands.commit(
        stops=(Stop(ORDER, frozenset({1, 2}), Reason.ORDER_CANCELLED),), now_ms=NOW + 5
    )
    assert sorted(answer.stopped) == [1, 2]
    assert [(await hands.state(member))[0] for member in members] == [
        State.CANCELLED, State.CANCELLED, State.SCHEDULED, State.SCHEDULED, State.IN_FLIGHT,
    ]  # fmt: skip
    ref = await hands.ref(members[0])
    assert (ref.reason, ref.settle_ms) == (Reason.ORDER_CANCELLED, NOW + 5)
    ended = (await hands.counters()).ended
    assert ended == {(State.CANCELLED, Reason.ORDER_CANCELLED): 2}
    assert [o.member for o in await hands.outcomes()] == members[:2]


async def test_r39_an_event_stops_first_and_then_plans(hands: Hands) -> None:
    old = await hands.plan(order_key=ORDER)
    answer = await hands.commit(
        plan(order_key=ORDER), stops=(Stop(ORDER, frozenset({1}), Reason.RETURNED),)
    )
    assert answer.stopped == (old.sequence,)
    assert answer.plans[0].state == State.SCHEDULED


async def test_the_first_stop_that_matches_gives_the_reason(hands: Hands) -> None:
    old = await hands.plan(order_key=ORDER)
    answer = await hands.commit(
        stops=(
            Stop(ORDER, frozenset({9}), Reason.PURCHASED),
            Stop(ORDER, frozenset({1, 9}), Reason.RETURNED),
            Stop(ORDER, frozenset({1}), Reason.REVIEWED),
        )
    )
    assert answer.stopped == (old.sequence,)
    assert await hands.state(old.member) == (State.CANCELLED, Reason.RETURNED)


async def test_a_stop_without_order_ends_whatever_waits_under_its_rules(hands: Hands) -> None:
    """D6: a purchase ends the mails about a cart by contact."""
    loose = await hands.plan()
    ordered = await hands.plan(order_key=ORDER)
    other = await hands.plan(rule_number=2)
    await hands.commit(stops=(Stop(NO_KEY, frozenset({1}), Reason.PURCHASED),))
    assert await hands.state(loose.member) == (State.CANCELLED, Reason.PURCHASED)
    assert await hands.state(ordered.member) == (State.CANCELLED, Reason.PURCHASED)
    assert await hands.state(other.member) == (State.SCHEDULED, Reason.NONE)


async def test_e21_the_body_goes_with_the_last_invitation_of_its_event(hands: Hands) -> None:
    answer = await hands.commit(plan(order_key=ORDER), plan())
    first, second = (created.member for created in answer.plans)
    await hands.commit(stops=(Stop(ORDER, frozenset({1}), Reason.RETURNED),))
    assert await hands.body(first) == b"body"
    await hands.commit(stops=(Stop(NO_KEY, frozenset({1}), Reason.RETURNED),))
    assert await hands.body(second) == b""
    assert (await hands.read(first)) is not None


# --- evidence -------------------------------------------------------------------------------------


async def test_the_newer_evidence_replaces_the_older_of_its_kind(hands: Hands) -> None:
    await hands.commit(consents=(consent_entry(time_ms=10),))
    await hands.commit(consents=(consent_entry(ConsentStatus.WITHDRAWN, time_ms=11),))
    await hands.commit(consents=(consent_entry(ConsentStatus.DENIED, time_ms=9),))
    await hands.commit(consents=(consent_entry(ConsentStatus.DENIED, time_ms=10),))
    await hands.commit(consents=(consent_entry(ConsentStatus.WITHDRAWN, time_ms=12),))
    consents = (await hands.record()).consents
    assert [(entry.status, entry.time_ms) for entry in consents] == [
        (ConsentStatus.DENIED, 10),
        (ConsentStatus.WITHDRAWN, 12),
    ]
