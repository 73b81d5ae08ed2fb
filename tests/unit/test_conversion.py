"""Events from protobuf: what goes in comes out, and what is wrong is named."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from afterword.googleapis import date_pb2, money_pb2
from afterword.v1 import event_pb2
from control.conversion import checks, times
from control.conversion.events import event_from_proto
from core.bounds import DAY_MS
from core.errors import AfterwordError, InvalidField
from core.model import Address, Contact, Event, Evidence, Item, Money, Order, Review, Shipment
from tests.control.kit import with_unknown_field

NOW_MS = 20_000 * DAY_MS
NOW_S = NOW_MS // 1_000
UPPER_BOUND_US = 200
"""Far above the target of 8, for loaded machines: catches a mistake in kind, not in degree."""


def full_event() -> event_pb2.Event:
    """Return an event with everything that a shop can tell."""
    event = event_pb2.Event(
        id="e-1", source="erp", type="checkout", channel="accounts/a/channels/es",
        activation_date=date_pb2.Date(year=2025, month=2, day=28), locale="es_ES",
        system="shopware", system_version="6.5",
        contact=event_pb2.Contact(
            email="maria@example.com", phone="+34911234567", reference="c-1", first_name="Mar\u00eda",
            last_name="Garc\u00eda", locale="es", time_zone="Europe/Madrid", country="es",
            session_id="s-1",
            address=event_pb2.PostalAddress(
                lines=["Calle 1", "2\u00ba"], city="Madrid", region="MD", postal_code="28001"
            ),
        ),
        order=event_pb2.Order(
            reference="o-1", status="paid",
            total=money_pb2.Money(currency_code="eur", units=59, nanos=900_000_000),
            items=[
                event_pb2.Item(
                    sku="s1", name="Shoe", url="https://x.example/1", category="c", brand="b",
                    gtin="g", mpn="m", image_url="https://x.example/1.png", quantity=2,
                    price=money_pb2.Money(currency_code="EUR", units=20), tags=["new", "red"],
                )
            ],
        ),
        cart=event_pb2.Cart(id="k-1", url="https://x.example/k"),
        shipment=event_pb2.Shipment(carrier="dhl", method="m", tracking_number="t",
                                    tracking_url="https://x.example/t"),
        review=event_pb2.Review(kind=1, rating=4, product_sku="s1", has_comment=True),  # type: ignore[arg-type]
        consents=[
            event_pb2.ConsentEvidence(
                purpose=1, medium=1, given=True, collection_point="form", text_version="v1",  # type: ignore[arg-type]
            )
        ],
    )  # fmt: skip
    event.occur_time.FromMilliseconds(NOW_MS - 1_001)
    event.requested_send_time.FromMilliseconds(NOW_MS + 5)
    event.order.order_time.FromMilliseconds(NOW_MS - 2_000)
    event.shipment.promised_time.FromMilliseconds(NOW_MS + 1)
    event.shipment.delivery_time.FromMilliseconds(NOW_MS + 2)
    event.consents[0].evidence_time.FromMilliseconds(NOW_MS - 3)
    event.attributes.update({"vip": True, "tier": 3, "tags": ["a", None], "deep": {"x": "y"}})
    return event


def small_event() -> event_pb2.Event:
    event = event_pb2.Event(
        id="e-1",
        type="checkout",
        channel="accounts/a/channels/es",
        contact=event_pb2.Contact(email="maria@example.com", first_name="Maria", country="ES"),
        order=event_pb2.Order(reference="o-1", status="paid"),
        consents=[event_pb2.ConsentEvidence(purpose=1, medium=1, given=True)],  # type: ignore[arg-type]
    )
    event.order.total.currency_code = "EUR"
    event.order.total.units = 59
    event.occur_time.seconds = NOW_S
    return event


def test_everything_comes_through() -> None:
    """A7."""
    assert event_from_proto(full_event(), NOW_MS) == Event(
        id="e-1", source="erp", type="checkout", channel="accounts/a/channels/es",
        occur_ms=NOW_MS - 1_001,
        contact=Contact(
            email="maria@example.com", phone="+34911234567", reference="c-1", first_name="Mar\u00eda",
            last_name="Garc\u00eda", locale="es", time_zone="Europe/Madrid", country="ES",
            session_id="s-1", address=Address(["Calle 1", "2\u00ba"], "Madrid", "MD", "28001"),
        ),
        order=Order(
            reference="o-1", status="paid", total=Money("EUR", 59, 900_000_000),
            order_ms=NOW_MS - 2_000,
            items=[
                Item("s1", "Shoe", "https://x.example/1", "c", "b", "g", "m",
                     "https://x.example/1.png", 2, Money("EUR", 20), ["new", "red"])
            ],
        ),
        cart=msgspec.convert(["k-1", "https://x.example/k"], type=type(_cart())),
        shipment=Shipment("dhl", "m", "t", "https://x.example/t", NOW_MS + 1, NOW_MS + 2),
        review=Review(1, 4, "s1", True),
        consents=[Evidence(1, 1, True, NOW_MS - 3, "form", "v1")],
        activation_date="2025-02-28", requested_send_ms=NOW_MS + 5, locale="es_ES",
        system="shopware", system_version="6.5",
        attributes={"vip": True, "tier": 3.0, "tags": ["a", None], "deep": {"x": "y"}},
    )  # fmt: skip


def _cart() -> Any:
    cart = event_from_proto(full_event(), NOW_MS).cart
    assert cart is not None
    return cart


def test_what_is_not_told_is_empty() -> None:
    event = small_event()
    for name in ("contact", "order", "consents", "id"):
        event.ClearField(name)  # type: ignore[arg-type]
    found = event_from_proto(event, NOW_MS)
    assert found.contact == Contact()
    assert (found.order, found.consents, found.attributes) == (None, [], {})


def test_the_time_of_receipt_is_not_part_of_the_event() -> None:
    """Else an event published again would not be recognised."""
    event = full_event()
    event.consents[0].evidence_time.FromMilliseconds(NOW_MS + 10 * DAY_MS)
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    assert encode(event_from_proto(event, NOW_MS)) == encode(
        event_from_proto(event, NOW_MS + DAY_MS)
    )


Change = Callable[[event_pb2.Event], None]


def change(path: str, value: Any) -> Change:
    """Return what sets one field of an event."""

    def apply(event: event_pb2.Event) -> None:
        target: Any = event
        *owners, last = path.split(".")
        for name in owners:
            target = target[int(name)] if name.isdigit() else getattr(target, name)
        found = getattr(target, last)
        if isinstance(value, list):
            del found[:]
            found.extend(value)
        else:
            setattr(target, last, value)

    return apply


def large_attributes(event: event_pb2.Event) -> None:
    event.attributes.update({"text": "x" * 17_000})


BAD: list[tuple[Change, str]] = [
    (change("type", ""), "event.type"),
    (change("type", "x" * 64), "event.type"),
    (change("channel", ""), "event.channel"),
    (change("id", "x" * 257), "event.id"),
    (change("id", "line\nbreak"), "event.id"),
    (change("id", "bell\x07"), "event.id"),
    (change("source", "x" * 64), "event.source"),
    (change("source", "\x00"), "event.source"),
    (change("locale", "Spanish"), "event.locale"),
    (change("system", "a\tb"), "event.system"),
    (lambda event: event.ClearField("occur_time"), "event.occur_time"),
    (change("occur_time.seconds", NOW_S + 86_402), "event.occur_time"),
    (change("occur_time.seconds", NOW_S + 1_000 * 365 * 86_400), "event.occur_time"),
    (change("occur_time.seconds", NOW_S - 731 * 86_400), "event.occur_time"),
    (change("occur_time.seconds", 10**15), "event.occur_time"),
    (change("occur_time.nanos", -1), "event.occur_time"),
    (change("contact.email", "two@signs@example.com"), "event.contact.email"),
    (change("contact.email", "nobody"), "event.contact.email"),
    (change("contact.email", "@example.com"), "event.contact.email"),
    (change("contact.email", "maria@"), "event.contact.email"),
    (change("contact.email", "maria@example.com\r\nBcc: x@y.z"), "event.contact.email"),
    (change("contact.email", "maria@example.com\n"), "event.contact.email"),
    (change("contact.email", "maria@exam\x00ple.com"), "event.contact.email"),
    (change("contact.email", "a b@example.com"), "event.contact.email"),
    (change("contact.email", "Maria <maria@example.com>"), "event.contact.email"),
    (change("contact.email", "x" * 250 + "@y.zz"), "event.contact.email"),
    (change("contact.phone", "0911 234567"), "event.contact.phone"),
    (change("contact.phone", "+0911234567"), "event.contact.phone"),
    (change("contact.phone", "+34911234567\n"), "event.contact.phone"),
    (change("contact.phone", "+1234567890123456"), "event.contact.phone"),
    (change("contact.reference", "x" * 257), "event.contact.reference"),
    (change("contact.first_name", "x" * 201), "event.contact.first_name"),
    (change("contact.first_name", "Maria\nBcc:"), "event.contact.first_name"),
    (change("contact.last_name", "\u2028"), "event.contact.last_name"),
    (change("contact.session_id", "\x85"), "event.contact.session_id"),
    (change("contact.locale", "es_ES.UTF-8"), "event.contact.locale"),
    (change("contact.time_zone", "Europe/Madird"), "event.contact.time_zone"),
    (change("contact.country", "ESP"), "event.contact.country"),
    (change("contact.country", "\u00c9S"), "event.contact.country"),
    (change("contact.address.lines", ["x"] * 6), "event.contact.address.lines"),
    (change("order.reference", "x" * 257), "event.order.reference"),
    (change("order.reference", "a\nb"), "event.order.reference"),
    (change("order.total.currency_code", ""), "event.order.total.currency_code"),
    (change("order.total.currency_code", "Euro"), "event.order.total.currency_code"),
    (change("order.total.nanos", 10**9), "event.order.total.nanos"),
    (change("order.total.nanos", -1), "event.order.total.nanos"),
    (change("order.order_time.seconds", -1), "event.order.order_time"),
    (change("order.items.0.quantity", -1), "event.order.items[0].quantity"),
    (change("order.items.0.sku", "a\nb"), "event.order.items[0].sku"),
    (change("order.items.0.tags", ["x"] * 33), "event.order.items[0].tags"),
    (
        change("order.items.0.price.currency_code", "12"),
        "event.order.items[0].price.currency_code",
    ),
    (change("order.items", [event_pb2.Item()] * 201), "event.order.items"),
    (change("cart.id", "a\nb"), "event.cart.id"),
    (change("cart.items", [event_pb2.Item(quantity=-5)]), "event.cart.items[0].quantity"),
    (change("shipment.carrier", "a\nb"), "event.shipment.carrier"),
    (change("shipment.promised_time.seconds", 10**15), "event.shipment.promised_time"),
    (change("review.rating", 6), "event.review.rating"),
    (change("review.rating", -1), "event.review.rating"),
    (change("review.kind", 7), "event.review.kind"),
    (change("consents", [event_pb2.ConsentEvidence()] * 17), "event.consents"),
    (change("consents.0.purpose", 0), "event.consents[0].purpose"),
    (change("consents.0.purpose", 3), "event.consents[0].purpose"),
    (change("consents.0.medium", 0), "event.consents[0].medium"),
    (change("consents.0.medium", 9), "event.consents[0].medium"),
    (change("consents.0.collection_point", "x" * 2_001), "event.consents[0].collection_point"),
    (change("consents.0.text_version", "x" * 201), "event.consents[0].text_version"),
    (change("consents.0.evidence_time.seconds", -9), "event.consents[0].evidence_time"),
    (change("activation_date.day", 31), "event.activation_date"),
    (change("activation_date.month", 0), "event.activation_date"),
    (change("activation_date.year", 2_099), "event.activation_date"),
    (change("requested_send_time.seconds", NOW_S + 731 * 86_400), "event.requested_send_time"),
    (large_attributes, "event.attributes"),
    (change("system_version", "x" * 70_000), "event.system_version"),
    (change("system_version", "x" * 65_500), "event"),
]


@pytest.mark.parametrize(("damage", "field"), BAD, ids=[field for _, field in BAD])
def test_what_is_wrong_is_named(damage: Change, field: str) -> None:
    event = full_event()
    damage(event)
    with pytest.raises(AfterwordError) as caught:
        event_from_proto(event, NOW_MS)
    assert caught.value.field == field
    assert "maria@" not in caught.value.message, "no personal data in errors"
    assert len(caught.value.message) > len(field) + 5, "it says what would be right"


@pytest.mark.parametrize("path", ["", "contact", "consents"])
def test_what_a_newer_client_says_of_people_is_not_ignored(path: str) -> None:
    event = full_event()
    if path == "consents":
        change(path, [with_unknown_field(event.consents[0])])(event)
    else:
        event = with_unknown_field(event, path)
    with pytest.raises(InvalidField) as caught:
        event_from_proto(event, NOW_MS)
    assert caught.value.reason == "FIELD_UNKNOWN"
    assert caught.value.field in ("event", "event.contact", "event.consents[0]")
    assert "1000" in caught.value.message


@pytest.mark.parametrize("path", ["order", "order.total", "cart", "shipment", "review"])
def test_what_it_says_of_things_is(path: str) -> None:
    event = with_unknown_field(full_event(), path)
    assert event_from_proto(event, NOW_MS) == event_from_proto(full_event(), NOW_MS)


def test_a_contact_that_nobody_can_be_found_by() -> None:
    event = full_event()
    event.contact.CopyFrom(event_pb2.Contact(first_name="Maria"))
    with pytest.raises(InvalidField) as caught:
        event_from_proto(event, NOW_MS)
    assert (caught.value.field, caught.value.reason) == ("event.contact", "FIELD_REQUIRED")
    event.contact.session_id = "s"
    assert event_from_proto(event, NOW_MS).contact.session_id == "s", "a visit is enough (D21)"


def test_unusual_but_right() -> None:
    event = full_event()
    event.id = "\u00ad soft hyphen, nbsp\u00a0, \U0001f600"
    event.contact.email = "  Mar\u00eda+tag@b\u00fccher.example "
    event.consents[0].purpose = 5  # type: ignore[assignment]
    event.consents[0].medium = 0  # type: ignore[assignment]
    found = event_from_proto(event, NOW_MS)
    assert found.id == event.id
    assert found.contact.email == "Mar\u00eda+tag@b\u00fccher.example"
    assert found.consents[0].medium == 0


@given(st.text(max_size=40))
def test_the_quick_look_at_addresses_agrees_with_the_careful_one(text: str) -> None:
    if checks.PLAIN_EMAIL.fullmatch(text):
        assert checks.email(text, "email") == text


@given(st.text(st.sampled_from('ab@.<>" \t\n\x00\u2028\u00e9'), max_size=12))
def test_so_it_does_for_hostile_ones(text: str) -> None:
    if checks.PLAIN_EMAIL.fullmatch(text):
        assert checks.email(text, "email") == text


@given(st.integers(0, times.INSTANT_MAX_MS))
def test_instants_come_back(time_ms: int) -> None:
    assert times.instant_ms(times.timestamp(time_ms), "t") == time_ms


@given(st.integers(0, DAY_MS - 1))
def test_wall_times_come_back(wall_ms: int) -> None:
    assert times.time_of_day_ms(times.time_of_day(wall_ms), "t") == wall_ms


def test_conversion_is_not_slow() -> None:
    event = small_event()
    count = 200
    seconds = min(timeit.repeat(lambda: event_from_proto(event, NOW_MS), number=count, repeat=5))
    assert seconds / count * 1e6 < UPPER_BOUND_US


def test_attributes_keep_their_kinds() -> None:
    struct = Struct()
    struct.update({"t": True, "n": None, "d": 1.5, "s": "x", "l": [{"k": False}], "e": {}})
    event = small_event()
    event.attributes.CopyFrom(struct)
    assert event_from_proto(event, NOW_MS).attributes == {
        "t": True, "n": None, "d": 1.5, "s": "x", "l": [{"k": False}], "e": {}
    }  # fmt: skip
