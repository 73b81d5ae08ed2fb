"""Automations in a test: rules that look beyond one event, and the events that they look at."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from core.bounds import HOUR_MS
from core.gate import Lane, Source
from core.model import Cart, Contact, Event, Evidence, Family, Medium, Purpose
from core.registry.resources import Rule
from core.registry.rule_parts import (
    Action,
    DebounceTrigger,
    DormantTrigger,
    OncePer,
    PurchaseTrigger,
    Rearm,
    Step,
    StopEvent,
    StopKey,
    Wait,
    WaitBase,
)
from tests.support.shop import ACCOUNT, Shop

ANA, BEN = "ana@shop.example", "ben@shop.example"
PURCHASE_STOPS = [
    StopEvent(event_type, StopKey.CONTACT)
    for event_type in ("checkout", "order_created", "payment_received")
]
CART_STOPS = [
    StopEvent(event_type, StopKey.CART)
    for event_type in ("checkout", "order_created", "payment_received")
]
BY_CART, BY_CONTACT = "by cart", "by contact"


def mail(id: str = "mail", *media: Medium, **wait: Any) -> Step:
    """Return a step that sends at once, or after a wait."""
    actions = [
        Action(medium=medium, subject="News", body="For you.")
        for medium in media or (Medium.EMAIL,)
    ]
    return Step(id=id, wait=Wait(**(wait or {"elapsed_ms": 0})), actions=actions)


def after_the_first(days: int) -> Step:
    """Return a second step, so many days after the first was sent."""
    return mail("second", days=days, base=WaitBase.PREVIOUS_STEP_SENT)


def automation(id: str, **fields: Any) -> Rule:
    """Return a rule of the family of automations that sends one mail at once and needs no consent."""
    values: dict[str, Any] = {
        "display_name": id, "family": Family.AUTOMATION, "purpose": Purpose.TRANSACTIONAL,
        "event_type": "", "steps": [mail()],
    }  # fmt: skip
    return Rule(account=ACCOUNT, id=id, **{**values, **fields})


def frequent_buyer(count: int = 3, months: int = 2, **fields: Any) -> Rule:
    """Return the rule on so many purchases in so many months (D12)."""
    rearm = fields.pop("rearm", Rearm.AFTER_WINDOW)
    return automation("frequent", purchase=PurchaseTrigger(count, months, 0, rearm), **fields)


def first_purchase(**fields: Any) -> Rule:
    """Return the rule on the first purchase of all (D9)."""
    purchase = PurchaseTrigger(1, rearm=Rearm.NEVER)
    values = {"once_per": OncePer.CONTACT, "stop_when": ["order_cancelled", "refund"]}
    return automation("first", purchase=purchase, **{**values, **fields})


def win_back(days: int = 60, second_days: int = 10, **fields: Any) -> Rule:
    """Return the rule on customers who stay away, with two mails (D13)."""
    values: dict[str, Any] = {
        "dormant": DormantTrigger(Wait(days=days)), "stops": PURCHASE_STOPS,
        "steps": [mail(), after_the_first(second_days)],
    }  # fmt: skip
    return automation("dormant", **{**values, **fields})


def abandoned_cart(*, quiet_ms: int = HOUR_MS, ends: str = "", **fields: Any) -> Rule:
    """Return the rule on carts left behind, with two mails (D5, D6).

    Args:
        ends: `BY_CART` or `BY_CONTACT`: what ties a purchase to the cart; both unless given.
    """
    stops = {BY_CART: CART_STOPS, BY_CONTACT: PURCHASE_STOPS}.get(ends, CART_STOPS + PURCHASE_STOPS)
    values: dict[str, Any] = {
        "debounce": DebounceTrigger("cart_updated", quiet_ms), "stops": stops,
        "once_per": OncePer.CART, "steps": [mail(), after_the_first(1)],
    }  # fmt: skip
    return automation("cart", **{**values, **fields})


def cart_event(shop: Shop, id: str, cart: str | Cart = "c1", **fields: Any) -> Event:
    """Return a change of a cart."""
    event = shop.event("cart_updated", id=id, **fields)
    return replace(event, order=None, cart=Cart(id=cart) if isinstance(cart, str) else cart)


def anonymous(session: str = "s1", **fields: Any) -> Contact:
    """Return somebody known by a session alone."""
    return Contact(session_id=session, **fields)


def marketing(shop: Shop, given: bool = True, medium: Medium = Medium.EMAIL) -> list[Evidence]:
    """Return evidence of a consent to marketing, now."""
    return [Evidence(Purpose.MARKETING, medium, given, shop.clock.now_ms())]


async def timer_count(shop: Shop) -> int:
    """Return how many timers are indexed, in all partitions."""
    store = shop.engine.store
    lanes = [(partition, Source(Lane.TIMERS)) for partition in range(store.meta.partition_count)]
    found = await store.read_lanes(lanes, 2**47, 1_000)
    return sum(len(entries) for entries in found)
