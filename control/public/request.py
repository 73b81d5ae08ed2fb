"""One HTTP/1.1 request off the wire, its body bounded.

Decides: how a request is framed (RFC 9112 section 6), and how much of it is kept.
Never: how long it may take; the caller sets the time.

A body that is too long is read to its end, as far as `DRAINED_BYTES_MAX`, and thrown away: whoever
hangs up on a client that still sends takes the answer away from it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

import msgspec

HEAD_BYTES_MAX: Final = 8 * 1024
BODY_BYTES_MAX: Final = 64 * 1024
DRAINED_BYTES_MAX: Final = 256 * 1024
FRAMING_BYTES_MAX: Final = 64 * 1024
"""Of a body in chunks, what is none of it: sizes, extensions, trailers."""

_READ_BYTES: Final = 16 * 1024
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSION = re.compile(r"HTTP/1\.[0-9]")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class BadRequest(Exception):
    """It is not HTTP, or not framed as HTTP demands."""


class Request(msgspec.Struct, frozen=True):
    """What was asked."""

    method: str
    path: str
    """Without a query."""
    headers: dict[str, str]
    """Names in lower case; of one that comes twice the first."""
    body: bytes = b""
    """Empty if it was longer than is kept."""
    query: str = ""
    """As it came, without the question mark."""
    is_cut: bool = False
    """The body was longer than is kept."""


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    bytes_max: Callable[[str], int] = lambda path: BODY_BYTES_MAX,
) -> Request:  # fmt: skip
    """Return the next request; tells a client that waits for it to go on.

    Args:
        bytes_max: how much of a body is kept, by path.

    Raises:
        BadRequest: answer 400.
        asyncio.LimitOverrunError: the head is too long.
        asyncio.IncompleteReadError: the client went away.
    """
    request, length = _parsed((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
    if length == 0:
        return request
    if request.headers.get("expect", "").lower() == "100-continue":
        writer.write(_CONTINUE)
    most = bytes_max(request.path)
    body = await (_chunked(reader, most) if length is None else _sized(reader, length, most))
    if body is None:
        return msgspec.structs.replace(request, is_cut=True)
    return msgspec.structs.replace(request, body=body)


def _parsed(head: str) -> tuple[Request, int | None]:
    """Return the request and the length of its body, None if it comes in chunks."""
    line, *lines = head.split("\r\n")[:-2]
    parts = line.split(" ")
    if len(parts) != 3 or not _VERSION.fullmatch(parts[2]) or not _TOKEN.fullmatch(parts[0]):
        raise BadRequest
    if _CONTROLS.search(parts[1]) or any(_CONTROLS.search(each) for each in lines):
        # A proxy may have read an end of line where we see none.
        raise BadRequest
    headers: dict[str, str] = {}
    framing: list[str] = []
    for each in lines:
        name, colon, value = each.partition(":")
        if not colon or not _TOKEN.fullmatch(name):
            raise BadRequest
        name, value = name.lower(), value.strip(" \t")
        headers.setdefault(name, value)
        if name in ("content-length", "transfer-encoding"):
            framing.append(value)
    if len(framing) > 1:
        # Two lengths: a proxy may have believed the other one.
        raise BadRequest
    path, _, query = parts[1].partition("?")
    request = Request(parts[0], path, headers, query=query)
    if not framing:
        return request, 0
    if "content-length" in headers:
        return request, _number(framing[0], 10)
    if framing[0].lower() != "chunked":
        raise BadRequest
    return request, None


def _number(text: str, base: int) -> int:
    if not re.fullmatch("[0-9A-Fa-f]{1,15}" if base == 16 else "[0-9]{1,15}", text):
        raise BadRequest
    return int(text, base)


async def _sized(reader: asyncio.StreamReader, length: int, most: int) -> bytes | None:
    if length <= most:
        return await reader.readexactly(length)
    await _drain(reader, min(length, max(DRAINED_BYTES_MAX, 2 * most)))
    return None


async def _drain(reader: asyncio.StreamReader, length: int) -> None:
    while length:
        got = await reader.read(min(length, _READ_BYTES))
        if not got:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(got)


async def _chunked(reader: asyncio.StreamReader, most: int) -> bytes | None:
    body, total, framing_bytes = bytearray(), 0, 0
    while True:
        line = await _line(reader)
        framing_bytes += len(line) + 4
        if framing_bytes > FRAMING_BYTES_MAX:
            raise BadRequest
        size = _number(line.partition(";")[0].strip(" \t"), 16)
        if not size:
            break
        total += size
        if total > max(DRAINED_BYTES_MAX, 2 * most):
            # No honest client says so much; it may lose its answer.
            return None
        if total <= most:
            body += await reader.readexactly(size)
        else:
            await _drain(reader, size)
        if await _line(reader):
            raise BadRequest
    while line := await _line(reader):
        framing_bytes += len(line)
        if framing_bytes > FRAMING_BYTES_MAX:
            raise BadRequest
    return bytes(body) if total <= most else None


async def _line(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n"))[:-2].decode("latin-1")
