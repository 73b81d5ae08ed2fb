"""Zones: whose clock counts, and what it says (d2). The instants were computed by glibc."""

from __future__ import annotations

from datetime import UTC, datetime

import phonenumbers
import pytest

from core.bounds import DAY_MS
from core.errors import InvalidField
from core.rules import zones
from core.rules.phone_countries import phone_country
from core.rules.region_zones import REGION_ZONES, region_code
from core.rules.zones import (
    clock,
    country_of,
    country_zone,
    is_zone,
    possible_zones,
    resolve_zone,
    zones_to_hold,
)


def utc_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


# A wall time written as if it were UTC is what `wall_ms` means.
wall_ms = utc_ms


ORDINARY = [
    ("Europe/Warsaw", "2019-01-15T10:00", "2019-01-15T09:00"),
    ("Europe/Warsaw", "2024-07-15T10:00", "2024-07-15T08:00"),
    ("Europe/London", "2022-03-28T06:00", "2022-03-28T05:00"),
    ("Europe/Lisbon", "2023-10-29T09:00", "2023-10-29T09:00"),
    ("Europe/Dublin", "2021-12-01T18:30", "2021-12-01T18:30"),
    ("Europe/Istanbul", "2016-12-01T10:00", "2016-12-01T07:00"),
    ("Europe/Moscow", "2024-07-01T10:00", "2024-07-01T07:00"),
    ("Europe/Kyiv", "2025-03-31T08:00", "2025-03-31T05:00"),
    ("America/New_York", "2023-03-13T09:00", "2023-03-13T13:00"),
    ("America/New_York", "2023-11-06T09:00", "2023-11-06T14:00"),
    ("America/Phoenix", "2024-07-15T09:00", "2024-07-15T16:00"),
    ("America/Sao_Paulo", "2018-12-15T10:00", "2018-12-15T12:00"),
    # Brazil gave up daylight saving in 2019.
    ("America/Sao_Paulo", "2019-12-15T10:00", "2019-12-15T13:00"),
    ("America/Santiago", "2022-09-12T10:00", "2022-09-12T13:00"),
    ("America/St_Johns", "2024-06-01T12:00", "2024-06-01T14:30"),
    ("America/Caracas", "2016-06-01T12:00", "2016-06-01T16:00"),
    ("America/Mexico_City", "2022-07-01T12:00", "2022-07-01T17:00"),
    ("America/Mexico_City", "2023-07-01T12:00", "2023-07-01T18:00"),
    ("Asia/Kolkata", "2024-05-05T10:00", "2024-05-05T04:30"),
    ("Asia/Kathmandu", "2024-05-05T10:00", "2024-05-05T04:15"),
    ("Asia/Tehran", "2021-07-01T10:00", "2021-07-01T05:30"),
    ("Asia/Tehran", "2023-07-01T10:00", "2023-07-01T06:30"),
    ("Asia/Tokyo", "2024-02-29T10:00", "2024-02-29T01:00"),
    ("Asia/Pyongyang", "2017-01-01T10:00", "2017-01-01T01:30"),
    ("Asia/Almaty", "2023-06-01T10:00", "2023-06-01T04:00"),
    ("Asia/Almaty", "2024-06-01T10:00", "2024-06-01T05:00"),
    ("Asia/Gaza", "2024-01-15T10:00", "2024-01-15T08:00"),
    # Half an hour of daylight saving.
    ("Australia/Lord_Howe", "2024-01-15T10:00", "2024-01-14T23:00"),
    ("Australia/Lord_Howe", "2024-07-15T10:00", "2024-07-14T23:30"),
    ("Australia/Adelaide", "2024-01-15T10:00", "2024-01-14T23:30"),
    ("Pacific/Auckland", "2023-09-25T07:00", "2023-09-24T18:00"),
    ("Pacific/Chatham", "2023-09-25T07:00", "2023-09-24T17:15"),
    # Samoa went over the date line and had no 2011-12-30.
    ("Pacific/Apia", "2011-12-29T10:00", "2011-12-29T20:00"),
    ("Pacific/Apia", "2011-12-31T10:00", "2011-12-30T20:00"),
    ("Pacific/Kiritimati", "2024-01-01T00:00", "2023-12-31T10:00"),
    # An hour back for Ramadan only.
    ("Africa/Casablanca", "2023-04-10T10:00", "2023-04-10T10:00"),
    ("Africa/Casablanca", "2023-05-10T10:00", "2023-05-10T09:00"),
    # Daylight saving came back in 2023.
    ("Africa/Cairo", "2022-07-01T10:00", "2022-07-01T08:00"),
    ("Africa/Cairo", "2023-07-01T10:00", "2023-07-01T07:00"),
    ("Africa/Johannesburg", "2024-07-01T10:00", "2024-07-01T08:00"),
    ("Antarctica/Troll", "2024-07-01T10:00", "2024-07-01T08:00"),
]

GAPS = [
    ("Europe/Warsaw", "2024-03-31T02:30", "2024-03-31T01:00"),
    ("Europe/Warsaw", "2024-03-31T02:00", "2024-03-31T01:00"),
    ("Europe/Warsaw", "2024-03-31T02:59:59.999", "2024-03-31T01:00"),
    ("Europe/London", "2024-03-31T01:30", "2024-03-31T01:00"),
    ("America/New_York", "2023-03-12T02:30", "2023-03-12T07:00"),
    ("America/Sao_Paulo", "2018-11-04T00:30", "2018-11-04T03:00"),
    ("Australia/Lord_Howe", "2023-10-01T02:15", "2023-09-30T15:30"),
    ("Asia/Pyongyang", "2018-05-04T23:45", "2018-05-04T15:00"),
    ("Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00"),
    ("Africa/Cairo", "2023-04-28T00:30", "2023-04-27T22:00"),
    ("Africa/Casablanca", "2023-04-23T02:30", "2023-04-23T02:00"),
    ("Antarctica/Troll", "2024-03-31T02:30", "2024-03-31T01:00"),
]

OVERLAPS = [
    ("Europe/Warsaw", "2024-10-27T02:30", "2024-10-27T00:30"),
    ("Europe/Warsaw", "2024-10-27T03:00", "2024-10-27T02:00"),
    ("America/New_York", "2023-11-05T01:30", "2023-11-05T05:30"),
    ("America/Sao_Paulo", "2019-02-16T23:30", "2019-02-17T01:30"),
    ("Australia/Lord_Howe", "2024-04-07T01:45", "2024-04-06T14:45"),
    ("Africa/Cairo", "2023-10-26T23:30", "2023-10-26T20:30"),
    ("Africa/Casablanca", "2023-03-19T02:30", "2023-03-19T01:30"),
]


@pytest.mark.parametrize(("key", "wall", "instant"), ORDINARY)
def test_wall_times_of_many_zones(key: str, wall: str, instant: str) -> None:
    assert clock(key).instant_ms(wall_ms(wall)) == utc_ms(instant)
    assert clock(key).local_day(utc_ms(instant)) == wall_ms(wall) // DAY_MS


@pytest.mark.parametrize(("key", "wall", "instant"), GAPS)
def test_a_skipped_wall_time_is_the_first_instant_after_the_gap_d2(
    key: str, wall: str, instant: str
) -> None:
    assert clock(key).instant_ms(wall_ms(wall)) == utc_ms(instant)


@pytest.mark.parametrize(("key", "wall", "instant"), OVERLAPS)
def test_a_wall_time_that_comes_twice_is_its_first_occurrence_d2(
    key: str, wall: str, instant: str
) -> None:
    assert clock(key).instant_ms(wall_ms(wall)) == utc_ms(instant)


@pytest.mark.parametrize(
    ("key", "instant", "day"),
    [
        ("Europe/Warsaw", "2024-10-26T21:59:59.999", "2024-10-26"),
        ("Europe/Warsaw", "2024-10-26T22:00", "2024-10-27"),
        ("Europe/Warsaw", "2024-10-27T22:59:59.999", "2024-10-27"),
        ("Europe/Warsaw", "2024-10-27T23:00", "2024-10-28"),
        ("Pacific/Apia", "2011-12-30T09:59:59.999", "2011-12-29"),
        ("Pacific/Apia", "2011-12-30T10:00", "2011-12-31"),
        # Here the clock went from 00:01 back to 23:01 of the day before.
        ("America/St_Johns", "2010-11-07T02:30", "2010-11-07"),
        ("America/St_Johns", "2010-11-07T02:31", "2010-11-06"),
        ("America/St_Johns", "2010-11-07T03:30", "2010-11-07"),
        ("Asia/Kolkata", "1969-12-31T18:30", "1970-01-01"),
    ],
)
def test_local_day_at_its_edges(key: str, instant: str, day: str) -> None:
    assert clock(key).local_day(utc_ms(instant)) == wall_ms(day) // DAY_MS


def test_a_clock_forgets_rather_than_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "CLOCK_DAYS_MAX", 10)
    walls = [day * DAY_MS for day in range(20_000, 20_050)]
    small = zones.Clock(clock("Europe/Rome").zone)
    assert [small.instant_ms(wall) for wall in walls] == [
        clock("Europe/Rome").instant_ms(wall) for wall in walls
    ]
    assert [small.local_day(wall) for wall in walls] == [
        clock("Europe/Rome").local_day(wall) for wall in walls
    ]
    assert len(small._offsets) <= 10
    assert len(small._steps) <= 10


# --- whose zone ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "country", "channel", "expected"),
    [
        ("Asia/Tokyo", "PL", "Europe/Madrid", ("Asia/Tokyo", zones.CONTACT)),
        ("", "PL", "Europe/Madrid", ("Europe/Warsaw", zones.COUNTRY)),
        ("", "pl", "Europe/Madrid", ("Europe/Warsaw", zones.COUNTRY)),
        ("", "US", "Europe/Madrid", ("Europe/Madrid", zones.CHANNEL)),
        ("", "", "Europe/Madrid", ("Europe/Madrid", zones.CHANNEL)),
        ("Mars/Olympus", "XX", "Europe/Madrid", ("Europe/Madrid", zones.CHANNEL)),
        ("Mars/Olympus", "", "", ("UTC", zones.FALLBACK)),
    ],
)
def test_the_chain_of_zones_d2(
    told: str, country: str, channel: str, expected: tuple[str, str]
) -> None:
    assert resolve_zone(told, country, channel) == expected


@pytest.mark.parametrize(
    ("told", "country", "phone", "region", "expected"),
    [
        ("Asia/Tokyo", "US", "+48501501501", "NY", ("Asia/Tokyo", zones.CONTACT)),
        ("", "PL", "+4915112345678", "", ("Europe/Warsaw", zones.COUNTRY)),
        ("", "US", "", "NY", ("America/New_York", zones.REGION)),
        ("", "us", "", "us-ny", ("America/New_York", zones.REGION)),
        ("", "US", "", "TX", ("Europe/Madrid", zones.CHANNEL)),
        ("", "US", "", "New York", ("Europe/Madrid", zones.CHANNEL)),
        ("", "AU", "", "QLD", ("Australia/Brisbane", zones.REGION)),
        ("", "", "+48501501501", "", ("Europe/Warsaw", zones.PHONE)),
        ("Mars/Olympus", "", "+48501501501", "", ("Europe/Warsaw", zones.PHONE)),
        ("", "", "+18095551234", "", ("America/Santo_Domingo", zones.PHONE)),
        ("", "", "+12125551234", "", ("Europe/Madrid", zones.CHANNEL)),
        ("", "", "+80012345678", "", ("Europe/Madrid", zones.CHANNEL)),
        ("", "", "501501501", "", ("Europe/Madrid", zones.CHANNEL)),
        # A country that is told is believed, even where it leads nowhere.
        ("", "US", "+48501501501", "", ("Europe/Madrid", zones.CHANNEL)),
    ],
)
def test_the_chain_goes_over_state_and_phone_d2(
    told: str, country: str, phone: str, region: str, expected: tuple[str, str]
) -> None:
    """d2: recipient's zone > country, address, phone with one clock > channel > UTC."""
    assert resolve_zone(told, country, "Europe/Madrid", phone, region) == expected


def test_which_zones_must_hold_g7() -> None:
    """g7: one where it is known; else all that the recipient may be in."""
    assert zones_to_hold("Asia/Tokyo", zones.CONTACT, "US") == ("Asia/Tokyo",)
    assert zones_to_hold("Europe/Warsaw", zones.PHONE, "PL") == ("Europe/Warsaw",)
    assert zones_to_hold("Europe/Madrid", zones.CHANNEL, "") == ("Europe/Madrid",)
    held = zones_to_hold("Europe/Madrid", zones.CHANNEL, "US")
    assert {"America/New_York", "Pacific/Honolulu", "America/Phoenix"} <= set(held)
    assert "Europe/Madrid" not in held
    assert len(zones_to_hold("Europe/Madrid", zones.CHANNEL, "US", "TX")) == 2
    assert zones_to_hold("Europe/Madrid", zones.FALLBACK, "US", "Texas") == held


@pytest.mark.parametrize(
    ("country", "region", "count"),
    [("PL", "", 1), ("pl", "", 1), ("DE", "", 1), ("ES", "", 2), ("XX", "", 0), ("", "", 0),
     ("US", "FL", 2), ("US", "AZ", 2), ("US", "XX", 8), ("DE", "BY", 1)],
)  # fmt: skip
def test_possible_zones_name_each_clock_once_g7(country: str, region: str, count: int) -> None:
    assert len(possible_zones(country, region)) == count


def test_the_clocks_of_a_country_are_all_possible_g7() -> None:
    """Every zone of zone.tab shows, in every week, what one of the possible zones shows."""
    moments = [utc_ms("2025-01-01") + week * 7 * DAY_MS for week in range(0, 520, 11)]
    for country in ("US", "CA", "RU", "BR", "AU"):
        found = {tuple(clock(k).offset_ms(m) for m in moments) for k in possible_zones(country)}
        for key in zones._country_keys()[country]:
            assert tuple(clock(key).offset_ms(m) for m in moments) in found, key


@pytest.mark.parametrize("country", REGION_ZONES)
def test_the_states_have_all_zones_of_their_country(country: str) -> None:
    of_states = {key for keys in REGION_ZONES[country].values() for key in keys}
    assert of_states == set(zones._country_keys()[country])


@pytest.mark.parametrize(
    ("region", "code"),
    [
        ("TX", "TX"),
        (" tx ", "TX"),
        ("US-TX", "TX"),
        ("Texas", ""),
        ("", ""),
        ("T.X", ""),
        ("ŁÓ", ""),
    ],
)
def test_a_state_is_known_by_its_code(region: str, code: str) -> None:
    assert region_code("US", region) == code


@pytest.mark.parametrize(
    ("phone", "country"),
    [
        ("+48501501501", "PL"),
        ("+4915112345678", "DE"),
        ("+447400123456", "GB"),
        ("+447797712345", "JE"),
        ("+12125551234", "US"),
        ("+14165551234", "CA"),
        ("+18095551234", "DO"),
        ("+77012345678", "KZ"),
        ("+79161234567", "RU"),
        ("+390612345678", "IT"),
        ("+358401234567", "FI"),
        ("+80012345678", ""),
        ("+999123456789", ""),
        ("+1", ""),
        ("+44", ""),
        ("+", ""),
        ("", ""),
        ("48501501501", ""),
        ("+0123", ""),
        ("+48 501", ""),
        ("+٤٨501501501", ""),
        ("anna@example.com", ""),
    ],
)
def test_the_country_of_a_phone_d2(phone: str, country: str) -> None:
    assert phone_country(phone) == country


def test_the_last_digits_of_a_phone_decide_nothing() -> None:
    """What is remembered of a number is its block alone: the answer is that for the whole number."""
    for country in phonenumbers.SUPPORTED_REGIONS:
        for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
            number = phonenumbers.example_number_for_type(country, kind)
            if number is not None:
                phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
                assert phone_country(phone) == phonenumbers.region_code_for_number(number), phone


@pytest.mark.parametrize(
    ("told", "phone", "country"),
    [
        ("PL", "+4915112345678", "PL"),
        ("pl", "", "PL"),
        ("", "+4915112345678", "DE"),
        ("XX", "+4915112345678", "DE"),
        ("XX", "", ""),
        ("", "", ""),
    ],
)
def test_the_country_of_a_recipient_r36(told: str, phone: str, country: str) -> None:
    assert country_of(told, phone) == country


def test_a_day_is_cut_where_its_offset_changes_d2() -> None:
    warsaw = clock("Europe/Warsaw")
    day = wall_ms("2024-03-31") // DAY_MS
    assert warsaw.stretches(day) == (
        (day * DAY_MS, utc_ms("2024-03-31T01:00"), 3_600_000),
        (utc_ms("2024-03-31T01:00"), (day + 1) * DAY_MS, 7_200_000),
    )
    assert warsaw.stretches(day + 1) == (((day + 1) * DAY_MS, (day + 2) * DAY_MS, 7_200_000),)


@pytest.mark.parametrize("country", ["US", "BR", "RU", "AU", "ES", "PT", "CN", "UA", "XX", ""])
def test_a_country_of_several_clocks_has_no_zone(country: str) -> None:
    assert country_zone(country) is None


@pytest.mark.parametrize(
    ("country", "key"),
    [
        ("PL", "Europe/Warsaw"),
        ("DE", "Europe/Berlin"),
        ("GB", "Europe/London"),
        ("AR", "America/Argentina/Buenos_Aires"),
        ("IN", "Asia/Kolkata"),
    ],
)
def test_a_country_of_one_clock_has_its_zone(country: str, key: str) -> None:
    assert country_zone(country) == key


@pytest.mark.parametrize(
    "key", ["", "europe/warsaw", "Factory", "../zones", "/etc/localtime", "X" * 999]
)
def test_only_names_of_the_list_are_zones(key: str) -> None:
    assert not is_zone(key)
    with pytest.raises(InvalidField, match="use an IANA name"):
        clock(key)


def test_every_zone_of_the_list_can_be_read() -> None:
    for key in zones._zone_keys():
        assert clock(key).offset_ms(utc_ms("2024-06-01")) % 60_000 == 0
