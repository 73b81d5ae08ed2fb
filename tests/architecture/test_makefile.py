"""Every target can be found and is well-formed."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.architecture.repository import ROOT

TEXT = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = sorted(set(re.findall(r"^([a-z][\w-]*):(?!=)", TEXT, re.MULTILINE)))


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell, not as a child of the make that may run these tests."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    environment.pop("MFLAGS", None)
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def help_text() -> str:
    done = make("help")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_is_the_default(help_text: str) -> None:
    assert make().stdout == help_text


def test_the_promised_targets_exist() -> None:
    promised = {
        "help",
        "setup",
        "demo",
        "run",
        "test",
        "lint",
        "format",
        "proto",
        "lock",
        "bench",
        "clean",
    }
    assert promised <= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_target_is_explained_and_phony(target: str, help_text: str) -> None:
    assert re.search(rf"^{target}:[^\n#]*## \S", TEXT, re.MULTILINE), "needs a ## comment"
    assert re.search(rf"^  make {target} +\S", help_text, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", TEXT, re.MULTILINE)
    assert phony is not None
    assert target in phony.group(1).split()


@pytest.mark.parametrize("target", TARGETS)
def test_target_can_be_planned(target: str) -> None:
    done = make("-n", target)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
