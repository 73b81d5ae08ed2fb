"""What a field of a request may hold.

Decides: the form of strings that many messages share, and how a refusal reads: the field's path, and
what would be right. Text of the caller is repeated only where it is configuration, never where it may
be somebody's address or name.
Never: whether something exists; that is asked where it is used.
"""

from __future__ import annotations

import re
import string
import uuid
from collections.abc import Sequence
from functools import lru_cache
from typing import NoReturn, Protocol

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from core import bounds
from core.errors import InvalidField, OutOfRange
from core.rules.zones import is_zone

RESOURCE_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
EVENT_TYPE_ID = re.compile(r"[a-z0-9][-_a-z0-9]{1,61}[a-z0-9]")
CARRIER_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

# Control characters, and the two separators that some software takes for line breaks.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_EMAIL = re.compile(r"[^\s@<>\x00-\x1f\x7f]+@[^\s@<>\x00-\x1f\x7f]+")
PLAIN_EMAIL = re.compile(r"[!-;=?A-~]+@[!-;=?A-~]+")
"""Addresses that are certainly good, nearly all: ASCII without space, brackets and a second "@"."""
_PHONE = re.compile(r"\+[1-9][0-9]{1,14}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}([_-][A-Za-z]{4})?([_-]([A-Za-z]{2}|[0-9]{3}))?")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_REGION = re.compile(r"[A-Za-z0-9]{1,3}")

COUNTRY_FORMS = frozenset(a + b for a in string.ascii_uppercase for b in string.ascii_uppercase)
"""Everything that has the form of a country code."""


class EnumType(Protocol):
    """A generated enumeration, as far as it is needed here."""

    def keys(self) -> Sequence[str]:
        """Return the names of its values."""

    def values(self) -> Sequence[int]:
        """Return the numbers of its values."""


def missing(field: str, right: str) -> NoReturn:
    """Refuse a field that is not set."""
    raise InvalidField(f"{field} is required: {right}", field=field, reason="FIELD_REQUIRED")


def has_control(text: str) -> bool:
    """Return whether a text has control characters or line breaks."""
    # isprintable is ten times faster than the search and says no to a little more.
    return not text.isprintable() and _CONTROL.search(text) is not None


def refuse_unknown(message: Message, field: str) -> None:
    """Refuse fields that this server does not know, in this message itself.

    They would be lost silently: an older server must not act on half of what a newer client says.
    """
    unknown = UnknownFieldSet(message)
    if len(unknown):
        number = unknown[0].field_number
        raise InvalidField(
            f"{field} has a field number {number} that this server does not know: "
            "leave it out, or upgrade the server",
            field=field,
            reason="FIELD_UNKNOWN",
        )


def refuse_unknown_deeply(message: Message, field: str = "") -> None:
    """Refuse unknown fields in a message and everything in it.

    Args:
        field: path of the message, "" for a request itself.
    """
    refuse_unknown(message, field or "request")
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        path = f"{field}.{descriptor.name}" if field else descriptor.name
        if descriptor.is_repeated:
            for index, one in enumerate(value):
                refuse_unknown_deeply(one, f"{path}[{index}]")
        else:
            refuse_unknown_deeply(value, path)


def text(value: str, field: str, chars_max: int, *, is_required: bool = False) -> str:
    """Return a one-line text within its length."""
    if not value:
        if is_required:
            missing(field, f"1 to {chars_max:,} characters")
        return value
    if len(value) > chars_max:
        raise OutOfRange(f"{field} has at most {chars_max:,} characters", field=field)
    if has_control(value):
        raise InvalidField(
            f"{field} is one line without control characters or line breaks", field=field
        )
    return value


def choice(value: int, field: str, enum: EnumType, *, is_required: bool = False) -> int:
    """Return the number of a value that this server knows; 0, which is not said, if that may be."""
    # Without the unspecified one, which is the first.
    *others, last = enum.keys()[1:]
    words = f"{', '.join(others)} or {last}" if others else last
    if is_required and not value:
        missing(field, words)
    if value not in enum.values():
        raise InvalidField(f"{field} must be {words}", field=field)
    return value


def count(number: int, field: str, most: int, noun: str = "entries") -> None:
    """Refuse a list that is too long."""
    if number > most:
        raise OutOfRange(f"{field} has at most {most:,} {noun}", field=field)


def resource_id(value: str, field: str) -> str:
    """Return the id of a channel, cap, rule or step."""
    right = "a lower-case letter, then up to 62 lower-case letters, digits or hyphens"
    if not value:
        missing(field, right)
    if not RESOURCE_ID.fullmatch(value):
        raise InvalidField(f"{field} must be {right}", field=field)
    return value


def event_type_id(value: str, field: str) -> str:
    """Return the id of an event type."""
    right = (
        "3 to 63 lower-case letters, digits, hyphens or underscores, the first and last a letter or "
        'digit, and not "all"'
    )
    if not value:
        missing(field, right)
    if value == "all" or not EVENT_TYPE_ID.fullmatch(value):
        raise InvalidField(f"{field} must be {right}", field=field)
    return value


def carrier_id(value: str, field: str) -> str:
    """Return the id of a carrier."""
    right = (
        "1 to 63 lower-case letters, digits, hyphens or underscores, the first a letter or digit: "
        "what shipment.carrier says, in lower case"
    )
    if not value:
        missing(field, right)
    if not CARRIER_ID.fullmatch(value):
        raise InvalidField(f"{field} must be {right}", field=field)
    return value


def email(value: str, field: str) -> str:
    """Return an e-mail address, trimmed."""
    if len(value) > bounds.EMAIL_CHARS_MAX:
        raise OutOfRange(f"{field} has at most {bounds.EMAIL_CHARS_MAX} characters", field=field)
    if has_control(value):
        # Before trimming: a line break at the end is an attempt, or a bug worth hearing of.
        raise InvalidField(
            f"{field} must be an address without control characters or line breaks", field=field
        )
    trimmed = value.strip()
    if _EMAIL.fullmatch(trimmed) is None:
        raise InvalidField(
            f'{field} must be one address of the form name@domain, with one "@" and no spaces or '
            "angle brackets",
            field=field,
        )
    return trimmed


def phone(value: str, field: str) -> str:
    """Return a phone number in E.164 form."""
    if _PHONE.fullmatch(value) is None:
        raise InvalidField(
            f"{field} must be in E.164 form: a plus sign, the country code and up to 15 digits in "
            "all, for example +4930123456",
            field=field,
        )
    return value


def time_zone(value: str, field: str) -> str:
    """Return the name of a time zone."""
    if not is_zone(value):
        raise InvalidField(
            f"{field} must be the IANA name of a time zone, for example Europe/Warsaw; "
            f"{value[:80]!r} is none",
            field=field,
        )
    return value


@lru_cache(maxsize=1024)
def is_locale(value: str) -> bool:
    """Return whether a text has the form of a locale: language, script, region."""
    return _LOCALE.fullmatch(value) is not None


def locale(value: str, field: str) -> str:
    """Return a locale."""
    if not is_locale(value):
        raise InvalidField(
            f'{field} must be a language with or without a region, for example "pl" or "pl_PL"',
            field=field,
        )
    return value


def country(value: str, field: str) -> str:
    """Return a country code in upper case."""
    if _COUNTRY.fullmatch(value) is None:
        raise InvalidField(
            f'{field} must be an ISO 3166-1 code of two letters, for example "PL"', field=field
        )
    return value.upper()


def region(value: str, field: str) -> str:
    """Return the subdivision of a country in upper case."""
    if _REGION.fullmatch(value) is None:
        raise InvalidField(
            f'{field} must be an ISO 3166-2 subdivision without its country, for example "BY" for '
            "Bavaria",
            field=field,
        )
    return value.upper()


def request_id(value: str) -> str:
    """Return the operation id of a request, "" if it has none."""
    if not value:
        return ""
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise InvalidField(
            "request_id must be a UUID, for example 2f1acc6c-c355-4d9c-8fa2-0f0a1c2e9f5b",
            field="request_id",
        ) from None
