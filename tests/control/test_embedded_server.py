"""The embedded server: private, alone, back after a crash, and never two on the same data."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from control import embedded_server, external_server, server_binary
from control.embedded_server import SOCKET_PATH_BYTES_MAX, EmbeddedServer
from control.settings import Fsync
from core.errors import FailedPrecondition, StoreUnavailable
from core.ports import Durability
from core.redis_link import RedisLink


@pytest_asyncio.fixture
async def folder() -> AsyncIterator[Path]:
    """A short path: pytest's own may be too long for a socket."""
    path = Path(tempfile.mkdtemp(prefix="aw-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest_asyncio.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedServer]:
    started = EmbeddedServer(folder / "data")
    await started.start()
    yield started
    await started.stop()


async def until_ready(server: EmbeddedServer, restarts: int) -> None:
    async with asyncio.timeout(20):
        # The product has no event for this: nobody but a test waits for a restart.
        while server.restarts < restarts or not server.is_ready:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_it_is_private_and_durable(server: EmbeddedServer, folder: Path) -> None:
    link = RedisLink(server.socket_path)
    assert await external_server.examine(link) is Durability.FSYNCED
    for name, value in (
        ("port", b"0"),
        ("save", b""),
        ("maxmemory-policy", b"noeviction"),
        ("enable-debug-command", b"no"),
        ("slowlog-log-slower-than", b"-1"),
        ("crash-log-enabled", b"no"),
    ):
        assert (await link.call("CONFIG", "GET", name))[1] == value
    await link.close()
    for path in (folder / "data", folder / "data" / "redis"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


async def test_everysec_is_memory_only(folder: Path) -> None:
    """pitfall:eviction."""
    server = EmbeddedServer(folder / "data", fsync=Fsync.EVERYSEC)
    await server.start()
    link = RedisLink(server.socket_path)
    assert await external_server.examine(link) is Durability.MEMORY
    await link.close()
    await server.stop()


async def test_it_comes_back_with_its_data_after_a_crash(server: EmbeddedServer) -> None:
    link = RedisLink(server.socket_path)
    for crash in range(1, 3):
        await link.call("INCR", "n")
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await until_ready(server, crash)
        assert await link.call("GET", "n") == b"%d" % crash
    await link.close()


async def test_it_ends_with_stop_and_starts_again(server: EmbeddedServer) -> None:
    link = RedisLink(server.socket_path)
    await link.call("SET", "k", "v")
    await link.close()
    pid = server.pid
    assert pid is not None
    await server.stop()
    await server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await server.start()
    await server.start()
    link = RedisLink(server.socket_path)
    assert await link.call("GET", "k") == b"v"
    await link.close()


async def test_two_daemons_cannot_share_data(server: EmbeddedServer) -> None:
    second = EmbeddedServer(server.data_dir)
    with pytest.raises(FailedPrecondition) as caught:
        await second.start()
    assert str(server.data_dir) in str(caught.value)
    assert server.is_ready


@pytest.mark.parametrize("is_socket_gone", [False, True])
async def test_a_leftover_server_is_taken_over(folder: Path, is_socket_gone: bool) -> None:
    """As after SIGKILL of a daemon on a system that does not pass it on."""
    first = EmbeddedServer(folder / "data")
    await first.start()
    link = RedisLink(first.socket_path)
    await link.call("SET", "k", "v")
    await link.close()
    pid = first.pid
    # Forget the process instead of ending it, as the kernel does with the files of a dead daemon.
    assert first._watch is not None
    first._watch.cancel()
    await asyncio.gather(first._watch, return_exceptions=True)
    os.close(first._daemon_lock)
    os.close(first._server_lock)
    if is_socket_gone:
        os.unlink(first.socket_path)
    second = EmbeddedServer(folder / "data")
    await second.start()
    assert second.pid != pid
    link = RedisLink(second.socket_path)
    assert await link.call("GET", "k") == b"v"
    await link.close()
    await second.stop()
    assert first._process is not None
    assert await first._process.wait() == 0


async def test_a_leftover_that_cannot_be_ended_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_server, "TAKEOVER_STEP_MS", 50)
    (folder / "data" / "redis").mkdir(parents=True)
    with (folder / "data" / "redis" / "server.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        server = EmbeddedServer(folder / "data")
        with pytest.raises(FailedPrecondition) as caught:
            await server.start()
    assert "still uses" in str(caught.value)
    await server.start()
    await server.stop()


async def test_a_long_path_is_no_obstacle(folder: Path) -> None:
    long = folder / ("x" * SOCKET_PATH_BYTES_MAX) / "data"
    server = EmbeddedServer(long)
    await server.start()
    assert len(server.socket_path) <= SOCKET_PATH_BYTES_MAX
    assert not server.socket_path.startswith(str(folder))
    home = Path(server.socket_path).parent
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    await server.stop()
    home.chmod(0o755)
    with pytest.raises(FailedPrecondition):
        await server.start()
    shutil.rmtree(home)


async def test_broken_data_is_told(folder: Path) -> None:
    server = EmbeddedServer(folder / "data")
    await server.start()
    link = RedisLink(server.socket_path)
    await link.call("SET", "k", "v")
    await link.close()
    await server.stop()
    manifest = next((folder / "data" / "redis" / "appendonlydir").glob("*.manifest"))
    manifest.write_text("rubbish\n")
    with pytest.raises(FailedPrecondition) as caught:
        await server.start()
    assert caught.value.field == "store.data_dir"


# --- the binary -----------------------------------------------------------------------------------


def script(folder: Path, text: str) -> str:
    file = folder / "server"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


async def test_a_binary_is_found() -> None:
    assert os.access(await server_binary.find(), os.X_OK)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo Redis server v=6.2.9 sha=0", "version 6.2"),
        ("echo hello", "does not tell its version"),
        ("exit 1", "does not tell its version"),
    ],
)
async def test_an_unfit_binary_is_refused(folder: Path, text: str, told: str) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await server_binary.find(script(folder, text))
    assert told in str(caught.value)
    assert caught.value.field == "store.redis_server"


async def test_a_missing_binary_is_refused() -> None:
    with pytest.raises(FailedPrecondition):
        await server_binary.find("no-such-program")


# --- servers of others ----------------------------------------------------------------------------


async def test_a_server_that_evicts_is_refused(server: EmbeddedServer) -> None:
    """pitfall:eviction."""
    link = RedisLink(server.socket_path)
    await link.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(FailedPrecondition) as caught:
        await external_server.examine(link)
    assert "noeviction" in str(caught.value)
    await link.close()


async def test_where_config_is_forbidden_info_must_do(server: EmbeddedServer) -> None:
    """pitfall:eviction."""
    link = RedisLink(server.socket_path)
    await link.call("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-config")
    limited = RedisLink(server.socket_path, username="app", password="secret")
    assert await external_server.examine(limited) is Durability.MEMORY
    await link.call("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    with pytest.raises(FailedPrecondition):
        await external_server.examine(limited)
    await limited.close()
    wrong = RedisLink(server.socket_path, username="app", password="wrong")
    with pytest.raises(StoreUnavailable):
        await external_server.examine(wrong)
    await wrong.close()
    await link.close()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache.example", (("cache.example", 6379), "", "")),
        ("redis://:p%40ss@h:1", (("h", 1), "", "p@ss")),
        ("redis://app:secret@[::1]:7000/0", (("::1", 7000), "app", "secret")),
        ("unix:///run/redis.sock", ("/run/redis.sock", "", "")),
    ],
)
def test_urls_are_read(url: str, address: tuple[object, str, str]) -> None:
    assert tuple(external_server.parse_url(url)) == address
