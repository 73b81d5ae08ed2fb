"""What is shipped to say: every template can be sent in every language, every questionnaire is whole."""

from __future__ import annotations

import email
import itertools
from email.policy import default as modern

import pytest

from core.errors import RenderingFailed
from core.model import REVIEW_FAMILIES, Family, Medium, Purpose
from core.records import KIND_PRODUCT, KIND_SERVICE
from core.registry.resources import Rule
from core.registry.rule_content import as_said
from core.registry.rule_parts import Action, Step, Wait
from senders import mime, templates
from senders.catalogue import choice, questionnaires
from senders.catalogue.emails import EMAIL_TEMPLATES, KIND_BOTH, BodyUse, EmailTemplate
from senders.catalogue.questionnaires import QUESTIONNAIRES, QuestionKind
from senders.languages import LANGUAGES
from tests.letters import make_event, make_letter

OWN_TEXT = "we have put {{order}} aside.\n\nCome and see, {{first_name}}."
REVIEW = tuple(sorted(REVIEW_FAMILIES))


def parts_of(raw: bytes) -> tuple[str, str, str]:
    """Return subject, plain part and HTML part, as a mail program reads them."""
    message = email.message_from_bytes(raw, policy=modern)
    bodies = [message.get_body((subtype,)) for subtype in ("plain", "html")]
    plain, html = (body.get_content() if body is not None else "" for body in bodies)
    return str(message["Subject"]), plain, html


def sent(template: str, language: str = "en", text: str = "", **fields: object) -> tuple[str, ...]:
    known = EMAIL_TEMPLATES.get(template)
    fields = {"family": known.families[0] if known else Family.SERVICE_REVIEW, **fields}
    letter = make_letter(template=template, locale=language, text=text, **fields)
    return parts_of(mime.render(letter))


CASES = [
    (template, language, kinds, is_follow_up)
    for template, language, is_follow_up in itertools.product(
        EMAIL_TEMPLATES.values(), LANGUAGES, (False, True)
    )
    for kinds in template.kinds
]


@pytest.mark.parametrize(("template", "language", "kinds", "is_follow_up"), CASES)
def test_every_template_can_be_sent_in_every_language(
    template: EmailTemplate, language: str, kinds: int, is_follow_up: bool
) -> None:
    """A20, B4, B21, B44: subject and both parts, nothing left unfilled, whatever is known."""
    text = OWN_TEXT if template.body is BodyUse.REQUIRED else ""
    for event in (make_event(), make_event(first_name="", order="", items=())):
        subject, plain, html = sent(
            template.id, language, text, kinds=kinds, is_follow_up=is_follow_up, event=event
        )
        assert subject
        for part in (subject, plain, html):
            assert "{{" not in part
            assert "}}" not in part
            assert "  " not in part
        assert "Käsehaus" in plain
        assert f'<html lang="{language}"' in html
        greeting = LANGUAGES[language].greeting_unnamed.rstrip(",:")
        assert plain.startswith(greeting)


@pytest.mark.parametrize("template", EMAIL_TEMPLATES.values(), ids=lambda each: each.id)
def test_the_words_of_a_template_are_whole(template: EmailTemplate) -> None:
    """A20, C22: all languages or none, and only variables that there are."""
    assert EMAIL_TEMPLATES[template.id] is template
    assert template.display_name
    assert template.description
    assert template.families
    assert set(template.words) == (set() if template.body is BodyUse.REQUIRED else set(LANGUAGES))
    for copy in template.words.values():
        templates.validate_subject(copy.subject)
        templates.validate_subject(copy.reminder_subject)
        if set(template.families) <= REVIEW_FAMILIES:
            assert copy.subject != copy.reminder_subject, "B19"
        for paragraph in copy.paragraphs:
            # What is confirmed is no variable for the texts of rules.
            templates.validate_text(paragraph.replace("{{kind}}", "x"), field="paragraph")


def test_review_templates_are_for_review_rules_and_only_they_have_the_purpose() -> None:
    """R21: what asks for a review is not to be had for another purpose."""
    for template in EMAIL_TEMPLATES.values():
        if template.id != "plain":
            is_review = set(template.families) <= REVIEW_FAMILIES
            assert (Purpose.REVIEW in template.purposes) is is_review
            assert is_review is not bool(set(template.families) - REVIEW_FAMILIES)
    for family in REVIEW:
        asking = choice.fitting(family, Purpose.REVIEW)
        assert len(asking) > 2
        assert choice.default_of(family) in asking


@pytest.mark.parametrize(
    ("family", "default"),
    [
        (Family.SERVICE_REVIEW, "standard-service-review"),
        (Family.PRODUCT_REVIEW, "standard-product-review"),
        (Family.NOTIFICATION, "plain"),
        (Family.AUTOMATION, "plain"),
    ],
)
def test_every_family_has_a_default(family: Family, default: str) -> None:
    """A20, B21, B39: and it is what a rule without a template sends."""
    assert choice.default_of(family).id == default
    text = OWN_TEXT if family not in REVIEW_FAMILIES else ""
    assert sent("", text=text, family=family) == sent(default, text=text, family=family)


SERVICE, PRODUCT = Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW


@pytest.mark.parametrize(
    ("wanted", "family", "kinds", "expected"),
    [
        ("", SERVICE, KIND_BOTH, "combined-review"),
        ("", SERVICE, KIND_PRODUCT, "standard-product-review"),
        ("optimised-service-review", SERVICE, KIND_SERVICE, "optimised-service-review"),
        ("optimised-service-review", SERVICE, KIND_BOTH, "combined-review"),
        ("optimised-service-review", SERVICE, KIND_PRODUCT, "standard-product-review"),
        ("combined-review", SERVICE, KIND_BOTH, "combined-review"),
        ("combined-review", SERVICE, KIND_SERVICE, "standard-service-review"),
        ("combined-review", SERVICE, 0, "standard-service-review"),
        ("combined-review", PRODUCT, 0, "standard-product-review"),
        ("plain", SERVICE, KIND_BOTH, "plain"),
    ],
)
def test_a_template_without_words_for_what_is_asked_gives_way(
    wanted: str, family: Family, kinds: int, expected: str
) -> None:
    """R38, B31: a combined request that ended up about the service alone names no products."""
    assert choice.in_force(wanted, family, kinds, has_text=False).id == expected


def test_the_optimised_request_is_shorter_and_its_text_is_fixed() -> None:
    """A20, B21: another template is another message."""
    for language in LANGUAGES:
        _, optimised, _ = sent("optimised-service-review", language, OWN_TEXT)
        _, standard, _ = sent("standard-service-review", language)
        assert len(optimised) < len(standard)
        assert "4711" in optimised
        assert "put 4711 aside" not in optimised


def test_a_template_that_leaves_the_body_open_says_what_the_action_says() -> None:
    """D23: the text of the action stands between greeting and closing."""
    for template in ("plain", "standard-service-review", "notification"):
        _, plain, html = sent(template, text=OWN_TEXT)
        for part in (plain, html):
            assert "we have put 4711 aside." in part
            assert "Come and see, Anna." in part
            assert "order 4711 at" not in part


@pytest.mark.parametrize("template", ["plain", "of-another-version"])
def test_a_message_that_would_say_something_else_is_not_made(template: str) -> None:
    with pytest.raises(RenderingFailed):
        sent(template)


# --- reminders ------------------------------------------------------------------------------------


def rule_of(first: Action, reminder: Action, family: Family = SERVICE) -> Rule:
    steps = [Step(id=name, wait=Wait(days=1), actions=[action]) for name, action in
             (("first", first), ("reminder", reminder))]  # fmt: skip
    return Rule(
        account="shop", id="ask", family=family, purpose=Purpose.REVIEW, event_type="checkout",
        steps=steps,
    )  # fmt: skip


def test_a_reminder_says_what_the_invitation_said_but_for_its_subject() -> None:
    """B19."""
    first = Action(
        Medium.EMAIL, subject="First", template="plain", preheader="Before", body="Text."
    )
    rule = rule_of(first, Action(Medium.EMAIL, subject="Again"))
    said = as_said(rule, "reminder", rule.steps[1].actions[0])
    assert (said.template, said.preheader, said.body) == ("plain", "Before", "Text.")
    assert said.subject == "Again"
    bare = rule_of(first, Action(Medium.EMAIL))
    assert as_said(bare, "reminder", bare.steps[1].actions[0]).subject == ""
    assert as_said(rule, "first", first) is first


def test_a_reminder_with_content_of_its_own_keeps_it() -> None:
    """B19: and other media and free families have no parent to repeat."""
    first = Action(Medium.EMAIL, template="plain", body="Text.")
    for reminder, family in (
        (Action(Medium.EMAIL, template="standard-service-review"), SERVICE),
        (Action(Medium.SMS), SERVICE),
        (Action(Medium.EMAIL), Family.AUTOMATION),
    ):
        rule = rule_of(first, reminder, family)
        assert as_said(rule, "reminder", reminder) is reminder
    own = Action(Medium.EMAIL, body="Other.")
    said = as_said(rule_of(first, own), "reminder", own)
    assert (said.template, said.body) == ("plain", "Other.")


# --- questionnaires -------------------------------------------------------------------------------


@pytest.mark.parametrize("questionnaire", QUESTIONNAIRES.values(), ids=lambda each: each.id)
def test_every_questionnaire_asks_about_both(questionnaire: questionnaires.Questionnaire) -> None:
    """A21, A23, B22."""
    assert QUESTIONNAIRES[questionnaire.id] is questionnaire
    assert questionnaire.description
    ids = [question.id for question in questionnaire.questions]
    assert len(ids) == len(set(ids))
    for about in (KIND_SERVICE, KIND_PRODUCT):
        asked = [each for each in questionnaire.questions if each.about == about]
        assert asked[0].kind is QuestionKind.RATING
        assert asked[0].is_required
        has_text = any(each.kind is QuestionKind.TEXT for each in asked)
        assert has_text is questionnaire.can_require_comment
    assert all(question.text.endswith("?") for question in questionnaire.questions)


def test_there_are_variants_and_a_default() -> None:
    """A21, B22: the extended one asks what the standard one asks, and more."""
    assert set(QUESTIONNAIRES) == {"standard", "extended", "optimised"}
    assert questionnaires.DEFAULT == "standard"
    standard, extended = QUESTIONNAIRES["standard"], QUESTIONNAIRES["extended"]
    assert set(standard.questions) < set(extended.questions)
