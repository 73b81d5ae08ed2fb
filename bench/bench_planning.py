"""Zones, due times and hours: what it costs to plan one message, with caches warm.

Each group holds the same question asked of `core.rules` and of the few lines of datetime and zoneinfo
that one would write for it, so the ratio stands in brackets beside the figures. The plain lines are no
weaker than they need be: zone objects and holiday calendars are made beforehand, and gaps are looked
after by a round trip. A round plans a thousand messages for recipients in ten zones over three months:
milliseconds there are microseconds a message.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from hashlib import blake2b
from zoneinfo import ZoneInfo

import pytest
from holidays import country_holidays
from pytest_benchmark.fixture import BenchmarkFixture

from core.bounds import DAY_MS, HOUR_MS
from core.model import Medium
from core.registry.rule_parts import Wait
from core.rules.hours import default_hours, hours_for, opening_ms
from core.rules.schedule import due_ms
from core.rules.zones import resolve_zone

EVENTS = 1_000
START_MS = 1_780_000_000_000

COUNTRIES = ("PL", "DE", "FR", "ES", "GB", "IT", "CZ", "JP", "IN", "PT")
ZONES = (
    "Europe/Warsaw", "Europe/Berlin", "Europe/Paris", "Europe/Madrid", "Europe/London",
    "Europe/Rome", "Europe/Prague", "Asia/Tokyo", "Asia/Kolkata", "Europe/Lisbon",
)  # fmt: skip
INFOS = {zone: ZoneInfo(zone) for zone in ZONES}
HOLIDAYS = {country: country_holidays(country, years=(2026, 2027)) for country in COUNTRIES}
CASES = [
    (
        START_MS + number * 7_919_000 % (90 * DAY_MS), ZONES[number % 10], COUNTRIES[number % 10],
        number.to_bytes(8),
    )
    for number in range(EVENTS)
]  # fmt: skip

Plan = Callable[[int, str, str, bytes], int]

ELAPSED = Wait(days=7)
CALENDAR = Wait(days=7, time_of_day_ms=10 * HOUR_MS)
SPAN = Wait(days=7, time_of_day_ms=10 * HOUR_MS, span_ms=2 * HOUR_MS)
SPAN_DAYS = Wait(days=7, time_of_day_ms=10 * HOUR_MS, span_ms=2 * HOUR_MS, span_days=3)
NIGHT_AND_HOLIDAYS = default_hours(Medium.SMS, "")

# --- ours ----------------------------------------------------------------------------------------


def zone_alone(base_ms: int, zone: str, country: str, key: bytes) -> int:
    return due_ms(ELAPSED, base_ms, resolve_zone("", "", zone)[0], key)


def zone_of_country(base_ms: int, zone: str, country: str, key: bytes) -> int:
    return due_ms(ELAPSED, base_ms, resolve_zone("", country, zone)[0], key)


def time_of_day(base_ms: int, zone: str, country: str, key: bytes) -> int:
    return due_ms(CALENDAR, base_ms, resolve_zone(zone, "", "UTC")[0], key)


def with_span(base_ms: int, zone: str, country: str, key: bytes) -> int:
    return due_ms(SPAN, base_ms, resolve_zone(zone, "", "UTC")[0], key)


def with_span_of_days(base_ms: int, zone: str, country: str, key: bytes) -> int:
    return due_ms(SPAN_DAYS, base_ms, resolve_zone(zone, "", "UTC")[0], key)


def all_hours(base_ms: int, zone: str, country: str, key: bytes) -> int:
    due = due_ms(SPAN, base_ms, resolve_zone(zone, "", "UTC")[0], key)
    return opening_ms(NIGHT_AND_HOLIDAYS, due, (zone,), country) or 0


def hours_of_the_recipient(base_ms: int, zone: str, country: str, key: bytes) -> int:
    hours = hours_for((), Medium.SMS, country)
    return opening_ms(hours, base_ms, (zone,), country) or 0


# --- the plain way -------------------------------------------------------------------------------


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def plain_elapsed(base_ms: int, zone: str, country: str, key: bytes) -> int:
    moment = datetime.fromtimestamp(base_ms / 1000, UTC).astimezone(INFOS[zone])
    return milliseconds(moment.astimezone(UTC) + timedelta(days=7))


def plain_calendar(base_ms: int, zone: str, country: str, key: bytes, offset_ms: int = 0) -> int:
    base = datetime.fromtimestamp(base_ms / 1000, INFOS[zone])
    day = base.date() + timedelta(days=7)
    wall = datetime.combine(day, time(10)) + timedelta(milliseconds=offset_ms)
    due = wall.replace(tzinfo=base.tzinfo).astimezone(UTC).astimezone(base.tzinfo)
    while due < base:
        due += timedelta(days=1)
    return milliseconds(due)


def plain_span(base_ms: int, zone: str, country: str, key: bytes) -> int:
    offset_ms = int.from_bytes(blake2b(key, digest_size=8).digest()) % (2 * HOUR_MS)
    return plain_calendar(base_ms, zone, country, key, offset_ms)


def plain_span_of_days(base_ms: int, zone: str, country: str, key: bytes) -> int:
    number = int.from_bytes(blake2b(key, digest_size=8).digest()) % (6 * HOUR_MS)
    day, offset_ms = divmod(number, 2 * HOUR_MS)
    return plain_calendar(base_ms, zone, country, key, day * DAY_MS + offset_ms)


def plain_opening(moment_ms: int, zone: str, country: str, sundays: bool) -> int:
    moment = datetime.fromtimestamp(moment_ms / 1000, INFOS[zone])
    for _ in range(30):
        is_closed = sundays and (moment.isoweekday() == 7 or moment.date() in HOLIDAYS[country])
        if is_closed or moment.hour >= 20:
            day = moment.date() + timedelta(days=1)
            moment = datetime.combine(day, time(9), tzinfo=moment.tzinfo)
        elif moment.hour < 9:
            moment = datetime.combine(moment.date(), time(9), tzinfo=moment.tzinfo)
        else:
            break
    return milliseconds(moment)


def plain_all_hours(base_ms: int, zone: str, country: str, key: bytes) -> int:
    return plain_opening(plain_span(base_ms, zone, country, key), zone, country, True)


def plain_night(base_ms: int, zone: str, country: str, key: bytes) -> int:
    # Of these countries only France adds to the nights.
    return plain_opening(base_ms, zone, country, country == "FR")


QUESTIONS: dict[str, tuple[Plan, Plan]] = {
    "zone alone": (zone_alone, plain_elapsed),
    "zone of the country": (zone_of_country, plain_elapsed),
    "time of day": (time_of_day, plain_calendar),
    "span": (with_span, plain_span),
    "span over days": (with_span_of_days, plain_span_of_days),
    "quiet hours": (hours_of_the_recipient, plain_night),
    "span, quiet hours, Sundays, holidays": (all_hours, plain_all_hours),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("way", ["ours", "plain"])
def test_planning(benchmark: BenchmarkFixture, question: str, way: str) -> None:
    benchmark.group = f"planning {EVENTS} messages: {question}"
    plan = QUESTIONS[question][way == "plain"]
    cases = CASES

    def all_of_them() -> int:
        for case in cases:
            plan(*case)
        return len(cases)

    all_of_them()
    assert benchmark(all_of_them) == EVENTS


def test_mail_without_hours(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "opening_ms, one e-mail without hours"
    assert benchmark(opening_ms, None, START_MS, ("Europe/Warsaw",), "PL") == START_MS


def test_both_ways_agree() -> None:
    """The plain lines ask the same question, or the ratio says nothing."""
    assert not [
        (question, case)
        for question, (ours, plain) in QUESTIONS.items()
        for case in CASES
        if ours(*case) != plain(*case)
    ]
