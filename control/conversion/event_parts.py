"""The parts of an event: order, cart, parcel, review, postal address.

Split from `events.py` by length only; the same rules hold.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from afterword.googleapis.money_pb2 import Money as MoneyPb
from afterword.v1 import event_pb2
from control.conversion import checks, times
from core import bounds
from core.engine.signed_tokens import TOKEN_CHARS_MAX
from core.errors import InvalidField, OutOfRange
from core.model import Address, Cart, Item, Money, Order, Review, Shipment

ITEMS_MAX = 200
TAGS_MAX = 32
ADDRESS_LINES_MAX = 5
RATING_MAX = 5

# One call that reads many fields costs less than the statements that read them one by one.
_ITEM_FIELDS = attrgetter(
    "sku", "name", "url", "category", "brand", "gtin", "mpn", "image_url", "quantity", "tags"
)
_MONEY_FIELDS = attrgetter("currency_code", "units", "nanos")

_REVIEW_KINDS = frozenset(event_pb2.Review.Kind.values())


def order(pb: event_pb2.Order) -> Order:
    """Return an order."""
    reference, status, items = pb.reference, pb.status, pb.items
    text = f"{reference}{status}"
    if len(text) > bounds.REFERENCE_CHARS_MAX or not text.isprintable():
        checks.text(reference, "event.order.reference", bounds.REFERENCE_CHARS_MAX)
        checks.text(status, "event.order.status", bounds.EVENT_BYTES_MAX)
    return Order(
        reference,
        status,
        _money(pb.total, "event.order.total") if pb.HasField("total") else None,
        times.instant_ms(pb.order_time, "event.order.order_time")
        if pb.HasField("order_time")
        else 0,
        _items(items, "event.order.items") if items else [],
    )


def cart(pb: event_pb2.Cart) -> Cart:
    """Return a cart."""
    cart_id, url, items = pb.id, pb.url, pb.items
    checks.text(cart_id, "event.cart.id", bounds.REFERENCE_CHARS_MAX)
    checks.text(url, "event.cart.url", bounds.EVENT_BYTES_MAX)
    return Cart(
        cart_id,
        url,
        _money(pb.total, "event.cart.total") if pb.HasField("total") else None,
        _items(items, "event.cart.items") if items else [],
    )


def shipment(pb: event_pb2.Shipment) -> Shipment:
    """Return a parcel."""
    carrier, method = pb.carrier, pb.method
    number, url = pb.tracking_number, pb.tracking_url
    checks.text(carrier, "event.shipment.carrier", bounds.EVENT_BYTES_MAX)
    checks.text(method, "event.shipment.method", bounds.EVENT_BYTES_MAX)
    checks.text(number, "event.shipment.tracking_number", bounds.EVENT_BYTES_MAX)
    checks.text(url, "event.shipment.tracking_url", bounds.EVENT_BYTES_MAX)
    return Shipment(
        carrier,
        method,
        number,
        url,
        times.optional_instant_ms(pb, "promised_time", "event.shipment"),
        times.optional_instant_ms(pb, "delivery_time", "event.shipment"),
    )


def review(pb: event_pb2.Review) -> Review:
    """Return a review."""
    kind, rating, sku = pb.kind, pb.rating, pb.product_sku
    if kind not in _REVIEW_KINDS:
        raise InvalidField(
            "event.review.kind must be KIND_SERVICE, KIND_PRODUCT or unset for both",
            field="event.review.kind",
        )
    if not 0 <= rating <= RATING_MAX:
        raise OutOfRange(
            f"event.review.rating must be from 1 to {RATING_MAX}, or 0 if not told",
            field="event.review.rating",
        )
    checks.text(sku, "event.review.product_sku", bounds.EVENT_BYTES_MAX)
    token = checks.text(pb.link_token, "event.review.link_token", TOKEN_CHARS_MAX)
    return Review(kind, rating, sku, pb.has_comment, token)


def address(pb: event_pb2.PostalAddress, field: str) -> Address:
    """Return a postal address."""
    lines = list(pb.lines)
    if len(lines) > ADDRESS_LINES_MAX:
        raise OutOfRange(f"{field}.lines has at most {ADDRESS_LINES_MAX}", field=f"{field}.lines")
    for index, line in enumerate(lines):
        checks.text(line, f"{field}.lines[{index}]", bounds.NAME_CHARS_MAX)
    return Address(
        lines,
        checks.text(pb.city, f"{field}.city", bounds.NAME_CHARS_MAX),
        checks.text(pb.region, f"{field}.region", bounds.NAME_CHARS_MAX),
        checks.text(pb.postal_code, f"{field}.postal_code", bounds.NAME_CHARS_MAX),
    )


def _items(found: Any, field: str) -> list[Item]:
    if len(found) > ITEMS_MAX:
        raise OutOfRange(f"{field} has at most {ITEMS_MAX} lines", field=field)
    return [_item(one, field, index) for index, one in enumerate(found)]


def _item(pb: event_pb2.Item, field: str, index: int) -> Item:
    sku, name, url, category, brand, gtin, mpn, image_url, quantity, tags = _ITEM_FIELDS(pb)
    if quantity < 0 or len(tags) > TAGS_MAX or not f"{sku}{gtin}{mpn}".isprintable():
        _check_item(pb, f"{field}[{index}]")
    return Item(
        sku,
        name,
        url,
        category,
        brand,
        gtin,
        mpn,
        image_url,
        quantity,
        _money(pb.price, f"{field}[{index}].price") if pb.HasField("price") else None,
        list(tags) if tags else [],
    )


def _check_item(pb: event_pb2.Item, field: str) -> None:
    if pb.quantity < 0:
        raise OutOfRange(f"{field}.quantity must be 0 or more", field=f"{field}.quantity")
    if len(pb.tags) > TAGS_MAX:
        raise OutOfRange(f"{field}.tags has at most {TAGS_MAX}", field=f"{field}.tags")
    checks.text(pb.sku, f"{field}.sku", bounds.EVENT_BYTES_MAX)
    checks.text(pb.gtin, f"{field}.gtin", bounds.EVENT_BYTES_MAX)
    checks.text(pb.mpn, f"{field}.mpn", bounds.EVENT_BYTES_MAX)


def _money(pb: MoneyPb, field: str) -> Money:
    currency, units, nanos = _MONEY_FIELDS(pb)
    if len(currency) != 3 or not currency.isascii() or not currency.isalpha():
        right = 'an ISO 4217 code of three letters, for example "EUR"'
        if not currency:
            checks.missing(f"{field}.currency_code", right)
        raise InvalidField(f"{field}.currency_code must be {right}", field=f"{field}.currency_code")
    if nanos and (abs(nanos) >= times.NANOS_PER_SECOND or (units and (units < 0) != (nanos < 0))):
        raise InvalidField(
            f"{field}.nanos must lie between -999,999,999 and 999,999,999 and have the sign of units",
            field=f"{field}.nanos",
        )
    return Money(currency.upper(), units, nanos)
