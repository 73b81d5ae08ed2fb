"""Purchases in memory: what counts, and whether a rule on them fires (D9, D12, R43).

Decides: that an order counts once and a refunded one not; when the count lets a rule fire.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.ports import Guard
from core.records import ContactRecord, History, HistoryKind


def note(record: ContactRecord, lines: Iterable[tuple[int, bytes, int, int]]) -> bool:
    """Write purchases and refunds; return whether a purchase is new.

    A refund takes the purchase out and keeps it out, also if it comes first.
    """
    is_new = False
    for kind, key, time_ms, channel_number in lines:
        known = {
            line.kind
            for line in record.history
            if line.key == key and line.kind != HistoryKind.FIRED
        }
        if kind == HistoryKind.REFUND:
            record.history = [
                line
                for line in record.history
                if line.kind != HistoryKind.PURCHASE or line.key != key
            ]
        if kind in known or HistoryKind.REFUND in known:
            continue
        record.history.append(History(kind, key, time_ms, channel_number))
        is_new = is_new or kind == HistoryKind.PURCHASE
    return is_new


def fires(record: ContactRecord, guard: Guard) -> bool:
    """Return whether the guard lets its rule fire now."""
    count = sum(
        line.kind == HistoryKind.PURCHASE
        and guard.since_ms < line.time_ms <= guard.until_ms
        and guard.channel_number in (0, line.channel_number)
        for line in record.history
    )
    if count != guard.count and not (guard.is_multiple and count and count % guard.count == 0):
        return False
    key = fired_key(guard.rule_number)
    return not any(
        line.kind == HistoryKind.FIRED and line.key == key and line.time_ms > guard.quiet_since_ms
        for line in record.history
    )


def closed_rules(
    record: ContactRecord, guards: Sequence[Guard], is_new_purchase: bool
) -> frozenset[int]:
    """Return the rules that do not fire, and remember those that do."""
    closed: set[int] = set()
    for guard in guards:
        if is_new_purchase and fires(record, guard):
            record.history.append(
                History(HistoryKind.FIRED, fired_key(guard.rule_number), guard.until_ms, 0)
            )
        else:
            closed.add(guard.rule_number)
    return frozenset(closed)


def fired_key(rule_number: int) -> bytes:
    """Return the key under which the firing of a rule is remembered."""
    return rule_number.to_bytes(8, "little")
