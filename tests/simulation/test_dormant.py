"""Customers who stay away: a timer that each purchase moves, and two mails (D13, D16, D17, R7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.bounds import HOUR_MS
from core.errors import StoreUnavailable
from core.model import Contact, Reason, State
from core.ports import Store
from core.registry.rule_parts import DormantTrigger, Wait
from tests.simulation.test_rows import switch_type
from tests.support.automations import (
    ANA,
    BEN,
    after_the_first,
    automation,
    frequent_buyer,
    mail,
    timer_count,
    win_back,
)
from tests.support.shop import ACCOUNT, Shop, open_shop

FIRST, SECOND = ("2026-04-30 09:00", ANA, False), ("2026-05-10 09:00", ANA, True)
"""60 days after the purchase of 1 March, and 10 days later."""


async def test_two_mails_after_a_time_without_purchases(store: Store) -> None:
    """D13: one after 60 days, one 10 days later, and no more for as long as nothing is bought."""
    async with open_shop(store, rules=[win_back()]) as shop:
        await shop.publish(shop.event())
        assert (await timer_count(shop), await shop.pending()) == (1, 0)
        await shop.until("2026-04-30 08:59")
        assert shop.mails() == []
        await shop.until("2027-12-31 00:00")
        assert shop.mails() == [FIRST, SECOND]
        assert await timer_count(shop) == 0


async def test_each_purchase_moves_the_timer_and_adds_none(store: Store) -> None:
    """D13, d9, R7: moving costs no new entry in the index, and is no invitation."""
    async with open_shop(store, rules=[win_back()]) as shop:
        for n in range(10):
            await shop.until(f"2026-03-{2 * n + 1:02} 09:00")
            await shop.publish(shop.event(order=str(n)))
            assert await timer_count(shop) == 1
        await shop.until("2026-05-18 08:59")
        assert shop.mails() == []
        await shop.until("2026-06-30 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-05-18 09:00", "2026-05-28 09:00"]
        assert await shop.ends() == {(State.SENT, 0): 2}


async def test_the_timer_moves_without_any_stops_too(store: Store) -> None:
    """D13: by the trigger alone."""
    async with open_shop(store, rules=[win_back(stops=[], steps=[mail()])]) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-03-21 09:00")
        await shop.publish(shop.event(order="2"))
        assert await timer_count(shop) == 1
        await shop.until("2026-12-31 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-05-20 09:00"]


async def test_a_purchase_between_the_mails_stops_the_second_and_sets_it_anew(store: Store) -> None:
    """D13: CANCELLED(PURCHASED); 60 days later the customer is asked again."""
    async with open_shop(store, rules=[win_back()]) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-05-05 09:00")
        assert shop.mails() == [FIRST]
        (answer,) = await shop.publish(shop.event(order="2"))
        assert answer.stopped_count == 1
        await shop.until("2026-07-04 08:59")
        assert shop.mails() == [FIRST]
        await shop.until("2026-07-04 09:00")
        assert len(shop.mails()) == 2
        assert (await shop.ends())[State.CANCELLED, Reason.PURCHASED] == 1


async def test_a_purchase_just_before_it_runs_out(store: Store) -> None:
    """D13: a second before is in time."""
    async with open_shop(store, rules=[win_back()]) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-04-30 08:59:59")
        await shop.publish(shop.event(order="2"))
        await shop.until("2026-05-15 00:00")
        assert shop.mails() == []


async def test_a_purchase_told_late_moves_nothing_back(store: Store) -> None:
    """d8, D13: the newest purchase counts, in whichever order they are told."""
    async with open_shop(store, start="2026-03-25 09:00", rules=[win_back()]) as shop:
        await shop.publish(shop.event(order="2", at="2026-03-21 09:00"))
        await shop.publish(shop.event(order="1", at="2026-03-01 09:00"))
        assert await timer_count(shop) == 1
        await shop.until("2026-12-31 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-05-20 09:00", "2026-05-30 09:00"]


async def test_a_late_payment_of_the_same_order_moves_it_too(store: Store) -> None:
    """D13, R43: whatever tells of a purchase is a sign of life; it counts once all the same."""
    async with open_shop(store, rules=[win_back(), frequent_buyer(2)]) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-03-03 09:00")
        await shop.publish(shop.event("payment_received", order="1"))
        await shop.until("2026-05-02 09:00")
        assert [at for at, *_ in shop.mails()] == ["2026-05-02 09:00"]


async def test_a_wait_in_calendar_days_goes_by_the_contacts_clock(store: Store) -> None:
    """D13, d1: 30 days later at 10:00 on the customer's clock, which has changed meanwhile."""
    rule = win_back(dormant=DormantTrigger(Wait(days=30, time_of_day_ms=10 * HOUR_MS)))
    async with open_shop(store, rules=[rule]) as shop:
        await shop.publish(
            shop.event(order="1"),
            shop.event(order="2", contact=Contact(email=BEN, time_zone="America/New_York")),
        )
        await shop.until("2026-04-02 00:00")
        assert shop.mails() == [("2026-03-31 08:00", ANA, False), ("2026-03-31 14:00", BEN, False)]


async def test_staying_away_may_be_of_another_type_of_event(store: Store) -> None:
    """D13: no visit for a time; purchases do not count then."""
    rule = automation("visit", dormant=DormantTrigger(Wait(days=7), "store_visit"))
    async with open_shop(store, rules=[rule]) as shop:
        await shop.publish(shop.event(order="1"))
        assert await timer_count(shop) == 0
        await shop.publish(shop.event("store_visit", order="v1"))
        await shop.until("2026-03-05 09:00")
        await shop.publish(shop.event(order="2"), shop.event("store_visit", order="v2"))
        await shop.until("2026-12-31 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-12 09:00"]


async def test_each_channel_has_a_timer_of_its_own(store: Store) -> None:
    """R43: who buys in the outlet is still away from the shop."""
    async with open_shop(store, rules=[win_back(steps=[mail()])]) as shop:
        outlet = await shop.add_channel("outlet", "dormant")
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-03-11 09:00")
        await shop.publish(shop.event(order="2", channel=outlet))
        assert await timer_count(shop) == 2
        await shop.until("2026-12-31 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-04-30 09:00", "2026-05-10 09:00"]


async def test_a_restart_keeps_timers(store: Store) -> None:
    """D13, A4: near and far; and one that ran out while nobody was there fires at once."""
    async with open_shop(store, rules=[win_back()]) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.restart()
        await shop.until("2026-04-30 08:30")
        await shop.restart()
        await shop.until("2026-04-30 09:00")
        assert shop.mails() == [FIRST]
        await shop.publish(shop.event(order="2", email=BEN))
        await shop.engine.stop()
        shop.clock.move_to_ms(shop.clock.now_ms() + 61 * 24 * HOUR_MS)
        await shop.restart()
        await shop.until("2026-07-01 00:00")
        assert [to for _, to, _ in shop.mails()] == [ANA, BEN]
        assert (await shop.ends())[State.EXPIRED, Reason.TOO_LATE] == 1, (
            "Ana's second, 7 weeks late"
        )


@pytest.mark.parametrize("is_done", [True, False])
async def test_a_lost_reply_starts_no_second_run(store: Store, is_done: bool) -> None:
    """R7, d8: whether the store had done it or not when it went away."""
    async with open_shop(store, rules=[win_back(steps=[mail()])]) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2", email=BEN))
        commit, failures = store.commit, iter(range(3))

        async def unreachable(*arguments: Any) -> Any:
            if is_done:
                await commit(*arguments)
            if next(failures, None) is not None:
                raise StoreUnavailable("gone for a moment")
            return await commit(*arguments)

        store.commit = unreachable  # type: ignore[method-assign]
        await shop.until("2026-04-30 12:00")
        store.commit = commit  # type: ignore[method-assign]
        await shop.until("2026-12-31 00:00")
        assert sorted(to for _, to, _ in shop.mails()) == [ANA, BEN]
        assert (await timer_count(shop), shop.engine.stats.round_errors) == (0, 0)


# --- verbs (D16, D17, D20) ----------------------------------------------------------------------------


Verb = Callable[[Shop], Awaitable[object]]


async def _pause(shop: Shop) -> None:
    await shop.registry.pause_rule(ACCOUNT, "dormant", "madrid", "test")


async def _stop(shop: Shop) -> None:
    await shop.registry.stop_rule(ACCOUNT, "dormant", "madrid", "test")


async def _freeze(shop: Shop) -> None:
    await shop.registry.freeze_rule(ACCOUNT, "dormant", "madrid", "test")


async def _off(shop: Shop) -> None:
    await shop.registry.deactivate(ACCOUNT, "dormant", "madrid", "test")


async def _delete(shop: Shop) -> None:
    await _off(shop)
    await shop.registry.delete_rule(ACCOUNT, "dormant")


@pytest.mark.parametrize("verb", [_pause, _stop, _freeze, _off, _delete])
async def test_no_run_starts_while_the_rule_is_not_active(store: Store, verb: Verb) -> None:
    """D16, D17, D19, R7, R14: a timer is no run; what runs out meanwhile starts none, later either."""
    async with open_shop(store, rules=[win_back()]) as shop:
        await shop.publish(shop.event())
        await verb(shop)
        await shop.until("2026-05-30 00:00")
        assert (shop.mails(), await shop.ends(), await timer_count(shop)) == ([], {}, 0)


async def test_pause_lets_a_run_go_on_and_takes_no_new_one(store: Store) -> None:
    """D16: the second mail goes although the rule was paused after the first."""
    async with open_shop(store, rules=[win_back()]) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-05-01 00:00")
        await _pause(shop)
        await shop.publish(shop.event(order="9", email=BEN))
        await shop.until("2026-12-31 00:00")
        assert shop.mails() == [FIRST, SECOND]


async def test_resumed_in_time_a_pause_has_changed_nothing(store: Store) -> None:
    """D16, D20."""
    async with open_shop(store, rules=[win_back()]) as shop:
        await shop.publish(shop.event())
        await _pause(shop)
        await shop.until("2026-04-01 00:00")
        await shop.registry.resume_rule(ACCOUNT, "dormant", "madrid", "test")
        await shop.until("2026-12-31 00:00")
        assert shop.mails() == [FIRST, SECOND]


@pytest.mark.parametrize("is_stopping", [True, False])
async def test_who_bought_during_a_pause_is_not_won_back(store: Store, is_stopping: bool) -> None:
    """D13, D16: the timer did not move while the rule was paused, but the purchase is known."""
    rule = win_back() if is_stopping else win_back(stops=[])
    async with open_shop(store, rules=[rule]) as shop:
        await shop.publish(shop.event(order="1"))
        await _pause(shop)
        await shop.until("2026-04-20 00:00")
        await shop.publish(shop.event(order="2"))
        await shop.registry.resume_rule(ACCOUNT, "dormant", "madrid", "test")
        await shop.until("2026-06-18 00:00")
        assert shop.mails() == []


async def test_resume_after_a_stop_revives_no_timer_and_takes_new_ones(store: Store) -> None:
    """D17, D20: what was stopped stays so; what is bought from now on counts."""
    async with open_shop(store, rules=[win_back(steps=[mail(), after_the_first(10)])]) as shop:
        await shop.publish(shop.event(order="1"))
        await _stop(shop)
        await shop.until("2026-03-15 09:00")
        await shop.registry.resume_rule(ACCOUNT, "dormant", "madrid", "test")
        await shop.publish(shop.event(order="2", email=BEN))
        await shop.until("2026-12-31 00:00")
        assert [(at, to) for at, to, _ in shop.mails()] == [
            ("2026-05-14 09:00", BEN), ("2026-05-24 09:00", BEN),
        ]  # fmt: skip


async def test_a_type_switched_off_starts_no_run(store: Store) -> None:
    """A11, R15: for a rule on events of a type."""
    rule = automation("visit", dormant=DormantTrigger(Wait(days=7), "store_visit"))
    async with open_shop(store, rules=[rule]) as shop:
        await shop.publish(shop.event("store_visit", order="v1"))
        await switch_type(shop, "store_visit", False)
        await shop.until("2026-12-31 00:00")
        assert (shop.mails(), await shop.ends(), await timer_count(shop)) == ([], {}, 0)


async def test_what_was_bought_before_the_activation_sets_no_timer(store: Store) -> None:
    """D15: no sweep over old customers."""
    async with open_shop(store, rules=[win_back()]) as shop:
        await _off(shop)
        event = shop.event()
        await shop.publish(event)
        await shop.registry.activate(ACCOUNT, "dormant", "madrid", "test")
        await shop.publish(event)
        assert await timer_count(shop) == 0
