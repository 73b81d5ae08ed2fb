"""Instants and spans in conditions: reading, writing, reckoning, and what a calendar says of them.

Decides: which texts are a timestamp or a duration, the ranges of both, and the parts of a date in a
zone.
Never: what time it is. A condition sees no time but that of its event.

Ranges: timestamps from year 1 to year 9999. A duration may be written up to 10,000 years, but reckoned
with only where 64 bits hold its nanoseconds, which is 292 years; beyond is an error, as in CEL.

Source: the CEL language definition; RFC 3339; google.protobuf.Duration.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any, Final

from core.rules import zones
from core.rules.cel_types import (
    NANOS_PER_MS,
    NANOS_PER_SECOND,
    Date,
    Duration,
    EvaluationError,
    Timestamp,
    no_overload,
)

_DAY_S: Final = 86_400
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_SECOND_MIN: Final = (1 - _EPOCH_DAY) * _DAY_S
_SECOND_MAX: Final = (date.max.toordinal() + 1 - _EPOCH_DAY) * _DAY_S - 1
_SPAN_MAX: Final = 315_576_000_000 * NANOS_PER_SECOND
_RECKONED_MAX: Final = 2**63 - 1

_TIMESTAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9})\d*)?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_UNITS: Final = {
    "h": 3_600 * NANOS_PER_SECOND,
    "m": 60 * NANOS_PER_SECOND,
    "s": NANOS_PER_SECOND,
    "ms": NANOS_PER_MS,
    "us": 1_000,
    "ns": 1,
}
_PART: Final = r"(\d+(?:\.\d*)?|\.\d+)(ms|us|ns|h|m|s)"
_PARTS: Final = re.compile(_PART, re.ASCII)
_DURATION: Final = re.compile(rf"([+-]?)(0|(?:{_PART})+)", re.ASCII)
_OFFSET: Final = re.compile(r"([+-]?)(\d{1,2}):(\d{1,2})", re.ASCII)

_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097
"""After so many the Gregorian calendar repeats, weekdays included."""


# --- from the event, from texts, and back -------------------------------------------------------


def time_of(instant_ms: int) -> Timestamp:
    """Return an instant of the model; 0, not told, is the default of protobuf, 1970."""
    return Timestamp(instant_ms * NANOS_PER_MS)


@lru_cache(maxsize=1_024)
def date_of(text: str) -> Date:
    """Return a civil date of the model, "YYYY-MM-DD" or ""."""
    return Date(*map(int, text.split("-"))) if text else Date()


def timestamp(value: Any) -> Timestamp:
    """Return an instant from a text (RFC 3339), from seconds since 1970, or itself."""
    if type(value) is Timestamp:
        return value
    if type(value) is int:
        return _instant(value * NANOS_PER_SECOND)
    if type(value) is not str:
        raise no_overload("timestamp", value)
    found = _TIMESTAMP.fullmatch(value)
    if found is None:
        raise EvaluationError(f"no timestamp: {value!r:.80}; write 2024-05-01T10:00:00Z")
    year, month, day, hour, minute, second, fraction, sign, *offset = found.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        raise EvaluationError(f"timestamp out of range: {value!r:.80}") from None
    seconds = days * _DAY_S + int(hour) * 3_600 + int(minute) * 60 + int(second)
    if sign:
        ahead = int(offset[0]) * 3_600 + int(offset[1]) * 60
        seconds -= -ahead if sign == "-" else ahead
    return _instant(seconds * NANOS_PER_SECOND + int((fraction or "").ljust(9, "0")))


def duration(value: Any) -> Duration:
    """Return a span from a text such as "1h30m" or "-1.5s", or itself."""
    if type(value) is Duration:
        return value
    if type(value) is not str:
        raise no_overload("duration", value)
    found = _DURATION.fullmatch(value)
    if found is None:
        raise EvaluationError(f"no duration: {value!r:.80}; write 1h30m or 90s")
    nanos = sum(_part(number, unit) for number, unit in _PARTS.findall(value))
    if nanos > _SPAN_MAX:
        raise EvaluationError(f"duration out of range: {value!r:.80}")
    return Duration(-nanos if found[1] == "-" else nanos)


def _part(number: str, unit: str) -> int:
    whole, _, fraction = number.partition(".")
    if len(whole) > 24:
        return _SPAN_MAX + 1
    nanos = int(whole or 0) * _UNITS[unit]
    digits = fraction[:24]
    return nanos + int(digits or 0) * _UNITS[unit] // int("1" + "0" * len(digits))


def timestamp_text(value: Timestamp) -> str:
    """Return an instant as RFC 3339, with as many digits as it needs, in threes."""
    seconds, nanos = divmod(value.nanos, NANOS_PER_SECOND)
    days, second = divmod(seconds, _DAY_S)
    day = date.fromordinal(days + _EPOCH_DAY)
    clock = f"{second // 3_600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{day.isoformat()}T{clock}{_fraction(nanos)}Z"


def duration_text(value: Duration) -> str:
    """Return a span in seconds."""
    seconds, nanos = divmod(abs(value.nanos), NANOS_PER_SECOND)
    return f"{'-' if value.nanos < 0 else ''}{seconds}{_fraction(nanos)}s"


def _fraction(nanos: int) -> str:
    if not nanos:
        return ""
    text = f"{nanos:09}"
    while text.endswith("000"):
        text = text[:-3]
    return f".{text}"


# --- reckoning ----------------------------------------------------------------------------------


def _instant(nanos: int) -> Timestamp:
    if _SECOND_MIN <= nanos // NANOS_PER_SECOND <= _SECOND_MAX:
        return Timestamp(nanos)
    raise EvaluationError("timestamp out of range")


def _span(nanos: int, *parts: Duration) -> Duration:
    if abs(nanos) > _RECKONED_MAX or any(abs(part.nanos) > _RECKONED_MAX for part in parts):
        raise EvaluationError("duration out of range")
    return Duration(nanos)


def later(instant: Timestamp, span: Duration) -> Timestamp:
    """Return instant + span."""
    return _instant(instant.nanos + span.nanos)


def earlier(instant: Timestamp, span: Duration) -> Timestamp:
    """Return instant - span."""
    return _instant(instant.nanos - span.nanos)


def between(end: Timestamp, start: Timestamp) -> Duration:
    """Return end - start."""
    return _span(end.nanos - start.nanos)


def longer(a: Duration, b: Duration) -> Duration:
    """Return a + b."""
    return _span(a.nanos + b.nanos, a, b)


def shorter(a: Duration, b: Duration) -> Duration:
    """Return a - b."""
    return _span(a.nanos - b.nanos, a, b)


# --- parts --------------------------------------------------------------------------------------


def _ahead_ms(instant_ms: int, zone: str) -> int:
    """Return how far a zone is ahead of UTC; it is an IANA name, or an offset such as +02:00."""
    if not zone or zone == "UTC":
        return 0
    if zones.is_zone(zone):
        # Where the zone would leave the years a datetime has, the end of those years decides.
        low, high = _SECOND_MIN + 2 * _DAY_S, _SECOND_MAX - 2 * _DAY_S
        return zones.clock(zone).offset_ms(min(max(instant_ms, low * 1_000), high * 1_000))
    found = _OFFSET.fullmatch(zone)
    if found is None or int(found[2]) > 23 or int(found[3]) > 59:
        raise EvaluationError(
            f"no time zone: {zone!r:.80}; write a name such as Europe/Warsaw, or +02:00"
        )
    ahead_ms = (int(found[2]) * 60 + int(found[3])) * 60_000
    return -ahead_ms if found[1] == "-" else ahead_ms


def _local(instant: Timestamp, zone: str) -> tuple[int, int]:
    """Return (days since 1970-01-01, ms of the day) on a zone's clock."""
    instant_ms = instant.nanos // NANOS_PER_MS
    return divmod(instant_ms + _ahead_ms(instant_ms, zone), _DAY_S * 1_000)


def _calendar(days: int) -> tuple[date, int]:
    """Return a date that the calendar shows alike, and how many years it is off."""
    ordinal = days + _EPOCH_DAY
    if ordinal < 1:
        return date.fromordinal(ordinal + _CYCLE_DAYS), -_CYCLE_YEARS
    if ordinal > date.max.toordinal():
        return date.fromordinal(ordinal - _CYCLE_DAYS), _CYCLE_YEARS
    return date.fromordinal(ordinal), 0


def _year(days: int) -> int:
    day, years = _calendar(days)
    return day.year + years


def _of_date(name: str, part: Callable[[int], int]) -> Callable[..., int]:
    def get(value: Any, zone: Any = "") -> int:
        if type(value) is not Timestamp or type(zone) is not str:
            raise no_overload(name, value)
        return part(_local(value, zone)[0])

    return get


def _of_clock(name: str, unit_ms: int, size: int) -> Callable[..., int]:
    """Return a getter: of an instant the hand of the clock, of a span the whole units in it."""

    def get(value: Any, zone: Any = None) -> int:
        if type(value) is Duration and zone is None:
            units = abs(value.nanos) // (unit_ms * NANOS_PER_MS)
            units = units % size if unit_ms == 1 else units
            return -units if value.nanos < 0 else units
        if type(value) is not Timestamp or type(zone or "") is not str:
            raise no_overload(name, value)
        return _local(value, zone or "")[1] // unit_ms % size

    return get


GETTERS: Final[dict[str, Callable[..., int]]] = {
    "getFullYear": _of_date("getFullYear", _year),
    "getMonth": _of_date("getMonth", lambda days: _calendar(days)[0].month - 1),
    "getDate": _of_date("getDate", lambda days: _calendar(days)[0].day),
    "getDayOfMonth": _of_date("getDayOfMonth", lambda days: _calendar(days)[0].day - 1),
    "getDayOfYear": _of_date(
        "getDayOfYear", lambda days: _calendar(days)[0].timetuple().tm_yday - 1
    ),
    "getDayOfWeek": _of_date("getDayOfWeek", lambda days: (days + 4) % 7),
    "getHours": _of_clock("getHours", 3_600_000, 24),
    "getMinutes": _of_clock("getMinutes", 60_000, 60),
    "getSeconds": _of_clock("getSeconds", 1_000, 60),
    "getMilliseconds": _of_clock("getMilliseconds", 1, 1_000),
}
"""The parts of an instant or a span; months and days of the month, year and week from 0, getDate
from 1."""
