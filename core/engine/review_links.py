"""The links to review platforms, and to the shop's own review page: which placeholders they may have,
and how they are filled.

Decides: the placeholders, and that every value goes in percent-encoded, so that none can change where
the link leads.
Never: which platform a message leads to (`core/engine/destinations.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from core.errors import InvalidField, OutOfRange
from core.model import Event
from core.registry.resources import Channel

URL_CHARS_MAX: Final = 500
"""Of a template; filled, senders bound it to what a line of a message holds."""

_FORM: Final = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][!#-;=?-Z\[\]_a-z~%]*)?")
_PLACEHOLDER: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")

_VALUES: Final[Mapping[str, Callable[[Event, Channel], str]]] = {
    "order": lambda event, _: event.order.reference if event.order is not None else "",
    "order_reference": lambda event, _: event.order.reference if event.order is not None else "",
    "first_name": lambda event, _: event.contact.first_name,
    "shop": lambda _, channel: channel.display_name or channel.id,
    "locale": lambda event, channel: event.locale or event.contact.locale or channel.locale,
}
PLACEHOLDERS: Final = tuple(_VALUES)
PERSONAL: Final = frozenset({"order", "order_reference", "first_name"})
"""Those that tell the platform something of the contact."""


def check_link(text: str, field: str, *, forwards_data: bool) -> str:
    """Return a template of a link that can be filled and leads to one host whatever goes in.

    Args:
        forwards_data: it is only used with the contact's consent to DATA_FORWARDING.

    Raises:
        InvalidField, OutOfRange: naming what would be right.
    """
    known = ", ".join("{{%s}}" % name for name in PLACEHOLDERS)
    if len(text) > URL_CHARS_MAX:
        raise OutOfRange(f"{field} has at most {URL_CHARS_MAX} characters", field=field)
    named = _PLACEHOLDER.findall(text)
    for name in named:
        if name not in _VALUES:
            raise InvalidField(
                f"{field} has an unknown placeholder {{{{{name}}}}}; known are {known}", field=field
            )
    if not _FORM.fullmatch(_PLACEHOLDER.sub("", text)) or _is_in_host(text):
        raise InvalidField(
            f"{field} must be an https address in plain ASCII, with placeholders only behind the "
            f"host, for example https://reviews.example/shop?order={{{{order_reference}}}}; known "
            f"are {known}",
            field=field,
        )
    told = sorted(set(named) & PERSONAL)
    if told and not forwards_data:
        raise InvalidField(
            f"{field} tells the platform {{{{{told[0]}}}}}, which takes the contact's consent: leave "
            "it out, or set needs_data_forwarding",
            field=field,
        )
    return text


def check_page(text: str, field: str) -> str:
    """Return the address of a shop's own review page, which a review link leads to with its token.

    Raises:
        InvalidField, OutOfRange: naming what would be right.
    """
    if len(text) > URL_CHARS_MAX:
        raise OutOfRange(f"{field} has at most {URL_CHARS_MAX} characters", field=field)
    bare = _PLACEHOLDER.sub("", text)
    is_right = _PLACEHOLDER.findall(text) == ["token"] and _FORM.fullmatch(bare)
    if not is_right or _is_in_host(text):
        raise InvalidField(
            f"{field} must be an https address in plain ASCII with {{{{token}}}} once, behind the "
            "host, for example https://shop.example/review?t={{token}}; or empty, and who is asked "
            "replies to the message",
            field=field,
        )
    return text


def page_link(page: str, token: str) -> str:
    """Return the link to a shop's own review page for one request."""
    return _PLACEHOLDER.sub(lambda _: quote(token, safe=""), page)


def _is_in_host(text: str) -> bool:
    """Return whether a placeholder stands before the path begins."""
    first = text.find("{{")
    return first >= 0 and not re.search(r"[/?#]", text[len("https://") : first])


def filled(template: str, event: Event, channel: Channel) -> str:
    """Return the link of one message; what is not known is left empty."""
    return _PLACEHOLDER.sub(
        lambda found: quote(_VALUES[found.group(1)](event, channel).strip(), safe=""), template
    )
