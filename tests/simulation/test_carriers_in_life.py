"""Messages to the carrier of a parcel; on both stores."""

from __future__ import annotations

from typing import Any

import pytest

from core.bounds import HOUR_MS
from core.model import Contact, Event, Medium, Purpose, Reason, Shipment, State
from core.ports import Store
from core.registry.resources import Cap, CapScope, CapUnit, Carrier, OnCap, Rule
from core.registry.rule_parts import Action, EmailSender, MediumHours, Recipient, Step, Wait, Window
from tests.support.rules import follow_up, free_rule, step
from tests.support.shop import ACCOUNT, Shop, open_shop

ANA, DESK = "ana@shop.example", "desk@dhl.example"
PHONE = "+4922812345678"
NO_RECIPIENT = {(State.SKIPPED, Reason.NO_RECIPIENT): 1}


def to_carrier(*media: Medium, sender: EmailSender | None = None, **wait: Any) -> Step:
    return Step(
        id="ask",
        wait=Wait(**(wait or {"elapsed_ms": 0})),
        actions=[
            Action(
                medium=medium, recipient=Recipient.CARRIER, sender=sender, subject="Where is it?",
                body="{order}",
            )
            for medium in media or (Medium.EMAIL,)
        ],
    )  # fmt: skip


def late(*steps: Step, **fields: Any) -> Rule:
    fields = {"event_type": "shipment_delayed", "steps": list(steps) or [to_carrier()], **fields}
    return free_rule("late", Purpose.OPERATIONAL, **fields)


def delayed(shop: Shop, carrier: str = "DHL", **fields: Any) -> Event:
    shipment = Shipment(carrier=carrier, tracking_number="T1")
    return shop.event("shipment_delayed", **{"shipment": shipment, **fields})


async def add(shop: Shop, email: str = DESK, phone: str = "", id: str = "dhl") -> None:
    await shop.registry.create_carrier(Carrier(account=ACCOUNT, id=id, email=email, phone=phone))


async def test_a_carrier_is_asked_where_the_parcel_is(store: Store) -> None:
    """C1, C5, C16, C17, R49: no consent of the customer, none of their hours, answers to the sender."""
    desk = EmailSender("parcels@shop.example", reply_to="answers@shop.example")
    night = MediumHours(medium=Medium.EMAIL, quiet=(Window(0, 23 * HOUR_MS),))
    async with open_shop(store, rule=late(to_carrier(sender=desk)), hours=(night,)) as shop:
        await add(shop)
        await shop.publish(delayed(shop, " DHL "))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert shop.mails() == [("2026-03-01 09:00", DESK, False)]
        (letter,) = shop.post.letters
        assert letter.sender == desk
        assert letter.event.shipment == Shipment(carrier=" DHL ", tracking_number="T1")


async def test_it_goes_to_the_address_of_the_day(store: Store) -> None:
    """C17, R49: the directory is read when the message is due."""
    async with open_shop(store, rule=late(to_carrier(days=1))) as shop:
        await add(shop)
        await shop.publish(delayed(shop))
        await shop.registry.update_carrier(
            Carrier(account=ACCOUNT, id="dhl", email="new@dhl.example")
        )
        await shop.until("2026-03-03 00:00")
        assert [to for _, to, _ in shop.mails()] == ["new@dhl.example"]


async def test_a_carrier_added_in_time_is_asked(store: Store) -> None:
    """C17."""
    async with open_shop(store, rule=late(to_carrier(days=1))) as shop:
        await shop.publish(delayed(shop))
        await add(shop)
        await shop.until("2026-03-03 00:00")
        assert [to for _, to, _ in shop.mails()] == [DESK]


@pytest.mark.parametrize("carrier", ["UPS", ""])
async def test_an_unknown_carrier_has_no_address(store: Store, carrier: str) -> None:
    """C17: nor has one that nobody names; the customer is never written to instead."""
    async with open_shop(store, rule=late(to_carrier(days=1))) as shop:
        await add(shop)
        await shop.publish(delayed(shop, carrier))
        # Something becomes known, so that the contact is looked at again.
        await shop.publish(shop.event("order_updated"))
        await shop.publish(
            shop.event("identify", order="", id="i", contact=Contact(email=ANA, country="ES"))
        )
        await shop.until("2026-03-03 00:00")
        assert (shop.mails(), await shop.ends()) == ([], NO_RECIPIENT)


async def test_a_carrier_that_is_named_later_is_asked(store: Store) -> None:
    """C17, C3: the parcel was handed over after the order."""
    async with open_shop(store, rule=late(to_carrier(days=1), event_type="checkout")) as shop:
        await add(shop)
        await shop.publish(shop.event())
        await shop.publish(shop.event("order_shipped", shipment=Shipment(carrier="dhl")))
        await shop.until("2026-03-03 00:00")
        assert [to for _, to, _ in shop.mails()] == [DESK]


async def test_each_medium_has_its_own_address(store: Store) -> None:
    """C14, C17: a carrier with a phone only."""
    both = (Medium.EMAIL, Medium.SMS)
    async with open_shop(store, rule=late(to_carrier(*both)), media=both) as shop:
        await add(shop, email="", phone=PHONE)
        await shop.publish(delayed(shop))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert [to for _, to, _ in shop.mails()] == [PHONE]
        assert await shop.ends() == {(State.SENT, 0): 1, **NO_RECIPIENT}


async def test_after_the_customer_the_carrier_and_the_other_way_round(store: Store) -> None:
    """C5, C17, R33: each step goes to its own recipient, over one medium."""
    to_customer, to_desk = step("tell", days=1), to_carrier(days=1)
    second_desk, second_customer = to_carrier(days=1), follow_up("then", days=1)
    second_desk.id, second_desk.wait.base = "then", second_customer.wait.base
    rules = [
        late(to_customer, second_desk, event_type="delivery"),
        late(to_desk, second_customer),
    ]
    rules[1].id = "other"
    async with open_shop(store, rules=rules) as shop:
        await add(shop)
        shipment = Shipment(carrier="dhl")
        await shop.publish(shop.event("delivery", order="1", shipment=shipment))
        await shop.publish(delayed(shop, order="2", email="ben@shop.example"))
        await shop.until("2026-03-30 00:00")
        assert sorted(to for _, to, _ in shop.mails()[:2]) == sorted([ANA, DESK])
        assert sorted(to for _, to, _ in shop.mails()[2:]) == sorted([DESK, "ben@shop.example"])


async def test_the_customers_caps_leave_the_carrier_alone(store: Store) -> None:
    """C5, R49: a cap of its own, on operational messages."""
    other = Cap(account=ACCOUNT, id="any", scope=CapScope.ACCOUNT, limit=0, window_ms=HOUR_MS)
    own = Cap(
        account=ACCOUNT, id="own", scope=CapScope.PURPOSE, limit=1, window_ms=HOUR_MS,
        purposes=[Purpose.OPERATIONAL], unit=CapUnit.MESSAGE, on_cap=OnCap.DEFER,
    )  # fmt: skip
    async with open_shop(store, rule=late(), caps=[other, own]) as shop:
        await add(shop)
        await shop.publish(delayed(shop, order="1"), delayed(shop, order="2"))
        await shop.until("2026-03-02 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 09:00", "2026-03-01 10:00"]
