"""The filters of templates.

Decides: which there are, and that none makes more than it may: what goes in and what comes out is
bounded, and paid for by its length.
Never: what a message costs in all (`sandbox.py`).

What is nil is empty text, whatever a filter does with it: nobody is greeted as "None".

Those that take text apart by a pattern, that remove the protection of escaping or that look things up
are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import MAXYEAR, UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import wraps
from inspect import Parameter, signature
from itertools import takewhile
from typing import Any, Final

from liquid.builtin.filters import array, misc, string
from liquid.builtin.filters import math as numbers
from liquid.exceptions import FilterArgumentError
from liquid.filter import flatten, with_context
from liquid.undefined import is_undefined

from core import bounds
from senders.contents import formats
from senders.contents.formats import STYLES, Moment, Price

LOCALE_STEPS: Final = 10
"""What writing money or a date for a locale costs besides."""

NUMBER_MAX: Final = 10**15
"""Beyond it a number with cents is not exact any more."""

Filter = Callable[..., Any]


def _size(value: object) -> int:
    """Return the size of a value in characters, roughly; refuse one that is too large."""
    if isinstance(value, str):
        if len(value) > bounds.TEMPLATE_VALUE_CHARS_MAX:
            raise FilterArgumentError("a text is too long for a filter", token=None)
        return len(value)
    if isinstance(value, range):
        raise FilterArgumentError("a range is for loops, not for filters", token=None)
    if isinstance(value, list | tuple | dict):
        if len(value) > bounds.TEMPLATE_VALUE_ITEMS_MAX:
            raise FilterArgumentError("a list is too long for a filter", token=None)
        return sum(len(one) if isinstance(one, str) else 8 for one in value)
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= NUMBER_MAX):
        raise FilterArgumentError("a number is too large", token=None)
    return 0


def _bounded(function: Filter) -> Filter:
    """Return a filter that pays for what goes in and what comes out."""

    @with_context
    @wraps(function)
    def bounded(value: object, *args: object, context: Any, **named: object) -> object:
        size = _size(value) + sum(map(_size, args)) + sum(map(_size, named.values()))
        context.budget.spend(1 + size // bounds.TEMPLATE_STEP_CHARS)
        if getattr(function, "with_environment", False):
            named["environment"] = context.env
        if getattr(function, "wants_context", False):
            context.budget.spend(LOCALE_STEPS)
            named["context"] = context
        answer = function(value, *args, **named)
        context.budget.spend(_size(answer) // bounds.TEMPLATE_STEP_CHARS)
        return answer

    # What `wraps` has taken over of the library's marks does not hold for this function.
    bounded.__dict__.pop("with_environment", None)
    bounded.__dict__.pop("__wrapped__", None)
    return bounded


# --- text ---------------------------------------------------------------------------------------


def shown(value: object) -> object:
    """Return a value as texts have it: nil is empty, and a whole number has no decimals."""
    if isinstance(value, str | Price):
        return value
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) <= NUMBER_MAX:
        return str(int(value))
    return [shown(one) for one in value] if isinstance(value, list) else value


def _textual(function: Filter) -> Filter:
    """Return a filter of the library that meets texts only."""

    @wraps(function)
    def told(value: object, *args: object, **named: object) -> object:
        return function(shown(value), *map(shown, args), **named)

    return told


def _cut(function: Filter) -> Filter:
    """Return a filter of the library that takes how much; from what is nil on, it takes its own."""

    @wraps(function)
    def cut(value: object, *args: object) -> object:
        given = takewhile(lambda one: one is not None and not is_undefined(one), args)
        return function(shown(value), *map(shown, given))

    return cut


def _replace(value: Any, old: Any, new: Any = "") -> str:
    text, wanted, other = _text(value), _text(old), _text(new)
    if not wanted:
        return text
    if len(text) + text.count(wanted) * len(other) > 2 * bounds.TEMPLATE_VALUE_CHARS_MAX:
        raise FilterArgumentError("replace would make too long a text", token=None)
    return text.replace(wanted, other)


def _remove(value: Any, old: Any) -> str:
    return _replace(value, old)


def _join(value: Any, separator: Any = " ", *, environment: Any) -> object:
    parts = [shown(one) for one in value] if isinstance(value, list | tuple) else [shown(value)]
    between = _text(separator)
    if len(parts) * len(between) > bounds.TEMPLATE_VALUE_CHARS_MAX:
        raise FilterArgumentError("join would make too long a text", token=None)
    return array.join(parts, between, environment=environment)


_join.with_environment = True  # type: ignore[attr-defined]


def _split(value: Any, separator: Any) -> list[str]:
    text, between = _text(value), _text(separator)
    found = text.split(between) if between else list(text[: bounds.TEMPLATE_VALUE_ITEMS_MAX + 1])
    return found if text else []


def _text(value: object) -> str:
    told = shown(value)
    return told if isinstance(told, str) else str(told)


# --- lists --------------------------------------------------------------------------------------


def _sort(value: Any, key: object = None) -> list[object]:
    """Return a list in order: numbers, then texts, then what is not known."""

    def place(one: object) -> tuple[int, float, str]:
        found = one.get(str(key)) if key and isinstance(one, dict) else None if key else one
        if found is None:
            return 2, 0.0, ""
        if isinstance(found, int | float) and not isinstance(found, bool):
            return 0, found, ""
        return 1, 0.0, _text(found)

    return sorted(_listed(value), key=place)


def _sum(value: Any, key: object = None) -> float:
    parts = _listed(value)
    if key is not None:
        parts = [one.get(str(key)) for one in parts if isinstance(one, dict)]
    total = sum((_decimal(one) for one in parts), Decimal())
    return int(total) if total == total.to_integral_value() else float(total)


def _listed(value: object) -> list[object]:
    return flatten(value) if isinstance(value, list | tuple) else [value]


def _decimal(value: object) -> Decimal:
    try:
        number = Decimal(str(float(value))) if isinstance(value, float) else Decimal(_text(value))
    except InvalidOperation:
        return Decimal()
    return number if number.is_finite() and abs(number) <= NUMBER_MAX else Decimal()


# --- numbers ------------------------------------------------------------------------------------


def _number(function: Filter) -> Filter:
    """Return a filter of the library on numbers whose mistakes are those of an argument."""

    @wraps(function)
    def counted(value: object, *args: object) -> object:
        try:
            answer = function(
                *(float(one) if isinstance(one, Price) else one for one in (value, *args))
            )
        except (ArithmeticError, ValueError) as error:
            raise FilterArgumentError("this cannot be calculated", token=None) from error
        return float(answer) if isinstance(answer, Decimal) else answer

    return counted


# --- money and dates ----------------------------------------------------------------------------


def _money(value: object, currency: object = "", *, context: Any) -> str:
    if isinstance(value, Price):
        return formats.money(value.amount, value.currency, context.locale)
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return ""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return _text(value)
    if not amount.is_finite() or abs(amount) > NUMBER_MAX:
        return _text(value)
    return formats.money(amount, _text(currency)[:3], context.locale)


def _date_local(value: object, style: object = "medium", *, context: Any) -> str:
    if style not in STYLES:
        raise FilterArgumentError(f"date_local takes one of: {', '.join(STYLES)}", token=None)
    moment = _moment(value, context)
    return moment.date(str(style)) if moment is not None else _text(value)


def _time_local(value: object, *, context: Any) -> str:
    moment = _moment(value, context)
    return moment.time() if moment is not None else _text(value)


def _moment(value: object, context: Any) -> Moment | None:
    """Return an instant that a template names; of `attributes` they are texts."""
    if isinstance(value, Moment):
        return value
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    zone = str(context.resolve("_zone", default=""))
    if len(value) <= 10 or read.tzinfo is None:
        # A civil date is that day everywhere.
        read = read.replace(tzinfo=UTC)
        zone = ""
    if not 1 < read.year < MAXYEAR:
        # A zone may move it out of what there are dates for.
        return None
    return Moment(int(read.timestamp() * 1_000), zone, context.locale)


for _function in (_money, _date_local, _time_local):
    _function.wants_context = True  # type: ignore[attr-defined]


_FUNCTIONS: Final[Mapping[str, Any]] = {
    "abs": _number(numbers.abs_),
    "append": _textual(string.append),
    "at_least": _number(numbers.at_least),
    "at_most": _number(numbers.at_most),
    "capitalize": _textual(string.capitalize),
    "ceil": _number(numbers.ceil),
    "date_local": _date_local,
    "default": misc.default,
    "divided_by": _number(numbers.divided_by),
    "downcase": _textual(string.downcase),
    "escape": _textual(string.escape),
    "first": array.first,
    "floor": _number(numbers.floor),
    "join": _join,
    "last": array.last,
    "lstrip": _textual(string.lstrip),
    "map": array.map_,
    "minus": _number(numbers.minus),
    "modulo": _number(numbers.modulo),
    "money": _money,
    "newline_to_br": _textual(string.newline_to_br),
    "plus": _number(numbers.plus),
    "prepend": _textual(string.prepend),
    "remove": _remove,
    "replace": _replace,
    "reverse": array.reverse,
    "round": _number(numbers.round_),
    "rstrip": _textual(string.rstrip),
    "size": misc.size,
    "slice": _cut(string.slice_),
    "sort": _sort,
    "split": _split,
    "strip": _textual(string.strip),
    "sum": _sum,
    "time_local": _time_local,
    "times": _number(numbers.times),
    "truncate": _cut(string.truncate),
    "truncatewords": _cut(string.truncatewords),
    "upcase": _textual(string.upcase),
    "url_encode": _textual(string.url_encode),
    "where": array.where,
}


def _arguments(function: Filter) -> tuple[int, int]:
    """Return how many arguments a filter takes beside its value, at least and at most."""
    places = [
        each for each in signature(function).parameters.values()
        if each.kind is Parameter.POSITIONAL_OR_KEYWORD
    ][1:]  # fmt: skip
    return sum(each.default is Parameter.empty for each in places), len(places)


ARGUMENTS: Final[Mapping[str, tuple[int, int]]] = {
    name: _arguments(function) for name, function in _FUNCTIONS.items()
}
"""How many arguments each takes, at least and at most."""

FILTERS: Final[Mapping[str, Filter]] = {
    name: _bounded(function) for name, function in _FUNCTIONS.items()
}
"""By name."""
