"""Fixtures: a store of each kind, and the law that holds after every test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from core.ports import Store
from tests.conformance.kit import PARTITION_COUNT, Hands
from tests.conformance.stores import FACTORIES


@pytest_asyncio.fixture(params=sorted(FACTORIES))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Give an empty store; afterwards nothing may be lost in any partition (R6)."""
    async with FACTORIES[request.param]() as opened:
        yield opened
        counters = await opened.counters(range(PARTITION_COUNT))
        assert {number: c.imbalance for number, c in counters.items()} == dict.fromkeys(
            range(PARTITION_COUNT), 0
        ), "the conservation law holds"


@pytest_asyncio.fixture
async def hands(store: Store) -> Hands:
    """Give a daemon that owns partition 0."""
    return await Hands.own(store)
