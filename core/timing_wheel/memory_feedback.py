"""What is heard of a message after it was sent, in memory (R48, g10).

Decides: which feedback moves an ended invitation to another ended state, and that each kind is heard
once.
Never: which suppressions follow; the caller brings them as lines.

Units: every `*_ms` is epoch milliseconds.
"""

from __future__ import annotations

from functools import partial

from core.bounds import DAY_MS, INVITATION_NOTES_MAX
from core.contact_ports import (
    NOTE_FEEDBACK,
    ConsentsWritten,
    Feedback,
    FeedbackAnswer,
    FeedbackKind,
)
from core.model import Reason, State
from core.records import FLAG_FOLLOW_UP, Reference, pack48
from core.timing_wheel import memory_consents as consents
from core.timing_wheel import memory_contact as contacts
from core.timing_wheel import memory_gate as gate
from core.timing_wheel.memory_partition import Partition

NOTE_BYTES = 17
_RESOLUTIONS = frozenset({FeedbackKind.RESOLVED_SENT, FeedbackKind.RESOLVED_NOT_SENT})
_BOUNCES = {
    FeedbackKind.HARD_BOUNCED: Reason.INVALID_RECIPIENT,
    FeedbackKind.SOFT_BOUNCED: Reason.TEMPORARY_RECIPIENT_ERROR,
}
_TOO_EARLY = frozenset({FeedbackKind.DELIVERED, FeedbackKind.SOFT_BOUNCED})
"""Says nothing of a message that waits or is in flight; heard again once it has ended, it counts."""
_COUNTED = {FeedbackKind.COMPLAINED: "complained", FeedbackKind.HARD_BOUNCED: "hard_bounced"}


def record(partition: Partition, feedback: Feedback, now_ms: int) -> FeedbackAnswer:
    """Note one feedback, move the invitation, write what follows."""
    found = partition.found(feedback.member)
    if found is None:
        return FeedbackAnswer(State.UNSPECIFIED)
    contact_key, held, ref = found
    if _is_heard(partition, feedback) or not _is_fit(ref, feedback.kind):
        return FeedbackAnswer(ref.state)
    _note(partition, feedback, now_ms)
    what = _COUNTED.get(FeedbackKind(feedback.kind))
    if what is not None:
        partition.channels[ref.channel_number, ref.medium, now_ms // DAY_MS, what] += 1
    ended = _move(partition, contact_key, ref, feedback, now_ms)
    if feedback.kind == FeedbackKind.RESOLVED_NOT_SENT:
        gate.release(partition, contact_key, held, ref, now_ms)
    written = ConsentsWritten(())
    if feedback.lines:
        written = consents.write(partition, contact_key, feedback.lines, now_ms)
    return FeedbackAnswer(ref.state, True, (*ended, *written.ended), written.in_flight)


def _is_fit(ref: Reference, kind: int) -> bool:
    """Return whether such a feedback can be meant for an invitation in its state."""
    if kind in _RESOLUTIONS:
        return ref.state == State.UNKNOWN
    return ref.state >= State.SENT or kind not in _TOO_EARLY


def _move(
    partition: Partition, contact_key: bytes, ref: Reference, feedback: Feedback, now_ms: int
) -> list[bytes]:
    """Move the invitation; return the members of the follow-ups that end with it."""
    was = ref.state
    state, reason = _moved(ref, feedback)
    if (state, reason) == (was, ref.reason):
        return []
    if was == State.UNKNOWN and feedback.kind != FeedbackKind.RESOLVED_NOT_SENT:
        partition.count_sent(ref, now_ms)
    partition.move_ended(ref, state, reason)
    if state != State.NOT_DELIVERED:
        return []
    ended = partition.end_waiting(
        contact_key,
        partial(_follows, ref),
        (State.CANCELLED, Reason.PARENT_NOT_DELIVERED),
        now_ms,
    )
    return [contacts.member(contact_key, follower) for follower in ended]


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


def _moved(ref: Reference, feedback: Feedback) -> tuple[int, int]:
    """Return state and reason after the feedback; only what was handed over moves."""
    here = (ref.state, ref.reason)
    if ref.state not in (State.SENT, State.DELIVERED, State.UNKNOWN):
        return here
    if feedback.kind == FeedbackKind.RESOLVED_SENT:
        return State.SENT, Reason.NONE
    if feedback.kind == FeedbackKind.RESOLVED_NOT_SENT:
        return State.NOT_DELIVERED, feedback.reason or ref.reason
    if feedback.kind in _BOUNCES:
        return State.NOT_DELIVERED, feedback.reason or _BOUNCES[FeedbackKind(feedback.kind)]
    if feedback.kind == FeedbackKind.DELIVERED or ref.state == State.UNKNOWN:
        return State.DELIVERED, Reason.NONE
    return here


def _is_heard(partition: Partition, feedback: Feedback) -> bool:
    notes = partition.notes.get(feedback.member, b"")
    return NOTE_FEEDBACK + feedback.kind in notes[NOTE_BYTES - 1 :: NOTE_BYTES]


def _note(partition: Partition, feedback: Feedback, now_ms: int) -> None:
    time_ms = min(feedback.time_ms, now_ms)
    notes = partition.notes.get(feedback.member, b"")
    # The ledger of the last note says which cap it waits for: it stays the last.
    ledger = notes[-5:-1] or bytes(4)
    notes += pack48(time_ms) + bytes(6) + ledger + bytes([NOTE_FEEDBACK + feedback.kind])
    partition.notes[feedback.member] = notes[-NOTE_BYTES * INVITATION_NOTES_MAX :]
