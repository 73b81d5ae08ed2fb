"""Texts of SMS, languages of WhatsApp templates, payloads of webhooks (C23, C26)."""

from __future__ import annotations

import pytest

from core.engine.stop_words import stop_word
from core.errors import RenderingFailed
from core.model import Family, Medium, Order, Purpose, Shipment
from core.records import KIND_PRODUCT, KIND_SERVICE
from senders.languages import LANGUAGES
from senders.message_texts import filled, sms_text, values_of, whatsapp_call, whatsapp_language
from senders.sms_text import Encoding, size_of
from senders.sms_words import SMS_WORDS
from senders.webhook_payload import payload_of
from tests.letters import make_channel, make_event, make_letter

LINK = "https://r.example/abcdef"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("is_follow_up", [False, True])
@pytest.mark.parametrize(
    ("family", "kinds"),
    [
        (Family.SERVICE_REVIEW, 0), (Family.PRODUCT_REVIEW, 0), (Family.NOTIFICATION, 0),
        (Family.SERVICE_REVIEW, KIND_SERVICE | KIND_PRODUCT),
    ],
)  # fmt: skip
def test_every_default_is_one_segment(
    language: str, is_follow_up: bool, family: Family, kinds: int
) -> None:
    """C23: with a shop, an order, a link and the way to stop."""
    letter = make_letter(
        1, medium=Medium.SMS, purpose=Purpose.REVIEW, locale=language, family=family, kinds=kinds,
        is_follow_up=is_follow_up, review_url=LINK, channel=make_channel(display_name="Kaesehaus"),
    )  # fmt: skip
    text = sms_text(letter, True)
    size = size_of(text)
    assert (size.encoding, size.segments) == (Encoding.GSM_7, 1), (size, text)
    assert "{{" not in text
    assert text.endswith(SMS_WORDS[language].stop)
    if family != Family.NOTIFICATION:
        assert LINK in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_g7_the_word_that_is_named_does_stop(language: str) -> None:
    """g7: exactly one word of the hint is a stop word, and it stands in capitals."""
    words = [word.strip(".:,") for word in SMS_WORDS[language].stop.split()]
    assert [word for word in words if stop_word(word)] == [word for word in words if word.isupper()]
    assert sum(bool(stop_word(word)) for word in words) == 1


def test_a_missing_value_leaves_no_gap() -> None:
    letter = make_letter(1, medium=Medium.SMS, family=Family.NOTIFICATION, locale="en")
    assert sms_text(letter, True) == "Käsehaus: there is news about your order 4711."
    assert filled("a {{link}} b {{ order }}", {"link": "", "order": "7"}) == "a b 7"


def test_what_looks_like_a_placeholder_in_a_name_stays_text() -> None:
    letter = make_letter(
        1, medium=Medium.SMS, text="Hi {{first_name}}", event=make_event(first_name="{{shop}}")
    )
    assert sms_text(letter, False) == "Hi {{shop}}"


@pytest.mark.parametrize("text", ["{{nobody}}", "{{unsubscribe}}"])
def test_an_unknown_placeholder_is_a_failure_and_no_text(text: str) -> None:
    with pytest.raises(RenderingFailed):
        sms_text(make_letter(1, medium=Medium.SMS, text=text), False)


def test_c26_carrier_and_expected_date_can_be_told() -> None:
    """C26: in the channel's zone."""
    event = make_event()
    event.shipment = Shipment(carrier=" DHL\nExpress ", promised_ms=1_760_047_200_000)
    values = values_of(make_letter(1, event=event))
    assert values["carrier"] == "DHL Express"
    assert values["expected_date"] == "2025-10-10", "22:00 UTC is midnight in Berlin"


@pytest.mark.parametrize(
    ("locale", "channel", "wanted"),
    [
        ("de-AT", "en", "de"), ("en_GB", "de", "en"), ("pt_BR", "de", "pt_BR"), ("pt", "de", "pt_PT"),
        ("pt-AO", "de", "pt_PT"), ("", "es_ES", "es"), ("nl", "de", "nl"), ("", "", "en"),
    ],
)  # fmt: skip
def test_g9_the_language_of_a_template_is_the_recipient_s(
    locale: str, channel: str, wanted: str
) -> None:
    letter = make_letter(1, locale=locale, channel=make_channel(locale=channel))
    assert whatsapp_language(letter) == wanted


def test_a_template_may_name_its_one_language() -> None:
    letter = make_letter(1, template="late/en_US", parameters=("{{order}}", "x"))
    called = whatsapp_call(letter)
    assert (called.name, called.language, called.parameters) == ("late", "en_US", ("4711", "x"))


def test_a_webhook_tells_what_is_known_and_nothing_empty() -> None:
    """C26."""
    event = make_event(tracking_url="https://parcel.example/1")
    event.order = Order(reference="4711")
    letter = make_letter(
        7, event=event, medium=Medium.WEBHOOK, is_follow_up=True, rule="ask", step="again",
        purpose=Purpose.REVIEW, platform="trust", review_url=LINK, attempts=2,
    )  # fmt: skip
    told = payload_of(letter)
    assert told["type"] == "afterword.message.due"
    assert (told["kind"], told["attempt"], told["platform"]) == ("reminder", 3, "trust")
    assert (told["review_url"], told["links"]) == (LINK, {"tracking": "https://parcel.example/1"})
    assert told["order"] == {"reference": "4711"}
    assert "phone" not in told["contact"]
    assert payload_of(make_letter(1))["platform"] == "own"
