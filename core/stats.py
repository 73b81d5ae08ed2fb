"""What the daemon counts about itself: plain integers, read by whoever exports them.

Never: what must survive a restart; that is counted in the store, in the scripts (R6).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

LATENESS_BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 30_000, 300_000, 3_600_000)
"""Upper bounds of the lateness histogram."""


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
        self.deferred_by_cap = 0
        self.deferred_by_hours = 0
        self.deferred_by_volume = 0
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
        self.lateness_count = [0] * (len(LATENESS_BOUNDS_MS) + 1)
        self.lateness_sum_ms = 0

    def count_lateness(self, late_ms: int) -> None:
        """Count one claim that came `late_ms` after its due time."""
        self.lateness_count[bisect_left(LATENESS_BOUNDS_MS, late_ms)] += 1
        self.lateness_sum_ms += late_ms
