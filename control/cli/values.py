"""What people type for times, lengths of time, amounts and choices.

Decides: how each is written on the command line and what it means in the API.
Never: whether the value makes sense there; the daemon says.
"""

from __future__ import annotations

import argparse
import datetime
import re
from collections.abc import Iterable
from typing import Protocol, TypeVar

from google.protobuf import duration_pb2, timestamp_pb2

from afterword.googleapis import date_pb2, money_pb2, timeofday_pb2

_LENGTH = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_LENGTH_SECONDS = (86_400, 3_600, 60, 1)
_FROM_NOW = re.compile(r"now(?:([+-])(\w+))?")
_AMOUNT = re.compile(r"(-?\d+)(?:\.(\d{1,9}))? ?([A-Za-z]{3})")

DAY_SECONDS = 86_400

LENGTH_HELP = "a length of time such as 7d, 36h, 90m, 30s or 1d12h"
INSTANT_HELP = "2026-05-01T10:00:00+02:00, 2026-05-01 (midnight UTC), now, now+2d or now-90m"


class UsageError(Exception):
    """The command line is wrong in a way that argparse cannot see. Exit code 2."""


def length(text: str) -> int:
    """Return a length of time in seconds: "7d", "36h", "90m", "30s", "1d12h", or "0"."""
    match = _LENGTH.fullmatch(text)
    if text == "0":
        return 0
    if match is None or not text:
        raise argparse.ArgumentTypeError(f"'{text}' is not {LENGTH_HELP}")
    return sum(
        int(count) * seconds
        for count, seconds in zip(match.groups(), _LENGTH_SECONDS, strict=True)
        if count
    )


def length_text(seconds: int) -> str:
    """Return a length of time as `length` reads it; "0s" for none."""
    parts = []
    for unit, unit_seconds in zip("dhms", _LENGTH_SECONDS, strict=True):
        count, seconds = divmod(seconds, unit_seconds)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def duration(seconds: int) -> duration_pb2.Duration:
    """Return seconds as the API has them."""
    return duration_pb2.Duration(seconds=seconds)


def time_of_day(text: str) -> timeofday_pb2.TimeOfDay:
    """Return a local time of day: "10:00" or "10:00:30"."""
    try:
        read = datetime.time.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or ":" not in text or read.tzinfo is not None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time of day such as 10:00")
    return timeofday_pb2.TimeOfDay(
        hours=read.hour, minutes=read.minute, seconds=read.second, nanos=read.microsecond * 1_000
    )


def time_of_day_text(time: timeofday_pb2.TimeOfDay) -> str:
    """Return a time of day, with seconds only where there are some."""
    seconds = f":{time.seconds:02}" if time.seconds else ""
    return f"{time.hours:02}:{time.minutes:02}{seconds}"


def instant(text: str) -> timestamp_pb2.Timestamp:
    """Return an instant; without an offset it is read as UTC."""
    now = datetime.datetime.now(datetime.UTC)
    if match := _FROM_NOW.fullmatch(text):
        sign, distance = match.groups()
        shift = datetime.timedelta(seconds=length(distance)) if distance else datetime.timedelta()
        return _timestamp(now - shift if sign == "-" else now + shift)
    try:
        read = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an instant; write {INSTANT_HELP}"
        ) from None
    return _timestamp(read if read.tzinfo else read.replace(tzinfo=datetime.UTC))


def _timestamp(moment: datetime.datetime) -> timestamp_pb2.Timestamp:
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def date(text: str) -> date_pb2.Date:
    """Return a civil date: "2026-05-01"."""
    try:
        read = datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a date such as 2026-05-01") from None
    return date_pb2.Date(year=read.year, month=read.month, day=read.day)


def money(text: str) -> money_pb2.Money:
    """Return an amount with its currency: "49.90 EUR"."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not an amount such as '49.90 EUR'")
    units, fraction, currency = match.groups()
    nanos = int((fraction or "0").ljust(9, "0"))
    return money_pb2.Money(
        currency_code=currency.upper(),
        units=int(units),
        nanos=-nanos if units.startswith("-") else nanos,
    )


# --- choices ------------------------------------------------------------------------------------

_Number = TypeVar("_Number", bound=int)


class EnumType(Protocol[_Number]):
    """A generated enumeration, as far as it is needed here."""

    def items(self) -> list[tuple[str, _Number]]:
        """Return names and numbers."""


def words(enum: EnumType[_Number], prefix: str) -> dict[str, _Number]:
    """Return what people write for each value: FAMILY_SERVICE_REVIEW is "service-review"."""
    return {
        name.removeprefix(prefix).lower().replace("_", "-"): number
        for name, number in enum.items()
        if number
    }


def word(enum: EnumType[_Number], prefix: str, value: int) -> str:
    """Return what people read for a value: "" for none, the number for one not known here."""
    if not value:
        return ""
    for text, number in words(enum, prefix).items():
        if number == value:
            return text
    return str(value)


def words_help(choices: Iterable[str]) -> str:
    """Return choices as a help text lists them."""
    return ", ".join(choices)


def names_or_none(flag: str, given: list[str]) -> list[str]:
    """Return what a repeated option lists; the word "none" alone empties the list."""
    if "none" not in given:
        return given
    if len(given) > 1:
        raise UsageError(f"{flag}: none stands alone: it empties the list")
    return []
