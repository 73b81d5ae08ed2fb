"""Tokens of review links: what was made is read back, nothing else is; and one use is not another."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from core.engine.consent_tokens import ConsentTokens
from core.engine.review_tokens import QUESTIONNAIRE_CHARS_MAX, ReviewTicket, ReviewTokens
from core.engine.signed_tokens import TOKEN_CHARS_MAX
from core.engine.unsubscribe_tokens import UnsubscribeTokens
from senders.catalogue.questionnaires import QUESTIONNAIRES

SECRET = b"s" * 32
tokens = ReviewTokens((SECRET,))
URL_SAFE = string.ascii_letters + string.digits + "-_"
kinds = st.integers(0, 3)

tickets = st.builds(
    ReviewTicket,
    member=st.binary(min_size=16, max_size=16),
    kinds=kinds,
    comment_kinds=kinds,
    is_elsewhere=st.booleans(),
    questionnaire=st.from_regex("([a-z][a-z0-9-]{0,62})?", fullmatch=True),
    last_day=st.integers(0, 2**16 - 1),
)


@given(tickets)
def test_what_was_made_is_read_back(ticket: ReviewTicket) -> None:
    """A21, B36."""
    token = tokens.make(ticket)
    assert tokens.read(token) == ticket
    assert set(token) <= set(URL_SAFE)
    assert len(token) <= TOKEN_CHARS_MAX
    assert ReviewTokens((b"t" * 32,)).read(token) is None, "another store made it"


@given(tickets, st.data())
def test_an_altered_token_is_no_token(ticket: ReviewTicket, data: st.DataObject) -> None:
    """Nobody takes the duty to comment out of a link, or makes one for another order."""
    token = tokens.make(ticket)
    place = data.draw(st.integers(0, len(token) - 1))
    for char in URL_SAFE + "=+/ ":
        if char != token[place]:
            assert tokens.read(token[:place] + char + token[place + 1 :]) is None
    assert tokens.read(token[:place]) is None


@given(tickets)
def test_a_token_of_one_use_is_none_of_another(ticket: ReviewTicket) -> None:
    """A review link unsubscribes and confirms nothing."""
    token = tokens.make(ticket)
    assert UnsubscribeTokens((SECRET,)).read(token) is None
    assert ConsentTokens((SECRET,)).read(token) is None


@given(st.text(max_size=300))
def test_any_text_is_refused(text: str) -> None:
    assert tokens.read(text) is None


def test_a_usual_token_is_short_enough_for_a_text_message() -> None:
    """A21: half a segment."""
    assert all(len(each) <= QUESTIONNAIRE_CHARS_MAX for each in QUESTIONNAIRES)
    usual = ReviewTicket(bytes(16), 3, 3, False, "", 20_000)
    assert len(tokens.make(usual)) <= 50
