"""Channels, carriers and accounts from and to protobuf."""

from __future__ import annotations

from typing import Any

import pytest

from afterword.googleapis.date_pb2 import Date
from afterword.googleapis.timeofday_pb2 import TimeOfDay
from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import types_pb2
from control.conversion.accounts import account_from_proto, account_to_proto
from control.conversion.carriers import carrier_from_proto, carrier_to_proto
from control.conversion.channels import channel_from_proto, channel_to_proto
from core.bounds import DAY_MS, HOUR_MS
from core.errors import AfterwordError
from core.model import Medium
from core.registry.resources import (
    Account,
    Carrier,
    Channel,
    Entitlement,
    HistoryScope,
    OrderMeaning,
    ProductExclusivity,
)
from core.registry.rule_parts import MediumHours, OnClosed, Window

SMS, EMAIL = types_pb2.MEDIUM_SMS, types_pb2.MEDIUM_EMAIL
NINE, EIGHT = TimeOfDay(hours=9), TimeOfDay(hours=20)


def stored(**fields: Any) -> Channel:
    given: dict[str, Any] = {
        "account": "shop", "id": "es", "display_name": "Shop", "time_zone": "Europe/Madrid",
        "locale": "es_ES",
    }  # fmt: skip
    return Channel(**{**given, **fields})


def channel_pb(**fields: Any) -> pb2.Channel:
    given: dict[str, Any] = {
        "display_name": "Shop",
        "time_zone": "Europe/Madrid",
        "locale": "es_ES",
    }
    return pb2.Channel(**{**given, **fields})


def read(pb: pb2.Channel) -> Channel:
    return channel_from_proto(pb, "shop", "es")


NIGHT = Window(20 * HOUR_MS, 9 * HOUR_MS)
WORK = Window(9 * HOUR_MS, 18 * HOUR_MS, weekdays=(1, 2, 5))

ROUND_TRIPS: dict[str, Channel] = {
    "plain": stored(),
    "hours": stored(
        hours=(
            MediumHours(Medium.EMAIL),
            MediumHours(
                Medium.SMS, (WORK, Window(0, DAY_MS - 1)), (NIGHT,), True, OnClosed.SKIP
            ),
        )
    ),
    "holidays": stored(country="DE", region="BY", closed_dates=("2026-12-24", "2027-02-28")),
    "one product rule for each event type": stored(
        product_exclusivity=ProductExclusivity.PER_EVENT_TYPE
    ),
    "paid": stored(
        checkout_is_paid=False, history_scope=HistoryScope.ACCOUNT,
        order_statuses={"Pagado": OrderMeaning.PAID, "void": OrderMeaning.CANCELLED},
    ),
    "switches": stored(features=("product-comments",), review_event_types_off=("delivery",)),
    "activation date": stored(use_activation_date=True),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_channel_comes_back_as_it_was(name: str) -> None:
    """d3, R36, R37, R43, B9, B15, B28, B34, D10."""
    wire = channel_to_proto(ROUND_TRIPS[name]).SerializeToString()
    assert read(pb2.Channel.FromString(wire)) == ROUND_TRIPS[name]


def test_a_checkout_is_paid_unless_told_otherwise() -> None:
    """R43."""
    assert read(channel_pb()).checkout_is_paid
    assert not read(channel_pb(checkout_is_paid=False)).checkout_is_paid


def test_lists_are_kept_tidy() -> None:
    channel = read(
        channel_pb(
            country="de", region="by", features=["a", "b", "a"],
            closed_dates=[Date(year=2027, month=1, day=6), Date(year=2026, month=1, day=6)],
        )
    )  # fmt: skip
    assert (channel.country, channel.region, channel.features) == ("DE", "BY", ("a", "b"))
    assert channel.closed_dates == ("2026-01-06", "2027-01-06")


def hours(*entries: pb2.MediumHours) -> dict[str, Any]:
    return {"hours": entries}


def window(**fields: Any) -> dict[str, Any]:
    found = pb2.Window(**{"start": NINE, "end": EIGHT, **fields})
    return hours(pb2.MediumHours(medium=SMS, quiet=[found]))


QUIET = "channel.hours[0].quiet[0]"
REFUSALS: list[tuple[dict[str, Any], str]] = [
    (hours(pb2.MediumHours()), "channel.hours[0].medium"),
    (
        hours(pb2.MediumHours(medium=SMS), pb2.MediumHours(medium=EMAIL), pb2.MediumHours(medium=SMS)),
        "channel.hours[2].medium",
    ),
    (hours(pb2.MediumHours(medium=SMS, on_closed=9)), "channel.hours[0].on_closed"),  # type: ignore[arg-type]
    (window(start=None), f"{QUIET}.start"),
    (window(end=None), f"{QUIET}.end"),
    (window(start=TimeOfDay(hours=24)), f"{QUIET}.start"),
    (window(weekdays=[1, 0]), f"{QUIET}.weekdays[1]"),
    (window(weekdays=[8]), f"{QUIET}.weekdays[0]"),
    (
        hours(pb2.MediumHours(medium=SMS, open=[pb2.Window(start=NINE, end=EIGHT)] * 33)),
        "channel.hours[0].open",
    ),
    ({"country": "DEU"}, "channel.country"),
    ({"country": "DE", "region": "DE-BY"}, "channel.region"),
    ({"region": "BY"}, "channel.region"),
    ({"closed_dates": [Date(year=2026, month=2, day=29)]}, "channel.closed_dates[0]"),
    ({"closed_dates": [Date(year=2026, month=2)]}, "channel.closed_dates[0]"),
    ({"closed_dates": [Date(year=2026, month=2, day=1)] * 101}, "channel.closed_dates"),
    ({"product_exclusivity": 9}, "channel.product_exclusivity"),
    ({"history_scope": 9}, "channel.history_scope"),
    ({"order_statuses": {"paid": 0}}, "channel.order_statuses[paid]"),
    ({"order_statuses": {"paid": 9}}, "channel.order_statuses[paid]"),
    ({"order_statuses": {"": 1}}, "channel.order_statuses"),
    ({"order_statuses": {f"s{n}": 1 for n in range(101)}}, "channel.order_statuses"),
    ({"features": ["No Good"]}, "channel.features[0]"),
    ({"features": [f"f{n}" for n in range(33)]}, "channel.features"),
    ({"review_event_types_off": ["all"]}, "channel.review_event_types_off[0]"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "field"), REFUSALS, ids=lambda value: str(value)[:50])
def test_what_is_wrong_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(AfterwordError) as caught:
        read(channel_pb(**fields))
    assert caught.value.field == field
    assert field in caught.value.message


# --- carriers and accounts ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "carrier",
    [
        Carrier(account="shop", id="dhl"),
        Carrier(
            account="shop", id="dhl", display_name="DHL", email="x@carrier.example",
            phone="+4930123456", locale="de_DE",
        ),
    ],
)  # fmt: skip
def test_a_carrier_comes_back_as_it_was(carrier: Carrier) -> None:
    """C17, R49."""
    wire = carrier_to_proto(carrier).SerializeToString()
    assert carrier_from_proto(pb2.Carrier.FromString(wire), "shop", "dhl") == carrier


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"display_name": "x" * 201}, "carrier.display_name"),
        ({"email": "nobody"}, "carrier.email"),
        ({"email": "a@b.c\nBcc: d@e.f"}, "carrier.email"),
        ({"phone": "030 123456"}, "carrier.phone"),
        ({"locale": "German, please"}, "carrier.locale"),
    ],
)
def test_a_bad_carrier_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(AfterwordError) as caught:
        carrier_from_proto(pb2.Carrier(**fields), "shop", "dhl")
    assert caught.value.field == field


def test_an_account_comes_back_as_it_was() -> None:
    """B26."""
    for entitlements in ((), (Entitlement.AUTOMATIONS,), tuple(Entitlement)):
        account = Account(id="shop", create_ms=5, entitlements=entitlements, changed_revision=7)
        assert account_from_proto(account_to_proto(account), account) == account


def test_a_bad_entitlement_is_refused_by_field() -> None:
    for number in (0, 9):
        pb = pb2.Account(entitlements=[1, number])  # type: ignore[list-item]
        with pytest.raises(AfterwordError) as caught:
            account_from_proto(pb, Account(id="shop"))
        assert caught.value.field == "account.entitlements[1]"
