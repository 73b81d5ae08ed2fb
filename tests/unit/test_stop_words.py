"""Stop words: the whole message, in any case and punctuation (g7)."""

from __future__ import annotations

import unicodedata

import pytest

from core.engine.stop_words import STOP_WORDS, stop_word


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("stop", "stop"),
        ("STOP", "stop"),
        (" Stop!! ", "stop"),
        ('"Stop."', "stop"),
        ("STOPALL", "stopall"),
        ("Opt-Out", "opt out"),
        ("opt_out", "opt out"),
        ("optout", "optout"),
        ("Unsubscribe\n", "unsubscribe"),
        ("CANCEL", "cancel"),
        ("end", "end"),
        ("Quit", "quit"),
        ("revoke", "revoke"),
        ("STOPP", "stopp"),
        ("Abmelden.", "abmelden"),
        ("BAJA", "baja"),
        ("¡Alto!", "alto"),
        ("ARRET", "arret"),
        ("ARRÊT", "arrêt"),
        (unicodedata.normalize("NFD", "Arrêt"), "arrêt"),
        ("ＳＴＯＰ", "stop"),  # noqa: RUF001
        ("koniec", "koniec"),
        ("PARAR", "parar"),
        ("Sair", "sair"),
    ],
)
def test_what_is_a_stop_word(text: str, word: str) -> None:
    """g7."""
    assert stop_word(text) == word


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "!",
        "please stop",
        "stop it",
        "don't stop",
        "stopped",
        "start",
        "end.user",
        "s t o p",
    ],
)
def test_what_is_none(text: str) -> None:
    """g7: the whole message, or nothing."""
    assert stop_word(text) == ""


def test_every_word_is_found_as_it_is_written() -> None:
    assert {stop_word(word) for word in STOP_WORDS} == STOP_WORDS
