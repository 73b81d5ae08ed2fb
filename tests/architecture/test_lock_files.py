"""Every package is pinned by hash, and no lock file names where it came from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT

REQUIREMENTS = ROOT / "requirements"
LOCKS = ("bootstrap", "runtime", "dev")


def entries(name: str) -> list[str]:
    """Return the logical lines of a lock file."""
    text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def pins(name: str) -> dict[str, str]:
    """Return package -> version and marker."""
    return dict(entry.split(" --hash=")[0].strip().split("==", 1) for entry in entries(name))


def asked_for(path: Path) -> set[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {line for line in lines if line and not line.startswith(("#", "-"))}


@pytest.mark.parametrize("name", LOCKS)
def test_no_host_is_named(name: str) -> None:
    for suffix in (".in", ".txt"):
        text = (REQUIREMENTS / f"{name}{suffix}").read_text(encoding="utf-8")
        assert "://" not in text
        assert "index-url" not in text
        assert "find-links" not in text


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_by_hash(name: str) -> None:
    assert entries(name)
    for entry in entries(name):
        assert re.match(r"[\w.-]+==\S+ ", entry), entry
        assert re.search(r" --hash=sha256:[0-9a-f]{64}", entry), entry


def test_dev_contains_runtime_and_bootstrap_at_the_same_versions() -> None:
    assert pins("runtime").items() <= pins("dev").items()
    assert pins("bootstrap").items() <= pins("dev").items()


def test_runtime_is_what_the_daemon_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert asked_for(REQUIREMENTS / "runtime.in") == set(project["dependencies"]) - {
        "afterword-client"
    }


def test_everything_asked_for_is_locked() -> None:
    for name in LOCKS:
        wanted = {
            re.split(r"[<>=!~ \[;]", line)[0] for line in asked_for(REQUIREMENTS / f"{name}.in")
        }
        assert wanted <= pins(name).keys()


def test_one_generation_of_protobuf() -> None:
    """The client promises protobuf 6.31 and later: the generator must be no newer than that."""
    assert pins("runtime")["protobuf"].startswith("6.")
    stub = (ROOT / "proto/afterword/v1/event_pb2.py").read_text(encoding="utf-8")
    assert "# Protobuf Python Version: 6.31." in stub
