"""Waits between protobuf and the registry.

Decides: how long a wait may be, from where it may count, and which of its fields go together.
Never: when something is due (`core/rules`).
"""

from __future__ import annotations

from afterword.v1 import rule_service_pb2 as pb2
from control.conversion import checks, times
from core import bounds
from core.errors import InvalidField, OutOfRange
from core.registry.rule_parts import IfPassed, Wait, WaitBase

WAIT_DAYS_MAX = bounds.WAIT_MAX_MS // bounds.DAY_MS
DORMANT_MAX_MS = 730 * bounds.DAY_MS
SPAN_DAYS_MAX = 30

_BASES = {
    WaitBase.EVENT: "BASE_EVENT",
    WaitBase.PREVIOUS_STEP_SENT: "BASE_PREVIOUS_STEP_SENT",
    WaitBase.ACTIVATION_DATE: "BASE_ACTIVATION_DATE",
}


def step_wait(pb: pb2.Wait, index: int, field: str, *, is_review: bool) -> Wait:
    """Return when a step is due.

    Args:
        index: position of the step in its rule.
    """
    return _read(pb, field, _base(pb, index, field, is_review=is_review), 0, bounds.WAIT_MAX_MS)


def replacing_wait(pb: pb2.Wait, step: Wait, field: str) -> Wait:
    """Return a wait that takes the place of a step's: it counts from where that does."""
    if pb.base not in (0, step.base):
        raise InvalidField(
            f"{field}.base must be that of the step's wait, {_BASES[step.base]}; leave it out",
            field=f"{field}.base",
        )
    return _read(pb, field, step.base, 0, bounds.WAIT_MAX_MS)


def dormancy(pb: pb2.Wait, field: str) -> Wait:
    """Return after how long without an event a contact counts as dormant."""
    if pb.base:
        raise InvalidField(
            f"{field}.base must be left out: it counts from the last event", field=f"{field}.base"
        )
    return _read(pb, field, WaitBase.EVENT, bounds.MINUTE_MS, DORMANT_MAX_MS)


def _read(pb: pb2.Wait, field: str, base: WaitBase, least_ms: int, most_ms: int) -> Wait:
    length = pb.WhichOneof("length")
    if length is None:
        checks.missing(field, "`elapsed` or `days` says how long")
    elapsed_ms = days = None
    if length == "elapsed":
        least = "1 minute" if least_ms else "0"
        elapsed_ms = times.span_ms(
            pb.elapsed, f"{field}.elapsed", least_ms, most_ms,
            f"{least} to {most_ms // bounds.DAY_MS} days",
        )  # fmt: skip
    else:
        days = pb.days
        least_days, most_days = (1 if least_ms else 0), most_ms // bounds.DAY_MS
        if not least_days <= days <= most_days:
            raise OutOfRange(
                f"{field}.days must be {least_days} to {most_days}", field=f"{field}.days"
            )
    time_of_day_ms = None
    if pb.HasField("time_of_day"):
        if days is None:
            raise InvalidField(
                f"{field}.time_of_day goes with `days` only: an elapsed time is exact",
                field=f"{field}.time_of_day",
            )
        time_of_day_ms = times.time_of_day_ms(pb.time_of_day, f"{field}.time_of_day")
    checks.choice(pb.if_passed, f"{field}.if_passed", pb2.Wait.IfPassed)
    return Wait(
        elapsed_ms=elapsed_ms,
        days=days,
        time_of_day_ms=time_of_day_ms,
        span_ms=_span_ms(pb, field),
        base=base,
        if_passed=IfPassed(pb.if_passed or IfPassed.NEXT_DAY),
        span_days=_span_days(pb, field),
    )


def _span_ms(pb: pb2.Wait, field: str) -> int:
    if not pb.HasField("span"):
        return 0
    span_ms = times.span_ms(
        pb.span, f"{field}.span", 0, bounds.DAY_MS - 1, "0 to less than 24 hours"
    )
    if span_ms and not pb.HasField("time_of_day"):
        raise InvalidField(f"{field}.span goes with `time_of_day` only", field=f"{field}.span")
    return span_ms


def _span_days(pb: pb2.Wait, field: str) -> int:
    if not 0 <= pb.span_days <= SPAN_DAYS_MAX:
        raise OutOfRange(
            f"{field}.span_days must be 0 to {SPAN_DAYS_MAX}", field=f"{field}.span_days"
        )
    if pb.span_days and not pb.HasField("time_of_day"):
        raise InvalidField(
            f"{field}.span_days goes with `time_of_day` only", field=f"{field}.span_days"
        )
    return pb.span_days


def _base(pb: pb2.Wait, index: int, field: str, *, is_review: bool) -> WaitBase:
    base = checks.choice(pb.base, f"{field}.base", pb2.Wait.Base)
    if not base:
        return WaitBase.PREVIOUS_STEP_SENT if index else WaitBase.EVENT
    if base == WaitBase.PREVIOUS_STEP_SENT and not index:
        raise InvalidField(
            f"{field}.base of the first step must be BASE_EVENT or BASE_ACTIVATION_DATE: there is no "
            "step before it",
            field=f"{field}.base",
        )
    if base == WaitBase.ACTIVATION_DATE and is_review:
        raise InvalidField(
            f"{field}.base in a review family must not be BASE_ACTIVATION_DATE: there "
            "`channel.use_activation_date` decides; write BASE_EVENT",
            field=f"{field}.base",
        )
    return WaitBase(base)


def wait_to_proto(wait: Wait, *, has_base: bool = True) -> pb2.Wait:
    """Return a wait as clients see it."""
    pb = pb2.Wait(
        base=pb2.Wait.Base.ValueType(wait.base if has_base else 0),
        if_passed=pb2.Wait.IfPassed.ValueType(wait.if_passed),
        span_days=wait.span_days,
    )
    if wait.days is not None:
        pb.days = wait.days
    else:
        pb.elapsed.CopyFrom(times.duration(wait.elapsed_ms or 0))
    if wait.time_of_day_ms is not None:
        pb.time_of_day.CopyFrom(times.time_of_day(wait.time_of_day_ms))
    if wait.span_ms:
        pb.span.CopyFrom(times.duration(wait.span_ms))
    return pb
