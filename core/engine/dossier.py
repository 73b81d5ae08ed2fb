"""All that is known of a contact, under each key that it is known by.

Decides: whom a phone, reference or session stands for, which other keys belong to a contact, and which
of them it shares with others.
Never: changes anything; what a client is told of it is decided by `control/conversion/contacts.py`.

Where a contact is known by more than its own key: a phone, reference or session that an event has named
along with it has a record of its own, of the time before somebody was identified by it, and for what
concerns the address. Which these are is told by the profile (`core/engine/profiles.py`), by the events
that are kept, and by the addresses of plans. A key for which the order directory names another contact
is shared, and stays with the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from core.antispam import consent
from core.bounds import PAGE_SIZE_MAX
from core.clock import Clock
from core.contact_ports import LoggedLine
from core.engine import profiles
from core.engine.identity import Identity
from core.engine.reach import accounts_of, channel_numbers
from core.errors import FailedPrecondition, NotFound
from core.model import Contact, Event, Medium
from core.partitions import partition_of
from core.ports import OrderNote, Store, Waiting
from core.records import ContactRecord, PlanDetail, member_of
from core.registry.registry import Registry
from core.timer_records import Timer, unpack_facts

PHONE_MEDIA = frozenset({Medium.SMS, Medium.WHATSAPP})

_detail = msgspec.msgpack.Decoder(PlanDetail)
_event = msgspec.msgpack.Decoder(Event)


class Dossier(msgspec.Struct):
    """What the store holds under one key."""

    contact_key: bytes
    record: ContactRecord
    timers: list[Timer] = []
    """Those of rules; how the contact is reached is in `profile`."""
    profile: profiles.Profile | None = None
    waiting: list[Waiting] = []
    """Invitations whose plan is kept, whatever their state, oldest first."""
    notes: dict[bytes, bytes] = {}
    lines: list[LoggedLine] = []

    @property
    def erase_ms(self) -> int:
        """When it was erased last, 0 if never."""
        return max(0, consent.erase_ms(self.record.consents))

    @property
    def facts(self) -> bytes:
        """What became known while something waited, as stored."""
        return next((one.facts for one in self.waiting if one.facts), b"")

    def bodies(self) -> list[bytes]:
        """Return the events of invitations, each once."""
        return list(dict.fromkeys(one.body for one in self.waiting if one.body))

    def events(self) -> Iterator[Event]:
        """Yield every event whose content is kept."""
        for body in self.bodies():
            yield _event.decode(body)
        for _, _, body in unpack_facts(self.facts):
            yield _event.decode(body)
        for timer in self.timers:
            yield _event.decode(timer.body)

    def details(self) -> Iterator[tuple[Waiting, PlanDetail]]:
        """Yield every invitation with its plan."""
        for one in self.waiting:
            yield one, _detail.decode(one.detail)


class Links(msgspec.Struct, frozen=True):
    """Other keys by which a contact is known."""

    own: tuple[bytes, ...] = ()
    shared: tuple[bytes, ...] = ()
    """Another contact is known by these too."""


class Dossiers:
    """Reads what is known of the contacts of one store."""

    def __init__(self, store: Store, registry: Registry, identity: Identity, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._identity = identity
        self._clock = clock

    def partition(self, key: bytes) -> int:
        """Return where a key is kept."""
        return partition_of(key, self._store.meta.partition_count)

    async def named_for(self, key: bytes) -> tuple[bytes, ...]:
        """Return the contacts that the directory names for an order or alias."""
        partition = self.partition(key)
        notes = {partition: [OrderNote(key)]}
        return (await self._store.note_orders(notes, self._clock.now_ms()))[partition][
            0
        ].contact_keys

    async def find(self, account: str, contact: Contact) -> bytes:
        """Return the key of a contact; it need not be known.

        Raises:
            InvalidField: it names nobody.
            FailedPrecondition: what it names stands for several contacts (R4).
        """
        own = self._identity.contact_key(account, contact)
        if contact.email:
            return own
        for alias in self._identity.alias_keys(account, contact):
            named = await self.named_for(alias)
            if len(named) > 1:
                raise FailedPrecondition(
                    "several contacts share this phone, reference or session: name one by its e-mail "
                    "address or by its resource name",
                    field="contact",
                )
            if named:
                return named[0]
        return own

    # One key --------------------------------------------------------------------------------------

    async def read(self, account: str, contact_key: bytes) -> Dossier | None:
        """Return what is held under one key, None if nothing is.

        Raises:
            NotFound: it belongs to another account.
        """
        partition = self.partition(contact_key)
        record = await self._store.contact(partition, contact_key)
        timers = (await self._store.timers(partition, [contact_key]))[0]
        if record is None and not timers:
            return None
        dossier = Dossier(contact_key, record or ContactRecord())
        for timer in timers:
            if timer.rule_number == profiles.NO_RULE:
                dossier.profile = profiles.read(timer)
            else:
                dossier.timers.append(timer)
        await self._fill(partition, dossier)
        self._require_ours(account, dossier)
        return dossier

    async def _fill(self, partition: int, dossier: Dossier) -> None:
        members = [
            member_of(dossier.contact_key, ref.sequence, ref.channel_number)
            for ref in dossier.record.references
        ]
        for at in range(0, len(members), PAGE_SIZE_MAX):
            part = members[at : at + PAGE_SIZE_MAX]
            found = (await self._store.read({partition: part}))[partition]
            dossier.waiting += [one for one in found if one is not None]
            notes = await self._store.notes(partition, part)
            dossier.notes |= {m: note for m, note in zip(part, notes, strict=True) if note}
        after = 0
        while True:
            lines = await self._store.consent_log(
                partition, dossier.contact_key, after, PAGE_SIZE_MAX
            )
            dossier.lines += lines
            if len(lines) < PAGE_SIZE_MAX:
                return
            after = lines[-1].number

    def _require_ours(self, account: str, dossier: Dossier) -> None:
        """Refuse a key of another account; nobody sees what is not theirs, not even that it is there."""
        channels = self._registry.snapshot.channel_by_number
        numbers = channel_numbers(dossier.record)
        numbers |= {timer.channel_number for timer in dossier.timers}
        accounts = {channels[number].account for number in numbers if number in channels}
        accounts |= {detail.account for _, detail in dossier.details()} | accounts_of(dossier.lines)
        if accounts - {account}:
            raise NotFound("no such contact in this account", field="contact")

    def is_about(self, account: str, keys: Collection[bytes], event: Event) -> bool:
        """Return whether an event names somebody whose keys are among these."""
        contact = event.contact
        if contact.email:
            return self._identity.contact_key(account, contact) in keys
        return any(key in keys for key in self._identity.alias_keys(account, contact))

    # All keys -------------------------------------------------------------------------------------

    async def whole(self, account: str, contact_key: bytes) -> tuple[list[Dossier], Links]:
        """Return what is held of a contact, under its own key first, then under its other keys that
        nobody shares; nothing if nothing is known under its own.

        Raises:
            NotFound: it belongs to another account.
        """
        first = await self.read(account, contact_key)
        if first is None:
            return [], Links()
        dossiers, own, shared = [first], [contact_key], []
        for dossier in dossiers:
            for key in self._alias_keys(account, dossier):
                if key in own or key in shared:
                    continue
                if set(await self.named_for(key)) - set(own):
                    shared.append(key)
                    continue
                own.append(key)
                held = await self.read(account, key)
                if held is not None:
                    dossiers.append(held)
        return dossiers, Links(tuple(own[1:]), tuple(shared))

    def _alias_keys(self, account: str, dossier: Dossier) -> list[bytes]:
        """Return the keys of every phone, reference and session that was named with the contact."""
        identity, key = self._identity, dossier.contact_key
        contacts = [event.contact for event in dossier.events()]
        contacts += [
            Contact(phone=detail.address)
            for one, detail in dossier.details()
            if one.reference.medium in PHONE_MEDIA and detail.address
        ]
        found: dict[bytes, None] = {}
        if dossier.profile is not None:
            contacts.append(dossier.profile)
            found |= dict.fromkeys(dossier.profile.alias_keys)
        for contact in contacts:
            # What became known of an order may name somebody else with an address of their own.
            if not contact.email or identity.contact_key(account, contact) == key:
                found |= dict.fromkeys(identity.alias_keys(account, contact))
        return list(found)
