"""One letter for each default e-mail, as a shop would send it: for tests and for screenshots."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from core.bounds import DAY_MS
from core.model import Cart, Contact, Event, Item, Medium, Money, Order, Purpose, Shipment
from core.registry.branding import Branding
from core.registry.resources import Channel
from core.registry.rule_parts import EmailSender
from core.sending import Letter
from senders.catalogue.emails import EMAIL_TEMPLATES, BodyUse, EmailTemplate

SEND_MS: Final = 1_773_309_600_000
"""12 March 2026, 10:00 UTC."""

REVIEW_URL: Final = "https://reviews.example/kaesehaus?order=4711"
UNSUBSCRIBE_URL: Final = "https://mail.kaesehaus.example/u/k3jd92ms0a"
CONFIRM_URL: Final = "https://mail.kaesehaus.example/c/8sk2la01xz"
CART_URL: Final = "https://kaesehaus.example/cart/c-204"
TRACKING_URL: Final = "https://track.example/?no=JD014600003828&lang=x"
LOGO_URL: Final = "https://kaesehaus.example/logo.svg"
BRANDING: Final = Branding(
    logo_url=LOGO_URL,
    accent_color="#f2b705",
    shop_url="https://kaesehaus.example/",
    imprint="Käsehaus GmbH\nMarktstraße 7, 10115 Berlin, Deutschland\n"
    "Amtsgericht Charlottenburg, HRB 12345\nUSt-IdNr. DE123456789",
    support_email="hilfe@kaesehaus.example",
)
OWN_TEXT: Final = (
    "your tasting box {{order}} is packed, {{first_name}}.\n\n"
    "Keep the soft cheeses cool & let them breathe for an hour before you serve them."
)

_ITEMS: Final = {
    "en": ("Aged Gouda, 500 g", "Brie de Meaux", "Cheese knife, olive wood"),
    "de": ("Gouda, mittelalt, 500 g", "Brie de Meaux", "Käsemesser, Olivenholz"),
    "es": ("Gouda curado, 500 g", "Brie de Meaux", "Cuchillo de queso, madera de olivo"),
    "fr": ("Gouda affiné, 500 g", "Brie de Meaux", "Couteau à fromage, bois d'olivier"),
    "pl": ("Gouda dojrzewająca, 500 g", "Brie de Meaux", "Nóż do sera, drewno oliwne"),
    "pt": ("Gouda curado, 500 g", "Brie de Meaux", "Faca de queijo, madeira de oliveira"),
}
_LOCALES: Final = {"en": "en-GB", "de": "de-DE", "es": "es-ES", "fr": "fr-FR", "pl": "pl-PL",
                   "pt": "pt-PT"}  # fmt: skip


def channel(**changes: Any) -> Channel:
    """Return the shop of the gallery."""
    fields: dict[str, Any] = {
        "account": "acme", "id": "shop", "display_name": "Käsehaus", "time_zone": "Europe/Berlin",
        "locale": "de-DE",
        "email_sender": EmailSender("hallo@kaesehaus.example", "Käsehaus", "antwort@kaesehaus.example"),
    }  # fmt: skip
    return Channel(**(fields | changes))


def items(language: str, images: tuple[str, ...] = ()) -> list[Item]:
    """Return three things that were bought."""
    prices = (Money("EUR", 12, 900_000_000), Money("EUR", 7, 450_000_000), Money("EUR", 24, 0))
    return [
        Item(name=name, quantity=2 if number == 0 else 1, price=price, image_url=image)
        for number, (name, price, image) in enumerate(
            zip(_ITEMS[language], prices, images or ("",) * 3, strict=True)
        )
    ]


def event(template: EmailTemplate, language: str, images: tuple[str, ...] = ()) -> Event:
    """Return what happened before such a message."""
    things, total = items(language, images), Money("EUR", 57, 250_000_000)
    is_cart = template.id.startswith("abandoned-cart")
    parcel = Shipment(
        carrier="DHL", tracking_number="JD014600003828", tracking_url=TRACKING_URL,
        promised_ms=SEND_MS + 2 * DAY_MS,
    )  # fmt: skip
    has_parcel = template.id in ("order-shipped", "carrier-delay", "notification")
    # Forms are filled in for others: a mail that asks to confirm calls nobody by name.
    first_name, last_name = ("", "") if template.id == "confirm-consent" else ("Anna", "Kowalska")
    return Event(
        id="e1", source="shop", type="checkout", channel="shop", occur_ms=SEND_MS - DAY_MS,
        contact=Contact(email="anna@example.com", first_name=first_name, last_name=last_name),
        order=None if is_cart else Order(reference="4711", total=total, items=things),
        cart=Cart(id="c-204", url=CART_URL, total=total, items=things) if is_cart else None,
        shipment=parcel if has_parcel else None,
        attributes={"consent_purpose": "REVIEW", "consent_medium": "EMAIL"},
    )  # fmt: skip


def letter(
    template: EmailTemplate, language: str, *, images: tuple[str, ...] = (), **changes: Any
) -> Letter:
    """Return a letter with a template, everything known that it shows."""
    is_review = "review" in template.id
    kind = max(template.kinds) if is_review else 0
    fields: dict[str, Any] = {
        "delivery_id": "d00000001", "medium": Medium.EMAIL, "address": "anna@example.com",
        "family": template.families[0], "is_follow_up": False, "locale": _LOCALES[language],
        "subject": "", "body": event(template, language, images), "channel": channel(),
        "attempts": 0, "send_ms": SEND_MS, "template": template.id, "kinds": kind,
        "purpose": template.purposes[0] if template.id != "plain" else Purpose.TRANSACTIONAL,
        "text": OWN_TEXT if template.body is BodyUse.REQUIRED else "",
        "review_url": REVIEW_URL if is_review else "",
        "confirm_url": CONFIRM_URL if template.id == "confirm-consent" else "",
        "carrier": "dhl" if template.is_for_carriers else "",
    }  # fmt: skip
    return Letter(**(fields | changes))


def templates() -> list[EmailTemplate]:
    """Return all templates of ours."""
    return list(EMAIL_TEMPLATES.values())


def picture(background: str, shape: str) -> str:
    """Return a picture of a product as an address that needs no network."""
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 72 72'>"
        f"<rect width='72' height='72' fill='{background}'/>{shape}</svg>"
    )
    return f"data:image/svg+xml,{quote(svg)}"
