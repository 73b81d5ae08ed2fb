"""E-mails that lead to a review platform (A28): the link has a line of its own, in each language."""

from __future__ import annotations

import email
import email.policy

import pytest

from core.errors import RenderingFailed
from core.model import Family
from core.sending import Letter
from senders.languages import LANGUAGES
from senders.mime import render
from tests.letters import make_letter

URL = "https://reviews.example/shop?order=A%2F1&x=%3C"


def letter(language: str = "en", **fields: object) -> Letter:
    given = {"family": Family.SERVICE_REVIEW, "locale": language, "review_url": URL}
    return make_letter(**{**given, **fields})  # type: ignore[arg-type]


def parts(letter: Letter) -> dict[str, str]:
    message = email.message_from_bytes(render(letter), policy=email.policy.default)
    return {part.get_content_subtype(): part.get_content() for part in message.iter_parts()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a28_the_link_stands_in_text_and_markup(language: str) -> None:
    """A28."""
    found, label = parts(letter(language)), LANGUAGES[language].review
    assert f"{label}{LANGUAGES[language].colon}\n{URL}\n" in found["plain"].replace("\r\n", "\n")
    assert f'<a href="{URL.replace("&", "&amp;")}"' in found["html"]
    assert LANGUAGES[language].tracking not in found["plain"]


def test_the_own_platform_and_other_messages_have_no_such_line() -> None:
    review = LANGUAGES["en"].review
    assert review not in parts(letter(review_url=""))["plain"]
    assert review not in parts(letter(family=Family.NOTIFICATION))["plain"]


def test_a_text_of_the_rule_may_name_the_link() -> None:
    assert f"Here: {URL}." in parts(letter(text="Here: {{link}}."))["plain"]


@pytest.mark.parametrize("url", ["https://r.example/" + "a" * 900, "https://r.example/ü", "x:y"])
def test_a_link_that_cannot_stand_in_a_message_fails_the_message(url: str) -> None:
    with pytest.raises(RenderingFailed, match="review platform"):
        render(letter(review_url=url))
