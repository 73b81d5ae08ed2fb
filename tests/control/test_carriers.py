"""ChannelService as a client sees it: the directory of carriers, and the account."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import rule_service_pb2, types_pb2
from tests.control.kit import PARENT, Shop, refused, unique, with_unknown_field

pytestmark = pytest.mark.asyncio(loop_scope="module")
EVERYTHING = [
    types_pb2.ENTITLEMENT_PRODUCT_REVIEWS,
    types_pb2.ENTITLEMENT_NOTIFICATIONS,
    types_pb2.ENTITLEMENT_AUTOMATIONS,
]


def create(**fields: Any) -> pb2.CreateCarrierRequest:
    given: dict[str, Any] = {
        "parent": PARENT,
        "carrier_id": unique("dhl"),
        "carrier": pb2.Carrier(email="claims@carrier.example"),
    }
    return pb2.CreateCarrierRequest(**{**given, **fields})


# --- carriers -------------------------------------------------------------------------------------


async def test_a_carrier_is_created_read_changed_and_deleted(shop: Shop) -> None:
    """C17, R49."""
    request = create(request_id=str(uuid.uuid4()))
    created = await shop.channels.CreateCarrier(request)
    assert created.name == f"{PARENT}/carriers/{request.carrier_id}"
    assert await shop.channels.CreateCarrier(request) == created
    assert await shop.channels.GetCarrier(pb2.GetCarrierRequest(name=created.name)) == created
    changed = await shop.channels.UpdateCarrier(
        pb2.UpdateCarrierRequest(carrier=pb2.Carrier(name=created.name, phone="+4930123456"))
    )
    assert (changed.phone, changed.email) == ("+4930123456", "claims@carrier.example")
    emptied = await shop.channels.UpdateCarrier(
        pb2.UpdateCarrierRequest(
            carrier=pb2.Carrier(name=created.name), update_mask=FieldMask(paths=["email"])
        )
    )
    assert (emptied.phone, emptied.email) == ("+4930123456", "")
    with refused() as refusal:
        await shop.channels.DeleteCarrier(
            pb2.DeleteCarrierRequest(name=created.name, etag=created.etag)
        )
    assert refusal.reason == "ETAG_MISMATCH"
    await shop.channels.DeleteCarrier(
        pb2.DeleteCarrierRequest(name=created.name, validate_only=True)
    )
    await shop.channels.DeleteCarrier(pb2.DeleteCarrierRequest(name=created.name))
    with refused() as refusal:
        await shop.channels.GetCarrier(pb2.GetCarrierRequest(name=created.name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_carriers_are_listed_by_page(shop: Shop) -> None:
    names = [(await shop.channels.CreateCarrier(create())).name for _ in range(3)]
    listed: list[str] = []
    token = ""
    while True:
        answer = await shop.channels.ListCarriers(
            pb2.ListCarriersRequest(parent=PARENT, page_size=2, page_token=token)
        )
        listed += [carrier.name for carrier in answer.carriers]
        token = answer.next_page_token
        if not token:
            break
    assert listed == sorted(listed)
    assert set(names) <= set(listed)


async def test_ids_are_what_shipments_say_in_lower_case(shop: Shop) -> None:
    taken = await shop.channels.CreateCarrier(create(carrier_id="0_dhl-express"))
    assert taken.name.endswith("/0_dhl-express")
    with refused() as refusal:
        await shop.channels.CreateCarrier(create(carrier_id="0_dhl-express"))
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    for carrier_id in ("", "DHL", "_dhl", "d" * 64, "d h l"):
        with refused() as refusal:
            await shop.channels.CreateCarrier(create(carrier_id=carrier_id))
        assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "carrier_id")


async def test_bad_carriers_are_refused_by_field(shop: Shop) -> None:
    name = (await shop.channels.CreateCarrier(create())).name
    for fields, field in (
        ({"email": "nobody"}, "carrier.email"),
        ({"phone": "123"}, "carrier.phone"),
    ):
        with refused() as refusal:
            await shop.channels.CreateCarrier(create(carrier=pb2.Carrier(**fields)))
        assert refusal.field == field
        with refused() as refusal:
            await shop.channels.UpdateCarrier(
                pb2.UpdateCarrierRequest(carrier=pb2.Carrier(name=name, **fields))
            )
        assert refusal.field == field
    with refused() as refusal:
        await shop.channels.CreateCarrier(create(carrier=with_unknown_field(pb2.Carrier())))
    assert (refusal.reason, refusal.field) == ("FIELD_UNKNOWN", "carrier")
    with refused() as refusal:
        await shop.channels.GetCarrier(pb2.GetCarrierRequest(name="accounts/other/carriers/x"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


# --- the account ----------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def booked(shop: Shop) -> AsyncIterator[Shop]:
    """A shop whose account has everything again afterwards."""
    yield shop
    await book(shop, EVERYTHING)


async def book(shop: Shop, entitlements: list[Any], **fields: Any) -> pb2.Account:
    account: pb2.Account = await shop.channels.UpdateAccount(
        pb2.UpdateAccountRequest(
            account=pb2.Account(name=PARENT, entitlements=entitlements), **fields
        )
    )
    return account


async def test_a_new_account_has_everything(shop: Shop) -> None:
    account = await shop.channels.GetAccount(pb2.GetAccountRequest(name=PARENT))
    assert list(account.entitlements) == EVERYTHING
    for name in ("", "accounts"):
        with refused() as refusal:
            await shop.channels.GetAccount(pb2.GetAccountRequest(name=name))
        assert refusal.field == "name"
    with refused() as refusal:
        await shop.channels.GetAccount(pb2.GetAccountRequest(name="accounts/other"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_what_is_not_booked_cannot_be_switched_on(booked: Shop) -> None:
    """B26, C2: a mask that is left out means the whole account, so nothing set is nothing booked."""
    assert not (await book(booked, [], validate_only=True)).entitlements
    present = await booked.channels.GetAccount(pb2.GetAccountRequest(name=PARENT))
    assert list(present.entitlements) == EVERYTHING
    emptied = await book(booked, [])
    assert not emptied.entitlements
    assert emptied.etag != present.etag
    channel = await booked.create_channel()
    family = rule_service_pb2.Rule.FAMILY_PRODUCT_REVIEW
    with refused() as refusal:
        await booked.create_rule(channel, family=family)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "ENTITLEMENT" in refusal.problem.message
    await book(booked, [types_pb2.ENTITLEMENT_PRODUCT_REVIEWS])
    await booked.create_rule(channel, family=family)


async def test_a_bad_account_is_refused(booked: Shop) -> None:
    with refused() as refusal:
        await book(booked, [0])
    assert refusal.field == "account.entitlements[0]"
    with refused() as refusal:
        await book(booked, [], update_mask=FieldMask(paths=["colour"]))
    assert refusal.field == "update_mask"
    with refused() as refusal:
        await booked.channels.UpdateAccount(
            pb2.UpdateAccountRequest(account=pb2.Account(name=PARENT, etag='"0"'))
        )
    assert refusal.reason == "ETAG_MISMATCH"
