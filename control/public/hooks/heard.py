"""What one call of a hook says, whichever form it has.

Decides: the shape that all forms are brought into.
Never: whether it is true: the signature was checked before.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from core.engine.feedback import Told
from core.model import Medium

ITEMS_MAX: Final = 1_000
"""Of one call."""
ID_CHARS_MAX: Final = 256
"""Of a message's id; a longer one is cut."""

_MEMBER: Final = re.compile(r"[0-9a-f]{32}")
_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}")


class Garbage(Exception):
    """It cannot be read; the text says what would be right, and quotes nothing of it."""


class Message(msgspec.Struct, frozen=True):
    """What somebody wrote."""

    phone: str
    """E.164."""
    text: str
    medium: Medium
    time_ms: int = 0
    """0: now."""
    id: str = ""
    """The provider's, by which a message that comes again is known; "": there is none."""


class Heard(msgspec.Struct):
    """What a call says."""

    told: list[Told] = []
    messages: list[Message] = []
    unknown_count: int = 0
    """Said of messages that are none of ours."""
    ignored_count: int = 0
    """Nothing follows from it."""

    @property
    def count(self) -> int:
        """How much it says."""
        return len(self.told) + len(self.messages) + self.unknown_count + self.ignored_count


def member_of_delivery(text: object) -> bytes | None:
    """Return the invitation of a delivery id, None if it cannot be one of ours."""
    return bytes.fromhex(text) if isinstance(text, str) and _MEMBER.fullmatch(text) else None


def phone_of(text: object) -> str:
    """Return a number in E.164 form, "" for what is none, as a short code or a name."""
    return text if isinstance(text, str) and _PHONE.fullmatch(text) else ""
