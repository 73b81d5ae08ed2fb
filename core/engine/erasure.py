"""Erasure: a contact is forgotten wherever it is known (R22; GDPR, article 17).

Decides: what is forgotten in which order, so that a crash between any two steps is healed by asking
again:

    links       other keys of the contact: out of the directories, then each forgotten like the contact
    contact     its partition, in one step: plans end, all else goes, a suppression stays
    directory   marks of its events, its orders, and the links once more
    finish      the note of what was still to be done goes

The links come first because only what the contact's partition holds tells of them. Until the second step
they can be found anew; from then on its store remembers the rest.

What is shared stays: a phone that another contact is known by too, an order that somebody else has
part in; but not what events of the contact have told of that order. An order that is nobody else's may
have a record of its own, of events that named no contact; it goes.

Never: says that it is done before it is durable. Files that a server keeps of its past are not looked at
here: see `on_erase`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from core.antispam import consent
from core.clock import Clock
from core.engine.dossier import Dossier, Dossiers, Links
from core.engine.identity import Identity
from core.engine.patience import PATIENCE_MS, patiently
from core.engine.refusals import Refusals
from core.errors import FailedPrecondition
from core.model import Event
from core.ports import Store
from core.stats import Stats
from core.timer_records import FACT_HEAD, split_facts
from core.timing_wheel.memory_erasure import order_keys

OnErase = Callable[[], Awaitable[None]]

_event = msgspec.msgpack.Decoder(Event)


class Erasure(msgspec.Struct):
    """What one call has done; a repetition finds nothing left and counts nothing."""

    contact_key: bytes
    erase_ms: int = 0
    cancelled: list[bytes] = []
    in_flight: list[bytes] = []
    event_count: int = 0
    order_count: int = 0
    links: Links = Links()


class Eraser:
    """Erases contacts of one store."""

    def __init__(
        self, store: Store, dossiers: Dossiers, identity: Identity, refusals: Refusals,
        clock: Clock, stats: Stats,
    ) -> None:  # fmt: skip
        self._store = store
        self._dossiers = dossiers
        self._identity = identity
        self._refusals = refusals
        self._clock = clock
        self._stats = stats
        self.on_erase: list[OnErase] = []
        """Awaited before anything goes: who keeps files of the past must see to them soon."""

    async def preview(self, account: str, contact_key: bytes) -> Erasure:
        """Return what would be erased, without doing it; of counts only the links are known.

        Raises:
            NotFound: the contact belongs to another account.
        """
        _, links = await self._dossiers.whole(account, contact_key)
        return Erasure(contact_key, links=links)

    async def erase(self, account: str, contact_key: bytes) -> Erasure:
        """Forget a contact, known or not: events of it that occurred until now are refused from now on.

        Raises:
            NotFound: it belongs to another account.
            StoreUnavailable: a part may have been done; ask again.
        """
        done = Erasure(contact_key)
        await patiently(lambda: self._erase(account, done), self._stats, PATIENCE_MS)
        return done

    async def _erase(self, account: str, done: Erasure) -> None:
        for told in self.on_erase:
            await told()
        key = done.contact_key
        dossiers, links = await self._dossiers.whole(account, key)
        done.links = Links(
            tuple(dict.fromkeys(done.links.own + links.own)),
            tuple(dict.fromkeys(done.links.shared + links.shared)),
        )
        self._forget_refusals(account, dossiers)
        everywhere = done.links.own + done.links.shared
        await self._take_out(everywhere, key)
        orders = {
            order for dossier in dossiers for order in order_keys(dossier.record, dossier.timers)
        }
        await self._forget_facts(account, {key, *done.links.own}, sorted(orders))
        for link in done.links.own:
            await self._take_out(sorted(orders), link)
            await self._erase_key(link, done)
        await self._erase_key(key, done)
        await self._take_out(everywhere, key)
        record = await self._store.contact(self._dossiers.partition(key), key)
        done.erase_ms = consent.erase_ms(record.consents) if record is not None else 0

    async def _forget_facts(
        self, account: str, keys: Collection[bytes], orders: Sequence[bytes]
    ) -> None:
        """Take what the contact's events have told of shared orders from those who share them."""
        others: dict[bytes, None] = {}
        for order in orders:
            named = await self._dossiers.named_for(order)
            others |= dict.fromkeys(key for key in named if key not in keys)
        for other in others:
            dossier = await self._dossiers.read(account, other)
            facts = [] if dossier is None else list(split_facts(dossier.facts))
            told = [
                fact
                for fact in facts
                if self._dossiers.is_about(account, keys, _event.decode(fact[FACT_HEAD.size :]))
            ]
            if told:
                await self._store.forget_facts(self._dossiers.partition(other), other, told)

    async def _erase_key(self, key: bytes, done: Erasure, *, has_orders: bool = True) -> None:
        """Forget what is held under one key, and what leads there."""
        partition = self._dossiers.partition(key)
        erased = await self._store.erase_contact(partition, key, self._clock.now_ms())
        done.cancelled += erased.cancelled
        done.in_flight += erased.in_flight
        done.event_count += len(erased.event_keys)
        done.order_count += len(erased.order_keys)
        if has_orders:
            await self._erase_order_records(key, erased.order_keys, done)
        if erased.event_keys:
            await self._store.forget_events(
                self._by_partition(erased.event_keys), self._clock.now_ms()
            )
        await self._take_out(erased.order_keys, key)
        await self._store.finish_erasure(partition, key)

    async def _erase_order_records(
        self, contact_key: bytes, order_keys: Sequence[bytes], done: Erasure
    ) -> None:
        """Forget what events said of the contact's orders without naming anybody."""
        records = await self._store.contacts(self._by_partition(order_keys))
        known = [
            key
            for partition, keys in self._by_partition(order_keys).items()
            for key, record in zip(keys, records[partition], strict=True)
            if record is not None and key != contact_key
        ]
        for key in known:
            if not set(await self._dossiers.named_for(key)) - {contact_key, *done.links.own}:
                await self._erase_key(key, done, has_orders=False)

    async def _take_out(self, keys: Sequence[bytes], contact_key: bytes) -> None:
        if keys:
            await self._store.forget_orders(
                self._by_partition(keys), contact_key, self._clock.now_ms()
            )

    def _by_partition(self, keys: Sequence[bytes]) -> dict[int, list[bytes]]:
        found: dict[int, list[bytes]] = {}
        for key in keys:
            found.setdefault(self._dossiers.partition(key), []).append(key)
        return found

    def _forget_refusals(self, account: str, dossiers: Sequence[Dossier]) -> None:
        """Let this process forget what conditions saw of the contact."""
        keys = {dossier.contact_key for dossier in dossiers}
        events = {seen.event_key for dossier in dossiers for seen in dossier.record.events}
        self._refusals.forget(
            lambda key, event: key in events or self._dossiers.is_about(account, keys, event)
        )


def contact_erased() -> FailedPrecondition:
    """Return the refusal of an event of somebody who was erased after it occurred."""
    return FailedPrecondition(
        "the contact was erased after this event occurred: what was before is not taken again; later "
        "events are",
        field="event.contact",
        reason="CONTACT_ERASED",
    )
