"""A postbox that takes everything and sends nothing.

Decides: that whatever passes the gate counts as sent, at once: over the media of the daemon, and over
those that the channel has a sender for.
Never: renders: a message that could not be made from its template is found by sending it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.registry.resources import Channel
from core.sending import Delivery, Letter

PLACES = 1_000_000
"""More than a round can hold."""

_ACCEPTED = Delivery(Delivery.Kind.ACCEPTED, was_handed_over=True)


class AcceptingPostbox:
    """Accepts all letters of the media given."""

    def __init__(self, media: Iterable[int]) -> None:
        self._media = frozenset(int(medium) for medium in media) - {0}

    def supports(self, medium: int, channel: Channel | None = None) -> bool:
        """Return whether letters of this medium can go out at all."""
        return medium in self._media or (channel is not None and medium in channel.senders)

    def holds_unknown(self, medium: int) -> bool:
        """Return False: no outcome is unknown."""
        return False

    def free(self, medium: int, channel: Channel | None = None) -> int:
        """Return how many letters can be handed over now."""
        return PLACES if self.supports(medium, channel) else 0

    def prepare(self, letter: Letter) -> bytes:
        """Return nothing: nobody reads it."""
        return b""

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        """Accept."""
        return [_ACCEPTED] * len(letters)

    async def close(self) -> None:
        """Nothing to release."""
