"""The life of one person in a shop, in all its traces: for tests that look for what is left of it."""

from __future__ import annotations

from typing import Any

from core.bounds import DAY_MS, HOUR_MS
from core.engine.consent_documents import ConsentDocument
from core.engine.consents import Statement
from core.engine.manual import Wish
from core.engine.reach import Whom
from core.model import (
    Address,
    Cart,
    Contact,
    Event,
    Evidence,
    Item,
    Medium,
    Money,
    Order,
    Purpose,
    Shipment,
)
from core.registry.resources import Carrier, Rule
from core.registry.rule_parts import Action, Recipient, Step, Wait
from core.sending import Delivery
from tests.support.automations import abandoned_cart, after_the_first, automation, mail, win_back
from tests.support.rules import condition, free_rule, step
from tests.support.shop import ACCOUNT, MADRID, Shop, ms, one_in_14_days, review_rule

EMAIL, PHONE = "jolanta.q@private.example", "+48600123457"
SESSION, REFERENCE, CART = "sess-b7c9e2d1", "cust-88123-xq", "cart-55aa-qq"
IP, IP2, IP3, AGENT = "203.0.113.77", "203.0.113.78", "203.0.113.79", "Quuxbrowser/9.1"
ORDERS = ["ORD-7F3A-1", "ORD-7F3A-2", "ORD-7F3A-3"]
ADDRESS = Address(lines=["Zielonawa 17b"], city="Piotrkowice", postal_code="97-399")
CONTACT = Contact(
    email=EMAIL, phone=PHONE, reference=REFERENCE, first_name="Jolantyna", last_name="Quwerska",
    session_id=SESSION, address=ADDRESS,
)  # fmt: skip
STRINGS = [
    EMAIL, PHONE, SESSION, REFERENCE, CART, IP, IP2, IP3, AGENT, *ORDERS, "Zielonawa", "Piotrkowice",
    "97-399", "Jolantyna", "Quwerska", "TRK99812377", "for aunt Bronislawa", "Dear Mrs Q, your parcel",
]  # fmt: skip
"""What must not be found anywhere once the person is erased."""
MEDIA = (Medium.EMAIL, Medium.SMS)
START, LIVED = "2026-03-01 09:00", "2026-03-08 12:00"


def rules() -> list[Rule]:
    """Return rules that leave every kind of trace."""
    to_carrier = Action(
        medium=Medium.EMAIL, recipient=Recipient.CARRIER, subject="Where is it?", body="{order}"
    )
    return [
        review_rule(),
        automation("text", event_type="checkout", steps=[mail("sms", Medium.SMS)]),
        automation("paid", event_type="payment_received", steps=[mail(), after_the_first(3)]),
        free_rule("news", Purpose.MARKETING, event_type="checkout", steps=[step(days=30)]),
        free_rule(
            "late", Purpose.OPERATIONAL, event_type="shipment_delayed",
            steps=[Step(id="ask", wait=Wait(days=10), actions=[to_carrier])],
        ),
        free_rule("abroad", condition=condition("contact.country == 'XX'")),
        abandoned_cart(quiet_ms=20 * DAY_MS),
        win_back(),
    ]  # fmt: skip


LEFT = Cart(id=CART, url=f"https://shop.example/carts/{CART}", items=[Item(sku="cup")])
CAPS = [one_in_14_days()]


def checkout(shop: Shop, order: str) -> Event:
    """Return an order with all that shops tell."""
    now_ms = shop.clock.now_ms()
    told = [
        Evidence(
            purpose, medium, True, now_ms, "https://shop.example/checkout", "v3",
            ip_address=IP, user_agent=AGENT,
        )
        for purpose in (Purpose.REVIEW, Purpose.MARKETING)
        for medium in MEDIA
    ]  # fmt: skip
    placed = Order(
        reference=order, total=Money("PLN", 99, 0), items=[Item(sku="mug", name="Mug", quantity=1)]
    )
    return event(
        shop, "checkout", f"checkout {order}", order=placed, consents=told,
        attributes={"note": "for aunt Bronislawa"},
    )  # fmt: skip


def event(shop: Shop, type: str, id: str, **fields: Any) -> Event:
    """Return an event of the person, now."""
    values: dict[str, Any] = {"contact": CONTACT, **fields}
    return Event(
        id=id, source="shop", type=type, channel=MADRID, occur_ms=shop.clock.now_ms(), **values
    )


def life(shop: Shop) -> list[Event]:
    """Return what the shop tells of the first day, in order."""
    parcel = Shipment(carrier="dhl", tracking_number="TRK99812377")
    order = Order(reference=ORDERS[0])
    visitor = Contact(session_id=SESSION)
    told = [Evidence(Purpose.DATA_FORWARDING, Medium.EMAIL, False, 0, "page", ip_address=IP2)]
    return [
        event(shop, "cart_updated", "cart 1", contact=visitor, cart=LEFT),
        event(shop, "identify", "identify 1"),
        *(checkout(shop, each) for each in ORDERS),
        event(shop, "order_updated", "update 1", order=order, shipment=parcel),
        event(shop, "order_updated", "update 2", order=order, contact=Contact(), consents=told),
        event(shop, "shipment_delayed", "late 1", order=order, shipment=parcel),
    ]


async def live(shop: Shop) -> None:
    """Let the person live until `LIVED`.

    By then: a review request sent and its reminder waits, a second one held back by a cap, a third
    cancelled by a client, an SMS sent, a mail waits for another try, one by hand, one to the carrier and
    an advertisement wait, and so do timers of a cart and of being away.
    """
    engine = shop.engine
    await shop.registry.create_carrier(
        Carrier(account=ACCOUNT, id="dhl", email="desk@carrier.example")
    )
    for one in life(shop):
        await shop.publish(one)
    key = engine.identity.contact_key(ACCOUNT, CONTACT)
    (third,) = [
        view
        for view in await engine.reader.by_contact(ACCOUNT, key)
        if (view.detail.order_reference, view.detail.rule) == (ORDERS[2], "ask")
    ]
    await engine.reader.cancel(ACCOUNT, third.member)
    proof = ConsentDocument("https://shop.example/account", "v4", "desk", ip_address=IP)
    whom = Whom(contact=CONTACT)
    said = Statement(Purpose.DATA_FORWARDING, Medium.EMAIL, document=proof)
    await engine.consents.grant(ACCOUNT, whom, said)
    by_phone = ConsentDocument(ip_address=IP3)
    said = Statement(Purpose.MARKETING, Medium.SMS, document=by_phone)
    await engine.consents.withdraw(ACCOUNT, whom, said)
    wish = Wish(
        0, Purpose.TRANSACTIONAL, Medium.EMAIL, "Your parcel", "Dear Mrs Q, your parcel is late.",
        ms("2026-03-20 10:00"),
    )  # fmt: skip
    await engine.by_hand.create(
        ACCOUNT, event(shop, "", "by hand 1", order=Order(reference=ORDERS[0])), wish
    )
    await shop.until(LIVED)
    shop.post.answers[EMAIL] = [Delivery(Delivery.Kind.DEFERRED, "busy", HOUR_MS)]
    await shop.publish(event(shop, "payment_received", "paid 1", order=Order(reference=ORDERS[0])))
    await engine.advance_to(shop.clock.now_ms())
    await shop.publish(event(shop, "cart_updated", "cart 2", cart=LEFT))
