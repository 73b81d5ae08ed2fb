"""French as it is printed; what others wrote stays as it is."""

from __future__ import annotations

import itertools

import pytest

from senders.catalogue.confirmation import CONFIRMATIONS
from senders.catalogue.emails import EMAIL_TEMPLATES
from senders.languages import LANGUAGES
from senders.typography import typeset
from tests.layouts import gallery
from tests.unit.test_default_messages import part, render


def test_french_has_its_apostrophe_and_blanks_that_do_not_break() -> None:
    assert (
        typeset("C'est l'avis : oui ? Non !", "fr")
        == "C\u2019est l\u2019avis\xa0: oui\xa0? Non\xa0!"
    )
    assert typeset("It's: https://x.example/ ?", "en") == "It's: https://x.example/ ?"


@pytest.mark.parametrize("template", gallery.templates(), ids=lambda each: each.id)
def test_every_french_message_is_set(template: object) -> None:
    assert template in EMAIL_TEMPLATES.values()
    letter = gallery.letter(template, "fr")  # type: ignore[arg-type]
    # The names of what was bought, and a text of the shop, are not ours to set.
    for thing in itertools.chain(
        letter.event.order.items if letter.event.order else (),
        letter.event.cart.items if letter.event.cart else (),
    ):
        thing.name = "Gouda"
    letter.text = "plain" if letter.text else ""
    told = part(render(letter), "plain")
    assert "'" not in told
    for sign in "?!:;":
        assert f" {sign}" not in told


def test_what_a_shop_writes_in_french_stays_as_it_is() -> None:
    letter = gallery.letter(EMAIL_TEMPLATES["plain"], "fr", text="C'est prêt : venez !")
    assert "C'est prêt : venez !" in part(render(letter), "plain")


def test_a_value_that_is_not_known_takes_its_colon_along() -> None:
    letter = gallery.letter(EMAIL_TEMPLATES["confirm-consent"], "fr")
    letter.event.attributes = {}
    text = part(render(letter), "plain")
    assert "auprès de Käsehaus.\n" in text


def test_all_words_of_a_language_are_set() -> None:
    assert "\u2019" in LANGUAGES["fr"].reasons.carrier or "\u2019" in str(CONFIRMATIONS["fr"])
    assert LANGUAGES["fr"].colon == "\xa0:"
    assert {texts.colon for name, texts in LANGUAGES.items() if name != "fr"} == {":"}
