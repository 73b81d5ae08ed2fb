"""Events as they are kept, back to protobuf, and read again."""

from __future__ import annotations

from afterword.v1 import event_pb2
from control.conversion.events import event_from_proto
from control.conversion.stored_events import contact_to_proto, event_to_proto
from core.bounds import DAY_MS
from core.model import (
    Address,
    Cart,
    Contact,
    Event,
    Evidence,
    Item,
    Money,
    Order,
    Review,
    Shipment,
)

NOW_MS = 20_000 * DAY_MS
CONTACT = Contact(
    "ann@example.com", "+48600123457", "c1", "Ann", "Ames", "pl_PL", "Europe/Warsaw", "PL", "s1",
    Address(["1 Elm St", "Flat 2"], "Warsaw", "MZ", "00-001"),
)  # fmt: skip
ITEM = Item(
    "sku", "Mug", "https://s.example/mug", "cups", "Acme", "123", "m1", "https://s.example/mug.png", 2,
    Money("PLN", 9, 990_000_000), ["red"],
)  # fmt: skip
FULL = Event(
    id="e1", source="shop", type="checkout", channel="accounts/a/channels/c", occur_ms=NOW_MS - 1,
    contact=CONTACT, order=Order("o1", "paid", Money("PLN", -1, -5), NOW_MS - 7, [ITEM]),
    cart=Cart("c1", "https://s.example/c1", Money("PLN", 1, 0), [ITEM]),
    shipment=Shipment("dhl", "express", "T1", "https://dhl.example/T1", NOW_MS + 5, NOW_MS + 6),
    review=Review(1, 5, "sku", True),
    consents=[
        Evidence(1, 1, True, NOW_MS - 3, "form", "v1", 1, NOW_MS + DAY_MS, "pl", "a" * 64, "::1", "x"),
        Evidence(2, 1, False),
    ],
    activation_date="2024-11-02", requested_send_ms=NOW_MS + 9, locale="pl", system="sys",
    system_version="1.2", attributes={"a": {"b": [1.0, "x", True, None]}},
)  # fmt: skip


def test_nothing_of_an_event_is_lost() -> None:
    """Art. 15: every field that is kept is told; it reads back as the same event."""
    told = event_to_proto(FULL)
    unset = {field.name for field in told.DESCRIPTOR.fields} - {
        f.name for f, _ in told.ListFields()
    }
    assert unset == set()
    assert event_from_proto(told, NOW_MS) == FULL


def test_what_is_there_but_empty_stays_there() -> None:
    """A return without goods is not one of some of them: the order is told."""
    event = Event(
        "e", "", "review_submitted", "accounts/a/channels/c", NOW_MS, Contact(email="a@b.example"),
        Order(), review=Review(),
    )  # fmt: skip
    told = event_to_proto(event)
    assert told.HasField("review")
    assert told.HasField("order")
    assert event_from_proto(told, NOW_MS) == event


def test_a_contact_is_told() -> None:
    assert contact_to_proto(CONTACT).address.lines == ["1 Elm St", "Flat 2"]
    assert contact_to_proto(Contact()) == event_pb2.Contact()
