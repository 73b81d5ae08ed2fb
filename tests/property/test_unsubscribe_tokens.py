"""Tokens of unsubscribe links: what was made is read back, nothing else is read at all."""

from __future__ import annotations

import base64
import string

from hypothesis import example, given
from hypothesis import strategies as st

from core.engine.unsubscribe_tokens import TOKEN_CHARS_MAX, Ticket, UnsubscribeTokens
from core.model import Medium, Purpose
from senders.languages import LANGUAGES

SECRET = b"s" * 32
URL_SAFE = string.ascii_letters + string.digits + "-_"
tokens = UnsubscribeTokens((SECRET,))

tickets = st.builds(
    Ticket,
    account=st.from_regex("[a-z][a-z0-9-]{0,62}", fullmatch=True),
    member=st.binary(min_size=16, max_size=16),
    purpose=st.sampled_from(Purpose).map(int),
    medium=st.sampled_from(Medium).map(int),
    language=st.sampled_from(["", *LANGUAGES]),
)


@given(tickets)
def test_what_was_made_is_read_back(ticket: Ticket) -> None:
    """g5."""
    token = tokens.make(ticket)
    assert tokens.read(token) == ticket
    assert tokens.make(ticket) == token, "the same message gives the same bytes"
    assert set(token) <= set(URL_SAFE)
    assert len(token) <= TOKEN_CHARS_MAX // 1.9
    assert UnsubscribeTokens((b"t" * 32,)).read(token) is None, "another store made it"


@given(tickets)
def test_a_new_secret_makes_tokens_and_the_old_one_still_reads(ticket: Ticket) -> None:
    old = tokens.make(ticket)
    both = UnsubscribeTokens((b"new", SECRET))
    assert both.read(old) == ticket
    assert both.make(ticket) != old
    assert tokens.read(both.make(ticket)) is None


@given(st.binary(max_size=150))
@example(b"")
@example(b"\x01")
@example(b"\x01" + bytes(36))
@example(b"\x01" + bytes(37))
def test_random_bytes_are_no_token(raw: bytes) -> None:
    for made in (raw, b"\x01" + raw):
        assert tokens.read(base64.urlsafe_b64encode(made).rstrip(b"=").decode()) is None


@given(st.text(max_size=2 * TOKEN_CHARS_MAX))
@example("é" * 60)
@example("A" * (TOKEN_CHARS_MAX + 1))
def test_random_text_is_no_token(text: str) -> None:
    assert tokens.read(text) is None


@given(tickets, st.data())
def test_an_altered_token_is_no_token(ticket: Ticket, data: st.DataObject) -> None:
    """Every bit counts, those that pad the last character too."""
    token = tokens.make(ticket)
    place = data.draw(st.integers(0, len(token) - 1) | st.just(len(token) - 1))
    for char in URL_SAFE + "=+/ \n%":
        if char != token[place]:
            assert tokens.read(token[:place] + char + token[place + 1 :]) is None
    assert tokens.read(token[:place]) is None
    for tail in ("A", "=", "AAAA", "\n", "/"):
        assert tokens.read(token + tail) is None


@given(tickets)
def test_nothing_can_be_read_from_outside(ticket: Ticket) -> None:
    """g5: opaque. Two links of one contact have nothing in common but the version."""
    token = tokens.make(ticket)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert ticket.member[:8] not in raw
    assert len(ticket.account) < 4 or ticket.account.encode() not in raw
    other = Ticket(
        ticket.account, ticket.member[:14] + b"\xff\xfe", ticket.purpose, ticket.medium, "xx"
    )
    theirs = base64.urlsafe_b64decode(tokens.make(other) + "===")
    assert raw[1:9] != theirs[1:9]
    assert raw[17:25] != theirs[17:25]
