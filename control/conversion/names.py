"""Resource names: read with the caller's account in mind, and written.

Decides: that a name of another account reads like one that does not exist: nobody sees what is not
theirs, not even whether it is there.
"""

from __future__ import annotations

import re

from control.conversion import checks
from core.errors import InvalidField, NotFound

ANY = "-"
"""Stands for every channel, or for no channel, where the API says so."""

_ACCOUNT = re.compile(r"accounts/([^/]+)")
_HEX = re.compile(r"[0-9a-f]+")

MEMBER_BYTES = 16
CONTACT_KEY_BYTES = 8


def account_name(account: str) -> str:
    """Return the full name of an account."""
    return f"accounts/{account}"


def invitation_name(account: str, member: bytes) -> str:
    """Return the full name of an invitation."""
    return f"accounts/{account}/invitations/{member.hex()}"


def contact_name(account: str, contact_key: bytes) -> str:
    """Return the full name of a contact."""
    return f"accounts/{account}/contacts/{contact_key.hex()}"


def parent_account(parent: str, account: str, field: str = "parent") -> None:
    """Check that a parent is the caller's account."""
    right = f'"accounts/{account}"'
    if not parent:
        checks.missing(field, right)
    match = _ACCOUNT.fullmatch(parent)
    if match is None:
        raise InvalidField(f"{field} must be {right}", field=field)
    if match.group(1) != account:
        raise _not_here(parent, field)


def ids(name: str, account: str, pattern: str, field: str) -> tuple[str, ...]:
    """Return the ids in a name, without the account.

    Args:
        pattern: the collections and what stands for their ids, "channels/{channel}".
    """
    right = f'"accounts/{account}/{pattern}"'
    if not name:
        checks.missing(field, right)
    wanted, parts = ["accounts", "{account}", *pattern.split("/")], name.split("/")
    if len(parts) != len(wanted) or not all(
        (bool(part) if want.startswith("{") else part == want)
        for part, want in zip(parts, wanted, strict=True)
    ):
        raise InvalidField(f"{field} must be {right}", field=field)
    if parts[1] != account:
        raise _not_here(name, field)
    return tuple(
        part for part, want in zip(parts[2:], wanted[2:], strict=True) if want.startswith("{")
    )


def channel_id(name: str, account: str, field: str) -> str:
    """Return the id in a channel's name."""
    return ids(name, account, "channels/{channel}", field)[0]


def rule_id(name: str, account: str, field: str) -> str:
    """Return the id in a rule's name."""
    return ids(name, account, "rules/{rule}", field)[0]


def member(name: str, account: str, field: str) -> bytes:
    """Return the member in an invitation's name."""
    found = ids(name, account, "invitations/{invitation}", field)[0]
    return _key(found, MEMBER_BYTES, name, field)


def contact_key(name: str, account: str, field: str) -> bytes:
    """Return the key in a contact's name."""
    found = ids(name, account, "contacts/{contact}", field)[0]
    return _key(found, CONTACT_KEY_BYTES, name, field)


def consent(name: str, account: str, field: str) -> tuple[bytes, str]:
    """Return (contact key, id of the consent) in a consent's name."""
    contact, consent_id = ids(name, account, "contacts/{contact}/consents/{consent}", field)
    return _key(contact, CONTACT_KEY_BYTES, name, field), consent_id


def _key(text: str, size_bytes: int, name: str, field: str) -> bytes:
    if len(text) != 2 * size_bytes or not _HEX.fullmatch(text):
        raise _not_here(name, field)
    return bytes.fromhex(text)


def _not_here(name: str, field: str) -> NotFound:
    return NotFound(f"{name[:200]} does not exist", field=field)
