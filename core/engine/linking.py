"""Two sides of one person: what one has said and had counts for the other (R4, E15).

Decides: which consents, suppressions and stamps go over when a phone, reference or session turns out to
be a contact. The stricter wins: withdrawals, refusals and suppressions go over as they are; a consent
does not, where the contact has said no later. That somebody was erased stays where it is: it is about
that key and its past.
Never: invitations, purchases and timers (`core/engine/adoption.py`).

What forbids is written before anything that may be sent goes over, and what the contact forbids for
phones is written to the phone too. Whoever withdraws by an alias writes the alias first and looks up
afterwards for whom it stands, and here the alias is noted before it is read: so of a withdrawal and a
link that meet, one sees the other, and the withdrawal holds on both sides.

A line that the other side was told before is not told again, even if its table has it no more: somebody
may have lifted it there. Stamps of single messages get another tag, because the sequences of both sides
begin with 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.antispam import consent
from core.bounds import PAGE_SIZE_MAX
from core.clock import Clock
from core.contact_ports import ConsentLine, LoggedLine
from core.engine.consent_documents import SOURCE_CONTACT, unpacked
from core.engine.identity import Identity
from core.model import ConsentScope, ConsentStatus, Medium, Suppression
from core.partitions import partition_of
from core.ports import Store
from core.records import NO_KEY, ConsentEntry, ContactRecord, HistoryKind

Evidence = tuple[int, int, int, int, bytes, int, int, bytes]
StampLine = tuple[bytes, bytes, int]

PHONE_SCOPE = frozenset({0, Medium.SMS, Medium.WHATSAPP})
"""Media of what a contact forbids that concern its phone."""

_NO = frozenset({ConsentStatus.DENIED, ConsentStatus.WITHDRAWN})
_LineId = tuple[int, int, int, int, bytes, int]


class Linking:
    """Unites the two sides of the contacts of one store."""

    def __init__(self, store: Store, identity: Identity, clock: Clock) -> None:
        self._store = store
        self._identity = identity
        self._clock = clock

    async def forbid(
        self, source_key: bytes, source: ContactRecord, target_key: bytes, target: ContactRecord,
        media: frozenset[int] | None = None,
    ) -> None:  # fmt: skip
        """Tell one side what the other forbids, as far as it was not told; what waits there ends.

        Args:
            media: only what is about these; None for all.
        """
        known = {_id(entry) for entry in target.consents}
        news = [
            entry
            for entry in source.consents
            if _is_strict(entry.status)
            and _id(entry) not in known
            and (media is None or entry.medium in media)
        ]
        if not news:
            return
        told = {_id(line) for line in await self._log(target_key)}
        documents = {_id(line): line.document for line in await self._log(source_key)}
        lines = [
            ConsentLine(
                entry.scope, entry.purpose, entry.medium, entry.status, entry.time_ms,
                entry.scope_key, entry.expire_ms, documents.get(_id(entry), b""),
            )
            for entry in news
            if _id(entry) not in told
        ]  # fmt: skip
        for at in range(0, len(lines), PAGE_SIZE_MAX):
            await self._store.write_consents(
                self._partition(target_key), target_key, lines[at : at + PAGE_SIZE_MAX],
                self._clock.now_ms(),
            )  # fmt: skip

    async def grants(
        self, source_key: bytes, source: ContactRecord, target: ContactRecord
    ) -> list[Evidence]:
        """Return the consents that go over, with their evidence; not those that a contact has lent to a
        phone, which are that contact's alone."""
        known = {_id(entry) for entry in target.consents}
        news = [
            entry
            for entry in source.consents
            if consent.is_evidence(entry.status)
            and entry.status not in _NO
            and _id(entry) not in known
            and not is_overruled(entry, target.consents)
        ]
        if not news:
            return []
        documents = {_id(line): line.document for line in await self._log(source_key)}
        return [
            (*_id(entry), entry.expire_ms, documents.get(_id(entry), b""))
            for entry in news
            if not _is_lent(documents.get(_id(entry), b""))
        ]

    def stamps(self, key: bytes, record: ContactRecord) -> list[StampLine]:
        """Return what the caps of one side have counted, as the other side's caps count it.

        Stamps that messages of other contacts have left at a shared phone stay there.
        """
        orders = {ref.order_key for ref in record.references}
        orders |= {line.key for line in record.history if line.kind != HistoryKind.FIRED}
        orders |= {e.scope_key for e in record.consents if e.scope == ConsentScope.ORDER}
        found: list[StampLine] = []
        for stamp in record.stamps:
            if _is_own_message(stamp.tag, record):
                found.append((stamp.ledger, self._tag(key, stamp.tag), stamp.time_ms))
            elif stamp.tag in orders - {NO_KEY}:
                found.append((stamp.ledger, stamp.tag, stamp.time_ms))
        return found

    def _tag(self, key: bytes, tag: bytes) -> bytes:
        """Return a tag that no message of another contact has."""
        made = self._identity.adopted_key(key, tag)
        return b"\xff" + made[1:] if made.startswith(b"\0") else made

    def _partition(self, key: bytes) -> int:
        return partition_of(key, self._store.meta.partition_count)

    async def _log(self, key: bytes) -> list[LoggedLine]:
        lines: list[LoggedLine] = []
        while True:
            after = lines[-1].number if lines else 0
            part = await self._store.consent_log(self._partition(key), key, after, PAGE_SIZE_MAX)
            lines += part
            if len(part) < PAGE_SIZE_MAX:
                return lines


def is_overruled(grant: ConsentEntry, entries: Sequence[ConsentEntry]) -> bool:
    """Return whether a later no stands against a consent: one of its own scope or a wider one."""
    return any(
        no.status in _NO
        and (no.purpose, no.medium) == (grant.purpose, grant.medium)
        and no.time_ms >= grant.time_ms
        and (no.scope < grant.scope or (no.scope, no.scope_key) == (grant.scope, grant.scope_key))
        for no in entries
    )


def _is_lent(document: bytes) -> bool:
    known = unpacked(document)
    return known is not None and known.source == SOURCE_CONTACT


def _is_strict(status: int) -> bool:
    return status in _NO or (consent.is_suppression(status) and status != Suppression.ERASED)


def _is_own_message(tag: bytes, record: ContactRecord) -> bool:
    """Return whether a tag is that of one of the record's invitations, see `invitation_tag`."""
    return tag.startswith(b"\0\0") and int.from_bytes(tag[2:], "big") < record.next_sequence


def _id(line: ConsentEntry | LoggedLine) -> _LineId:
    """Return what tells one thing that was said from another."""
    return (
        line.scope, line.purpose, line.medium, line.status, line.scope_key, line.time_ms,
    )  # fmt: skip
