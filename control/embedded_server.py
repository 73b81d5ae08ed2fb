"""The embedded default: a Redis or Valkey server of the daemon's own.

Decides: which binary runs, with which options, and what happens when either of the two processes dies.

    the server dies     it is started again on the same data, with backoff; the append-only file is
                        replayed, and the links of the stores connect again by themselves
    the daemon dies     the kernel tells the server to stop (PR_SET_PDEATHSIG, Linux); should it live on
                        all the same, the next daemon finds it by the lock that it holds, stops it and
                        starts its own
    a second daemon     is refused by the lock of the first

Two locks in the data directory make this safe without trusting process ids: `daemon.lock` belongs to
the daemon, `redis/server.lock` is inherited by the server and held for as long as any process of it
lives. Nobody starts a server on data whose lock is held.

Never: speaks to a server that others run (`external_server.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import signal
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final

from control import server_binary
from control.settings import Fsync
from core.clock import monotonic_ns
from core.errors import FailedPrecondition, StoreUnavailable
from core.redis_link import RedisLink

_LOG = logging.getLogger(__name__)

SOCKET_PATH_BYTES_MAX: Final = 100
"""The kernel's limit is 107 on Linux and 103 on macOS."""
SILENCE_MAX_MS: Final = 30_000
"""How long a starting server may not answer at all; while it answers LOADING it may take its time."""
TAKEOVER_STEP_MS: Final = 10_000
"""How long a leftover server gets for each way of being asked to stop."""
STOP_MAX_MS: Final = 30_000
RESTART_FIRST_MS: Final = 100
RESTART_LONGEST_MS: Final = 5_000
CALM_MS: Final = 60_000
"""A server that has run for so long is started again without backoff."""
_POLL_S: Final = 0.02

_GUARD: Final = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Becomes the server, after asking the kernel (PR_SET_PDEATHSIG is 1) to stop it with its parent.

A process of its own instead of `preexec_fn`: that runs Python between fork and exec of a process with
threads, which may hang, and a restart happens while the threads of gRPC run.
"""


class EmbeddedServer:
    """A server in a data directory, alive from `start` to `stop`.

    Args:
        data_dir: made if missing; private to this user.
        binary: the server's binary, "" to find one.
        fsync: when it writes to disk.
    """

    def __init__(self, data_dir: Path, *, binary: str = "", fsync: Fsync = Fsync.ALWAYS) -> None:
        self.data_dir = data_dir.resolve()
        self.folder = self.data_dir / "redis"
        self.restarts = 0
        self._binary = binary
        self._fsync = fsync
        self._socket_path = ""
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._daemon_lock = -1
        self._server_lock = -1
        self._is_ready = False

    @property
    def socket_path(self) -> str:
        """Where it listens."""
        return self._socket_path

    @property
    def pid(self) -> int | None:
        """Of the running server."""
        return None if self._process is None else self._process.pid

    @property
    def is_ready(self) -> bool:
        """True while it answers."""
        return self._is_ready

    async def start(self) -> None:
        """Start the server and wait until it serves. Idempotent.

        Raises:
            FailedPrecondition: another daemon uses the directory, no binary was found, or the server
                refuses to run.
        """
        if self._watch is not None:
            return
        binary = self._binary = await server_binary.find(self._binary)
        _make_private(self.data_dir)
        _make_private(self.folder)
        self._daemon_lock = _open_lock(self.data_dir / "daemon.lock")
        try:
            if not _try_lock(self._daemon_lock):
                raise FailedPrecondition(
                    f"another daemon uses {self.data_dir}: stop it, or use another store.data_dir",
                    field="store.data_dir",
                )
            self._socket_path = _socket_path(self.folder)
            await self._end_leftover()
            await self._launch(binary)
        except BaseException:
            await self.stop()
            raise
        self._watch = asyncio.create_task(self._keep_alive(binary))

    async def stop(self) -> None:
        """Stop the server, wait until it has ended, and free the directory. Idempotent."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        self._is_ready = False
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            await _end(process)
        for lock in (self._server_lock, self._daemon_lock):
            if lock >= 0:
                os.close(lock)
        self._server_lock = self._daemon_lock = -1

    # Starting ---------------------------------------------------------------------------------

    async def _launch(self, binary: str) -> None:
        """Start a process and wait until it serves; the lock must be free."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._socket_path)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), binary, *self._options(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self.folder,
            pass_fds=(self._server_lock,),
            # Ctrl-C in a terminal goes to every process of the group; the daemon drains first.
            start_new_session=True,
        )  # fmt: skip
        await self._wait_until_serving(self._process)
        self._is_ready = True

    def _options(self) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": "0",
            "unixsocket": self._socket_path,
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "pidfile": str(self.folder / "server.pid"),
            "logfile": str(self.folder / "server.log"),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": self._fsync.value,
            "save": "",
            "maxmemory": "0",
            "maxmemory-policy": "noeviction",
            "enable-debug-command": "no",
            "enable-module-command": "no",
            # Both would write down arguments of commands, and those are personal.
            "crash-log-enabled": "no",
            "slowlog-log-slower-than": "-1",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    async def _wait_until_serving(self, process: asyncio.subprocess.Process) -> None:
        link = RedisLink(self._socket_path, timeout_ms=SILENCE_MAX_MS)
        quiet_since_ns = monotonic_ns()
        try:
            while True:
                try:
                    await link.call("PING")
                except StoreUnavailable as error:
                    if "LOADING" in error.message:
                        quiet_since_ns = monotonic_ns()
                else:
                    return
                if process.returncode is not None:
                    raise FailedPrecondition(
                        f"the embedded server ended at once: {self._last_log_line()}",
                        field="store.data_dir",
                    )
                if monotonic_ns() - quiet_since_ns > SILENCE_MAX_MS * 1_000_000:
                    raise FailedPrecondition(
                        f"the embedded server does not answer: see {self.folder / 'server.log'}",
                        field="store.data_dir",
                    )
                await asyncio.sleep(_POLL_S)
        finally:
            await link.close()

    def _last_log_line(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self.folder / "server.log").read_bytes()[-4_096:].decode(errors="replace")
            for line in reversed(lines.splitlines()):
                if line.strip():
                    return line.strip()
        return f"see {self.folder / 'server.log'}"

    # Living -----------------------------------------------------------------------------------

    async def _keep_alive(self, binary: str) -> None:
        """Start the server again whenever it ends."""
        delay_ms, started_ns = RESTART_FIRST_MS, monotonic_ns()
        while True:
            process = self._process
            if process is not None:
                code = await process.wait()
                self._is_ready = False
                _LOG.error("the embedded server ended with %s; starting it again", code)
            if monotonic_ns() - started_ns > CALM_MS * 1_000_000:
                delay_ms = RESTART_FIRST_MS
            await asyncio.sleep(delay_ms / 1_000)
            delay_ms, started_ns = min(delay_ms * 2, RESTART_LONGEST_MS), monotonic_ns()
            self.restarts += 1
            try:
                await self._end_leftover()
                await self._launch(binary)
            except (FailedPrecondition, OSError) as error:
                _LOG.error("the embedded server cannot be started: %s", error)
                process, self._process = self._process, None
                if process is not None and process.returncode is None:
                    await _end(process)

    async def _end_leftover(self) -> None:
        """Take the server's lock; end whoever holds it, the server of a daemon that was killed."""
        if self._server_lock >= 0:
            # The lock belongs to the open file, which the dead server shared with us.
            os.close(self._server_lock)
        self._server_lock = _open_lock(self.folder / "server.lock")
        for ask in (self._ask_to_shut_down, self._terminate, self._kill):
            if _try_lock(self._server_lock):
                return
            _LOG.warning("a server of an earlier daemon still runs; ending it")
            if await ask() and await _lock_within(self._server_lock, TAKEOVER_STEP_MS):
                return
        raise FailedPrecondition(
            f"a server still uses {self.folder} and does not stop; its process id is in "
            f"{self.folder / 'server.pid'}",
            field="store.data_dir",
        )

    async def _ask_to_shut_down(self) -> bool:
        """Ask over the socket; False if nobody listens there."""
        link = RedisLink(self._socket_path, timeout_ms=TAKEOVER_STEP_MS)
        try:
            await link.connect()
            # Its answer to this is that it hangs up.
            with contextlib.suppress(StoreUnavailable):
                await link.call("SHUTDOWN", "NOSAVE")
        except StoreUnavailable:
            return False
        finally:
            await link.close()
        return True

    async def _terminate(self) -> bool:
        return self._signal_leftover(signal.SIGTERM)

    async def _kill(self) -> bool:
        return self._signal_leftover(signal.SIGKILL)

    def _signal_leftover(self, number: signal.Signals) -> bool:
        """Signal the process that wrote the pid file, if it really works in our folder."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "server.pid").read_text(encoding="ascii"))
            if os.readlink(f"/proc/{pid}/cwd") == str(self.folder):
                os.kill(pid, number)
                return True
        return False


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end and wait; kill it if it takes too long."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_MAX_MS / 1_000)
    except TimeoutError:
        _LOG.warning("the embedded server did not stop in time and is killed")
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _make_private(folder: Path) -> None:
    """Make a folder that only this user can enter."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise FailedPrecondition(
            f"cannot use {folder}: {error.strerror}", field="store.data_dir"
        ) from None


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _lock_within(lock: int, timeout_ms: int) -> bool:
    until_ns = monotonic_ns() + timeout_ms * 1_000_000
    while monotonic_ns() < until_ns:
        if _try_lock(lock):
            return True
        await asyncio.sleep(_POLL_S)
    return False


def _socket_path(folder: Path) -> str:
    """Return a path for the socket that the kernel takes, in a folder that only this user enters."""
    path = str(folder / "server.sock")
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    digest = hashlib.blake2b(os.fsencode(folder), digest_size=8).hexdigest()
    short = Path(tempfile.gettempdir()) / f"afterword-{os.getuid()}-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()
    # Anybody may have made it first, in a folder that all may write to.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise FailedPrecondition(
            f"{short} is not a private folder of this user; remove it, or use a store.data_dir with "
            "a shorter path",
            field="store.data_dir",
        )
    return str(short / "s")
