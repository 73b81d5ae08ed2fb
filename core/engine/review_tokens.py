"""Tokens of review links: which request they belong to, in a form that only this store can make or read.

Decides: what stands in a token; how it is signed and sealed: `core/engine/signed_tokens.py`.

    invitation 16, kinds and comment kinds 1, last day 2, questionnaire

The invitation names contact and channel, and with the channel its account; the rest is what the message
said when it was rendered: what it asks about, where it leads, which questionnaire, and about what a
review is taken only with a text (B36). Short, because it stands in text messages too.
Never: anything personal: the contact is a keyed hash.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from core.bounds import DAY_MS, OUTCOME_RETENTION_MS
from core.engine.signed_tokens import SignedTokens
from core.records import KIND_PRODUCT, KIND_SERVICE, member_parts

LINK_LIFE_MS = OUTCOME_RETENTION_MS
"""How long a link leads on, counted from the day of the message: the request can be read as long."""
QUESTIONNAIRE_CHARS_MAX = 63

_HEAD = struct.Struct("<16sBH")
_BOTH = KIND_SERVICE | KIND_PRODUCT
_IS_ELSEWHERE = 16


class ReviewTicket(msgspec.Struct, frozen=True):
    """What a link stands for."""

    member: bytes
    """Of the invitation that carried the link; contact and channel are in it."""
    kinds: int
    """What is asked about, as bits of `core.records`."""
    comment_kinds: int = 0
    """About what a review is taken only with a text."""
    is_elsewhere: bool = False
    """It leads to a platform that is not the own one."""
    questionnaire: str = ""
    """Id; "" for the default."""
    last_day: int = 0
    """Epoch day, UTC, through which the link leads on."""

    @property
    def contact_key(self) -> bytes:
        """Who was asked."""
        return member_parts(self.member)[0]

    @property
    def channel_number(self) -> int:
        """The shop that asked."""
        return member_parts(self.member)[2]

    @property
    def expire_ms(self) -> int:
        """From when on the link leads nowhere."""
        return (self.last_day + 1) * DAY_MS


def last_day_of(send_ms: int) -> int:
    """Return the last day of a link in a message of this instant."""
    return (send_ms + LINK_LIFE_MS) // DAY_MS


class ReviewTokens:
    """Makes and reads tokens; arguments as of `SignedTokens`."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._tokens = SignedTokens(secrets, b"review", _HEAD.size)

    def make(self, ticket: ReviewTicket) -> str:
        """Return the token of a ticket: URL-safe characters, the same each time."""
        assert len(ticket.member) == 16 and len(ticket.questionnaire) <= QUESTIONNAIRE_CHARS_MAX
        assert not (ticket.kinds | ticket.comment_kinds) & ~_BOTH
        bits = ticket.kinds | ticket.comment_kinds << 2 | _IS_ELSEWHERE * ticket.is_elsewhere
        head = _HEAD.pack(ticket.member, bits, ticket.last_day)
        return self._tokens.make(head + ticket.questionnaire.encode("ascii"))

    def read(self, token: str) -> ReviewTicket | None:
        """Return what a token stands for, None if it was not made here."""
        plain = self._tokens.read(token)
        if plain is None:
            return None
        member, bits, last_day = _HEAD.unpack_from(plain)
        return ReviewTicket(
            member, bits & _BOTH, bits >> 2 & _BOTH, bool(bits & _IS_ELSEWHERE),
            plain[_HEAD.size :].decode("ascii"), last_day,
        )  # fmt: skip


assert _BOTH == 3, "two bits each"
