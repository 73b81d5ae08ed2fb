"""What sets a rule off and what ends it, between protobuf and the registry.

Decides: which triggers a family may have (R21), and the bounds of each.
Never: when a trigger fires (`core/rules`, `core/engine`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from afterword.v1 import rule_service_pb2 as pb2
from control.conversion import checks, times, waits
from control.conversion.frame import Frame
from core import bounds
from core.errors import InvalidField, OutOfRange
from core.registry.resources import (
    DEFAULT_REVIEW_STOPS,
    PURCHASE_TYPES,
    UNPAID_PURCHASE_TYPES,
    Rule,
)
from core.registry.rule_parts import (
    DebounceTrigger,
    DormantTrigger,
    PurchaseTrigger,
    Rearm,
    StopEvent,
    StopKey,
)

COUNT_MAX = 100
MONTHS_MAX = 24
WINDOW_MAX_MS = 730 * bounds.DAY_MS
QUIET_MAX_MS = 30 * bounds.DAY_MS
STOP_TYPES_MAX = 64

PURCHASES = PURCHASE_TYPES | UNPAID_PURCHASE_TYPES
"""Event types that may be a purchase."""

_EVENT_TYPE = 'the id of an event type, for example "checkout"'


class Trigger(msgspec.Struct):
    """What sets a rule off: one of these."""

    event_type: str = ""
    purchase: PurchaseTrigger | None = None
    dormant: DormantTrigger | None = None
    debounce: DebounceTrigger | None = None


def trigger_from_proto(pb: pb2.Trigger, frame: Frame) -> Trigger:
    """Return what sets a rule off."""
    kind = pb.WhichOneof("kind")
    if kind in (None, "event_type"):
        if not pb.event_type:
            checks.missing("rule.trigger.event_type", _EVENT_TYPE)
        return Trigger(event_type=pb.event_type)
    field = f"rule.trigger.{kind}"
    if frame.is_review:
        # Anything else would choose among customers, and everybody has to be asked alike (R21).
        raise InvalidField(
            f"{field} cannot set off a rule that asks for reviews: use rule.trigger.event_type",
            field=field,
        )
    if kind == "purchase":
        return Trigger(purchase=_purchase(pb.purchase, field))
    if kind == "dormant":
        if not pb.dormant.HasField("after"):
            checks.missing(f"{field}.after", "for how long, 1 minute to 730 days")
        after = waits.dormancy(pb.dormant.after, f"{field}.after")
        return Trigger(dormant=DormantTrigger(after, pb.dormant.event_type))
    if not pb.debounce.event_type:
        checks.missing(f"{field}.event_type", _EVENT_TYPE)
    if not pb.debounce.HasField("quiet_for"):
        checks.missing(f"{field}.quiet_for", "how long nothing may follow, 1 minute to 30 days")
    quiet_ms = times.span_ms(
        pb.debounce.quiet_for, f"{field}.quiet_for", bounds.MINUTE_MS, QUIET_MAX_MS,
        "1 minute to 30 days",
    )  # fmt: skip
    return Trigger(debounce=DebounceTrigger(pb.debounce.event_type, quiet_ms))


def _purchase(pb: pb2.Trigger.Purchase, field: str) -> PurchaseTrigger:
    if not 1 <= pb.count <= COUNT_MAX:
        raise OutOfRange(f"{field}.count must be 1 to {COUNT_MAX}", field=f"{field}.count")
    window = pb.WhichOneof("window")
    months = window_ms = 0
    if window == "months":
        months = pb.months
        if not 1 <= months <= MONTHS_MAX:
            raise OutOfRange(
                f"{field}.months must be 1 to {MONTHS_MAX}; leave it out for all purchases ever",
                field=f"{field}.months",
            )
    elif window == "duration":
        window_ms = times.span_ms(
            pb.duration, f"{field}.duration", bounds.MINUTE_MS, WINDOW_MAX_MS,
            "1 minute to 730 days; leave it out for all purchases ever",
        )  # fmt: skip
    rearm = checks.choice(pb.rearm, f"{field}.rearm", pb2.Trigger.Purchase.Rearm)
    if rearm == Rearm.AFTER_WINDOW and window is None:
        raise InvalidField(
            f"{field}.rearm REARM_AFTER_WINDOW needs `months` or `duration`; without a window it is "
            "REARM_NEVER or REARM_EACH_MULTIPLE",
            field=f"{field}.rearm",
        )
    default = Rearm.NEVER if window is None else Rearm.AFTER_WINDOW
    return PurchaseTrigger(pb.count, months, window_ms, Rearm(rearm or default))


def trigger_to_proto(rule: Rule) -> pb2.Trigger:
    """Return what sets a rule off, as clients see it."""
    pb = pb2.Trigger()
    if rule.purchase is not None:
        pb.purchase.count = rule.purchase.count
        pb.purchase.rearm = pb2.Trigger.Purchase.Rearm.ValueType(rule.purchase.rearm)
        if rule.purchase.window_months:
            pb.purchase.months = rule.purchase.window_months
        elif rule.purchase.window_ms:
            pb.purchase.duration.CopyFrom(times.duration(rule.purchase.window_ms))
    elif rule.dormant is not None:
        pb.dormant.event_type = rule.dormant.event_type
        pb.dormant.after.CopyFrom(waits.wait_to_proto(rule.dormant.after, has_base=False))
    elif rule.debounce is not None:
        pb.debounce.event_type = rule.debounce.event_type
        pb.debounce.quiet_for.CopyFrom(times.duration(rule.debounce.quiet_ms))
    else:
        pb.event_type = rule.event_type
    return pb


def event_types(rule: Rule) -> frozenset[str]:
    """Return the event types that set a rule off, or its timer."""
    if rule.debounce is not None:
        return frozenset({rule.debounce.event_type})
    if rule.dormant is not None and rule.dormant.event_type:
        return frozenset({rule.dormant.event_type})
    if rule.dormant is not None or rule.purchase is not None:
        return PURCHASES
    return frozenset({rule.event_type})


# --- stops --------------------------------------------------------------------------------------


def stops_from_proto(pb: pb2.Rule, frame: Frame) -> tuple[list[str], list[StopEvent]]:
    """Return (event types that stop by order, those that stop by another key)."""
    if not pb.HasField("stop_when"):
        return (list(DEFAULT_REVIEW_STOPS) if frame.is_review else []), []
    field = "rule.stop_when"
    by_order = list(dict.fromkeys(pb.stop_when.event_types))
    checks.count(len(by_order), f"{field}.event_types", STOP_TYPES_MAX)
    for index, event_type in enumerate(by_order):
        if not event_type:
            checks.missing(f"{field}.event_types[{index}]", _EVENT_TYPE)
    return by_order, _stops(pb.stop_when.stops, f"{field}.stops")


def _stops(found: Sequence[pb2.StopWhen.Stop], field: str) -> list[StopEvent]:
    checks.count(len(found), field, STOP_TYPES_MAX)
    stops: list[StopEvent] = []
    for index, pb in enumerate(found):
        if not pb.event_type:
            checks.missing(f"{field}[{index}].event_type", _EVENT_TYPE)
        key = checks.choice(pb.key, f"{field}[{index}].key", pb2.StopWhen.Key)
        stops.append(StopEvent(pb.event_type, StopKey(key or StopKey.ORDER)))
    return list(dict.fromkeys(stops))


def stops_to_proto(rule: Rule) -> pb2.StopWhen:
    """Return what ends a rule, as clients see it."""
    return pb2.StopWhen(
        event_types=rule.stop_when,
        stops=[
            pb2.StopWhen.Stop(event_type=stop.event_type, key=pb2.StopWhen.Key.ValueType(stop.key))
            for stop in rule.stops
        ],
    )


def warnings(trigger: Trigger, stops: Sequence[StopEvent]) -> list[str]:
    """Return what a trigger lacks: mails about a cart must not follow a purchase."""
    if trigger.debounce is None and trigger.dormant is None:
        return []
    # What waits knows its cart and contact, hardly ever the order of a purchase that is to come.
    if any(stop.event_type in PURCHASES and stop.key != StopKey.ORDER for stop in stops):
        return []
    return [
        "no purchase ends what waits: whoever buys meanwhile is written to all the same; add "
        "order_created and payment_received with KEY_CONTACT to stop_when.stops"
    ]
