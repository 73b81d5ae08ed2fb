"""A pace of messages: a bucket of tokens, exact to the millisecond.

Decides: how many messages may go at an instant, and when the next may.
Never: asks the time, waits, or knows what it paces.

In any span of t seconds at most `rate * t` and one burst go out, a burst being what the pace allows in a
tenth of a second, at least one message.

Invariants: 0 <= level <= burst, in parts of a message (`_ONE`): integers, so that nothing is lost
however often it is asked. Time that goes back stands still.
Units: epoch milliseconds, or any other milliseconds that are the same in all calls.
Source: the token bucket of RFC 2697, one rate.
"""

from __future__ import annotations

from typing import Final

_ONE: Final = 10**15
BURST_PER_SECOND: Final = 10
"""A burst is the rate divided by this."""


class Pace:
    """Messages per second of one sender.

    Args:
        per_second: more than 0; may be a fraction.
        now_ms: full from here on.
    """

    __slots__ = ("_burst", "_last_ms", "_level", "_per_ms", "per_second")

    def __init__(self, per_second: float, now_ms: int) -> None:
        assert per_second > 0, "no pace is no object of this class"
        self.per_second = per_second
        self._per_ms = max(1, round(per_second * (_ONE // 1_000)))
        self._burst = max(1, int(per_second / BURST_PER_SECOND)) * _ONE
        self._level = self._burst
        self._last_ms = now_ms

    def free(self, now_ms: int) -> int:
        """Return how many messages may go now."""
        self._fill(now_ms)
        return self._level // _ONE

    def take(self, count: int, now_ms: int) -> None:
        """Spend what `free` has said there is."""
        assert 0 <= count <= self.free(now_ms), "no more is spent than there is"
        self._level -= count * _ONE

    def give_back(self, count: int) -> None:
        """Return what certainly did not go."""
        self._level = min(self._burst, self._level + count * _ONE)

    def ready_ms(self, number: int, now_ms: int) -> int:
        """Return when the next message but `number` may go, if all before it go as soon as they may."""
        self._fill(now_ms)
        lacking = (number + 1) * _ONE - self._level
        return self._last_ms + max(0, -(-lacking // self._per_ms))

    def _fill(self, now_ms: int) -> None:
        if now_ms > self._last_ms:
            gained = (now_ms - self._last_ms) * self._per_ms
            self._level = min(self._burst, self._level + gained)
            self._last_ms = now_ms
