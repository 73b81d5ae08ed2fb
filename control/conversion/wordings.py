"""What proves which words somebody was shown, and from where they answered.

Decides: the form of hashes, addresses and names of programs, wherever a consent carries them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Protocol

from control.conversion import checks
from core import bounds
from core.errors import InvalidField

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


class Device(Protocol):
    """What says from where somebody answered."""

    @property
    def ip_address(self) -> str:
        """IPv4 or IPv6."""

    @property
    def user_agent(self) -> str:
        """Browser or program."""


class Wording(Device, Protocol):
    """What says which words somebody was shown, and from where they answered."""

    @property
    def text_sha256(self) -> str:
        """Hash of the words."""

    @property
    def locale(self) -> str:
        """Their language."""


def check(pb: Wording, field: str = "") -> None:
    """Refuse a wording that proves nothing.

    Args:
        field: path of what holds the fields, with the dot at its end; "" for the request itself.
    """
    if pb.text_sha256 and not _SHA256.fullmatch(pb.text_sha256):
        raise InvalidField(
            f"{field}text_sha256 must be the SHA-256 of the wording: 64 hexadecimal digits",
            field=f"{field}text_sha256",
        )
    if pb.locale:
        checks.locale(pb.locale, f"{field}locale")
    check_device(pb, field)


def check_device(pb: Device, field: str = "") -> None:
    """Refuse an address that is none, and the name of a program that is too long."""
    if pb.ip_address:
        try:
            # A scope ("%eth0") says nothing outside of its machine, and may be of any length.
            if "%" in pb.ip_address:
                raise ValueError
            ipaddress.ip_address(pb.ip_address)
        except ValueError:
            raise InvalidField(
                f"{field}ip_address must be an IPv4 or IPv6 address, for example 203.0.113.7",
                field=f"{field}ip_address",
            ) from None
    checks.text(pb.user_agent, f"{field}user_agent", bounds.TEXT_CHARS_MAX)
