"""A transport that takes so many letters a second and no more: for a relay that allows no more.

Decides: how many of its places may be used now.
Never: holds a letter back: what has been claimed goes (R12).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.clock import monotonic_ns
from core.engine.pace import Pace
from core.sending import Delivery, Letter, Transport

_NS_PER_MS = 1_000_000


class PacedTransport:
    """Another transport, at a pace.

    Args:
        transport: what takes the letters; closed with this one.
        per_second: letters, more than 0; may be a fraction.
        now_ns: monotonic clock.
    """

    def __init__(
        self, transport: Transport, per_second: float, *, now_ns: Callable[[], int] = monotonic_ns
    ) -> None:
        self.holds_unknown = transport.holds_unknown
        self._transport = transport
        self._now_ns = now_ns
        self._pace = Pace(per_second, now_ns() // _NS_PER_MS)

    def free(self) -> int:
        """Return the places that the pace leaves."""
        return min(self._transport.free(), self._pace.free(self._now_ns() // _NS_PER_MS))

    def prepare(self, letter: Letter) -> bytes:
        """Render.

        Raises:
            RenderingFailed: the message says why.
        """
        return self._transport.prepare(letter)

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        """Hand over; one outcome for each, in order."""
        now_ms = self._now_ns() // _NS_PER_MS
        self._pace.take(min(len(letters), self._pace.free(now_ms)), now_ms)
        return await self._transport.send(letters)

    async def close(self) -> None:
        """Close the other. Idempotent."""
        await self._transport.close()
