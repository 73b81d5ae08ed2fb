"""Signed tokens: bytes in a form that only this store can make or read.

Decides: how the bytes of a token are signed, sealed and spelt.

    version 1 | tag 16 | sealed bytes

    tag    = HMAC-SHA-256(key of tags, version and the plain bytes), cut to 128 bits
    sealed = plain bytes XOR SHAKE-256(key of seals, tag)

The tag is what the seal is made from, so equal bytes give equal tokens and no nonce can be used twice
(the idea of RFC 5297, SIV). Outside the store nothing can be read from a token, not even that two of
them have anything in common. Each use has keys of its own: a token of one use is none of another.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from hashlib import shake_256

TOKEN_CHARS_MAX = 256
"""Longer is refused unread: more than the longest we make."""

_VERSION = b"\x01"
_TAG_BYTES = 16


class SignedTokens:
    """Makes and reads tokens of one use.

    Args:
        secrets: the first makes tokens, all of them read: a new secret goes in front, and the old
            one stays for as long as its tokens may be used.
        use: what they are for.
        plain_bytes_min: what has fewer bytes is no token of this use.
    """

    def __init__(self, secrets: Sequence[bytes], use: bytes, plain_bytes_min: int) -> None:
        assert secrets, "somebody has to make tokens"
        self._keys = [
            (_derived(each, use + b" tag"), _derived(each, use + b" seal")) for each in secrets
        ]
        self._bytes_min = 1 + _TAG_BYTES + plain_bytes_min

    def make(self, plain: bytes) -> str:
        """Return the token of some bytes: URL-safe characters, the same each time."""
        tag_key, seal_key = self._keys[0]
        tag = _tag(tag_key, plain)
        token = _text(_VERSION + tag + _sealed(seal_key, tag, plain))
        assert len(token) <= TOKEN_CHARS_MAX
        return token

    def read(self, token: str) -> bytes | None:
        """Return the bytes that a token stands for, None if it was not made here.

        What cannot be a token at all is put through the same work as one that was altered.
        """
        raw = _bytes(token)
        is_possible = raw[:1] == _VERSION and len(raw) >= self._bytes_min
        if not is_possible:
            raw = bytes(self._bytes_min)
        tag, sealed = raw[1 : 1 + _TAG_BYTES], raw[1 + _TAG_BYTES :]
        found: bytes | None = None
        for tag_key, seal_key in self._keys:
            plain = _sealed(seal_key, tag, sealed)
            if hmac.compare_digest(_tag(tag_key, plain), tag):
                found = plain
        return found if is_possible else None


def _derived(secret: bytes, use: bytes) -> bytes:
    return hmac.digest(secret, b"afterword " + use, "sha256")


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
