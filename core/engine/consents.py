"""Consents and suppressions of contacts: grant, withdraw, suppress, lift, read back.

Decides: which lines a statement writes, and for whom: what forbids messages to a phone is written for
the phone itself too, and for every contact known by it. The decision to send is not taken here: it is
taken in the claim script, on the entries (R17, R18).

Each contact is written in one step; of several, one after the other, the contact meant first. Every
statement is repeated without harm: the log gets another line, the table stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.antispam.consent import is_evidence, is_suppression
from core.clock import Clock
from core.contact_ports import ConsentLine, LoggedLine
from core.engine import consent_views
from core.engine.consent_documents import (
    SOURCE_CONTACT,
    ConsentDocument,
    granted_as,
    packed,
    unpacked,
)
from core.engine.consent_views import ConsentView, Said, SuppressionView
from core.engine.reach import Reach, Whom
from core.errors import FailedPrecondition, NotFound
from core.model import ConsentScope, ConsentStatus, Medium, Suppression
from core.partitions import partition_of
from core.ports import Store
from core.records import NO_KEY, ConsentEntry
from core.registry.registry import Registry

PHONE_MEDIA = (int(Medium.SMS), int(Medium.WHATSAPP))
LOG_READ_MIN, LOG_READ_MAX = 100, 1_000
"""Lines of the log that one call reads."""

_UNSUBSCRIBING = (ConsentStatus.WITHDRAWN, Suppression.UNSUBSCRIBED)
_FORBIDDING = frozenset({ConsentStatus.WITHDRAWN, ConsentStatus.LIFTED, *Suppression})


class Statement(msgspec.Struct, frozen=True):
    """What somebody says: about which messages, when, and how."""

    purpose: int = 0
    """0: all, where that is possible."""
    medium: int = 0
    """0: all, where that is possible."""
    channel_name: str = ""
    """Full name; "": the whole account."""
    time_ms: int = 0
    """0: now. Later than now counts as now (R17)."""
    document: ConsentDocument = ConsentDocument()


class Written(msgspec.Struct):
    """What a write has done. Members of all contacts concerned."""

    contact_keys: list[bytes]
    """Whom it was written for, the contact meant first."""
    ended: list[bytes] = []
    in_flight: list[bytes] = []
    """Claimed before: these may still arrive (R12)."""


class ConsentBook:
    """Consents of all contacts of one store."""

    def __init__(self, store: Store, registry: Registry, reach: Reach, clock: Clock) -> None:
        self.reach = reach
        self._store = store
        self._registry = registry
        self._clock = clock

    def _partition(self, contact_key: bytes) -> int:
        return partition_of(contact_key, self._store.meta.partition_count)

    def scope(self, account: str, channel_name: str) -> tuple[int, bytes]:
        """Return (scope, scope key) of a channel, or of the account.

        Raises:
            NotFound: the channel does not exist.
        """
        if not channel_name:
            return ConsentScope.ACCOUNT, NO_KEY
        channel = self._registry.snapshot.channel_by_name.get(channel_name)
        if channel is None or channel.account != account:
            raise NotFound(f'"{channel_name[:200]}" is no channel of this account', field="channel")
        return self.scope_of_number(channel.number)

    @staticmethod
    def scope_of_number(channel_number: int) -> tuple[int, bytes]:
        """Return (scope, scope key) of a channel by its number, or of the account for 0."""
        if not channel_number:
            return ConsentScope.ACCOUNT, NO_KEY
        return ConsentScope.CHANNEL, channel_number.to_bytes(8, "little")

    def line(self, account: str, status: int, said: Statement, expire_ms: int = 0) -> ConsentLine:
        """Return what a statement writes.

        Raises:
            NotFound: the channel does not exist.
        """
        scope, scope_key = self.scope(account, said.channel_name)
        now_ms = self._clock.now_ms()
        return ConsentLine(
            scope, said.purpose, said.medium, int(status), min(said.time_ms or now_ms, now_ms),
            scope_key, expire_ms,
            packed(msgspec.structs.replace(said.document, account=account)),
        )  # fmt: skip

    # Writing --------------------------------------------------------------------------------------

    async def grant(
        self, account: str, whom: Whom, said: Statement, expire_ms: int = 0, *,
        is_proven: bool = True,
    ) -> ConsentView:  # fmt: skip
        """Record a consent.

        Raises:
            NotFound: the channel does not exist.
        """
        status = granted_as(said.document.legal_basis, is_proven=is_proven)
        line = self.line(account, status, said, expire_ms)
        written = await self.write(account, whom, [line])
        return await self.one(account, written.contact_keys[0], line)

    async def withdraw(
        self, account: str, whom: Whom, said: Statement
    ) -> tuple[ConsentView, Written]:
        """Record a withdrawal. Once this returns, no send that it covers starts.

        Raises:
            NotFound: the channel does not exist.
        """
        line = self.line(account, ConsentStatus.WITHDRAWN, said)
        written = await self.write(account, whom, [line])
        return await self.one(account, written.contact_keys[0], line), written

    async def unsubscribe(self, account: str, whom: Whom, said: Sequence[Statement]) -> Written:
        """Withdraw and suppress, in one write (R18). Once this returns, no send that it covers starts.

        Raises:
            NotFound: a channel does not exist.
        """
        lines = [self.line(account, status, each) for each in said for status in _UNSUBSCRIBING]
        return await self.write(account, whom, lines)

    async def is_unsubscribed(self, account: str, whom: Whom, said: Sequence[Statement]) -> bool:
        """Return whether unsubscribing would change nothing: it was done, and nothing was said since."""
        key = await self.reach.contact_key(account, whom)
        record = await self._store.contact(self._partition(key), key)
        entries = record.consents if record is not None else ()
        return all(
            _is_last_word(entries, each, self.scope(account, each.channel_name)) for each in said
        )

    async def suppress(
        self, account: str, whom: Whom, said: Statement, kind: int
    ) -> tuple[SuppressionView, Written]:
        """Suppress. Once this returns, no send that it covers starts.

        Raises:
            NotFound: the channel does not exist.
        """
        line = self.line(account, kind, said)
        written = await self.write(account, whom, [line])
        for view in await self.suppressions(written.contact_keys[0]):
            if _is_of(view, line) and view.kind == kind:
                return view, written
        raise NotFound("the contact was erased meanwhile", field="contact")

    async def lift(self, account: str, whom: Whom, said: Statement) -> list[SuppressionView]:
        """Lift the suppressions of exactly this scope, purpose and medium; return which.

        Raises:
            NotFound: the channel does not exist.
            FailedPrecondition: the contact was erased.
        """
        line = self.line(account, ConsentStatus.LIFTED, said)
        lifted = await self.liftable(account, whom, line)
        await self.write(account, whom, [line])
        return lifted

    async def liftable(self, account: str, whom: Whom, line: ConsentLine) -> list[SuppressionView]:
        """Return what a line of LIFTED would lift.

        Raises:
            FailedPrecondition: the contact was erased.
        """
        contact_key = await self.reach.contact_key(account, whom)
        found = [view for view in await self.suppressions(contact_key) if _is_of(view, line)]
        if any(view.kind == Suppression.ERASED for view in found):
            raise FailedPrecondition(
                "the contact was erased: only a later consent opens it again, see GrantConsent",
                field="contact",
            )
        return found

    async def write(self, account: str, whom: Whom, lines: Sequence[ConsentLine]) -> Written:
        """Write lines for a contact; those that forbid messages to its phone also for the phone and
        every contact known by it, and consents with proof also for the phone: it is theirs to open."""
        now_ms = self._clock.now_ms()
        by_phone = [each for line in lines for each in _by_phone(line)]
        written = Written([])
        while True:
            # Whoever links a phone to a contact notes it before reading what is said of the phone: so
            # what is said meanwhile is either seen there, or the link is seen here, the second time.
            meant = await self.reach.contact_key(account, whom)
            keys = [meant]
            if by_phone:
                keys += await self.reach.others_by_phone(account, whom, meant)
            keys = [key for key in keys if key not in written.contact_keys]
            if not keys:
                return written
            for key in keys:
                answer = await self._store.write_consents(
                    self._partition(key), key, lines if key == meant else by_phone, now_ms
                )
                written.ended += answer.ended
                written.in_flight += answer.in_flight
            if not written.contact_keys:
                await self._open_phone(account, whom, meant, lines)
            written.contact_keys += keys

    async def _open_phone(
        self, account: str, whom: Whom, contact_key: bytes, lines: Sequence[ConsentLine]
    ) -> None:
        """Write consents with proof to the phone's own record: they end what blocks it (R18, R22)."""
        proven = [
            line
            for line in lines
            if line.status == ConsentStatus.CONFIRMED and line.medium in PHONE_MEDIA
        ]
        key = await self.reach.phone_record(account, whom, contact_key) if proven else contact_key
        if key != contact_key:
            lines = [msgspec.structs.replace(line, document=borrowed(line)) for line in proven]
            await self._store.write_consents(self._partition(key), key, lines, self._clock.now_ms())

    # Reading --------------------------------------------------------------------------------------

    async def one(self, account: str, contact_key: bytes, line: ConsentLine) -> ConsentView:
        """Return the consent that a line speaks about, as it stands.

        Raises:
            NotFound: nothing is known of it.
        """
        entries, count = await self._table(contact_key)
        here = [each for each in entries if _is_of(each, line)]
        views = await self._views(contact_key, here, count)
        if not views:
            raise NotFound("no such consent", field="name")
        return views[0]

    async def suppressions(self, contact_key: bytes) -> list[SuppressionView]:
        """Return why the contact is not written to, by scope, purpose, medium and kind."""
        entries, count = await self._table(contact_key)
        told = [each for each in entries if is_suppression(each.status)]
        said = await self._said(contact_key, told, count)
        channels = self._registry.snapshot.channel_by_number
        return consent_views.suppressions(contact_key, told, said, channels)

    async def state(
        self, contact_key: bytes
    ) -> tuple[Sequence[ConsentEntry], Sequence[LoggedLine]]:
        """Return the contact's table and the whole log behind it."""
        entries, count = await self._table(contact_key)
        log: list[LoggedLine] = []
        while count:
            more = await self.history(contact_key, log[-1].number if log else 0, LOG_READ_MAX)
            log += more
            if len(more) < LOG_READ_MAX:
                break
        return entries, log

    async def _table(self, contact_key: bytes) -> tuple[Sequence[ConsentEntry], int]:
        """Return the contact's table, and how many lines the log behind it has."""
        record = await self._store.contact(self._partition(contact_key), contact_key)
        return ((), 0) if record is None else (record.consents, record.consent_lines)

    async def _said(self, contact_key: bytes, entries: Sequence[ConsentEntry], count: int) -> Said:
        """Return the evidence of entries, of the log no more than its newest part that has it.

        Args:
            count: how many lines the log had when the entries were read.
        """
        said, end, size = Said(), count, LOG_READ_MIN
        while end and not all(map(said.knows, entries)):
            start = max(0, end - size)
            lines = await self.history(contact_key, start, end - start)
            if not lines:
                # Erasing drops the log from its beginning.
                break
            said.add_older(lines)
            end, size = start, min(2 * size, LOG_READ_MAX)
        return said

    async def history(self, contact_key: bytes, after: int, limit: int) -> Sequence[LoggedLine]:
        """Return the lines of the log with numbers above `after`, oldest first."""
        partition = self._partition(contact_key)
        return await self._store.consent_log(partition, contact_key, after, limit)

    def channel_name(self, scope: int, scope_key: bytes) -> str:
        """Return the full name of the channel that a line covers, "" for none."""
        channels = self._registry.snapshot.channel_by_number
        return consent_views.channel_name_of(scope, scope_key, channels)

    async def list(self, account: str, contact_key: bytes) -> Sequence[ConsentView]:
        """Return what the contact has agreed to, by scope, purpose and medium; [] if unknown."""
        entries, count = await self._table(contact_key)
        return await self._views(contact_key, entries, count)

    async def _views(
        self, contact_key: bytes, entries: Sequence[ConsentEntry], count: int
    ) -> Sequence[ConsentView]:
        told = [each for each in entries if not is_suppression(each.status)]
        said = await self._said(contact_key, told, count)
        channels = self._registry.snapshot.channel_by_number
        return consent_views.consents(contact_key, told, said, channels, self._clock.now_ms())


def borrowed(line: ConsentLine) -> bytes:
    """Return the evidence of a line for the phone's own record: it stays that of the contact."""
    document = unpacked(line.document) or ConsentDocument()
    return packed(msgspec.structs.replace(document, source=SOURCE_CONTACT))


def _is_last_word(
    entries: Sequence[ConsentEntry], said: Statement, place: tuple[int, bytes]
) -> bool:
    """Return whether a withdrawal with its suppression stands, and no answer that is not older."""
    times = {
        entry.status: entry.time_ms
        for entry in entries
        if (entry.scope, entry.scope_key) == place
        and (entry.purpose, entry.medium) == (said.purpose, said.medium)
    }
    since_ms = min(times.get(each, -1) for each in _UNSUBSCRIBING)
    return since_ms >= 0 and not any(
        is_evidence(entry.status)
        and entry.time_ms >= since_ms
        and entry.purpose in (0, said.purpose)
        and entry.medium in (0, said.medium)
        for entry in entries
    )


def _by_phone(line: ConsentLine) -> Sequence[ConsentLine]:
    """Return what of a line holds for the phone itself: over e-mail a household is several people."""
    if line.status not in _FORBIDDING:
        return ()
    if line.medium:
        return (line,) if line.medium in PHONE_MEDIA else ()
    return [msgspec.structs.replace(line, medium=medium) for medium in PHONE_MEDIA]


def _is_of(view: ConsentView | SuppressionView | ConsentEntry, line: ConsentLine) -> bool:
    return (view.scope, view.scope_key, view.purpose, view.medium) == (
        line.scope, line.scope_key, line.purpose, line.medium,
    )  # fmt: skip
