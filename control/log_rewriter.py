"""The append-only file of the embedded server forgets what was erased (R22).

Decides: when that file is rewritten. It is a log: what a contact's erasure removes stays in its older
part until it is rewritten, which a server does by itself only once the file has grown to twice its size.
So every erasure leaves a marker in the data directory first, and within hours the file is rewritten and
the marker goes. A crash in between changes nothing: the marker is found at the next start.
Never: rewrites the file of a server that somebody else runs; docs/PRIVACY.md says what they must do.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from core.bounds import HOUR_MS, MINUTE_MS
from core.redis_link import RedisLink

_LOG = logging.getLogger(__name__)

MARKER: Final = "erased"
FIRST_MS: Final = MINUTE_MS
"""How long after a start the marker is looked for."""
PAUSE_MS: Final = 6 * HOUR_MS
"""How often; erasures in between share one rewrite."""
_POLL_S: Final = 0.25
_FLAGS: Final = ("aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1")


class LogRewriter:
    """Rewrites the append-only file of one server after erasures.

    Args:
        folder: where the marker lies.
        socket_path: where the server listens.
    """

    def __init__(self, folder: Path, socket_path: str) -> None:
        self._marker = folder / MARKER
        self._socket_path = socket_path
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for the marker. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop looking. Idempotent; a rewrite under way is the server's and goes on."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def note(self) -> None:
        """Remember, durably, that somebody is about to be erased."""
        await asyncio.to_thread(self._mark)

    def _mark(self) -> None:
        for path, flags in (
            (self._marker, os.O_CREAT | os.O_WRONLY), (self._marker.parent, os.O_RDONLY),
        ):  # fmt: skip
            opened = os.open(path, flags | os.O_CLOEXEC, 0o600)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)
        os.utime(self._marker)

    @property
    def is_due(self) -> bool:
        """True while something was erased that the file may still hold."""
        return self._marker.exists()

    async def _run(self) -> None:
        await asyncio.sleep(FIRST_MS / 1_000)
        while True:
            try:
                await self.rewrite()
            except Exception as error:
                _LOG.error("the append-only file could not be rewritten: %s", error)
            await asyncio.sleep(PAUSE_MS / 1_000)

    async def rewrite(self) -> bool:
        """Rewrite the file if anything was erased since the last time; True if it was rewritten.

        Raises:
            StoreUnavailable: the server is away; the marker stays.
        """
        if not self.is_due:
            return False
        link = RedisLink(self._socket_path)
        try:
            # One that has begun before the erasure would keep what was erased.
            await self._until_idle(link)
            marked_ns = self._marker.stat().st_mtime_ns
            await link.call("BGREWRITEAOF")
            status = await self._until_idle(link)
        finally:
            await link.close()
        if "aof_last_bgrewrite_status:ok" not in status:
            _LOG.error("the server could not rewrite its append-only file; trying again later")
            return False
        if self._marker.stat().st_mtime_ns == marked_ns:
            self._marker.unlink()
        return True

    async def _until_idle(self, link: RedisLink) -> list[str]:
        """Wait until the server rewrites nothing; return what it says of its files."""
        while True:
            text = (await link.call("INFO", "persistence")).decode(errors="replace")
            lines: list[str] = text.split()
            if not any(flag in lines for flag in _FLAGS):
                return lines
            await asyncio.sleep(_POLL_S)
