"""How much may be done a second.

Never: waits: who comes too fast is told so.
"""

from __future__ import annotations

from collections.abc import Callable


class Pace:
    """Lets so many through a second, and a burst of so many at once (GCRA).

    Args:
        now_s: any steady clock.
    """

    def __init__(self, per_second: int, at_once: int, now_s: Callable[[], float]) -> None:
        self._interval_s = 1 / per_second
        self._tolerance_s = (at_once - 1) / per_second
        self._now_s = now_s
        self._arrival_s = 0.0

    def take(self) -> bool:
        """Return whether one more may pass now; if so, it has."""
        now_s = self._now_s()
        arrival_s = max(self._arrival_s, now_s)
        if arrival_s - now_s > self._tolerance_s:
            return False
        self._arrival_s = arrival_s + self._interval_s
        return True
