"""Who goes first, processor and store being what there is too little of.

Decides: when the work of a round with a heap's messages pauses for a light round: at the end of each
piece, a few dozen entries, and before each call to the store, of which it has `CALLS_MAX` at a time. So
what is light waits for one piece and a few calls, however much else is due.
Never: whose turn it is (`core/engine/turns.py`).

Nobody waits for ever: after `PAUSE_MS` what pauses goes on, for at least as long again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

CALLS_MAX: Final = 2
"""Calls at the store at a time, of rounds that are not light."""
PAUSE_MS: Final = 10
PIECE: Final = 16
"""Entries that are judged without a pause: about a millisecond."""


class RightOfWay:
    """The right of way of one process."""

    def __init__(self) -> None:
        self._calls = asyncio.Semaphore(CALLS_MAX)
        self._light = 0
        self._clear: asyncio.Future[None] | None = None
        """What those who pause wait for."""
        self._may_stop = True

    @contextmanager
    def first(self) -> Iterator[None]:
        """Go first: others pause meanwhile."""
        self._light += 1
        if self._clear is None and self._may_stop:
            loop = asyncio.get_running_loop()
            self._clear = loop.create_future()
            loop.call_later(PAUSE_MS / 1_000, self._go_on, self._clear)
        try:
            yield
        finally:
            self._light -= 1
            if not self._light and self._clear is not None:
                self._clear.set_result(None)
                self._clear = None

    async def give_way(self) -> None:
        """Let others do their part of the work; return when one's own may go on."""
        await asyncio.sleep(0)
        if self._clear is not None:
            await asyncio.shield(self._clear)

    @asynccontextmanager
    async def call(self, *, is_light: bool) -> AsyncIterator[None]:
        """Hold one of the calls at the store; what is light needs none."""
        if is_light:
            yield
            return
        async with self._calls:
            if self._clear is not None:
                await asyncio.shield(self._clear)
            yield

    def _go_on(self, clear: asyncio.Future[None]) -> None:
        """End a pause that has been long enough, and let no other begin at once."""
        if clear is not self._clear:
            return
        clear.set_result(None)
        self._clear, self._may_stop = None, False
        asyncio.get_running_loop().call_later(PAUSE_MS / 1_000, self._allow)

    def _allow(self) -> None:
        self._may_stop = True
