"""What becomes known after an order, and what goes back of it; on both stores."""

from __future__ import annotations

from typing import Any

import pytest

from core.model import Contact, Disposition, Event, Item, Order, Reason, Shipment, State
from core.ports import Store
from core.registry.resources import OrderMeaning
from core.sending import Letter
from tests.support.rules import (
    COMBINED,
    TEN,
    condition,
    consents,
    follow_up,
    free_rule,
    product_rule,
    step,
)
from tests.support.shop import Shop, open_shop, review_rule

ANA = "ana@shop.example"
SERVICE, PRODUCT, BOTH = 1, 2, 3
MUG, CUP = Item(sku="mug", quantity=1), Item(sku="cup", quantity=2)
RETURNED = (State.CANCELLED, Reason.RETURNED)


def back(shop: Shop, *items: Item, id: str = "back") -> Event:
    """Return a return: of all, or of what is listed."""
    event = shop.event("return", id=id)
    event.order = Order("1", items=list(items))
    return event


def ordered(shop: Shop, *items: Item, **fields: Any) -> Event:
    event = shop.event(**fields)
    event.order = Order("1", items=list(items))
    return event


def items_of(letter: Letter) -> list[Item]:
    order = letter.event.order
    return order.items if order is not None else []


def told(shop: Shop) -> list[tuple[int, list[str]]]:
    """Return (kinds, goods) of each letter."""
    return [(one.kinds, [item.sku for item in items_of(one)]) for one in shop.post.letters]


RULES = [review_rule(steps=[step("invite", days=7)]), product_rule()]
TOGETHER = [review_rule(steps=[step("invite", days=7)]), product_rule(review=COMBINED)]


async def test_a_partial_return_takes_goods_out_of_the_product_request(store: Store) -> None:
    """R39, A9: the service is asked about as before."""
    async with open_shop(store, rules=RULES) as shop:
        await shop.publish(ordered(shop, MUG, CUP))
        (answer,) = await shop.publish(back(shop, MUG))
        assert answer.stopped_count == 0
        await shop.until("2026-03-30 00:00")
        assert told(shop) == [(SERVICE, ["mug", "cup"]), (PRODUCT, ["cup"])]


async def test_of_two_cups_one_may_go_back(store: Store) -> None:
    """R39: in two returns both do; where no quantity is told, all went back."""
    one_cup, some_cups = Item(sku="cup", quantity=1), Item(sku="cup")
    product = product_rule(steps=[step("invite", days=8, time_of_day_ms=TEN), follow_up("again")])
    async with open_shop(store, rules=[product]) as shop:
        for order, returns in (("1", [one_cup]), ("2", [one_cup, one_cup]), ("3", [some_cups])):
            contact = Contact(email=f"{order}@shop.example")
            bought = shop.event(order=order, contact=contact)
            bought.order = Order(order, items=[MUG, CUP])
            await shop.publish(bought)
            for at, item in enumerate(returns):
                event = shop.event("return", id=f"{order}{at}", contact=contact)
                event.order = Order(order, items=[item])
                await shop.publish(event)
        await shop.until("2026-03-10 00:00")
        letters = {one.address[0]: [i.sku for i in items_of(one)] for one in shop.post.letters}
        assert letters == {"1": ["mug", "cup"], "2": ["mug"], "3": ["mug"]}


@pytest.mark.parametrize(("gone", "kinds"), [((MUG,), BOTH), ((MUG, CUP), 0)])
async def test_a_partial_return_from_a_combined_request(
    store: Store, gone: tuple[Item, ...], kinds: int
) -> None:
    """R38, R39: with nothing kept all ends."""
    async with open_shop(store, rules=TOGETHER) as shop:
        await shop.publish(ordered(shop, MUG, CUP))
        await shop.publish(back(shop, *gone))
        await shop.until("2026-03-30 00:00")
        assert told(shop) == ([(kinds, ["cup"])] if kinds else [])
        assert (await shop.ends()).get(RETURNED, 0) == (0 if kinds else 1)


async def test_a_full_return_by_list_ends_all(store: Store) -> None:
    """R39, A9: listed one after the other, until nothing is left."""
    async with open_shop(store, rules=RULES) as shop:
        await shop.publish(ordered(shop, MUG, CUP))
        await shop.publish(back(shop, MUG, id="a"))
        await shop.publish(back(shop, CUP, id="b"))
        await shop.until("2026-03-30 00:00")
        assert await shop.ends() == {RETURNED: 2}


async def test_a_full_return_ends_all_at_once(store: Store) -> None:
    """R39, A9."""
    async with open_shop(store, rules=RULES) as shop:
        await shop.publish(ordered(shop, MUG, CUP))
        (answer,) = await shop.publish(back(shop))
        assert answer.stopped_count == 2
        assert await shop.ends() == {RETURNED: 2}


async def test_a_return_that_is_told_first_wins(store: Store) -> None:
    """R39, E7, d8: the order comes after it, born cancelled."""
    async with open_shop(store, rules=RULES) as shop:
        await shop.publish(back(shop))
        await shop.publish(ordered(shop, MUG))
        assert await shop.ends() == {RETURNED: 2}


async def test_a_return_stops_first_and_then_sets_off_its_own_rule(store: Store) -> None:
    """R39, A9: also a review rule about returns; its tombstone does not end what it set off."""
    about_returns = review_rule(
        id="returned", event_type="return", steps=[step("ask", days=2)],
        stop_when=["order_cancelled", "return", "review_submitted"],
    )  # fmt: skip
    async with open_shop(store, rules=[review_rule(), about_returns]) as shop:
        await shop.publish(ordered(shop, MUG))
        event = back(shop)
        event.consents = consents(shop)
        (answer,) = await shop.publish(event)
        assert (answer.disposition, answer.stopped_count) == (Disposition.PLANNED, 1)
        await shop.until("2026-03-30 00:00")
        # The key of an order's request was taken by what was cancelled: it is the second request.
        assert await shop.ends() == {RETURNED: 1, (State.SKIPPED, Reason.DUPLICATE): 1}


async def test_a_message_about_the_return_goes(store: Store) -> None:
    """R39, A9, C4: outside of the review families."""
    rules = [review_rule(), free_rule("sorry", event_type="return", stop_when=["return"])]
    async with open_shop(store, rules=rules) as shop:
        await shop.publish(ordered(shop, MUG))
        await shop.publish(back(shop))
        await shop.until("2026-03-30 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 09:00"]


async def test_an_order_status_may_mean_a_return_of_all(store: Store) -> None:
    """R39, R43: what such an event lists is the order, not what went back."""
    statuses = {"zurück": OrderMeaning.RETURNED}
    async with open_shop(store, rules=RULES, order_statuses=statuses) as shop:
        await shop.publish(ordered(shop, MUG, CUP))
        event = shop.event("order_updated", order="1")
        event.order = Order("1", status="zurück", items=[MUG, CUP])
        (answer,) = await shop.publish(event)
        assert answer.stopped_count == 2


async def test_a_reminder_is_not_sent_about_what_went_back(store: Store) -> None:
    """R39, B20, d5: returned in part after the first request, in full before the second."""
    product = product_rule(steps=[step("invite", days=8, time_of_day_ms=TEN), follow_up("again")])
    async with open_shop(store, rules=[review_rule(), product]) as shop:
        await shop.publish(ordered(shop, MUG, CUP))
        await shop.until("2026-03-10 00:00")
        await shop.publish(back(shop, CUP, id="a"))
        await shop.until("2026-03-13 12:00")
        await shop.publish(back(shop, MUG, id="b"))
        await shop.until("2026-03-30 00:00")
        assert told(shop) == [
            (SERVICE, ["mug", "cup"]), (PRODUCT, ["mug", "cup"]), (SERVICE, ["mug", "cup"]),
        ]  # fmt: skip
        assert (await shop.ends())[RETURNED] == 1


# --- facts ----------------------------------------------------------------------------------------

OPEN = condition("order.status != 'closed'")


def status(shop: Shop, value: str, **fields: Any) -> Event:
    event = shop.event("order_updated", **fields)
    event.order = Order("1", status=value)
    return event


@pytest.mark.parametrize(("value", "count"), [("closed", 0), ("shipped", 1)])
async def test_a_condition_is_asked_again_of_what_is_known_by_then(
    store: Store, value: str, count: int
) -> None:
    """C3, C12: at accept and again when due."""
    rule = review_rule(condition=OPEN)
    async with open_shop(store, rule=rule) as shop:
        await shop.publish(shop.event())
        await shop.publish(status(shop, value))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == count
        assert (await shop.ends()).get((State.SKIPPED, Reason.CONDITION_FALSE), 0) == 1 - count


async def test_what_happened_last_counts_not_what_came_last(store: Store) -> None:
    """C3, R5: two updates in the wrong order."""
    async with open_shop(store, rule=review_rule(condition=OPEN)) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-03 00:00")
        await shop.publish(status(shop, "closed", id="2", at="2026-03-02 12:00"))
        await shop.publish(status(shop, "shipped", id="1", at="2026-03-02 10:00"))
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == []


async def test_what_was_true_before_the_order_changes_nothing(store: Store) -> None:
    """C3, R5: an update from before the checkout comes after it; what the checkout told stays."""
    async with open_shop(store, rule=review_rule(condition=OPEN)) as shop:
        event = shop.event()
        event.order = Order("1", status="open")
        await shop.publish(event)
        await shop.publish(status(shop, "closed", at="2026-03-01 08:00"))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


async def test_what_was_told_before_fills_in_what_the_order_leaves_open(store: Store) -> None:
    """C3, R5: an update from before the checkout, which itself tells no status."""
    async with open_shop(store, rule=review_rule(condition=OPEN)) as shop:
        await shop.publish(shop.event())
        await shop.publish(status(shop, "closed", at="2026-03-01 08:00"))
        await shop.until("2026-03-09 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.CONDITION_FALSE): 1}


async def test_facts_of_another_order_are_not_looked_at(store: Store) -> None:
    """C3."""
    async with open_shop(store, rule=review_rule(condition=OPEN)) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2"))
        await shop.publish(status(shop, "closed"))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


async def test_a_reminder_is_asked_again_too(store: Store) -> None:
    """C3, d5: what became known before the first message, and after it."""
    async with open_shop(store, rule=review_rule(condition=OPEN)) as shop:
        await shop.publish(shop.event())
        await shop.publish(status(shop, "shipped", id="a"))
        await shop.until("2026-03-10 00:00")
        await shop.publish(status(shop, "closed", id="b"))
        await shop.until("2026-03-30 00:00")
        assert [again for *_, again in shop.mails()] == [False]
        assert (await shop.ends())[State.SKIPPED, Reason.CONDITION_FALSE] == 1


async def test_a_message_tells_what_is_known_when_it_goes(store: Store) -> None:
    """C26, D1: a tracking number that came after the order."""
    rule = free_rule("news", steps=[step(days=1)])
    async with open_shop(store, rule=rule) as shop:
        await shop.publish(shop.event())
        await shop.publish(
            shop.event("order_shipped", shipment=Shipment(carrier="DHL", tracking_number="T1"))
        )
        await shop.until("2026-03-03 00:00")
        (letter,) = shop.post.letters
        assert letter.event.shipment == Shipment(carrier="DHL", tracking_number="T1")
        assert (letter.event.type, letter.event.contact.email) == ("checkout", ANA)


async def test_an_update_by_order_alone_finds_who_waits(store: Store) -> None:
    """R5, C3."""
    async with open_shop(store, rule=review_rule(condition=OPEN)) as shop:
        await shop.publish(shop.event())
        await shop.publish(status(shop, "closed", contact=Contact()))
        await shop.until("2026-03-09 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.CONDITION_FALSE): 1}
