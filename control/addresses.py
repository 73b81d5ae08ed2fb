"""Addresses that an operator writes down: which are right, and what they mean.

Never: opens or resolves one.
"""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import urlsplit

from core.engine.unsubscribe_tokens import TOKEN_CHARS_MAX
from core.errors import InvalidField
from senders.templates import URL_CHARS_MAX, is_web_address

PORT_MAX = 65_535
PUBLIC_URL_CHARS_MAX = 500
"""With a token behind it, a link still fits into one line of a header."""
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

assert PUBLIC_URL_CHARS_MAX + TOKEN_CHARS_MAX + len("/u/") <= URL_CHARS_MAX


def split_address(address: str, field: str) -> tuple[str, int]:
    """Return (host, port) of an address, (path, 0) of a unix socket.

    Raises:
        InvalidField: it is neither.
    """
    if address.startswith("unix:") and len(address) > len("unix:"):
        return address.removeprefix("unix:"), 0
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        refuse(field, 'must be "host:port", for example 127.0.0.1:7233, or "unix:/path"')
    return host, int(port)


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach an address."""
    return address.startswith("unix:") or split_address(address, "listen")[0] in LOOPBACK_HOSTS


def check_public_url(url: str) -> None:
    """Refuse what cannot stand before the path of a link."""
    right = (
        "must be https://host[:port][/path], without query or fragment; http only on this machine"
    )
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_port_right = parts.port != 0
    except ValueError:
        refuse("public.url", right)
    is_secure = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK_HOSTS)
    if not is_secure or not host or not is_port_right:
        refuse("public.url", right)
    if "@" in parts.netloc or "?" in url or "#" in url or not is_web_address(url):
        refuse("public.url", right)
    if len(url) > PUBLIC_URL_CHARS_MAX:
        refuse("public.url", f"has at most {PUBLIC_URL_CHARS_MAX} characters")


def check_redis_url(url: str) -> None:
    """Refuse what the pinned connection cannot speak to. The URL may hold a password."""
    right = "must be redis://[user:password@]host:port or unix:///path"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        refuse("store.redis_url", right)
    if parts.scheme == "rediss":
        refuse("store.redis_url", f"{right}; for TLS put a tunnel in front of the server")
    if parts.scheme == "unix" and parts.path:
        return
    if parts.scheme != "redis" or not parts.hostname or port == 0:
        refuse("store.redis_url", right)
    if parts.path.strip("/") not in ("", "0") or parts.query:
        refuse("store.redis_url", f"{right}; only database 0 is used")


def refuse(field: str, right: str) -> NoReturn:
    """Refuse an option; `right` follows its name."""
    raise InvalidField(f"{field} {right}", field=field)
