"""A budget of many contacts in memory: how much of it is out, and when the next may ask (R29).

Decides: that never more than `limit` is out in any window, to the millisecond; and the instants at which
those that got nothing ask again.
Never: whose turn it is. Who asks first gets what is free.

A budget is a sliding log like the cap of a contact (`core/antispam/windows.py`), but what is counted is
takes, each of several messages, oldest first:

    limit 3, window 10      takes:  t=0 two, t=4 one        now = 6: nothing is free
    freed                           two at 10, one at 14
    promised to those that wait     10, 14 (interval 10/3, rounded up: 4), then 18, 22, ...

What is promised is remembered as a place in the log and an instant: the next that waits is promised the
first token that nobody was promised, not sooner than one interval of `window / limit` after the promise
before it. So a long queue comes at the pace of the budget, and not all at once when a burst runs out.
Promises lapse when nobody asked for a window, or when half of the budget lies idle a window after the
first of them: then those that were promised do not come.

Invariants:
    1. `total` is the sum of what the takes in the window hold.
    2. The clock of a budget only rises: a caller whose clock is behind asks at the latest instant seen.

Cost: O(1) amortised for each take, plus O(1) for each that must wait.
"""

from __future__ import annotations

from collections import deque

from core.contact_ports import VolumeAnswer


class _Take:
    """One answer, and how much it still holds of what it granted."""

    def __init__(self, token: bytes, time_ms: int, answer: VolumeAnswer) -> None:
        self.token = token
        self.time_ms = time_ms
        self.answer = answer
        self.held = answer.granted


class VolumeBudget:
    """One budget. Limit and window come with each call: what an operator changes holds at once."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._takes: deque[_Take] = deque()
        self._by_token: dict[bytes, _Take] = {}
        self._total = 0
        self._first = 0
        """Number of the oldest take in the log; takes are numbered as they come."""
        self._last_ms = 0
        self._forget_promises()

    def _forget_promises(self) -> None:
        self._promised_take, self._promised_of_it = -1, 0
        self._promised_ms = self._promised_since_ms = 0

    def take(
        self, token: bytes, count: int, limit: int, window_ms: int, now_ms: int
    ) -> VolumeAnswer:
        """See `ContactStore.take_volume`."""
        now_ms = max(now_ms, self._last_ms)
        if now_ms - self._last_ms >= window_ms:
            self._clear()
        while self._takes and now_ms - self._takes[0].time_ms >= window_ms:
            self._pop()
        known = self._by_token.get(token)
        if known is not None:
            return known.answer
        granted = max(0, min(count, limit - self._total))
        self._last_ms = now_ms
        self._total += granted
        take = _Take(token, now_ms, VolumeAnswer(granted))
        self._takes.append(take)
        self._by_token[token] = take
        idle = limit - self._total
        if idle > 0 and 2 * idle >= limit and now_ms >= self._promised_since_ms + window_ms:
            self._forget_promises()
        if limit > 0 and granted < count:
            interval_ms = -(-window_ms // limit)
            wakes = tuple(
                self._promise(limit, window_ms, interval_ms, now_ms) for _ in range(granted, count)
            )
            take.answer = VolumeAnswer(granted, wakes)
        return take.answer

    def give_back(self, token: bytes, count: int) -> None:
        """See `ContactStore.give_back_volume`."""
        take = self._by_token.get(token)
        if take is None:
            return
        kept = min(take.held, max(0, take.answer.granted - count))
        self._total -= take.held - kept
        take.held = kept

    def validate(self) -> None:
        """Assert the invariants. For tests."""
        assert self._total == sum(take.held for take in self._takes), "the sum of what is held"
        assert len(self._by_token) == len(self._takes), "each take has its token"

    def _pop(self) -> None:
        take = self._takes.popleft()
        del self._by_token[take.token]
        self._total -= take.held
        self._first += 1

    def _promise(self, limit: int, window_ms: int, interval_ms: int, now_ms: int) -> int:
        """Return the instant for the next that waits, and remember it."""
        if self._promised_take < self._first:
            # Of what is out beyond a lowered limit nothing can be promised.
            self._promised_take = self._first
            self._promised_of_it = max(0, self._total - limit)
        freed_ms = 0
        while self._promised_take < self._first + len(self._takes):
            take = self._takes[self._promised_take - self._first]
            if self._promised_of_it < take.held:
                self._promised_of_it += 1
                freed_ms = take.time_ms + window_ms
                break
            self._promised_of_it -= take.held
            self._promised_take += 1
        if self._promised_ms <= now_ms:
            self._promised_since_ms = freed_ms
        self._promised_ms = max(freed_ms, self._promised_ms + interval_ms, now_ms + 1)
        return self._promised_ms
