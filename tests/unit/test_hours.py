"""When a medium may be used (d3, R36, g7)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.bounds import DAY_MS, HOUR_MS
from core.errors import InvalidField
from core.model import Medium, Purpose
from core.registry.rule_parts import MediumHours, OnClosed, Window
from core.rules import hours as module
from core.rules.hours import (
    SEARCH_HORIZON_MS,
    OpenTimes,
    default_hours,
    hours_for,
    obeys_hours,
    opening_ms,
)
from core.rules.legal_hours import LEGAL_HOURS, STATE_HOURS, legal_hours
from core.rules.public_holidays import holiday_place, holidays_of, is_public_holiday
from core.rules.schedule import day_of
from core.rules.zones import clock, possible_zones

WARSAW = "Europe/Warsaw"


def at(wall: str, zone: str = WARSAW) -> int:
    as_utc = datetime.fromisoformat(wall).replace(tzinfo=UTC)
    return clock(zone).instant_ms(int(as_utc.timestamp() * 1000))


def shown(instant_ms: int | None, zone: str = WARSAW) -> str:
    assert instant_ms is not None
    moment = datetime.fromtimestamp(instant_ms / 1000, clock(zone).zone)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds").removesuffix(":00.000")


def window(text: str, *weekdays: int) -> Window:
    start, end = (int(t[:2]) * HOUR_MS + int(t[3:]) * 60_000 for t in text.split("-"))
    return Window(start, end, weekdays)


def hours(*, opens: tuple[Window, ...] = (), quiet: tuple[Window, ...] = (), holidays: bool = False,
          medium: Medium = Medium.SMS) -> MediumHours:  # fmt: skip
    return MediumHours(medium, opens, quiet, holidays)


def opens(what: MediumHours | None, when: str, *zones: str, **place: object) -> str:
    """Say when it opens, on the first clock."""
    first = zones[0] if zones else WARSAW
    found = opening_ms(what, at(when, first), zones or (WARSAW,), **place)  # type: ignore[arg-type]
    return shown(found, first)


NIGHT = hours(quiet=(window("20:00-09:00"),))
OFFICE = hours(opens=(window("09:00-17:00", 1, 2, 3, 4, 5),))

# --- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "opening"),
    [
        ("2024-06-03T08:59:59.999", "2024-06-03T09:00"),
        ("2024-06-03T09:00", "2024-06-03T09:00"),
        ("2024-06-03T19:59:59.999", "2024-06-03T19:59:59.999"),
        ("2024-06-03T20:00", "2024-06-04T09:00"),
        ("2024-06-04T00:00", "2024-06-04T09:00"),
    ],
)
def test_quiet_hours_past_midnight_are_half_open_d3(when: str, opening: str) -> None:
    """d3, R36: 20:00 is quiet, 09:00 is not."""
    assert opens(NIGHT, when) == opening


@pytest.mark.parametrize(
    ("when", "opening"),
    [
        ("2024-06-03T12:00", "2024-06-03T22:00"),
        ("2024-06-03T22:00", "2024-06-03T22:00"),
        ("2024-06-04T05:59:59.999", "2024-06-04T05:59:59.999"),
        ("2024-06-04T06:00", "2024-06-04T22:00"),
    ],
)
def test_an_overnight_window_opens_and_is_not_turned_round_d3(when: str, opening: str) -> None:
    """d3: 22-06 is the night; elsewhere it becomes 06-22, or never opens."""
    assert opens(hours(opens=(window("22:00-06:00"),)), when) == opening


@pytest.mark.parametrize(
    ("when", "opening"),
    [
        ("2024-06-07T16:59", "2024-06-07T16:59"),  # a Friday
        ("2024-06-07T17:00", "2024-06-10T09:00"),
        ("2024-06-09T12:00", "2024-06-10T09:00"),
        ("2024-06-10T03:00", "2024-06-10T09:00"),
    ],
)
def test_windows_of_some_weekdays_d3(when: str, opening: str) -> None:
    assert opens(OFFICE, when) == opening


@pytest.mark.parametrize(
    ("when", "opening"),
    [
        ("2024-06-07T12:00", "2024-06-07T22:00"),
        ("2024-06-08T05:00", "2024-06-08T05:00"),  # Saturday morning is still Friday's
        ("2024-06-08T06:00", "2024-06-14T22:00"),
        ("2024-06-07T05:00", "2024-06-07T22:00"),  # Friday morning would be Thursday's
    ],
)
def test_the_weekday_of_a_night_is_that_of_its_evening_d3(when: str, opening: str) -> None:
    assert opens(hours(opens=(window("22:00-06:00", 5),)), when) == opening


def test_a_window_of_sunday_night_reaches_into_monday_d3() -> None:
    """d3: the week wraps as the day does."""
    night = hours(quiet=(window("20:00-09:00", 7),))
    assert opens(night, "2024-06-10T08:00") == "2024-06-10T09:00"
    assert opens(night, "2024-06-10T21:00") == "2024-06-10T21:00"


def test_a_window_that_ends_where_it_starts_is_off_d3() -> None:
    """d3: `start == end` is off; open windows that are all off restrict nothing."""
    off = window("06:00-06:00")
    assert opens(hours(opens=(off,), quiet=(off,)), "2024-06-03T03:00") == "2024-06-03T03:00"
    both = hours(opens=(off, window("10:00-11:00")))
    assert opens(both, "2024-06-03T06:00") == "2024-06-03T10:00"


def test_several_windows_and_quiet_hours_inside_them_d3() -> None:
    day = hours(
        opens=(window("09:00-13:00"), window("12:00-18:00"), window("20:00-21:00")),
        quiet=(window("12:30-14:00"), window("17:00-20:30")),
    )
    for when, opening in [
        ("08:00", "09:00"), ("12:29", "12:29"), ("12:30", "14:00"), ("17:00", "20:30"),
        ("20:59", "20:59"),
    ]:  # fmt: skip
        assert opens(day, f"2024-06-03T{when}") == f"2024-06-03T{opening}"
    assert opens(day, "2024-06-03T21:00") == "2024-06-04T09:00"


def test_a_medium_without_hours_is_open_d3() -> None:
    assert opens(None, "2024-06-03T03:00") == "2024-06-03T03:00"
    assert opens(hours(), "2024-06-03T03:00") == "2024-06-03T03:00"
    assert opens(hours(), "2024-12-25T03:00", country="PL") == "2024-12-25T03:00"


# --- never ---------------------------------------------------------------------------------------


def test_a_medium_that_never_opens_has_no_opening_d3() -> None:
    """d3: the search ends after 14 days; the message then ends EXPIRED (NO_SLOT)."""
    never = hours(opens=(window("09:00-17:00"),), quiet=(window("08:00-18:00"),))
    assert opening_ms(never, at("2024-06-03T12:00"), (WARSAW,)) is None
    whole_day = hours(quiet=(Window(0, DAY_MS),))
    assert opening_ms(whole_day, at("2024-06-03T12:00"), (WARSAW,)) is None


def test_the_horizon_is_14_days_to_the_millisecond_d3() -> None:
    monday = at("2024-06-03T10:00")
    closed = [f"2024-06-{day:02}" for day in range(4, 17)]
    morning = hours(opens=(window("10:00-10:01"),), holidays=True)
    found = opening_ms(morning, monday + 60_000, (WARSAW,), closed_dates=closed)
    assert found == monday + SEARCH_HORIZON_MS
    late = opening_ms(morning, monday + 60_000, (WARSAW,), closed_dates=[*closed, "2024-06-17"])
    assert late is None
    noon = hours(opens=(window("11:00-11:01"),), holidays=True)
    first_ms = at("2024-06-17T11:00") - SEARCH_HORIZON_MS
    closed = [f"2024-06-{day:02}" for day in range(3, 17)]
    assert opening_ms(noon, first_ms, (WARSAW,), closed_dates=closed) is not None
    assert opening_ms(noon, first_ms - 1, (WARSAW,), closed_dates=closed) is None


# --- clocks that change --------------------------------------------------------------------------


def test_hours_follow_the_clock_over_its_changes_d2_d3() -> None:
    """d2, d3: the night of 31 March is an hour short, that of 27 October an hour long."""
    assert opens(NIGHT, "2024-03-30T21:00") == "2024-03-31T09:00"
    assert at("2024-03-31T09:00") - at("2024-03-30T21:00") == 11 * HOUR_MS
    assert opens(NIGHT, "2024-10-26T21:00") == "2024-10-27T09:00"
    assert at("2024-10-27T09:00") - at("2024-10-26T21:00") == 13 * HOUR_MS


def test_a_window_in_a_gap_is_not_there_that_day_d2() -> None:
    slot = hours(opens=(window("02:15-02:45"),))
    assert opens(slot, "2024-03-31T00:00") == "2024-04-01T02:15"
    across = hours(opens=(window("01:30-02:45"),))
    assert opens(across, "2024-03-31T02:59") == "2024-04-01T01:30"  # 02:59 is 03:00, and closed


def test_quiet_hours_that_come_twice_hold_twice_d2() -> None:
    """d2: on 27 October 02:00 to 03:00 comes twice; no clock shows a quiet time at the opening."""
    quiet = hours(quiet=(window("02:15-02:45"),))
    second_ms = at("2024-10-27T02:30") + HOUR_MS
    assert shown(second_ms) == "2024-10-27T02:30"
    assert shown(opening_ms(quiet, second_ms, (WARSAW,))) == "2024-10-27T02:45"
    between = at("2024-10-27T02:45") + 20 * 60_000  # shows 02:05 for the second time
    assert opening_ms(quiet, between, (WARSAW,)) == between


# --- holidays ------------------------------------------------------------------------------------


def test_holidays_and_closed_dates_are_closed_all_day_r36() -> None:
    """R36: from the 24th in the evening to the Sunday after Christmas and over New Year."""
    closing = hours(quiet=(window("20:00-09:00"),), holidays=True)
    assert opens(closing, "2026-12-24T20:00", country="PL") == "2026-12-27T09:00"
    assert opens(closing, "2026-12-25T12:00", country="pl") == "2026-12-27T09:00"
    office = hours(opens=(window("09:00-20:00", 1, 2, 3, 4, 5),), holidays=True)
    assert opens(office, "2026-12-24T12:00", country="PL") == "2026-12-28T09:00"
    dates = {"country": "PL", "closed_dates": ("2026-12-27", "2026-12-28")}
    assert opens(closing, "2026-12-24T20:00", **dates) == "2026-12-29T09:00"
    # Christmas Eve itself became a holiday in 2025.
    assert opens(closing, "2026-12-24T12:00", country="PL") == "2026-12-27T09:00"
    assert opens(closing, "2024-12-24T12:00", country="PL") == "2024-12-24T12:00"


def test_holidays_count_only_where_the_medium_closes_on_them_r36() -> None:
    place = {"country": "PL", "closed_dates": ("2026-12-25",)}
    assert opens(NIGHT, "2026-12-25T12:00", **place) == "2026-12-25T12:00"


def test_holidays_of_a_region_r36() -> None:
    """R36: Epiphany is a holiday in Bavaria, not in Berlin; an unknown region has the country's."""
    closing = hours(holidays=True)
    berlin = "Europe/Berlin"
    for region, opening in [
        ("BY", "07"),
        ("by", "07"),
        ("BE", "06"),
        ("", "06"),
        ("Bayern?", "06"),
    ]:
        found = opens(closing, "2026-01-06T12:00", berlin, country="DE", region=region)
        assert found[:10] == f"2026-01-{opening}", region
    for region in ("", "Bayern?"):
        assert opens(closing, "2026-05-01T12:00", berlin, country="DE", region=region)[8:10] == "02"


@pytest.mark.parametrize("country", ["", "XX", "ZZ", "Poland", "POL"])
def test_an_unknown_country_has_no_holidays_r36(country: str) -> None:
    assert not is_public_holiday(day_of("2026-12-25"), country)
    assert opens(hours(holidays=True), "2026-12-25T12:00", country=country) == "2026-12-25T12:00"


def test_a_night_begun_on_the_eve_of_a_holiday_ends_with_the_eve_d3() -> None:
    night = hours(opens=(window("22:00-06:00"),), holidays=True)
    place = {"closed_dates": ("2024-06-04",)}
    assert opens(night, "2024-06-03T23:59", **place) == "2024-06-03T23:59"
    assert opens(night, "2024-06-04T00:00", **place) == "2024-06-05T00:00"


def test_years_that_a_calendar_does_not_reach_warn_nobody() -> None:
    assert holidays_of("IN", "", 2040)


@pytest.mark.parametrize(
    ("told", "place"),
    [
        (("DE", "BY"), ("DE", "BY")),
        (("DE", ""), ("DE", "BE")),
        (("FR", ""), ("FR", "")),
        (("", "BY"), ("DE", "BE")),
    ],
)
def test_whose_holidays_count_r36(told: tuple[str, str], place: tuple[str, str]) -> None:
    """R36: the recipient's country, else the channel's."""
    assert holiday_place(*told, "DE", "BE") == place


def test_a_closed_date_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="month"):
        opening_ms(hours(holidays=True), 0, (WARSAW,), closed_dates=("2024-13-01",))


# --- several zones -------------------------------------------------------------------------------


def test_the_strictest_of_all_possible_zones_holds_g7() -> None:
    """g7: not before 08:00 of Hawaii, not from 21:00 of New York."""
    quiet = hours(quiet=(window("21:00-08:00"),))
    states = possible_zones("US")
    first, last = "America/New_York", "Pacific/Honolulu"
    found = opening_ms(quiet, at("2024-07-01T08:00", first), states)
    assert shown(found, last) == "2024-07-01T08:00"
    assert shown(found, first) == "2024-07-01T14:00"
    late = opening_ms(quiet, at("2024-07-01T21:00", first), states)
    assert shown(late, last) == "2024-07-02T08:00"
    assert opens(quiet, "2024-07-01T20:59", *states) == "2024-07-01T20:59"


def test_zones_without_a_common_hour_never_open_g7() -> None:
    slot = hours(opens=(window("09:00-10:00"),))
    assert opening_ms(slot, 0, ("Europe/Warsaw", "Asia/Tokyo")) is None
    with pytest.raises(InvalidField):
        opening_ms(slot, 0, ("Mars/Olympus",))


# --- defaults and law ----------------------------------------------------------------------------


def test_the_defaults_of_media_r36() -> None:
    """R36: none for e-mail; nights for SMS and WhatsApp; no Sunday or holiday to anywhere."""
    assert default_hours(Medium.EMAIL, "") is None
    assert default_hours(Medium.WEBHOOK, "") is None
    for medium in (Medium.SMS, Medium.WHATSAPP):
        assert default_hours(medium, "PL") == hours(quiet=(window("20:00-09:00"),), medium=medium)
    assert opens(default_hours(Medium.WHATSAPP, ""), "2024-06-09T12:00") == "2024-06-09T12:00"
    anywhere = default_hours(Medium.SMS, "")
    assert opens(anywhere, "2024-06-08T20:00") == "2024-06-10T09:00"
    assert opens(anywhere, "2024-12-25T12:00", country="PL") == "2024-12-27T09:00"


def test_who_obeys_hours_r36_c18() -> None:
    """R36, C18: quiet hours apply to reviews and marketing only."""
    assert [purpose for purpose in Purpose if obeys_hours(purpose)] == [
        Purpose.REVIEW,
        Purpose.MARKETING,
    ]


def test_what_a_channel_configured_replaces_the_defaults_r36() -> None:
    own = hours(quiet=(window("23:00-05:00"),))
    assert hours_for((own,), Medium.SMS, "PL") == own
    assert hours_for((own,), Medium.SMS, "") == own
    assert hours_for((own,), Medium.WHATSAPP, "US") == default_hours(Medium.WHATSAPP, "US")
    assert hours_for((own,), Medium.EMAIL, "US") is None
    mail = hours(opens=(window("09:00-17:00"),), medium=Medium.EMAIL)
    assert hours_for((own, mail), Medium.EMAIL, "FR") == mail


ANY_TIME = (hours(),)
US_ZONE = "America/Chicago"


@pytest.mark.parametrize(
    ("country", "region", "when", "opening"),
    [
        ("US", "NY", "2024-06-03T07:59", "2024-06-03T08:00"),
        ("us", "US-NY", "2024-06-03T20:59", "2024-06-03T20:59"),
        ("US", "NY", "2024-06-03T21:00", "2024-06-04T08:00"),
        ("US", "NY", "2024-06-09T12:00", "2024-06-09T12:00"),
        ("US", "FL", "2024-06-03T20:00", "2024-06-04T08:00"),
        ("US", "OK", "2024-06-03T20:00", "2024-06-04T08:00"),
        ("US", "MD", "2024-06-03T20:00", "2024-06-04T08:00"),
        ("US", "MS", "2024-06-03T20:00", "2024-06-04T08:00"),
        ("US", "nj", "2024-06-03T20:00", "2024-06-04T08:00"),
        ("US", "CT", "2024-06-03T08:00", "2024-06-03T09:00"),
        ("US", "CT", "2024-06-03T20:00", "2024-06-04T09:00"),
        ("US", "TX", "2024-06-03T20:59", "2024-06-03T20:59"),
        ("US", "TX", "2024-06-09T11:59", "2024-06-09T12:00"),
        ("US", "RI", "2024-06-07T18:00", "2024-06-08T10:00"),
        ("US", "RI", "2024-06-08T17:00", "2024-06-10T09:00"),
        ("US", "RI", "2024-07-04T12:00", "2024-07-05T09:00"),
        # A state told in other words, or not at all: the strictest.
        ("US", "Connecticut", "2024-06-03T08:00", "2024-06-03T09:00"),
        ("US", "", "2024-06-03T08:00", "2024-06-03T09:00"),
        ("US", "ZZ", "2024-06-03T20:00", "2024-06-04T09:00"),
        ("FR", "", "2024-06-03T07:00", "2024-06-03T08:00"),
        ("FR", "", "2024-06-03T21:59", "2024-06-03T21:59"),
        ("FR", "", "2024-06-08T22:00", "2024-06-10T08:00"),
        ("FR", "", "2024-07-14T12:00", "2024-07-15T08:00"),
        ("FR", "", "2024-08-15T12:00", "2024-08-16T08:00"),
        ("PL", "", "2024-06-09T03:00", "2024-06-09T03:00"),
    ],
)
def test_the_law_of_marketing_by_sms_g7(country: str, region: str, when: str, opening: str) -> None:
    """g7: also where the channel says that SMS may go at any time."""
    found = hours_for(ANY_TIME, Medium.SMS, country, region)
    assert opens(found, when, US_ZONE, country=country, region=region) == opening


def test_the_law_only_adds_g7() -> None:
    """g7: all that the channel says stands in what holds, and how it ends closed messages, too."""
    own = MediumHours(
        Medium.SMS, (window("10:00-22:00"),), (window("12:00-13:00"),), False, OnClosed.SKIP
    )
    for country, region in [("US", ""), ("US", "CT"), ("FR", "")]:
        found = hours_for((own,), Medium.SMS, country, region)
        assert found is not None
        assert found.open == own.open
        assert set(own.quiet) < set(found.quiet)
        assert found.on_closed is OnClosed.SKIP
        assert found.closed_on_holidays == any(
            law.closed_on_holidays for law in legal_hours(country, region)
        )
    kept = hours(holidays=True)
    assert hours_for((kept,), Medium.SMS, "US", "NY").closed_on_holidays  # type: ignore[union-attr]


def test_the_table_of_laws_is_sound_g7() -> None:
    laws = [
        *LEGAL_HOURS.values(),
        *(law for states in STATE_HOURS.values() for law in states.values()),
    ]
    for law in laws:
        for one in law.quiet:
            assert 0 <= one.start_ms < DAY_MS
            assert 0 <= one.end_ms <= DAY_MS
            assert one.start_ms != one.end_ms
            assert set(one.weekdays) <= set(range(1, 8))
    for code in STATE_HOURS["US"]:
        assert legal_hours("US", code) == (LEGAL_HOURS["US"], STATE_HOURS["US"][code])


# --- what is remembered --------------------------------------------------------------------------


def test_days_are_forgotten_rather_than_heaped_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_DAYS_MAX", 10)
    times = OpenTimes(NIGHT, [clock(WARSAW)], lambda _: False)
    for day in range(19_000, 19_050):
        assert times.opening_ms(day * DAY_MS) == opening_ms(NIGHT, day * DAY_MS, (WARSAW,))
    assert len(times._days) <= 10
