"""From which country a phone number is.

Decides: the country of an E.164 number, by the numbering plans of the world.
Never: whether the number is in service, or where its owner is: a number is a proxy (g7).

    +48 501 501 501    PL   the calling code belongs to one country
    +44 7400 123456    GB   shared with Jersey, Guernsey and Man, told apart by the digits
    +1 809 555 1234    DO   shared by 25 countries, told apart by the area code
    +800 1234 5678     ""   belongs to no country

The last three digits are never looked at: they decide nothing about the country, and so what is
remembered here is no number of anybody.

Cost: 0.5 us where the calling code belongs to one country or the block of numbers is remembered; 100 us
for a new block of a shared calling code; 150 ms once, for loading the plans.
"""

from __future__ import annotations

from functools import cache, lru_cache

BLOCKS_MAX = 8_192
"""Blocks of a thousand numbers that are remembered, about 200 bytes each."""

_SUBSCRIBER_DIGITS = 3


def phone_country(phone: str) -> str:
    """Return the country of a number, ISO 3166-1 alpha-2, or "" if there is none.

    Args:
        phone: E.164, "+" and digits.
    """
    digits = phone[1:]
    if phone[:1] != "+" or not (digits.isascii() and digits.isdigit()) or digits[0] == "0":
        return ""
    plans = _plans()
    for length in (1, 2, 3):
        regions = plans.get(digits[:length])
        if regions is not None:
            if len(regions) == 1:
                return regions[0] if regions[0].isalpha() else ""
            return _shared(digits[:-_SUBSCRIBER_DIGITS])
    return ""


@cache
def _plans() -> dict[str, tuple[str, ...]]:
    """Countries by calling code; "001" stands for services of no country."""
    # Loaded when first needed: most recipients tell a country or a zone.
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return {str(code): regions for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()}


@lru_cache(maxsize=BLOCKS_MAX)
def _shared(block: str) -> str:
    """Return the country of a block of numbers under a calling code that countries share."""
    import phonenumbers

    try:
        number = phonenumbers.parse(f"+{block}{'0' * _SUBSCRIBER_DIGITS}")
    except phonenumbers.NumberParseException:
        return ""
    return phonenumbers.region_code_for_number(number) or ""
