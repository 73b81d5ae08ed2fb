"""E-mails as files in a folder: for a first try without a mail server, and for hand-over by others.

Decides: one file a delivery, `<delivery_id>.eml`, there in full or not at all.
Never: deletes or reads them.

Idempotent: the name is the delivery id, so a letter handed over twice is one file.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from core.sending import Delivery, Letter
from senders import backoff, mime

PLACES = 256
"""Letters under way at most: each costs a wait for the disk."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_=+-][A-Za-z0-9_=+.-]{0,199}")


class OutboxTransport:
    """Writes each letter to a file.

    Args:
        folder: made if it does not exist, readable by the owner only.
        render: makes the message of a letter.
    """

    holds_unknown = False

    def __init__(self, folder: Path, *, render: Callable[[Letter], bytes] = mime.render) -> None:
        self._folder = folder
        self._render = render
        self._under_way = 0
        self._is_closed = False
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def free(self) -> int:
        """Return how many letters may be under way beside those that are."""
        return 0 if self._is_closed else max(PLACES - self._under_way, 0)

    def prepare(self, letter: Letter) -> bytes:
        """Render.

        Raises:
            RenderingFailed: the message says why.
        """
        return self._render(letter)

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        """Write all, off the event loop; a letter accepted is on the disk."""
        if self._is_closed:
            return [Delivery(Delivery.Kind.DEFERRED, "closing") for _ in letters]
        self._under_way += len(letters)
        self._is_empty.clear()
        try:
            return await asyncio.to_thread(self._write_all, letters)
        finally:
            self._under_way -= len(letters)
            if not self._under_way:
                self._is_empty.set()

    async def close(self) -> None:
        """Wait for what is being written."""
        self._is_closed = True
        await self._is_empty.wait()

    def _write_all(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        deliveries = [self._write(letter, message) for letter, message in letters]
        try:
            # The files are safe, their names only once the folder is.
            _sync_folder(self._folder)
        except OSError as error:
            return [
                _deferred(letter, error) if delivery.was_handed_over else delivery
                for (letter, _), delivery in zip(letters, deliveries, strict=True)
            ]
        return deliveries

    def _write(self, letter: Letter, message: bytes) -> Delivery:
        if not _FILE_NAME.fullmatch(letter.delivery_id):
            return Delivery(Delivery.Kind.FAILED, "the delivery id cannot be a file name")
        target = self._folder / f"{letter.delivery_id}.eml"
        try:
            if not target.exists():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write_atomically(target, message)
        except OSError as error:
            return _deferred(letter, error)
        return Delivery(Delivery.Kind.ACCEPTED, "written", was_handed_over=True)


def _write_atomically(target: Path, message: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(message)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _deferred(letter: Letter, error: OSError) -> Delivery:
    """The error's own text would name the folder."""
    after_ms = backoff.retry_ms(letter.attempts, letter.delivery_id)
    told = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return Delivery(Delivery.Kind.DEFERRED, f"outbox: {told}", after_ms)
