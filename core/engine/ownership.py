"""Which partitions this process may claim from, and for how long it may believe so.

Decides: taking over, renewing, and giving up in time. A lease is taken over only after its renewal
counter has stood still for the whole lease and a margin on our own monotonic clock (E12), unless the
store is exclusively ours (an embedded server behind a file lock), where a predecessor is surely dead.
Never: business time; leases live on the machine's monotonic clock (E10).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence

from core import bounds
from core.clock import monotonic_ns
from core.errors import StoreUnavailable
from core.ports import Owner, OwnerState, Store
from core.stats import Stats

_LOG = logging.getLogger(__name__)
_LEASE_NS = bounds.PARTITION_LEASE_MS * 1_000_000
_MARGIN_NS = bounds.LEASE_MARGIN_MS * 1_000_000


class Ownership:
    """The partitions of one process.

    Args:
        is_exclusive: nobody else can be alive on this store.
    """

    def __init__(self, store: Store, stats: Stats, *, is_exclusive: bool) -> None:
        self._store = store
        self._stats = stats
        self._is_exclusive = is_exclusive
        self._nonce = secrets.token_bytes(8)
        self._owned: dict[int, Owner] = {}
        self._granted_ns = 0
        self._observed: dict[int, tuple[OwnerState, int]] = {}
        """Foreign owners, and since when they have not changed."""

    @property
    def owned(self) -> dict[int, Owner]:
        """The partitions that may be claimed from right now; none once the lease may have ended."""
        if monotonic_ns() - self._granted_ns > _LEASE_NS - _MARGIN_NS:
            return {}
        return self._owned

    async def acquire(self, partitions: Sequence[int]) -> list[int]:
        """Take what is free or abandoned; return the partitions gained."""
        wanted = [p for p in partitions if p not in self._owned]
        if not wanted:
            return []
        started_ns = monotonic_ns()
        free: dict[int, OwnerState] = {}
        for partition, state in (await self._store.owners(wanted)).items():
            if not state.nonce or self._is_exclusive:
                free[partition] = state
                continue
            seen = self._observed.get(partition)
            if seen is None or seen[0] != state:
                self._observed[partition] = (state, started_ns)
            elif started_ns - seen[1] > _LEASE_NS + _MARGIN_NS:
                free[partition] = state
        gained: list[int] = []
        for partition, owner in (await self._store.acquire(free, self._nonce)).items():
            if owner is not None:
                self._owned[partition] = owner
                self._observed.pop(partition, None)
                gained.append(partition)
        if gained and len(gained) == len(self._owned):
            self._granted_ns = started_ns
        return gained

    async def renew(self) -> list[int]:
        """Prolong all leases; return the partitions lost to somebody else."""
        started_ns, asked = monotonic_ns(), dict(self._owned)
        answers = await self._store.renew(asked)
        # A claim may have found it out meanwhile.
        lost = [p for p, ours in answers.items() if not ours and self._owned.get(p) is asked[p]]
        for partition in lost:
            del self._owned[partition]
        self._stats.leases_lost += len(lost)
        self._granted_ns = started_ns
        return lost

    def lose(self, partition: int) -> None:
        """Forget a partition that the store says is not ours."""
        if self._owned.pop(partition, None) is not None:
            self._stats.leases_lost += 1

    async def keep(self, stopping: asyncio.Event, on_gain: asyncio.Event) -> None:
        """Renew and acquire until `stopping`, three times a lease."""
        pause_s = bounds.PARTITION_LEASE_MS / 3_000
        everything = range(self._store.meta.partition_count)
        while not stopping.is_set():
            try:
                await asyncio.wait_for(stopping.wait(), pause_s)
                return
            except TimeoutError:
                pass
            try:
                await self.renew()
                if await self.acquire(everything):
                    on_gain.set()
            except StoreUnavailable:
                self._stats.store_errors += 1
                _LOG.warning("cannot renew the partition leases: the store is away")
            except Exception:
                # Whatever it was, the next turn tries again: without leases nothing goes out.
                self._stats.round_errors += 1
                _LOG.exception("cannot renew the partition leases")

    async def release(self) -> None:
        """Give everything back; errors are of no consequence, the leases run out."""
        owned, self._owned = self._owned, {}
        try:
            await self._store.release(owned)
        except StoreUnavailable:
            _LOG.info("the store was away when the leases were to be given back")
