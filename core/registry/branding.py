"""How the messages of a channel look, and who says that it writes: logo, colour, shop, imprint.

Decides: the stored shape, and what each field may hold.
Never: where it stands in a message (`senders/branding.py`, `senders/layouts/`).

Every field may be left out. What is here is the shop's own word and the same in all its messages: it
names no recipient.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from core.errors import InvalidField, OutOfRange

URL_CHARS_MAX: Final = 500
IMPRINT_CHARS_MAX: Final = 1_000
IMPRINT_LINES_MAX: Final = 12

_URL: Final = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][!#-;=?-Z\[\]_a-z~%]*)?")
_COLOR: Final = re.compile(r"#[0-9A-Fa-f]{6}")
# Those of `control.conversion.checks` but the line feed; also what turns the direction of writing.
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Branding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a shop's e-mails have of its own, beside their words. Everything as it was given."""

    logo_url: str = ""
    """https; shown at the head, with the channel's name as its text."""
    accent_color: str = ""
    """"#rrggbb", of the button and the edge above the words."""
    shop_url: str = ""
    """https; where the shop is."""
    imprint: str = ""
    """Who writes, as the law asks for it; plain text in lines."""
    support_email: str = ""
    """Where people turn to with questions."""

    @property
    def imprint_lines(self) -> tuple[str, ...]:
        """Return the lines of the imprint, those at its ends that are empty left out."""
        return tuple(" ".join(line.split()) for line in self.imprint.strip().split("\n"))


def check_url(text: str, field: str) -> str:
    """Return an address that may stand in a link or name a picture.

    Raises:
        InvalidField, OutOfRange: naming what would be right.
    """
    if len(text) > URL_CHARS_MAX:
        raise OutOfRange(f"{field} has at most {URL_CHARS_MAX} characters", field=field)
    if text and not _URL.fullmatch(text):
        raise InvalidField(
            f"{field} must be an https address in plain ASCII, without spaces or line breaks, for "
            "example https://shop.example/",
            field=field,
        )
    return text


def check_color(text: str, field: str) -> str:
    """Return a colour.

    Raises:
        InvalidField: naming what would be right.
    """
    if text and not _COLOR.fullmatch(text):
        raise InvalidField(
            f'{field} must be "#" and six hexadecimal digits, for example #2b5fd9', field=field
        )
    return text


def check_imprint(text: str, field: str) -> str:
    """Return an imprint.

    Raises:
        InvalidField, OutOfRange: naming what would be right.
    """
    if len(text) > IMPRINT_CHARS_MAX:
        raise OutOfRange(f"{field} has at most {IMPRINT_CHARS_MAX:,} characters", field=field)
    if _CONTROL.search(text):
        raise InvalidField(
            f"{field} is plain text in lines: no control characters but line feeds", field=field
        )
    if text.strip().count("\n") >= IMPRINT_LINES_MAX:
        raise OutOfRange(f"{field} has at most {IMPRINT_LINES_MAX} lines", field=field)
    return text
