"""Previews of a shop's own templates, over every medium that they are for.

Decides: what a preview tells: of an SMS what it takes (C23), of WhatsApp the call.
Never: sends, or makes a link by which somebody could speak for a contact.
"""

from __future__ import annotations

import email
from email.policy import default as modern

from msgspec.structs import replace

from afterword.v1 import template_service_pb2 as pb2
from control.conversion import addresses, contents, steps
from control.services.previews import (
    REVIEW_LINK,
    Scene,
    letter_of,
    part_of,
    sms_preview,
    unsubscribe_link,
    whatsapp_preview,
)
from core.errors import FailedPrecondition, RenderingFailed
from core.model import CONSENT_PURPOSES, REVIEW_FAMILIES, Medium, Purpose
from core.registry.contents import (
    ContentTemplate,
    EmailParts,
    SmsParts,
    content_for,
)
from core.registry.resources import Rule
from core.registry.rule_parts import Action, Step
from core.sending import Letter
from senders.catalogue import choice
from senders.catalogue.emails import KIND_BOTH
from senders.contents import messages
from senders.message_texts import sms_text


def of_own(
    scene: Scene, own: ContentTemplate, rule: Rule | None, said: Action | None, *,
    is_reminder: bool, is_combined: bool, takes_answers: bool,
) -> pb2.PreviewTemplateResponse:  # fmt: skip
    """Return what an own template says, by itself or as an action of a rule.

    Args:
        said: the action, with what it inherits; None without a rule.
        is_combined: it asks about products together with the service.
        takes_answers: the sender of an SMS can be answered, so people are told how to stop.
    """
    family = rule.family if rule is not None else own.families[0]
    purpose = Purpose.REVIEW if family in REVIEW_FAMILIES else Purpose.TRANSACTIONAL
    letter = replace(
        letter_of(scene),
        medium=own.medium, family=family, is_follow_up=is_reminder,
        purpose=rule.purpose if rule is not None else purpose,
        kinds=KIND_BOTH if is_combined else choice.kinds_of(family), content=own,
        template=own.id, review_url=REVIEW_LINK if family in REVIEW_FAMILIES else "",
        subject=said.subject if said is not None else "",
        sender=said.sender if said is not None else None,
        preheader=said.preheader if said is not None else "",
    )  # fmt: skip
    try:
        pb = _by_medium(letter, own, scene, takes_answers)
    except RenderingFailed as error:
        raise FailedPrecondition(f"the message cannot be made: {error.message}") from None
    pb.template = own.name
    pb.template_revision = own.revision
    pb.language = messages.chosen(letter, own).locale
    return pb


def _by_medium(
    letter: Letter, own: ContentTemplate, scene: Scene, takes_answers: bool
) -> pb2.PreviewTemplateResponse:
    if own.medium is Medium.EMAIL:
        return _email(letter, own, scene)
    if own.medium is Medium.SMS:
        return sms_preview(sms_text(letter, takes_answers))
    return whatsapp_preview(messages.whatsapp_call(letter, own))


def _email(letter: Letter, own: ContentTemplate, scene: Scene) -> pb2.PreviewTemplateResponse:
    link = unsubscribe_link(scene.public_url) if letter.purpose in CONSENT_PURPOSES else ""
    mail = messages.Mail(unsubscribe_url=lambda _: link)
    message = email.message_from_bytes(mail.render(letter), policy=modern)
    return pb2.PreviewTemplateResponse(
        subject=str(message["Subject"]),
        text=part_of(message, "plain"),
        html=part_of(message, "html"),
        sender=str(message["From"]),
        preheader=messages.preheader_of(letter, own),
    )


def rule_template(
    rule: Rule, step: Step, said: Action, own: ContentTemplate, locale: str
) -> pb2.RuleTemplate:
    """Return what a step says over one medium by an own template; variables not filled."""
    pb = pb2.RuleTemplate(
        step=step.id,
        medium=steps.medium_to_proto(said.medium),
        template=own.name,
        subject=said.subject,
        preheader=said.preheader,
        sender=addresses.sender_to_proto(said.sender),
    )
    if rule.family in REVIEW_FAMILIES:
        review = rule.review
        pb.questionnaire = contents.questionnaire_name(review.questionnaire if review else "")
        pb.comment_required = review is not None and review.comment_required
    parts = content_for(own, locale).parts
    if isinstance(parts, EmailParts):
        pb.subject = pb.subject or parts.subject
        pb.preheader = pb.preheader or parts.preheader
        pb.body = messages.text_source(parts)
    elif isinstance(parts, SmsParts):
        pb.body = parts.text
    return pb
