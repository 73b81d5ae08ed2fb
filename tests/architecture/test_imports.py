"""Who may import whom: by contract (`.importlinter`), and by what really gets loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.architecture.repository import PRODUCT, ROOT, files_below, kernel_modules

NOT_BELOW_CONTROL = ("afterword", "grpc", "prometheus_client", "uvloop")

LOAD_ALL = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, sys.argv[1] + "."):
    importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


def modules_loaded_by(package: str) -> set[str]:
    """Return all that a fresh interpreter holds after importing every module of a package."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, package], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("package", ["core", "senders"])
def test_below_control_no_transport_is_loaded(package: str) -> None:
    tops = {name.partition(".")[0] for name in modules_loaded_by(package)}
    assert not tops.intersection(NOT_BELOW_CONTROL)


def test_contracts_are_kept() -> None:
    lint_imports = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as c; c()",
    ]
    done = subprocess.run([*lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[done.stdout.find("Contracts") :] + done.stderr


def test_every_kernel_exists() -> None:
    for module in kernel_modules():
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), module


def test_packages_have_an_init_but_proto_has_none() -> None:
    for path in files_below(*PRODUCT, "bench", suffix=".py"):
        assert (path.parent / "__init__.py").is_file(), path
    assert not (ROOT / "proto" / "__init__.py").exists(), "it would shadow proto-plus"
