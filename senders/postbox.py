"""The engine's one door to all transports: which letter goes where.

Decides: which transport takes a letter: that of the sender which its channel names for the medium, else
the daemon's own.
Never: rendering or delivery, nor what an outcome means for an invitation.

Invariant: one outcome for each letter, in order, whatever a transport does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from core.errors import RenderingFailed
from core.model import Medium
from core.registry.resources import Channel
from core.sending import Delivery, Letter, Transport
from senders.desk import SenderDesk

NO_TRANSPORT = Delivery(Delivery.Kind.FAILED, "no transport for this medium")

HOLDING: Final = frozenset({Medium.SMS, Medium.WHATSAPP})
"""Media of senders whose unknown outcomes are held: their providers take no idempotency key."""

_Posted = tuple[Letter, bytes]


class Postbox:
    """Routes letters by channel and medium.

    Args:
        transports: medium number to the daemon's own transport; one transport may serve several.
        desk: finds the transports of channels' senders; left out, channels name none.
    """

    def __init__(self, transports: Mapping[int, Transport], desk: SenderDesk | None = None) -> None:
        self._transports = {int(medium): each for medium, each in transports.items()}
        self._desk = desk

    def supports(self, medium: int, channel: Channel | None = None) -> bool:
        """Return whether letters of a channel can go out over a medium; ask before a claim. Without a
        channel: those of any channel that names no sender for it."""
        return self._transport(medium, channel) is not None

    def holds_unknown(self, medium: int) -> bool:
        """Return whether an unknown outcome on this medium is held instead of tried again."""
        transport = self._transports.get(medium)
        if transport is not None:
            return transport.holds_unknown
        return self._desk is not None and medium in HOLDING

    def free(self, medium: int, channel: Channel | None = None) -> int:
        """Return how many letters can be handed over now without waiting; as `supports`."""
        transport = self._transport(medium, channel)
        return 0 if transport is None else transport.free()

    def prepare(self, letter: Letter) -> bytes:
        """Render.

        Raises:
            RenderingFailed: the message says why.
        """
        transport = self._transport(letter.medium, letter.channel)
        if transport is None:
            raise RenderingFailed("no transport for this medium")
        return transport.prepare(letter)

    async def send(self, letters: Sequence[_Posted]) -> list[Delivery]:
        """Hand over, by all transports at once; one outcome for each letter, in order. Never raises."""
        groups: dict[int, tuple[Transport | None, list[int]]] = {}
        for index, (letter, _) in enumerate(letters):
            transport = self._transport(letter.medium, letter.channel)
            groups.setdefault(id(transport), (transport, []))[1].append(index)
        if len(groups) == 1:
            ((transport, _),) = groups.values()
            return await _send(transport, letters)
        deliveries = [NO_TRANSPORT] * len(letters)
        answers = await asyncio.gather(
            *(
                _send(transport, [letters[index] for index in indices])
                for transport, indices in groups.values()
            )
        )
        for (_, indices), answer in zip(groups.values(), answers, strict=True):
            for index, delivery in zip(indices, answer, strict=True):
                deliveries[index] = delivery
        return deliveries

    async def close(self) -> None:
        """Close each transport once. Idempotent; the first error is raised after all are closed."""
        each = {id(transport): transport for transport in self._transports.values()}
        closing = [transport.close() for transport in each.values()]
        if self._desk is not None:
            closing.append(self._desk.close())
        for answer in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    def _transport(self, medium: int, channel: Channel | None) -> Transport | None:
        if self._desk is not None and channel is not None and medium in channel.senders:
            return self._desk.transport(channel, medium)
        return self._transports.get(medium)


async def _send(transport: Transport | None, letters: Sequence[_Posted]) -> list[Delivery]:
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
