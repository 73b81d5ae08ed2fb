"""The event types that a rule names: what sets it off, and what ends what waits under it.

Decides: with which reason an event type ends an invitation, and under which numbers it leaves a
tombstone on an order (R38, R39).
Never: which rules are active.
"""

from __future__ import annotations

from typing import Final

from core.model import Reason
from core.records import KIND_PRODUCT, KIND_SERVICE
from core.registry.resources import Rule
from core.registry.rule_parts import StopKey

StopRule = tuple[int, StopKey, Reason]
"""(rule number, what ties event and run, reason with which the stop ends what waits)."""

REVIEW_SUBMITTED: Final = "review_submitted"

REVIEW_KINDS_SHIFT: Final = 14
"""A tombstone of a review is numbered by event type and, in the two bits above, kind of review (R38).
Event types are numbered below these bits."""

SHARED_ORDER: Final = 2**16 - 1
"""In a tombstone, no event type and no end: other contacts of the order were told of an event of this
one, so whoever erases it must look there (R22)."""

_STOP_REASONS: Final = {
    "order_cancelled": Reason.ORDER_CANCELLED,
    "return": Reason.RETURNED,
    "review_submitted": Reason.REVIEWED,
    "checkout": Reason.PURCHASED,
    "order_created": Reason.PURCHASED,
    "payment_received": Reason.PURCHASED,
}


def trigger_type(rule: Rule) -> str:
    """Return the event type that sets a rule off, "" for purchases."""
    if rule.debounce is not None:
        return rule.debounce.event_type
    return rule.dormant.event_type if rule.dormant is not None else rule.event_type


def stops_of(rule: Rule) -> list[tuple[str, StopKey]]:
    """Return the event types that end what waits under a rule, with what ties them."""
    return [(stop, StopKey.ORDER) for stop in dict.fromkeys(rule.stop_when)] + [
        (stop.event_type, stop.key) for stop in rule.stops
    ]


def tombstone_numbers(event_type_number: int, event_type: str, kinds: int) -> list[int]:
    """Return the numbers under which events of a type end orders, as far as they concern `kinds`."""
    if event_type != REVIEW_SUBMITTED:
        return [event_type_number]
    return [event_type_number] + [
        event_type_number | kind << REVIEW_KINDS_SHIFT
        for kind in (KIND_SERVICE, KIND_PRODUCT)
        if kinds & kind
    ]


def stop_reason(event_type: str) -> Reason:
    """Return the reason with which a stop by this event type ends an invitation."""
    return _STOP_REASONS.get(event_type, Reason.ORDER_CANCELLED)
