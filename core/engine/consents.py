"""Consents of contacts: grant, withdraw, read back.

Decides: which entry a grant or withdrawal writes, and how the documents beside the entries read. The
decision to send is not taken here: it is taken in the claim script, on the entries (R17).
"""

from __future__ import annotations

import msgspec

from core.clock import Clock
from core.errors import NotFound
from core.model import ConsentScope, ConsentStatus
from core.partitions import partition_of
from core.ports import Store
from core.records import NO_KEY, ConsentEntry, consent_id
from core.registry.registry import Registry


class ConsentDocument(msgspec.Struct, array_like=True):
    """The evidence kept beside a consent entry. Field order is the storage format: append only."""

    collection_point: str = ""
    text_version: str = ""
    actor: str = ""
    write_ms: int = 0
    method: str = ""
    """How it was withdrawn, if by the contact: "one-click", "page"."""
    invitation: bytes = b""
    """Member of the message whose link was used."""


class ConsentView(msgspec.Struct):
    """One consent as it stands: entries and document together. Times epoch ms, 0 for never."""

    contact_key: bytes
    scope: int
    scope_key: bytes
    channel_name: str
    """Full name for CHANNEL scope, else ""."""
    purpose: int
    medium: int
    status: int
    evidence_ms: int = 0
    withdraw_ms: int = 0
    collection_point: str = ""
    text_version: str = ""
    actor: str = ""
    method: str = ""
    invitation: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_document = msgspec.msgpack.Decoder(ConsentDocument)


class ConsentBook:
    """Consents of all contacts of one store."""

    def __init__(self, store: Store, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock

    def _partition(self, contact_key: bytes) -> int:
        return partition_of(contact_key, self._store.meta.partition_count)

    def _scope(self, account: str, channel_name: str) -> tuple[int, bytes]:
        if not channel_name:
            return ConsentScope.ACCOUNT, NO_KEY
        channel = self._registry.snapshot.channel_by_name.get(channel_name)
        if channel is None or channel.account != account:
            raise NotFound(f'"{channel_name[:200]}" is no channel of this account', field="channel")
        return ConsentScope.CHANNEL, channel.number.to_bytes(8, "little")

    async def grant(
        self, account: str, contact_key: bytes, purpose: int, medium: int, channel_name: str,
        time_ms: int, collection_point: str, text_version: str, actor: str,
    ) -> ConsentView:  # fmt: skip
        """Record a consent; evidence from the future counts as from now (R17).

        Raises:
            NotFound: the channel does not exist.
        """
        scope, scope_key = self._scope(account, channel_name)
        now_ms = self._clock.now_ms()
        evidence_ms = min(time_ms or now_ms, now_ms)
        entry = (scope, purpose, medium, int(ConsentStatus.GRANTED), scope_key, evidence_ms)
        document = ConsentDocument(collection_point, text_version, actor, now_ms)
        await self._write(contact_key, entry, document, now_ms)
        return await self._one(account, contact_key, entry)

    async def withdraw(
        self, account: str, contact_key: bytes, purpose: int, medium: int, channel_name: str,
        actor: str, method: str = "", invitation: bytes = b"",
    ) -> tuple[ConsentView, list[bytes], list[bytes]]:  # fmt: skip
        """Record a withdrawal. Once this returns, no send that it covers starts.

        Args:
            method: how the contact withdrew, and by which `invitation`; see `ConsentDocument`.

        Returns:
            (the consent as it stands, members ended by it, members already claimed).

        Raises:
            NotFound: the channel does not exist.
        """
        scope, scope_key = self._scope(account, channel_name)
        now_ms = self._clock.now_ms()
        entry = (scope, purpose, medium, int(ConsentStatus.WITHDRAWN), scope_key, now_ms)
        known = await self._documents(contact_key)
        before = known.get(consent_id(ConsentEntry(*entry)))
        document = ConsentDocument(
            before.collection_point if before else "", before.text_version if before else "",
            actor, now_ms, method, invitation,
        )  # fmt: skip
        ended, flying = await self._write(contact_key, entry, document, now_ms)
        return await self._one(account, contact_key, entry), ended, flying

    async def _write(
        self, contact_key: bytes, entry: tuple[int, int, int, int, bytes, int],
        document: ConsentDocument, now_ms: int,
    ) -> tuple[list[bytes], list[bytes]]:  # fmt: skip
        name = consent_id(ConsentEntry(*entry))
        return await self._store.write_consent(
            self._partition(contact_key), contact_key, entry, (name, _encode(document)), now_ms
        )

    async def _documents(self, contact_key: bytes) -> dict[bytes, ConsentDocument]:
        raw = await self._store.consent_documents(self._partition(contact_key), contact_key)
        return {name: _document.decode(value) for name, value in raw.items()}

    async def _one(
        self, account: str, contact_key: bytes, entry: tuple[int, int, int, int, bytes, int]
    ) -> ConsentView:
        wanted = consent_id(ConsentEntry(*entry))
        for view in await self.list(account, contact_key):
            if bytes((view.scope, view.purpose, view.medium)) + view.scope_key == wanted:
                return view
        raise NotFound("no such consent", field="name")

    async def list(self, account: str, contact_key: bytes) -> list[ConsentView]:
        """Return what the contact has agreed to, by scope, purpose and medium; [] if unknown."""
        record = await self._store.contact(self._partition(contact_key), contact_key)
        if record is None:
            return []
        documents = await self._documents(contact_key)
        channels = self._registry.snapshot.channel_by_number
        views: dict[bytes, ConsentView] = {}
        for entry in record.consents:
            name = consent_id(entry)
            view = views.get(name)
            if view is None:
                channel = None
                if entry.scope == ConsentScope.CHANNEL:
                    channel = channels.get(int.from_bytes(entry.scope_key, "little"))
                document = documents.get(name, ConsentDocument())
                view = views[name] = ConsentView(
                    contact_key, entry.scope, entry.scope_key,
                    channel.name if channel is not None else "", entry.purpose, entry.medium,
                    ConsentStatus.UNSPECIFIED, 0, 0, document.collection_point,
                    document.text_version, document.actor, document.method, document.invitation,
                )  # fmt: skip
            if entry.status == ConsentStatus.WITHDRAWN:
                view.withdraw_ms = entry.time_ms
            else:
                view.status, view.evidence_ms = entry.status, entry.time_ms
        for view in views.values():
            # A withdrawal beats evidence that is older or of the same millisecond (R17).
            if view.withdraw_ms and view.withdraw_ms >= view.evidence_ms:
                view.status = ConsentStatus.WITHDRAWN
        return [views[name] for name in sorted(views)]
