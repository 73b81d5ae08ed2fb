"""Templates and questionnaires: which a rule may name, and how clients see those that there are.

Decides: that what a rule names is there and fits it, and that every message of it will have a text
(A20, A21, B4, D22).
Never: what a template says (`senders/catalogue/`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from afterword.v1 import rule_service_pb2, types_pb2
from afterword.v1 import template_service_pb2 as pb2
from control.conversion import checks, texts
from control.conversion.frame import Frame, OwnTemplates
from core.errors import InvalidField
from core.model import REVIEW_FAMILIES, Family, Medium, Purpose
from core.records import KIND_SERVICE
from core.registry.contents import ContentTemplate
from core.registry.resources import Rule
from core.registry.rule_content import as_said
from core.registry.rule_parts import Action, Recipient
from senders.catalogue import choice, questionnaires
from senders.catalogue.emails import BodyUse, EmailTemplate
from senders.catalogue.questionnaires import QUESTIONNAIRES, Question, Questionnaire

TEMPLATES: Final = "templates/"
QUESTIONNAIRES_PREFIX: Final = "questionnaires/"
FAMILIES: Final = rule_service_pb2.Rule.Family
MEDIA: Final = types_pb2.Medium


# --- what a rule may name -----------------------------------------------------------------------


def template_id(value: str, medium: Medium, frame: Frame, field: str) -> str:
    """Return the id of a template that an action may name, "" for the default."""
    if not value:
        return ""
    own = frame.own(value)
    if own is not None:
        check_own(own, medium, frame.family, field)
        return value
    if medium is Medium.WHATSAPP:
        return texts.whatsapp_template(value, field)
    if medium is not Medium.EMAIL:
        raise InvalidField(
            f"{field} must be empty: there are templates for EMAIL and WHATSAPP, none for "
            f"{medium.name}; write the text into `body`",
            field=field,
        )
    checks.resource_id(value, field)
    check_fits(value, frame.family, frame.purpose, field)
    return value


def check_own(own: ContentTemplate, medium: Medium, family: Family, field: str) -> None:
    """Refuse an own template for a rule or message that it is not for."""
    if own.medium is not medium:
        raise InvalidField(
            f"{field} {own.id!r} is a template for {own.medium.name}, not for {medium.name}",
            field=field,
        )
    if family not in own.families:
        known = ", ".join(each.name for each in own.families)
        raise InvalidField(
            f"{field} {own.id!r} is a template for the families {known}, not for {family.name}; add "
            "it to template.families",
            field=field,
        )


def check_fits(value: str, family: Family, purpose: Purpose, field: str) -> None:
    """Refuse a template that is not there, or not for such rules."""
    fitting = [each.id for each in choice.fitting(family, purpose)]
    if value not in fitting:
        raise InvalidField(
            f"{field} {value!r} is no template for the family {family.name} with the purpose "
            f"{purpose.name}; it must be empty or one of: {', '.join(fitting)}",
            field=field,
        )


def questionnaire_id(value: str, field: str, *, comment_required: bool) -> str:
    """Return the id of a questionnaire, "" for the default.

    Args:
        field: path of the review settings.
    """
    if value:
        checks.resource_id(value, f"{field}.questionnaire")
    found = QUESTIONNAIRES.get(value or questionnaires.DEFAULT)
    if found is None:
        raise InvalidField(
            f"{field}.questionnaire {value!r} does not exist; it must be empty or one of: "
            f"{', '.join(QUESTIONNAIRES)}",
            field=f"{field}.questionnaire",
        )
    if comment_required and not found.can_require_comment:
        able = ", ".join(each.id for each in QUESTIONNAIRES.values() if each.can_require_comment)
        raise InvalidField(
            f"{field}.comment_required must be false with the questionnaire {found.id!r}, which asks "
            f"for no comment; those that do: {able}",
            field=f"{field}.comment_required",
        )
    return value


def check_texts(rule: Rule, own: OwnTemplates) -> None:
    """Refuse a text that a template would not show, and a template without the text it needs."""
    for at, step in enumerate(rule.steps):
        for index, action in enumerate(step.actions):
            said = as_said(rule, step.id, action)
            field = f"rule.steps[{at}].actions[{index}]"
            if said.template and own(said.template) is not None:
                _check_no_text(action, said, field)
            elif action.medium is Medium.EMAIL and said.template:
                _check_text(rule, action, said, field)


def _check_no_text(action: Action, said: Action, field: str) -> None:
    if action.body or action.whatsapp_parameters:
        name = "body" if action.body else "whatsapp_parameters"
        raise InvalidField(
            f"{field}.{name} must be empty: the template {said.template!r} says everything",
            field=f"{field}.{name}",
        )


def _check_text(rule: Rule, action: Action, said: Action, field: str) -> None:
    template = template_of(rule, said)
    if template.body is BodyUse.FIXED and action.body:
        raise InvalidField(
            f"{field}.body must be empty: the template {said.template!r} has a fixed text; "
            "the template 'plain' takes one",
            field=f"{field}.body",
        )
    if template.body is BodyUse.REQUIRED:
        if not said.body:
            checks.missing(
                f"{field}.body", f"the template {said.template!r} has no text of its own"
            )
        if not said.subject and rule.family not in REVIEW_FAMILIES:
            checks.missing(
                f"{field}.subject", f"the template {said.template!r} has no subject of its own"
            )


# --- what is in force ---------------------------------------------------------------------------


def template_of(rule: Rule, said: Action, kinds: int = 0) -> EmailTemplate:
    """Return the template in force for an e-mail of a rule.

    Args:
        said: the action, with what it inherits.
        kinds: what is asked about; 0: what the family asks about.
    """
    return choice.in_force(
        said.template, rule.family, kinds, has_text=bool(said.body),
        to_carrier=said.recipient is Recipient.CARRIER,
    )  # fmt: skip


# --- as clients see them ------------------------------------------------------------------------


def template_name(template: EmailTemplate) -> str:
    """Return the full name of a template."""
    return f"{TEMPLATES}{template.id}"


def questionnaire_name(questionnaire: str) -> str:
    """Return the full name of a questionnaire by its id, "" being the default."""
    return f"{QUESTIONNAIRES_PREFIX}{questionnaire or questionnaires.DEFAULT}"


def template_to_proto(template: EmailTemplate) -> pb2.Template:
    """Return a template of an e-mail."""
    return pb2.Template(
        name=template_name(template),
        kind=pb2.Template.KIND_EMAIL,
        display_name=template.display_name,
        description=template.description,
        families=_families(template.families if template.is_for_rules else ()),
        purposes=[types_pb2.Purpose.ValueType(each) for each in template.purposes],
        default_for=_families(
            each for each in Family if each and choice.default_of(each) is template
        ),
        body=pb2.Template.Body.ValueType(template.body),
        languages=template.languages,
    )


def questionnaire_to_proto(questionnaire: Questionnaire) -> pb2.Template:
    """Return a questionnaire."""
    families = _families(questionnaire.families)
    return pb2.Template(
        name=questionnaire_name(questionnaire.id),
        kind=pb2.Template.KIND_QUESTIONNAIRE,
        display_name=questionnaire.display_name,
        description=questionnaire.description,
        families=families,
        purposes=[types_pb2.PURPOSE_REVIEW],
        default_for=families if questionnaire.id == questionnaires.DEFAULT else (),
        questions=[_question_to_proto(each) for each in questionnaire.questions],
        can_require_comment=questionnaire.can_require_comment,
    )


def _question_to_proto(question: Question) -> pb2.Question:
    return pb2.Question(
        id=question.id,
        kind=pb2.Question.Kind.ValueType(question.kind),
        subject=pb2.Question.SUBJECT_SERVICE
        if question.about == KIND_SERVICE
        else pb2.Question.SUBJECT_PRODUCT,
        text=question.text,
        required=question.is_required,
    )


def _families(found: Iterable[Family]) -> list[rule_service_pb2.Rule.Family.ValueType]:
    return [rule_service_pb2.Rule.Family.ValueType(each) for each in found]
