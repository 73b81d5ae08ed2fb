"""Tokens of double opt-in: what was made is read back, nothing else is; and one use is not another."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from core.engine.consent_tokens import ConsentTicket, ConsentTokens
from core.engine.signed_tokens import TOKEN_CHARS_MAX
from core.engine.unsubscribe_tokens import Ticket, UnsubscribeTokens
from core.model import Medium, Purpose
from senders.languages import LANGUAGES

SECRET = b"s" * 32
tokens = ConsentTokens((SECRET,))
URL_SAFE = string.ascii_letters + string.digits + "-_"
instants = st.integers(1, 2**46)
numbers = st.integers(0, 2**16 - 1)

tickets = st.builds(
    ConsentTicket,
    account=st.from_regex("[a-z][a-z0-9-]{0,62}", fullmatch=True),
    contact_key=st.binary(min_size=8, max_size=8),
    purpose=st.sampled_from(Purpose).map(int),
    medium=st.sampled_from(Medium).map(int),
    channel_number=numbers,
    request_ms=instants,
    expire_ms=instants,
    sender_number=numbers,
    language=st.sampled_from(["", *LANGUAGES]),
)


@given(tickets)
def test_what_was_made_is_read_back(ticket: ConsentTicket) -> None:
    """g3."""
    token = tokens.make(ticket)
    assert tokens.read(token) == ticket
    assert set(token) <= set(URL_SAFE)
    assert len(token) <= TOKEN_CHARS_MAX
    assert ConsentTokens((b"t" * 32,)).read(token) is None, "another store made it"


@given(tickets, st.data())
def test_an_altered_token_is_no_token(ticket: ConsentTicket, data: st.DataObject) -> None:
    """g3: unguessable."""
    token = tokens.make(ticket)
    place = data.draw(st.integers(0, len(token) - 1))
    for char in URL_SAFE + "=+/ ":
        if char != token[place]:
            assert tokens.read(token[:place] + char + token[place + 1 :]) is None
    assert tokens.read(token[:place]) is None


@given(tickets, st.binary(min_size=16, max_size=16))
def test_a_token_of_one_use_is_none_of_another(ticket: ConsentTicket, member: bytes) -> None:
    """A link to unsubscribe confirms nothing, and the reverse."""
    others = UnsubscribeTokens((SECRET,))
    assert others.read(tokens.make(ticket)) is None
    assert tokens.read(others.make(Ticket(ticket.account, member, 1, 1, "de"))) is None


def test_links_of_earlier_versions_still_work() -> None:
    """Messages are read years later: the bytes of a token never change."""
    ticket = Ticket("shop", bytes(range(16)), 1, 1, "de")
    assert UnsubscribeTokens((b"secret",)).make(ticket) == PINNED


PINNED = "AUqmpcYwwMlVK3356fDBWfXHKhO49AZy98YX98ynAx2st4QzfuEBoYs"
