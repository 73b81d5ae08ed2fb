"""The clocks of the states of large countries, where an address names one.

Decides: the zones of a state, province or territory. Data only.
Never: whether a recipient has a zone of their own; that is `core.rules.zones`.

A state with one clock has a zone; of a state with several only the strictest hours are safe. All zones
that the tz database has for a place stand here, also those that keep the same time today: laws change
them one by one.

Source: the comments of zone.tab in the tz database, and the maps of zones it is made from.
"""

from __future__ import annotations

_EASTERN, _CENTRAL = "America/New_York", "America/Chicago"
_MOUNTAIN, _PACIFIC = "America/Denver", "America/Los_Angeles"


def _each(codes: str, *keys: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(codes.split(), keys)


def _below(area: str, places: str) -> tuple[str, ...]:
    return tuple(f"{area}/{place}" for place in places.split())


_INDIANA = _below(
    "America/Indiana", "Indianapolis Vincennes Winamac Marengo Petersburg Vevay Tell_City Knox"
)
_KENTUCKY = _below("America/Kentucky", "Louisville Monticello")
_DAKOTA = _below("America/North_Dakota", "Center New_Salem Beulah")
_ALASKA = _below("America", "Anchorage Juneau Sitka Metlakatla Yakutat Nome Adak")
_US = (
    _each("CT DC DE GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV", _EASTERN)
    | _each("AL AR IA IL LA MN MO MS OK WI", _CENTRAL)
    | _each("CO MT NM UT WY", _MOUNTAIN)
    | _each("CA WA", _PACIFIC)
    | _each("FL TN", _EASTERN, _CENTRAL)
    | _each("KS NE SD TX", _CENTRAL, _MOUNTAIN)
    | _each("IN", *_INDIANA, _CENTRAL)
    | _each("KY", _EASTERN, *_KENTUCKY, _CENTRAL)
    | _each("MI", "America/Detroit", "America/Menominee")
    | _each("ND", _CENTRAL, _MOUNTAIN, *_DAKOTA)
    | _each("ID OR", "America/Boise", _PACIFIC)
    | _each("NV", _MOUNTAIN, _PACIFIC)
    | _each("AZ", "America/Phoenix", _MOUNTAIN)
    | _each("AK", *_ALASKA)
    | _each("HI", "Pacific/Honolulu")
)
_CA = (
    _each("NL", "America/St_Johns", "America/Goose_Bay")
    | _each("NS", "America/Halifax", "America/Glace_Bay")
    | _each("PE", "America/Halifax")
    | _each("NB", "America/Moncton")
    | _each("QC", "America/Toronto", "America/Halifax", "America/Blanc-Sablon")
    | _each("ON", "America/Toronto", "America/Atikokan", "America/Winnipeg")
    | _each("MB", "America/Winnipeg")
    | _each("SK", "America/Regina", "America/Swift_Current", "America/Edmonton")
    | _each("AB", "America/Edmonton")
    | _each("NT", "America/Edmonton", "America/Inuvik")
    | _each("YT", "America/Whitehorse", "America/Dawson")
    | _each(
        "BC", "America/Vancouver", "America/Creston", "America/Dawson_Creek",
        "America/Fort_Nelson", "America/Edmonton",
    )
    | _each(
        "NU", "America/Iqaluit", "America/Atikokan", "America/Resolute",
        "America/Rankin_Inlet", "America/Cambridge_Bay",
    )
)  # fmt: skip
_AU = (
    _each("ACT", "Australia/Sydney")
    | _each("NSW", "Australia/Sydney", "Australia/Broken_Hill", "Australia/Lord_Howe")
    | _each("NT", "Australia/Darwin")
    | _each("QLD", "Australia/Brisbane", "Australia/Lindeman")
    | _each("SA", "Australia/Adelaide")
    | _each("TAS", "Australia/Hobart", "Antarctica/Macquarie")
    | _each("VIC", "Australia/Melbourne")
    | _each("WA", "Australia/Perth", "Australia/Eucla")
)

REGION_ZONES: dict[str, dict[str, tuple[str, ...]]] = {"US": _US, "CA": _CA, "AU": _AU}
"""Zones by country and by subdivision (ISO 3166-2 without the country)."""


def region_code(country: str, region: str) -> str:
    """Return the subdivision that an address names, "" if it is told in other words.

    Args:
        country: ISO 3166-1 alpha-2, in capitals.
        region: a code with or without its country, in any case: "TX", "tx", "US-TX".

    Only codes are understood: a name of a state is text, and text is not guessed at.
    """
    code = region.strip().upper().removeprefix(f"{country}-")
    return code if 1 <= len(code) <= 3 and code.isascii() and code.isalnum() else ""
