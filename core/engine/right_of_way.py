"""Who goes first, processor and store being what there is too little of.

Decides: when the work of rounds with a heap's messages goes on: one piece of it in each turn of the
event loop, a millisecond or two, and `CALLS_MAX` calls at the store at a time. While a light round is
under way they stand still, `PAUSE_MS` at most and then as long not: however much is light, half of the
time is the heaps'. What is light waits for one piece and a few small calls, however much else is due.
Where nothing light has come for `CALM_MS`, nobody gives way, and calls are as many and as large as they
come: that shares their fixed costs.
Never: whose turn it is (`core/engine/turns.py`).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from core import bounds

CALLS_MAX: Final = 1
"""Calls at the store at a time, of rounds that are not light."""
HOLD_MS: Final = 100
"""How long a call counts among these: one that gets no answer must not stop the others."""
CALL_ITEMS_MAX: Final = 64
"""Entries of one such call: about two milliseconds of the server."""
PAUSE_MS: Final = 8
"""How long heaps stand still for what is light: most light rounds take less."""
CALM_MS: Final = 1_000
PIECE: Final = 8
"""Entries that are judged in one piece."""


class RightOfWay:
    """The right of way of one process."""

    def __init__(self) -> None:
        self._calls = asyncio.Semaphore(CALLS_MAX)
        self._light = 0
        self._light_s = -math.inf
        """When the last light round began, in the loop's time."""
        self._pieces: deque[asyncio.Future[None]] = deque()
        """In the order in which they are done."""
        self._next: asyncio.Handle | None = None
        self._held_s: float | None = None
        """Since when pieces are held back, in the loop's time."""
        self._free_until_s = -math.inf
        """Until when they are not."""

    @contextmanager
    def first(self) -> Iterator[None]:
        """Go first: others are held back meanwhile."""
        self._light += 1
        self._light_s = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self._light -= 1
            if not self._light and self._next is not None:
                self._next.cancel()
                self._next = asyncio.get_running_loop().call_soon(self._begin)

    async def give_way(self, *, is_light: bool = False) -> None:
        """Return when the next piece of one's work may be done; what is light need not wait."""
        if is_light or self._is_calm():
            return
        piece = asyncio.get_running_loop().create_future()
        self._pieces.append(piece)
        self._plan()
        await piece

    def items_max(self) -> int:
        """Return how many entries a claim may have."""
        return bounds.CLAIM_BATCH_MAX if self._is_calm() else CALL_ITEMS_MAX

    @asynccontextmanager
    async def call(self, *, is_light: bool) -> AsyncIterator[None]:
        """Hold one of the calls at the store; what is light needs none."""
        if is_light or self._is_calm():
            yield
            return
        await self._calls.acquire()
        slot = _Slot(self._calls)
        try:
            await self.give_way()
            slot.release_after(HOLD_MS)
            yield
        finally:
            slot.release()

    def _is_calm(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        return not self._light and now_s >= self._light_s + CALM_MS / 1_000

    def _plan(self) -> None:
        """Let the next piece be done, if there is one: soon, or a little later."""
        if self._next is not None or not self._pieces:
            return
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if self._light and now_s >= self._free_until_s:
            self._held_s = now_s
            self._next = loop.call_later(PAUSE_MS / 1_000, self._begin)
        else:
            self._next = loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._next = None
        if self._held_s is not None:
            now_s = asyncio.get_running_loop().time()
            self._free_until_s, self._held_s = 2 * now_s - self._held_s, None
        while self._pieces:
            piece = self._pieces.popleft()
            if not piece.done():
                piece.set_result(None)
                break
        self._plan()


class _Slot:
    """A place in a semaphore that is given back once, in time."""

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore: asyncio.Semaphore | None = semaphore
        self._timer: asyncio.TimerHandle | None = None

    def release_after(self, hold_ms: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(hold_ms / 1_000, self.release)

    def release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._semaphore is not None:
            self._semaphore.release()
            self._semaphore = None
