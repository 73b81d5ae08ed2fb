"""What the store does to one contact record: pure functions, without index, counters or bodies.

Decides: how an invitation is born (R2, R11), what an ending and a released reservation change,
which waiting entry is woken, and what a record that grows too long forgets.
Never: where entries are indexed, what is counted; that is the partition's (`memory_partition.py`).

Units: every `*_ms` is epoch milliseconds.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

import msgspec

from core import bounds
from core.antispam import consent
from core.antispam.caps import invitation_tag
from core.model import ConsentScope, Reason, State
from core.ports import Plan, Stop
from core.records import (
    BY_HAND,
    FLAG_STOPPED,
    NO_KEY,
    ConsentEntry,
    ContactRecord,
    Reference,
    Stamp,
    Tombstone,
    member_of,
    pack48,
)

KEY_HOLDING_STATES = frozenset({
    State.SCHEDULED, State.IN_FLIGHT, State.SENT, State.DELIVERED, State.NOT_DELIVERED,
    State.CANCELLED, State.FAILED, State.UNKNOWN,
})  # fmt: skip
"""An invitation in one of these states keeps its message key from others; SKIPPED and EXPIRED free
it (R2)."""

ORDER_COUNTING_STATES = frozenset({
    State.IN_FLIGHT, State.SENT, State.DELIVERED, State.NOT_DELIVERED, State.UNKNOWN,
})  # fmt: skip
"""While another invitation of the order is in one of these states, its stamp stands (R23)."""

LIVE_STATES = frozenset({State.SCHEDULED, State.IN_FLIGHT})


def may_return(ref: Reference) -> bool:
    """Return whether an invitation that has ended may come back: a client has cancelled it (R44), or it
    has failed (R8)."""
    if ref.state == State.FAILED:
        return ref.reason != Reason.CONTACT_FULL
    return ref.state == State.CANCELLED and ref.reason == Reason.BY_CLIENT


def is_kept(ref: Reference) -> bool:
    """Return whether body and facts are kept for an invitation: it waits, is in flight, or may come
    back."""
    return ref.state in LIVE_STATES or may_return(ref)


def find(record: ContactRecord, sequence: int) -> Reference | None:
    """Return the reference with this sequence; references stand in ascending sequence.

    Cost: O(log references).
    """
    refs = record.references
    index = bisect.bisect_left(refs, sequence, key=lambda ref: ref.sequence)
    return refs[index] if index < len(refs) and refs[index].sequence == sequence else None


def member(contact_key: bytes, ref: Reference) -> bytes:
    """Return the wheel member of a reference."""
    return member_of(contact_key, ref.sequence, ref.channel_number)


def copied(record: ContactRecord) -> ContactRecord:
    """Return a copy that shares nothing mutable with the record."""
    return ContactRecord(
        next_sequence=record.next_sequence,
        consent_lines=record.consent_lines,
        consents=list(record.consents),
        stamps=list(record.stamps),
        tombstones=list(record.tombstones),
        history=list(record.history),
        events=list(record.events),
        references=[msgspec.structs.replace(ref) for ref in record.references],
    )


# --- birth --------------------------------------------------------------------------------------


def birth(
    record: ContactRecord, plan: Plan, is_consent_checked: bool, now_ms: int
) -> tuple[int, int, int]:
    """Return (state, reason, kinds) in which an invitation is born.

    The first that applies: the gate that decided at accept; too many that wait (FAILED); a tombstone
    of the order, the oldest first (CANCELLED); another holder of the message key (SKIPPED DUPLICATE);
    where it needs consent, a suppression or no consent (SKIPPED).
    A review request gives up the kinds that others hold; if all are held, it is a duplicate.

    Args:
        record: the contact, with this event's evidence and tombstone already in it.
        plan: the invitation to be.
        is_consent_checked: False for the steps that follow a sent one: the claim decides.
    """
    if plan.state != State.SCHEDULED:
        return plan.state, plan.reason, plan.kinds
    if len(record.references) >= bounds.CONTACT_WAITING_MAX:
        # What has ended was trimmed long ago: all of these wait.
        return State.FAILED, Reason.CONTACT_FULL, plan.kinds
    reasons = dict(zip(plan.stop_types, plan.stop_reasons, strict=True))
    for tombstone in record.tombstones:
        if tombstone.order_key == plan.order_key and tombstone.event_type_number in reasons:
            return State.CANCELLED, reasons[tombstone.event_type_number], plan.kinds
    kinds = plan.kinds
    for ref in record.references if plan.message_key != NO_KEY else ():
        if ref.message_key == plan.message_key and ref.state in KEY_HOLDING_STATES:
            kinds &= ~ref.kinds
            if not kinds:
                return State.SKIPPED, Reason.DUPLICATE, plan.kinds
    if is_consent_checked and plan.needs_consent:
        reason = consent.refusal(
            record.consents, plan.channel_number, plan.order_key, plan.purpose, plan.medium, now_ms,
            is_pending_enough=True,
        )  # fmt: skip
        if reason is not Reason.NONE:
            return State.SKIPPED, reason, kinds
    return State.SCHEDULED, Reason.NONE, kinds


def add_reference(
    record: ContactRecord,
    plan: Plan,
    event_key: bytes,
    body_sequence: int,
    is_consent_checked: bool,
    now_ms: int,
) -> Reference:
    """Give a plan the next sequence, let it be born, and append its reference."""
    state, reason, kinds = birth(record, plan, is_consent_checked, now_ms)
    ref = Reference(
        sequence=record.next_sequence, state=state, reason=reason, medium=plan.medium,
        purpose=plan.purpose, step=plan.step, channel_number=plan.channel_number,
        rule_number=plan.rule_number, due_ms=plan.due_ms, expire_ms=plan.expire_ms,
        event_key=event_key, order_key=plan.order_key, message_key=plan.message_key,
        body_sequence=body_sequence, flags=plan.flags, priority=plan.priority, kinds=kinds,
        mark=NO_KEY if state == State.SCHEDULED else ended_mark(now_ms),
    )  # fmt: skip
    record.next_sequence += 1
    record.references.append(ref)
    return ref


def add_tombstone(
    record: ContactRecord, order_key: bytes, event_type_number: int, time_ms: int
) -> None:
    """Remember that an order was ended by an event of this type: once per type, the first stays.

    Nothing is remembered without an order, or for event type 0.
    """
    if order_key == NO_KEY or not event_type_number:
        return
    if not any(
        t.order_key == order_key and t.event_type_number == event_type_number
        for t in record.tombstones
    ):
        record.tombstones.append(Tombstone(order_key, event_type_number, time_ms))


# --- ending -------------------------------------------------------------------------------------


def ended_mark(now_ms: int, content_revision: int = 0) -> bytes:
    """Return the mark of an invitation that ended now: six bytes of time, two of the revision that was
    sent."""
    return pack48(now_ms) + (content_revision % 2**16).to_bytes(2, "little")


def is_stopped(ref: Reference, stop: Stop) -> bool:
    """Return whether the stop is meant for this invitation."""
    return (
        stop.order_key in (NO_KEY, ref.order_key)
        and stop.channel_number in (0, ref.channel_number)
        and ref.rule_number in stop.rule_numbers
        and (bool(ref.kinds & stop.kinds) if ref.kinds else ref.rule_number != BY_HAND)
    )


def forbid_return(record: ContactRecord, stop: Stop) -> None:
    """Flag what the stop would have ended, had it not failed or been cancelled by a client before
    (R44)."""
    for ref in record.references:
        if may_return(ref) and is_stopped(ref, stop):
            ref.flags |= FLAG_STOPPED


def note_in_flight(record: ContactRecord, stop: Stop) -> None:
    """Give what is in flight the reason of the first stop that is meant for it: it may arrive, but is
    not tried again and has no next step."""
    for ref in record.references:
        if ref.state == State.IN_FLIGHT and not ref.reason and is_stopped(ref, stop):
            ref.reason = stop.reason


def has_kept(record: ContactRecord, order_key: bytes = NO_KEY) -> bool:
    """Return whether anything is kept, see `is_kept`: for the order, or, without one, at all."""
    return any(is_kept(ref) and order_key in (NO_KEY, ref.order_key) for ref in record.references)


def is_body_needed(record: ContactRecord, body_sequence: int) -> bool:
    """Return whether an invitation of the event may still be rendered."""
    return any(ref.body_sequence == body_sequence and is_kept(ref) for ref in record.references)


# --- reservations -------------------------------------------------------------------------------


def add_stamps(record: ContactRecord, stamps: Iterable[tuple[bytes, bytes, int]]) -> None:
    """Count sends that another contact has had, once per ledger and tag, by their times (R4)."""
    for stamp in stamps:
        if not any((one.ledger, one.tag) == stamp[:2] for one in record.stamps):
            bisect.insort(record.stamps, Stamp(*stamp), key=lambda one: one.time_ms)


def release_stamps(record: ContactRecord, ref: Reference) -> tuple[bytes, ...]:
    """Take back what this invitation reserved; return the ledgers in which it was (R25, E9).

    The order's stamp goes too, unless another invitation of the order was sent or is on its way.
    """
    tags = {invitation_tag(ref.sequence)}
    if ref.order_key != NO_KEY and not any(
        other.order_key == ref.order_key
        and other.sequence != ref.sequence
        and other.state in ORDER_COUNTING_STATES
        for other in record.references
    ):
        tags.add(ref.order_key)
    ledgers = tuple(dict.fromkeys(one.ledger for one in record.stamps if one.tag in tags))
    record.stamps = [one for one in record.stamps if one.tag not in tags]
    return ledgers


def first_of(waiting: Iterable[Reference]) -> Reference | None:
    """Return the entry that comes first: by due time, then priority descending, then age (R26)."""
    return min(waiting, key=lambda ref: (ref.due_ms, -ref.priority, ref.sequence), default=None)


# --- bounds -------------------------------------------------------------------------------------


def trim(record: ContactRecord) -> list[Reference]:
    """Bring every section back within its bound: the oldest that no longer matter go first. Return
    the invitations that were dropped.

    Invitations that wait or are in flight are never dropped, so their section alone may exceed its
    bound. For consents see `trim_consents`.
    """
    del record.stamps[: max(0, len(record.stamps) - bounds.CONTACT_STAMPS_MAX)]
    del record.tombstones[: max(0, len(record.tombstones) - bounds.CONTACT_TOMBSTONES_MAX)]
    del record.history[: max(0, len(record.history) - bounds.CONTACT_HISTORY_MAX)]
    del record.events[: max(0, len(record.events) - bounds.CONTACT_EVENTS_MAX)]
    excess = len(record.references) - bounds.CONTACT_INVITATIONS_MAX
    ended = [ref for ref in record.references if ref.state not in LIVE_STATES] if excess > 0 else []
    dropped = {ref.sequence: ref for ref in ended[:excess]}
    if dropped:
        record.references = [ref for ref in record.references if ref.sequence not in dropped]
    if len(record.consents) > bounds.CONTACT_CONSENTS_MAX:
        record.consents = trim_consents(record.consents)
    return list(dropped.values())


def trim_consents(entries: list[ConsentEntry]) -> list[ConsentEntry]:
    """Return the table within its bound.

    Evidence of orders goes first, then other evidence, the oldest first. A withdrawal or suppression
    never goes: when nothing else is left, the oldest that is narrower than the account comes to hold
    for all of it, where there is one entry for each purpose, medium and status.
    """
    kept = list(entries)
    while len(kept) > bounds.CONTACT_CONSENTS_MAX:
        entry = _first_to_go(kept)
        if entry is None:
            break
        kept.remove(entry)
        if not consent.is_evidence(entry.status):
            wide = msgspec.structs.replace(entry, scope=ConsentScope.ACCOUNT, scope_key=NO_KEY)
            kept = consent.merge(kept, wide)
    return kept


def _first_to_go(entries: list[ConsentEntry]) -> ConsentEntry | None:
    evidence = [entry for entry in entries if consent.is_evidence(entry.status)]
    of_orders = (entry for entry in evidence if entry.scope == ConsentScope.ORDER)
    narrow = (entry for entry in entries if entry.scope != ConsentScope.ACCOUNT)
    return next(of_orders, None) or next(iter(evidence), None) or next(narrow, None)
