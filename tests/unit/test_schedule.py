"""When a step is due, until when it may go (d1, R30, R31, R33, R35)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from core.bounds import DAY_MS, HOUR_MS, MINUTE_MS
from core.errors import InvalidField
from core.model import Family, Medium, Purpose
from core.registry.resources import Rule
from core.registry.rule_parts import Action, IfPassed, Step, Wait
from core.rules.schedule import (
    Moved,
    due_ms,
    elapsed_ms,
    expiry_ms,
    follow_up_wait,
    is_late,
    moved,
    spread_ms,
)
from core.rules.zones import clock

WARSAW = "Europe/Warsaw"


def at(wall: str, zone: str = WARSAW) -> int:
    as_utc = datetime.fromisoformat(wall).replace(tzinfo=UTC)
    return clock(zone).instant_ms(int(as_utc.timestamp() * 1000))


def shown(instant_ms: int, zone: str = WARSAW) -> str:
    moment = datetime.fromtimestamp(instant_ms / 1000, clock(zone).zone)
    return moment.strftime("%Y-%m-%dT%H:%M")


def days(count: int, time_of_day: str, **fields: object) -> Wait:
    hours, minutes = map(int, time_of_day.split(":"))
    return Wait(days=count, time_of_day_ms=hours * HOUR_MS + minutes * MINUTE_MS, **fields)  # type: ignore[arg-type]


# --- d1 ------------------------------------------------------------------------------------------


def test_elapsed_waits_are_exact_over_a_change_of_clocks_d1() -> None:
    base_ms = at("2024-03-30T12:00")
    assert due_ms(Wait(elapsed_ms=90 * MINUTE_MS), base_ms, WARSAW) == base_ms + 90 * MINUTE_MS
    assert due_ms(Wait(elapsed_ms=0), base_ms, WARSAW) == base_ms


@pytest.mark.parametrize(
    ("wait", "due"),
    [
        (Wait(elapsed_ms=0), "2024-06-03T21:00"),
        (Wait(elapsed_ms=45 * MINUTE_MS), "2024-06-03T21:45"),
        (Wait(elapsed_ms=5 * HOUR_MS), "2024-06-04T02:00"),
        (Wait(days=3), "2024-06-06T21:00"),
        (days(3, "08:00"), "2024-06-06T08:00"),
        (days(42, "08:00"), "2024-07-15T08:00"),
        (days(180, "08:00"), "2024-11-30T08:00"),
    ],
)
def test_waits_of_all_units_count_from_the_event_a5_c18_c19_c20_d14(wait: Wait, due: str) -> None:
    """A5, C18, C19, C20, D14: at once, minutes, hours, days, many weeks, from when it occurred."""
    assert shown(due_ms(wait, at("2024-06-03T21:00"), WARSAW)) == due


def test_days_without_time_of_day_are_24_hours_each_d1() -> None:
    assert shown(due_ms(Wait(days=1), at("2024-03-30T12:00"), WARSAW)) == "2024-03-31T13:00"
    assert elapsed_ms(Wait(days=2)) == 2 * DAY_MS


def test_days_with_time_of_day_are_calendar_days_a19_d1() -> None:
    # The example of d1: event Monday 21:00, 1 day at 06:00, is Tuesday 06:00.
    assert shown(due_ms(days(1, "06:00"), at("2024-06-03T21:00"), WARSAW)) == "2024-06-04T06:00"
    assert shown(due_ms(days(180, "10:00"), at("2024-01-01T00:00"), WARSAW)) == "2024-06-29T10:00"


def test_the_day_is_that_of_the_zone_not_of_utc_d1() -> None:
    instant_ms = at("2024-06-03T22:30", "UTC")  # half past midnight of the 4th in Warsaw
    assert shown(due_ms(days(1, "10:00"), instant_ms, WARSAW)) == "2024-06-05T10:00"
    assert shown(due_ms(days(1, "10:00"), instant_ms, "UTC"), "UTC") == "2024-06-04T10:00"


def test_a_time_that_has_passed_is_next_day_or_now_a19_d1() -> None:
    base_ms = at("2024-06-03T15:00")
    assert shown(due_ms(days(0, "10:00"), base_ms, WARSAW)) == "2024-06-04T10:00"
    assert due_ms(days(0, "10:00", if_passed=IfPassed.NOW), base_ms, WARSAW) == base_ms
    assert due_ms(days(0, "15:00"), base_ms, WARSAW) == base_ms


def test_the_first_midnight_of_two_may_lie_before_the_base_d1() -> None:
    # At 00:01 of the 7th the clock went back to 23:01 of the 6th.
    zone = "America/St_Johns"
    base_ms = at("2010-11-07T02:45", "UTC")
    assert clock(zone).local_day(base_ms) == clock(zone).local_day(at("2010-11-06T12:00", zone))
    assert shown(due_ms(days(1, "00:00"), base_ms, zone), zone) == "2010-11-08T00:00"


@pytest.mark.parametrize(
    ("zone", "base", "time_of_day", "due"),
    [
        (WARSAW, "2024-03-30T12:00", "02:30", "2024-03-31T03:00"),
        (WARSAW, "2024-10-26T12:00", "02:30", "2024-10-27T02:30"),
        ("America/Sao_Paulo", "2018-11-03T12:00", "00:00", "2018-11-04T01:00"),
        ("Australia/Lord_Howe", "2023-09-30T12:00", "02:15", "2023-10-01T02:30"),
        ("Pacific/Apia", "2011-12-29T12:00", "10:00", "2011-12-31T00:00"),
        ("Africa/Cairo", "2023-04-27T12:00", "00:30", "2023-04-28T01:00"),
    ],
)
def test_gaps_and_overlaps_d2(zone: str, base: str, time_of_day: str, due: str) -> None:
    assert shown(due_ms(days(1, time_of_day), at(base, zone), zone), zone) == due


def test_an_unknown_zone_is_an_error() -> None:
    with pytest.raises(InvalidField):
        due_ms(days(1, "10:00"), 0, "Mars/Olympus")


# --- span ----------------------------------------------------------------------------------------


def test_a_span_is_half_open_and_stable_r35() -> None:
    wait, base_ms = days(1, "10:00", span_ms=2 * HOUR_MS), at("2024-06-03T12:00")
    dues = [due_ms(wait, base_ms, WARSAW, str(n).encode()) for n in range(2_000)]
    first_ms = at("2024-06-04T10:00")
    assert min(dues) >= first_ms
    assert max(dues) < first_ms + 2 * HOUR_MS
    assert dues == [due_ms(wait, base_ms, WARSAW, str(n).encode()) for n in range(2_000)]
    quarters = Counter((due - first_ms) // (HOUR_MS // 2) for due in dues)
    assert all(400 < quarters[quarter] < 600 for quarter in range(4)), quarters


def test_the_offset_is_the_same_in_every_version_d1() -> None:
    assert spread_ms(b"invitation 1", HOUR_MS) == 81_091
    assert spread_ms(b"", 1) == 0


def test_the_offset_comes_before_if_passed_r35() -> None:
    wait = days(0, "10:00", span_ms=4 * HOUR_MS)
    base_ms = at("2024-06-03T12:00")
    for n in range(50):
        key = str(n).encode()
        wall = at("2024-06-03T10:00") + spread_ms(key, 4 * HOUR_MS)
        assert due_ms(wait, base_ms, WARSAW, key) == wall + (0 if wall >= base_ms else DAY_MS)


def test_a_span_may_reach_over_midnight_r35() -> None:
    wait = days(0, "23:00", span_ms=3 * HOUR_MS)
    dues = {shown(due_ms(wait, at("2024-06-03T12:00"), WARSAW, bytes([n])))[:10] for n in range(99)}
    assert dues == {"2024-06-03", "2024-06-04"}


def test_a_span_in_days_spreads_evenly_over_whole_days_b13_r35() -> None:
    """B13, R35: "for how long": each of the days, always at the time of day, the same every time."""
    wait, base_ms = days(1, "10:00", span_days=5), at("2024-06-03T12:00")
    dues = [shown(due_ms(wait, base_ms, WARSAW, str(n).encode())) for n in range(5_000)]
    assert dues == [shown(due_ms(wait, base_ms, WARSAW, str(n).encode())) for n in range(5_000)]
    counts = Counter(dues)
    assert sorted(counts) == [f"2024-06-{day:02}T10:00" for day in range(4, 9)]
    assert all(900 < count < 1_100 for count in counts.values()), counts


def test_a_span_in_days_and_one_in_hours_go_together_r35() -> None:
    """R35: the day and the place within the day do not depend on each other."""
    wait, base_ms = days(0, "10:00", span_days=3, span_ms=2 * HOUR_MS), at("2024-06-03T00:00")
    places = Counter()
    for n in range(6_000):
        passed_ms = due_ms(wait, base_ms, WARSAW, str(n).encode()) - at("2024-06-03T10:00")
        assert passed_ms % DAY_MS < 2 * HOUR_MS
        places[passed_ms // DAY_MS, passed_ms % DAY_MS // HOUR_MS] += 1
    assert sorted(places) == [(day, hour) for day in range(3) for hour in range(2)]
    assert all(880 < count < 1_120 for count in places.values()), places


def test_a_span_of_one_day_is_none_r35() -> None:
    base_ms = at("2024-06-03T12:00")
    for span_ms in (0, HOUR_MS):
        plain = due_ms(days(1, "10:00", span_ms=span_ms), base_ms, WARSAW, b"k")
        for span_days in (0, 1):
            wait = days(1, "10:00", span_ms=span_ms, span_days=span_days)
            assert due_ms(wait, base_ms, WARSAW, b"k") == plain


def test_days_of_a_span_are_calendar_days_d2_r35() -> None:
    """d2, R35: over the change of clocks it stays 10:00."""
    wait = days(1, "10:00", span_days=4)
    dues = {shown(due_ms(wait, at("2024-03-29T12:00"), WARSAW, bytes([n]))) for n in range(99)}
    assert dues == {"2024-03-30T10:00", "2024-03-31T10:00", "2024-04-01T10:00", "2024-04-02T10:00"}


def test_if_passed_looks_at_the_day_of_the_span_r35() -> None:
    """R35: the place in the span first, then if_passed: only the first day can have passed."""
    base_ms = at("2024-06-03T12:00")
    for if_passed, first in [(IfPassed.NEXT_DAY, "04T10:00"), (IfPassed.NOW, "03T12:00")]:
        wait = days(0, "10:00", span_days=3, if_passed=if_passed)
        dues = {shown(due_ms(wait, base_ms, WARSAW, bytes([n])))[8:] for n in range(99)}
        assert dues == {first, "04T10:00", "05T10:00"}


# --- activation date -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "activation_date", "due"),
    [
        (days(2, "10:00"), "2024-09-01", "2024-09-03T10:00"),
        (days(0, "10:00"), "2024-09-01", "2024-09-01T10:00"),
        (Wait(days=1), "2024-09-01", "2024-09-02T00:00"),
        (Wait(elapsed_ms=90 * MINUTE_MS), "2024-09-01", "2024-09-01T01:30"),
        # On the day of the event, or before it, the event is the later base.
        (days(1, "10:00"), "2024-06-03", "2024-06-04T10:00"),
        (days(1, "10:00"), "2023-01-01", "2024-06-04T10:00"),
        (Wait(elapsed_ms=0), "2024-06-03", "2024-06-03T15:00"),
        (Wait(elapsed_ms=0), "", "2024-06-03T15:00"),
    ],
)
def test_the_later_of_event_and_activation_date_counts_r31_b14(
    wait: Wait, activation_date: str, due: str
) -> None:
    base_ms = at("2024-06-03T15:00")
    assert shown(due_ms(wait, base_ms, WARSAW, b"", activation_date)) == due


def test_an_activation_date_may_lie_two_years_ahead_b16() -> None:
    """B16: concerts and contracts; with the longest wait on top (A5)."""
    base_ms = at("2024-06-03T15:00")
    due = due_ms(days(180, "10:00"), base_ms, WARSAW, b"", "2026-06-03")
    assert shown(due) == "2026-11-30T10:00"


def test_the_event_date_is_the_local_one_r31() -> None:
    base_ms = at("2024-06-03T23:00", "UTC")  # the 4th in Warsaw
    assert shown(due_ms(Wait(elapsed_ms=0), base_ms, WARSAW, b"", "2024-06-04")) == shown(base_ms)


def test_an_activation_date_whose_midnight_is_skipped_r31() -> None:
    zone = "America/Sao_Paulo"
    due = due_ms(Wait(elapsed_ms=0), at("2018-10-01T10:00", zone), zone, b"", "2018-11-04")
    assert shown(due, zone) == "2018-11-04T01:00"


def test_no_midnight_of_an_activation_date_lies_before_the_event_r31() -> None:
    """R31: the clock shows the date at 00:00, goes back to the day before, and the event occurs."""
    zone = "America/St_Johns"
    base_ms = at("2010-11-07T02:45", "UTC")
    assert shown(base_ms, zone)[:10] == "2010-11-06"
    assert due_ms(Wait(elapsed_ms=0), base_ms, zone, b"", "2010-11-07") == base_ms
    wait = days(0, "00:00", if_passed=IfPassed.NOW)
    assert due_ms(wait, base_ms, zone, b"", "2010-11-07") == base_ms


# --- reminders -----------------------------------------------------------------------------------


def test_a_reminder_counts_from_the_local_date_of_the_send_b18_r33() -> None:
    wait = follow_up_wait(Wait(days=7), days(3, "10:00"))
    sent_ms = at("2024-06-03T23:59")
    assert shown(due_ms(wait, sent_ms, WARSAW)) == "2024-06-10T10:00"


def test_a_follow_up_takes_time_of_day_and_span_of_the_first_step_r33() -> None:
    first = days(3, "10:00", span_ms=HOUR_MS)
    assert follow_up_wait(Wait(days=7), first) == days(7, "10:00", span_ms=HOUR_MS)
    assert follow_up_wait(Wait(days=7, span_ms=5), first).span_ms == 5
    days_of_first = days(3, "10:00", span_ms=HOUR_MS, span_days=2)
    assert follow_up_wait(Wait(days=7), days_of_first) == days(
        7, "10:00", span_ms=HOUR_MS, span_days=2
    )
    assert follow_up_wait(Wait(days=7, span_days=4), first) == days(7, "10:00", span_days=4)
    assert follow_up_wait(days(7, "18:00"), first) == days(7, "18:00")
    assert follow_up_wait(Wait(elapsed_ms=5), first) == Wait(elapsed_ms=5)
    assert follow_up_wait(Wait(days=7), Wait(days=1)) == Wait(days=7)


# --- plans that move -----------------------------------------------------------------------------


def test_a_plan_moves_with_its_wait_r40() -> None:
    """R40: apply_to PENDING recomputes; what has passed is due now."""
    base_ms = accept_ms = at("2024-06-03T12:00")
    planned_ms = due_ms(days(7, "10:00"), base_ms, WARSAW)
    found = moved(
        planned_ms, days(3, "18:00"), base_ms, WARSAW, accept_ms=accept_ms,
        now_ms=at("2024-06-04T12:00"),
    )  # fmt: skip
    assert found == Moved(at("2024-06-06T18:00"), at("2024-06-06T18:00"))
    now_ms = at("2024-06-08T12:00")
    found = moved(planned_ms, days(3, "18:00"), base_ms, WARSAW, accept_ms=accept_ms, now_ms=now_ms)
    assert found == Moved(at("2024-06-06T18:00"), now_ms)


def test_a_plan_moves_with_the_zone_of_a_profile_d2() -> None:
    base_ms = at("2024-06-03T12:00")
    planned_ms = due_ms(days(1, "10:00"), base_ms, WARSAW)
    arguments = {"accept_ms": base_ms, "now_ms": base_ms}
    found = moved(planned_ms, days(1, "10:00"), base_ms, "America/New_York", **arguments)
    assert found is not None
    assert shown(found.due_ms, "America/New_York") == "2024-06-04T10:00"
    assert moved(planned_ms, Wait(days=1), base_ms, WARSAW, **arguments) is not None


def test_instants_are_compared_not_wall_times_d2() -> None:
    """d2: in the overlap, and between zones that agree, nothing has moved."""
    base_ms = at("2024-10-26T12:00")
    for zone in (WARSAW, "Europe/Berlin"):
        planned_ms = due_ms(days(1, "02:30"), base_ms, WARSAW)
        for now_ms in (base_ms, planned_ms, planned_ms + HOUR_MS, planned_ms + 9 * DAY_MS):
            assert moved(
                planned_ms, days(1, "02:30"), base_ms, zone, accept_ms=base_ms, now_ms=now_ms
            ) is None  # fmt: skip


def test_a_moved_plan_stays_however_often_it_is_asked_d2() -> None:
    """d2: a stored time that a change of clocks shifted was planned anew every hour, elsewhere."""
    base_ms = at("2024-03-29T12:00")
    wait = days(1, "02:30", if_passed=IfPassed.NOW)
    first_due_ms, moves = due_ms(days(9, "02:30"), base_ms, WARSAW), 0
    for hour in range(200):
        found = moved(
            first_due_ms, wait, base_ms, WARSAW, accept_ms=base_ms,
            now_ms=base_ms + hour * HOUR_MS,
        )  # fmt: skip
        if found is not None:
            first_due_ms, moves = found.first_due_ms, moves + 1
    assert moves == 1


def test_a_plan_that_was_due_on_acceptance_does_not_move_d2_r30() -> None:
    """R30: an event that came late is due when accepted; that is its plan."""
    base_ms, accept_ms = at("2024-06-03T12:00"), at("2024-06-05T12:00")
    assert moved(
        accept_ms, days(1, "10:00"), base_ms, WARSAW, accept_ms=accept_ms, now_ms=accept_ms + 5
    ) is None  # fmt: skip


# --- expiry and lateness -------------------------------------------------------------------------


def rule(family: Family, expire_after_ms: int | None = None) -> Rule:
    step = Step(id="s", wait=Wait(days=1), actions=[Action(medium=Medium.EMAIL)])
    return Rule(
        account="a", id="r", family=family, purpose=Purpose.REVIEW, event_type="checkout",
        steps=[step, step], expire_after_ms=expire_after_ms,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("family", "step_index", "after_days"),
    [
        (Family.SERVICE_REVIEW, 0, 30),
        (Family.PRODUCT_REVIEW, 0, 30),
        (Family.PRODUCT_REVIEW, 1, 7),
        (Family.AUTOMATION, 0, 3),
        (Family.AUTOMATION, 2, 7),
        (Family.NOTIFICATION, 0, 3),
    ],
)
def test_default_expiry_r30(family: Family, step_index: int, after_days: int) -> None:
    assert expiry_ms(1_000, rule(family), step_index) == 1_000 + after_days * DAY_MS


def test_a_rule_may_set_its_expiry_r30() -> None:
    for step_index in (0, 1):
        assert expiry_ms(1_000, rule(Family.AUTOMATION, HOUR_MS), step_index) == 1_000 + HOUR_MS


def test_late_is_more_than_72_hours_after_the_planned_due_r30() -> None:
    assert not is_late(72 * HOUR_MS, 0)
    assert is_late(72 * HOUR_MS + 1, 0)
    assert not is_late(0, DAY_MS)
