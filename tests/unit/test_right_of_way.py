"""Who goes first, where rounds with a heap and light ones share a process."""

from __future__ import annotations

import asyncio
import time

from core.engine.right_of_way import CALLS_MAX, PAUSE_MS, RightOfWay


async def _pieces(way: RightOfWay, done: list[str], count: int) -> None:
    for _ in range(count):
        await way.give_way()
        done.append("heap")


async def test_a_heap_pauses_for_what_is_light() -> None:
    way, done = RightOfWay(), list[str]()
    with way.first():
        heap = asyncio.create_task(_pieces(way, done, 3))
        for _ in range(5):
            await asyncio.sleep(0)
        done.append("light")
    await heap
    assert done == ["light", "heap", "heap", "heap"]


async def test_nobody_pauses_for_ever() -> None:
    """However much is light: at least half of the time is the heap's."""
    way, done = RightOfWay(), list[str]()
    heap = asyncio.create_task(_pieces(way, done, 1_000_000))
    began = time.perf_counter()
    with way.first():
        async with asyncio.timeout(5):
            while len(done) < 10:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert time.perf_counter() - began >= PAUSE_MS / 1_000
        # Another that is light does not begin the pause anew at once.
        seen = len(done)
        with way.first():
            await asyncio.sleep(PAUSE_MS / 4_000)
        assert len(done) > seen
    heap.cancel()


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

    await asyncio.gather(*(call(is_light=False) for _ in range(10)))
    assert most == CALLS_MAX
    await asyncio.gather(*(call(is_light=True) for _ in range(10)))
    assert most == 10


async def test_a_call_waits_while_something_light_is_under_way() -> None:
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
