"""Public holidays of countries and their regions.

Decides: whether a local day is a public holiday somewhere.
Never: whether a holiday closes a medium; that is `core.rules.hours`.

    country  region  2026-01-06 (Epiphany)
    PL               holiday
    DE               none
    DE       BY      holiday: of Bavaria
    DE       Berl.   none: no region has this code, so the country's own days count
    XX               none: no such country

Units: `day` counts calendar days since 1970-01-01.

Cost: 1 ms for each (country, region, year) the first time, then a look-up in a set; and a second, once,
for loading the calendars. `prepare` takes that second at a time of one's own choice.

Source: the `holidays` library, days that are off by law or decree; of days that depend on the moon, its
estimates.
"""

from __future__ import annotations

import warnings
from datetime import date
from functools import lru_cache

YEARS_MAX = 4_096
"""(Country, region, year) that are remembered, about 1 kB each."""

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def is_public_holiday(day: int, country: str, region: str = "") -> bool:
    """Return whether a day is a public holiday.

    Args:
        day: local day, in days since 1970-01-01.
        country: ISO 3166-1 alpha-2, in any case; "" or an unknown one has no holidays.
        region: ISO 3166-2 subdivision without the country; with "" or an unknown one the country's
            own holidays count alone.
    """
    if not country:
        return False
    year = date.fromordinal(day + _EPOCH_ORDINAL).year
    return day in holidays_of(country.upper(), region.strip().upper(), year)


def holiday_place(
    country: str, region: str, channel_country: str, channel_region: str
) -> tuple[str, str]:
    """Return whose holidays count: the recipient's country, else the channel's (R36).

    A recipient of the channel's own country who tells no region has that of the channel.
    """
    if not country:
        return channel_country, channel_region
    if not region and country == channel_country:
        return country, channel_region
    return country, region


@lru_cache(maxsize=YEARS_MAX)
def holidays_of(country: str, region: str, year: int) -> frozenset[int]:
    """Return the holidays of a year, in days since 1970-01-01.

    Args:
        country: ISO 3166-1 alpha-2 in capitals.
        region: subdivision in capitals, or "".
        year: of the Gregorian calendar.
    """
    # Loaded when first needed: it takes a second, and most channels never ask.
    from holidays import country_holidays

    if len(country) != 2:
        return frozenset()
    with warnings.catch_warnings():
        # It warns of years for which the calendar of the moon is not worked out yet.
        warnings.simplefilter("ignore")
        try:
            dates = country_holidays(country, subdiv=region or None, years=year)
        except NotImplementedError:
            return holidays_of(country, "", year) if region else frozenset()
    return frozenset(day.toordinal() - _EPOCH_ORDINAL for day in dates)


def prepare() -> None:
    """Load the calendars now rather than with the first message that needs one."""
    holidays_of("PL", "", 2026)
