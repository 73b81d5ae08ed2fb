"""Who goes first, where rounds with a heap and light ones share a process."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from core import bounds
from core.engine import right_of_way
from core.engine.right_of_way import CALL_ITEMS_MAX, CALLS_MAX, HOLD_MS, PAUSE_MS, RightOfWay


async def _pieces(way: RightOfWay, done: list[str], count: int) -> None:
    for _ in range(count):
        await way.give_way()
        done.append("heap")


async def test_a_heap_pauses_for_what_is_light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(right_of_way, "PAUSE_MS", 5_000)
    way, done = RightOfWay(), list[str]()
    with way.first():
        heap = asyncio.create_task(_pieces(way, done, 3))
        for _ in range(5):
            await asyncio.sleep(0)
        done.append("light")
    await heap
    assert done == ["light", "heap", "heap", "heap"]


async def test_half_of_the_time_is_the_heaps() -> None:
    """However much is light, and whether it comes in one piece or in many."""
    way, done = RightOfWay(), list[str]()

    async def light(length_ms: float) -> None:
        while True:
            with way.first():
                await asyncio.sleep(length_ms / 1_000)

    for length_ms in (PAUSE_MS / 4, 1_000):
        done.clear()
        lights = [asyncio.create_task(light(length_ms)) for _ in range(2)]
        heap = asyncio.create_task(_timed(way, done))
        await asyncio.sleep(40 * PAUSE_MS / 1_000)
        for task in (heap, *lights):
            task.cancel()
        # Each piece takes a millisecond.
        assert len(done) >= 8 * PAUSE_MS, f"{len(done)} with {length_ms} ms"


async def _timed(way: RightOfWay, done: list[str]) -> None:
    while True:
        await way.give_way()
        time.sleep(0.001)  # noqa: ASYNC251
        done.append("heap")


async def test_each_turn_of_the_loop_has_one_piece() -> None:
    way, done = RightOfWay(), list[str]()
    with way.first():
        pass
    heaps = [asyncio.create_task(_pieces(way, done, 10)) for _ in range(5)]
    most, before = 0, 0
    while len(done) < 50:
        await asyncio.sleep(0)
        most, before = max(most, len(done) - before), len(done)
    await asyncio.gather(*heaps)
    assert most == 1


async def test_where_all_is_calm_nobody_gives_way() -> None:
    way, done = RightOfWay(), list[str]()
    heap = asyncio.create_task(_pieces(way, done, 100))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(done) == 100
    assert way.items_max() == bounds.CLAIM_BATCH_MAX
    await heap


async def test_who_gives_up_holds_up_nobody() -> None:
    way, done = RightOfWay(), list[str]()
    with way.first():
        first, second = (asyncio.create_task(_pieces(way, done, 1)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
    async with asyncio.timeout(5):
        await second
    assert done == ["heap"]


async def test_few_calls_of_heaps_are_at_the_store() -> None:
    way = RightOfWay()
    under_way, most = 0, 0

    async def call(*, is_light: bool) -> None:
        nonlocal under_way, most
        async with way.call(is_light=is_light):
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1

    with way.first():
        assert way.items_max() == CALL_ITEMS_MAX
    await asyncio.gather(*(call(is_light=False) for _ in range(10)))
    assert most == CALLS_MAX
    await asyncio.gather(*(call(is_light=True) for _ in range(10)))
    assert most == 10


async def test_a_call_without_an_answer_stops_no_other() -> None:
    way = RightOfWay()
    with way.first():
        pass
    async with AsyncExitStack() as hung, asyncio.timeout(5):
        for _ in range(CALLS_MAX):
            await hung.enter_async_context(way.call(is_light=False))
        began = time.perf_counter()
        async with way.call(is_light=False):
            assert time.perf_counter() - began >= HOLD_MS / 2_000
    async with asyncio.timeout(5):
        for _ in range(3):
            async with way.call(is_light=False):
                pass


async def test_a_call_waits_while_something_light_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(right_of_way, "PAUSE_MS", 5_000)
    way, done = RightOfWay(), list[str]()

    async def call() -> None:
        async with way.call(is_light=False):
            done.append("heap")

    with way.first():
        heap = asyncio.create_task(call())
        await asyncio.sleep(PAUSE_MS / 4_000)
        done.append("light")
    await heap
    assert done == ["light", "heap"]
