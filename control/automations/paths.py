"""Where a parameter of an automation points to: a path into a rule, and its value as text.

Decides: the form of a path, "steps[0].wait.elapsed", and what a text means for the field there: a
text as it is, a length of time as "90m", "4h", "3d" or "1d12h", a number, a time of day as "10:00".
An empty text unsets the field.
Never: whether the rule is right with it; it is checked like every rule.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from core.errors import InvalidField

LENGTH_HELP = 'a length of time such as "90m", "4h", "3d" or "1d12h"'

_SEGMENT = re.compile(r"([a-z_]+)(?:\[([0-9]{1,2})\])?")
_LENGTH = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?")
_LENGTH_SECONDS = (86_400, 3_600, 60, 1)
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_TIME_OF_DAY = re.compile(r"[0-2][0-9]:[0-5][0-9](?::[0-5][0-9])?")
_DURATION = "google.protobuf.Duration"
_CLOCK_TIME = "google.type.TimeOfDay"
_BOOLEANS = {"true": True, "false": False}


def write(rule: Message, path: str, text: str, field: str) -> None:
    """Write a text into the field at a path.

    Args:
        rule: changed in place.
        field: what a refusal names.

    Raises:
        InvalidField: there is no such place, or the text does not fit it.
    """
    *around, last = path.split(".")
    target: Any = rule
    for segment in around:
        target = _inside(target, segment, path, field)
    descriptor = _descriptor(target, last, path, field)
    if not text:
        # A message that is not there stays away: an empty sender is none.
        if target.ListFields() or target is rule:
            target.ClearField(last)
    elif descriptor.message_type is None:
        setattr(target, last, _plain(descriptor, text, field))
    elif descriptor.message_type.full_name == _DURATION:
        inside = getattr(target, last)
        inside.SetInParent()
        inside.seconds = _seconds(text, field)
    elif descriptor.message_type.full_name == _CLOCK_TIME:
        _set_time_of_day(getattr(target, last), text, field)
    else:
        raise InvalidField(f"{field}: {path!r} is no single value; name a field of it", field=field)


def _inside(target: Any, segment: str, path: str, field: str) -> Any:
    match = _SEGMENT.fullmatch(segment)
    name, index = (match[1], match[2]) if match else (segment, None)
    descriptor = target.DESCRIPTOR.fields_by_name.get(name)
    if descriptor is None or descriptor.message_type is None:
        raise _nowhere(path, field)
    value = getattr(target, name)
    if not descriptor.is_repeated:
        if index is not None:
            raise _nowhere(path, field)
        return value
    if index is None or int(index) >= len(value):
        raise _nowhere(path, field)
    return value[int(index)]


def _descriptor(target: Any, name: str, path: str, field: str) -> FieldDescriptor:
    descriptor = target.DESCRIPTOR.fields_by_name.get(name)
    if descriptor is None or descriptor.is_repeated:
        raise _nowhere(path, field)
    assert isinstance(descriptor, FieldDescriptor)
    return descriptor


def _nowhere(path: str, field: str) -> InvalidField:
    return InvalidField(
        f"{field}: {path!r} leads nowhere in the rule; a path is like steps[0].wait.elapsed",
        field=field,
    )


def _plain(descriptor: FieldDescriptor, text: str, field: str) -> str | int | bool:
    if descriptor.type == FieldDescriptor.TYPE_STRING:
        return text
    if descriptor.type == FieldDescriptor.TYPE_BOOL:
        if text not in _BOOLEANS:
            raise InvalidField(f"{field} must be true or false", field=field)
        return _BOOLEANS[text]
    if descriptor.type != FieldDescriptor.TYPE_INT32:
        raise InvalidField(f"{field}: {descriptor.name} cannot be a parameter", field=field)
    if descriptor.name == "days" and text.endswith("d"):
        text = text.removesuffix("d")
    if not _NUMBER.fullmatch(text):
        raise InvalidField(f"{field} must be a whole number", field=field)
    return int(text)


def _seconds(text: str, field: str) -> int:
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise InvalidField(f"{field} must be {LENGTH_HELP}", field=field)
    return sum(
        int(count) * seconds
        for count, seconds in zip(match.groups(), _LENGTH_SECONDS, strict=True)
        if count
    )


def _set_time_of_day(target: Any, text: str, field: str) -> None:
    try:
        if not _TIME_OF_DAY.fullmatch(text):
            raise ValueError(text)
        read = datetime.time.fromisoformat(text)
    except ValueError:
        raise InvalidField(
            f"{field} must be a local time of day, for example 10:00", field=field
        ) from None
    target.SetInParent()
    target.hours, target.minutes, target.seconds = read.hour, read.minute, read.second
