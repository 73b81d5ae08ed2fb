"""What is heard of a message after it was sent, in memory (R48, g10).

Decides: that each kind is heard once, and which can be meant for a message in its state.
Never: how it moves the message (`memory_heard.py`); which suppressions follow: the caller brings them as
lines.

Units: every `*_ms` is epoch milliseconds.
"""

from __future__ import annotations

from core.bounds import DAY_MS, INVITATION_NOTES_MAX
from core.contact_ports import (
    NOTE_FEEDBACK,
    ConsentsWritten,
    Feedback,
    FeedbackAnswer,
    FeedbackKind,
)
from core.model import State
from core.records import FLAG_HOLD_UNKNOWN, Reference, pack48
from core.timing_wheel import memory_consents as consents
from core.timing_wheel import memory_gate as gate
from core.timing_wheel import memory_heard as heard
from core.timing_wheel.memory_heard import NOTE_BYTES
from core.timing_wheel.memory_partition import Partition

_RESOLUTIONS = frozenset({FeedbackKind.RESOLVED_SENT, FeedbackKind.RESOLVED_NOT_SENT})
_TOO_EARLY = frozenset({FeedbackKind.DELIVERED, FeedbackKind.SOFT_BOUNCED})
"""Says nothing of a message that waits, or is in flight and may be so again: nobody knows which attempt
is meant. Heard again once it has ended, it counts."""
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
    heard.mark(ref)
    ended = heard.move(
        partition, contact_key, ref, feedback.kind, feedback.reason, now_ms
    )  # fmt: skip
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
    is_once = ref.state == State.IN_FLIGHT and ref.flags & FLAG_HOLD_UNKNOWN
    return ref.state >= State.SENT or bool(is_once) or kind not in _TOO_EARLY


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
