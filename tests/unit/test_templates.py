from __future__ import annotations

import itertools

import pytest

from core.bounds import SUBJECT_CHARS_MAX
from core.errors import InvalidField, RenderingFailed
from core.model import Family
from senders import pages, templates
from senders.languages import LANGUAGES
from tests.letters import make_channel, make_event, make_letter


@pytest.mark.parametrize(
    ("locale", "channel_locale", "language"),
    [
        ("de-AT", "fr-FR", "de"),
        ("pt_BR", "fr-FR", "pt"),
        ("ES", "fr-FR", "es"),
        ("ja-JP", "pl-PL", "pl"),
        ("", "fr", "fr"),
        ("ja", "ko", "en"),
        ("", "", "en"),
        ("den", "", "en"),
    ],
)
def test_language_falls_back_from_recipient_to_channel_to_english(
    locale: str, channel_locale: str, language: str
) -> None:
    """C22."""
    assert templates.language_for(locale, channel_locale) == language


def subject_for(text: str = "", language: str = "en", **changes: object) -> str:
    letter = make_letter(subject=text, **changes)  # type: ignore[arg-type]
    return templates.subject_of(letter, language, templates.variables(letter))


def test_a_subject_is_filled() -> None:
    assert subject_for("{{first_name}}: {{ order }} at {{shop}}") == "Anna: 4711 at Käsehaus"


def test_what_looks_like_a_variable_in_a_value_stays_text() -> None:
    event = make_event(first_name="{{order}}")
    assert subject_for("Hi {{first_name}}", event=event) == "Hi {{order}}"


def test_a_missing_value_takes_its_space_along() -> None:
    event = make_event(order="")
    assert subject_for(event=event) == "How was your order at Käsehaus?"
    assert subject_for("Your order {{order}}?", event=event) == "Your order?"


def test_a_channel_without_a_name_is_called_by_its_id() -> None:
    channel = make_channel(display_name="")
    assert subject_for("{{shop}}", channel=channel) == "shop-de"


def test_the_reminder_differs_in_its_subject() -> None:
    """B19."""
    for language, family in itertools.product(LANGUAGES, Family):
        first = subject_for(language=language, family=family)
        assert first != subject_for(language=language, family=family, is_follow_up=True)


def test_an_unknown_variable_in_a_stored_subject_is_a_rendering_error() -> None:
    with pytest.raises(RenderingFailed):
        subject_for("{{event}}")


@pytest.mark.parametrize(
    "text",
    [
        *["{{price}}", "{{order", "order}}", "{{}}", "{{order.total}}", "{{order|safe}}"],
        *["a\nb", "a\rb", "a\0b", "a\x1bb", "x" * (SUBJECT_CHARS_MAX + 1)],
    ],
)
def test_bad_subjects_are_refused_when_they_are_saved(text: str) -> None:
    with pytest.raises(InvalidField) as raised:
        templates.validate_subject(text, field="rule.steps[0].actions[0].subject")
    assert raised.value.field == "rule.steps[0].actions[0].subject"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{{order}} {{first_name}} {{shop}}",
        "{a} } {",
        "{{{order}}}",
        "x" * SUBJECT_CHARS_MAX,
        "Größe ¿?",
    ],
)
def test_good_subjects_pass(text: str) -> None:
    templates.validate_subject(text)


ALL = frozenset({"order", "first_name", "shop", "products", "link", "unsubscribe"})


@pytest.mark.parametrize("known", [ALL, frozenset({"shop"}), ALL - {"order"}, ALL - {"products"}])
def test_every_body_names_only_what_is_known(known: frozenset[str]) -> None:
    for language, family in itertools.product(LANGUAGES, Family):
        letter = make_letter(family=family)
        content = pages.content_of(letter, templates.template_of(letter), language)
        body = pages.body_of(content, language, known)
        for part in (body.text, body.html):
            assert set(part[1::2]) <= known
            literals = "X".join(part[0::2])
            assert "{{" not in literals
            assert "  " not in literals
        assert f'lang="{language}"' in body.html[0]
        for line in "X".join(body.text[0::2]).split("\n"):
            assert not line.endswith((" .", " :.", "::"))


def test_a_link_is_only_taken_from_a_plain_web_address() -> None:
    def link(url: str, family: Family = Family.NOTIFICATION) -> str:
        letter = make_letter(event=make_event(tracking_url=url), family=family)
        return templates.variables(letter)["link"]

    assert link("https://track.example/?a=1&b=%20") == "https://track.example/?a=1&b=%20"
    assert not link("https://track.example/", Family.SERVICE_REVIEW)
    for url in ("javascript:alert(1)", 'https://x/"onload=', "https://x/ y", "https://x/\n", "x"):
        assert not link(url)
    assert not link("https://x/" + "a" * templates.URL_CHARS_MAX)


@pytest.mark.parametrize("text", ["{{nobody}}", "{{order", "x" * 2001, "a\tb"])
def test_a_text_that_could_not_be_rendered_is_refused(text: str) -> None:
    """D22: what a rule says is checked when it is saved."""
    with pytest.raises(InvalidField) as caught:
        templates.validate_text(text, field="rule.steps[0].actions[0].body")
    assert caught.value.field == "rule.steps[0].actions[0].body"


def test_a_text_may_name_what_subjects_may_and_more() -> None:
    templates.validate_text("{{first_name}}: {{products}}\n\n{{link}}", field="body")
