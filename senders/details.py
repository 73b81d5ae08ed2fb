"""What an event tells that a default e-mail shows below its words: things, amounts, parcels.

Decides: which values those are, and how they are written in a language.
Never: where they stand (`senders/templates.py`, `senders/layouts/`).

Names of values: `item_1` to `item_3`, each with `_image` and `_note`; the rest as in `Labels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from core.model import Event, Item, Money
from core.sending import Letter
from senders.catalogue.emails import Shows
from senders.contents import formats
from senders.templates import is_web_address

ITEMS_MAX: Final = 3
"""Things a message shows; a longer list reads like an invoice."""

FACTS: Final[Mapping[Shows, Sequence[str]]] = {
    Shows.NOTHING: (),
    Shows.PRODUCTS: (),
    Shows.CART: ("total",),
    Shows.PAYMENT: ("order", "amount"),
    Shows.PARCEL: ("carrier", "tracking_number", "expected_date"),
    Shows.DELAY: ("order", "tracking_number", "method", "promised_date"),
}
"""What is shown -> values with their labels, as fields of `Labels`."""

_AMOUNTS: Final = {Shows.CART: "total", Shows.PAYMENT: "amount"}
_ITEM_NAMES: Final = tuple(
    (f"item_{number}", f"item_{number}_image", f"item_{number}_note")
    for number in range(1, ITEMS_MAX + 1)
)
_REGIONS: Final = {"pt": "pt-PT", "en": "en-GB"}
"""As our words are written where the recipient's region is not known."""


def locale_of(letter: Letter, language: str) -> str:
    """Return how dates and amounts are written: as where the recipient is, if they fit the words."""
    for wanted in (letter.locale, letter.channel.locale):
        tag = wanted.strip().replace("_", "-")
        if tag.partition("-")[0].lower() == language and "-" in tag:
            return tag
    return _REGIONS.get(language, language)


def expected_date(letter: Letter, language: str) -> str:
    """Return the day on which the parcel was promised, where the shop is; "" if nobody said."""
    shipment = letter.event.shipment
    if shipment is None or not shipment.promised_ms:
        return ""
    where = letter.zone or letter.channel.time_zone
    return formats.Moment(shipment.promised_ms, where, locale_of(letter, language)).date("long")


def values_of(letter: Letter, shows: Shows, language: str) -> dict[str, str]:
    """Return what is shown of the event beyond `senders.templates.variables`.

    Cost: O(1) beside a look at the names of all items.
    """
    event = letter.event
    values = {"expected_date": expected_date(letter, language)}
    if shows is Shows.DELAY:
        values["promised_date"] = values["expected_date"]
        values["method"] = event.shipment.method if event.shipment is not None else ""
    if shows in (Shows.PRODUCTS, Shows.CART):
        items = _items(event, shows)
        for (name, image, note), item in zip(_ITEM_NAMES, items, strict=False):
            values[name] = item.name
            if item.image_url and is_web_address(item.image_url):
                values[image] = item.image_url
            if shows is Shows.CART:
                values[note] = _note(item, locale_of(letter, language))
    if shows is Shows.CART and event.cart is not None and is_web_address(event.cart.url):
        # Whatever else is known, the way leads back to the cart.
        values["link"] = values["cart"] = event.cart.url
    if shows in _AMOUNTS:
        values[_AMOUNTS[shows]] = _money(_total(event, shows), locale_of(letter, language))
    return values


def _items(event: Event, shows: Shows) -> list[Item]:
    source = event.cart if shows is Shows.CART and event.cart is not None else event.order
    return [item for item in source.items if item.name] if source is not None else []


def _total(event: Event, shows: Shows) -> Money | None:
    source = event.cart if shows is Shows.CART else event.order
    return source.total if source is not None else None


def _note(item: Item, locale: str) -> str:
    price = _money(item.price, locale)
    many = f"{item.quantity} ×" if item.quantity > 1 else ""  # noqa: RUF001
    return " ".join(part for part in (many, price) if part)


def _money(money: Money | None, locale: str) -> str:
    if money is None or not money.currency:
        return ""
    amount = Decimal(money.units) + Decimal(money.nanos).scaleb(-9)
    return formats.money(amount, money.currency, locale)
