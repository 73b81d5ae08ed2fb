"""The two clocks (E10): who knows the time, and who may wait.

Decides: what *now* is, and when a sleeper wakes. One object owns both: a class that takes a clock
may use no other timer.
Never: kernels; they take `now_ms` as an argument.

The business clock answers when something is due, capped or expired; it may be virtual. The lease
clock answers who owns what for how long; it is always the machine's.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from typing import Protocol


class Clock(Protocol):
    """Owns *now* and *sleep*.

    Units: epoch milliseconds (UTC) as int; monotonic nanoseconds for measuring only.
    """

    @property
    def is_virtual(self) -> bool:
        """True if this clock is moved by hand; a store remembers which kind it was made with."""

    def now_ms(self) -> int:
        """Return epoch milliseconds; never smaller than an earlier answer."""

    async def sleep_until_ms(self, target_ms: int, wakeup: asyncio.Event) -> None:
        """Return when the clock reaches `target_ms` or `wakeup` is set, whichever is first."""


class SystemClock:
    """The machine's clock, clamped so that a step back stands still instead."""

    is_virtual = False

    def __init__(self) -> None:
        self._last_ms = 0

    def now_ms(self) -> int:
        """Return epoch milliseconds; never goes back."""
        now_ms = time.time_ns() // 1_000_000
        if now_ms < self._last_ms:
            return self._last_ms
        self._last_ms = now_ms
        return now_ms

    async def sleep_until_ms(self, target_ms: int, wakeup: asyncio.Event) -> None:
        """Wait for the instant or the wake-up call."""
        delay_ms = target_ms - self.now_ms()
        if delay_ms <= 0 or wakeup.is_set():
            return
        try:
            await asyncio.wait_for(wakeup.wait(), delay_ms / 1_000)
        except TimeoutError:
            return


class ManualClock:
    """A clock that stands still until it is moved: tests, the demo, simulation."""

    is_virtual = True

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._sleepers: list[tuple[int, int, asyncio.Event]] = []
        self._ticket = 0

    def now_ms(self) -> int:
        """Return the instant it was last moved to."""
        return self._now_ms

    def move_to_ms(self, target_ms: int) -> None:
        """Move forward and wake, in order of their instants, those who waited for it."""
        assert target_ms >= self._now_ms, "a clock never goes back"
        self._now_ms = target_ms
        while self._sleepers and self._sleepers[0][0] <= target_ms:
            heapq.heappop(self._sleepers)[2].set()

    async def sleep_until_ms(self, target_ms: int, wakeup: asyncio.Event) -> None:
        """Wait until the clock has been moved to the instant, or for the wake-up call."""
        if target_ms <= self._now_ms or wakeup.is_set():
            return
        self._ticket += 1
        heapq.heappush(self._sleepers, (target_ms, self._ticket, wakeup))
        await wakeup.wait()


def monotonic_ns() -> int:
    """Return the machine's monotonic clock, for leases and for measuring."""
    return time.monotonic_ns()
