"""Due times over any zone, year and wait: the invariants of `core.rules.schedule`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.bounds import DAY_MS
from core.registry.rule_parts import IfPassed, Wait
from core.rules.schedule import Moved, day_of, due_ms, moved, spread_ms
from core.rules.zones import clock

ZONES = st.sampled_from(
    [
        "UTC", "Europe/Warsaw", "Europe/London", "Europe/Moscow", "America/New_York",
        "America/Sao_Paulo", "America/St_Johns", "America/Santiago", "Asia/Tehran", "Asia/Gaza",
        "Asia/Kathmandu", "Asia/Tokyo", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham",
        "Africa/Casablanca", "Africa/Cairo", "Antarctica/Troll",
    ]
)  # fmt: skip
MOMENTS = st.datetimes(datetime(2005, 1, 1), datetime(2037, 12, 1)).map(
    lambda moment: int(moment.replace(tzinfo=UTC).timestamp() * 1000)
)
CALENDAR = st.builds(
    Wait,
    days=st.integers(0, 180),
    time_of_day_ms=st.integers(0, DAY_MS - 1),
    span_ms=st.sampled_from([0, 0, 1, 3_600_000, DAY_MS - 1]),
    span_days=st.sampled_from([0, 0, 1, 2, 3, 30]),
    if_passed=st.sampled_from(IfPassed),
)
ELAPSED = st.builds(Wait, elapsed_ms=st.integers(0, 180 * DAY_MS)) | st.builds(
    Wait, days=st.integers(0, 180)
)
DATES = st.just("") | st.dates(date(2005, 1, 1), date(2038, 1, 1)).map(str)


@given(CALENDAR | ELAPSED, MOMENTS, ZONES, st.binary(max_size=8), DATES)
@settings(max_examples=600, deadline=None)
@example(Wait(days=1, time_of_day_ms=0), 1289097900000, "America/St_Johns", b"", "")
@example(Wait(elapsed_ms=0), 1289097900000, "America/St_Johns", b"", "2010-11-07")
def test_never_before_the_base_and_always_the_same(
    wait: Wait, base_ms: int, zone: str, key: bytes, activation_date: str
) -> None:
    result_ms = due_ms(wait, base_ms, zone, key, activation_date)
    assert result_ms >= base_ms
    assert result_ms == due_ms(wait, base_ms, zone, key, activation_date)
    if activation_date:
        start_ms = clock(zone).instant_ms(day_of(activation_date) * DAY_MS)
        assert result_ms >= min(start_ms, due_ms(wait, base_ms, zone, key))


@given(CALENDAR, MOMENTS, ZONES, st.binary(max_size=8))
@settings(max_examples=800, deadline=None)
def test_the_wall_time_is_as_wanted_unless_a_gap_skips_it(
    wait: Wait, base_ms: int, zone: str, key: bytes
) -> None:
    """Computed anew with datetime alone, from the definition."""
    result_ms = due_ms(wait, base_ms, zone, key)
    if result_ms == base_ms and wait.if_passed is IfPassed.NOW:
        return
    size_ms = wait.span_ms or 1
    drawn_day, offset_ms = divmod(spread_ms(key, max(wait.span_days, 1) * size_ms), size_ms)
    assert wait.days is not None
    assert wait.time_of_day_ms is not None
    tz = clock(zone).zone
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    local = (epoch + timedelta(milliseconds=base_ms)).astimezone(tz).replace(tzinfo=None, fold=0)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = midnight + timedelta(
        days=wait.days + drawn_day, milliseconds=wait.time_of_day_ms + offset_ms
    )
    shown = (epoch + timedelta(milliseconds=result_ms)).astimezone(tz)
    for more_days in range(3):
        wall = wanted + timedelta(days=more_days)
        if shown.replace(tzinfo=None, fold=0) == wall:
            assert shown.fold == 0, "the first of two"
            return
        just_before = (epoch + timedelta(milliseconds=result_ms - 1)).astimezone(tz)
        if just_before.replace(tzinfo=None) < wall < shown.replace(tzinfo=None):
            return  # skipped: the first instant after the gap
    raise AssertionError(f"{shown} is not {wanted}")


@given(ELAPSED, MOMENTS, ZONES)
@settings(max_examples=200, deadline=None)
def test_elapsed_waits_know_no_zone(wait: Wait, base_ms: int, zone: str) -> None:
    assert due_ms(wait, base_ms, zone) == due_ms(wait, base_ms, "UTC")
    assert due_ms(wait, base_ms + 1, zone) == due_ms(wait, base_ms, zone) + 1


@given(CALENDAR, MOMENTS, ZONES, st.integers(0, 30 * DAY_MS))
@settings(max_examples=300, deadline=None)
def test_a_later_event_is_not_due_earlier(
    wait: Wait, base_ms: int, zone: str, later_ms: int
) -> None:
    first_ms, second_ms = due_ms(wait, base_ms, zone), due_ms(wait, base_ms + later_ms, zone)
    # But for clocks set back over midnight, where a local date comes twice.
    assert second_ms >= first_ms or first_ms - second_ms <= DAY_MS + 3_600_000


@given(CALENDAR, MOMENTS, ZONES, st.binary(max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_span_reaches_as_far_as_it_says_b13_r35(
    wait: Wait, base_ms: int, zone: str, key: bytes
) -> None:
    """B13, R35: in [time of day, time of day + span) of one of the days, on the local calendar."""
    plain = Wait(days=wait.days, time_of_day_ms=wait.time_of_day_ms)
    first_ms, result_ms = due_ms(plain, base_ms, zone), due_ms(wait, base_ms, zone, key)
    days_ms = max(wait.span_days, 1) * DAY_MS
    # A clock may jump by a day, over the date line; and the first day may have passed for one only.
    assert result_ms <= first_ms + days_ms + max(wait.span_ms, 1) + DAY_MS


PLANS = st.tuples(CALENDAR | ELAPSED, ZONES, DATES)


@given(st.lists(PLANS, min_size=2, max_size=6), MOMENTS, st.lists(st.integers(0, DAY_MS * 9)))
@settings(max_examples=300, deadline=None)
def test_a_plan_moves_once_for_each_change_d2(
    plans: list[tuple[Wait, str, str]], base_ms: int, pauses: list[int]
) -> None:
    """d2: whatever is asked how often and when, a plan moves only when it comes out elsewhere."""
    wait, zone, activation_date = plans[0]
    first_due_ms = due_ms(wait, base_ms, zone, b"k", activation_date)
    now_ms = base_ms
    for wait, zone, activation_date in plans[1:]:
        wanted_ms = due_ms(wait, base_ms, zone, b"k", activation_date)
        for turn, pause_ms in enumerate([0, *pauses]):
            now_ms += pause_ms
            found = moved(
                first_due_ms, wait, base_ms, zone, b"k", activation_date,
                accept_ms=base_ms, now_ms=now_ms,
            )  # fmt: skip
            if turn or wanted_ms == first_due_ms:
                assert found is None
            else:
                assert found == Moved(wanted_ms, max(wanted_ms, now_ms))
                first_due_ms = found.first_due_ms
