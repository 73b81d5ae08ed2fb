"""Where senders may be told to call: the form of an endpoint.

Decides: schemes, ports, and that an address on a private network is written down only where the operator
allows it. What a name leads to is looked at when it is called (`senders/http_client.py`).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

from control.conversion import checks
from core.errors import InvalidField
from senders.http_client import is_public_host

CHARS_MAX: Final = 500
_HTTPS_PORT: Final = 443
_SYSTEM_PORTS: Final = 1024
_MAIL_PORTS: Final = frozenset({25, 465, 587})


def http(text: str, field: str, *, is_base: bool, allow_private: bool) -> str:
    """Return the address of an HTTP server.

    Args:
        is_base: paths are put behind it, so it has no query.
        allow_private: private networks and http are allowed too.
    """
    right = f"{field} must be an https address without user, fragment or line breaks"
    parts = _split(text, field, right)
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not parts.hostname or parts.fragment or parts.username:
        raise InvalidField(right, field=field)
    if is_base and parts.query:
        raise InvalidField(f"{field} is the base of an API and has no query", field=field)
    port = parts.port or _HTTPS_PORT
    if not allow_private and port != _HTTPS_PORT and port < _SYSTEM_PORTS:
        raise InvalidField(f"{field} must be on port 443, or on one from 1,024 on", field=field)
    _check_host(parts, field, allow_private)
    return text.rstrip("/") if is_base else text


def smtp(text: str, field: str, *, allow_private: bool, has_user: bool) -> str:
    """Return the address of a mail server."""
    right = (
        f'{field} must be "smtps://host:port", "smtp://host:port" or, without a user, '
        '"smtp+plain://host:port"'
    )
    parts = _split(text, field, right)
    if parts.scheme not in ("smtps", "smtp", "smtp+plain") or not parts.hostname:
        raise InvalidField(right, field=field)
    if parts.path or parts.query or parts.fragment or parts.username:
        raise InvalidField(right, field=field)
    if has_user and parts.scheme == "smtp+plain":
        raise InvalidField(
            f"{field} must be smtps:// or smtp://: a password is only sent under TLS", field=field
        )
    port = parts.port or 25
    if not allow_private and port not in _MAIL_PORTS and port < _SYSTEM_PORTS:
        raise InvalidField(
            f"{field} must be on port 25, 465 or 587, or on one from 1,024 on", field=field
        )
    _check_host(parts, field, allow_private)
    return text


def _split(text: str, field: str, right: str) -> SplitResult:
    checks.text(text, field, CHARS_MAX)
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # raises for what is no number
    except ValueError:
        raise InvalidField(right, field=field) from None
    if not text.isascii() or any(c in text for c in ' \\<>"{}|^`') or parts.port == 0:
        raise InvalidField(right, field=field)
    return parts


def _check_host(parts: SplitResult, field: str, allow_private: bool) -> None:
    if not allow_private and not is_public_host(parts.hostname or ""):
        raise InvalidField(
            f"{field} lies on a private network, or is no name of a public host; an operator allows "
            "such with --allow-private-endpoints",
            field=field,
        )
