"""The daemon as a process: what it prints, its signals and exit codes, and being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 30

pytestmark = pytest.mark.integration


class Process:
    """`python -m control` on a folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "proto")])
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "control", "--grpc-listen", "127.0.0.1:0", "--http-listen",
                "127.0.0.1:0", "--store-data-dir", str(folder / "data"), "--store-partitions", "4",
                *arguments,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip

    def wait_until_listening(self) -> list[str]:
        """Return what it prints, up to the line about access."""
        assert self.process.stdout is not None
        lines: list[str] = []
        while not lines or not lines[-1].startswith("access"):
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            lines.append(line.rstrip("\n"))
        return lines

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=SECONDS_MAX)
        return self.process.returncode, errors

    def result(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=SECONDS_MAX)
        return self.process.returncode, errors


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_well(
    tmp_path: Path, processes: list[Process], number: signal.Signals
) -> None:
    daemon = Process(tmp_path)
    processes.append(daemon)
    lines = daemon.wait_until_listening()
    assert [line.split()[0] for line in lines] == ["gRPC", "metrics", "data", "mail", "access"]
    assert str(tmp_path / "data") in lines[2]
    assert "fsync always" in lines[2]
    code, errors = daemon.end(number)
    assert code == 0, errors
    assert "Traceback" not in errors


def test_wrong_settings_are_told(tmp_path: Path, processes: list[Process]) -> None:
    daemon = Process(tmp_path, "--store-partitions", "7")
    processes.append(daemon)
    code, errors = daemon.result()
    assert code == 2
    assert "store.partitions must be a power of two" in errors
    assert "Traceback" not in errors


def test_a_killed_daemon_leaves_nothing_in_the_way(
    tmp_path: Path, processes: list[Process]
) -> None:
    first = Process(tmp_path)
    processes.append(first)
    first.wait_until_listening()
    server = int((tmp_path / "data" / "redis" / "server.pid").read_text())
    second = Process(tmp_path)
    processes.append(second)
    code, errors = second.result()
    assert code == 1
    assert "another daemon uses" in errors
    first.end(signal.SIGKILL)
    third = Process(tmp_path)
    processes.append(third)
    third.wait_until_listening()
    until = time.monotonic() + SECONDS_MAX
    while _is_running(server) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _is_running(server), "the server of the killed daemon has ended"
    assert third.end()[0] == 0


def _is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
