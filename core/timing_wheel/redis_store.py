"""The durable store: one Lua script per operation, on Redis 7.0+ or Valkey 7.2+.

Decides: which script, which keys, in how few round trips. What the operations mean is said in
`core/ports.py`; what the bytes look like in `core/records.py` and the script headers.
Never: a retry. Every script is idempotent under its key or token, so the caller may repeat it.

All partitions of a call are sent before the first answer is awaited; a cluster is a link per node.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from core import bounds
from core.errors import FailedPrecondition
from core.outcomes import Outcome, unpack_outcomes
from core.ports import (
    Counters,
    Durability,
    StoreMeta,
)
from core.redis_keys import store_meta
from core.redis_link import RedisLink, check
from core.timing_wheel.redis_gate import RedisGate
from core.timing_wheel.redis_lanes import RedisLanes
from core.timing_wheel.redis_people import RedisPeople
from core.timing_wheel.redis_scripts import SCRIPTS
from core.timing_wheel.redis_volume import RedisVolume

FORMAT = 3
_SWEEP_MAX = 1_000
_SWEEP_DAYS_MAX = 1_000

__all__ = ["SCRIPTS", "RedisStore"]


class RedisStore(RedisPeople, RedisVolume, RedisLanes, RedisGate):
    """A `core.ports.Store` on one Redis or Valkey server; its parts are a file each."""

    @classmethod
    async def open(
        cls,
        links: Sequence[RedisLink],
        *,
        partition_count: int = bounds.PARTITIONS_DEFAULT,
        slot_width_ms: int = bounds.HOUR_MS,
        is_virtual: bool = False,
        durability: Durability = Durability.MEMORY,
    ) -> RedisStore:
        """Open the store behind the links, creating it if the server is empty of it.

        Partition count and slot width hold only for a new store; an old one keeps its own.

        Raises:
            FailedPrecondition: a store for a virtual clock would be opened for the real one, or the
                reverse; or it was written by a newer format.
        """
        link, key = links[0], store_meta()
        fresh = {
            b"partition_count": b"%d" % partition_count,
            b"slot_width_ms": b"%d" % slot_width_ms,
            b"is_virtual": b"%d" % is_virtual,
            b"secret": secrets.token_bytes(32),
            b"format": b"%d" % FORMAT,
        }
        for field, value in fresh.items():
            await link.call("HSETNX", key, field, value)
        flat = await link.call("HGETALL", key)
        held = dict(zip(flat[::2], flat[1::2], strict=True))
        if int(held[b"format"]) > FORMAT:
            raise FailedPrecondition("the store was written by a newer Afterword", field="store")
        if int(held[b"format"]) < FORMAT:
            raise FailedPrecondition(
                "the store was written by an older Afterword whose records this one does not read: "
                "use another data directory",
                field="store",
            )
        if (held[b"is_virtual"] == b"1") != is_virtual:
            raise FailedPrecondition(
                "a store made for a virtual clock cannot serve the real one, nor the reverse: "
                "use another data directory",
                field="store.clock",
            )
        meta = StoreMeta(
            partition_count=int(held[b"partition_count"]),
            slot_width_ms=int(held[b"slot_width_ms"]),
            is_virtual=is_virtual,
            secret=held[b"secret"],
        )
        return cls(links, meta, durability)

    # Housekeeping

    async def require_registry(self, revision: int) -> None:
        """See `Store.require_registry`."""
        await self._ready()
        await self._gather({
            p: self._send(p, "require_registry", [keys.meta], [revision])
            for p, keys in enumerate(self._keys)
        })  # fmt: skip

    async def counters(self, partitions: Sequence[int]) -> dict[int, Counters]:
        """See `Store.counters`."""
        await self._ready()
        sent = {p: self._link(p).send("HGETALL", self._keys[p].counters) for p in partitions}
        return {p: _counters(reply) for p, reply in (await self._gather(sent)).items()}

    async def outcomes(self, partition: int, day: int, state: int = 0) -> list[Outcome]:
        """See `Store.outcomes`."""
        await self._ready()
        raw = await self._link(partition).call("GET", self._keys[partition].outcomes(day))
        return unpack_outcomes(raw or b"", state)

    async def sweep(self, partition: int, now_ms: int) -> int:
        """See `Store.sweep`. Directory generations die by bucket, outcomes by day."""
        await self._ready()
        keys = self._keys[partition]
        generation = now_ms // bounds.EVENT_GENERATION_MS - 2
        orders = now_ms // bounds.ORDER_GENERATION_MS - 2
        stale = [
            name
            for bucket in range(bounds.DIRECTORY_BUCKETS)
            for name in (keys.events(generation, bucket), keys.orders(orders, bucket))
        ]
        await self._link(partition).call("UNLINK", *stale)
        first_kept = (now_ms - bounds.OUTCOME_RETENTION_MS) // bounds.DAY_MS
        swept = int(await self._link(partition).call("HGET", keys.meta, "swept_until") or 0)
        days = range(max(swept, first_kept - _SWEEP_DAYS_MAX), first_kept)
        held = [self._link(partition).send("EXISTS", keys.outcomes(day)) for day in days]
        dropped = 0
        for day, future in zip(days, held, strict=True):
            while check(await future) and dropped < _SWEEP_MAX:
                names = [
                    keys.contacts, keys.details, keys.notes, keys.outcomes(day), keys.bodies
                ]  # fmt: skip
                gone = check(await self._send(partition, "sweep", names, [_SWEEP_MAX - dropped]))
                dropped += gone
                if not gone:
                    break
            if dropped >= _SWEEP_MAX:
                return dropped
        if swept < first_kept:
            # What was counted by channel on days that nobody asks about any more.
            asked = now_ms // bounds.DAY_MS - bounds.CHANNEL_COUNT_DAYS
            old = [keys.traffic(day) for day in range(asked - _SWEEP_DAYS_MAX, asked)]
            await self._link(partition).call("UNLINK", *old)
        await self._link(partition).call("HSET", keys.meta, "swept_until", first_kept)
        return dropped

    async def close(self) -> None:
        """See `Store.close`."""
        for link in self._links:
            await link.close()


def _counters(flat: Sequence[bytes]) -> Counters:
    planned = scheduled = in_flight = 0
    ended: dict[tuple[int, int], int] = {}
    events: dict[int, int] = {}
    rules: dict[tuple[int, int], int] = {}
    for name, raw in zip(flat[::2], flat[1::2], strict=True):
        value = int(raw)
        if name == b"planned":
            planned = value
        elif name == b"scheduled":
            scheduled = value
        elif name == b"in_flight":
            in_flight = value
        elif name.startswith(b"r:"):
            _, rule, what = name.split(b":")
            rules[int(rule), int(what)] = value
        elif name.startswith(b"s:"):
            _, state, reason = name.split(b":")
            ended[int(state), int(reason)] = value
        elif name.startswith(b"e:") and value:
            events[int(name[2:])] = value
    return Counters(
        planned, scheduled, in_flight, {k: v for k, v in ended.items() if v}, events, rules
    )
