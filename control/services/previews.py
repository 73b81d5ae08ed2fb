"""Previews: what an e-mail would look like, by the renderer that makes the real ones.

Decides: the event, shop and recipient that stand in where a request names none.
Never: sends, or makes a link by which somebody could speak for a contact.
"""

from __future__ import annotations

import email
from email.message import EmailMessage
from email.policy import default as modern
from typing import Final

import msgspec
from msgspec.structs import replace

from afterword.v1 import template_service_pb2 as pb2
from control.conversion import contents
from control.public.links import CONFIRM_PATH, PATH
from core.bounds import DAY_MS
from core.errors import FailedPrecondition, RenderingFailed
from core.model import (
    CONSENT_PURPOSES,
    REVIEW_FAMILIES,
    Cart,
    Contact,
    Event,
    Item,
    Medium,
    Money,
    Order,
    Purpose,
    Shipment,
)
from core.registry.resources import Channel, Rule
from core.registry.rule_content import as_said
from core.registry.rule_parts import Action, EmailSender, Recipient, Step
from core.sending import Letter
from senders.catalogue import choice
from senders.catalogue.emails import KIND_BOTH, BodyUse, EmailTemplate
from senders.message_texts import sms_text, whatsapp_call
from senders.mime import MimeRenderer
from senders.sms_text import SEGMENTS_MAX, size_of
from senders.templates import language_for
from senders.whatsapp import TemplateCall, parameter_of

_DELIVERY_ID: Final = "preview"
_BASE: Final = "https://mail.shop.example"
_ADDRESS: Final = "maria@example.com"
REVIEW_LINK: Final = "https://reviews.example/preview"
_OWN_TEXT: Final = "Here stands the text of the action."


class Scene(msgspec.Struct, frozen=True):
    """Who gets a message, from whom and because of what."""

    channel: Channel
    event: Event
    locale: str
    """Of the recipient; "" for that of the channel."""
    now_ms: int
    public_url: str = ""
    """Base of the links in messages; "" for none."""


def sample_channel(account: str) -> Channel:
    """Return a shop for rules that are active on none."""
    return Channel(
        account=account, id="shop", display_name="Your shop", time_zone="UTC", locale="en",
        email_sender=EmailSender("hello@shop.example"),
    )  # fmt: skip


def sample_event(channel: Channel, now_ms: int) -> Event:
    """Return an order of two things that was sent on its way, by a customer with a name; it has a cart,
    too, for messages about one."""
    items = [
        Item(sku="mug", name="Mug", quantity=2, price=Money("EUR", 9, 900_000_000)),
        Item(sku="teapot", name="Teapot", quantity=1, price=Money("EUR", 34, 500_000_000)),
    ]
    total = Money("EUR", 54, 300_000_000)
    return Event(
        id=_DELIVERY_ID, source="preview", type="checkout", channel=channel.name,
        occur_ms=now_ms - 7 * DAY_MS,
        contact=Contact(email=_ADDRESS, first_name="Maria", last_name="Nowak"),
        order=Order(reference="100-2345", total=total, items=items),
        cart=Cart(id="c-1", url="https://shop.example/carts/c-1", total=total, items=items),
        shipment=Shipment(
            carrier="Post", tracking_number="P-1002345",
            tracking_url="https://parcel.example/100-2345", promised_ms=now_ms + 2 * DAY_MS,
        ),
    )  # fmt: skip


def of_rule(
    scene: Scene, rule: Rule, step: Step, action: Action, *, is_combined: bool
) -> pb2.PreviewTemplateResponse:
    """Return what a step of a rule says by e-mail.

    Args:
        action: of the step; its template may be another one than the rule's.
        is_combined: it asks about products together with the service.
    """
    said = as_said(rule, step.id, action)
    kinds = KIND_BOTH if is_combined else choice.kinds_of(rule.family)
    letter = replace(
        letter_of(scene),
        family=rule.family, is_follow_up=step.id != rule.steps[0].id, subject=said.subject,
        sender=said.sender, preheader=said.preheader, text=said.body, kinds=kinds,
        purpose=rule.purpose, template=said.template,
        carrier=_carrier(scene) if said.recipient is Recipient.CARRIER else "",
    )  # fmt: skip
    return _rendered(letter, contents.template_of(rule, said, kinds), scene.public_url)


def of_sms(
    scene: Scene, rule: Rule, step: Step, action: Action, *, is_combined: bool, takes_answers: bool
) -> pb2.PreviewTemplateResponse:
    """Return what a step of a rule says by SMS, and how much of one it takes (C23).

    Args:
        takes_answers: the sender can be answered, so people are told how to stop.
    """
    said = as_said(rule, step.id, action)
    letter = replace(
        letter_of(scene),
        medium=Medium.SMS, family=rule.family, is_follow_up=step.id != rule.steps[0].id,
        text=said.body, kinds=KIND_BOTH if is_combined else choice.kinds_of(rule.family),
        purpose=rule.purpose, review_url=REVIEW_LINK if rule.family in REVIEW_FAMILIES else "",
    )  # fmt: skip
    try:
        pb = sms_preview(sms_text(letter, takes_answers))
    except RenderingFailed as error:
        raise FailedPrecondition(f"the SMS cannot be made: {error.message}") from None
    pb.language = language_for(letter.locale, letter.channel.locale)
    return pb


def sms_preview(text: str) -> pb2.PreviewTemplateResponse:
    """Return the text of an SMS and what it takes.

    Raises:
        RenderingFailed: providers do not take it.
    """
    size = size_of(text)
    if not 1 <= size.segments <= SEGMENTS_MAX:
        raise RenderingFailed(
            f"it has {size.segments} segments; a text message has 1 to {SEGMENTS_MAX}"
        )
    return pb2.PreviewTemplateResponse(
        text=text, sms_segments=size.segments, sms_encoding=size.encoding.value
    )


def of_whatsapp(
    scene: Scene, rule: Rule, step: Step, action: Action, *, is_combined: bool
) -> pb2.PreviewTemplateResponse:
    """Return which approved template a step of a rule calls by WhatsApp, and what fills it (C23)."""
    said = as_said(rule, step.id, action)
    letter = replace(
        letter_of(scene),
        medium=Medium.WHATSAPP, family=rule.family, is_follow_up=step.id != rule.steps[0].id,
        kinds=KIND_BOTH if is_combined else choice.kinds_of(rule.family), purpose=rule.purpose,
        template=said.template, parameters=tuple(said.whatsapp_parameters),
        review_url=REVIEW_LINK if rule.family in REVIEW_FAMILIES else "",
    )  # fmt: skip
    try:
        return whatsapp_preview(whatsapp_call(letter))
    except RenderingFailed as error:
        raise FailedPrecondition(f"the WhatsApp message cannot be made: {error.message}") from None


def whatsapp_preview(call: TemplateCall) -> pb2.PreviewTemplateResponse:
    """Return the call of an approved template as the provider gets it.

    Raises:
        RenderingFailed: the provider does not take it.
    """
    return pb2.PreviewTemplateResponse(
        whatsapp_template=call.name, whatsapp_language=call.language, language=call.language,
        whatsapp_parameters=[parameter_of(text) for text in call.parameters],
    )  # fmt: skip


def of_template(scene: Scene, template: EmailTemplate) -> pb2.PreviewTemplateResponse:
    """Return what a template says by itself."""
    purpose = template.purposes[0]
    letter = replace(
        letter_of(scene),
        family=template.families[0], kinds=template.kinds[0], purpose=purpose,
        text=_OWN_TEXT if template.body is BodyUse.REQUIRED else "", template=template.id,
        # Looks like one to confirm, and confirms nothing.
        confirm_url="" if template.is_for_rules else f"{_BASE}{CONFIRM_PATH}{_DELIVERY_ID}",
        carrier=_carrier(scene) if template.is_for_carriers else "",
    )  # fmt: skip
    return _rendered(letter, template, scene.public_url)


def _carrier(scene: Scene) -> str:
    shipment = scene.event.shipment
    return (shipment.carrier if shipment is not None else "") or _DELIVERY_ID


def letter_of(scene: Scene) -> Letter:
    """Return a letter to somebody, that says nothing yet."""
    return Letter(
        delivery_id=_DELIVERY_ID, medium=Medium.EMAIL,
        address=scene.event.contact.email or _ADDRESS, family=0, is_follow_up=False,
        locale=scene.locale, subject="", body=scene.event, channel=scene.channel, attempts=0,
        send_ms=scene.now_ms, purpose=Purpose.UNSPECIFIED,
    )  # fmt: skip


def _rendered(
    letter: Letter, template: EmailTemplate, public_url: str
) -> pb2.PreviewTemplateResponse:
    link = unsubscribe_link(public_url) if letter.purpose in CONSENT_PURPOSES else ""
    try:
        raw = MimeRenderer(unsubscribe_url=lambda _: link).render(letter)
    except RenderingFailed as error:
        raise FailedPrecondition(f"the e-mail cannot be made: {error.message}") from None
    message = email.message_from_bytes(raw, policy=modern)
    return pb2.PreviewTemplateResponse(
        template=contents.template_name(template),
        subject=str(message["Subject"]),
        text=part_of(message, "plain"),
        html=part_of(message, "html"),
        language=str(message["Content-Language"]),
        sender=str(message["From"]),
    )


def unsubscribe_link(public_url: str) -> str:
    """Return what looks like a link to unsubscribe and names nobody, "" where nobody reaches us."""
    return f"{public_url.rstrip('/')}{PATH}{_DELIVERY_ID}" if public_url else ""


def part_of(message: EmailMessage, subtype: str) -> str:
    """Return the text of one part, "plain" or "html"."""
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")
