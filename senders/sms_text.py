"""How long a text message is: the alphabet it needs and the segments it is billed as.

Decides: encoding and number of segments of a text.
Never: what it says.

A message in the GSM alphabet holds 160 characters in one segment, 153 in each of several; one character
outside of it makes the whole message UCS-2: 70 and 67. Characters of the extension table count twice,
characters outside the basic plane are two UCS-2 units, and no such pair is torn between two segments.

Source: 3GPP TS 23.038 6.2.1 (alphabet, extension table), TS 23.040 9.2.3.24.1 (concatenation).
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

SEGMENTS_MAX: Final = 10
"""Providers take up to ten segments; a longer text belongs into an e-mail."""

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")
_GSM: Final = _BASIC | _EXTENDED


class Encoding(enum.Enum):
    """How the characters travel."""

    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


_ROOM: Final = {Encoding.GSM_7: (160, 153), Encoding.UCS_2: (70, 67)}


class Size(msgspec.Struct, frozen=True):
    """How much a text takes."""

    encoding: Encoding
    units: int
    """Septets, or 16-bit units."""
    segments: int


def size_of(text: str) -> Size:
    """Return what a text takes. Cost: O(characters)."""
    if _GSM.issuperset(text):
        encoding = Encoding.GSM_7
        widths = (
            [1] * len(text) if _BASIC.issuperset(text) else [1 + (c in _EXTENDED) for c in text]
        )
    else:
        encoding = Encoding.UCS_2
        widths = [1 if ord(c) < 0x1_0000 else 2 for c in text]
    units = sum(widths)
    whole, part = _ROOM[encoding]
    if units <= whole:
        return Size(encoding, units, 1 if text else 0)
    segments, used = 1, 0
    for width in widths:
        if used + width > part:
            segments, used = segments + 1, 0
        used += width
    return Size(encoding, units, segments)
