"""An empty durable store on a real server: one server a test process, flushed for each test."""

from __future__ import annotations

import atexit
import contextlib
import functools
from collections.abc import AsyncIterator

from core.redis_link import RedisLink
from core.timing_wheel.redis_store import SCRIPTS, RedisStore
from tests.support.valkey import ValkeyServer


@functools.cache
def _server() -> ValkeyServer:
    server = ValkeyServer()
    server.start()
    atexit.register(server.stop)
    return server


@contextlib.asynccontextmanager
async def open_store(*, partition_count: int, slot_width_ms: int) -> AsyncIterator[RedisStore]:
    """Open a store that nobody else uses; the server is the test's own, so it may be emptied."""
    links = [RedisLink(_server().socket_path, list(SCRIPTS.values())) for _ in range(2)]
    await links[0].call("FLUSHALL")
    store = await RedisStore.open(
        links, partition_count=partition_count, slot_width_ms=slot_width_ms, is_virtual=True
    )
    try:
        yield store
    finally:
        await store.close()
