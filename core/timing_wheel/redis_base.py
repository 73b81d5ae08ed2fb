"""What all parts of the durable store share: connections, keys, and how calls are sent.

All partitions of a call are sent before the first answer is awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from core import bounds
from core.clock import SystemClock
from core.errors import StoreUnavailable
from core.gate import Lane, Source
from core.ports import Durability, StoreMeta
from core.redis_keys import PartitionKeys, partition_keys
from core.redis_link import RedisLink, ReplyError, check
from core.timing_wheel.redis_scripts import SCRIPTS

T = TypeVar("T")
KeyT = TypeVar("KeyT")


class RedisBase:
    """Connections and keys of one server.

    Args:
        links: the pinned connections. A partition always uses the same one, so its calls stay in
            order. Several, because a server reads 16 KiB from a connection in a turn and fsyncs once
            a turn: what one fsync covers grows with the connections.
        durability: what an answer of this server means, found out by whoever configured it.
    """

    def __init__(self, links: Sequence[RedisLink], meta: StoreMeta, durability: Durability) -> None:
        self.meta = meta
        self.durability = durability
        self._links = tuple(links)
        self._keys = partition_keys(meta.partition_count)
        self._lease_clock = SystemClock()
        self._skew_max_ms = 0 if meta.is_virtual else bounds.SKEW_MAX_MS

    def _link(self, partition: int) -> RedisLink:
        return self._links[partition % len(self._links)]

    def _send(
        self, partition: int, name: str, keys: Sequence[bytes], arguments: Sequence[bytes | int]
    ) -> asyncio.Future[Any]:
        """Send a script; the answer is awaited later, so that many share one write."""
        return self._link(partition).send(
            "EVALSHA", SCRIPTS[name].sha, len(keys), *keys, *arguments
        )

    async def _gather(self, sent: Mapping[KeyT, asyncio.Future[Any]]) -> dict[KeyT, Any]:
        """Return the replies by partition, or whatever they were sent under.

        Raises:
            StoreUnavailable: one of them did not come; the others are not waited for.
        """
        replies: dict[KeyT, Any] = {}
        failure: StoreUnavailable | None = None
        for partition, future in sent.items():
            try:
                replies[partition] = check(await future)
            except StoreUnavailable as error:
                failure = error
        if failure is not None:
            raise failure
        return replies

    async def _ready(self) -> None:
        for link in self._links:
            if not link.is_connected:
                await link.connect()

    def _source_key(self, keys: PartitionKeys, source: Source) -> bytes:
        if source.lane == Lane.NEAR:
            return keys.near
        if source.lane == Lane.DEFERRED:
            return keys.deferred
        if source.lane == Lane.PARKED:
            return keys.parked
        if source.lane == Lane.TIMERS:
            return keys.timer_dues
        return keys.slot(source.slot)


async def gather_lists(
    sent: Mapping[int, Sequence[asyncio.Future[Any]]],
) -> dict[int, list[Any]]:
    """Return all replies by partition; every future is looked at, then the first failure raised."""
    replies: dict[int, list[Any]] = {}
    failure: Exception | None = None
    for partition, futures in sent.items():
        replies[partition] = []
        for future in futures:
            try:
                replies[partition].append(check(await future))
            except (StoreUnavailable, ReplyError) as error:
                failure = failure or error
    if failure is not None:
        raise failure
    return replies


def batches(items: Sequence[T]) -> list[Sequence[T]]:
    """Cut a list into what one script call may take."""
    if len(items) <= bounds.SCRIPT_BATCH_MAX:
        return [items]
    return [
        items[at : at + bounds.SCRIPT_BATCH_MAX]
        for at in range(0, len(items), bounds.SCRIPT_BATCH_MAX)
    ]
