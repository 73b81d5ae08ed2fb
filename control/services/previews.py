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
from control.unsubscribe.links import CONFIRM_PATH, PATH
from core.bounds import DAY_MS
from core.errors import FailedPrecondition, RenderingFailed
from core.model import CONSENT_PURPOSES, Contact, Event, Item, Medium, Order, Purpose, Shipment
from core.registry.resources import Channel, Rule
from core.registry.rule_content import as_said
from core.registry.rule_parts import Action, EmailSender, Step
from core.sending import Letter
from senders.catalogue import choice
from senders.catalogue.emails import KIND_BOTH, BodyUse, EmailTemplate
from senders.mime import MimeRenderer

_DELIVERY_ID: Final = "preview"
_BASE: Final = "https://mail.shop.example"
_ADDRESS: Final = "maria@example.com"
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
    """Return an order of two things that was sent on its way, by a customer with a name."""
    items = [Item(sku="mug", name="Mug", quantity=2), Item(sku="teapot", name="Teapot", quantity=1)]
    return Event(
        id=_DELIVERY_ID, source="preview", type="checkout", channel=channel.name,
        occur_ms=now_ms - 7 * DAY_MS,
        contact=Contact(email=_ADDRESS, first_name="Maria", last_name="Nowak"),
        order=Order(reference="100-2345", items=items),
        shipment=Shipment(carrier="post", tracking_url="https://parcel.example/100-2345"),
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
        _letter(scene),
        family=rule.family, is_follow_up=step.id != rule.steps[0].id, subject=said.subject,
        sender=said.sender, preheader=said.preheader, text=said.body, kinds=kinds,
        purpose=rule.purpose, template=said.template,
    )  # fmt: skip
    return _rendered(letter, contents.template_of(rule, said, kinds), scene.public_url)


def of_template(scene: Scene, template: EmailTemplate) -> pb2.PreviewTemplateResponse:
    """Return what a template says by itself."""
    purpose = template.purposes[0]
    letter = replace(
        _letter(scene),
        family=template.families[0], kinds=template.kinds[0], purpose=purpose,
        text=_OWN_TEXT if template.body is BodyUse.REQUIRED else "", template=template.id,
        # Looks like one to confirm, and confirms nothing.
        confirm_url="" if template.is_for_rules else f"{_BASE}{CONFIRM_PATH}{_DELIVERY_ID}",
    )  # fmt: skip
    return _rendered(letter, template, scene.public_url)


def _letter(scene: Scene) -> Letter:
    return Letter(
        delivery_id=_DELIVERY_ID, medium=Medium.EMAIL,
        address=scene.event.contact.email or _ADDRESS, family=0, is_follow_up=False,
        locale=scene.locale, subject="", body=scene.event, channel=scene.channel, attempts=0,
        send_ms=scene.now_ms, purpose=Purpose.UNSPECIFIED,
    )  # fmt: skip


def _rendered(
    letter: Letter, template: EmailTemplate, public_url: str
) -> pb2.PreviewTemplateResponse:
    link = ""
    if public_url and letter.purpose in CONSENT_PURPOSES:
        # Looks like one to unsubscribe, and names nobody.
        link = f"{public_url.rstrip('/')}{PATH}{_DELIVERY_ID}"
    try:
        raw = MimeRenderer(unsubscribe_url=lambda _: link).render(letter)
    except RenderingFailed as error:
        raise FailedPrecondition(f"the e-mail cannot be made: {error.message}") from None
    message = email.message_from_bytes(raw, policy=modern)
    return pb2.PreviewTemplateResponse(
        template=contents.template_name(template),
        subject=str(message["Subject"]),
        text=_part(message, "plain"),
        html=_part(message, "html"),
        language=str(message["Content-Language"]),
        sender=str(message["From"]),
    )


def _part(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")
