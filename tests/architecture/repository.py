"""What the tests about the repository itself share: where it is and what belongs to it."""

from __future__ import annotations

import configparser
import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("control", "core", "senders")


@functools.cache
def own_files() -> tuple[Path, ...]:
    """Return every file that is, or is about to be, under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = (ROOT / name for name in sorted(set(listed.split("\0"))) if name)
    return tuple(path for path in paths if path.is_file())


def files_below(*folders: str, suffix: str) -> list[Path]:
    """Return the repository's own files below some of its top-level folders."""
    return [
        path
        for path in own_files()
        if path.suffix == suffix and path.relative_to(ROOT).parts[0] in folders
    ]


def name_of(path: Path) -> str:
    """Return a path as people write it: relative to the root, with slashes."""
    return path.relative_to(ROOT).as_posix()


def is_generated(path: Path) -> bool:
    return path.stem.endswith(("_pb2", "_pb2_grpc"))


@functools.cache
def kernel_modules() -> tuple[str, ...]:
    """Return the pure modules and packages, from the one place that lists them."""
    layers = configparser.ConfigParser()
    layers.read(ROOT / ".importlinter", encoding="utf-8")
    return tuple(layers["importlinter:contract:kernels"]["source_modules"].split())


def is_kernel(path: Path) -> bool:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return any(module == name or module.startswith(f"{name}.") for name in kernel_modules())
