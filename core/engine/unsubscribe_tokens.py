"""Tokens of unsubscribe links: whom, about what, in a form that only this store can make or read.

Decides: what stands in a token; how it is signed and sealed: `core/engine/signed_tokens.py`.

    purpose 1, medium 1, invitation 16, language 2, account

Never: expires one: the link of an old message must work. Nothing personal stands in it, sealed or not:
the contact is a keyed hash (`core/engine/identity.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.engine.signed_tokens import TOKEN_CHARS_MAX, SignedTokens
from core.records import member_parts

__all__ = ["TOKEN_CHARS_MAX", "Ticket", "UnsubscribeTokens"]

_MEMBER_BYTES = 16
_LANGUAGE_BYTES = 2
_HEAD_BYTES = 2 + _MEMBER_BYTES + _LANGUAGE_BYTES
_NO_LANGUAGE = bytes(_LANGUAGE_BYTES)


class Ticket(msgspec.Struct, frozen=True):
    """What a link stands for."""

    account: str
    member: bytes
    """Of the invitation that carried the link; contact and channel are in it."""
    purpose: int
    medium: int
    language: str = ""
    """Two letters: what the message was written in; "" if that was not the contact's own."""

    @property
    def contact_key(self) -> bytes:
        """Whose link it is."""
        return member_parts(self.member)[0]

    @property
    def channel_number(self) -> int:
        """The shop that wrote."""
        return member_parts(self.member)[2]


class UnsubscribeTokens:
    """Makes and reads tokens; arguments as of `SignedTokens`."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        # An account has at least one letter.
        self._tokens = SignedTokens(secrets, b"unsubscribe", _HEAD_BYTES + 1)

    def make(self, ticket: Ticket) -> str:
        """Return the token of a ticket: URL-safe characters, the same each time."""
        language = ticket.language.encode("ascii")
        assert len(ticket.member) == _MEMBER_BYTES and len(language) in (0, _LANGUAGE_BYTES)
        head = bytes((ticket.purpose, ticket.medium)) + ticket.member
        return self._tokens.make(head + (language or _NO_LANGUAGE) + ticket.account.encode())

    def read(self, token: str) -> Ticket | None:
        """Return what a token stands for, None if it was not made here."""
        plain = self._tokens.read(token)
        return _ticket(plain) if plain is not None else None


def _ticket(plain: bytes) -> Ticket:
    language = plain[_HEAD_BYTES - _LANGUAGE_BYTES : _HEAD_BYTES]
    return Ticket(
        account=plain[_HEAD_BYTES:].decode(),
        member=plain[2 : 2 + _MEMBER_BYTES],
        purpose=plain[0],
        medium=plain[1],
        language="" if language == _NO_LANGUAGE else language.decode("ascii"),
    )
