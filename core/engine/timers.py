"""Timers that have run out, and what they start (R7).

Decides: whether a timer that ran out still means something: its rule is active, was not stopped since,
and nobody bought in between (D5, D13).
Never: a gate for messages; what a timer starts goes through all of them when it is due.

A timer that has moved is looked at again at its new time. Firing is a commit under a key made of the
timer and its time, so it happens once however often it is tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.clock import Clock
from core.engine.horizon import Horizon, Where
from core.engine.identity import Identity
from core.engine.incoming import Incoming
from core.engine.planner import Planner
from core.engine.plans import Case
from core.engine.triggers import has_bought
from core.gate import Lane, Source
from core.model import ActivationState, Disposition, Event
from core.ports import Commit, OrderAnswer, Store
from core.records import ContactRecord
from core.registry.registry import Registry
from core.registry.resources import Rule
from core.registry.rule_events import trigger_type
from core.registry.snapshot import Snapshot
from core.stats import Stats
from core.timer_records import Timer

TIMERS = Source(Lane.TIMERS)

_event = msgspec.msgpack.Decoder(Event)
_NO_ORDER = OrderAnswer((), ())

Fired = tuple[int, bytes, Where]


class TimerRunner:
    """Fires the timers of one store."""

    def __init__(
        self, store: Store, registry: Registry, horizon: Horizon, planner: Planner,
        identity: Identity, clock: Clock, stats: Stats,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._horizon = horizon
        self._planner = planner
        self._identity = identity
        self._clock = clock
        self._stats = stats

    async def fire(self, fired: Sequence[Fired]) -> None:
        """Start what the timers among due entries stand for.

        Raises:
            StoreUnavailable: try the same entries again.
        """
        by_partition: dict[int, list[Fired]] = {}
        for entry in fired:
            by_partition.setdefault(entry[2][0], []).append(entry)
        for partition, entries in by_partition.items():
            await self._fire(partition, entries)

    async def _fire(self, partition: int, entries: Sequence[Fired]) -> None:
        keys = list(dict.fromkeys(member[:8] for _, member, _ in entries))
        held = dict(zip(keys, await self._store.timers(partition, keys), strict=True))
        records = dict(
            zip(keys, (await self._store.contacts({partition: keys}))[partition], strict=True)
        )
        now_ms = self._clock.now_ms()
        commits: list[Commit] = []
        dropped: list[bytes] = []
        for _, member, _ in entries:
            timer = next((t for t in held[member[:8]] if t.id == member[8:]), None)
            if timer is None:
                continue
            if timer.due_ms > now_ms:
                self._horizon.on_timer(partition, member, timer.due_ms)
                continue
            commit = await self._commit(member, timer, records[member[:8]], now_ms)
            if commit is None:
                dropped.append(member)
            else:
                commits.append(commit)
        if dropped:
            await self._store.drop_timers(partition, dropped)
        if commits:
            await self._start(partition, commits, now_ms)

    async def _start(self, partition: int, commits: Sequence[Commit], now_ms: int) -> None:
        answers = (await self._store.commit({partition: commits}, now_ms))[partition]
        for answer in answers:
            if answer.is_duplicate or answer.disposition == Disposition.REFUSED:
                continue
            self._stats.timers_fired += 1
            self._stats.invitations_planned += len(answer.plans)
            for plan in answer.plans:
                if plan.lane == Lane.NEAR:
                    self._horizon.on_near(partition, plan)

    async def _commit(
        self, member: bytes, timer: Timer, record: ContactRecord | None, now_ms: int
    ) -> Commit | None:
        """Return what a timer causes, None if nothing: then it goes."""
        rule = self._wanted(self._registry.snapshot, timer, record)
        if rule is None:
            # A no is final: it is said only by the newest configuration.
            await self._registry.refresh()
            rule = self._wanted(self._registry.snapshot, timer, record)
        snapshot = self._registry.snapshot
        channel = snapshot.channel_by_number.get(timer.channel_number)
        if rule is None or channel is None:
            return None
        event = _event.decode(timer.body)
        event_type = snapshot.event_type(channel.account, event.type)
        if event_type is None:
            return None
        event_key = self._identity.fired_key(member, timer.due_ms)
        order_key = self._order_key(channel.account, channel.id, event)
        incoming = Incoming(
            event, channel, event_type, event_key, member[:8], True, order_key, timer.body
        )
        case = Case(snapshot, incoming, _NO_ORDER, now_ms, timer.due_ms)
        plans = self._planner.run_plans(case, rule)
        return Commit(
            event_key=event_key,
            contact_key=member[:8],
            disposition=Disposition.PLANNED if plans else Disposition.NO_MATCH,
            body=timer.body,
            event_time_ms=event.occur_ms,
            plans=plans,
            consents=self._planner.evidence(incoming, plans, now_ms),
            fires=(timer.id, timer.due_ms),
            is_primary=False,
        )

    def _order_key(self, account: str, channel: str, event: Event) -> bytes:
        if event.order is None or not event.order.reference:
            return bytes(8)
        return self._identity.order_key(account, channel, event.order.reference)

    @staticmethod
    def _wanted(snapshot: Snapshot, timer: Timer, record: ContactRecord | None) -> Rule | None:
        """Return the timer's rule if it may start a run now."""
        rule = snapshot.rule_by_number(timer.rule_number)
        channel = snapshot.channel_by_number.get(timer.channel_number)
        if rule is None or rule.is_deleted or channel is None:
            return None
        activation = snapshot.activation(rule.account, channel.id, rule.id)
        if activation is None or activation.state is not ActivationState.ACTIVE:
            return None
        if timer.revision <= activation.stop_revision:
            return None
        if not snapshot.is_type_active(rule.account, trigger_type(rule)):
            return None
        return None if has_bought(rule, channel, record, timer.time_ms) else rule
