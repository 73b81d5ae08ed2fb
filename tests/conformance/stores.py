"""The stores that must all pass this suite, each opened fresh and empty."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.ports import Store
from core.timing_wheel.memory_store import MemoryStore
from tests.conformance.kit import PARTITION_COUNT, SLOT_MS

REDIS_FACTORY = "tests.conformance.redis_factory"


@contextlib.asynccontextmanager
async def open_memory_store() -> AsyncIterator[Store]:
    store = MemoryStore.create(partition_count=PARTITION_COUNT, slot_width_ms=SLOT_MS)
    yield store
    store.validate()
    await store.close()


@contextlib.asynccontextmanager
async def open_redis_store() -> AsyncIterator[Store]:
    """Open a fresh, empty store on a real server.

    `redis_factory.open_store(partition_count=..., slot_width_ms=...)` returns either an async
    context manager of a store, or a coroutine of one.
    """
    if importlib.util.find_spec(REDIS_FACTORY) is None:
        pytest.skip(f"{REDIS_FACTORY} does not exist yet: no Redis store to test")
    factory: Any = importlib.import_module(REDIS_FACTORY)
    opening = factory.open_store(partition_count=PARTITION_COUNT, slot_width_ms=SLOT_MS)
    if not inspect.isawaitable(opening):
        async with opening as store:
            yield store
        return
    store = await opening
    try:
        yield store
    finally:
        await store.close()


FACTORIES = {"memory": open_memory_store, "redis": open_redis_store}
