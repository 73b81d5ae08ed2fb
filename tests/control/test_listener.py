"""The listener beneath all small HTTP servers, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from control.listener import Listener

LARGE = bytes(32 * 1024 * 1024)


async def open_listener(**fields: float) -> Listener:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(0.2):
            size = len(LARGE) if await reader.readexactly(1) == b"L" else 2
            writer.write(LARGE[:size])
            await writer.drain()

    listener = Listener(
        "127.0.0.1:0", "x.listen", serve, connections_max=1, buffer_bytes=1024, **fields
    )
    await listener.start()
    return listener


async def connect(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = listener.address.rsplit(":", 1)
    return await asyncio.open_connection(host, int(port))


async def small_answer(listener: Listener) -> bytes:
    reader, writer = await connect(listener)
    try:
        writer.write(b"s")
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_who_reads_nothing_is_hung_up_on() -> None:
    """Else a few that never read would keep everybody out for good."""
    listener = await open_listener(hang_up_s=0.1)
    _, stuck = await connect(listener)
    stuck.transport.pause_reading()  # type: ignore[attr-defined]
    stuck.write(b"L")
    try:
        async with asyncio.timeout(5):
            while await small_answer(listener) != b"\0\0":
                # Turned away: connecting again is what waits.
                pass
    except TimeoutError:
        pytest.fail("its place was never given back")
    finally:
        stuck.close()
        await listener.stop()


async def test_a_slow_reader_gets_its_answer_whole() -> None:
    """What was written within its time is not cut off by the end of the connection."""
    listener = await open_listener()
    assert await small_answer(listener) == b"\0\0"
    await listener.stop()
