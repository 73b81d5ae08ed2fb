"""How long a transport waits: the spans of `core/backoff.py`, and how long a server is left alone.

Decides: a span from a number of failures and a key.
Never: whether to try again.
"""

from __future__ import annotations

from core.backoff import RETRY_FIRST_MS, RETRY_LONGEST_MS, backoff_ms, retry_ms
from core.bounds import MINUTE_MS, SECOND_MS

__all__ = [
    "RECONNECT_FIRST_MS",
    "RECONNECT_LONGEST_MS",
    "RETRY_FIRST_MS",
    "RETRY_LONGEST_MS",
    "backoff_ms",
    "reconnect_ms",
    "retry_ms",
]

RECONNECT_FIRST_MS = SECOND_MS // 2
"""First wait of a whole transport: a restarting server is back within seconds."""

RECONNECT_LONGEST_MS = 1 * MINUTE_MS
"""Also how stale the knowledge is that a server is down."""

assert RECONNECT_FIRST_MS <= RECONNECT_LONGEST_MS


def reconnect_ms(failures: int, key: bytes) -> int:
    """Return how long a transport leaves a server alone after `failures` failures before this one."""
    return backoff_ms(failures, key, RECONNECT_FIRST_MS, RECONNECT_LONGEST_MS)
