"""A Redis or Valkey server that somebody else runs: is it fit to hold invitations?

Decides: refuse what would lose them (eviction, too old, a cluster), and what an answer of it means.
Never: changes its configuration.

Managed services often forbid CONFIG; then INFO must do, and what it does not tell counts as not given.
"""

from __future__ import annotations

import logging
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from control.server_binary import VERSION_MIN
from core.errors import FailedPrecondition
from core.ports import Durability
from core.redis_link import RedisLink

_LOG = logging.getLogger(__name__)

PORT_DEFAULT = 6379


class Address(NamedTuple):
    """What a URL says, for `core.redis_link.RedisLink`."""

    where: str | tuple[str, int]
    username: str
    password: str


def parse_url(url: str) -> Address:
    """Return the address in a URL that the settings have checked."""
    parts = urlsplit(url)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "unix":
        return Address(unquote(parts.path), username, password)
    return Address((parts.hostname or "", parts.port or PORT_DEFAULT), username, password)


async def examine(link: RedisLink) -> Durability:
    """Check a server and return what its acknowledgements mean.

    Raises:
        FailedPrecondition: it is not fit.
        StoreUnavailable: it cannot be reached.
    """
    info = await _info(link)
    version = info.get("redis_version", "0.0")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < VERSION_MIN:
        raise FailedPrecondition(
            f"the server has version {version}; {VERSION_MIN[0]}.{VERSION_MIN[1]} or newer is "
            "needed",
            field="store.redis_url",
        )
    if info.get("cluster_enabled") == "1":
        raise FailedPrecondition(
            "the server is part of a cluster; this release speaks to single servers only",
            field="store.redis_url",
        )
    config = await _config(link)
    policy = config.get("maxmemory-policy") or info.get("maxmemory_policy", "")
    if not policy:
        _LOG.warning("the server does not tell its maxmemory-policy; it must be noeviction")
    elif policy != "noeviction":
        raise FailedPrecondition(
            f"the server's maxmemory-policy is {policy}: it would drop invitations that wait; set it "
            "to noeviction",
            field="store.redis_url",
        )
    if config.get("appendonly") == "yes" and config.get("appendfsync") == "always":
        return Durability.FSYNCED
    _LOG.warning(
        "the server does not fsync before it answers (appendonly yes, appendfsync always): a crash of "
        "it may lose what was acknowledged last"
    )
    return Durability.MEMORY


async def _info(link: RedisLink) -> dict[str, str]:
    text = (await link.call("INFO")).decode(errors="replace")
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def _config(link: RedisLink) -> dict[str, str]:
    """Return what CONFIG tells; {} where it is forbidden."""
    config: dict[str, str] = {}
    for name in ("maxmemory-policy", "appendonly", "appendfsync"):
        # Sent raw: a refusal comes back as a value.
        reply = await link.send("CONFIG", "GET", name)
        if isinstance(reply, Exception):
            return config
        flat = [part.decode() for part in reply]
        config.update(zip(flat[::2], flat[1::2], strict=True))
    return config
