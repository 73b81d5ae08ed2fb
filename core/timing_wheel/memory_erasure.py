"""Forgetting a contact, in memory (R22).

Decides: what of a contact goes, what stays behind the keyed hash, and what is left to do elsewhere.

What stays: the number of the next invitation and of the next consent line, so that no id is given
twice; the suppressions that nothing ends; one ERASED suppression for each purpose that needs consent;
and, bare, what is in flight, so that its settlement finds it. The reason ERASED in such a reference says
that nothing may follow.

Units: every `*_ms` is epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.contact_ports import Erased
from core.model import (
    CONSENT_PURPOSES,
    LASTING_SUPPRESSIONS,
    ConsentScope,
    Reason,
    State,
    Suppression,
)
from core.records import NO_KEY, ConsentEntry, ContactRecord, HistoryKind, Reference
from core.timer_records import Timer, split_facts
from core.timing_wheel import memory_contact as contacts
from core.timing_wheel.memory_partition import FACTS, Partition


def erase(partition: Partition, contact_key: bytes, now_ms: int) -> Erased:
    """Forget everything about a contact, known or not; a repetition adds what has come since."""
    record = partition.contacts.setdefault(contact_key, ContactRecord())
    timers = partition.timers.of(contact_key)
    before = partition.erasures.get(contact_key, Erased((), (), (), ()))
    flying = [ref for ref in record.references if ref.state == State.IN_FLIGHT]
    todo = Erased(
        _united(before.event_keys, event_keys(record)),
        _united(before.order_keys, order_keys(record, timers)),
        _united(before.cancelled, _cancelled(partition, contact_key, record, now_ms)),
        tuple(contacts.member(contact_key, ref) for ref in flying),
    )
    for timer in timers:
        partition.timers.drop(contact_key, timer.id)
    _forget(partition, contact_key)
    partition.contacts[contact_key] = ContactRecord(
        next_sequence=record.next_sequence,
        consents=_kept(record, now_ms),
        references=[_bare(ref) for ref in flying],
        consent_lines=record.consent_lines,
    )
    partition.erasures[contact_key] = todo
    return todo


def forget_facts(partition: Partition, contact_key: bytes, facts: Iterable[bytes]) -> None:
    """Forget what a contact's invitations were told by events of somebody else."""
    gone = frozenset(facts)
    held = partition.bodies.pop((contact_key, FACTS), b"")
    left = b"".join(fact for fact in split_facts(held) if fact not in gone)
    if left:
        partition.bodies[contact_key, FACTS] = left


def event_keys(record: ContactRecord) -> list[bytes]:
    """Return the events that the contact's record names."""
    return [seen.event_key for seen in record.events] + [ref.event_key for ref in record.references]


def order_keys(record: ContactRecord, timers: Iterable[Timer]) -> list[bytes]:
    """Return the orders and carts that the contact's record and timers name."""
    return [
        *(ref.order_key for ref in record.references),
        *(tombstone.order_key for tombstone in record.tombstones),
        *(line.key for line in record.history if line.kind != HistoryKind.FIRED),
        *(entry.scope_key for entry in record.consents if entry.scope == ConsentScope.ORDER),
        *(timer.key for timer in timers),
    ]


def _united(before: Iterable[bytes], found: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(sorted({*before, *found} - {NO_KEY}))


def _cancelled(
    partition: Partition, contact_key: bytes, record: ContactRecord, now_ms: int
) -> list[bytes]:
    """End what waits and take it out of the lanes; return the members."""
    waiting = [ref for ref in record.references if ref.state == State.SCHEDULED]
    members = [contacts.member(contact_key, ref) for ref in waiting]
    for member, ref in zip(members, waiting, strict=True):
        for lane in (partition.near, partition.deferred, partition.parked):
            lane.remove(member)
        partition.lane(partition.slot_of(ref.due_ms)).remove(member)
        partition.end(member, ref, State.CANCELLED, Reason.ERASED, now_ms)
    return members


def _forget(partition: Partition, contact_key: bytes) -> None:
    """Drop all that stands beside the record, also of invitations that the record names no more."""
    for held in (partition.details, partition.notes):
        for member in [member for member in held if member[:8] == contact_key]:
            del held[member]
    for body in [body for body in partition.bodies if body[0] == contact_key]:
        del partition.bodies[body]
    partition.consent_log.pop(contact_key, None)


def _kept(record: ContactRecord, now_ms: int) -> list[ConsentEntry]:
    lasting = [
        entry
        for entry in record.consents
        if entry.status in LASTING_SUPPRESSIONS and entry.scope != ConsentScope.ORDER
    ]
    return lasting + [
        ConsentEntry(ConsentScope.ACCOUNT, purpose, 0, Suppression.ERASED, NO_KEY, now_ms)
        for purpose in sorted(CONSENT_PURPOSES)
    ]


def _bare(ref: Reference) -> Reference:
    ref.event_key = ref.order_key = ref.message_key = NO_KEY
    ref.reason = Reason.ERASED
    return ref
