"""A contact record stays within its bounds; the oldest that no longer matter go first."""

from __future__ import annotations

from core import bounds
from core.bounds import DAY_MS
from core.model import ConsentScope, ConsentStatus, Reason, State, Suppression
from core.ports import Plan, Stop
from core.records import NO_KEY, member_of
from tests.conformance.kit import (
    NOW,
    Hands,
    cap,
    commit,
    consent_entry,
    contact_key,
    item,
    key,
    line,
    plan,
)

ENDED = {"state": State.SKIPPED, "reason": Reason.NO_RECIPIENT}
BATCH = bounds.SCRIPT_BATCH_MAX
PLANS = 120


async def plan_many(hands: Hands, plans: list[Plan]) -> list[bytes]:
    """Create invitations of one contact, some at a time; return their members."""
    members: list[bytes] = []
    for at in range(0, len(plans), PLANS):
        answer = await hands.commit(*plans[at : at + PLANS])
        members += [created.member for created in answer.plans]
    return members


async def test_the_newest_events_seen_are_kept(hands: Hands) -> None:
    keys = [key(str(number)) for number in range(bounds.CONTACT_EVENTS_MAX + 5)]
    await hands.store.commit({0: [commit(event_key=one) for one in keys]}, NOW)
    assert [seen.event_key for seen in (await hands.record()).events] == keys[5:]


async def test_the_newest_tombstones_are_kept(hands: Hands) -> None:
    orders = [key(f"order {number}") for number in range(bounds.CONTACT_TOMBSTONES_MAX + 5)]
    commits = [commit(event_key=one, tombstone_order=one, tombstone_type=2) for one in orders]
    await hands.store.commit({0: commits}, NOW)
    assert [stone.order_key for stone in (await hands.record()).tombstones] == orders[5:]


async def test_evidence_of_orders_goes_before_withdrawals_and_wider_evidence(
    hands: Hands,
) -> None:
    orders = [key(f"order {number}") for number in range(bounds.CONTACT_CONSENTS_MAX)]
    withdrawn = {"scope": ConsentScope.ORDER, "scope_key": key("withdrawn")}
    first = (consent_entry(), consent_entry(ConsentStatus.WITHDRAWN, **withdrawn))
    await hands.commit(consents=first)
    commits = [
        commit(
            event_key=one,
            consents=(consent_entry(scope=ConsentScope.ORDER, scope_key=one),),
        )
        for one in orders
    ]
    await hands.store.commit({0: commits}, NOW)
    consents = (await hands.record()).consents
    assert len(consents) == bounds.CONTACT_CONSENTS_MAX
    assert [entry.scope_key for entry in consents] == [bytes(8), key("withdrawn"), *orders[2:]]


async def test_evidence_goes_and_withdrawals_and_suppressions_stay(hands: Hands) -> None:
    """R17, R18: no bound may let anybody be written to."""
    half = bounds.CONTACT_CONSENTS_MAX // 2
    places = [{"scope": 1, "scope_key": number.to_bytes(8, "little")} for number in range(2 * half)]
    stops = [ConsentStatus.WITHDRAWN, *Suppression]
    await hands.write(line(ConsentStatus.GRANTED, scope=2, scope_key=key("order")))
    for number in range(half):
        await hands.write(line(stops[number % len(stops)], **places[number]))
    await hands.write(*(line(ConsentStatus.GRANTED, **place) for place in places))
    consents = (await hands.record()).consents
    assert len(consents) == bounds.CONTACT_CONSENTS_MAX
    assert [entry.status for entry in consents[:half]] == [
        stops[number % len(stops)] for number in range(half)
    ]
    newest = [place["scope_key"] for place in places[-half:]]
    assert [entry.scope_key for entry in consents[half:]] == newest
    await hands.write(*(line(Suppression.BLOCKED, **place) for place in places[half:]))
    consents = (await hands.record()).consents
    assert [entry.status for entry in consents[half:]] == [Suppression.BLOCKED] * half


async def test_stops_beyond_the_bound_come_to_hold_for_the_whole_account(hands: Hands) -> None:
    """Rather nobody is written to than one who said no."""
    most = bounds.CONTACT_CONSENTS_MAX
    lines = [
        line(status, scope=1, scope_key=number.to_bytes(8, "little"), time_ms=NOW - number)
        for number in range(most)
        for status in (Suppression.BLOCKED, ConsentStatus.WITHDRAWN)
    ]
    await hands.write(*lines)
    consents = (await hands.record()).consents
    assert len(consents) == most
    wide = [entry for entry in consents if entry.scope == ConsentScope.ACCOUNT]
    assert [(entry.status, entry.scope_key, entry.time_ms) for entry in wide] == [
        (Suppression.BLOCKED, NO_KEY, NOW), (ConsentStatus.WITHDRAWN, NO_KEY, NOW),
    ]  # fmt: skip
    planned = await hands.plan(needs_consent=True, channel_number=most + 9)
    assert (planned.state, planned.reason) == (State.SKIPPED, Reason.SUPPRESSED)
    assert len(await hands.log()) == len(lines), "the log says what was told"


async def test_the_newest_stamps_are_kept(hands: Hands) -> None:
    count = bounds.CONTACT_STAMPS_MAX + 5
    members = await plan_many(hands, [plan()] * count)
    caps = (cap(limit=count),)
    for at in range(0, count, BATCH):
        await hands.take(*(item(member, caps=caps) for member in members[at : at + BATCH]))
    stamps = (await hands.record()).stamps
    assert [stamp.tag for stamp in stamps] == [bytes(2) + member[8:14] for member in members[5:]]


async def test_the_oldest_that_ended_go_and_what_waits_stays(hands: Hands) -> None:
    waiting = await hands.plan()
    count = bounds.CONTACT_INVITATIONS_MAX + 5
    members = await plan_many(hands, [plan(**ENDED)] * count)
    references = (await hands.record()).references
    assert len(references) == bounds.CONTACT_INVITATIONS_MAX
    assert references[0].sequence == waiting.sequence
    assert references[-1].sequence == waiting.sequence + count
    assert await hands.read(members[0]) is None
    assert await hands.read(waiting.member) is not None
    assert (await hands.counters()).planned == count + 1


async def test_what_waits_is_never_dropped_until_it_has_ended(hands: Hands) -> None:
    count = bounds.CONTACT_INVITATIONS_MAX + 5
    members = await plan_many(hands, [plan()] * count)
    assert len((await hands.record()).references) == count
    answer = await hands.cancel(members[:9], State.CANCELLED, Reason.BY_CLIENT)
    assert answer == [State.CANCELLED] * 9
    references = (await hands.record(contact_key())).references
    assert [ref.sequence for ref in references] == list(range(6, count + 1))


async def test_a_full_batch_of_many_plans_is_taken_and_stopped(hands: Hands) -> None:
    """C4: a hundred rules on one event type are as good as one."""
    rules = range(1, 101)
    contacts = [contact_key(f"contact {number}") for number in range(128)]
    listed = [
        commit(
            *(plan(rule_number=rule, due_ms=NOW + DAY_MS * (rule % 3)) for rule in rules),
            contact_key=contact,
        )
        for contact in contacts
    ]
    answers = (await hands.store.commit({0: listed}, NOW))[0]
    assert [len(answer.plans) for answer in answers] == [100] * 128
    stop = Stop(NO_KEY, frozenset(rules), Reason.PURCHASED)
    listed = [
        commit(contact_key=contact, event_key=key("stop"), stops=(stop,)) for contact in contacts
    ]
    answers = (await hands.store.commit({0: listed}, NOW))[0]
    assert sum(len(answer.stopped) for answer in answers) == 12_800
    assert (await hands.counters()).scheduled == 0


async def test_no_more_wait_for_one_contact_than_its_record_can_count(hands: Hands) -> None:
    """A marketplace that gives one address for all its orders harms itself only."""
    rounds, plans = divmod(bounds.CONTACT_WAITING_MAX, PLANS)
    for size in [*[PLANS] * rounds, plans]:
        answer = await hands.commit(*(plan(due_ms=NOW + DAY_MS) for _ in range(size)))
        assert {created.state for created in answer.plans} == {State.SCHEDULED}
    one_more = await hands.plan(due_ms=NOW + DAY_MS)
    assert (one_more.state, one_more.reason) == (State.FAILED, Reason.CONTACT_FULL)
    counters = await hands.counters()
    assert counters.scheduled == bounds.CONTACT_WAITING_MAX
    assert counters.imbalance == 0
    first = member_of(contact_key(), 1, 1)
    await hands.cancel([first], State.CANCELLED, Reason.RULE_STOPPED)
    assert (await hands.plan(due_ms=NOW + DAY_MS)).state == State.SCHEDULED


async def test_a_busy_ledger_does_not_push_out_a_slow_one(hands: Hands) -> None:
    """A31, pitfall:inexact-caps: of too many stamps, those go first that their window has left."""
    count = bounds.CONTACT_STAMPS_MAX + 5
    members = await plan_many(hands, [plan(due_ms=NOW)] * (count + 1))
    slow = cap(ledger=b"slow", limit=1, window_ms=300 * bounds.DAY_MS)
    busy = cap(ledger=b"busy", limit=BATCH, window_ms=bounds.MINUTE_MS)
    await hands.claim(item(members[0], caps=(slow, busy)), now_ms=NOW)
    for at in range(1, count + 1, BATCH):
        batch = members[at : at + BATCH]
        now_ms = NOW + (1 + at) * bounds.MINUTE_MS
        await hands.claim(*(item(member, caps=(busy,)) for member in batch), now_ms=now_ms)
    stamps = (await hands.record()).stamps
    assert len(stamps) <= bounds.CONTACT_STAMPS_MAX
    assert [stamp.time_ms for stamp in stamps if stamp.ledger == b"slow"] == [NOW]
