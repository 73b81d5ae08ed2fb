"""Transports of the senders that channels name (C15).

Decides: when one is made (for its first letter), and when another takes its place (once the sender has
changed; the old one ends what it has under way).
Never: how a provider is spoken to, or what a letter says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from core.errors import AfterwordError
from core.registry.catalogue import Catalogue
from core.registry.resources import Channel
from core.registry.senders import Sender
from core.sending import Transport

_LOG = logging.getLogger(__name__)

SENDERS_MAX: Final = 1_000
"""Transports kept; of more, those that have not been used for longest are closed."""


class _Kept(msgspec.Struct):
    """One transport and the revision of its sender."""

    revision: int
    transport: Transport | None
    """None: it cannot be made as the sender is configured."""


class SenderDesk:
    """Finds the transport of a channel for a medium.

    Args:
        catalogue: returns the configuration as it is now.
        make: makes the transport of a sender; raises `AfterwordError` where the daemon's own settings
            forbid it.
    """

    def __init__(
        self, catalogue: Callable[[], Catalogue], make: Callable[[Sender], Transport]
    ) -> None:
        self._catalogue = catalogue
        self._make = make
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def transport(self, channel: Channel, medium: int) -> Transport | None:
        """Return the transport of the sender that a channel names for a medium, None if that is gone or
        for another medium."""
        sender = self._catalogue().sender_of(channel, medium)
        if sender is None or sender.medium != medium:
            return None
        key = (sender.account, sender.id)
        kept = self._kept.pop(key, None)
        if kept is None or kept.revision != sender.changed_revision:
            if kept is not None:
                self._retire(kept)
            kept = _Kept(sender.changed_revision, self._made(sender))
        # At the end again: what was used last is closed last.
        self._kept[key] = kept
        if len(self._kept) > SENDERS_MAX:
            self._retire(self._kept.pop(next(iter(self._kept))))
        return kept.transport

    def _made(self, sender: Sender) -> Transport | None:
        try:
            return self._make(sender)
        except AfterwordError as error:
            _LOG.error("%s cannot be used: %s", sender.name, error.message)
            return None

    def _retire(self, kept: _Kept) -> None:
        if kept.transport is None:
            return
        task = asyncio.get_running_loop().create_task(kept.transport.close())
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("a sender could not be closed: %s", type(task.exception()).__name__)

    async def close(self) -> None:
        """End what is under way, then close all. Idempotent."""
        for kept in self._kept.values():
            self._retire(kept)
        self._kept.clear()
        await asyncio.gather(*self._closing, return_exceptions=True)
