"""Claiming: the gate asked in the store, and what follows from its answers.

Decides: how a round's entries are parted into calls, and what becomes of each by the answer. What a call
lets through is handed over at once.
Never: whether a message may go (the gate in the store does), nor how (`core/engine/hand_over.py`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence

import msgspec

from core import bounds
from core.clock import Clock, SystemClock
from core.engine.due_case import Fired, Ready
from core.engine.hand_over import Claimed, HandOver, vacate
from core.engine.horizon import Horizon
from core.engine.ownership import Ownership
from core.engine.patience import patiently
from core.engine.right_of_way import RightOfWay
from core.engine.volume import VolumeDesk, keep
from core.errors import OwnershipLost, StaleRegistry, StoreUnavailable
from core.gate import ClaimAction, ClaimAnswer, ClaimCode
from core.model import WaitReason
from core.ports import Owner, Store
from core.registry.registry import Registry
from core.stats import Stats

PATIENCE_MS = 1_800
"""How long one claim is tried; then its entries wait for their lease or the next look."""


class Round(msgspec.Struct):
    """One round under way."""

    is_light: bool
    deliveries: list[asyncio.Task[None]] = []
    """What was claimed, on its way out."""
    left: list[Fired] = []
    """What is to be looked at once more, a little later."""


class Claims:
    """The claims of one process."""

    def __init__(
        self, store: Store, registry: Registry, ownership: Ownership, horizon: Horizon,
        volume: VolumeDesk, hand_over: HandOver, way: RightOfWay, clock: Clock, stats: Stats,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._ownership = ownership
        self._horizon = horizon
        self._volume = volume
        self._hand_over = hand_over
        self._way = way
        self._clock = clock
        self._lease_clock = SystemClock()
        self._stats = stats

    async def claim(self, ready: list[Ready], revision: int, round_: Round) -> list[Fired]:
        """Claim what was judged; return what is to be judged anew.

        Args:
            revision: of the registry, by which it was judged.
        """
        by_partition: dict[int, list[Ready]] = {}
        for one in ready:
            by_partition.setdefault(one.where[0], []).append(one)
        size = self._way.items_max()
        # All of them, whatever becomes of one: after the round its contacts are free for others.
        claims = await asyncio.gather(
            *(
                self._claim(p, entries[at : at + size], revision, round_)
                for p, entries in by_partition.items()
                for at in range(0, len(entries), size)
            ),
            return_exceptions=True,
        )
        for claim in claims:
            if isinstance(claim, BaseException):
                _take_place(ready)
                raise claim
        claimed = [claim for claim in claims if isinstance(claim, Claimed)]
        taken = {one.item.member for claim in claimed for one in claim.entries}
        unsent = [one for one in ready if one.item.member not in taken]
        vacate(unsent)
        await self._volume.give_back(unsent)
        return [_fired(one) for claim in claimed for one in claim.again]

    async def _claim(
        self, partition: int, entries: list[Ready], revision: int, round_: Round
    ) -> Claimed:
        claimed = Claimed(partition, secrets.token_bytes(16), round_.is_light)
        owner = self._ownership.owned.get(partition)
        if owner is None:
            self._horizon.forget(partition)
            return claimed
        try:
            answers = await self._ask(claimed, owner, entries, revision)
        except OwnershipLost:
            if self._ownership.owned.get(partition) is owner:
                self._ownership.lose(partition)
                self._horizon.forget(partition)
            return claimed
        except StaleRegistry:
            await self._refresh()
            round_.left += map(_fired, entries)
            return claimed
        except StoreUnavailable:
            # It may have been claimed: then the lease brings it back.
            keep(entries)
            _take_place(entries)
            round_.left += map(_fired, entries)
            return claimed
        self._stats.claims += 1
        for one, answer in zip(entries, answers, strict=True):
            if answer.code == ClaimCode.LOOK_AGAIN:
                claimed.again.append(one)
            elif self._follow(partition, one, answer, claimed.now_ms):
                claimed.entries.append(one)
        if claimed.entries:
            round_.deliveries.append(asyncio.create_task(self._hand_over.deliver(claimed)))
        return claimed

    async def _ask(
        self, claimed: Claimed, owner: Owner, entries: list[Ready], revision: int
    ) -> Sequence[ClaimAnswer]:
        """Ask the gate until it answers: the same token gives the first answer again, so that a lost
        reply costs nothing (E20).

        Raises:
            OwnershipLost, StaleRegistry, StoreUnavailable: see `Store.claim`.
        """
        items = [one.item for one in entries]
        deadline_ms = 0

        async def ask() -> Sequence[ClaimAnswer]:
            nonlocal deadline_ms
            # Held for one try: who waits for a store to come back keeps nobody from another.
            async with self._way.call(is_light=claimed.is_light):
                if not deadline_ms:
                    claimed.begin(self._clock.now_ms())
                    deadline_ms = self._lease_clock.now_ms() + bounds.CLAIM_LEASE_MS
                return await self._store.claim(
                    claimed.partition, owner, claimed.token, items, claimed.now_ms, deadline_ms,
                    revision,
                )  # fmt: skip

        return await patiently(ask, self._stats, PATIENCE_MS)

    async def _refresh(self) -> None:
        """Load the newest configuration; if it is away, those who need it find out again."""
        try:
            await self._registry.refresh()
        except StoreUnavailable:
            self._stats.store_errors += 1

    def _follow(self, partition: int, one: Ready, answer: ClaimAnswer, now_ms: int) -> bool:
        """Draw the consequence of the gate's answer; True if the entry is ours to send."""
        stats = self._stats
        if answer.code == ClaimCode.CLAIMED:
            stats.claimed += 1
            stats.count_lateness(now_ms - answer.due_ms)
            if one.letter is None:
                # Read as not waiting, claimed as waiting: it came back in between. Its lease decides.
                return False
            one.letter.attempts = answer.attempts - 1
            return True
        if answer.code == ClaimCode.DEFERRED:
            is_gate = one.item.action == ClaimAction.GATE
            stats.deferred[WaitReason.CAPPED if is_gate else one.item.wait] += 1
            self._horizon.on_deferred(partition, one.item.member, answer.due_ms)
        elif answer.code == ClaimCode.PARKED:
            assert one.waiting is not None, "only what waits is parked"
            stats.deferred[one.item.wait or WaitReason.FROZEN] += 1
            self._horizon.on_parked(partition, one.item.member, one.waiting.reference.expire_ms)
        elif answer.code == ClaimCode.NOT_DUE:
            self._horizon.insert(partition, one.where[1], one.item.member, answer.due_ms)
        elif answer.code == ClaimCode.ENDED:
            stats.ended_at_gate += 1
        else:
            stats.gone += 1
        return False


def _fired(one: Ready) -> Fired:
    return one.due_ms, one.item.member, one.where


def _take_place(entries: Iterable[Ready]) -> None:
    """Let the places of entries be spent: they may have gone out."""
    for one in entries:
        if one.place is not None:
            one.place.leave(is_spent=True)


assert int(WaitReason.RETRY) == 2, "settle.lua writes it"
