"""Due times and openings of 38 zones, against tables made with glibc by looking at every minute.

`tests/unit/golden/make_tables.py` says how. The zones include those that changed their rules: Brazil
2019, Turkey 2016, Morocco's Ramadans, Samoa's lost day, Russia 2014, Egypt 2023, Chile, Iran 2022,
Jordan and Syria 2022, Mexico 2022, Volgograd 2018 and 2020; half hours and quarters of hours.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from core.bounds import DAY_MS, HOUR_MS, MINUTE_MS
from core.model import Medium
from core.registry.rule_parts import IfPassed, MediumHours, Wait, Window
from core.rules.hours import opening_ms
from core.rules.schedule import due_ms
from core.rules.zones import clock

GOLDEN = Path(__file__).parent / "golden"


def rows(name: str) -> list[dict[str, str]]:
    with (GOLDEN / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def instant_ms(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return round(moment.total_seconds() * 1000)


def iso(ms: int | None) -> str:
    if ms is None:
        return ""
    moment = datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds").removesuffix(":00.000")


def time_of_day_ms(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * HOUR_MS + int(minutes) * MINUTE_MS


def wait_of(row: dict[str, str]) -> Wait:
    return Wait(
        days=int(row["days"]),
        time_of_day_ms=time_of_day_ms(row["time_of_day"]) if row["time_of_day"] else None,
        span_ms=int(row["span"]) * MINUTE_MS,
        span_days=int(row["span_days"]),
        if_passed=IfPassed.NOW if row["if_passed"] == "now" else IfPassed.NEXT_DAY,
    )


def windows(text: str) -> tuple[Window, ...]:
    found = []
    for one in filter(None, text.split(";")):
        times, _, weekdays = one.partition("/")
        start, end = times.split("-")
        found.append(Window(time_of_day_ms(start), time_of_day_ms(end), tuple(map(int, weekdays))))
    return tuple(found)


def wrong(found: Iterable[tuple[dict[str, str], str, str]]) -> list[str]:
    return [f"{row} gave {got}" for row, wanted, got in found if wanted != got]


def test_due_times_a19_b13_b14_d1_d2_r31_r35() -> None:
    """A19, B13, B14, A5, C19, C20, D14 over 38 zones: gaps, overlaps, days of zero, spans."""
    table = rows("due_times.csv")
    assert len({row["zone"] for row in table}) >= 38
    found = []
    for row in table:
        due = due_ms(
            wait_of(row), instant_ms(row["base"]), row["zone"], row["key"].encode(),
            row["activation_date"],
        )  # fmt: skip
        found.append((row, row["due"], iso(due)))
    assert not wrong(found)


def test_openings_d3() -> None:
    """Windows, nights, weekdays and closed days around the changes of 38 clocks (d3)."""
    table = rows("openings.csv")
    assert len({row["zone"] for row in table}) >= 38
    found = []
    for row in table:
        hours = MediumHours(
            Medium.SMS, windows(row["open"]), windows(row["quiet"]), bool(row["closed"])
        )
        opening = opening_ms(
            hours, instant_ms(row["at"]), [row["zone"]], closed_dates=row["closed"].split()
        )
        found.append((row, row["opening"], iso(opening)))
    assert not wrong(found)


def test_the_tables_hold_what_they_are_for() -> None:
    """Gaps, overlaps and the lost day of Samoa are among the rows, or the tables prove little."""
    table = rows("due_times.csv")
    gaps = overlaps = 0
    for row in table:
        if row["time_of_day"] and row["due"] and row["span"] == "0":
            zone_clock = clock(row["zone"])
            due = instant_ms(row["due"])
            wall = (due + zone_clock.offset_ms(due)) % DAY_MS
            if row["if_passed"] == "next_day":
                gaps += wall != time_of_day_ms(row["time_of_day"])
            later = due + zone_clock.offset_ms(due) - zone_clock.offset_ms(due + 2 * HOUR_MS)
            overlaps += later != due and zone_clock.offset_ms(later) != zone_clock.offset_ms(due)
    assert gaps > 100
    assert overlaps > 50
    assert any(row["due"] == "2011-12-30T10:00" for row in table if row["zone"] == "Pacific/Apia")
