"""Tokens of double opt-in: which request they confirm, in a form that only this store can make or read.

Decides: what stands in a token; how it is signed and sealed: `core/engine/signed_tokens.py`.

    purpose 1, medium 1, channel 2, contact 8, request time 6, expiry 6, sender 2, language 2, account

The instant of the request is what the table keeps of it: a token is good for the request that stands
there, and for no other (g3).
Never: decides whether it still is; `core/engine/double_opt_in.py` does. Nothing personal stands in it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from core.engine.signed_tokens import SignedTokens
from core.records import pack48, unpack48

_HEAD = struct.Struct("<BBH8s6s6sH2s")
_NO_LANGUAGE = bytes(2)


class ConsentTicket(msgspec.Struct, frozen=True):
    """What a link stands for."""

    account: str
    contact_key: bytes
    purpose: int
    medium: int
    channel_number: int
    """0: the whole account."""
    request_ms: int
    expire_ms: int
    sender_number: int = 0
    """The channel that shows itself as the one who asks; 0: none."""
    language: str = ""
    """Two letters; "" if it is not known."""


class ConsentTokens:
    """Makes and reads tokens; arguments as of `SignedTokens`."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        # An account has at least one letter.
        self._tokens = SignedTokens(secrets, b"confirm", _HEAD.size + 1)

    def make(self, ticket: ConsentTicket) -> str:
        """Return the token of a ticket: URL-safe characters, the same each time."""
        language = ticket.language.encode("ascii")
        assert len(language) in (0, 2)
        head = _HEAD.pack(
            ticket.purpose, ticket.medium, ticket.channel_number, ticket.contact_key,
            pack48(ticket.request_ms), pack48(ticket.expire_ms), ticket.sender_number,
            language or _NO_LANGUAGE,
        )  # fmt: skip
        return self._tokens.make(head + ticket.account.encode())

    def read(self, token: str) -> ConsentTicket | None:
        """Return what a token stands for, None if it was not made here."""
        plain = self._tokens.read(token)
        if plain is None:
            return None
        purpose, medium, channel, contact_key, request, expire, sender, language = (
            _HEAD.unpack_from(plain)
        )
        return ConsentTicket(
            account=plain[_HEAD.size :].decode(),
            contact_key=contact_key,
            purpose=purpose,
            medium=medium,
            channel_number=channel,
            request_ms=unpack48(request),
            expire_ms=unpack48(expire),
            sender_number=sender,
            language="" if language == _NO_LANGUAGE else language.decode("ascii"),
        )
