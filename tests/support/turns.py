"""Two sides of a race that take turns, so that every order of their store calls can be tried.

Decides: who goes next. Each side holds the same store through a door of its own (`Door`), which lets a
call through only when it is that side's turn; the calls themselves are the store's. `all_orders` runs a
race once for each order, as a model checker does: it goes back to the last choice that had another
answer, and takes that.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Race = Callable[["Turns"], Awaitable[None]]


class Turns:
    """Hands out turns, one at a time, when nobody runs any more.

    Args:
        wanted: which of those who wait goes next, by their place in alphabetical order; what comes
            after these choices is decided by `chance`, or by going first.
    """

    def __init__(self, wanted: Sequence[int] = (), chance: random.Random | None = None) -> None:
        self.log: list[tuple[str, str]] = []
        """(side, call) in the order in which the calls went through; (side, "returned") at its end."""
        self.choices: list[tuple[int, int]] = []
        """(taken, out of how many) where more than one side could have gone."""
        self._wanted = list(wanted)
        self._chance = chance
        self._waiting: dict[str, deque[tuple[str, asyncio.Future[None]]]] = {}
        self._moved = asyncio.Event()
        self._is_racing = False

    async def turn(self, side: str, call: str) -> None:
        """Wait for a turn; at once while no race is on."""
        if not self._is_racing:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[side].append((call, future))
        self._moved.set()
        await future

    async def race(self, **sides: Awaitable[None]) -> None:
        """Run the sides against each other until all have returned."""
        self._is_racing = True
        self._waiting = {side: deque() for side in sides}
        running = {side: asyncio.ensure_future(work) for side, work in sides.items()}
        for side, task in running.items():
            task.add_done_callback(lambda _, side=side: self._returned(side))
        while running:
            while any(
                not task.done() and not self._waiting[side] for side, task in running.items()
            ):
                self._moved.clear()
                await asyncio.wait_for(self._moved.wait(), 60)
            for side in [side for side, task in running.items() if task.done()]:
                running.pop(side).result()
            ready = sorted(side for side in running if self._waiting[side])
            if ready:
                self._let_go(ready)
        self._is_racing = False

    def _returned(self, side: str) -> None:
        self.log.append((side, "returned"))
        self._moved.set()

    def _let_go(self, ready: list[str]) -> None:
        index = 0
        if len(ready) > 1:
            made = len(self.choices)
            if made < len(self._wanted):
                index = self._wanted[made]
            elif self._chance is not None:
                index = self._chance.randrange(len(ready))
            self.choices.append((index, len(ready)))
        side = ready[index]
        call, future = self._waiting[side].popleft()
        self.log.append((side, call))
        future.set_result(None)

    def place(self, side: str, *calls: str) -> int:
        """Return where in the log the last of these calls of a side stands, -1 if none was made."""
        found = [at for at, (who, call) in enumerate(self.log) if who == side and call in calls]
        return found[-1] if found else -1


class Door:
    """One side's way to a store: the named calls wait for their turn, all others pass."""

    def __init__(self, store: Any, turns: Turns, side: str, calls: frozenset[str]) -> None:
        self._store = store
        self._turns = turns
        self._side = side
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)
        if name not in self._calls:
            return call
        assert inspect.iscoroutinefunction(call), name

        async def in_turn(*arguments: Any, **named: Any) -> Any:
            await self._turns.turn(self._side, name)
            return await call(*arguments, **named)

        return in_turn


async def all_orders(race: Race, most: int = 0, seed: int = 0) -> None:
    """Run a race in every order that its calls can have; of more than `most`, if given, in as many
    drawn by lot beside those tried first."""
    wanted: list[int] = []
    done = 0
    while not done or wanted:
        turns = Turns(wanted)
        await race(turns)
        wanted = _next(turns.choices)
        done += 1
        if done == most // 2 and most:
            return await some_orders(race, most - done, seed)
    assert done > 1, "there is only one order: the two do not meet"


async def some_orders(race: Race, count: int, seed: int) -> None:
    """Run a race in orders drawn by lot."""
    for n in range(count):
        await race(Turns((), random.Random(f"{seed}:{n}")))


def _next(choices: list[tuple[int, int]]) -> list[int]:
    """Return the choices that lead to the next order, [] after the last."""
    taken = list(choices)
    while taken:
        index, among = taken.pop()
        if index + 1 < among:
            return [each for each, _ in taken] + [index + 1]
    return []
