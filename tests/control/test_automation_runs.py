"""Every predefined automation on a virtual clock, from the events of a shop to the messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from afterword.v1 import event_pb2, event_service_pb2, types_pb2
from afterword.v1 import rule_service_pb2 as pb2
from core.bounds import DAY_MS, HOUR_MS, MINUTE_MS
from senders.templates import subject_of, variables
from tests.control.kit import PARENT, Shop, event_pb, open_shop, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """A shop of this file's own: its clock goes on."""
    async with open_shop(tmp_path_factory.mktemp("runs")) as opened:
        yield opened


class Customer:
    """One customer of a channel on which one automation is active, and what they are sent."""

    def __init__(self, shop: Shop, channel: str) -> None:
        self.shop = shop
        self.channel = channel
        self.email = f"{unique('customer')}@example.com"
        self.cart = unique("cart")

    async def does(self, event_type: str, order: str = "") -> None:
        """Publish an event of now."""
        event = event_pb(
            self.channel,
            type=event_type,
            contact=event_pb2.Contact(email=self.email, first_name="Ann"),
            order=event_pb2.Order(
                reference=order or unique("order"), items=[event_pb2.Item(sku="s", name="Shoe")]
            ),
            consents=[
                event_pb2.ConsentEvidence(
                    purpose=purpose, medium=types_pb2.MEDIUM_EMAIL, given=True
                )
                for purpose in (types_pb2.PURPOSE_MARKETING, types_pb2.PURPOSE_REVIEW)
            ],
        )
        if event_type == "cart_updated":
            event.ClearField("order")
            event.cart.id = self.cart
        event.occur_time.FromMilliseconds(self.shop.clock.now_ms())
        await self.shop.events.Publish(event_service_pb2.PublishRequest(event=event))

    async def waits(self, length_ms: int) -> list[str]:
        """Let time pass; return the subjects of all mails so far."""
        await self.shop.daemon.engine.advance_to(self.shop.clock.now_ms() + length_ms)
        return [
            subject_of(letter, "en", variables(letter))
            for letter in self.shop.outbox.letters
            if letter.address == self.email
        ]


async def opened(shop: Shop, automation_id: str, **fields: Any) -> Customer:
    """Switch an automation on for a new channel and return a customer of it."""
    channel = await shop.create_channel(**fields)
    await shop.rules.CreateRuleFromAutomation(
        pb2.CreateRuleFromAutomationRequest(
            parent=PARENT,
            rule_id=unique("rule"),
            automation=f"automations/{automation_id}",
            activate_on=[channel],
        )
    )
    return Customer(shop, channel)


async def test_abandoned_cart(shop: Shop) -> None:
    """D5: an hour after the last change, once for each cart."""
    ann = await opened(shop, "abandoned-cart")
    await ann.does("cart_updated")
    assert not await ann.waits(40 * MINUTE_MS)
    await ann.does("cart_updated")
    assert not await ann.waits(40 * MINUTE_MS), "each change starts the hour again"
    assert len(await ann.waits(21 * MINUTE_MS)) == 1
    await ann.does("cart_updated")
    assert len(await ann.waits(3 * DAY_MS)) == 1
    ann.cart = unique("cart")
    await ann.does("cart_updated")
    assert len(await ann.waits(2 * HOUR_MS)) == 2


@pytest.mark.parametrize("purchase", ["checkout", "order_created", "payment_received"])
async def test_who_buys_gets_no_mail_about_the_cart(shop: Shop, purchase: str) -> None:
    """D5, D6, pitfall:purchase-before-cart-mail. By contact: the order does not name the cart."""
    for automation_id, mails in (("abandoned-cart", 0), ("abandoned-cart-advanced", 0)):
        ann = await opened(shop, automation_id)
        await ann.does("cart_updated")
        await ann.waits(30 * MINUTE_MS)
        await ann.does(purchase)
        assert len(await ann.waits(5 * DAY_MS)) == mails
    ann = await opened(shop, "abandoned-cart-advanced")
    await ann.does("cart_updated")
    assert len(await ann.waits(2 * HOUR_MS)) == 1
    await ann.does(purchase)
    assert len(await ann.waits(5 * DAY_MS)) == 1, "the second mail is stopped"


async def test_advanced_abandoned_cart(shop: Shop) -> None:
    """D6."""
    ann = await opened(shop, "abandoned-cart-advanced")
    await ann.does("cart_updated")
    assert len(await ann.waits(2 * HOUR_MS)) == 1
    assert len(await ann.waits(20 * HOUR_MS)) == 1
    first, second = await ann.waits(4 * HOUR_MS)
    assert first != second


@pytest.mark.parametrize("automation_id", ["payment-received", "order-shipped"])
async def test_news_of_an_order_goes_out_at_once(shop: Shop, automation_id: str) -> None:
    """D7, D8."""
    ann = await opened(shop, automation_id)
    event_type = automation_id.replace("-", "_")
    await ann.does(event_type, "4711")
    (subject,) = await ann.waits(MINUTE_MS)
    assert "4711" in subject
    assert shop.outbox.letters[-1].event.order.reference == "4711"


async def test_first_purchase_thanks(shop: Shop) -> None:
    """D9: once in a lifetime."""
    ann = await opened(shop, "first-purchase-thanks")
    await ann.does("payment_received")
    assert not await ann.waits(30 * MINUTE_MS)
    assert len(await ann.waits(HOUR_MS)) == 1
    await ann.does("payment_received")
    assert len(await ann.waits(5 * DAY_MS)) == 1


async def test_frequent_buyer(shop: Shop) -> None:
    """D12: on the third purchase within two months, not on the fourth."""
    ann = await opened(shop, "frequent-buyer")
    for count in (1, 2, 3, 4):
        await ann.does("payment_received")
        assert len(await ann.waits(5 * DAY_MS)) == (1 if count >= 3 else 0)
    slow = await opened(shop, "frequent-buyer")
    for _ in range(4):
        await slow.does("payment_received")
        assert not await slow.waits(40 * DAY_MS)


async def test_dormant_win_back(shop: Shop) -> None:
    """D13: each purchase moves the timer, and one between the mails ends the second."""
    ann = await opened(shop, "dormant-win-back")
    await ann.does("payment_received")
    assert not await ann.waits(100 * DAY_MS)
    await ann.does("payment_received")
    assert not await ann.waits(100 * DAY_MS)
    assert len(await ann.waits(81 * DAY_MS)) == 1
    assert len(await ann.waits(15 * DAY_MS)) == 2
    bob = Customer(shop, ann.channel)
    await bob.does("payment_received")
    assert len(await bob.waits(181 * DAY_MS)) == 1
    await bob.does("payment_received")
    assert len(await bob.waits(20 * DAY_MS)) == 1


async def test_requests_for_opinions(shop: Shop) -> None:
    """D10, D11: that for products only where the shop has product comments."""
    ann = await opened(shop, "store-opinion")
    await ann.does("order_shipped")
    assert not await ann.waits(6 * DAY_MS)
    assert len(await ann.waits(2 * DAY_MS)) == 1
    with_comments = await opened(shop, "product-opinion", features=["product-comments"])
    without = await opened(shop, "product-opinion")
    await with_comments.does("order_shipped")
    await without.does("order_shipped")
    assert len(await with_comments.waits(15 * DAY_MS)) == 1
    assert not await without.waits(0)
