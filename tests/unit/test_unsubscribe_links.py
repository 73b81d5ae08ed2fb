"""Which messages carry an unsubscribe link, and what the link says."""

from __future__ import annotations

from typing import Any

from control.public.links import UnsubscribeLinks
from core.engine.unsubscribe_tokens import UnsubscribeTokens
from core.model import Medium, Purpose
from tests.letters import make_channel, make_letter

BASE = "https://mail.shop.example/post"
REVIEW, MARKETING = int(Purpose.REVIEW), int(Purpose.MARKETING)


def test_who_gets_a_link() -> None:
    links = UnsubscribeLinks("https://mail.shop.example/", UnsubscribeTokens((b"s",)))

    def of(**changes: Any) -> str:
        given: dict[str, Any] = {"purpose": REVIEW, "member": bytes(16)} | changes
        return links.of(make_letter(**given))

    assert of().startswith("https://mail.shop.example/u/")
    assert of(purpose=MARKETING)
    for purpose in (0, Purpose.TRANSACTIONAL, Purpose.OPERATIONAL, Purpose.DATA_FORWARDING):
        assert of(purpose=purpose) == ""
    assert of(member=b"") == "", "it goes to a carrier, who does not speak for the customer"
    assert of(medium=Medium.SMS) == ""
    assert of() == of(attempts=3), "a retry is the same message"
    assert of(member=bytes(15) + b"\x01") != of()


def test_the_links_language_is_that_of_the_contact() -> None:
    tokens = UnsubscribeTokens((b"s",))
    links = UnsubscribeLinks(BASE, tokens)
    for locale, of_channel, language in (
        ("de-AT", "fr", "de"),
        ("", "fr_FR", "fr"),
        ("est", "it", ""),
        ("", "", ""),
    ):
        letter = make_letter(
            locale=locale, channel=make_channel(locale=of_channel), purpose=REVIEW, member=bytes(16)
        )
        ticket = tokens.read(links.of(letter).rpartition("/")[2])
        assert ticket is not None
        assert ticket.language == language
