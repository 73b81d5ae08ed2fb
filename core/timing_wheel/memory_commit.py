"""What an event does to one contact in memory.

Decides: the order of evidence, stops, facts, history, timers and plans within one commit, that a commit
happens once (R39), and that it does not happen to whom it concerns no more (R22).
Never: the birth of an invitation (`memory_contact.py`), where it is indexed (`memory_partition.py`), nor
consents that come without an event (`memory_consents.py`).

Units: every `*_ms` is epoch milliseconds.
"""

from __future__ import annotations

from functools import partial

import msgspec

from core.antispam import consent
from core.bounds import CONTACT_FACTS_BYTES_MAX
from core.gate import Lane
from core.model import Disposition, Reason, State
from core.ports import Commit, CommitAnswer, CommittedPlan, RuleCount, Stop
from core.records import (
    FLAG_FOLLOW_UP,
    FLAG_REVIEWED,
    ConsentEntry,
    ContactRecord,
    EventSeen,
    Reference,
    pack48,
)
from core.timer_records import FACT_HEAD, unpack_facts
from core.timing_wheel import memory_consents as consents
from core.timing_wheel import memory_contact as contacts
from core.timing_wheel import memory_history as history
from core.timing_wheel.memory_partition import FACTS, Partition


def apply(partition: Partition, commit: Commit, now_ms: int) -> CommitAnswer:
    """Apply one event to one contact, once.

    Order: evidence, stamps, stops, facts, tombstone, history, timers, plans (R39).
    """
    record = partition.contacts.get(commit.contact_key) or ContactRecord()
    if commit.event_time_ms <= consent.erase_ms(record.consents):
        partition.events[Disposition.REFUSED] += commit.is_primary
        if commit.fires and partition.timers.is_due(commit.contact_key, *commit.fires):
            partition.timers.drop(commit.contact_key, commit.fires[0])
        return CommitAnswer(False, Disposition.REFUSED, (), ())
    for seen in record.events:
        if seen.event_key == commit.event_key:
            partition.events[Disposition.DUPLICATE] += commit.is_primary
            if commit.fires and partition.timers.is_due(commit.contact_key, *commit.fires):
                # Set again where it ran out before, it would stand there for ever.
                partition.timers.drop(commit.contact_key, commit.fires[0])
            return _repeated(commit, seen, record)
    if commit.fires is not None:
        if not partition.timers.is_due(commit.contact_key, *commit.fires):
            return CommitAnswer(True, Disposition.NO_MATCH, (), ())
        partition.timers.drop(commit.contact_key, commit.fires[0])
    partition.contacts[commit.contact_key] = record
    partition.grown.add(commit.contact_key)
    for line in commit.consents:
        entry = ConsentEntry(*line[:7])
        consents.add_line(partition, commit.contact_key, entry, line[7], now_ms)
    contacts.add_stamps(record, commit.stamps)
    stopped: list[Reference] = []
    for stop in commit.stops:
        stopped += partition.end_waiting(
            commit.contact_key,
            partial(contacts.is_stopped, stop=stop),
            (State.CANCELLED, stop.reason),
            now_ms,
        )
        partition.timers.stop(commit.contact_key, stop, commit.event_time_ms)
        contacts.forbid_return(record, stop)
        contacts.note_in_flight(record, stop)
        _count_review(partition, record, stop)
    _keep_facts(partition, record, commit)
    contacts.add_tombstone(
        record, commit.tombstone_order, commit.tombstone_type, commit.event_time_ms
    )
    is_new = history.note(record, commit.history)
    closed = history.closed_rules(record, commit.guards, is_new)
    timers = [msgspec.structs.replace(timer, body=commit.body) for timer in commit.timers]
    if timers and partition.timers.set(commit.contact_key, timers):
        partition.near_version += 1
    disposition = commit.disposition
    plans_left = [plan for plan in commit.plans if plan.rule_number not in closed]
    if commit.plans and not plans_left:
        disposition = Disposition.NO_MATCH
    record.events.append(EventSeen(commit.event_key, disposition, now_ms))
    partition.events[disposition] += commit.is_primary
    body_sequence = record.next_sequence
    plans = tuple(
        partition.create(commit.contact_key, plan, commit.event_key, body_sequence, True, now_ms)
        for plan in plans_left
    )
    if any(plan.state == State.SCHEDULED for plan in plans):
        partition.bodies[commit.contact_key, body_sequence] = commit.body
    return CommitAnswer(False, disposition, plans, tuple(ref.sequence for ref in stopped))


def _count_review(partition: Partition, record: ContactRecord, stop: Stop) -> None:
    """Count a review once for each run whose request was sent (B37)."""
    if stop.reason != Reason.REVIEWED:
        return
    for ref in record.references:
        if (
            contacts.is_stopped(ref, stop)
            and ref.state in (State.SENT, State.DELIVERED)
            and not ref.flags & (FLAG_FOLLOW_UP | FLAG_REVIEWED)
        ):
            ref.flags |= FLAG_REVIEWED
            partition.rules[ref.rule_number, RuleCount.REVIEWED] += 1
            if stop.has_comment:
                partition.rules[ref.rule_number, RuleCount.COMMENTED] += 1


def _keep_facts(partition: Partition, record: ContactRecord, commit: Commit) -> None:
    """Keep what the event tells for those that wait already."""
    key = commit.facts_key
    if key is None or not contacts.has_kept(record, key):
        return
    head = FACT_HEAD.pack(key, pack48(commit.event_time_ms), len(commit.body))
    facts = partition.bodies.get((commit.contact_key, FACTS), b"") + head + commit.body
    while len(facts) > CONTACT_FACTS_BYTES_MAX:
        _, _, oldest = next(unpack_facts(facts))
        facts = facts[FACT_HEAD.size + len(oldest) :]
    partition.bodies[commit.contact_key, FACTS] = facts


def _repeated(commit: Commit, seen: EventSeen, record: ContactRecord) -> CommitAnswer:
    plans = tuple(
        CommittedPlan(
            ref.sequence, ref.state, ref.reason, ref.due_ms, Lane.FAR,
            contacts.member(commit.contact_key, ref),
        )
        for ref in record.references
        if ref.event_key == commit.event_key
    )  # fmt: skip
    return CommitAnswer(True, seen.disposition, plans, ())
