"""What Prometheus sees: the plain integers of the engine and the store's counters, by their names.

Decides: names, labels and units of metrics. Milliseconds inside, seconds outside, converted here only.
Never: counts anything itself. No label has values that clients choose, but for the channels whose
complaint breaker has tripped, and senders; of both a bounded number. What each metric means to an
operator is told in `docs/METRICS.md`, which a test holds to what is scraped.

The store's counters survive restarts; those of the process begin at 0 with it, as counters may.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from core.contact_ports import FeedbackKind
from core.engine.places import SenderState
from core.errors import StoreUnavailable
from core.gate import Lane
from core.model import Disposition, Medium, Reason, State, WaitReason
from core.ports import Counters, Durability, Store
from core.registry.breakers import Breaker
from core.sending import Delivery
from core.stats import Histogram, Stats

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
STORE_ANSWER_S = 5
BREAKERS_MAX = 50
"""Complaint breakers that are told: what holds back now first, then the newest."""
SENDERS_MAX = 50
"""Senders that are told: those with the longest line first."""

_COUNTERS = {
    "events_received": "Events that came in, refused ones included.",
    "events_refused": "Events that were refused.",
    "events_duplicate": "Events that had been published before.",
    "invitations_planned": "Invitations created by events.",
    "invitations_stopped": "Waiting invitations that an event ended.",
    "claims": "Claim calls.",
    "claimed": "Invitations taken to be sent.",
    "condition_errors": "Conditions of rules that ended in an error and were taken for false.",
    "turned_away": "Looks at due invitations whose sender had no place or no token.",
    "timers_fired": "Timers that ran out and started something: carts, dormant customers.",
    "ended_at_gate": "Invitations that a gate ended.",
    "gone": "Due entries that had ended otherwise.",
    "sent": "Invitations that a transport took.",
    "retried": "Hand-overs put off to be tried again.",
    "settled_too_late": "Outcomes that came after their claim had been taken back.",
    "reclaimed": "Claims taken back after their lease.",
    "leases_lost": "Partitions lost to another daemon.",
    "store_errors": "Store operations without an answer.",
    "round_errors": "Rounds that failed.",
    "unsubscribe_tokens_refused": "Links to unsubscribe or confirm that were not made here.",
    "review_clicks": "Clicks on review links that were noted.",
    "review_tokens_refused": "Review links that were not made here.",
    "consents_confirmed": "Consents confirmed by their link, repeated ones too.",
}


class Metrics(Collector):
    """Reads a daemon's numbers when asked.

    Args:
        restarts: how often the embedded server was started again.
        breakers: the complaint breakers that ever tripped.
        senders: how the senders stand, those with the longest line first.
    """

    def __init__(
        self, stats: Stats, store: Store, version: str, restarts: Callable[[], int],
        breakers: Callable[[], Sequence[Breaker]],
        senders: Callable[[], Sequence[SenderState]] = tuple,
    ) -> None:  # fmt: skip
        self._stats = stats
        self._store = store
        self._version = version
        self._restarts = restarts
        self._breakers = breakers
        self._senders = senders
        self._counters: list[Counters] = []
        self._lanes: Counter[int] = Counter()
        self._is_store_up = False
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    async def scrape(self) -> bytes:
        """Return everything in the text format. What the store said last is told while it is away."""
        try:
            async with asyncio.timeout(STORE_ANSWER_S):
                every = range(self._store.meta.partition_count)
                found = await self._store.counters(every)
                sizes = await self._store.lane_sizes(every)
            self._counters = list(found.values())
            self._lanes = sum((Counter(each) for each in sizes.values()), Counter())
            self._is_store_up = True
        except (StoreUnavailable, TimeoutError):
            self._is_store_up = False
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield self._info()
        yield from self._law()
        yield from self._process()
        yield from self._waits()
        yield from self._hand_overs()
        yield self._lateness()
        yield from self._lines()

    def _waits(self) -> Iterator[Metric]:
        """Yield what waits longer than planned, and where it is indexed."""
        deferred = CounterMetricFamily(
            "afterword_deferred",
            "How often due invitations were put off or parked, by why they wait.",
            labels=["reason"],
        )
        for reason in WaitReason:
            if reason:
                deferred.add_metric([reason.name.lower()], self._stats.deferred[reason])
        yield deferred
        entries = GaugeMetricFamily(
            "afterword_lane_entries",
            "Entries of the store's indexes of what waits, those included that have ended since.",
            labels=["lane"],
        )
        for lane in Lane:
            if lane != Lane.FAR:
                entries.add_metric([lane.name.lower()], self._lanes[lane])
        yield entries

    def _hand_overs(self) -> Iterator[Metric]:
        """Yield what senders said of messages, and how long that took."""
        outcomes = CounterMetricFamily(
            "afterword_hand_overs",
            "Messages handed over to a sender, by what became of it.",
            labels=["medium", "sender", "outcome"],
        )
        for (medium, sender), counts in sorted(self._stats.hand_overs.items()):
            for kind in Delivery.Kind:
                labels = [Medium(medium).name.lower(), sender, kind.name.lower()]
                outcomes.add_metric(labels, counts[kind])
        yield outcomes
        spans = HistogramMetricFamily(
            "afterword_hand_over_seconds",
            "From handing messages over until there was an outcome for all that went together.",
            labels=["medium"],
        )
        for medium, told in sorted(self._stats.hand_over_spans.items()):
            _add(spans, [Medium(medium).name.lower()], told)
        yield spans

    def _lines(self) -> Iterator[Metric]:
        """Yield what waits at senders, without being claimed."""
        waiting = GaugeMetricFamily(
            "afterword_sender_waiting",
            "Due invitations in line at a sender that has no place for them yet.",
            labels=["sender"],
        )
        room = GaugeMetricFamily(
            "afterword_sender_room",
            "Messages that a sender takes now; 0 while it is full, out of tokens, resting or down.",
            labels=["sender"],
        )
        for state in self._senders()[:SENDERS_MAX]:
            waiting.add_metric([state.name], state.waiting)
            room.add_metric([state.name], state.room)
        yield waiting
        yield room

    def _info(self) -> Metric:
        labels = {
            "version": self._version,
            "durability": Durability(self._store.durability).name.lower(),
            "partitions": str(self._store.meta.partition_count),
        }
        family = GaugeMetricFamily("afterword_build_info", "What runs here.", labels=list(labels))
        family.add_metric(list(labels.values()), 1)
        return family

    def _law(self) -> Iterator[Metric]:
        """Yield the conservation law (R6) and the events behind it."""
        held = self._counters
        yield CounterMetricFamily(
            "afterword_store_invitations_planned",
            "Invitations ever created.",
            value=sum(one.planned for one in held),
        )
        pending = GaugeMetricFamily(
            "afterword_invitations_pending", "Invitations that have not ended.", labels=["state"]
        )
        pending.add_metric(["scheduled"], sum(one.scheduled for one in held))
        pending.add_metric(["in_flight"], sum(one.in_flight for one in held))
        yield pending
        ended = CounterMetricFamily(
            "afterword_invitations_ended",
            "Invitations that have ended.",
            labels=["state", "reason"],
        )
        ends: Counter[tuple[int, int]] = Counter()
        events: Counter[int] = Counter()
        for one in held:
            ends.update(one.ended)
            events.update(one.events)
        for (state, reason), count in sorted(ends.items()):
            ended.add_metric([State(state).name.lower(), Reason(reason).name.lower()], count)
        yield ended
        yield GaugeMetricFamily(
            "afterword_invitations_imbalance",
            "Planned minus pending minus ended, over all partitions: not 0 means a bug or a loss.",
            value=sum(abs(one.imbalance) for one in held),
        )
        taken = CounterMetricFamily(
            "afterword_store_events",
            "Events applied, by what became of them.",
            labels=["disposition"],
        )
        for disposition, count in sorted(events.items()):
            taken.add_metric([Disposition(disposition).name.lower()], count)
        yield taken
        yield GaugeMetricFamily(
            "afterword_store_up", "1 if the store answered.", value=int(self._is_store_up)
        )

    def _process(self) -> Iterator[Metric]:
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"afterword_{name}", text, value=getattr(self._stats, name))
        yield GaugeMetricFamily(
            "afterword_wheel_entries",
            "Invitations of the near horizon in memory.",
            value=self._stats.wheel_entries,
        )
        yield from self._complaints()
        unsubscribes = CounterMetricFamily(
            "afterword_unsubscribes",
            "Contacts' own withdrawals, repeated ones too.",
            labels=["way"],
        )
        unsubscribes.add_metric(["one_click"], self._stats.unsubscribes_one_click)
        unsubscribes.add_metric(["page"], self._stats.unsubscribes_page)
        yield unsubscribes
        yield CounterMetricFamily(
            "afterword_embedded_server_restarts",
            "How often the embedded server was started again.",
            value=self._restarts(),
        )

    def _complaints(self) -> Iterator[Metric]:
        """Yield what was heard of messages, and what complaints hold back."""
        feedback = CounterMetricFamily(
            "afterword_feedback",
            "Feedback about sent messages, what was told again left out.",
            labels=["kind"],
        )
        for kind in FeedbackKind:
            if kind:
                feedback.add_metric([kind.name.lower()], self._stats.feedback[kind])
        yield feedback
        hooks = CounterMetricFamily(
            "afterword_hook_items",
            "What providers told by hooks, and whole calls that were refused.",
            labels=["form", "outcome"],
        )
        for (form, outcome), count in sorted(self._stats.hook_items.items()):
            hooks.add_metric([form, outcome], count)
        yield hooks
        yield CounterMetricFamily(
            "afterword_complaint_breaker_trips",
            "How often complaints were too many and a channel's medium was held back.",
            value=self._stats.breaker_trips,
        )
        breakers = GaugeMetricFamily(
            "afterword_complaint_breaker_open",
            "1 while complaints hold back a channel's medium; only those that ever were.",
            labels=["account", "channel", "medium"],
        )
        known = sorted(self._breakers(), key=lambda one: (one.is_open, one.trip_ms), reverse=True)
        for each in known[:BREAKERS_MAX]:
            labels = [each.account, each.channel, Medium(each.medium).name.lower()]
            breakers.add_metric(labels, int(each.is_open))
        yield breakers

    def _lateness(self) -> Metric:
        """Return how late claims were: the lag."""
        family = HistogramMetricFamily(
            "afterword_dispatch_lag_seconds", "From due to claimed, of each invitation claimed."
        )
        _add(family, [], self._stats.lateness)
        return family


def _add(family: HistogramMetricFamily, labels: Sequence[str], told: Histogram) -> None:
    """Add one series to a histogram."""
    buckets, total = [], 0
    for bound_ms, count in zip((*told.bounds_ms, None), told.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound_ms is None else str(bound_ms / 1_000), float(total)))
    family.add_metric(labels, buckets, sum_value=told.sum_ms / 1_000)
