"""Templates tried out when they are saved: with an order that has everything, and with an event that
has nothing.

Decides: which letters stand in.
Never: what a message may cost (`sandbox.py`). A template that passes can still fail for an order larger
than ours; its message then ends FAILED.
"""

from __future__ import annotations

from typing import Final

import msgspec

from core.bounds import DAY_MS
from core.errors import RenderingFailed
from core.model import (
    Address,
    Cart,
    Contact,
    Event,
    Family,
    Item,
    Medium,
    Money,
    Order,
    Purpose,
    Shipment,
)
from core.registry.branding import Branding
from core.registry.contents import ContentTemplate
from core.registry.resources import Channel
from core.registry.rule_parts import EmailSender
from core.sending import Letter
from senders.contents import messages
from senders.sms_text import SEGMENTS_MAX, size_of

ITEM_COUNT: Final = 20
_LINK: Final = "https://shop.example/unsubscribe"
_NOW_MS: Final = 20_000 * DAY_MS


def try_out(template: ContentTemplate) -> None:
    """Render a template in every locale.

    Raises:
        RenderingFailed: it cannot be; the message says why and in which locale.
    """
    for content in template.contents:
        for event in (_FULL, _EMPTY):
            letter = _letter(template, event, content.locale)
            if template.medium is Medium.EMAIL:
                messages.Mail(unsubscribe_url=lambda _: _LINK).render(letter)
            elif template.medium is Medium.SMS:
                _check_size(messages.sms_text(letter, template), content.locale, event)
            else:
                messages.whatsapp_call(letter, template)


def _check_size(text: str, locale: str, event: Event) -> None:
    """Refuse a text message that is too long whatever happened; an order of ours may be a large one."""
    size = size_of(text)
    if event is _EMPTY and size.segments > SEGMENTS_MAX:
        raise RenderingFailed(
            f"the text in {locale} takes {size.segments} segments of an SMS ({size.encoding.value}) "
            f"before anything is filled; at most {SEGMENTS_MAX}"
        )


def _letter(template: ContentTemplate, event: Event, locale: str) -> Letter:
    return Letter(
        delivery_id="trial", medium=template.medium, address="maria@example.com",
        family=(template.families or (Family.NOTIFICATION,))[0], is_follow_up=False, locale=locale,
        subject="", body=event, channel=_BRANDED if event is _FULL else _SHOP, attempts=0,
        send_ms=_NOW_MS,
        purpose=Purpose.REVIEW, review_url="https://reviews.example/1", content=template,
    )  # fmt: skip


_SHOP: Final = Channel(
    account="trial", id="shop", display_name="Your shop", time_zone="Europe/Berlin", locale="en",
    email_sender=EmailSender("hello@shop.example"),
)  # fmt: skip
_BRANDED: Final = msgspec.structs.replace(
    _SHOP,
    branding=Branding(
        logo_url="https://shop.example/logo.png", accent_color="#2b5fd9",
        shop_url="https://shop.example/", imprint="Your shop\nStreet 1, Town",
        support_email="help@shop.example",
    ),
)  # fmt: skip
_ITEMS: Final = [
    Item(
        sku=f"sku-{number}", name=f"Thing {number} & more", url="https://shop.example/thing",
        image_url="https://shop.example/thing.png", brand="Brand", category="Kitchen",
        quantity=number, price=Money("EUR", 12, 500_000_000), tags=["new", "sale"],
    )
    for number in range(1, ITEM_COUNT + 1)
]  # fmt: skip
_EMPTY: Final = Event(
    id="trial", source="trial", type="checkout", channel=_SHOP.name, occur_ms=_NOW_MS,
    contact=Contact(),
)  # fmt: skip
_FULL: Final = Event(
    id="trial", source="trial", type="checkout", channel=_SHOP.name, occur_ms=_NOW_MS,
    contact=Contact(
        email="maria@example.com", phone="+34600100200", reference="k-1", first_name="Maria",
        last_name="Nowak", country="ES", address=Address(city="Madrid", postal_code="28001"),
    ),
    order=Order(
        reference="100-2345", status="paid", total=Money("EUR", 250), order_ms=_NOW_MS,
        items=_ITEMS,
    ),
    cart=Cart(id="c-1", url="https://shop.example/cart", total=Money("EUR", 250), items=_ITEMS),
    shipment=Shipment(
        carrier="post", method="standard", tracking_number="T1", promised_ms=_NOW_MS + DAY_MS,
        tracking_url="https://parcel.example/1", delivered_ms=_NOW_MS + DAY_MS,
    ),
)  # fmt: skip
