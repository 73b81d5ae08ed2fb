"""How long to wait before trying again: exponential, bounded, jittered, and the same on every asking.

Decides: a span from a number of attempts and a key.
Never: whether to try again, and never a random number: the jitter is a hash of the key, so that a
replay waits as long as the first run did.

Source: M. Brooker, "Exponential Backoff and Jitter" (2015), the variant called equal jitter: the
half that is certain keeps a struggling server free, the half that is spread breaks up herds.
"""

from __future__ import annotations

import hashlib

from core.bounds import HOUR_MS, SECOND_MS

RETRY_FIRST_MS = 30 * SECOND_MS
"""First wait of one message: a greylisting server or a full mailbox needs at least that."""

RETRY_LONGEST_MS = 4 * HOUR_MS
"""RFC 5321 4.5.4.1 asks for retries over four to five days; the invitation's expiry ends them."""

_DOUBLINGS_MAX = 40
"""Beyond, the doubled span only costs memory: it is cut to the longest anyway."""

assert RETRY_FIRST_MS <= RETRY_LONGEST_MS
assert 1 << _DOUBLINGS_MAX > RETRY_LONGEST_MS, "no span is cut by it"


def backoff_ms(attempts: int, key: bytes, first_ms: int, longest_ms: int) -> int:
    """Return how long to wait after the failed attempt number `attempts`.

    Args:
        attempts: failed attempts before this one; 0 for the first.
        key: what the jitter is derived from; different keys spread.
        first_ms: span after the first failure, before jitter.
        longest_ms: bound of the span, before jitter.

    Returns:
        Milliseconds in (span / 2, span], where span = min(longest, first * 2**attempts).
    """
    attempts = max(attempts, 0)
    span_ms = min(longest_ms, first_ms << min(attempts, _DOUBLINGS_MAX))
    digest = hashlib.blake2b(key, digest_size=8, salt=attempts.to_bytes(8, "little")).digest()
    return span_ms - int.from_bytes(digest, "little") % max(span_ms // 2, 1)


def retry_ms(attempts: int, delivery_id: str) -> int:
    """Return how long one message waits after its hand-over number `attempts` was put off."""
    return backoff_ms(attempts, delivery_id.encode(), RETRY_FIRST_MS, RETRY_LONGEST_MS)
