"""The embedded server's file after erasures: rewritten, also if a crash came in between (R22)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from control.log_rewriter import MARKER, LogRewriter
from core.redis_link import RedisLink
from tests.support.valkey import ValkeyServer

SECRET = b"somebody@private.example"


@pytest_asyncio.fixture
async def link() -> AsyncIterator[RedisLink]:
    with ValkeyServer("--appendonly", "yes", "--rdbcompression", "no") as server:
        opened = RedisLink(server.socket_path)
        yield opened
        await opened.close()


def folder_of(link: RedisLink) -> Path:
    return Path(str(link.address)).parent


def is_on_disk(link: RedisLink) -> bool:
    files = (path for path in folder_of(link).rglob("*") if path.is_file())
    return any(SECRET in path.read_bytes() for path in files)


def rewriter_of(link: RedisLink) -> LogRewriter:
    return LogRewriter(folder_of(link), str(link.address))


async def test_what_was_erased_leaves_the_file(link: RedisLink) -> None:
    """R22, g4: even if the file is small, and whoever finds the marker."""
    await link.call("SET", "a", SECRET)
    await rewriter_of(link).note()
    await link.call("DEL", "a")
    assert is_on_disk(link), "the file is a log"
    after_a_crash = rewriter_of(link)
    assert after_a_crash.is_due
    assert await after_a_crash.rewrite()
    assert not is_on_disk(link)
    assert not after_a_crash.is_due


async def test_without_an_erasure_nothing_is_rewritten(link: RedisLink) -> None:
    assert not await rewriter_of(link).rewrite()


async def test_an_erasure_meanwhile_is_not_taken_for_done(
    link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rewrite that had begun before may have kept it: the marker stays for the next time."""
    rewriter = rewriter_of(link)
    await rewriter.note()
    waits = 0
    idle = rewriter._until_idle

    async def noted_meanwhile(link: RedisLink) -> list[str]:
        nonlocal waits
        waits += 1
        if waits == 2:
            await rewriter.note()
        return await idle(link)

    monkeypatch.setattr(rewriter, "_until_idle", noted_meanwhile)
    assert await rewriter.rewrite()
    assert rewriter.is_due


async def test_it_looks_by_itself_and_can_be_stopped(
    link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.log_rewriter.FIRST_MS", 0)
    rewriter = rewriter_of(link)
    await rewriter.note()
    rewriter.start()
    rewriter.start()
    async with asyncio.timeout(10):
        while (folder_of(link) / MARKER).exists():
            await link.call("PING")
    assert not rewriter.is_due
    await rewriter.stop()
    await rewriter.stop()
