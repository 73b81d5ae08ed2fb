"""What the variables of a template hold for a letter.

Decides: that what is not known is nil, so that `if` and `default` see it; that an address is a plain
web address or nil; and that lists and texts of `attributes` are bounded.
Never: which variables there are (`schema.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from core import bounds
from core.errors import RenderingFailed
from core.model import Item, Money
from core.records import KIND_PRODUCT, KIND_SERVICE
from core.registry.branding import Branding
from core.sending import Letter
from senders import templates
from senders.catalogue import choice
from senders.contents.formats import Moment, Price

ATTRIBUTE_PARTS_MAX: Final = 1_000
"""Values in `attributes`, those in lists and fields counted; what comes after is left out."""

ATTRIBUTE_LIST_MAX: Final = 100


class _Bag(dict[str, Any]):
    """Fields of `attributes`. Two are equal only if they are the same one: comparing is no work."""

    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__  # type: ignore[assignment]


class Scene:
    """A letter as templates see it; each variable is made when a template names it."""

    __slots__ = ("letter", "locale", "unsubscribe_url", "zone")

    def __init__(self, letter: Letter, locale: str, unsubscribe_url: str) -> None:
        """See a letter in a locale.

        Args:
            locale: of the content; the recipient's own one where it is of the same language.
        """
        self.letter = letter
        self.unsubscribe_url = unsubscribe_url
        own = letter.locale.replace("_", "-")
        same = own.partition("-")[0].lower() == locale.partition("-")[0].lower()
        self.locale = own if same and own else locale
        self.zone = letter.zone or letter.event.contact.time_zone or letter.channel.time_zone

    def values(self, roots: Collection[str]) -> dict[str, Any]:
        """Return the variables that templates name."""
        found: dict[str, Any] = {"_zone": self.zone}
        for root in roots:
            maker = _MAKERS.get(root)
            if maker is not None:
                found[root] = maker(self)
        return found

    def price(self, money: Money | None) -> Price | None:
        """Return an amount of money."""
        if money is None or not money.currency:
            return None
        amount = Decimal(money.units) + Decimal(money.nanos).scaleb(-9)
        return Price(amount, money.currency, self.locale)

    def moment(self, ms: int) -> Moment | None:
        """Return an instant, None for 0."""
        return Moment(ms, self.zone, self.locale) if ms else None

    def items(self, items: Sequence[Item]) -> list[Mapping[str, Any]]:
        """Return the lines of an order or cart."""
        return [
            {
                "name": line(item.name), "sku": line(item.sku), "gtin": line(item.gtin),
                "mpn": line(item.mpn), "brand": line(item.brand), "category": line(item.category),
                "url": address(item.url), "image_url": address(item.image_url),
                "quantity": item.quantity or None, "price": self.price(item.price),
                "tags": [line(tag) for tag in item.tags[:ATTRIBUTE_LIST_MAX]],
            }
            for item in items[: bounds.TEMPLATE_VALUE_ITEMS_MAX]
        ]  # fmt: skip


def line(text: str) -> str | None:
    """Return a text as one line; None for an empty one.

    Raises:
        RenderingFailed: no template may have a value this long.
    """
    if len(text) > bounds.TEMPLATE_VALUE_CHARS_MAX:
        raise RenderingFailed("a value of the event is too long for a template")
    return " ".join(text.split()) or None


def address(url: str) -> str | None:
    """Return a web address that may stand in a link, else None."""
    return url if url and templates.is_web_address(url) else None


# --- makers -------------------------------------------------------------------------------------


def _contact(scene: Scene) -> dict[str, Any]:
    contact = scene.letter.event.contact
    place = contact.address
    return {
        "first_name": line(contact.first_name), "last_name": line(contact.last_name),
        "name": line(f"{contact.first_name} {contact.last_name}"),
        "email": line(contact.email), "phone": line(contact.phone),
        "reference": line(contact.reference), "country": line(contact.country),
        "city": line(place.city) if place is not None else None,
        "postal_code": line(place.postal_code) if place is not None else None,
    }  # fmt: skip


def _order(scene: Scene) -> dict[str, Any] | None:
    order = scene.letter.event.order
    if order is None:
        return None
    return {
        "reference": line(order.reference), "status": line(order.status),
        "total": scene.price(order.total), "ordered": scene.moment(order.order_ms),
        "items": scene.items(order.items),
    }  # fmt: skip


def _cart(scene: Scene) -> dict[str, Any] | None:
    cart = scene.letter.event.cart
    if cart is None:
        return None
    return {
        "id": line(cart.id), "url": address(cart.url), "total": scene.price(cart.total),
        "items": scene.items(cart.items),
    }  # fmt: skip


def _shipment(scene: Scene) -> dict[str, Any] | None:
    shipment = scene.letter.event.shipment
    if shipment is None:
        return None
    return {
        "carrier": line(shipment.carrier), "method": line(shipment.method),
        "tracking_number": line(shipment.tracking_number),
        "tracking_url": address(shipment.tracking_url),
        "promised": scene.moment(shipment.promised_ms),
        "delivered": scene.moment(shipment.delivered_ms),
    }  # fmt: skip


def _shop(scene: Scene) -> dict[str, Any]:
    channel = scene.letter.channel
    name = line(channel.display_name) or channel.id
    own = channel.branding or Branding()
    return {
        "name": name, "id": channel.id, "country": line(channel.country),
        "url": address(own.shop_url), "logo_url": address(own.logo_url),
        "accent_color": own.accent_color or None, "support_email": line(own.support_email),
        "imprint": [line(each) for each in own.imprint_lines] if own.imprint.strip() else None,
    }  # fmt: skip


def _event(scene: Scene) -> dict[str, Any]:
    event = scene.letter.event
    return {"type": line(event.type), "occurred": scene.moment(event.occur_ms)}


def _attributes(scene: Scene) -> Any:
    room = [ATTRIBUTE_PARTS_MAX]
    return _plain(scene.letter.event.attributes, room)


def _plain(value: Any, room: list[int]) -> Any:
    """Return a value of `attributes`, cut where there is no more room."""
    room[0] -= 1
    if isinstance(value, dict):
        bag = _Bag()
        for key, each in value.items():
            if room[0] <= 0:
                break
            bag[str(key)] = _plain(each, room)
        return bag
    if isinstance(value, list):
        kept = []
        for each in value[:ATTRIBUTE_LIST_MAX]:
            if room[0] <= 0:
                break
            kept.append(_plain(each, room))
        return kept
    if isinstance(value, str):
        if len(value) > bounds.TEMPLATE_VALUE_CHARS_MAX:
            raise RenderingFailed("a value of the event is too long for a template")
        return value or None
    return value


def _asks(bit: int) -> Callable[[Scene], bool]:
    def asks(scene: Scene) -> bool:
        letter = scene.letter
        return bool((letter.kinds or choice.kinds_of(letter.family)) & bit)

    return asks


_MAKERS: Final[Mapping[str, Callable[[Scene], Any]]] = {
    "contact": _contact,
    "order": _order,
    "cart": _cart,
    "shipment": _shipment,
    "shop": _shop,
    "event": _event,
    "attributes": _attributes,
    "review_url": lambda scene: address(scene.letter.review_url),
    "unsubscribe_url": lambda scene: address(scene.unsubscribe_url),
    "locale": lambda scene: scene.locale,
    "is_reminder": lambda scene: scene.letter.is_follow_up,
    "asks_about_service": _asks(KIND_SERVICE),
    "asks_about_products": _asks(KIND_PRODUCT),
}
