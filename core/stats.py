"""What the daemon counts about itself: plain integers, read by whoever exports them.

Never: what must survive a restart; that is counted in the store, in the scripts (R6).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

from core.model import Medium
from core.registry.documents import sender_name
from core.sending import Delivery, Letter

LATENESS_BOUNDS_MS: Final = (
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 30_000, 300_000, 3_600_000,
)  # fmt: skip
HAND_OVER_BOUNDS_MS: Final = (
    1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000,
)  # fmt: skip
SENDERS_MAX: Final = 50
"""Senders whose hand-overs are counted by name; what goes by further ones is counted as `OTHER`."""
OTHER: Final = "other"


class Histogram:
    """How many spans were how long.

    Attributes:
        bounds_ms: upper bounds, ascending; a span as long as a bound lies within it.
        counts: one for each bound, and one for what is longer than all.
    """

    def __init__(self, bounds_ms: Sequence[int]) -> None:
        self.bounds_ms = bounds_ms
        self.counts = [0] * (len(bounds_ms) + 1)
        self.sum_ms = 0.0

    def add(self, span_ms: float, count: int = 1) -> None:
        """Count spans of one length."""
        self.counts[bisect_left(self.bounds_ms, span_ms)] += count
        self.sum_ms += span_ms * count


class Stats:
    """Counters of one process since its start."""

    def __init__(self) -> None:
        self.events_received = 0
        self.events_refused = 0
        self.events_duplicate = 0
        self.condition_errors = 0
        self.invitations_planned = 0
        self.invitations_stopped = 0
        self.claims = 0
        self.claimed = 0
        self.deferred: Counter[int] = Counter()
        """By `WaitReason`; what is parked too."""
        self.turned_away = 0
        """Looks at entries whose sender had no place."""
        self.timers_fired = 0
        self.ended_at_gate = 0
        self.gone = 0
        self.sent = 0
        self.retried = 0
        self.settled_too_late = 0
        self.reclaimed = 0
        self.leases_lost = 0
        self.store_errors = 0
        self.round_errors = 0
        self.wheel_entries = 0
        self.unsubscribes_one_click = 0
        self.unsubscribes_page = 0
        self.unsubscribe_tokens_refused = 0
        self.consents_confirmed = 0
        self.review_clicks = 0
        self.review_tokens_refused = 0
        self.hook_items: Counter[tuple[str, str]] = Counter()
        """By form of the hook and what became of the item."""
        self.feedback: Counter[int] = Counter()
        """By kind; what is told again is not counted."""
        self.breaker_trips = 0
        self.lateness = Histogram(LATENESS_BOUNDS_MS)
        own = [(medium, medium.name) for medium in Medium if medium]
        self.hand_overs: dict[tuple[int, str], Counter[int]] = {key: Counter() for key in own}
        """By medium and name of the sender, that of the medium for the daemon's own: outcomes."""
        self.hand_over_spans = {medium: Histogram(HAND_OVER_BOUNDS_MS) for medium, _ in own}
        """By medium."""

    def count_lateness(self, late_ms: int) -> None:
        """Count one claim that came `late_ms` after its due time."""
        self.lateness.add(late_ms)

    def count_hand_overs(
        self, letters: Sequence[tuple[Letter, bytes]], deliveries: Sequence[Delivery], span_ns: int
    ) -> None:
        """Count letters that went together, by what became of each.

        Args:
            span_ns: from handing them over until there was an outcome for all.
        """
        for (letter, _), delivery in zip(letters, deliveries, strict=True):
            medium, channel = Medium(letter.medium), letter.channel
            sender = channel.senders.get(medium)
            name = medium.name if sender is None else sender_name(channel.account, sender)
            outcomes = self.hand_overs.get((medium, name))
            if outcomes is None:
                name = name if len(self.hand_overs) < SENDERS_MAX else OTHER
                outcomes = self.hand_overs.setdefault((medium, name), Counter())
            outcomes[delivery.kind] += 1
            self.hand_over_spans[medium].add(span_ns / 1_000_000)
