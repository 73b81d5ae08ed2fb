"""Sliding windows: how many sends count now, and when the next one may go.

Decides: the edge of a window, and the exact instant at which a full one has room again.
Never: which sends belong to the ledger, or what to do about a full window.

A window is a sliding log: every send is remembered with its instant, so the answer is exact, not
an estimate. With a window of 14 days a send at instant t counts while now - t < 14 days: at t + 14
days to the millisecond it counts no more (R25).

    limit 2, window 10 ms       t:  0    4    7            now = 8
    counting at 8               [x    x    x]              three, one more than the limit
    room again when fewer than two count: when 0 and 4 have left, at 4 + 10 = 14

Source: R25; "sliding log" as against the two-bucket estimate of a "sliding window counter".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Blocked(enum.Enum):
    """The answer of a window that never has room."""

    FOR_EVER = "for ever"


def is_counting(time_ms: int, window_ms: int, now_ms: int) -> bool:
    """Return whether a send at `time_ms` still counts; also true for a send ahead of `now_ms`."""
    return now_ms - time_ms < window_ms


def freed_ms(times: Iterable[int], limit: int, window_ms: int, now_ms: int) -> int | Blocked | None:
    """Return when the window has room for one more send.

    Args:
        times: instants of the sends of one ledger, epoch ms, in any order, repetitions allowed.
        limit: sends that may count at once; 0 allows none, ever.
        window_ms: length of the window, a span in ms, positive.
        now_ms: epoch ms.

    Returns:
        None if there is room now; `Blocked.FOR_EVER` for a limit of 0; else the first instant,
        epoch ms, strictly after `now_ms`, at which fewer than `limit` of the given sends count.

    Cost: O(n log n) in the sends that count, at most `bounds.CONTACT_STAMPS_MAX`.
    """
    assert limit >= 0, "a cap without a limit is no cap"
    assert window_ms > 0, "a window has a length"
    if limit == 0:
        return Blocked.FOR_EVER
    counting = sorted(time_ms for time_ms in times if is_counting(time_ms, window_ms, now_ms))
    if len(counting) < limit:
        return None
    return counting[-limit] + window_ms
