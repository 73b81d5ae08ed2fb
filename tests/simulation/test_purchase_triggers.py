"""Rules on purchases: the first of all, and so many within a time (D9, D12, R43)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.bounds import DAY_MS
from core.model import Contact, Disposition, Event, Order, Reason, State
from core.partitions import partition_of
from core.ports import Store
from core.records import HistoryKind
from core.registry.resources import HistoryScope, OrderMeaning
from core.registry.rule_parts import OncePer, PurchaseTrigger, Rearm
from tests.support.automations import ANA, BEN, automation, first_purchase, frequent_buyer, mail
from tests.support.shop import ACCOUNT, Shop, open_shop


def days(shop: Shop) -> list[str]:
    """Return on which days mails went out."""
    return [at[:10] for at, _, _ in shop.mails()]


async def buy(shop: Shop, order: str, at: str, **fields: object) -> Event:
    """Let time pass until a purchase and tell of it."""
    await shop.until(at)
    event = shop.event(order=order, **fields)  # type: ignore[arg-type]
    await shop.publish(event)
    await shop.until(at)
    return event


async def purchases(shop: Shop, email: str = ANA) -> int:
    """Return how many purchases the store knows of a contact."""
    engine = shop.engine
    event = shop.event(email=email)
    key = engine.identity.contact_key(ACCOUNT, event.contact)
    partition = partition_of(key, engine.store.meta.partition_count)
    record = await engine.store.contact(partition, key)
    lines = record.history if record is not None else []
    return sum(line.kind == HistoryKind.PURCHASE for line in lines)


# --- the n-th purchase --------------------------------------------------------------------------------


async def test_the_third_in_two_months_fires_and_the_fourth_does_not(store: Store) -> None:
    """D12, d9: on the crossing only; the mail goes to the buyer, once."""
    async with open_shop(store, rules=[frequent_buyer()]) as shop:
        for n, day in enumerate(("03-01", "03-20", "04-10", "04-20")):
            await buy(shop, str(n), f"2026-{day} 10:00")
        assert shop.mails() == [("2026-04-10 10:00", ANA, False)]


@pytest.mark.parametrize(
    ("third", "fires"), [("2026-04-30 21:59", True), ("2026-04-30 22:00", False)]
)
async def test_the_window_is_of_calendar_months_in_the_shops_zone(
    store: Store, third: str, fires: bool
) -> None:
    """D12, R43: 1 March 00:00 in Madrid is 23:00 UTC of the day before; two months later the clock
    there has changed, and 1 May 00:00 is 22:00 UTC. Exactly two months is out."""
    async with open_shop(store, start="2026-02-28 12:00", rules=[frequent_buyer()]) as shop:
        await buy(shop, "1", "2026-02-28 23:00")
        await buy(shop, "2", "2026-04-01 10:00")
        await buy(shop, "3", third)
        assert len(shop.mails()) == fires


@pytest.mark.parametrize(
    ("first", "fires"), [("2025-12-31 12:00", False), ("2025-12-31 12:01", True)]
)
async def test_the_31st_counts_until_the_last_of_a_short_month(
    store: Store, first: str, fires: bool
) -> None:
    """D12, d9: on 28 February two months back is 28 December; from 31 December to 28 February is
    less than that, so a clamp shows on 31 March: one month back is 28 February."""
    async with open_shop(store, start="2025-12-31 09:00", rules=[frequent_buyer()]) as shop:
        await buy(shop, "1", first)
        await buy(shop, "2", "2026-01-15 10:00")
        await shop.until("2026-02-28 12:00")
        event = shop.event(order="3")
        await shop.publish(event)
        await shop.until("2026-02-28 13:00")
        assert len(shop.mails()) == 1, "28 December is the start: both count"
    async with open_shop(start="2026-02-28 09:00", rules=[frequent_buyer(2, 1)]) as shop:
        await buy(shop, "1", first.replace("2025-12-31", "2026-02-28"))
        await buy(shop, "2", "2026-03-31 11:00")
        assert len(shop.mails()) == fires, (
            "31 March 13:00 in Madrid less a month: 28 February 13:00"
        )


async def test_it_fires_again_once_its_window_has_passed(store: Store) -> None:
    """D12, R43, re-arm AFTER_WINDOW: three in the same window do not bring it back, three in the
    next do."""
    async with open_shop(store, rules=[frequent_buyer()]) as shop:
        for n, day in enumerate(("03-01", "03-02", "03-03", "03-04", "05-03", "05-04", "05-05")):
            await buy(shop, str(n), f"2026-{day} 10:00")
        assert days(shop) == ["2026-03-03", "2026-05-05"]


async def test_never_again_and_at_every_multiple(store: Store) -> None:
    """R43: the other two ways to re-arm."""
    never = frequent_buyer(2, 1, rearm=Rearm.NEVER)
    async with open_shop(store, rules=[never]) as shop:
        for n in range(8):
            await buy(shop, str(n), f"2026-{n + 3:02}-01 10:00")
            await buy(shop, f"{n}b", f"2026-{n + 3:02}-02 10:00")
        assert days(shop) == ["2026-03-02"]
    multiple = frequent_buyer(2, 1, rearm=Rearm.EACH_MULTIPLE)
    async with open_shop(rules=[multiple]) as shop:
        for n in range(5):
            await buy(shop, str(n), f"2026-03-0{n + 1} 10:00")
        assert days(shop) == ["2026-03-02", "2026-03-04"]


async def test_a_window_in_days_and_none_at_all(store: Store) -> None:
    """R43: elapsed time, and all purchases ever."""
    rules = [
        automation("week", purchase=PurchaseTrigger(2, window_ms=7 * DAY_MS)),
        automation("ever", purchase=PurchaseTrigger(3), steps=[mail(elapsed_ms=60_000)]),
    ]
    async with open_shop(store, rules=rules) as shop:
        for n, at in enumerate(("03-01 10:00", "03-08 10:00", "09-01 10:00", "09-08 09:59")):
            await buy(shop, str(n), f"2026-{at}")
        await shop.until("2026-10-01 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-09-01 10:01", "2026-09-08 09:59"]


@pytest.mark.parametrize("takes_back", ["refund", "order_cancelled"])
async def test_what_is_taken_back_does_not_count(store: Store, takes_back: str) -> None:
    """D12, d9: a refund or a cancelled order takes one out, also if it is told first."""
    async with open_shop(store, rules=[frequent_buyer()]) as shop:
        await buy(shop, "1", "2026-03-01 10:00")
        await buy(shop, "2", "2026-03-02 10:00")
        await shop.publish(shop.event(takes_back, order="1"), shop.event(takes_back, order="3"))
        await buy(shop, "3", "2026-03-03 10:00")
        assert (shop.mails(), await purchases(shop)) == ([], 1)
        await buy(shop, "4", "2026-03-04 10:00")
        await buy(shop, "5", "2026-03-05 10:00")
        assert days(shop) == ["2026-03-05"]


async def test_a_refund_that_names_only_the_order_finds_its_buyer(store: Store) -> None:
    """R5, R43: so does a payment."""
    nobody = {"contact": Contact()}
    async with open_shop(store, rules=[frequent_buyer(2)], checkout_is_paid=False) as shop:
        await buy(shop, "1", "2026-03-01 10:00")
        await shop.publish(shop.event("payment_received", order="1", **nobody))
        assert await purchases(shop) == 1
        await shop.publish(shop.event("refund", order="1", **nobody))
        assert await purchases(shop) == 0
        await shop.publish(shop.event("payment_received", order="2"))
        await shop.publish(shop.event("payment_received", order="3"))
        await shop.until("2026-03-02 00:00")
        assert days(shop) == ["2026-03-01"]


async def test_what_is_told_of_one_order_is_one_purchase(store: Store) -> None:
    """R43, D12: order, checkout and payment, whichever come."""
    async with open_shop(store, rules=[frequent_buyer(2)]) as shop:
        for kind in ("order_created", "checkout", "payment_received"):
            await shop.publish(shop.event(kind, order="1"))
        assert await purchases(shop) == 1
        await buy(shop, "2", "2026-03-01 10:00")
        await shop.publish(shop.event("payment_received", order="2"))
        await shop.until("2026-03-02 00:00")
        assert days(shop) == ["2026-03-01"]


async def test_an_unpaid_checkout_is_no_purchase_where_the_shop_says_so(store: Store) -> None:
    """R43: `checkout_is_paid` off: the payment counts and fires, the checkout does not."""
    async with open_shop(store, rules=[first_purchase()], checkout_is_paid=False) as shop:
        await buy(shop, "1", "2026-03-01 10:00")
        await shop.publish(shop.event("order_created", order="1"))
        await shop.until("2026-03-02 10:00")
        assert (shop.mails(), await purchases(shop)) == ([], 0)
        await shop.publish(shop.event("payment_received", order="1"))
        await shop.until("2026-03-02 10:00")
        assert shop.mails() == [("2026-03-02 10:00", ANA, False)]


async def test_an_order_status_may_mean_paid_or_refunded(store: Store) -> None:
    """R43: in the shop's own words; others mean nothing."""
    statuses = {"bezahlt": OrderMeaning.PAID, "erstattet": OrderMeaning.REFUNDED}
    rules = [frequent_buyer(2)]
    async with open_shop(
        store, rules=rules, checkout_is_paid=False, order_statuses=statuses
    ) as shop:

        def update(order: str, status: str) -> Event:
            event = shop.event("order_updated", order, id=f"{order} {status}")
            return replace(event, order=Order(reference=order, status=status))

        for status in ("offen", "bezahlt", "bezahlt"):
            await shop.publish(update("1", status))
        assert await purchases(shop) == 1
        await shop.publish(update("1", "erstattet"), update("2", "bezahlt"), update("3", "offen"))
        assert (await purchases(shop), shop.mails()) == (1, [])
        await shop.publish(update("3", "bezahlt"))
        await shop.until("2026-03-02 00:00")
        assert len(shop.mails()) == 1


@pytest.mark.parametrize("scope", list(HistoryScope))
async def test_purchases_count_by_channel_or_for_the_account(
    store: Store, scope: HistoryScope
) -> None:
    """R43."""
    async with open_shop(store, rules=[frequent_buyer(2)], history_scope=scope) as shop:
        outlet = await shop.add_channel("outlet", history_scope=scope)
        await buy(shop, "1", "2026-03-01 10:00", channel=outlet)
        await buy(shop, "2", "2026-03-02 10:00")
        assert len(shop.mails()) == (scope is HistoryScope.ACCOUNT)
        assert await purchases(shop) == 2


async def test_each_customer_has_a_count_of_their_own(store: Store) -> None:
    async with open_shop(store, rules=[frequent_buyer(2)]) as shop:
        for n, email in enumerate((ANA, BEN, "ANA@shop.example ")):
            await buy(shop, str(n), f"2026-03-0{n + 1} 10:00", email=email)
        assert days(shop) == ["2026-03-03"]


async def test_earlier_purchases_count_but_only_later_ones_fire(store: Store) -> None:
    """D15, R43: no back-fill on activation; what was bought before is known all the same."""
    async with open_shop(store, rules=[frequent_buyer()]) as shop:
        await shop.registry.deactivate(ACCOUNT, "frequent", "madrid", "test")
        events = [await buy(shop, str(n), f"2026-03-0{n + 1} 10:00") for n in range(2)]
        third = await buy(shop, "2", "2026-03-03 10:00", email=BEN)
        await shop.registry.activate(ACCOUNT, "frequent", "madrid", "test")
        (again,) = await shop.publish(events[1])
        assert again.disposition == Disposition.DUPLICATE
        await shop.publish(third)
        await shop.until("2026-03-04 00:00")
        assert shop.mails() == []
        await buy(shop, "3", "2026-03-04 10:00")
        assert shop.mails() == [("2026-03-04 10:00", ANA, False)]


async def test_a_paused_rule_does_not_fire_but_goes_on_counting(store: Store) -> None:
    """D16, D20: what crosses while it is paused stays unsaid."""
    async with open_shop(store, rules=[frequent_buyer(2, rearm=Rearm.EACH_MULTIPLE)]) as shop:
        await buy(shop, "1", "2026-03-01 10:00")
        await shop.registry.pause_rule(ACCOUNT, "frequent", "madrid", "test")
        await buy(shop, "2", "2026-03-02 10:00")
        await buy(shop, "3", "2026-03-03 10:00")
        await shop.registry.resume_rule(ACCOUNT, "frequent", "madrid", "test")
        await buy(shop, "4", "2026-03-04 10:00")
        assert days(shop) == ["2026-03-04"]


@pytest.mark.parametrize("rearm", list(Rearm))
@pytest.mark.parametrize("once_per", list(OncePer))
async def test_a_repeated_event_starts_nothing_twice(
    store: Store, rearm: Rearm, once_per: OncePer
) -> None:
    """pitfall: duplicate event and re-entry policy, in all pairs; d8, R1."""
    rules = [frequent_buyer(2, rearm=rearm, once_per=once_per)]
    async with open_shop(store, rules=rules) as shop:
        events = [shop.event(order=str(n)) for n in range(2)]
        for _ in range(3):
            answers = await shop.publish(*events, *events)
        assert {answer.disposition for answer in answers} == {Disposition.DUPLICATE}
        await shop.until("2026-03-02 00:00")
        for event in events:
            await shop.publish(event)
        await shop.until("2026-03-03 00:00")
        assert days(shop) == ["2026-03-01"]
        assert await shop.ends() == {(State.SENT, 0): 1}


async def test_once_per_contact_outlives_the_re_arm(store: Store) -> None:
    """R1: the rule may fire again; the same contact is written to once."""
    rule = frequent_buyer(2, rearm=Rearm.EACH_MULTIPLE, once_per=OncePer.CONTACT)
    async with open_shop(store, rules=[rule]) as shop:
        for n in range(4):
            await buy(shop, str(n), f"2026-03-0{n + 1} 10:00")
        assert days(shop) == ["2026-03-02"]
        assert (await shop.ends())[State.SKIPPED, Reason.DUPLICATE] == 1


# --- the first purchase -------------------------------------------------------------------------------


async def test_the_first_purchase_of_all_is_thanked_for_once(store: Store) -> None:
    """D9: not the second; and not the next one after the first was taken back."""
    async with open_shop(store, rules=[first_purchase()]) as shop:
        await buy(shop, "1", "2026-03-01 10:00")
        await buy(shop, "2", "2026-03-02 10:00")
        await shop.publish(shop.event("refund", order="1"), shop.event("refund", order="2"))
        await buy(shop, "3", "2026-03-03 10:00")
        await buy(shop, "1b", "2027-03-03 10:00", email=BEN)
        assert shop.mails() == [("2026-03-01 10:00", ANA, False), ("2027-03-03 10:00", BEN, False)]


async def test_a_cancelled_first_order_ends_what_waits(store: Store) -> None:
    """D9, R39: the stop of the rule holds for its own runs."""
    async with open_shop(store, rules=[first_purchase(steps=[mail(days=1)])]) as shop:
        await shop.publish(shop.event(order="1"))
        (answer,) = await shop.publish(shop.event("order_cancelled", order="1"))
        assert answer.stopped_count == 1
        await shop.until("2026-03-05 00:00")
        assert shop.mails() == []


async def test_purchases_told_at_once_and_in_any_order(store: Store) -> None:
    """D9, d8: of two first purchases told in the wrong order one fires."""
    async with open_shop(store, rules=[first_purchase()], start="2026-03-03 09:00") as shop:
        await shop.publish(
            shop.event(order="2", at="2026-03-02 09:00"),
            shop.event(order="1", at="2026-03-01 09:00"),
        )
        await shop.until("2026-03-04 00:00")
        assert len(shop.mails()) == 1


async def test_a_preview_changes_nothing(store: Store) -> None:
    async with open_shop(store, rules=[first_purchase()]) as shop:
        await shop.engine.acceptor.accept(ACCOUNT, [shop.event()], validate_only=True)
        assert await purchases(shop) == 0
