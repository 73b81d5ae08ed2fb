"""Pages of lists: sizes, and tokens that clients carry from one page to the next (AIP-158).

A token is good for the same list only, and says nothing a client needs to understand.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

import msgspec

from core import bounds
from core.errors import InvalidField, OutOfRange

T = TypeVar("T")


class _Token(msgspec.Struct, array_like=True):
    scope: str
    """Which list: the method and what it was asked for."""
    after: str
    """Where it goes on."""


_DECODER = msgspec.json.Decoder(_Token)


def size(page_size: int) -> int:
    """Return how many a page may have; more than allowed counts as the most allowed."""
    if page_size < 0:
        raise OutOfRange(
            f"page_size must be 1 to {bounds.PAGE_SIZE_MAX:,}, or 0 for {bounds.PAGE_SIZE_DEFAULT}",
            field="page_size",
        )
    return min(page_size or bounds.PAGE_SIZE_DEFAULT, bounds.PAGE_SIZE_MAX)


def token(scope: str, after: str) -> str:
    """Return the token that goes on after a place, "" for the end."""
    if not after:
        return ""
    return base64.urlsafe_b64encode(msgspec.json.encode(_Token(scope, after))).decode("ascii")


def after(page_token: str, scope: str) -> str:
    """Return the place from which a token goes on, "" for the beginning."""
    if not page_token:
        return ""
    try:
        read = _DECODER.decode(base64.urlsafe_b64decode(page_token.encode("ascii")))
    except (msgspec.DecodeError, binascii.Error, UnicodeError, ValueError):
        _refuse()
    if read.scope != scope:
        _refuse()
    return read.after


def page(
    found: Sequence[T], key: Callable[[T], str], scope: str, page_size: int, page_token: str
) -> tuple[Sequence[T], str]:
    """Return one page of a list that is sorted by key, and the token of the next."""
    size_max, start = size(page_size), after(page_token, scope)
    rest = [one for one in found if key(one) > start] if start else found
    shown = rest[:size_max]
    return shown, token(scope, key(shown[-1])) if len(rest) > size_max else ""


def _refuse() -> NoReturn:
    raise InvalidField(
        "page_token must be the next_page_token of the page before, of the same list",
        field="page_token",
    )
