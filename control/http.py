"""A few pages over HTTP for machines: /metrics, /healthz, /readyz.

Decides: just enough HTTP/1.1 for scrapers and probes: GET and HEAD, one request a connection, bounded
in size and time.
Never: takes a body, or tells anything about anybody.

/healthz answers as long as the event loop turns; /readyz says whether calls are served now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from control.listener import Listener

REQUEST_BYTES_MAX: Final = 8 * 1024
REQUEST_S: Final = 10
CONNECTIONS_MAX: Final = 32

Scrape = Callable[[], Awaitable[bytes]]
_TEXT: Final = "text/plain; charset=utf-8"


class HttpServer:
    """Listens on one address.

    Args:
        is_ready: whether calls are served now.
    """

    def __init__(self, listen: str, is_ready: Callable[[], bool]) -> None:
        self.scrape: Scrape | None = None
        """Makes the metrics; None while there is nothing to measure."""
        self.content_type = _TEXT
        """Of the metrics."""
        self._is_ready = is_ready
        self._listener = Listener(
            listen, "http.listen", self._serve, connections_max=CONNECTIONS_MAX,
            buffer_bytes=REQUEST_BYTES_MAX,
        )  # fmt: skip

    @property
    def address(self) -> str:
        """Where it listens, once it does."""
        return self._listener.address

    async def start(self) -> None:
        """Listen.

        Raises:
            InvalidField: the address is taken.
        """
        await self._listener.start()

    async def stop(self) -> None:
        """Stop listening and hang up. Idempotent."""
        await self._listener.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_S):
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            writer.write(await self._answer(line))
            await writer.drain()

    async def _answer(self, line: list[str]) -> bytes:
        if len(line) != 3 or not line[2].startswith("HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST, b"", _TEXT, has_body=True)
        method, target, _ = line
        if method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"", _TEXT, has_body=True)
        status, body, kind = await self._page(target.partition("?")[0])
        return _response(status, body, kind, has_body=method == "GET")

    async def _page(self, path: str) -> tuple[HTTPStatus, bytes, str]:
        if path == "/healthz":
            return HTTPStatus.OK, b"ok\n", _TEXT
        if path == "/readyz":
            if self._is_ready():
                return HTTPStatus.OK, b"ready\n", _TEXT
            return HTTPStatus.SERVICE_UNAVAILABLE, b"not ready\n", _TEXT
        if path == "/metrics":
            if self.scrape is None:
                return HTTPStatus.SERVICE_UNAVAILABLE, b"starting\n", _TEXT
            return HTTPStatus.OK, await self.scrape(), self.content_type
        return HTTPStatus.NOT_FOUND, b"here are /metrics, /healthz and /readyz\n", _TEXT


def _response(status: HTTPStatus, body: bytes, kind: str, *, has_body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + (body if has_body else b"")
