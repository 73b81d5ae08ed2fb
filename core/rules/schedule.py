"""When a step is due, until when it may go, and when an event came too late for it.

Decides: the due time of one step for one event (d1, R31, R33, R35), whether a plan moved when its wait
or zone changed (d2), its expiry and lateness (R30).
Never: windows, quiet hours or caps, which look at the due time afterwards (`core.rules.hours`).

    wait             counts from                               example, base Monday 21:00
    elapsed 90 min   the base                                  Monday 22:30
    2 days           the base, 24 hours each                   Wednesday 21:00
    1 day at 06:00   the local date of the base                Tuesday 06:00 (A19)
    0 days at 06:00  the same; it has passed: next day or now  Tuesday 06:00 or Monday 21:00

A span spreads many messages that are due together; each has its place by a hash of its key (R35):

    span         span in days  1 day at 06:00 falls due
    none         0 or 1        Tuesday 06:00, all of them
    2 hours      0 or 1        Tuesday from 06:00 to before 08:00
    none         3             Tuesday, Wednesday or Thursday 06:00, a third each
    2 hours      3             on one of the three days, from 06:00 to before 08:00

An activation date (B14) is the base if it is later than the local date of the event:

    wait             event Monday 21:00, activation date the Friday after
    1 day at 06:00   Saturday 06:00
    1 day            Saturday 00:00, 24 hours after the Friday began

Units: `*_ms` epoch milliseconds or spans in ms.

Invariants:
1. No due time lies before its base.
2. The same arguments give the same due time, in every process and after every restart.
3. With a time of day, the clock of the zone shows time of day plus offset when the step falls due,
   unless a gap skips that time or the wait says NOW.
4. A plan that was moved is not moved again until its wait, zone or base changes once more.

Source: d1 and d2 of the semantics; the split between 24-hour days and calendar days is theirs.
"""

from __future__ import annotations

from datetime import date
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from core.bounds import DAY_MS, LATE_EVENT_MS
from core.model import REVIEW_FAMILIES
from core.registry.resources import Rule
from core.registry.rule_parts import IfPassed, Wait
from core.rules.zones import Clock, clock

EXPIRE_AFTER_REVIEW_MS = 30 * DAY_MS
EXPIRE_AFTER_FOLLOW_UP_MS = 7 * DAY_MS
EXPIRE_AFTER_OTHER_MS = 3 * DAY_MS
"""How long after its first due an invitation may still go, where the rule does not say (R30)."""

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def due_ms(
    wait: Wait, base_ms: int, zone: str, spread_key: bytes = b"", activation_date: str = ""
) -> int:
    """Return when a step is due.

    Args:
        wait: the wait of the step; its own base says what `base_ms` must be.
        base_ms: epoch ms; when the event occurred, or when the step before was really sent (B18).
        zone: IANA key of the resolved zone.
        spread_key: names the message; decides its place in the span, the same every time.
        activation_date: civil date "YYYY-MM-DD" from which to count if it is later than the local
            date of the base (R31), or "".

    Returns:
        Epoch ms, never before `base_ms`.

    Raises:
        InvalidField: the zone does not exist.
        ValueError: `activation_date` is no date.

    Cost: 0.2 us elapsed, 0.8 us calendar, 1.6 us with a span or an activation date, on days the zone's
    clock knows; 1 to 20 us more the first time.
    """
    if activation_date:
        day = day_of(activation_date)
        zone_clock = clock(zone)
        if day > zone_clock.local_day(base_ms):
            return _from_day(wait, day, base_ms, zone_clock, spread_key)
    if wait.time_of_day_ms is not None:
        zone_clock = clock(zone)
        return _calendar_ms(wait, zone_clock.local_day(base_ms), base_ms, zone_clock, spread_key)
    return base_ms + elapsed_ms(wait)


def _from_day(wait: Wait, day: int, base_ms: int, zone_clock: Clock, spread_key: bytes) -> int:
    # The first midnight of two may lie before the base, where the clock goes back over it.
    start_ms = max(base_ms, zone_clock.instant_ms(day * DAY_MS))
    if wait.time_of_day_ms is not None:
        return _calendar_ms(wait, day, start_ms, zone_clock, spread_key)
    return start_ms + elapsed_ms(wait)


def _calendar_ms(
    wait: Wait, base_day: int, base_ms: int, zone_clock: Clock, spread_key: bytes
) -> int:
    """Count calendar days, then take the wall time; if that has passed, what `if_passed` says.

    The place in the span is added to the wall time, so that a span promises wall times too.
    """
    assert wait.time_of_day_ms is not None, "a calendar wait has a time of day"
    wall_ms = (base_day + (wait.days or 0)) * DAY_MS + wait.time_of_day_ms
    if wait.span_days > 1:
        wall_ms += _spread_over_days_ms(wait, spread_key)
    elif wait.span_ms:
        wall_ms += spread_ms(spread_key, wait.span_ms)
    result_ms = zone_clock.instant_ms(wall_ms)
    while result_ms < base_ms:
        if wait.if_passed is IfPassed.NOW:
            return base_ms
        # Once, as a rule; twice at most, where the clock went back over midnight.
        wall_ms += DAY_MS
        result_ms = zone_clock.instant_ms(wall_ms)
    return result_ms


def elapsed_ms(wait: Wait) -> int:
    """Return the length of a wait without time of day, a span: days count 24 hours each (d1.2)."""
    if wait.elapsed_ms is not None:
        return wait.elapsed_ms
    assert wait.days is not None, "a wait has a length"
    return wait.days * DAY_MS


def spread_ms(spread_key: bytes, span_ms: int) -> int:
    """Return the place of a message in its span, in [0, span_ms), even over all keys (R35)."""
    return int.from_bytes(blake2b(spread_key, digest_size=8).digest()) % span_ms


def _spread_over_days_ms(wait: Wait, spread_key: bytes) -> int:
    """Return whole days plus a place in the span of the day; all pairs of the two are alike (R35).

    One number is drawn and split: two drawn apart from one hash would go together.
    """
    span_ms = wait.span_ms or 1
    day, offset_ms = divmod(spread_ms(spread_key, wait.span_days * span_ms), span_ms)
    return day * DAY_MS + offset_ms


def day_of(civil_date: str) -> int:
    """Return the day number, since 1970-01-01, of a date "YYYY-MM-DD". Raises ValueError."""
    return date.fromisoformat(civil_date).toordinal() - _EPOCH_ORDINAL


def follow_up_wait(wait: Wait, first: Wait) -> Wait:
    """Return the wait of a step that follows another, completed from the first step's (R33).

    Days without a time of day of their own go out at the first step's time of day, and at its span
    unless they have one; an elapsed wait stays exact. With the send as `base_ms`, `due_ms` then counts
    B18's calendar days.
    """
    if wait.days is None or wait.time_of_day_ms is not None or first.time_of_day_ms is None:
        return wait
    spread = wait if wait.span_ms or wait.span_days else first
    return msgspec.structs.replace(
        wait, time_of_day_ms=first.time_of_day_ms, span_ms=spread.span_ms,
        span_days=spread.span_days,
    )  # fmt: skip


class Moved(NamedTuple):
    """Where a plan goes whose wait, zone or base changed."""

    first_due_ms: int
    """The plan as if it had always been so; may have passed. To be stored, for the next comparison."""
    due_ms: int
    """When it falls due now: never before the time of the change."""


def moved(
    first_due_ms: int, wait: Wait, base_ms: int, zone: str, spread_key: bytes = b"",
    activation_date: str = "", *, accept_ms: int, now_ms: int,
) -> Moved | None:  # fmt: skip
    """Return where a plan goes under another wait, zone or rule of its zone, None if it stays (R40, d2).

    Args:
        first_due_ms: epoch ms; the plan as stored, by the planner or by an earlier `Moved`.
        wait: that holds now, completed by `follow_up_wait` where the step follows another.
        base_ms: epoch ms; as it was planned from.
        zone: IANA key that holds now.
        spread_key: as it was planned with.
        activation_date: as it was planned with, or "".
        accept_ms: epoch ms; when the plan was made: none is due before that.
        now_ms: epoch ms.

    Returns:
        None if the same instant comes out, however the wall time reads: instants are compared. Else
        the new plan. Called again with its `first_due_ms` and the same wait and zone, at any later
        time, this gives None: that is the guard against moving for ever. It works because the plan
        is compared with the plan, never with `due_ms`, which follows the time of asking.

    A requested send time has no wait; such a plan does not come here (R32).
    """
    planned_ms = max(due_ms(wait, base_ms, zone, spread_key, activation_date), accept_ms)
    if planned_ms == first_due_ms:
        return None
    return Moved(planned_ms, max(planned_ms, now_ms))


def expiry_ms(first_due_ms: int, rule: Rule, step_index: int) -> int:
    """Return until when an invitation may be sent: its first due plus what the rule says (R30).

    Args:
        first_due_ms: epoch ms, as planned.
        rule: its `expire_after_ms` holds for all its steps.
        step_index: position of the step in the rule; 0 is the first.
    """
    if rule.expire_after_ms is not None:
        return first_due_ms + rule.expire_after_ms
    if step_index > 0:
        return first_due_ms + EXPIRE_AFTER_FOLLOW_UP_MS
    if rule.family in REVIEW_FAMILIES:
        return first_due_ms + EXPIRE_AFTER_REVIEW_MS
    return first_due_ms + EXPIRE_AFTER_OTHER_MS


def is_late(accept_ms: int, planned_due_ms: int) -> bool:
    """Return whether an event came too late to be written about at all (R30, d1.8).

    Args:
        accept_ms: epoch ms; when the event was accepted.
        planned_due_ms: epoch ms; what `due_ms` gave.

    Returns:
        True if the due time lay more than `bounds.LATE_EVENT_MS` before the acceptance. A due time
        that passed less long ago means: due now.
    """
    return accept_ms - planned_due_ms > LATE_EVENT_MS
