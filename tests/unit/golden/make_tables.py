"""Makes the golden tables, from another clock and by another method than the product's.

    python tests/unit/golden/make_tables.py

The clock is glibc's `localtime` over the machine's own /usr/share/zoneinfo, where the product reads
the `tzdata` package with zoneinfo. The method is to look at every minute until one fits, where the
product computes. Places in a span come from coreutils' `b2sum -l 64`. Nothing of the product is used.

The tables are data: a new release of the tz database that corrects the past may change a row, and then
somebody should look. So nothing runs this by itself.
"""

from __future__ import annotations

import calendar
import csv
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
HOUR, DAY = 60, 1440
"""Everything here is in minutes."""

ZONES = {
    "America/Sao_Paulo": (2017, 2020), "Europe/Istanbul": (2014, 2018),
    "Africa/Casablanca": (2016, 2026), "Pacific/Apia": (2011, 2012),
    "Europe/Moscow": (2010, 2016), "Africa/Cairo": (2013, 2025),
    "Australia/Lord_Howe": (2019, 2025), "America/Santiago": (2014, 2024),
    "Asia/Tehran": (2020, 2024), "Asia/Amman": (2020, 2024), "Asia/Damascus": (2020, 2024),
    "America/Mexico_City": (2020, 2024), "America/Ojinaga": (2021, 2024),
    "Europe/Volgograd": (2016, 2022), "Antarctica/Troll": (2021, 2025),
    "Asia/Kathmandu": (2023, 2024), "Pacific/Chatham": (2021, 2025),
    "Europe/Warsaw": (2018, 2025), "Europe/London": (2019, 2025), "Europe/Dublin": (2020, 2024),
    "America/New_York": (2018, 2025), "America/St_Johns": (2010, 2013), "Asia/Gaza": (2019, 2025),
    "Asia/Pyongyang": (2015, 2019), "Asia/Almaty": (2023, 2025), "America/Caracas": (2015, 2018),
    "Africa/Khartoum": (2016, 2019), "Africa/Juba": (2020, 2023),
    "America/Nuuk": (2021, 2025), "Pacific/Fiji": (2018, 2023), "Pacific/Norfolk": (2014, 2022),
    "Pacific/Kiritimati": (2023, 2024), "Asia/Kolkata": (2023, 2024), "Europe/Lisbon": (2021, 2025),
    "America/Havana": (2019, 2024), "Asia/Beirut": (2020, 2024), "America/Asuncion": (2021, 2025),
    "UTC": (2024, 2025),
}  # fmt: skip
"""Zone -> years whose changes are looked at: those in which it changed its rules, where it did."""

HOURS = [
    ("", "20:00-09:00", ""),
    ("", "22:00-06:00", ""),
    ("09:00-18:00/12345", "", ""),
    ("22:00-06:00/567", "", ""),
    ("01:30-02:45", "", ""),
    ("06:00-06:00", "23:30-02:15", ""),
    ("08:00-20:00;21:00-01:00", "12:00-13:00/7", "closed"),
    ("", "22:00-08:00;00:00-24:00/7", "closed"),
]
"""(open, quiet, whether the day of a change is closed)."""


def use(zone: str) -> None:
    os.environ["TZ"] = zone
    time.tzset()


def shown(minute: int) -> int:
    """Return what the clock shows at an instant, as minutes since 1970-01-01 00:00 on it."""
    return calendar.timegm(time.localtime(minute * 60)) // 60


def first_showing(wall: int) -> tuple[int, bool]:
    """Return the first instant that shows a wall time; False with the end of the gap it is in."""
    for minute in range(wall - 26 * HOUR, wall + 26 * HOUR):
        if shown(minute) == wall:
            return minute, True
    for minute in range(wall - 26 * HOUR, wall + 26 * HOUR):
        if shown(minute - 1) < wall < shown(minute):
            return minute, False
    raise AssertionError(wall)


def changes(first_year: int, past_year: int) -> list[int]:
    """Return the instants at which the clock jumps: the first two and the last two."""
    start = calendar.timegm((first_year, 1, 1, 0, 0, 0)) // 60
    past = calendar.timegm((past_year, 1, 1, 0, 0, 0)) // 60
    found = []
    for hour in range(start, past, HOUR):
        if shown(hour + HOUR) - shown(hour) != HOUR:
            found += [m for m in range(hour + 1, hour + HOUR + 1) if shown(m) - shown(m - 1) != 1]
    return sorted({*found[:2], *found[-2:]})


def place(key: str, size_ms: int) -> int:
    digest = subprocess.run(
        ["b2sum", "-l", "64"], input=key.encode(), capture_output=True, check=True
    ).stdout.split()[0]
    return int(digest, 16) % size_ms


def due(
    base: int, days: int, time_of_day: int | None, span: int, span_days: int, now: bool,
    key: str, activation_day: int | None,
) -> float:  # fmt: skip
    """Return the due time in minutes; d1 read aloud."""
    day, not_before = shown(base) // DAY, base
    if activation_day is not None and activation_day > day:
        day, not_before = activation_day, max(base, first_showing(activation_day * DAY)[0])
    if time_of_day is None:
        return not_before + days * DAY
    offset_ms = 0
    if span_days > 1:
        size_ms = span * 60_000 or 1
        number = place(key, span_days * size_ms)
        offset_ms = number // size_ms * DAY * 60_000 + number % size_ms
    elif span:
        offset_ms = place(key, span * 60_000)
    wall, rest_ms = divmod(((day + days) * DAY + time_of_day) * 60_000 + offset_ms, 60_000)
    while True:
        minute, exact = first_showing(wall)
        result = minute + (rest_ms / 60_000 if exact else 0)
        if result >= not_before:
            return result
        if now:
            return not_before
        wall += DAY


def due_cases(
    change: int,
) -> Iterator[tuple[int, int, int | None, int, int, bool, str, int | None]]:
    """Yield (base, days, time of day, span, span days, now, key, activation day) around a change."""
    before, after = shown(change - 1) + 1, shown(change)
    wall = (before + after) // 2
    day, time_of_day = divmod(wall, DAY)
    early = change - 36 * HOUR - 7
    ahead = day - shown(early) // DAY
    yield early, ahead, time_of_day, 0, 0, False, "", None
    yield early, ahead + 1, 10 * HOUR, 0, 0, False, "", None
    yield change - 3 * HOUR, 0, time_of_day, 0, 0, False, "", None
    yield change + 10, 0, time_of_day, 0, 0, False, "", None
    yield change + 10, 0, time_of_day, 0, 0, True, "", None
    yield change - 5 * HOUR, 1, None, 0, 0, False, "", None
    if time_of_day > HOUR:
        yield early, ahead, time_of_day - HOUR, 2 * HOUR, 0, False, f"a{change}", None
    yield early, ahead, time_of_day, 0, 3, False, f"b{change}", None
    yield early, 0, 9 * HOUR, 90, 5, False, f"c{change}", None
    yield early, 0, None, 0, 0, False, "", day
    yield early, 2, 8 * HOUR, 0, 0, False, "", day


def inside(windows: str, moment: time.struct_time) -> bool:
    """Return whether a clock's reading lies in one of the windows "22:00-06:00/567;..."."""
    now, weekday = moment.tm_hour * HOUR + moment.tm_min, moment.tm_wday + 1
    for text in filter(None, windows.split(";")):
        times, _, weekdays = text.partition("/")
        start, end = (int(t[:2]) * HOUR + int(t[3:]) for t in times.split("-"))
        today = not weekdays or str(weekday) in weekdays
        eve = not weekdays or str((weekday - 2) % 7 + 1) in weekdays
        if start < end and today and start <= now < end:
            return True
        if start > end and ((today and now >= start) or (eve and now < end)):
            return True
    return False


def opening(
    at: int, opens: str, quiet: str, closed: set[str], horizon: int = 14 * DAY
) -> int | None:
    for minute in range(at, at + horizon + 1):
        moment = time.localtime(minute * 60)
        is_open = opens in ("", "06:00-06:00") or inside(opens, moment)
        if is_open and not inside(quiet, moment) and time.strftime("%F", moment) not in closed:
            return minute
    return None


def iso(minute: float | None) -> str:
    if minute is None:
        return ""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(minute * 60_000))
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds").removesuffix(":00.000")


def clock_text(minutes: int | None) -> str:
    return "" if minutes is None else f"{minutes // HOUR:02}:{minutes % HOUR:02}"


def civil(day: int | None) -> str:
    return "" if day is None else iso(day * DAY)[:10]


def write(name: str, about: str, columns: list[str], rows: list[list[object]]) -> None:
    release = Path("/usr/share/zoneinfo/tzdata.zi").read_text(encoding="utf-8").split("\n")[0]
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {about}\n# Made by make_tables.py: every minute looked at, with glibc's\n")
        file.write(f"# localtime over the tz database, {release[2:]}. Instants are UTC.\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def main() -> None:
    dues: list[list[object]] = []
    openings: list[list[object]] = []
    for zone, years in ZONES.items():
        use(zone)
        found = changes(*years) or [calendar.timegm((years[0], 5, 5, 5, 5, 0)) // 60]
        for change in found:
            for case in due_cases(change):
                base, days, time_of_day, span, span_days, now, key, activation_day = case
                dues.append(
                    [
                        zone, iso(base), days, clock_text(time_of_day), span, span_days,
                        "now" if now else "next_day", key, civil(activation_day), iso(due(*case)),
                    ]
                )  # fmt: skip
        for number, change in enumerate(found):
            for shift in (-31 * HOUR, -40, 5, 17 * HOUR):
                opens, quiet, closes = HOURS[(number * 4 + len(openings)) % len(HOURS)]
                closed = {civil(shown(change) // DAY)} if closes else set()
                openings.append(
                    [
                        zone, opens, quiet, " ".join(closed), iso(change + shift),
                        iso(opening(change + shift, opens, quiet, closed)),
                    ]
                )  # fmt: skip
    write(
        "due_times.csv", "When a step is due (d1, d2, R31, R35). Spans are in minutes.",
        ["zone", "base", "days", "time_of_day", "span", "span_days", "if_passed", "key",
         "activation_date", "due"],
        dues,
    )  # fmt: skip
    write(
        "openings.csv", "When a medium may be used (d3). A window is start-end/weekdays.",
        ["zone", "open", "quiet", "closed", "at", "opening"], openings,
    )  # fmt: skip
    print(len(dues), len(openings))


if __name__ == "__main__":
    main()
