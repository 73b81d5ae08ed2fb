"""The draw: which review platform an order is asked for (A29, B42, d6).

Decides: the bucket of an order and the platform that it falls to, by nothing but the account, the
channel, the order's reference, the channel's salt and its weights. What was bought, for how much, by
whom and how it went cannot enter: neutrality is a law (g8), and here it is a signature.
Never: looks at an event or a contact, waits, asks the time or draws lots.

How: BLAKE2b with 32 bytes, keyed by the salt, over account, channel and unit; the digest as a
big-endian number modulo 10,000 is the bucket. 2**256 is no multiple of 10,000, but no bucket gets more
than one digest more than another, which no test could ever see. The shares lie beside each other on 0
to 9,999: the own platform first, then the others by id. Anybody who is told salt, unit and shares can
draw again with any BLAKE2b at hand (docs/DIVERSION.md).

Units: weights are percent, shares hundredths of a percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import msgspec

from core.registry.diversion_parts import OWN_PLATFORM, Weight

BUCKETS = 10_000
BUCKETS_PER_PERCENT = 100
NOT_DRAWN = -1
"""The bucket of what was planned while nothing was divided."""

Share = tuple[str, int]
"""A platform and how many of the buckets fall to it."""


class Draw(msgspec.Struct, frozen=True):
    """What was drawn, and by what."""

    bucket: int
    platform: str
    """Id, `OWN_PLATFORM` included."""
    shares: str
    """The shares that held, as text; with the bucket it says the platform again."""


def unit_of(order_reference: str, event_id: str) -> str:
    """Return what is drawn for: the order; without one, the event that is asked about.

    The id of an invitation would come too late, and would part the service and product requests of one
    purchase.
    """
    return f"order:{order_reference}" if order_reference else f"event:{event_id}"


def draw(account: str, channel: str, unit: str, salt: str, weights: Sequence[Weight]) -> Draw:
    """Return the platform of a unit: always the same for the same salt and weights."""
    shares, told = _shares_told(tuple(weights))
    bucket = bucket_of(account, channel, unit, salt)
    return Draw(bucket, platform_of(bucket, shares), told)


@lru_cache(maxsize=1_024)
def _shares_told(weights: tuple[Weight, ...]) -> tuple[tuple[Share, ...], str]:
    shares = shares_of(weights)
    return shares, shares_text(shares)


def bucket_of(account: str, channel: str, unit: str, salt: str) -> int:
    """Return the bucket of a unit, 0 to 9,999, each as likely as any other."""
    # The API refuses control characters in all parts, so NUL separates them beyond doubt.
    text = "\0".join((account, channel, unit))
    digest = blake2b(text.encode(), digest_size=32, key=salt.encode()).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def platform_of(bucket: int, shares: Sequence[Share]) -> str:
    """Return whose share a bucket lies in."""
    end = 0
    for platform, width in shares:
        end += width
        if bucket < end:
            return platform
    return OWN_PLATFORM


def shares_of(weights: Sequence[Weight]) -> tuple[Share, ...]:
    """Return the shares that follow from weights, in their order on the buckets."""
    given = sorted((weight.platform, weight.percent * BUCKETS_PER_PERCENT) for weight in weights)
    return ((OWN_PLATFORM, BUCKETS - sum(width for _, width in given)), *given)


def shares_text(shares: Sequence[Share]) -> str:
    """Return shares as they are kept, "own=6000 trustpilot=4000"."""
    return " ".join(f"{platform}={width}" for platform, width in shares)


def parse_shares(text: str) -> tuple[Share, ...]:
    """Return the shares in a text that `shares_text` made."""
    pairs = (part.split("=") for part in text.split())
    return tuple((platform, int(width)) for platform, width in pairs)
