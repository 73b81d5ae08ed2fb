"""When things were heard of a message, as its notes have it.

Decides: how feedback is told from what the gate wrote down. A note is 17 bytes: time 6, ten that only
the gate needs, and a code last; codes above `NOTE_FEEDBACK` are feedback, that plus its kind.
Never: what follows from feedback (`core/engine/feedback.py`).
"""

from __future__ import annotations

from core.contact_ports import NOTE_FEEDBACK
from core.records import unpack48

NOTE_BYTES = 17


def times_of(notes: bytes) -> dict[int, int]:
    """Return kind of feedback -> when it was first heard, epoch ms."""
    times: dict[int, int] = {}
    for end in range(NOTE_BYTES, len(notes) + 1, NOTE_BYTES):
        kind = notes[end - 1] - NOTE_FEEDBACK
        if kind > 0:
            times.setdefault(kind, unpack48(notes[end - NOTE_BYTES : end - NOTE_BYTES + 6]))
    return times
