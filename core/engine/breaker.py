"""The complaint breaker: holds back what a channel sends when too many call it unwanted (g6).

Decides: when complaints are compared with what was sent, and that too many hold back requests for
reviews and advertising of that channel and medium, everywhere at once (R13).
Never: what is too many (`core/registry/breakers.py`); counts anything: the scripts do, where a message
is sent and where a complaint is written down.

Every complaint is followed by a look, but a channel's medium is looked at once a second at most: what
comes in between is looked at by `catch_up`, which the engine calls every second. After a start
everything is looked at once, because whoever counted may have died before looking.

Days are those of UTC. A late complaint counts on the day on which it is heard.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from core.bounds import DAY_MS, SECOND_MS
from core.clock import Clock
from core.errors import Conflict, NotFound, StoreUnavailable
from core.model import Medium
from core.ports import Store
from core.registry.breakers import Breaker
from core.registry.registry import Registry
from core.registry.resources import Channel
from core.stats import Stats

_LOG = logging.getLogger(__name__)

ACTOR = "breaker"
LOOK_PAUSE_MS = SECOND_MS

Key = tuple[int, int]
"""(channel number, medium)."""


class ComplaintBreaker:
    """Watches the complaints about all channels of one store.

    Attributes:
        on_reset: awaited after a reset: lets go what waits.
    """

    def __init__(self, store: Store, registry: Registry, clock: Clock, stats: Stats) -> None:
        self.on_reset: Callable[[], Awaitable[None]] | None = None
        self._store = store
        self._registry = registry
        self._clock = clock
        self._stats = stats
        self._looked_ms: dict[Key, int] = {}
        self._to_look: set[Key] = set()
        self._is_fresh = True
        """Nothing has been looked at since the start."""

    @property
    def _partitions(self) -> range:
        return range(self._store.meta.partition_count)

    async def look(self, channel_number: int, medium: int) -> None:
        """Compare now, or soon if that was done within the last second.

        Once a comparison has returned that found too many, no send starts that it should hold back.
        What is put off, or fails with the store, `catch_up` sees to.
        """
        key = (channel_number, medium)
        if not self._may_look(key):
            self._to_look.add(key)
            return
        try:
            await self._compare(key)
        except (StoreUnavailable, Conflict):
            self._stats.store_errors += 1
            self._to_look.add(key)

    async def catch_up(self) -> None:
        """Look at what `look` has put off.

        Raises:
            StoreUnavailable: the rest is looked at the next time.
        """
        if self._is_fresh:
            days = range(self._clock.now_ms() // DAY_MS - 1, self._clock.now_ms() // DAY_MS + 1)
            counts = await self._store.channel_counts(self._partitions, days)
            self._to_look.update(key for key, what in counts.items() if what.get("complained"))
            self._is_fresh = False
        for key in [key for key in self._to_look if self._may_look(key)]:
            self._to_look.discard(key)
            try:
                await self._compare(key)
            except BaseException:
                self._to_look.add(key)
                raise

    def _may_look(self, key: Key) -> bool:
        """Return whether the last look is long enough ago."""
        since_ms = self._clock.now_ms() - self._looked_ms.get(key, -LOOK_PAUSE_MS)
        return self._clock.is_virtual or not 0 <= since_ms < LOOK_PAUSE_MS

    async def _compare(self, key: Key) -> None:
        self._looked_ms[key] = self._clock.now_ms()
        snapshot = self._registry.snapshot
        channel = snapshot.channel_by_number.get(key[0])
        if channel is None or channel.complaint_breaker.is_off or snapshot.is_tripped(*key):
            return
        sent, complaints = await self._counts(channel, key)
        if not channel.complaint_breaker.is_exceeded(sent, complaints):
            return
        try:
            await self._registry.trip_breaker(
                channel.account, channel.id, key[1], sent, complaints, actor=ACTOR
            )
        except NotFound:
            # The channel went meanwhile, and what it sends with it.
            return
        self._stats.breaker_trips += 1
        _LOG.warning(
            "too many complaints about %s over %s: %d of %d messages sent; reviews and marketing are "
            "held back until the breaker is reset",
            channel.name, Medium(key[1]).name, complaints, sent,
        )  # fmt: skip

    async def _counts(self, channel: Channel, key: Key) -> tuple[int, int]:
        """Return what was sent and complained of in the days that count."""
        days = channel.complaint_breaker.days(self._clock.now_ms())
        sent, complaints = await self._sums(key, days)
        before = self._registry.snapshot.breaker(channel.account, channel.id, key[1])
        if before is None or not before.reset_ms:
            return sent, complaints
        reset_day = before.reset_ms // DAY_MS
        if reset_day < days.start:
            return sent, complaints
        _, on_reset_day = await self._sums(key, range(reset_day, reset_day + 1))
        _, later = await self._sums(key, range(reset_day + 1, days.stop))
        return sent, before.unforgiven(on_reset_day, later)

    async def _sums(self, key: Key, days: range) -> tuple[int, int]:
        counts = await self._store.channel_counts(self._partitions, days) if days else {}
        found = counts.get(key, {})
        return found.get("sent", 0), found.get("complained", 0)

    async def reset(
        self, account: str, channel_id: str, medium: int, op_id: str = "",
        validate_only: bool = False, *, actor: str = "",
    ) -> list[Breaker]:  # fmt: skip
        """Let go what is held back over a medium, or over all (0); return the breakers that were open.

        Complaints from before count no more; what was sent before does, because complaints come late.

        Raises:
            NotFound: there is no such channel.
        """
        await self._registry.refresh()
        channel = self._registry.snapshot.channel(account, channel_id)
        forgiven: dict[int, int] = {}
        if channel is not None:
            today = self._clock.now_ms() // DAY_MS
            counts = await self._store.channel_counts(self._partitions, [today])
            forgiven = {
                key[1]: what.get("complained", 0)
                for key, what in counts.items()
                if key[0] == channel.number
            }
        closed = await self._registry.reset_breaker(
            account, channel_id, medium, forgiven, op_id, validate_only, actor=actor
        )
        if not validate_only and self.on_reset is not None:
            await self.on_reset()
        return closed
