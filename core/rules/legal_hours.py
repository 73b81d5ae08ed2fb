"""When the law forbids advertising by SMS, by country and state.

Decides: the hours that no setting of a channel may widen. Data only.
Never: what a channel itself prefers; that is joined to it in `core.rules.hours`.

All times are those of the recipient's clock (g7). A review request is advertising, too (g2).

    recipient        not allowed
    US               21:00-08:00 (federal: TCPA)
    US, FL MD MS NJ OK   20:00-08:00
    US, CT           20:00-09:00
    US, TX           21:00-09:00, Sundays before 12:00
    US, RI           18:00-09:00, Saturdays before 10:00 and from 17:00, Sundays and holidays
    US, state untold all of the above together
    FR               22:00-08:00, Sundays, public holidays

Where a state is not told the strictest holds, as with zones: a phone's area code is a proxy at best.

Source: law g7 of the semantics. It names special days for Rhode Island and Texas without their hours;
those stand here as the states' telephone solicitation laws have them. No table replaces advice.
"""

from __future__ import annotations

import msgspec

from core.bounds import DAY_MS, HOUR_MS
from core.registry.rule_parts import Window
from core.rules.region_zones import REGION_ZONES, region_code

_SATURDAY, _SUNDAY = (6,), (7,)


class LegalHours(msgspec.Struct, frozen=True):
    """What is forbidden; added to whatever a channel says."""

    quiet: tuple[Window, ...]
    closed_on_holidays: bool = False


def _night(start_hour: int, end_hour: int) -> Window:
    return Window(start_ms=start_hour * HOUR_MS, end_ms=end_hour * HOUR_MS)


SUNDAY = Window(start_ms=0, end_ms=DAY_MS, weekdays=_SUNDAY)
"""All of Sunday."""

_FROM_20_TO_8 = LegalHours(quiet=(_night(20, 8),))

LEGAL_HOURS: dict[str, LegalHours] = {
    "US": LegalHours(quiet=(_night(21, 8),)),
    "FR": LegalHours(quiet=(_night(22, 8), SUNDAY), closed_on_holidays=True),
}
"""By country."""

STATE_HOURS: dict[str, dict[str, LegalHours]] = {
    "US": {
        "CT": LegalHours(quiet=(_night(20, 9),)),
        "FL": _FROM_20_TO_8,
        "MD": _FROM_20_TO_8,
        "MS": _FROM_20_TO_8,
        "NJ": _FROM_20_TO_8,
        "OK": _FROM_20_TO_8,
        "RI": LegalHours(
            quiet=(
                _night(18, 9),
                Window(start_ms=17 * HOUR_MS, end_ms=10 * HOUR_MS, weekdays=_SATURDAY),
                Window(start_ms=0, end_ms=10 * HOUR_MS, weekdays=_SATURDAY),
                SUNDAY,
            ),
            closed_on_holidays=True,
        ),
        "TX": LegalHours(
            quiet=(_night(21, 9), Window(start_ms=0, end_ms=12 * HOUR_MS, weekdays=_SUNDAY))
        ),
    }
}
"""By country and state: beside the country's own."""

assert STATE_HOURS.keys() <= REGION_ZONES.keys(), "the states of these countries are known by code"


def legal_hours(country: str, region: str) -> tuple[LegalHours, ...]:
    """Return all that the law forbids for SMS to a recipient; together they hold.

    Args:
        country: ISO 3166-1 alpha-2 in capitals, or "" if it is not known.
        region: code of the state, or anything else, which counts as not told.
    """
    of_country = LEGAL_HOURS.get(country)
    if of_country is None:
        return ()
    states = STATE_HOURS.get(country, {})
    code = region_code(country, region)
    if states and code not in REGION_ZONES[country]:
        return (of_country, *states.values())
    return (of_country, states[code]) if code in states else (of_country,)
