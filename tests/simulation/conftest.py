"""The whole engine under a virtual clock, on both stores."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from core.bounds import HOUR_MS
from core.ports import Store
from core.timing_wheel.memory_store import MemoryStore
from tests.conformance.redis_factory import open_store


@pytest_asyncio.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        store = MemoryStore.create(partition_count=4)
        yield store
        store.validate()
        return
    async with open_store(partition_count=4, slot_width_ms=HOUR_MS) as durable:
        yield durable
