"""Openings over any hours, zones, holidays and years: the invariants of `core.rules.hours`.

The definition is written out once more below, for one instant, with datetime alone; an opening must be
the first of the quarters of an hour, beginning with the instant itself, at which it holds. Every zone
here is a whole number of quarters from UTC, and so are all windows.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.bounds import DAY_MS, MINUTE_MS
from core.model import Medium
from core.registry.rule_parts import MediumHours, Window
from core.rules.hours import SEARCH_HORIZON_MS, hours_for, opening_ms
from core.rules.public_holidays import holidays_of
from core.rules.schedule import day_of
from core.rules.zones import clock
from tests.architecture.repository import ROOT

QUARTER_MS = 15 * MINUTE_MS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ZONES = st.sampled_from(
    [
        "UTC", "Europe/Warsaw", "Europe/London", "America/New_York", "America/Sao_Paulo",
        "America/Santiago", "Asia/Tehran", "Asia/Gaza", "Asia/Kathmandu", "Asia/Tokyo",
        "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "Pacific/Honolulu",
        "Africa/Casablanca", "Africa/Cairo", "Antarctica/Troll", "America/Nuuk",
    ]
)  # fmt: skip
SOME_ZONES = st.lists(ZONES, min_size=1, max_size=3, unique=True).map(tuple)
TIMES = st.integers(0, 95).map(lambda quarter: quarter * QUARTER_MS)
WEEKDAYS = st.lists(st.integers(1, 7), unique=True, max_size=4).map(tuple)
WINDOWS = st.builds(Window, TIMES, TIMES, WEEKDAYS)
HOURS = st.builds(
    MediumHours,
    st.just(Medium.SMS),
    st.lists(WINDOWS, max_size=3).map(tuple),
    st.lists(WINDOWS, max_size=2).map(tuple),
    st.booleans(),
)
MOMENTS = st.datetimes(datetime(2011, 12, 25), datetime(2036, 1, 1)).map(
    lambda moment: int((moment.replace(tzinfo=UTC) - EPOCH) / timedelta(milliseconds=1))
)
# Around the changes of clocks, where it is hard.
CHANGES = st.sampled_from(
    [
        "2024-03-31T01:00", "2024-10-27T01:00", "2018-11-04T03:00", "2019-02-17T02:00",
        "2011-12-30T10:00", "2023-10-01T15:30", "2024-04-06T15:00", "2023-04-23T02:00",
        "2024-12-24T12:00",
    ]
)  # fmt: skip
NEAR_CHANGES = st.builds(
    lambda text, shift_ms: (
        int((datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) / timedelta(milliseconds=1))
        + shift_ms
    ),
    CHANGES,
    st.integers(-30 * 3_600_000, 30 * 3_600_000),
)
AT = MOMENTS | NEAR_CHANGES
COUNTRIES = st.sampled_from(["", "PL", "FR", "US", "XX"])


def local(instant_ms: int, zone: str) -> datetime:
    moment = (EPOCH + timedelta(milliseconds=instant_ms)).astimezone(clock(zone).zone)
    return moment.replace(tzinfo=None, fold=0)


def inside(window: Window, wall: datetime) -> bool:
    now_ms = (wall - datetime.combine(wall, datetime.min.time())) // timedelta(milliseconds=1)
    today, eve = wall.isoweekday(), (wall - timedelta(days=1)).isoweekday()
    if window.start_ms < window.end_ms:
        holds = window.start_ms <= now_ms < window.end_ms
        return holds and (not window.weekdays or today in window.weekdays)
    if window.start_ms == window.end_ms:
        return False
    if now_ms >= window.start_ms:
        return not window.weekdays or today in window.weekdays
    return now_ms < window.end_ms and (not window.weekdays or eve in window.weekdays)


def is_open(hours: MediumHours, instant_ms: int, zones: tuple[str, ...], closed: set[date]) -> bool:
    windows = [window for window in hours.open if window.start_ms != window.end_ms]
    for zone in zones:
        wall = local(instant_ms, zone)
        if windows and not any(inside(window, wall) for window in windows):
            return False
        if any(inside(window, wall) for window in hours.quiet):
            return False
        if hours.closed_on_holidays and wall.date() in closed:
            return False
    return True


def closed_days(country: str, at_ms: int) -> set[date]:
    year = local(at_ms, "UTC").year
    return {
        date(1970, 1, 1) + timedelta(days=day)
        for each in (year - 1, year, year + 1)
        for day in holidays_of(country, "", each)
    }


@given(HOURS, AT, SOME_ZONES, COUNTRIES)
@settings(max_examples=100, deadline=None)
def test_an_opening_is_the_first_open_instant_d3(
    hours: MediumHours, at_ms: int, zones: tuple[str, ...], country: str
) -> None:
    """d3: inside a window, outside quiet hours, on no holiday, on every clock; and the first such."""
    closed = closed_days(country, at_ms) if country else set()
    found = opening_ms(hours, at_ms, zones, country)
    candidates = [
        at_ms, *range(at_ms // QUARTER_MS * QUARTER_MS + QUARTER_MS, at_ms + SEARCH_HORIZON_MS + 1,
                      QUARTER_MS),
    ]  # fmt: skip
    wanted = next((each for each in candidates if is_open(hours, each, zones, closed)), None)
    assert found == wanted


@given(HOURS, AT, SOME_ZONES, COUNTRIES)
@settings(max_examples=300, deadline=None)
def test_an_opening_opens_at_itself_d3(
    hours: MediumHours, at_ms: int, zones: tuple[str, ...], country: str
) -> None:
    """d3: asking again at the opening gives the opening: nothing can be put off for ever."""
    found = opening_ms(hours, at_ms, zones, country)
    if found is not None:
        assert at_ms <= found <= at_ms + SEARCH_HORIZON_MS
        assert opening_ms(hours, found, zones, country) == found


@given(HOURS, AT, SOME_ZONES, COUNTRIES, st.integers(0, 16 * DAY_MS))
@settings(max_examples=300, deadline=None)
def test_a_later_instant_opens_no_earlier_d3(
    hours: MediumHours, at_ms: int, zones: tuple[str, ...], country: str, later_ms: int
) -> None:
    first = opening_ms(hours, at_ms, zones, country)
    second = opening_ms(hours, at_ms + later_ms, zones, country)
    if first is not None and second is not None:
        assert second >= first
    if first is not None and at_ms + later_ms <= first:
        assert second == first


@given(HOURS, AT, SOME_ZONES, ZONES, st.lists(WINDOWS, max_size=2).map(tuple))
@settings(max_examples=250, deadline=None)
def test_whatever_is_added_opens_nothing_earlier_d3(
    hours: MediumHours, at_ms: int, zones: tuple[str, ...], zone: str, quiet: tuple[Window, ...]
) -> None:
    """d3, g7: another zone or more quiet hours only ever make it stricter."""
    plain = opening_ms(hours, at_ms, zones)
    stricter = MediumHours(hours.medium, hours.open, hours.quiet + quiet, True)
    for found in (
        opening_ms(hours, at_ms, (*zones, zone)),
        opening_ms(stricter, at_ms, zones, "PL"),
    ):
        assert found is None or (plain is not None and found >= plain)


@given(
    HOURS, AT, SOME_ZONES, st.sampled_from(["", "US", "FR", "PL", "us"]),
    st.sampled_from(["", "CT", "TX", "ri", "NY", "Texas"]),
)  # fmt: skip
@settings(max_examples=250, deadline=None)
def test_the_law_never_widens_what_a_channel_configured_g7(
    hours: MediumHours, at_ms: int, zones: tuple[str, ...], country: str, region: str
) -> None:
    lawful = hours_for((hours,), Medium.SMS, country, region)
    place = country.upper()
    found, plain = opening_ms(lawful, at_ms, zones, place), opening_ms(hours, at_ms, zones, place)
    assert found is None or (plain is not None and found >= plain)


PLAN = """
import sys
from core.bounds import DAY_MS, HOUR_MS
from core.model import Medium
from core.registry.rule_parts import Wait
from core.rules.hours import default_hours, opening_ms
from core.rules.schedule import due_ms

hours = default_hours(Medium.SMS, "")
for zone in ("Europe/Warsaw", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"):
    for day in range(15_300, 20_600, 106):
        base_ms = day * DAY_MS + 3 * HOUR_MS
        wait = Wait(days=2, time_of_day_ms=2 * HOUR_MS, span_ms=HOUR_MS, span_days=3)
        due = due_ms(wait, base_ms, zone, str(day).encode())
        print(due, opening_ms(hours, due, (zone,), "PL"))
"""


def test_the_zone_of_the_machine_decides_nothing_d2() -> None:
    """d2: the same instants whatever TZ the process runs under, and whatever its hash seed."""

    def planned(tz: str, seed: str) -> str:
        environment = {**os.environ, "TZ": tz, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", PLAN], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = planned("UTC", "1")
    assert first.count("\n") == 200
    for tz, seed in [("America/St_Johns", "2"), ("Pacific/Apia", "3")]:
        assert planned(tz, seed) == first, tz


@pytest.mark.parametrize("civil_date", ["2011-12-30", "2024-02-29"])
def test_the_day_numbers_of_both_modules_agree(civil_date: str) -> None:
    day = date.fromisoformat(civil_date)
    assert date(1970, 1, 1) + timedelta(days=day_of(civil_date)) == day
