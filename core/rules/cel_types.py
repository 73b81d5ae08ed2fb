"""The values of CEL that Python has no type for, and the names of all types.

Decides: how an unsigned integer, an instant, a span, a map and a type are held while a condition runs.
Never: what is done with them; that is `core.rules.cel_values` and `core.rules.cel_times`.

    CEL              Python
    bool, string     bool, str
    int, uint        int, Uint
    double           float
    bytes, null      bytes, None
    list             list as `attributes` and the model hold it, tuple where a condition made it
    map              dict as `attributes` holds it, Map where a condition made it
    timestamp        Timestamp
    duration         Duration
    message          the structs of `core.model`
    type             TypeName

A number inside a plain list or dict is a double, whatever the decoder made of it: those come from
`attributes`, which knows no integers.

Units: `nanos` is nanoseconds, since 1970-01-01 UTC for an instant.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from core.model import (
    Address,
    Cart,
    Contact,
    Event,
    Evidence,
    Item,
    Money,
    Order,
    Review,
    Shipment,
)

NANOS_PER_MS: Final = 1_000_000
NANOS_PER_SECOND: Final = 1_000_000_000


class EvaluationError(Exception):
    """A condition ended in an error: it counts as false and is reported (R42)."""


class Uint(int):
    """An unsigned integer of 64 bits; equal to an int of the same number."""

    __slots__ = ()


class Timestamp(msgspec.Struct, frozen=True, order=True):
    """An instant, exact to the nanosecond."""

    nanos: int


class Duration(msgspec.Struct, frozen=True, order=True):
    """A span, exact to the nanosecond."""

    nanos: int


class Date(msgspec.Struct, frozen=True):
    """A civil date as google.type.Date; all zero for none."""

    year: int = 0
    month: int = 0
    day: int = 0


class TypeName(msgspec.Struct, frozen=True):
    """A type as a value."""

    name: str


class BoolKey(msgspec.Struct, frozen=True):
    """A bool as the key of a map: to Python, true and 1 would be one key."""

    value: bool


class Map(dict[Any, Any]):
    """A map that a condition made. Its keys are as `key_of` makes them."""

    __slots__ = ()


def key_of(key: Any) -> Any:
    """Return a key as `Map` holds it."""
    return BoolKey(key) if key is True or key is False else key


def keys(value: dict[Any, Any]) -> tuple[Any, ...]:
    """Return the keys of a map as CEL sees them."""
    return tuple(key.value if type(key) is BoolKey else key for key in value)


def plain(value: Any) -> Any:
    """Return what `attributes` holds as CEL sees it: there are no integers in it."""
    return float(value) if type(value) is int else value


MESSAGE_TYPES: Final[dict[type, str]] = {
    **{
        kind: f"afterword.v1.{kind.__name__}"
        for kind in (Event, Contact, Order, Cart, Item, Shipment, Review)
    },
    Address: "afterword.v1.PostalAddress",
    Evidence: "afterword.v1.ConsentEvidence",
    Money: "google.type.Money",
    Date: "google.type.Date",
}

_TYPES: Final[dict[type, str]] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    list: "list",
    tuple: "list",
    dict: "map",
    Map: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeName: "type",
    **MESSAGE_TYPES,
}

TYPE_NAMES: Final = frozenset(_TYPES.values())
"""Every type that a condition can name."""


def type_of(value: Any) -> TypeName:
    """Return the type of a value."""
    return TypeName(_TYPES[type(value)])


def in_words(value: Any) -> str:
    """Return the type of a value for a message: "an int"."""
    name = _TYPES[type(value)].rpartition(".")[2].lower().removesuffix("_type")
    if name == "null":
        return name
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def no_overload(name: str, *values: Any) -> EvaluationError:
    """Return the error for arguments that a function does not take."""
    return EvaluationError(f"no {name} for {' and '.join(map(in_words, values))}")
