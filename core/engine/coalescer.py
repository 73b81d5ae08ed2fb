"""Merging of concurrent batches into few script calls (E1).

Decides: when a stage's waiting items go to the store. While a call is under way, whatever arrives
waits and goes with the next one: alone at low load, in large batches at high load, with no timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")
Run = Callable[[dict[int, list[ItemT]]], Awaitable[dict[int, list[AnswerT]]]]
IN_FLIGHT_MAX = 3
ITEMS_ENOUGH = 512
"""Eight for each of 64 partitions; more shares the fixed cost better, but works less at once."""
_Waiting = tuple[Sequence[tuple[int, ItemT]], "asyncio.Future[list[AnswerT]]"]


class Coalescer(Generic[ItemT, AnswerT]):
    """Gives one store operation the items of all callers at once.

    Args:
        run: the operation; items by partition in, answers by partition out.
        in_flight_max: calls under way at a time: enough that the store is busy while this process packs.
        items_enough: a call takes no further batch once it has so many items. Without it all waiting
            batches would go through every stage in step, and process and store would take turns
            instead of working at once.
    """

    def __init__(
        self, run: Run[ItemT, AnswerT], in_flight_max: int = IN_FLIGHT_MAX,
        items_enough: int = ITEMS_ENOUGH,
    ) -> None:  # fmt: skip
        self._run = run
        self._in_flight_max = in_flight_max
        self._items_enough = items_enough
        self._waiting: list[_Waiting[ItemT, AnswerT]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_scheduled = False

    async def __call__(self, items: Sequence[tuple[int, ItemT]]) -> list[AnswerT]:
        """Return one answer for each (partition, item), in order."""
        if not items:
            return []
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[AnswerT]] = loop.create_future()
        self._waiting.append((items, future))
        self._schedule(loop)
        return await future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_scheduled and len(self._tasks) < self._in_flight_max:
            self._is_scheduled = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        taken = count = 0
        while taken < len(self._waiting) and count < self._items_enough:
            count += len(self._waiting[taken][0])
            taken += 1
        waiting, self._waiting = self._waiting[:taken], self._waiting[taken:]
        if waiting:
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._call(waiting))
            self._tasks.add(task)
            task.add_done_callback(self._done)
            if self._waiting:
                self._schedule(loop)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._waiting:
            self._schedule(asyncio.get_running_loop())

    async def _call(self, waiting: list[_Waiting[ItemT, AnswerT]]) -> None:
        merged: dict[int, list[ItemT]] = {}
        for items, _ in waiting:
            for partition, item in items:
                held = merged.get(partition)
                if held is None:
                    merged[partition] = [item]
                else:
                    held.append(item)
        try:
            answers = await self._run(merged)
        except BaseException as error:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        # Each partition's answers are in the order in which its items were merged.
        take = {partition: iter(found) for partition, found in answers.items()}
        for items, future in waiting:
            result = [next(take[partition]) for partition, _ in items]
            if not future.done():
                future.set_result(result)
