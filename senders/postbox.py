"""The engine's one door to all transports: which medium goes where.

Decides: which transport takes a letter.
Never: rendering or delivery, nor what an outcome means for an invitation.

Invariant: one outcome for each letter, in order, whatever a transport does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from core.errors import RenderingFailed
from core.sending import Delivery, Letter, Transport

NO_TRANSPORT = Delivery(Delivery.Kind.FAILED, "no transport for this medium")


class Postbox:
    """Routes letters by medium.

    Args:
        transports: medium number to transport; one transport may serve several.
    """

    def __init__(self, transports: Mapping[int, Transport]) -> None:
        self._transports = {int(medium): each for medium, each in transports.items()}

    def supports(self, medium: int) -> bool:
        """Return whether letters of this medium can go out at all; ask before a claim."""
        return medium in self._transports

    def holds_unknown(self, medium: int) -> bool:
        """Return whether an unknown outcome on this medium is held instead of tried again."""
        transport = self._transports.get(medium)
        return transport is not None and transport.holds_unknown

    def free(self, medium: int) -> int:
        """Return how many letters of this medium can be handed over now without waiting."""
        transport = self._transports.get(medium)
        return 0 if transport is None else transport.free()

    def prepare(self, letter: Letter) -> bytes:
        """Render.

        Raises:
            RenderingFailed: the message says why.
        """
        transport = self._transports.get(letter.medium)
        if transport is None:
            raise RenderingFailed("no transport for this medium")
        return transport.prepare(letter)

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        """Hand over, all media at once; one outcome for each letter, in order. Never raises."""
        places: dict[int, list[int]] = {}
        for index, (letter, _) in enumerate(letters):
            places.setdefault(letter.medium, []).append(index)
        if len(places) == 1:
            return await self._send_medium(letters[0][0].medium, letters)
        groups = [
            self._send_medium(medium, [letters[index] for index in indices])
            for medium, indices in places.items()
        ]
        deliveries = [NO_TRANSPORT] * len(letters)
        answers = await asyncio.gather(*groups)
        for indices, answer in zip(places.values(), answers, strict=True):
            for index, delivery in zip(indices, answer, strict=True):
                deliveries[index] = delivery
        return deliveries

    async def close(self) -> None:
        """Close each transport once. Idempotent; the first error is raised after all are closed."""
        each = {id(transport): transport for transport in self._transports.values()}
        answers = await asyncio.gather(*[t.close() for t in each.values()], return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def _send_medium(
        self, medium: int, letters: Sequence[tuple[Letter, bytes]]
    ) -> list[Delivery]:
        transport = self._transports.get(medium)
        if transport is None:
            return [NO_TRANSPORT] * len(letters)
        try:
            deliveries = await transport.send(letters)
        except Exception as error:
            # A defect of one transport must not cost the outcomes of the others. What it did is
            # not known; its text is not passed on, it might name a recipient.
            told = f"the transport broke: {type(error).__name__}"
            return [Delivery(Delivery.Kind.UNKNOWN, told, was_handed_over=True)] * len(letters)
        assert len(deliveries) == len(letters), "one outcome for each letter"
        return deliveries
