"""A TCP listener for small HTTP servers: so many connections and no more, each a task of its own.

Decides: who is let in, and how a stop treats those who are.
Never: reads or writes; that is for who serves the connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from control.addresses import split_address
from core.errors import InvalidField

HANG_UP_S: Final = 10

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Listens on one address.

    Args:
        field: the setting that names the address.
        serve: answers one connection, bounded in time; it is closed afterwards.
        connections_max: further ones are hung up at once.
        buffer_bytes: the most that a reader looks through for the end of a line.
        grace_s: how long a stop waits for connections that are being served.
        hang_up_s: how long a client that was answered has to read the rest.
    """

    def __init__(
        self, listen: str, field: str, serve: Serve, *, connections_max: int, buffer_bytes: int,
        grace_s: float = 0, hang_up_s: float = HANG_UP_S,
    ) -> None:  # fmt: skip
        self.address = ""
        """Where it listens, once it does."""
        self._listen = listen
        self._field = field
        self._serve = serve
        self._connections_max = connections_max
        self._buffer_bytes = buffer_bytes
        self._grace_s = grace_s
        self._hang_up_s = hang_up_s
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen.

        Raises:
            InvalidField: the address is taken.
        """
        host, port = split_address(self._listen, self._field)
        try:
            self._server = await asyncio.start_server(
                self._connected, host, port, limit=self._buffer_bytes
            )
        except OSError as error:
            raise InvalidField(
                f"cannot listen on {self._listen}: {error.strerror}", field=self._field
            ) from None
        name = self._server.sockets[0].getsockname()
        self.address = f"{host}:{name[1]}"

    async def stop(self) -> None:
        """Stop listening, let those being served end, and hang up. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._connections and self._grace_s:
            await asyncio.wait(self._connections, timeout=self._grace_s)
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._connections_max:
            writer.close()
            return
        task = asyncio.create_task(self._run(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
            try:
                with contextlib.suppress(OSError):
                    async with asyncio.timeout(self._hang_up_s):
                        await writer.wait_closed()
            finally:
                # Who reads nothing would keep its place for good.
                writer.transport.abort()
