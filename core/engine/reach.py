"""Whom a call means, and who else is reached by the same phone (R4).

Decides: that whoever is named by phone or reference is the contact that it stands for by now, as with
events; and that what is forbidden for a phone concerns the phone's own record and every contact that
the directory of aliases names for it.
Never: writes.

A phone's record has the key of a contact that is known by that phone only, and the directory has its
entry under the same key, so a contact that is named by its key alone is looked for there as well.

A key says nothing about its account, so whoever is named by one is looked at: a contact with messages,
purchases or consents of another account is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core.clock import Clock
from core.contact_ports import LoggedLine
from core.engine import profiles
from core.engine.consent_documents import unpacked
from core.engine.identity import Identity
from core.errors import NotFound
from core.model import ConsentScope, Contact
from core.partitions import partition_of
from core.ports import OrderNote, Store
from core.records import NO_KEY, ContactRecord
from core.registry.registry import Registry


class Whom(msgspec.Struct, frozen=True):
    """A contact as a call names it: by key, or by what the shop knows."""

    key: bytes = NO_KEY
    contact: Contact | None = None


class Reach:
    """Finds contacts of one store."""

    def __init__(self, store: Store, registry: Registry, identity: Identity, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._identity = identity
        self._clock = clock

    def _partition(self, key: bytes) -> int:
        return partition_of(key, self._store.meta.partition_count)

    def phone_key(self, account: str, phone: str) -> bytes:
        """Return the key of the record that a phone has of its own."""
        return self._identity.contact_key(account, Contact(phone=phone))

    async def contact_key(self, account: str, whom: Whom) -> bytes:
        """Return whose record it is; they need not be known yet.

        Raises:
            NotFound: they are named by a key that belongs to another account.
        """
        contact = whom.contact
        if contact is None:
            await self.require_ours(account, whom.key)
            return whom.key
        if not contact.email:
            for alias in self._identity.alias_keys(account, contact):
                known = await self._known_by(alias)
                if known:
                    return known[-1]
        return self._identity.contact_key(account, contact)

    async def require_ours(self, account: str, contact_key: bytes, field: str = "contact") -> None:
        """Refuse a key of another account: nobody sees or changes what is not theirs.

        Raises:
            NotFound: it belongs to another account.
        """
        record = await self._store.contact(self._partition(contact_key), contact_key)
        channels = self._registry.snapshot.channel_by_number
        numbers = channel_numbers(record) if record is not None else set()
        accounts = {channels[number].account for number in numbers & channels.keys()}
        if record is not None and record.consent_lines and not accounts:
            first = await self._store.consent_log(
                self._partition(contact_key), contact_key, limit=1
            )
            accounts = accounts_of(first)
        if accounts - {account}:
            raise NotFound("no such contact in this account", field=field)

    async def others_by_phone(self, account: str, whom: Whom, contact_key: bytes) -> list[bytes]:
        """Return the phone's own record and the contacts known by it, but for `contact_key`."""
        phone_key = await self.phone_record(account, whom, contact_key)
        found = dict.fromkeys((phone_key, *await self._known_by(phone_key)))
        found.pop(contact_key, None)
        return list(found)

    async def phone_record(self, account: str, whom: Whom, contact_key: bytes) -> bytes:
        """Return the key of the phone's own record, `contact_key` if no phone is known."""
        phone = whom.contact.phone if whom.contact is not None else ""
        phone = phone or await self._phone_of(contact_key)
        return self.phone_key(account, phone) if phone else contact_key

    async def _known_by(self, alias: bytes) -> tuple[bytes, ...]:
        partition = self._partition(alias)
        asked = {partition: [OrderNote(alias)]}
        (answer,) = (await self._store.note_orders(asked, self._clock.now_ms()))[partition]
        return answer.contact_keys

    async def _phone_of(self, contact_key: bytes) -> str:
        """Return the phone that an event has told of a contact, "" if none has."""
        (timers,) = await self._store.timers(self._partition(contact_key), [contact_key])
        for timer in timers:
            if timer.rule_number == profiles.NO_RULE:
                return profiles.read(timer).phone
        return ""


def accounts_of(lines: Iterable[LoggedLine]) -> set[str]:
    """Return the accounts in which lines of a consent log were said."""
    told = [unpacked(line.document) for line in lines]
    return {document.account for document in told if document is not None and document.account}


def channel_numbers(record: ContactRecord) -> set[int]:
    """Return the channels that a contact's record names: they tell whose contact it is."""
    return {
        *(ref.channel_number for ref in record.references),
        *(line.channel_number for line in record.history),
        *(
            int.from_bytes(entry.scope_key, "little")
            for entry in record.consents
            if entry.scope == ConsentScope.CHANNEL
        ),
    }
