"""What is known of a value before the condition runs.

The checker's own types are not enough for that: it lets a value of unknown type pass for any other, so
that `[1] + event.attributes.list` is a list of ints to it. A kind here is only what the tree makes
certain; everything else is `DYN` and looked at when the condition runs.

Decides: the kinds of fields, constants and results.
Never: whether a condition is valid; that is the checker's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from core.rules import fields
from core.rules.fields import FIELDS, Field


class Kind(NamedTuple):
    """A type, as far as it is certain."""

    name: str
    element: Kind | None = None
    """Of a list."""
    message: str = ""
    """Of a message: its name in `core.rules.fields`."""


BOOL, INT, UINT, DOUBLE = Kind("bool"), Kind("int"), Kind("uint"), Kind("double")
STRING, BYTES, NULL, TYPE = Kind("string"), Kind("bytes"), Kind("null"), Kind("type")
TIMESTAMP, DURATION = Kind("timestamp"), Kind("duration")
MAP, DYN = Kind("map"), Kind("dyn")

SCALARS = frozenset({BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION})
"""Kinds that Python compares as CEL does."""

NUMBERS = frozenset({INT, UINT, DOUBLE})

BY_NAME = {kind.name: kind for kind in (*SCALARS, TYPE)}
"""Kinds by the name of the conversion that makes them."""


class Typed(NamedTuple):
    """A part of a tree, with its kind."""

    tree: list[Any]
    kind: Kind
    is_path: bool = False
    """Fields of it are read by a longer path, without a look at what it is."""


def message(name: str) -> Kind:
    """Return the kind of a message."""
    return Kind("message", message=name)


def list_of(elements: list[Kind]) -> Kind:
    """Return the kind of a list of elements of these kinds."""
    first = elements[0] if elements else DYN
    return Kind("list", first if all(element == first for element in elements) else DYN)


def element_of(kind: Kind) -> Kind:
    """Return the kind of an element of a range."""
    return kind.element or DYN


def kind_of_field(owner: str, name: str) -> Kind:
    """Return the kind of a field of a message; the table must have it."""
    field: Field = FIELDS[owner][name]
    match field.kind:
        case fields.Kind.MESSAGE:
            return message(field.message)
        case fields.Kind.MESSAGES:
            return Kind("list", message(field.message))
        case fields.Kind.STRINGS:
            return Kind("list", STRING)
    return Kind(field.kind.value)


_SUMS = {
    ("_+_", TIMESTAMP, DURATION): TIMESTAMP,
    ("_+_", DURATION, TIMESTAMP): TIMESTAMP,
    ("_+_", DURATION, DURATION): DURATION,
    ("_-_", TIMESTAMP, DURATION): TIMESTAMP,
    ("_-_", TIMESTAMP, TIMESTAMP): DURATION,
    ("_-_", DURATION, DURATION): DURATION,
}


def result_of(function: str, kinds: list[Kind]) -> Kind:
    """Return the kind of what an arithmetic operator makes."""
    if len(kinds) == 2 and (function, *kinds) in _SUMS:
        return _SUMS[function, kinds[0], kinds[1]]
    is_one = all(kind == kinds[0] for kind in kinds)
    is_closed = kinds[0] in NUMBERS or kinds[0] in (STRING, BYTES) or kinds[0].name == "list"
    return kinds[0] if is_one and is_closed else DYN
