"""What caps counted at a moment: limit, window, and every send in the ledger.

Decides: how stamps and the gate's notes read.
Never: whether a send fits; that is the kernel's (`core/antispam/caps.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from core.antispam.caps import invitation_tag, unit_tag
from core.antispam.windows import Blocked, freed_ms, is_counting
from core.engine.explain_parts import CapSeen, LedgerEntry
from core.engine.explain_texts import span
from core.engine.reader import InvitationView
from core.gate import CapRule
from core.records import ContactRecord, Reference, Stamp, member_of, unpack48
from core.registry.resources import Cap

NOTE_BYTES = 17
NOTE_DEFERRED = 1
NOTE_SKIPPED = 2


class Note:
    """What the gate wrote down when a cap was full."""

    def __init__(self, raw: bytes) -> None:
        self.time_ms = unpack48(raw[:6])
        self.until_ms = unpack48(raw[6:12])
        self.ledger = raw[12:16]
        self.code = raw[16]


def notes_of(raw: bytes) -> list[Note]:
    """Return the gate's notes about an invitation, oldest first."""
    return [Note(raw[at : at + NOTE_BYTES]) for at in range(0, len(raw), NOTE_BYTES)]


class Ledgers:
    """The stamps of a contact, and what each stands for.

    Args:
        views: the contact's invitations, for the names behind the stamps.
    """

    def __init__(
        self, contact_key: bytes, record: ContactRecord, views: Sequence[InvitationView]
    ) -> None:
        self._stamps: Sequence[Stamp] = record.stamps
        self._members = {
            invitation_tag(ref.sequence): member_of(contact_key, ref.sequence, ref.channel_number)
            for ref in record.references
        }
        self._orders = {
            view.reference.order_key: view.detail.order_reference
            for view in views
            if view.detail.order_reference
        }

    def seen(self, cap: Cap, rule: CapRule, ref: Reference, at_ms: int) -> CapSeen:
        """Return a cap as an invitation met it at a moment; its own unit does not stand in its way."""
        tag = unit_tag(rule, invitation_tag(ref.sequence), ref.order_key)
        counted = [
            stamp
            for stamp in self._stamps
            if stamp.ledger == rule.ledger
            and stamp.tag != tag
            and stamp.time_ms <= at_ms
            and is_counting(stamp.time_ms, rule.window_ms, at_ms)
        ]
        free = freed_ms([stamp.time_ms for stamp in counted], rule.limit, rule.window_ms, at_ms)
        free_at_ms = 0 if free is None or isinstance(free, Blocked) else free
        return CapSeen(
            cap.name, rule.limit, rule.window_ms, tuple(self._entry(one) for one in counted),
            free_at_ms, free is not None,
        )  # fmt: skip

    def noted(self, cap: Cap | None, note: Note) -> CapSeen:
        """Return a cap as a note tells of it: what it counted then, as far as it is still known."""
        if cap is None or cap.limit is None:
            return CapSeen("", 0, 0, (), note.until_ms, is_full=True)
        counted = [
            stamp
            for stamp in self._stamps
            if stamp.ledger == note.ledger
            and stamp.time_ms <= note.time_ms
            and is_counting(stamp.time_ms, cap.window_ms, note.time_ms)
        ]
        return CapSeen(
            cap.name, cap.limit, cap.window_ms, tuple(self._entry(one) for one in counted),
            note.until_ms, is_full=True,
        )  # fmt: skip

    def _entry(self, stamp: Stamp) -> LedgerEntry:
        return LedgerEntry(
            stamp.time_ms, self._members.get(stamp.tag, b""), self._orders.get(stamp.tag, "")
        )


def cap_text(seen: CapSeen) -> str:
    """Return a cap in words: "cap requests (1 in 14 days)"."""
    if not seen.name:
        return "a cap that is gone"
    return f"cap {seen.name.rpartition('/')[2]} ({seen.limit} in {span(seen.window_ms)})"


def counted_text(seen: CapSeen) -> str:
    """Return a cap with what it counted: "cap messages (5 in 30 days) counted 3"."""
    if seen.name and seen.limit == 0:
        return f"{cap_text(seen)} lets nothing through"
    return f"{cap_text(seen)} counted {len(seen.entries)}"
