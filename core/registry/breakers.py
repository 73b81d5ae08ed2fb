"""The complaint breaker of a channel: what it is set to, and how it stands for each medium (g6).

Decides: from which share of complaints on a medium is held back, what a trip and a reset write down,
and which complaints a reset forgives.
Never: counts; what was sent and complained of is counted in the store, by channel, medium and day.

Mail providers count spam reports over all mail of a sender and throttle or refuse it for weeks from
0.3 % on, so one channel's trouble is everybody's: it is stopped before people have read the news.

A breaker is a document beside its channel, because it is written by the daemon: whoever edits the
channel meanwhile with an etag does not hear of a conflict.

Units: `*_ms` epoch milliseconds; shares in millionths, so that a limit is met exactly.
"""

from __future__ import annotations

from typing import Final

import msgspec

from core.bounds import DAY_MS

MILLION: Final = 1_000_000
WINDOW_DAYS_MAX: Final = 30
MIN_COMPLAINTS_MAX: Final = 1_000_000
THRESHOLD_MIN_PPM: Final = 100


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When complaints hold back what a channel sends."""

    is_off: bool = False
    threshold_ppm: int = 3_000
    """Share of what was sent from which on complaints are too many, in millionths."""
    min_complaints: int = 5
    """Fewer are never too many."""
    window_days: int = 7
    """Days that count, today (UTC) included."""

    def is_exceeded(self, sent_count: int, complaint_count: int) -> bool:
        """Return whether this is too much."""
        return (
            not self.is_off
            and complaint_count >= self.min_complaints
            and complaint_count * MILLION >= self.threshold_ppm * sent_count
        )

    def days(self, now_ms: int) -> range:
        """Return the epoch days that count."""
        today = now_ms // DAY_MS
        return range(today - self.window_days + 1, today + 1)


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """How one medium of a channel stands; without a document it never tripped."""

    account: str
    channel: str
    """Id of the channel."""
    medium: int
    is_open: bool
    """Messages are held back."""
    trip_ms: int
    """When it last tripped."""
    sent_count: int
    complaint_count: int
    """What was counted then."""
    reset_ms: int = 0
    """When an operator last let go; 0: never."""
    forgiven_count: int = 0
    """Complaints of the day of `reset_ms` that had been counted by then: they count no more, nor do
    those of days before."""

    @property
    def name(self) -> str:
        """Key of the document."""
        return breaker_name(self.account, self.channel, self.medium)

    @property
    def rate(self) -> float:
        """Share of complaints when it tripped."""
        return self.complaint_count / self.sent_count if self.sent_count else 1.0

    def unforgiven(self, on_reset_day: int, later: int) -> int:
        """Return how many complaints count, of those counted on the day of the last reset and since."""
        return max(0, on_reset_day - self.forgiven_count) + later


def breaker_name(account: str, channel: str, medium: int) -> str:
    """Return the key of the breaker of a medium on a channel (its id)."""
    return f"accounts/{account}/channels/{channel}/breakers/{medium}"
