"""Tokens of unsubscribe links: whom, about what, in a form that only this store can make or read.

Decides: the bytes of a token.

    version 1 | tag 16 | sealed: purpose 1, medium 1, invitation 16, language 2, account

    tag    = HMAC-SHA-256(key of tags, version and the plain bytes), cut to 128 bits
    sealed = plain bytes XOR SHAKE-256(key of seals, tag)

The tag is what the seal is made from, so equal links are equal bytes and no nonce can be used twice
(the idea of RFC 5297, SIV). Outside the store nothing can be read from a token, not even that two of
them belong to one contact.

Never: expires one: the link of an old message must work. Nothing personal stands in it, sealed or not:
the contact is a keyed hash (`core/engine/identity.py`).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from hashlib import shake_256

import msgspec

from core.records import member_parts

TOKEN_CHARS_MAX = 256
"""Twice the longest we make: longer is refused unread."""

_VERSION = b"\x01"
_TAG_BYTES = 16
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
    """Makes and reads tokens.

    Args:
        secrets: the first makes tokens, all of them read: a new secret goes in front, and the old
            one stays for as long as its links may be used.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        assert secrets, "somebody has to make tokens"
        self._keys = [(_derived(each, b"tag"), _derived(each, b"seal")) for each in secrets]

    def make(self, ticket: Ticket) -> str:
        """Return the token of a ticket: URL-safe characters, the same each time."""
        language = ticket.language.encode("ascii")
        assert len(ticket.member) == _MEMBER_BYTES and len(language) in (0, _LANGUAGE_BYTES)
        head = bytes((ticket.purpose, ticket.medium)) + ticket.member
        plain = head + (language or _NO_LANGUAGE) + ticket.account.encode()
        tag_key, seal_key = self._keys[0]
        tag = _tag(tag_key, plain)
        return _text(_VERSION + tag + _sealed(seal_key, tag, plain))

    def read(self, token: str) -> Ticket | None:
        """Return what a token stands for, None if it was not made here.

        What cannot be a token at all is put through the same work as one that was altered.
        """
        raw = _bytes(token)
        is_possible = raw[:1] == _VERSION and len(raw) > 1 + _TAG_BYTES + _HEAD_BYTES
        if not is_possible:
            raw = bytes(1 + _TAG_BYTES + _HEAD_BYTES + 1)
        tag, sealed = raw[1 : 1 + _TAG_BYTES], raw[1 + _TAG_BYTES :]
        found: bytes | None = None
        for tag_key, seal_key in self._keys:
            plain = _sealed(seal_key, tag, sealed)
            if hmac.compare_digest(_tag(tag_key, plain), tag):
                found = plain
        return _ticket(found) if found is not None and is_possible else None


def _ticket(plain: bytes) -> Ticket:
    language = plain[_HEAD_BYTES - _LANGUAGE_BYTES : _HEAD_BYTES]
    return Ticket(
        account=plain[_HEAD_BYTES:].decode(),
        member=plain[2 : 2 + _MEMBER_BYTES],
        purpose=plain[0],
        medium=plain[1],
        language="" if language == _NO_LANGUAGE else language.decode("ascii"),
    )


def _derived(secret: bytes, use: bytes) -> bytes:
    return hmac.digest(secret, b"afterword unsubscribe " + use, "sha256")


def _tag(key: bytes, plain: bytes) -> bytes:
    return hmac.digest(key, _VERSION + plain, "sha256")[:_TAG_BYTES]


def _sealed(key: bytes, tag: bytes, data: bytes) -> bytes:
    stream = shake_256(key + tag).digest(len(data))
    return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(len(data))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _bytes(token: str) -> bytes:
    """Return what a token spells, b"" if nothing: one token has one spelling, to the last bit."""
    if len(token) > TOKEN_CHARS_MAX or not token.isascii():
        return b""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if _text(raw) == token else b""
