"""What is heard of a message moves it among the ended states, in memory (R6, R48).

Decides: which feedback moves what. What was heard of a message in flight was noted then, and moves the
message once its outcome is known.
Never: which suppressions follow (`memory_feedback.py`).
"""

from __future__ import annotations

from functools import partial

from core.contact_ports import NOTE_FEEDBACK, FeedbackKind
from core.model import Reason, State
from core.records import FLAG_FOLLOW_UP, FLAG_HEARD, Reference
from core.timing_wheel import memory_contact as contacts
from core.timing_wheel.memory_partition import Partition

NOTE_BYTES = 17
_BOUNCES = {
    FeedbackKind.HARD_BOUNCED: Reason.INVALID_RECIPIENT,
    FeedbackKind.SOFT_BOUNCED: Reason.TEMPORARY_RECIPIENT_ERROR,
}


def move(
    partition: Partition, contact_key: bytes, ref: Reference, kind: int, reason: int, now_ms: int
) -> list[bytes]:
    """Move the invitation; return the members of the follow-ups that end with it.

    Args:
        reason: why it ends; 0: what the kind means.
    """
    was = ref.state
    state, why = _moved(ref, kind, reason)
    if (state, why) == (was, ref.reason):
        return []
    if was == State.UNKNOWN and kind != FeedbackKind.RESOLVED_NOT_SENT:
        partition.count_sent(ref, now_ms)
    partition.move_ended(ref, state, why)
    if state != State.NOT_DELIVERED:
        return []
    ended = partition.end_waiting(
        contact_key,
        partial(_follows, ref),
        (State.CANCELLED, Reason.PARENT_NOT_DELIVERED),
        now_ms,
    )
    return [contacts.member(contact_key, follower) for follower in ended]


def mark(ref: Reference) -> None:
    """Mark what is in flight: its outcome, once known, is not the last word."""
    if ref.state == State.IN_FLIGHT:
        ref.flags |= FLAG_HEARD


def catch_up(
    partition: Partition, contact_key: bytes, ref: Reference, member: bytes, now_ms: int
) -> None:
    """Move what has just ended by what was heard of it in flight."""
    if ref.state not in (State.SENT, State.UNKNOWN) or not ref.flags & FLAG_HEARD:
        return
    for code in partition.notes.get(member, b"")[NOTE_BYTES - 1 :: NOTE_BYTES]:
        if code > NOTE_FEEDBACK:
            move(partition, contact_key, ref, code - NOTE_FEEDBACK, 0, now_ms)


def _follows(ref: Reference, other: Reference) -> bool:
    """Return whether the other is a later message of the same run."""
    return (
        bool(other.flags & FLAG_FOLLOW_UP)
        and other.step > ref.step
        and other.body_sequence == ref.body_sequence
        and other.event_key == ref.event_key
        and other.rule_number == ref.rule_number
        and other.channel_number == ref.channel_number
        and other.medium == ref.medium
    )


def _moved(ref: Reference, kind: int, reason: int) -> tuple[int, int]:
    """Return state and reason after the feedback; only what was handed over moves."""
    here = (ref.state, ref.reason)
    if ref.state not in (State.SENT, State.DELIVERED, State.UNKNOWN):
        return here
    if kind == FeedbackKind.RESOLVED_SENT:
        return State.SENT, Reason.NONE
    if kind == FeedbackKind.RESOLVED_NOT_SENT:
        return State.NOT_DELIVERED, reason or ref.reason
    if kind in _BOUNCES:
        return State.NOT_DELIVERED, reason or _BOUNCES[FeedbackKind(kind)]
    if kind == FeedbackKind.DELIVERED or ref.state == State.UNKNOWN:
        return State.DELIVERED, Reason.NONE
    return here
