"""Money and dates as people of a locale write them.

Decides: how, by the Unicode locale data that comes with the Liquid library.
Never: which locale or zone that is (`values.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time
from babel.numbers import format_currency

STYLES: Final = ("short", "medium", "long", "full")
FALLBACK: Final = "en"


class Price(float):
    """An amount of money: a number to reckon with; by itself it is written with its currency."""

    __slots__ = ("_shown", "amount", "currency")

    def __new__(cls, amount: Decimal, currency: str, locale: str) -> Price:
        """Return the number."""
        return super().__new__(cls, amount)

    def __init__(self, amount: Decimal, currency: str, locale: str) -> None:
        self.amount = amount
        self.currency = currency
        self._shown = locale

    def __str__(self) -> str:
        return money(self.amount, self.currency, self._shown)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, key: object) -> object:
        """Return a field, as templates read it."""
        if key == "amount":
            return float(self.amount)
        if key == "currency":
            return self.currency
        raise KeyError(key)


class Moment:
    """An instant where the recipient is; by itself it is written as its date."""

    __slots__ = ("_locale", "_zone", "ms")

    def __init__(self, ms: int, zone: str, locale: str) -> None:
        self.ms = ms
        self._zone = zone
        self._locale = locale

    def __str__(self) -> str:
        return self.date("medium")

    def date(self, style: str) -> str:
        """Return the date."""
        return _date(self._local().toordinal(), style, self._locale)

    def time(self) -> str:
        """Return the time of day."""
        return str(format_time(self._local(), "short", locale=known_locale(self._locale)))

    def _local(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1_000, zone_of(self._zone))


@lru_cache(maxsize=4_096)
def money(amount: Decimal, currency: str, locale: str) -> str:
    """Return an amount as the locale writes it; a currency nobody knows stands as it is."""
    return str(format_currency(amount, currency, locale=known_locale(locale)))


@lru_cache(maxsize=4_096)
def _date(ordinal: int, style: str, locale: str) -> str:
    day = datetime.fromordinal(ordinal)
    return str(format_date(day, style, locale=known_locale(locale)))


@lru_cache(maxsize=256)
def known_locale(tag: str) -> Locale:
    """Return the locale of a tag, else that of its language, else English."""
    parts = tag.replace("_", "-").split("-")
    for candidate in ("-".join(parts), parts[0], FALLBACK):
        try:
            return Locale.parse(candidate, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    raise AssertionError("English is known")


@lru_cache(maxsize=512)
def zone_of(name: str) -> tzinfo:
    """Return a zone; UTC for one that is not known."""
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, OSError, ValueError):
        return UTC
