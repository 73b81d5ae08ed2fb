"""Letters for the tests of the senders."""

from __future__ import annotations

from typing import Any

from core.model import Contact, Event, Family, Item, Medium, Order, Shipment
from core.registry.resources import Channel
from core.registry.rule_parts import EmailSender
from core.sending import Letter

SEND_MS = 1_760_000_000_000


def make_channel(**changes: Any) -> Channel:
    fields: dict[str, Any] = {
        "account": "acme",
        "id": "shop-de",
        "display_name": "Käsehaus",
        "time_zone": "Europe/Berlin",
        "locale": "de-DE",
        "email_sender": EmailSender("hallo@kaesehaus.example", "", "antwort@kaesehaus.example"),
    }
    return Channel(**(fields | changes))


def make_event(
    *,
    first_name: str = "Anna",
    last_name: str = "Kowalska",
    order: str = "4711",
    items: tuple[str, ...] = ("Gouda", "Brie"),
    tracking_url: str = "",
) -> Event:
    return Event(
        id="e1",
        source="shop",
        type="checkout",
        channel="shop-de",
        occur_ms=SEND_MS - 1_000,
        contact=Contact(email="anna@example.com", first_name=first_name, last_name=last_name),
        order=Order(reference=order, items=[Item(name=name) for name in items]),
        shipment=Shipment(tracking_url=tracking_url) if tracking_url else None,
    )


def make_letter(
    number: int = 1, *, event: Event | None = None, channel: Channel | None = None, **changes: Any
) -> Letter:
    fields: dict[str, Any] = {
        "delivery_id": f"d{number:08x}",
        "medium": Medium.EMAIL,
        "address": "anna@example.com",
        "family": Family.SERVICE_REVIEW,
        "is_follow_up": False,
        "locale": "de-AT",
        "subject": "",
        "body": event or make_event(),
        "channel": channel or make_channel(),
        "attempts": 0,
        "send_ms": SEND_MS,
    }
    return Letter(**(fields | changes))
