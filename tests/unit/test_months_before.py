"""The start of a window of calendar months, on the clock of the shop (D12, d9, R43)."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.engine.triggers import months_before_ms
from tests.support.shop import ms


def wall(instant_ms: int, zone: str) -> datetime:
    """Return what the clock of a zone shows, by another implementation than ours."""
    return datetime.fromtimestamp(instant_ms / 1_000, UTC).astimezone(ZoneInfo(zone))


@pytest.mark.parametrize(
    ("instant", "months", "zone", "expected"),
    [
        ("2026-04-15 12:00", 2, "UTC", "2026-02-15 12:00"),
        ("2026-03-31 12:00", 1, "UTC", "2026-02-28 12:00"),
        ("2024-03-31 12:00", 1, "UTC", "2024-02-29 12:00"),
        ("2026-03-29 12:00", 1, "UTC", "2026-02-28 12:00"),
        ("2026-05-31 12:00", 1, "UTC", "2026-04-30 12:00"),
        ("2026-02-28 12:00", 2, "UTC", "2025-12-28 12:00"),
        ("2026-01-31 12:00", 2, "UTC", "2025-11-30 12:00"),
        ("2026-01-01 00:00", 1, "UTC", "2025-12-01 00:00"),
        ("2026-12-31 23:59", 12, "UTC", "2025-12-31 23:59"),
        ("2024-02-29 12:00", 12, "UTC", "2023-02-28 12:00"),
        ("2026-06-15 12:00", 27, "UTC", "2024-03-15 12:00"),
        # 1 May 00:00 in Madrid, summer; 1 March 00:00, winter.
        ("2026-04-30 22:00", 2, "Europe/Madrid", "2026-02-28 23:00"),
        # A minute before it is still April there: 28 February is the last to show 23:59.
        ("2026-04-30 21:59", 2, "Europe/Madrid", "2026-02-28 22:59"),
        # 29 April 02:30 less a month: the clock skips 02:30 on 29 March, to 03:00.
        ("2026-04-29 00:30", 1, "Europe/Madrid", "2026-03-29 01:00"),
        # The local date decides what is clamped: it is the 31st in Auckland, the 30th in UTC.
        ("2026-03-30 12:00", 1, "Pacific/Auckland", "2026-02-27 12:00"),
    ],
)
def test_the_same_time_of_day_months_before(
    instant: str, months: int, zone: str, expected: str
) -> None:
    """d9: a day that the month does not have becomes its last."""
    assert months_before_ms(ms(instant), months, zone) == ms(expected)


def test_milliseconds_are_kept() -> None:
    assert months_before_ms(ms("2026-03-31 12:00") + 789, 1, "UTC") == ms("2026-02-28 12:00") + 789


@given(
    instant_s=st.integers(1_262_304_000, 2_208_988_800),
    months=st.integers(1, 36),
    zone=st.sampled_from(["UTC", "Europe/Madrid", "America/Sao_Paulo", "Asia/Kolkata"]),
)
def test_the_clock_shows_the_same_time_so_many_months_before(
    instant_s: int, months: int, zone: str
) -> None:
    """d9, against the standard library: the same wall time but where the clock skips it, the same day
    or the last of its month."""
    end, start = (
        wall(at_ms, zone)
        for at_ms in (instant_s * 1_000, months_before_ms(instant_s * 1_000, months, zone))
    )
    apart = (end.year - start.year) * 12 + end.month - start.month
    assert apart == months
    is_clamped = not _has_day(start, end.day) and not _has_day(start, start.day + 1)
    assert start.day == end.day or is_clamped
    skipped_s = (start.hour - end.hour) * 3_600 + (start.minute - end.minute) * 60
    assert 0 <= skipped_s <= 3_600


def _has_day(month: datetime, day: int) -> bool:
    try:
        month.replace(day=day)
    except ValueError:
        return False
    return True
