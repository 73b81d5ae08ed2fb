"""What triggers that look beyond one event need: purchases, guards and timers.

Decides: which lines of history an event writes, when a rule on purchases may fire (D9, D12), which
timers it sets and for when (D5, D13), and whether a run is pointless because its contact has bought.
Never: fires; the store decides on guards, the engine on timers that have run out.

Source: R43, d9 of the semantics.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from core.bounds import SECOND_MS
from core.engine.identity import Identity
from core.engine.incoming import Incoming
from core.ports import Guard
from core.records import NO_KEY, ContactRecord, HistoryKind
from core.registry.resources import (
    PURCHASE_TYPES,
    UNPAID_PURCHASE_TYPES,
    Channel,
    HistoryScope,
    Rule,
)
from core.registry.rule_parts import Rearm, StopKey
from core.registry.snapshot import PURCHASES, Snapshot
from core.rules.schedule import due_ms
from core.rules.zones import clock, resolve_zone
from core.timer_records import Timer

_NEVER_QUIET_MS = 2**47
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def history_of(incoming: Incoming) -> tuple[tuple[int, bytes, int, int], ...]:
    """Return what an event adds to the history of its contact.

    An order is one purchase however often it is told; without an order, the event is.
    """
    key = incoming.order_key if incoming.order_key != NO_KEY else incoming.event_key
    if incoming.is_refund:
        kind = HistoryKind.REFUND
    elif incoming.is_purchase:
        kind = HistoryKind.PURCHASE
    else:
        return ()
    return ((int(kind), key, incoming.event.occur_ms, incoming.channel.number),)


def guards_of(asked: Sequence[tuple[Rule, int]], incoming: Incoming) -> tuple[Guard, ...]:
    """Return the guards of the rules on purchases among those that passed."""
    return tuple([_guard(rule, incoming) for rule, _ in asked if rule.purchase is not None])


def _guard(rule: Rule, incoming: Incoming) -> Guard:
    trigger = rule.purchase
    assert trigger is not None
    until_ms, channel = incoming.event.occur_ms, incoming.channel
    since_ms = 0
    if trigger.window_months:
        since_ms = months_before_ms(until_ms, trigger.window_months, channel.time_zone)
    elif trigger.window_ms:
        since_ms = until_ms - trigger.window_ms
    quiet_since_ms = {
        Rearm.NEVER: 0, Rearm.AFTER_WINDOW: since_ms, Rearm.EACH_MULTIPLE: _NEVER_QUIET_MS,
    }[trigger.rearm]  # fmt: skip
    return Guard(
        rule_number=rule.number,
        count=trigger.count,
        since_ms=max(since_ms, 0),
        until_ms=until_ms,
        channel_number=channel.number if channel.history_scope is HistoryScope.CHANNEL else 0,
        is_multiple=trigger.rearm is Rearm.EACH_MULTIPLE,
        quiet_since_ms=max(quiet_since_ms, 0),
    )


def months_before_ms(instant_ms: int, months: int, zone: str) -> int:
    """Return the same wall time that many calendar months before, in a zone (d9).

    A day that the month does not have becomes its last: 31 March less one month is 28 or 29 February.
    """
    zone_clock = clock(zone)
    wall_ms = instant_ms + zone_clock.offset_ms(instant_ms)
    seconds, rest_ms = divmod(wall_ms, SECOND_MS)
    wall = _EPOCH + timedelta(seconds=seconds)
    year, month0 = divmod(wall.year * 12 + wall.month - 1 - months, 12)
    day = min(wall.day, calendar.monthrange(year, month0 + 1)[1])
    before = wall.replace(year=year, month=month0 + 1, day=day)
    return zone_clock.instant_ms(int(before.timestamp()) * SECOND_MS + rest_ms)


def has_bought(rule: Rule, channel: Channel, record: ContactRecord | None, time_ms: int) -> bool:
    """Return whether a contact has bought since the event that a run of the rule begins with, and that
    ends it: also if the purchase was told before what it followed.

    A cart is not left behind by a purchase of the same instant; a customer who stays away is timed by
    one.

    Args:
        channel: of the run.
        record: of the contact.
        time_ms: when the event occurred.
    """
    ends = {stop.event_type for stop in rule.stops if stop.key is StopKey.CONTACT}
    is_about_purchases = rule.dormant is not None and not rule.dormant.event_type
    if record is None or not (
        is_about_purchases or ends & (PURCHASE_TYPES | UNPAID_PURCHASE_TYPES)
    ):
        return False
    since_ms = time_ms - 1 if rule.debounce is not None else time_ms
    is_apart = channel.history_scope is HistoryScope.CHANNEL
    return any(
        line.kind == HistoryKind.PURCHASE
        and line.time_ms > since_ms
        and not (is_apart and line.channel_number != channel.number)
        for line in record.history
    )


def timers_of(snapshot: Snapshot, incoming: Incoming, identity: Identity) -> tuple[Timer, ...]:
    """Return the timers that an event sets or moves: those of dormant and debounce rules."""
    channel = incoming.event.channel
    rules = snapshot.timer_rules(channel, incoming.event.type)
    if incoming.is_purchase:
        rules += snapshot.timer_rules(channel, PURCHASES)
    if not rules:
        return ()
    return tuple(_timer(snapshot, rule, incoming, identity) for rule in rules)


def _timer(snapshot: Snapshot, rule: Rule, incoming: Incoming, identity: Identity) -> Timer:
    event, key = incoming.event, NO_KEY
    if rule.debounce is not None:
        key = incoming.cart_key(identity)
        if key == NO_KEY:
            key = incoming.order_key
        run_out_ms = event.occur_ms + rule.debounce.quiet_ms
    else:
        assert rule.dormant is not None
        contact = event.contact
        zone, _ = resolve_zone(contact.time_zone, contact.country, incoming.channel.time_zone)
        run_out_ms = due_ms(rule.dormant.after, event.occur_ms, zone)
    return Timer(
        id=identity.timer_id(rule.number, key, incoming.channel.number),
        rule_number=rule.number,
        key=key,
        due_ms=run_out_ms,
        time_ms=event.occur_ms,
        revision=snapshot.revision,
        body=incoming.body,
    )
