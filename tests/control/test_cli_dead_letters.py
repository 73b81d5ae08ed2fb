"""`afterword invitations dead` and `replay` against a daemon that runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.control.test_cli import Cli, Daemon, run, served

__all__ = ["run"]

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with served(tmp_path_factory.mktemp("dead")) as running:
        yield running


@pytest.fixture
def cli(run: Cli, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("AFTERWORD_ADDRESS", daemon.address)
    return run


def test_nothing_has_failed(cli: Cli) -> None:
    told = cli("invitations", "dead", "--why", "provider-error")
    assert told.code == 0, told.err
    assert "ATTEMPTS" in told.out or told.out.strip() == ""
    done = cli("invitations", "replay", "--all", "--limit", "5")
    assert (done.code, done.out.strip()) == (0, "0 replayed, 0 refused")


def test_which_must_be_said(cli: Cli) -> None:
    for words in ((), ("6f", "--all")):
        told = cli("invitations", "replay", *words)
        assert told.code == 2
        assert "Give an invitation, or --all" in told.err
    unknown = cli("invitations", "replay", "00" * 16)
    assert unknown.code == 1
    assert "no such invitation" in unknown.err
