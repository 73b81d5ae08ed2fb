"""What happened before: recorded, and nothing follows from it (D9, R43)."""

from __future__ import annotations

from core.bounds import DAY_MS
from core.model import Contact, Disposition, Event, Medium, Purpose, Reason, State
from core.partitions import partition_of
from core.ports import Store
from core.records import ContactRecord, HistoryKind
from tests.support.automations import (
    ANA,
    BEN,
    abandoned_cart,
    automation,
    cart_event,
    first_purchase,
    frequent_buyer,
    mail,
    marketing,
    timer_count,
    win_back,
)
from tests.support.shop import ACCOUNT, Shop, ms, one_in_14_days, open_shop, review_rule


def old(shop: Shop, order: str, at: str = "2025-06-01 10:00", **fields: object) -> Event:
    """Return a purchase of long ago."""
    return shop.event(order=order, at=at, **fields)  # type: ignore[arg-type]


async def record(shop: Shop, email: str = ANA) -> ContactRecord:
    """Return what the store knows of a contact."""
    key = shop.engine.identity.contact_key(ACCOUNT, Contact(email=email))
    partition = partition_of(key, shop.engine.store.meta.partition_count)
    return await shop.engine.store.contact(partition, key) or ContactRecord()


async def test_whoever_bought_before_is_not_thanked_for_a_first_purchase(store: Store) -> None:
    """D9: with the history, Ana's is her second; without it, Ben's is his first."""
    async with open_shop(store, rules=[first_purchase()]) as shop:
        (answer,) = await shop.publish(old(shop, "0"), is_import=True)
        assert (answer.disposition, answer.members) == (Disposition.NO_MATCH, ())
        await shop.publish(shop.event(order="1"), shop.event(order="2", email=BEN))
        await shop.until("2026-03-02 00:00")
        assert [to for _, to, _ in shop.mails()] == [BEN]


async def test_imported_purchases_count_in_their_window(store: Store) -> None:
    """D12, R43: two of the last two months and one now make three; older ones do not count."""
    async with open_shop(store, rules=[frequent_buyer()]) as shop:
        await shop.publish(
            old(shop, "a", "2026-01-05 10:00"), old(shop, "b", "2026-02-05 10:00"),
            old(shop, "c", "2025-12-05 10:00", email=BEN),
            old(shop, "d", "2026-02-05 10:00", email=BEN), is_import=True,
        )  # fmt: skip
        await shop.publish(shop.event(order="1"), shop.event(order="2", email=BEN))
        await shop.until("2026-03-02 00:00")
        assert [to for _, to, _ in shop.mails()] == [ANA]


async def test_the_import_itself_fires_nothing_however_much_it_brings(store: Store) -> None:
    """D9, D15, pitfall:import-triggers: no welcome for a list imported again: rules on events, on
    purchases, on carts and on customers who stay away."""
    rules = [
        review_rule(), first_purchase(), frequent_buyer(2), win_back(), abandoned_cart(),
        automation("thanks", event_type="checkout"),
    ]  # fmt: skip
    async with open_shop(store, rules=rules) as shop:
        events = [
            *(old(shop, str(n), "2026-02-28 10:00") for n in range(5)),
            cart_event(shop, "e1"), shop.event("order_cancelled", order="0"),
        ]  # fmt: skip
        for _ in range(2):
            answers = await shop.publish(*events, is_import=True)
            assert [answer.members for answer in answers] == [()] * 7
        assert {answer.disposition for answer in answers} == {Disposition.DUPLICATE}
        await shop.until("2026-12-31 00:00")
        assert (shop.mails(), await shop.ends(), await timer_count(shop)) == ([], {}, 0)
        assert sum(line.kind == HistoryKind.PURCHASE for line in (await record(shop)).history) == 4


async def test_published_later_it_is_the_same_event(store: Store) -> None:
    """D9, d8: weeks later too, when the mark of its id may be forgotten: the contact knows it."""
    async with open_shop(store, rules=[review_rule(), first_purchase(), win_back()]) as shop:
        event = shop.event(order="1")
        await shop.publish(event, is_import=True)
        for at in ("2026-03-01 09:01", "2026-04-20 00:00"):
            (answer,) = await shop.publish(event)
            assert (answer.disposition, answer.members) == (Disposition.DUPLICATE, ()), at
            await shop.until(at)
        await shop.publish(event)
        await shop.until("2026-12-31 00:00")
        assert (shop.mails(), await timer_count(shop)) == ([], 0)


async def test_what_was_published_is_not_undone_by_an_import_of_it(store: Store) -> None:
    """d8: an event that has caused something is a duplicate of itself, imported or not."""
    async with open_shop(store, rules=[first_purchase(steps=[mail(days=1)])]) as shop:
        event = shop.event(order="1")
        await shop.publish(event)
        (answer,) = await shop.publish(event, is_import=True)
        assert answer.disposition == Disposition.DUPLICATE
        await shop.until("2026-03-05 00:00")
        assert len(shop.mails()) == 1


async def test_the_payment_of_an_imported_order_is_no_new_purchase(store: Store) -> None:
    """R43: it counted when it was imported; another event about it fires nothing."""
    async with open_shop(store, rules=[first_purchase(), frequent_buyer(2)]) as shop:
        await shop.publish(old(shop, "0", "2026-02-28 10:00"), is_import=True)
        await shop.publish(shop.event("payment_received", order="0"))
        await shop.until("2026-03-02 00:00")
        assert shop.mails() == []
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-03-03 00:00")
        assert len(shop.mails()) == 1, "the second of two months"


async def test_imported_refunds_count_too(store: Store) -> None:
    """R43, d8: in whichever order."""
    async with open_shop(store, rules=[first_purchase()]) as shop:
        refund = shop.event("refund", order="0", at="2025-06-02 10:00")
        await shop.publish(refund, is_import=True)
        await shop.publish(old(shop, "0"), is_import=True)
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-03-02 00:00")
        assert len(shop.mails()) == 1


async def test_an_import_ends_nothing_that_waits(store: Store) -> None:
    """D9: neither by order nor by contact, and it leaves no tombstone; nor does it move a timer."""
    rules = [review_rule(), win_back(60, steps=[mail()])]
    async with open_shop(store, rules=rules) as shop:
        await shop.publish(shop.event(order="1"))
        for kind in ("order_cancelled", "return", "review_submitted"):
            await shop.publish(shop.event(kind, order="1"), is_import=True)
            await shop.publish(shop.event(kind, order="2"), is_import=True)
        assert await shop.pending() == 1
        await shop.publish(shop.event(order="2"))
        await shop.until("2026-03-20 00:00")
        assert len(shop.mails()) == 4, "two requests, two reminders"


async def test_bought_meanwhile_by_an_import_ends_the_wait_when_it_runs_out(store: Store) -> None:
    """D13, D5: history is looked at before a run starts, wherever it came from."""
    async with open_shop(store, rules=[win_back(), abandoned_cart()]) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-04-01 00:00")
        await shop.publish(cart_event(shop, "e1"))
        bought = shop.event(order="2", at="2026-04-01 00:01")
        await shop.publish(bought, is_import=True)
        await shop.until("2026-05-15 00:00")
        assert shop.mails() == []


async def test_imported_evidence_is_evidence(store: Store) -> None:
    """R17, A2: what the customer has agreed to stays agreed; for the channel, where no order is told."""
    async with open_shop(
        store, rules=[abandoned_cart(steps=[mail()], purpose=Purpose.MARKETING)]
    ) as shop:
        told = marketing(shop, medium=Medium.EMAIL)
        await shop.publish(cart_event(shop, "old", "c0", consents=told), is_import=True)
        await shop.publish(cart_event(shop, "e1"), cart_event(shop, "e2", email=BEN))
        await shop.until("2026-03-02 00:00")
        assert [to for _, to, _ in shop.mails()] == [ANA]
        assert (await shop.ends())[State.SKIPPED, Reason.NO_CONSENT] == 1


async def test_imports_use_up_no_cap(store: Store) -> None:
    """A31: nothing was sent."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        await shop.publish(old(shop, "0", "2026-02-28 10:00"), is_import=True)
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


async def test_a_large_import_in_one_call(store: Store) -> None:
    """D9: a thousand events of two years; each customer's are counted."""
    async with open_shop(store, rules=[first_purchase(), frequent_buyer(5)]) as shop:
        start_ms = ms("2024-03-10 09:00")
        events = []
        for n in range(1_000):
            event = old(shop, str(n), email=f"c{n % 100}@shop.example")
            event.occur_ms = start_ms + n * DAY_MS // 2
            events.append(event)
        await shop.publish(*events, is_import=True)
        found = (await record(shop, "c7@shop.example")).history
        assert [line.kind for line in found] == [HistoryKind.PURCHASE] * 10
        await shop.publish(shop.event(order="x", email="c7@shop.example"))
        await shop.until("2026-03-05 00:00")
        assert shop.mails() == []
