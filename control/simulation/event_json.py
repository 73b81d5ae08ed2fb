"""Events from JSON, several times as fast as the general parser.

Decides: nothing. What is written as programs write it is taken here; anything unusual, and everything
that is wrong, goes to protobuf's own parser, which takes or refuses it in its own words. Both give the
same message for what both take.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from afterword.v1 import event_pb2

_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{3}|\d{6}|\d{9}))?Z"
)
_DECIMAL = re.compile(r"-?[0-9]{1,18}")
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_FD: Any = FieldDescriptor
_INT_LIMITS: Final = {
    _FD.CPPTYPE_INT32: (-(2**31), 2**31), _FD.CPPTYPE_INT64: (-(2**63), 2**63),
}  # fmt: skip


class _Unusual(Exception):
    """Not for us."""


Convert = Callable[[Any], Any]


def parse(line: bytes) -> event_pb2.Event:
    """Return the event that a line of proto JSON says.

    Raises:
        json_format.ParseError, UnicodeDecodeError, RecursionError: it is none.
    """
    try:
        data = json.loads(line, object_pairs_hook=_without_twins)
        return event_pb2.Event(**_fields(data, _plan(event_pb2.Event.DESCRIPTOR)))
    except (_Unusual, ValueError, TypeError, RecursionError):
        return json_format.Parse(line, event_pb2.Event())


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Unusual
    return found


def _fields(data: Any, plan: dict[str, tuple[str, Convert]]) -> dict[str, Any]:
    """Return the arguments that make a message of an object."""
    if type(data) is not dict:
        raise _Unusual
    found: dict[str, Any] = {}
    for key, value in data.items():
        planned = plan.get(key)
        if planned is None or planned[0] in found:
            raise _Unusual
        found[planned[0]] = planned[1](value)
    return found


@cache
def _plan(message: Descriptor) -> dict[str, tuple[str, Convert]]:
    """Return for every spelling of a field its name, and what turns JSON into its value."""
    plan: dict[str, tuple[str, Convert]] = {}
    for field in message.fields:
        convert = _converter(field)
        one = _each(convert) if field.is_repeated else convert
        for spelling in (field.name, field.camelcase_name, field.json_name):
            plan[spelling] = (field.name, one)
    return plan


def _converter(field: FieldDescriptor) -> Convert:
    inner = field.message_type
    if inner is not None:
        if inner.full_name == _TIMESTAMP:
            return _timestamp
        if inner.full_name.startswith("google.protobuf.") or inner.GetOptions().map_entry:
            return _unusual
        return lambda value: _fields(value, _plan(inner))
    if field.enum_type is not None:
        return _enum({value.name: value.number for value in field.enum_type.values})
    if field.cpp_type == _FD.CPPTYPE_STRING and field.type == _FD.TYPE_STRING:
        return _text
    if field.cpp_type == _FD.CPPTYPE_BOOL:
        return _bool
    if field.cpp_type in _INT_LIMITS:
        return _integer(*_INT_LIMITS[field.cpp_type])
    return _unusual


def _each(convert: Convert) -> Convert:
    def every(value: Any) -> list[Any]:
        if type(value) is not list:
            raise _Unusual
        return [convert(one) for one in value]

    return every


def _unusual(value: Any) -> Any:
    raise _Unusual


def _text(value: Any) -> str:
    if type(value) is not str:
        raise _Unusual
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise _Unusual
    return value


def _enum(numbers: dict[str, int]) -> Convert:
    def number(value: Any) -> int:
        if type(value) is not str or value not in numbers:
            raise _Unusual
        return numbers[value]

    return number


def _integer(least: int, end: int) -> Convert:
    def integer(value: Any) -> int:
        if type(value) is str and _DECIMAL.fullmatch(value):
            value = int(value)
        if type(value) is not int or not least <= value < end:
            raise _Unusual
        return value

    return integer


def _timestamp(value: Any) -> dict[str, int]:
    match = _INSTANT.fullmatch(value) if type(value) is str else None
    if match is None:
        raise _Unusual
    date, hours, minutes, seconds, fraction = match.groups()
    instant = _midnight(date) + (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return {"seconds": instant, "nanos": int(fraction.ljust(9, "0")) if fraction else 0}


@lru_cache(maxsize=1_024)
def _midnight(date: str) -> int:
    """Return the epoch seconds at which a day begins in UTC."""
    return (datetime.date.fromisoformat(date) - datetime.date(1970, 1, 1)).days * 86_400
