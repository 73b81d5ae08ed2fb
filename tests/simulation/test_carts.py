"""Carts left behind: one timer for each, ended by an order, whichever is told first (D5, D6)."""

from __future__ import annotations

import pytest

from control.cel_frontend import ConditionFrontend
from core.bounds import HOUR_MS, MINUTE_MS
from core.model import Cart, Contact, Disposition, Family, Money, Purpose, Reason, State
from core.ports import Store
from core.registry.resources import ConsentMode, HistoryScope
from core.registry.rule_parts import OncePer, StopEvent, StopKey
from tests.support.automations import (
    ANA,
    BEN,
    BY_CART,
    BY_CONTACT,
    CART_STOPS,
    abandoned_cart,
    cart_event,
    mail,
    marketing,
    timer_count,
)
from tests.support.shop import ACCOUNT, open_shop

ONE = [mail()]
ENDS = pytest.mark.parametrize("ends", [BY_CART, BY_CONTACT])


async def test_two_mails_for_a_cart_left_behind(store: Store) -> None:
    """D5, D6: an hour after the last change, and a day later."""
    async with open_shop(store, rules=[abandoned_cart()]) as shop:
        (answer,) = await shop.publish(cart_event(shop, "e1"))
        assert answer.disposition == Disposition.NO_MATCH
        assert (await timer_count(shop), await shop.pending()) == (1, 0)
        await shop.until("2026-03-01 09:59")
        assert shop.mails() == []
        await shop.until("2026-04-01 00:00")
        assert shop.mails() == [("2026-03-01 10:00", ANA, False), ("2026-03-02 10:00", ANA, True)]


async def test_each_change_of_the_cart_starts_the_wait_again(store: Store) -> None:
    """D5: 40 minutes after 40 minutes; older changes told late move nothing."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        for n in range(4):
            shop_at = f"2026-03-01 {9 + n * 40 // 60:02}:{n * 40 % 60:02}"
            await shop.until(shop_at)
            await shop.publish(cart_event(shop, f"e{n}"))
            assert (await timer_count(shop), shop.mails()) == (1, [])
        await shop.publish(cart_event(shop, "late", at="2026-03-01 09:10"))
        await shop.until("2026-03-02 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 12:00"]


async def test_a_timer_that_moves_out_of_sight_does_not_fire_where_it_stood(store: Store) -> None:
    """R7: it was loaded already, and stands far ahead now."""
    async with open_shop(store, rules=[abandoned_cart(quiet_ms=5 * HOUR_MS, steps=ONE)]) as shop:
        await shop.publish(cart_event(shop, "e1"))
        for at in ("2026-03-01 13:20", "2026-03-01 13:30"):
            await shop.until(at)
        await shop.publish(cart_event(shop, "e2"))
        await shop.until("2026-03-01 14:30")
        assert (await timer_count(shop), await shop.pending()) == (1, 0)
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 18:30"]


async def test_a_repeated_change_changes_nothing(store: Store) -> None:
    """d8, pitfall: duplicate events; before the mail and after it."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE, once_per=OncePer.EVENT)]) as shop:
        event = cart_event(shop, "e1")
        for at in ("2026-03-01 09:30", "2026-03-01 10:00", "2026-03-05 00:00"):
            await shop.publish(event, event)
            await shop.until(at)
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 10:00"]


async def test_two_carts_are_two_runs(store: Store) -> None:
    """D5, R1: of one contact, each with its own time and its own end."""
    async with open_shop(store, rules=[abandoned_cart(ends=BY_CART)]) as shop:
        await shop.publish(cart_event(shop, "e1", "c1"))
        await shop.until("2026-03-01 09:30")
        await shop.publish(cart_event(shop, "e2", "c2"))
        assert await timer_count(shop) == 2
        await shop.until("2026-03-01 11:00")
        await shop.publish(shop.event(cart=Cart(id="c1")))
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == [
            "2026-03-01 10:00", "2026-03-01 10:30", "2026-03-02 10:30",
        ]  # fmt: skip
        assert (await shop.ends())[State.CANCELLED, Reason.PURCHASED] == 1


@ENDS
@pytest.mark.parametrize("kind", ["checkout", "order_created", "payment_received"])
async def test_an_order_just_before_the_mail_is_due(store: Store, ends: str, kind: str) -> None:
    """pitfall: cart mails after the purchase (D5): found by cart and by contact, to the second."""
    async with open_shop(store, rules=[abandoned_cart(ends=ends)]) as shop:
        await shop.publish(cart_event(shop, "e1"))
        await shop.until("2026-03-01 09:59:59")
        cart = Cart(id="c1") if ends == BY_CART else None
        await shop.publish(shop.event(kind, cart=cart))
        await shop.until("2026-03-09 00:00")
        assert (shop.mails(), await timer_count(shop)) == ([], 0)


@ENDS
async def test_an_order_between_the_mails_ends_the_second(store: Store, ends: str) -> None:
    """D6."""
    async with open_shop(store, rules=[abandoned_cart(ends=ends)]) as shop:
        await shop.publish(cart_event(shop, "e1"))
        await shop.until("2026-03-02 09:59:59")
        (answer,) = await shop.publish(shop.event(cart=Cart(id="c1")))
        assert answer.stopped_count == 1
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1
        assert (await shop.ends())[State.CANCELLED, Reason.PURCHASED] == 1


async def test_an_order_of_another_cart_or_contact_ends_nothing(store: Store) -> None:
    async with open_shop(store, rules=[abandoned_cart(ends=BY_CART, steps=ONE)]) as shop:
        await shop.publish(cart_event(shop, "e1"))
        await shop.publish(shop.event(order="1", cart=Cart(id="c2")), shop.event(order="2"))
        await shop.until("2026-03-02 00:00")
        assert len(shop.mails()) == 1
    async with open_shop(rules=[abandoned_cart(ends=BY_CONTACT, steps=ONE)]) as shop:
        await shop.publish(cart_event(shop, "e1"))
        await shop.publish(shop.event(order="1", email=BEN, cart=Cart(id="c1")))
        await shop.until("2026-03-02 00:00")
        assert len(shop.mails()) == 1


@pytest.mark.parametrize("at", ["2026-03-01 09:00", "2026-03-01 09:05"])
async def test_a_cart_told_after_its_order_is_not_mailed_about(store: Store, at: str) -> None:
    """pitfall: cart mails after the purchase (d8): the order is told first, though the cart changed
    before it, or in the very same instant."""
    async with open_shop(store, start="2026-03-01 09:10", rules=[abandoned_cart()]) as shop:
        await shop.publish(shop.event(at="2026-03-01 09:05"))
        await shop.publish(cart_event(shop, "e1", at=at))
        await shop.until("2026-03-09 00:00")
        assert (shop.mails(), await timer_count(shop)) == ([], 0)


async def test_a_cart_filled_after_an_order_is_mailed_about(store: Store) -> None:
    """D5, d8: an order of before has nothing to do with it, also if it is told late."""
    async with open_shop(
        store, start="2026-03-01 09:10", rules=[abandoned_cart(steps=ONE)]
    ) as shop:
        await shop.publish(cart_event(shop, "e1", at="2026-03-01 09:05"))
        await shop.publish(shop.event(at="2026-03-01 09:00"))
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 10:05"]


async def test_a_cart_told_after_an_order_that_was_refunded(store: Store) -> None:
    """R43: then nothing was bought."""
    async with open_shop(
        store, start="2026-03-01 09:10", rules=[abandoned_cart(steps=ONE)]
    ) as shop:
        await shop.publish(shop.event(at="2026-03-01 09:05"))
        await shop.publish(shop.event("refund"))
        await shop.publish(cart_event(shop, "e1", at="2026-03-01 09:01"))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


@pytest.mark.parametrize("scope", list(HistoryScope))
async def test_an_order_in_another_shop_told_first(store: Store, scope: HistoryScope) -> None:
    """R43: it counts where the channels share their history."""
    rules = [abandoned_cart(steps=ONE)]
    async with open_shop(store, start="2026-03-01 09:10", rules=rules, history_scope=scope) as shop:
        outlet = await shop.add_channel("outlet")
        await shop.publish(shop.event(at="2026-03-01 09:05", channel=outlet))
        await shop.publish(cart_event(shop, "e1", at="2026-03-01 09:01"))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == (scope is HistoryScope.CHANNEL)


async def test_a_cart_told_very_late_is_mailed_about_at_once_or_not_at_all(store: Store) -> None:
    """R30: less than 72 hours late is due now; more is LATE_EVENT."""
    async with open_shop(
        store, start="2026-03-10 09:00", rules=[abandoned_cart(steps=ONE)]
    ) as shop:
        await shop.publish(
            cart_event(shop, "e1", "c1", at="2026-03-07 08:30"),
            cart_event(shop, "e2", "c2", at="2026-03-07 07:30"),
        )
        await shop.until("2026-03-11 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-10 09:00"]
        assert (await shop.ends())[State.EXPIRED, Reason.LATE_EVENT] == 1


@pytest.mark.parametrize(
    ("once_per", "mails"), [(OncePer.CART, 1), (OncePer.EVENT, 2), (OncePer.CONTACT, 1)]
)
async def test_a_cart_left_again_after_the_mail(
    store: Store, once_per: OncePer, mails: int
) -> None:
    """R1: once per cart, per event or per contact, as the rule says."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE, once_per=once_per)]) as shop:
        await shop.publish(cart_event(shop, "e1"))
        await shop.until("2026-03-01 12:00")
        await shop.publish(cart_event(shop, "e2"))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == mails


async def test_a_change_restarts_a_run_too_where_the_rule_says_so(store: Store) -> None:
    """D5, R39: the change stops what waits of its cart, then the wait begins again."""
    stops = [StopEvent("cart_updated", StopKey.CART), *CART_STOPS]
    rule = abandoned_cart(stops=stops, steps=[mail(elapsed_ms=HOUR_MS)], once_per=OncePer.EVENT)
    async with open_shop(store, rules=[rule]) as shop:
        await shop.publish(cart_event(shop, "e1"))
        await shop.until("2026-03-01 10:30")
        assert await shop.pending() == 1
        await shop.publish(cart_event(shop, "e2"), cart_event(shop, "other", "c2"))
        assert (await shop.pending(), await timer_count(shop)) == (0, 2)
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 12:30"] * 2


async def test_without_a_cart_id_a_contact_has_one_cart(store: Store) -> None:
    async with open_shop(store, rules=[abandoned_cart(ends=BY_CONTACT, steps=ONE)]) as shop:
        await shop.publish(cart_event(shop, "e1", cart=""))
        await shop.until("2026-03-01 09:30")
        await shop.publish(cart_event(shop, "e2", cart=""))
        assert await timer_count(shop) == 1
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 10:30"]


async def test_a_condition_is_asked_when_the_cart_is_left(store: Store) -> None:
    """C1: on the last change, not on the one that set the timer."""
    condition = ConditionFrontend().compile("cart.amount > 50.0", Family.AUTOMATION)
    async with open_shop(store, rules=[abandoned_cart(steps=ONE, condition=condition)]) as shop:
        for id, cart, amounts in (("grows", "c1", (10, 60)), ("shrinks", "c2", (60, 10))):
            for n, amount in enumerate(amounts):
                full = Cart(id=cart, total=Money("EUR", amount))
                at = f"2026-03-01 09:0{n}"
                await shop.until(at)
                await shop.publish(cart_event(shop, f"{id}{n}", full))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


async def test_consent_given_with_the_cart_counts_when_it_is_left(store: Store) -> None:
    """D5, R17: marketing needs a consent; a later no keeps it quiet."""
    rule = abandoned_cart(steps=ONE, purpose=Purpose.MARKETING)
    async with open_shop(store, rules=[rule]) as shop:
        await shop.publish(
            cart_event(shop, "e1", "c1", consents=marketing(shop)),
            cart_event(shop, "e2", "c2", email=BEN),
        )
        await shop.until("2026-03-09 00:00")
        assert [to for _, to, _ in shop.mails()] == [ANA]
        assert (await shop.ends())[State.SKIPPED, Reason.NO_CONSENT] == 1
    async with open_shop(rules=[rule], consent_mode=ConsentMode.SHOP_ATTESTS) as shop:
        await shop.publish(cart_event(shop, "e1"))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


async def test_a_restart_keeps_carts(store: Store) -> None:
    """A4, D5: near, and once far."""
    rule = abandoned_cart(quiet_ms=5 * HOUR_MS + MINUTE_MS, steps=ONE)
    async with open_shop(store, rules=[rule]) as shop:
        await shop.publish(cart_event(shop, "e1"))
        await shop.restart()
        await shop.until("2026-03-01 14:00")
        await shop.restart()
        await shop.until("2026-03-01 14:01")
        assert len(shop.mails()) == 1


async def test_stopped_and_started_again_old_carts_stay_quiet(store: Store) -> None:
    """D17, D20: and the same cart, changed again, is taken up anew."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        await shop.publish(cart_event(shop, "e1", "c1"), cart_event(shop, "e2", "c2"))
        await shop.registry.stop_rule(ACCOUNT, "cart", "madrid", "test")
        await shop.registry.resume_rule(ACCOUNT, "cart", "madrid", "test")
        await shop.until("2026-03-01 09:30")
        await shop.publish(cart_event(shop, "e3", "c2"))
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 10:30"]


async def test_a_cart_by_phone_reaches_nobody_by_mail(store: Store) -> None:
    """R46: NO_RECIPIENT, not UNIDENTIFIED: who it is is known."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        await shop.publish(cart_event(shop, "e1", contact=Contact(phone="+34600000001")))
        await shop.until("2026-03-09 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.NO_RECIPIENT): 1}


async def test_many_carts_at_the_same_instant(store: Store) -> None:
    """More timers of one contact than are kept (64): the one first set goes first; many contacts."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        await shop.publish(*(cart_event(shop, f"e{n}", f"c{n}") for n in range(66)))
        await shop.publish(
            *(cart_event(shop, f"o{n}", f"o{n}", email=f"c{n}@shop.example") for n in range(300))
        )
        assert await timer_count(shop) == 364
        await shop.until("2026-03-01 10:00")
        assert len(shop.mails()) == 364
        assert {at for at, *_ in shop.mails()} == {"2026-03-01 10:00"}
