"""Repeating an idempotent call while the store is away.

Decides: how often and for how long. Only for calls that give the first answer again under the same key
or token: the store may have carried out the one whose answer was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.errors import StoreUnavailable
from core.stats import Stats

T = TypeVar("T")

PATIENCE_MS = 15_000
"""How long what a client asks for is tried again before it hears that the store is away."""
FIRST_PAUSE_MS = 20
LONGEST_PAUSE_MS = 1_000


async def patiently(call: Callable[[], Awaitable[T]], stats: Stats, patience_ms: int) -> T:
    """Return what the call answers; each failure is counted, pauses double.

    Args:
        patience_ms: pauses add up to at least this before the failure is passed on.

    Raises:
        StoreUnavailable: the store stayed away.
    """
    pause_ms, waited_ms = FIRST_PAUSE_MS, 0
    while True:
        try:
            return await call()
        except StoreUnavailable:
            stats.store_errors += 1
            if waited_ms >= patience_ms:
                raise
            await asyncio.sleep(pause_ms / 1_000)
            waited_ms += pause_ms
            pause_ms = min(pause_ms * 2, LONGEST_PAUSE_MS)
