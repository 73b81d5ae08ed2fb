"""The wire to Redis or Valkey on the hot path: one pinned connection, pipelined by itself.

Decides: how commands are written and replies are matched. Everything sent in one turn of the event
loop leaves in one write; replies come back in order.
Never: a retry. A write whose answer is lost may have been executed, and only the caller knows the
operation id under which repeating it is safe.

Why not redis-py here: it retries writes by default, packs in Python and costs four times the CPU (its
place is the registry and the topology, where convenience counts).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hiredis

from core import bounds
from core.errors import StoreUnavailable

Argument = bytes | str | int
ReplyError = hiredis.ReplyError
"""The server refused a command."""


class Script:
    """A Lua script with its SHA-1, so that EVALSHA needs no lookup.

    Two kinds of comment lines are put in place when it is read: `-- @include name` becomes the library
    `name.lua` beside the script, `-- @bound NAME` a local with the number of that name in
    `core/bounds.py`, so that no limit is born inside a script.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.text = _with_includes(path)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest().encode()


def _with_includes(path: Path) -> str:
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-- @include "):
            lines.append(_with_includes(path.parent / f"{line.split()[-1]}.lua"))
        elif line.startswith("-- @bound "):
            name = line.split()[-1]
            lines.append(f"local {name} = {getattr(bounds, name)}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def packed(arguments: tuple[Argument, ...]) -> bytes:
    """Return a command as the wire wants it."""
    # The package's own annotation admits tuples of one item only.
    return hiredis.pack_command(arguments)  # type: ignore[arg-type, no-any-return]


class _LinkProtocol(asyncio.Protocol):
    """Bytes in, bytes out; futures in the order of the commands."""

    def __init__(self, timeout_ms: int) -> None:
        self.timeout_ms = timeout_ms
        self.replies_seen = 0
        self.reader = hiredis.Reader()
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.outbox: list[bytes] = []
        self.transport: asyncio.Transport | None = None
        self.is_flushing = False
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.watch(-1)

    def watch(self, replies_seen: int) -> None:
        """Give the connection up if commands wait and nothing has come for the whole time-out.

        One timer for the connection instead of one for each command.
        """
        if self.transport is None:
            return
        if self.waiting and replies_seen == self.replies_seen:
            self.fail(StoreUnavailable("the store did not answer in time"))
            return
        mark = self.replies_seen if self.waiting else -1
        self.loop.call_later(self.timeout_ms / 1_000, self.watch, mark)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self.reader, self.waiting
        reader.feed(data)
        while True:
            try:
                reply = reader.gets()
            except hiredis.ProtocolError as error:
                self.fail(StoreUnavailable(f"the store does not speak RESP: {error}"))
                return
            if reply is False:
                return
            self.replies_seen += 1
            future = waiting.popleft()
            if not future.done():
                future.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(StoreUnavailable("the connection to the store was lost"))

    def fail(self, error: StoreUnavailable) -> None:
        """Answer everything outstanding with the error and hang up."""
        if self.transport is not None:
            self.transport.close()
            self.transport = None
        waiting, self.waiting = self.waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    def send(self, command: bytes) -> asyncio.Future[Any]:
        """Queue a packed command; it leaves at the end of this turn of the loop."""
        future: asyncio.Future[Any] = self.loop.create_future()
        if self.transport is None:
            future.set_exception(StoreUnavailable("not connected to the store"))
            return future
        self.waiting.append(future)
        self.outbox.append(command)
        if not self.is_flushing:
            self.is_flushing = True
            self.loop.call_soon(self.flush)
        return future

    def flush(self) -> None:
        """Write what this turn has queued."""
        self.is_flushing = False
        outbox, self.outbox = self.outbox, []
        if self.transport is not None:
            self.transport.write(b"".join(outbox))


class RedisLink:
    """One server, one connection; connects again by itself, never repeats a command.

    Args:
        address: path of a unix socket, or (host, port).
        scripts: loaded on every new connection, so NOSCRIPT happens only when a server restarts
            behind a proxy; then the caller's retry finds them loaded.
        timeout_ms: how long an answer may take before the connection is given up.
    """

    def __init__(
        self,
        address: str | tuple[str, int],
        scripts: Sequence[Script] = (),
        *,
        username: str = "",
        password: str = "",
        timeout_ms: int = 10_000,
    ) -> None:
        self.address = address
        self._scripts = scripts
        self._username = username
        self._password = password
        self._timeout_ms = timeout_ms
        self._protocol: _LinkProtocol | None = None
        self._connecting: asyncio.Task[_LinkProtocol] | None = None
        self._is_closed = False

    @property
    def is_connected(self) -> bool:
        """True while commands can be written at once."""
        return self._protocol is not None and self._protocol.transport is not None

    async def connect(self) -> None:
        """Connect if not connected.

        Raises:
            StoreUnavailable: refused, wrong password, or no answer in time.
        """
        if self.is_connected:
            return
        if self._is_closed:
            raise StoreUnavailable("the link to the store is closed")
        task = self._connecting
        if task is None:
            task = self._connecting = asyncio.create_task(self._connect())
        try:
            self._protocol = await asyncio.shield(task)
        finally:
            if task.done() and self._connecting is task:
                self._connecting = None

    async def _connect(self) -> _LinkProtocol:
        loop = asyncio.get_running_loop()

        def make() -> _LinkProtocol:
            return _LinkProtocol(self._timeout_ms)

        try:
            async with asyncio.timeout(self._timeout_ms / 1_000):
                if isinstance(self.address, str):
                    _, protocol = await loop.create_unix_connection(make, self.address)
                else:
                    _, protocol = await loop.create_connection(make, *self.address)
                greeting: list[tuple[Argument, ...]] = []
                if self._password:
                    user = [self._username] if self._username else []
                    greeting.append(("AUTH", *user, self._password))
                greeting += [("SCRIPT", "LOAD", script.text) for script in self._scripts]
                sent = [protocol.send(packed(command)) for command in greeting]
                for reply in [await future for future in sent]:
                    if isinstance(reply, Exception):
                        raise StoreUnavailable(f"the store refused the connection: {reply}")
                return protocol
        except (OSError, TimeoutError) as error:
            raise StoreUnavailable(f"cannot reach the store: {error}") from error

    def send(self, *arguments: Argument) -> asyncio.Future[Any]:
        """Send one command; the future gives the raw reply (errors as exception objects inside).

        The connection must be up; if it is not, the future fails with StoreUnavailable and a new
        connection is tried in the background.
        """
        protocol = self._protocol
        if protocol is None or protocol.transport is None:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_exception(StoreUnavailable("not connected to the store"))
            self._reconnect_soon()
            return future
        return protocol.send(packed(arguments))

    def _reconnect_soon(self) -> None:
        if self._connecting is None and not self._is_closed:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._reconnected)

    def _reconnected(self, task: asyncio.Task[_LinkProtocol]) -> None:
        self._connecting = None
        if not task.cancelled() and task.exception() is None:
            self._protocol = task.result()

    async def call(self, *arguments: Argument) -> Any:
        """Send one command and return its reply.

        Raises:
            StoreUnavailable: no answer, or the server said it cannot serve now.
            hiredis.ReplyError: the server refused the command itself.
        """
        await self.connect()
        return check(await self.send(*arguments))

    async def close(self) -> None:
        """Hang up. Idempotent."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._protocol is not None:
            self._protocol.fail(StoreUnavailable("the link to the store is closed"))


_UNAVAILABLE = ("LOADING", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "NOSCRIPT", "BUSY",
                "MOVED", "ASK", "OOM", "MISCONF")  # fmt: skip


def check(reply: Any) -> Any:
    """Return the reply, or raise what an error reply means.

    The text of a server error may repeat arguments, which may be personal: only its first word is
    kept where it is not one of our own.
    """
    if isinstance(reply, hiredis.ReplyError):
        text = str(reply)
        code = text.split(" ", 1)[0].split(":", 1)[0]
        if code in _UNAVAILABLE:
            raise StoreUnavailable(f"the store cannot serve now: {code}")
        raise reply
    return reply
