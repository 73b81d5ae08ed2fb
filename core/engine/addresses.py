"""Addresses that several contacts share: asked after the claim, last before the hand-over (R4).

Decides: which messages go to an address that is not their contact's own key (a phone of somebody who is
known by e-mail), what is asked of it, and how a message settles that its address refuses.
Never: what the address says; its record lies in its own partition, under the key of a contact who is
known by that phone alone, and the store decides there.

A refusal uses up no attempt, and gives back what the claim had reserved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import blake2b

from core import bounds
from core.contact_ports import AddressAnswer, AddressCode, AddressItem
from core.engine.due_case import Ready
from core.engine.identity import Identity
from core.engine.patience import patiently
from core.errors import StoreUnavailable
from core.model import Contact, Medium, Reason, State
from core.partitions import partition_of
from core.ports import Settlement, Store
from core.stats import Stats

PHONES = frozenset({Medium.SMS, Medium.WHATSAPP})
PATIENCE_MS = 1_800
"""How long an address is asked; then its messages wait for their lease."""

Refused = tuple[Ready, Settlement]
_Asked = tuple[Ready, AddressItem]


class AddressDesk:
    """Asks addresses for one dispatcher."""

    def __init__(self, store: Store, identity: Identity, stats: Stats) -> None:
        self._store = store
        self._identity = identity
        self._stats = stats

    async def mark(
        self, entries: Sequence[Ready], now_ms: int
    ) -> tuple[list[Ready], list[Refused]]:
        """Return the claimed entries that may go, in order, and those that their address refuses.

        What could not be asked is in neither: its lease brings it back, and what was reserved for it
        stays its own.
        """
        asked = [(one, item) for one in entries if (item := self._item(one)) is not None]
        if not asked:
            return list(entries), []
        batches = self._batches(asked)
        answers = await asyncio.gather(*(self._ask(*batch, now_ms) for batch in batches))
        said: dict[int, AddressAnswer | None] = {}
        may: set[int] = set()
        for (_, batch), found in zip(batches, answers, strict=True):
            for index, (one, item) in enumerate(batch):
                answer = said[id(one)] = None if found is None else found[index]
                if answer is not None and answer.code == AddressCode.PASSED:
                    one.at_address = item
                    may.add(id(one))
        passed = [one for one in entries if id(one) not in said or id(one) in may]
        refused = [
            (one, _settled(one, answer))
            for one, _ in asked
            if (answer := said[id(one)]) is not None and answer.code != AddressCode.PASSED
        ]
        return passed, refused

    def _item(self, one: Ready) -> AddressItem | None:
        """Return what is to be asked of the address, None if it is the contact's own key."""
        letter, detail, waiting = one.letter, one.detail, one.waiting
        if letter is None or letter.medium not in PHONES:
            return None
        assert detail is not None and waiting is not None, "what is claimed was read"
        member, ref = one.item.member, waiting.reference
        key = self._identity.contact_key(detail.account, Contact(phone=letter.address))
        if detail.carrier or key == member[:8]:
            return None
        return AddressItem(
            address_key=key,
            tag=blake2b(member, digest_size=8).digest(),
            order_key=ref.order_key,
            purpose=ref.purpose,
            medium=ref.medium,
            channel_number=ref.channel_number,
            expire_ms=ref.expire_ms,
            caps=one.caps.address if one.caps is not None else (),
        )

    def _batches(self, asked: Iterable[_Asked]) -> list[tuple[int, list[_Asked]]]:
        by_partition: dict[int, list[_Asked]] = {}
        count = self._store.meta.partition_count
        for one, item in asked:
            by_partition.setdefault(partition_of(item.address_key, count), []).append((one, item))
        size = bounds.SCRIPT_BATCH_MAX
        return [
            (p, found[at : at + size])
            for p, found in by_partition.items()
            for at in range(0, len(found), size)
        ]

    async def _ask(
        self, partition: int, batch: Sequence[_Asked], now_ms: int
    ) -> list[AddressAnswer] | None:
        items = [item for _, item in batch]
        try:
            # A tag that was reserved before passes, so a lost reply costs nothing.
            return await patiently(
                partial(self._store.mark_addresses, partition, items, now_ms),
                self._stats,
                PATIENCE_MS,
            )
        except StoreUnavailable:
            return None

    async def release(self, unsent: Iterable[Ready], now_ms: int) -> None:
        """Return what was reserved for messages that were certainly not handed over (R25)."""
        asked = [(one, one.at_address) for one in unsent if one.at_address is not None]
        for partition, batch in self._batches(asked):
            items = [item for _, item in batch]
            try:
                await patiently(
                    partial(self._store.release_addresses, partition, items, now_ms),
                    self._stats,
                    PATIENCE_MS,
                )
            except StoreUnavailable:
                # The same message passes by its own reservation; others wait until it has left.
                continue
        for one, _ in asked:
            one.at_address = None


def _settled(one: Ready, answer: AddressAnswer) -> Settlement:
    """Return how a message settles that its address refuses."""
    member = one.item.member
    if answer.code == AddressCode.DEFERRED:
        return Settlement(
            member, State.SCHEDULED, due_ms=answer.due_ms, releases_caps=True, was_tried=False
        )
    if answer.code == AddressCode.EXPIRED:
        return Settlement(member, State.EXPIRED, Reason.NO_SLOT, releases_caps=True)
    capped = answer.code == AddressCode.CAPPED
    reason = Reason.CAPPED if capped else answer.reason or Reason.SUPPRESSED
    return Settlement(member, State.SKIPPED, reason, releases_caps=True)
