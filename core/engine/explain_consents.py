"""What is known of a contact's consents at a moment, and which entry of it decided.

Decides: how the append-only log becomes the table of a past moment, and which entries speak about an
invitation.
Never: whether they allow it: that is the kernel's (`core/antispam/consent.py`), asked here with the
table of then.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.antispam import consent
from core.contact_ports import LoggedLine
from core.engine.explain_parts import ConsentSeen
from core.model import ConsentStatus, Reason, Suppression
from core.ports import Store
from core.records import ConsentEntry, Reference

_PAGE = 1_000

Known = tuple[ConsentEntry, LoggedLine | None]


async def whole_log(store: Store, partition: int, contact_key: bytes) -> list[LoggedLine]:
    """Return every line of a contact's consent log, oldest first."""
    lines: list[LoggedLine] = []
    while True:
        after = lines[-1].number if lines else 0
        page = await store.consent_log(partition, contact_key, after, _PAGE)
        lines += page
        if len(page) < _PAGE:
            return lines


class Table:
    """A consent table with the log line behind each entry."""

    def __init__(self, known: Sequence[Known], at_ms: int) -> None:
        self._known = tuple(known)
        self._at_ms = at_ms
        self.entries = [entry for entry, _ in known]

    @classmethod
    def now(cls, entries: Sequence[ConsentEntry], lines: Sequence[LoggedLine], at_ms: int) -> Table:
        """Return the table as it stands, as the gate reads it."""
        by_entry = {_entry(line): line for line in lines}
        return cls([(entry, by_entry.get(entry)) for entry in entries], at_ms)

    @classmethod
    def then(cls, lines: Sequence[LoggedLine], at_ms: int) -> Table:
        """Return the table as it stood: of all that was written down by then."""
        entries: list[ConsentEntry] = []
        by_entry: dict[ConsentEntry, LoggedLine] = {}
        for line in lines:
            if line.write_ms <= at_ms:
                entry = _entry(line)
                by_entry[entry] = line
                entries = consent.merge(entries, entry)
        return cls([(entry, by_entry[entry]) for entry in entries], at_ms)

    # What it says of an invitation ---------------------------------------------------------------

    def suppression(self, ref: Reference) -> Reason:
        """Return why the contact was not to be written to, NONE if it was."""
        return consent.suppression(self.entries, *_asked(ref))

    def refusal(self, ref: Reference, purpose: int = 0) -> Reason:
        """Return why there was no consent, NONE if there was.

        Args:
            purpose: another one than that of the invitation.
        """
        channel, order, own, medium = _asked(ref)
        return consent.decide(self.entries, channel, order, purpose or own, medium, self._at_ms)[1]

    def suppressions(self, ref: Reference) -> tuple[ConsentSeen, ...]:
        """Return the suppressions that cover an invitation, and the confirmations that end some."""
        asked, reason = _asked(ref), self.suppression(ref)
        found = [
            (entry, line)
            for entry, line in self._known
            if consent.is_suppression(entry.status) and consent.covering(entry, *asked)
        ]
        if not found:
            return ()
        confirmed = [
            (entry, line)
            for entry, line in self._known
            if entry.status == ConsentStatus.CONFIRMED and consent.covering(entry, *asked)
        ]
        newest_ms = max((entry.time_ms for entry, _ in confirmed), default=-1)
        standing = [
            (entry, line)
            for entry, line in found
            if consent.suppression([*(e for e, _ in confirmed), entry], *asked)
        ]
        decisive = next(
            (
                entry
                for entry, _ in standing
                if (entry.status == Suppression.UNSUBSCRIBED) == (reason == Reason.UNSUBSCRIBED)
            ),
            None,
        )
        if decisive is None:
            decisive = next((e for e, _ in confirmed if e.time_ms == newest_ms), None)
        return tuple(_seen(entry, line, entry is decisive) for entry, line in (*found, *confirmed))

    def consents(self, ref: Reference, purpose: int = 0) -> tuple[ConsentSeen, ...]:
        """Return evidence and withdrawals that cover an invitation; the one that decided is marked."""
        channel, order, own, medium = _asked(ref)
        found = [
            (entry, line)
            for entry, line in self._known
            if not consent.is_suppression(entry.status)
            and entry.purpose == (purpose or own)
            and consent.covering(entry, channel, order, purpose or own, medium)
        ]
        decisive = _decisive([entry for entry, _ in found], self.refusal(ref, purpose), self._at_ms)
        return tuple(_seen(entry, line, entry is decisive) for entry, line in found)


def _decisive(entries: Sequence[ConsentEntry], reason: Reason, at_ms: int) -> ConsentEntry | None:
    """Return which of the entries that cover an invitation gave the kernel's answer."""
    if reason is Reason.CONSENT_WITHDRAWN:
        withdrawals = [e for e in entries if e.status == ConsentStatus.WITHDRAWN]
        return max(withdrawals, key=lambda entry: entry.time_ms, default=None)
    is_withdrawn = any(entry.status == ConsentStatus.WITHDRAWN for entry in entries)
    evidence = [
        entry
        for entry in entries
        if consent.is_evidence(entry.status)
        and not 0 < entry.expire_ms <= at_ms
        and not (is_withdrawn and entry.status == ConsentStatus.ASSUMED)
    ]
    return max(evidence, key=consent.rank, default=None)


def _asked(ref: Reference) -> tuple[int, bytes, int, int]:
    return ref.channel_number, ref.order_key, ref.purpose, ref.medium


def _entry(line: LoggedLine) -> ConsentEntry:
    return ConsentEntry(
        line.scope, line.purpose, line.medium, line.status, line.scope_key, line.time_ms,
        line.expire_ms,
    )  # fmt: skip


def _seen(entry: ConsentEntry, line: LoggedLine | None, decided: bool) -> ConsentSeen:
    seen = ConsentSeen(
        entry.scope, entry.purpose, entry.medium, entry.status, entry.scope_key, entry.time_ms,
        entry.expire_ms, decided=decided,
    )  # fmt: skip
    if line is None:
        return seen
    return msgspec.structs.replace(seen, number=line.number, write_ms=line.write_ms)


def status_name(status: int) -> str:
    """Return what an entry is called."""
    if consent.is_suppression(status):
        return Suppression(status).name
    return ConsentStatus(status).name
