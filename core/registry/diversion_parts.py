"""How a channel divides its review requests among platforms (A29).

Decides: the stored shape of weights and salts.
Never: who is drawn (`core/engine/diversion.py`).
"""

from __future__ import annotations

import enum

import msgspec

OWN_PLATFORM = "own"
"""Id of the platform that is built in; it gets what the weights leave."""


class PlatformKind(enum.IntEnum):
    """What a review platform is. Numbers as in the API."""

    TRUSTPILOT = 1
    GOOGLE = 2
    FACEBOOK = 3
    CUSTOM = 4


class Weight(msgspec.Struct, frozen=True):
    """How much of a channel's review requests goes to a platform."""

    platform: str
    """Id."""
    percent: int
    """1 to 100."""


class Diversion(msgspec.Struct, frozen=True, omit_defaults=True):
    """The division as it holds, and every salt that ever held."""

    weights: tuple[Weight, ...] = ()
    """Each platform at most once; together at most 100."""
    salts: tuple[str, ...] = ()
    """32 hexadecimal digits each, oldest first. The last one holds; the others are kept so that old
    draws can be checked. A plan names its salt by its number, counted from 1."""
    renews_salt: bool = False
    """Asked of an edit; never stored."""

    @property
    def salt(self) -> str:
        """What keys new draws, "" while there never were weights."""
        return self.salts[-1] if self.salts else ""
