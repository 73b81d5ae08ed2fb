"""Instants, spans and civil dates between protobuf and milliseconds.

Units: epoch milliseconds and milliseconds as int inside; what is finer is cut off.
"""

from __future__ import annotations

import datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from afterword.googleapis.date_pb2 import Date
from afterword.googleapis.timeofday_pb2 import TimeOfDay
from core.bounds import DAY_MS
from core.errors import InvalidField, OutOfRange

NANOS_PER_MS = 1_000_000
NANOS_PER_SECOND = 1_000_000_000

INSTANT_MAX_MS = 253_402_300_800_000 - 1
"""The end of the year 9999, which is that of Timestamp."""


def instant_ms(time: Timestamp, field: str) -> int:
    """Return epoch milliseconds of an instant since 1970."""
    seconds, nanos = time.seconds, time.nanos
    if not 0 <= nanos < NANOS_PER_SECOND:
        raise InvalidField(f"{field}.nanos must be from 0 to 999,999,999", field=field)
    time_ms = seconds * 1_000 + nanos // NANOS_PER_MS
    if not 0 <= time_ms <= INSTANT_MAX_MS:
        raise OutOfRange(f"{field} must lie between the years 1970 and 9999", field=field)
    return time_ms


def optional_instant_ms(message: object, name: str, field: str) -> int:
    """Return epoch milliseconds of a Timestamp field, 0 if it is not set."""
    if not message.HasField(name):  # type: ignore[attr-defined]
        return 0
    return instant_ms(getattr(message, name), f"{field}.{name}")


def timestamp(time_ms: int) -> Timestamp:
    """Return an instant for the API."""
    return Timestamp(seconds=time_ms // 1_000, nanos=time_ms % 1_000 * NANOS_PER_MS)


def span_ms(duration: Duration, field: str, least_ms: int, most_ms: int, words: str) -> int:
    """Return milliseconds of a span within its bounds.

    Args:
        words: the bounds for people, "1 minute to 180 days".
    """
    seconds, nanos = duration.seconds, duration.nanos
    if abs(nanos) >= NANOS_PER_SECOND or (seconds > 0 > nanos) or (seconds < 0 < nanos):
        raise InvalidField(f"{field}.nanos must be of the sign of the seconds", field=field)
    total_nanos = seconds * NANOS_PER_SECOND + nanos
    if not least_ms * NANOS_PER_MS <= total_nanos <= most_ms * NANOS_PER_MS:
        raise OutOfRange(f"{field} must be {words}", field=field)
    return total_nanos // NANOS_PER_MS


def duration(length_ms: int) -> Duration:
    """Return a span for the API."""
    return Duration(seconds=length_ms // 1_000, nanos=length_ms % 1_000 * NANOS_PER_MS)


def civil_date(date: Date, field: str) -> str:
    """Return "YYYY-MM-DD" of a whole date."""
    try:
        return datetime.date(date.year, date.month, date.day).isoformat()
    except (ValueError, OverflowError):
        raise InvalidField(
            f"{field} must be a date with year, month and day, for example 2026-03-29", field=field
        ) from None


def date(text: str) -> Date:
    """Return a civil date "YYYY-MM-DD" for the API."""
    read = datetime.date.fromisoformat(text)
    return Date(year=read.year, month=read.month, day=read.day)


def time_of_day_ms(time: TimeOfDay, field: str) -> int:
    """Return milliseconds since midnight of a wall time before 24:00."""
    hours, minutes, seconds, nanos = time.hours, time.minutes, time.seconds, time.nanos
    if not (
        0 <= hours < 24
        and 0 <= minutes < 60
        and 0 <= seconds < 60
        and 0 <= nanos < NANOS_PER_SECOND
    ):
        raise OutOfRange(f"{field} must lie between 00:00:00 and 23:59:59", field=field)
    wall_ms = ((hours * 60 + minutes) * 60 + seconds) * 1_000 + nanos // NANOS_PER_MS
    assert wall_ms < DAY_MS
    return wall_ms


def time_of_day(wall_ms: int) -> TimeOfDay:
    """Return a wall time for the API."""
    seconds, rest_ms = divmod(wall_ms, 1_000)
    return TimeOfDay(
        hours=seconds // 3_600,
        minutes=seconds // 60 % 60,
        seconds=seconds % 60,
        nanos=rest_ms * NANOS_PER_MS,
    )


def date_ms(date: str) -> int:
    """Return the epoch milliseconds at which a civil date begins in UTC."""
    day = datetime.date.fromisoformat(date) - datetime.date(1970, 1, 1)
    return day.days * DAY_MS
