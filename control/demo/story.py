"""What the sample does not tell, made up from its ids: the same story every time.

Decides, by a hash of an id and never by chance:
    channel   of a customer: Madrid or New York, half each
    consent   of a customer: about one in seven has given none
    hour      of an order: between 8:00 and 18:00, local time of the channel
    review    of an order: about one in four gets one, in the evening; half of them 2 to 5 days after
              the order, before the invitation, the others 8 to 10 days after, before the reminder
    phone     of a customer: about one in six leaves a number, to be told of parcels; in Madrid over
              WhatsApp, in New York by SMS
    parcel    of an order of such a customer: leaves 1 or 2 days after the order, between 12:00 and
              18:00

Shape: events as the API takes them, in the order in which they happened.
"""

from __future__ import annotations

import datetime
import hashlib
import zoneinfo
from collections.abc import Iterable
from typing import Final

import msgspec

from afterword.googleapis import money_pb2
from afterword.v1 import event_pb2, types_pb2
from control.demo.cdnow import Purchase

ACCOUNT: Final = "accounts/default"
SOURCE: Final = "cdnow"

WITHOUT_CONSENT_ONE_IN: Final = 7
REVIEW_ONE_IN: Final = 4
EARLY_REVIEW_DAYS: Final = range(2, 6)
LATE_REVIEW_DAYS: Final = range(8, 11)
PHONE_ONE_IN: Final = 6
PARCEL_DAYS: Final = range(1, 3)
ORDER_HOURS: Final = range(8, 18)
PARCEL_HOURS: Final = range(12, 18)
REVIEW_HOURS: Final = range(18, 22)


class Shop(msgspec.Struct, frozen=True):
    """One channel of the demo."""

    id: str
    display_name: str
    time_zone: str
    locale: str
    medium: types_pb2.Medium.ValueType
    """Over which its customers are told of parcels."""
    phone_prefix: str
    """Before the customer's id."""
    carrier: str

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"{ACCOUNT}/channels/{self.id}"


SHOPS: Final = (
    Shop(
        "madrid", "Discos Madrid", "Europe/Madrid", "es_ES",
        types_pb2.MEDIUM_WHATSAPP, "+3460000", "Correos",
    ),
    Shop(
        "new-york", "New York Records", "America/New_York", "en_US",
        types_pb2.MEDIUM_SMS, "+1212555", "UPS",
    ),
)  # fmt: skip


class Happening(msgspec.Struct, frozen=True):
    """One event of the story.

    Units: `time_ms` epoch milliseconds.
    """

    time_ms: int
    line: int
    """Of the order in the sample."""
    customer: str
    event: event_pb2.Event


def draw(question: str, subject: str | int, choices: int) -> int:
    """Return a number in [0, choices) that hangs on question and subject alone."""
    digest = hashlib.blake2b(f"{question}:{subject}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % choices


def shop_of(customer: str) -> Shop:
    """Return where a customer buys."""
    return SHOPS[draw("channel", customer, len(SHOPS))]


def has_consented(customer: str) -> bool:
    """Return whether a customer ticks the box."""
    return draw("consent", customer, WITHOUT_CONSENT_ONE_IN) > 0


def reference_of(purchase: Purchase) -> str:
    """Return the shop's number of an order."""
    return f"{purchase.line:05}"


def phone_of(customer: str) -> str:
    """Return a customer's number, "" if none was left."""
    if draw("phone", customer, PHONE_ONE_IN):
        return ""
    return shop_of(customer).phone_prefix + customer


def order_time(purchase: Purchase) -> datetime.datetime:
    """Return when an order was placed, with its zone."""
    return _at(purchase, 0, "order", ORDER_HOURS)


def review_time(purchase: Purchase) -> datetime.datetime | None:
    """Return when its review was written, None if none was."""
    if draw("review", purchase.line, REVIEW_ONE_IN):
        return None
    is_early = draw("early", purchase.line, 2)
    days = EARLY_REVIEW_DAYS if is_early else LATE_REVIEW_DAYS
    day = days[draw("review day", purchase.line, len(days))]
    return _at(purchase, day, "review", REVIEW_HOURS)


def parcel_time(purchase: Purchase) -> datetime.datetime | None:
    """Return when its parcel left, None if nobody wants to know."""
    if not phone_of(purchase.customer):
        return None
    day = PARCEL_DAYS[draw("parcel day", purchase.line, len(PARCEL_DAYS))]
    return _at(purchase, day, "parcel", PARCEL_HOURS)


def _at(purchase: Purchase, days: int, what: str, hours: range) -> datetime.datetime:
    second = draw(f"{what} second", purchase.line, len(hours) * 3_600)
    time = datetime.time(hours[0] + second // 3_600, second // 60 % 60, second % 60)
    zone = zoneinfo.ZoneInfo(shop_of(purchase.customer).time_zone)
    return datetime.datetime.combine(purchase.day + datetime.timedelta(days), time, zone)


def tell(purchases: Iterable[Purchase]) -> list[Happening]:
    """Return all that happens, in order."""
    happenings = []
    for purchase in purchases:
        happenings.append(_checkout(purchase))
        if (written := review_time(purchase)) is not None:
            happenings.append(_review(purchase, written))
        if (left := parcel_time(purchase)) is not None:
            happenings.append(_parcel(purchase, left))
    return sorted(happenings, key=lambda happening: (happening.time_ms, happening.line))


def _checkout(purchase: Purchase) -> Happening:
    event = _event("checkout", purchase, order_time(purchase))
    event.order.total.CopyFrom(
        money_pb2.Money(
            currency_code="USD",
            units=purchase.cents // 100,
            nanos=purchase.cents % 100 * 10_000_000,
        )
    )
    event.order.items.add(name="CD", quantity=purchase.quantity)
    if has_consented(purchase.customer):
        event.consents.add(
            purpose=types_pb2.PURPOSE_REVIEW,
            medium=types_pb2.MEDIUM_EMAIL,
            given=True,
            collection_point="https://shop.example/checkout",
            text_version="1997-01",
        )
    return _happening(purchase, event)


def _review(purchase: Purchase, written: datetime.datetime) -> Happening:
    event = _event("review_submitted", purchase, written)
    event.review.kind = event_pb2.Review.KIND_SERVICE
    event.review.rating = 1 + draw("rating", purchase.line, 5)
    return _happening(purchase, event)


def _parcel(purchase: Purchase, left: datetime.datetime) -> Happening:
    event = _event("order_shipped", purchase, left)
    event.contact.phone = phone_of(purchase.customer)
    shop = shop_of(purchase.customer)
    event.shipment.carrier = shop.carrier
    event.shipment.tracking_number = f"{purchase.line:08}"
    event.shipment.tracking_url = f"https://{shop.id}.shop.example/parcels/{purchase.line:08}"
    return _happening(purchase, event)


def _event(kind: str, purchase: Purchase, moment: datetime.datetime) -> event_pb2.Event:
    event = event_pb2.Event(
        id=f"{kind}-{reference_of(purchase)}",
        source=SOURCE,
        type=kind,
        channel=shop_of(purchase.customer).name,
    )
    event.occur_time.FromDatetime(moment)
    event.contact.email = f"c{purchase.customer}@shop.example"
    event.contact.reference = purchase.customer
    event.order.reference = reference_of(purchase)
    return event


def _happening(purchase: Purchase, event: event_pb2.Event) -> Happening:
    return Happening(event.occur_time.ToMilliseconds(), purchase.line, purchase.customer, event)
