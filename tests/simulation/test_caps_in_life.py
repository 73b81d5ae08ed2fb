"""Caps in a shop's life: who goes first, who waits until when, what is left out; on both stores."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.bounds import DAY_MS, HOUR_MS, MINUTE_MS
from core.model import Event, Evidence, Item, Medium, Order, Purpose, Reason, State
from core.ports import Store
from core.registry.resources import Cap, CapScope, CapSteps, CapUnit, DeferTo, Rule
from core.registry.rule_parts import Action, OnCap, Step, Wait
from core.sending import Delivery
from tests.support.rules import COMBINED, follow_up, free_rule, product_rule, step
from tests.support.shop import ACCOUNT, MADRID, Shop, ms, one_in_14_days, open_shop, review_rule

SENT = (State.SENT, Reason.NONE)
CAPPED = (State.SKIPPED, Reason.CAPPED)
REPLACED = (State.SKIPPED, Reason.REPLACED)
ALREADY_ASKED = (State.SKIPPED, Reason.PRODUCT_ALREADY_ASKED)
TEN_IN_MADRID = 10 * HOUR_MS


def cap(**fields: Any) -> Cap:
    """Return a cap of one transactional message a day, which defers."""
    values: dict[str, Any] = {
        "id": "daily", "scope": CapScope.ACCOUNT, "limit": 1, "window_ms": DAY_MS,
        "purposes": [Purpose.TRANSACTIONAL], "on_cap": OnCap.DEFER,
    }  # fmt: skip
    return Cap(account=ACCOUNT, **{**values, **fields})


def product_cap(**fields: Any) -> Cap:
    """Return a cap by which no product is asked about twice in 60 days."""
    values: dict[str, Any] = {
        "id": "products", "scope": CapScope.PRODUCT, "limit": 1, "window_ms": 60 * DAY_MS,
        "unit": CapUnit.ORDER,
    }  # fmt: skip
    return Cap(account=ACCOUNT, **{**values, **fields})


def rule(id: str, **fields: Any) -> Rule:
    """Return a rule that sends at once after checkout."""
    return free_rule(id, **fields)


def with_caps(said: Step, **fields: Any) -> Step:
    return msgspec.structs.replace(said, **fields)


def order(shop: Shop, reference: str, *skus: str) -> Event:
    """Return a checkout of these products."""
    event = shop.event(order=reference)
    event.order = Order(reference=reference, items=[Item(sku=sku) for sku in skus])
    return event


def products_asked(shop: Shop) -> list[tuple[int, list[str]]]:
    """Return (kinds, SKUs) of each message that went out."""
    return [
        (
            letter.kinds,
            [item.sku for item in letter.event.order.items] if letter.event.order else [],
        )
        for letter in shop.post.letters
    ]


async def rules_sent(shop: Shop, order: str = "1") -> dict[str, str]:
    """Return how the invitations of an order ended, by rule."""
    views = await shop.engine.reader.by_order(ACCOUNT, MADRID, order)
    return {
        view.detail.rule: Reason(view.reference.reason).name
        if view.reference.state == State.SKIPPED
        else State(view.reference.state).name
        for view in views
    }


# --- who goes first, and until when the others wait (R26, R27) -----------------------------------


async def test_the_higher_priority_takes_the_slot_at_the_same_instant(store: Store) -> None:
    """R26, A31, B43: by priority, whatever the order in which they were planned."""
    rules = [rule("low"), rule("high", priority=90), rule("middle", priority=50)]
    async with open_shop(store, rules=rules, caps=[cap()]) as shop:
        await shop.publish(shop.event())
        start_ms = shop.clock.now_ms()
        await shop.until("2026-03-03 12:00")
        views = await shop.engine.reader.by_order(ACCOUNT, MADRID, "1")
        times = {view.detail.rule: view.reference.settle_ms - start_ms for view in views}
        assert times == {"high": 0, "middle": DAY_MS, "low": 2 * DAY_MS}


async def test_a_deferral_is_exact_and_uses_up_no_attempt(store: Store) -> None:
    """R27, d4: to the millisecond at which the window frees; a deferral is no attempt."""
    async with open_shop(store, rule=rule("a"), caps=[cap()]) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.engine.advance_to(shop.clock.now_ms())
        shop.clock.move_to_ms(shop.clock.now_ms() + 12_345)
        await shop.publish(shop.event(order="2"))
        await shop.until("2026-03-02 08:59")
        (waiting,) = await shop.engine.reader.by_order(ACCOUNT, MADRID, "2")
        assert waiting.reference.attempts == 0
        await shop.until("2026-03-02 09:01")
        first, second = [at for at, *_ in shop.post.sent]
        assert second == first + DAY_MS
        (sent,) = await shop.engine.reader.by_order(ACCOUNT, MADRID, "2")
        assert sent.reference.attempts == 1


async def test_what_finds_no_slot_before_it_expires_ends_at_once(store: Store) -> None:
    """R30: EXPIRED (NO_SLOT) when computed, not when the time has passed."""
    late = rule("a", expire_after_ms=HOUR_MS)
    async with open_shop(store, rule=late, caps=[cap()]) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2"))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await shop.ends() == {SENT: 1, (State.EXPIRED, Reason.NO_SLOT): 1}


async def test_a_limit_of_zero_blocks(store: Store) -> None:
    """R24, pitfall:cap-of-zero."""
    async with open_shop(store, rule=rule("a"), caps=[cap(limit=0)]) as shop:
        await shop.publish(shop.event())
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await shop.ends() == {CAPPED: 1}


async def test_a_cap_may_defer_to_the_next_time_of_day(store: Store) -> None:
    """R27: freed at 09:07, the second goes at 10:00 of the same day in its own zone, the third a day
    after the second and not a day later still."""
    at_ten = rule("a", steps=[step(days=0, time_of_day_ms=TEN_IN_MADRID)])
    limit = cap(window_ms=DAY_MS - 53 * MINUTE_MS, defer_to=DeferTo.NEXT_TIME_OF_DAY)
    async with open_shop(store, rule=at_ten, caps=[limit], start="2026-03-02 06:00") as shop:
        await shop.publish(*(shop.event(order=str(n)) for n in range(3)))
        await shop.until("2026-03-08 00:00")
        # 10:00 in Madrid is 09:00 UTC in winter.
        assert [at for at, *_ in shop.mails()] == [
            "2026-03-02 09:00", "2026-03-03 09:00", "2026-03-04 09:00",
        ]  # fmt: skip


async def test_by_default_it_defers_to_the_moment_itself(store: Store) -> None:
    at_ten = rule("a", steps=[step(days=0, time_of_day_ms=TEN_IN_MADRID)])
    limit = cap(window_ms=DAY_MS - 53 * MINUTE_MS)
    async with open_shop(store, rule=at_ten, caps=[limit], start="2026-03-02 06:00") as shop:
        await shop.publish(*(shop.event(order=str(n)) for n in range(2)))
        await shop.until("2026-03-08 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-02 09:00", "2026-03-03 08:07"]


async def test_the_time_of_day_comes_with_its_span(store: Store) -> None:
    """R27, R35: at the place in the span that the message has anyway."""
    hour = Wait(days=0, time_of_day_ms=TEN_IN_MADRID, span_ms=HOUR_MS)
    spread = rule("a", steps=[Step(id="only", wait=hour, actions=[Action(medium=Medium.EMAIL)])])
    limit = cap(window_ms=5 * HOUR_MS, defer_to=DeferTo.NEXT_TIME_OF_DAY)
    async with open_shop(store, rule=spread, caps=[limit], start="2026-03-02 06:00") as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2"))
        planned = [
            view.reference.due_ms
            for n in ("1", "2")
            for view in await shop.engine.reader.by_order(ACCOUNT, MADRID, n)
        ]
        await shop.until("2026-03-08 00:00")
        first, second = sorted(planned)
        assert [at for at, *_ in shop.post.sent] == [first, second + DAY_MS]


# --- what a step says (R24, R28) -------------------------------------------------------------------


async def test_a_step_may_be_exempt_and_still_count(store: Store) -> None:
    """R24: "ignore the cap but still count"."""
    rules = [
        rule("exempt", steps=[with_caps(step(), exempt_from_caps=["daily"])]),
        rule("usual", steps=[with_caps(step(elapsed_ms=HOUR_MS), on_cap=OnCap.SKIP)]),
    ]
    async with open_shop(store, rules=rules, caps=[cap()]) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2"))
        await shop.until("2026-03-05 00:00")
        assert await shop.ends() == {SENT: 2, CAPPED: 2}
        assert await rules_sent(shop, "2") == {"exempt": "SENT", "usual": "CAPPED"}


async def test_a_step_may_be_held_back_without_counting(store: Store) -> None:
    rules = [
        rule("quiet", steps=[with_caps(step(), not_counted_by_caps=["daily"])], priority=9),
        rule("usual", steps=[with_caps(step(elapsed_ms=HOUR_MS), on_cap=OnCap.SKIP)]),
        rule("later", steps=[
            with_caps(step(elapsed_ms=2 * HOUR_MS), not_counted_by_caps=["daily"],
                      on_cap=OnCap.SKIP),
        ]),
    ]  # fmt: skip
    async with open_shop(store, rules=rules, caps=[cap()]) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-05 00:00")
        assert await rules_sent(shop) == {"quiet": "SENT", "usual": "SENT", "later": "CAPPED"}


async def test_what_a_step_says_goes_over_the_cap_and_that_over_the_purpose(store: Store) -> None:
    """R28: marketing skips by itself, the cap makes it wait, its step makes it skip."""
    consents = [Evidence(Purpose.MARKETING, Medium.EMAIL, True, ms("2026-03-01 09:00"))]
    steps = {"usual": step(), "told": with_caps(step(elapsed_ms=1_000), on_cap=OnCap.SKIP)}
    rules = [rule(id, purpose=Purpose.MARKETING, steps=[said]) for id, said in steps.items()] + [
        rule("first", purpose=Purpose.MARKETING, priority=9)
    ]
    marketing = cap(purposes=[Purpose.MARKETING], on_cap=OnCap.DEFER)
    async with open_shop(store, rules=rules, caps=[marketing]) as shop:
        await shop.publish(shop.event(consents=consents))
        await shop.until("2026-03-05 00:00")
        assert await rules_sent(shop) == {"first": "SENT", "usual": "SENT", "told": "CAPPED"}


async def test_what_a_step_says_holds_for_what_waits(store: Store) -> None:
    """R40: as caps do, at once."""
    async with open_shop(store, rules=[rule("a"), rule("b", priority=9)], caps=[cap()]) as shop:
        await shop.publish(shop.event())
        await shop.engine.advance_to(shop.clock.now_ms())
        found = shop.registry.snapshot.rule(ACCOUNT, "a")
        assert found is not None
        steps = [with_caps(found.steps[0], exempt_from_caps=["daily"])]
        await shop.registry.update_rule(msgspec.structs.replace(found, steps=steps))
        shop.clock.move_to_ms(shop.clock.now_ms() + HOUR_MS)
        await shop.publish(shop.event(order="2"))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert (await rules_sent(shop, "2"))["a"] == "SENT"


# --- replace (R28) ---------------------------------------------------------------------------------


async def test_of_all_that_waits_for_a_replacing_cap_the_best_stays(store: Store) -> None:
    """R28: by priority, then the newest; the others end SKIPPED (REPLACED)."""
    rules = [rule("low"), rule("high", priority=9, event_type="delivery")]
    limit = cap(on_cap=OnCap.REPLACE)
    async with open_shop(store, rules=rules, caps=[limit]) as shop:
        for n in range(4):
            await shop.publish(shop.event(order=str(n)))
            await shop.engine.advance_to(shop.clock.now_ms())
            shop.clock.move_to_ms(shop.clock.now_ms() + MINUTE_MS)
        assert await shop.ends() == {SENT: 1, REPLACED: 2}
        await shop.publish(shop.event("delivery", order="4"))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await shop.ends() == {SENT: 1, REPLACED: 3}
        await shop.until("2026-03-03 00:00")
        views = [
            view
            for n in range(5)
            for view in await shop.engine.reader.by_order(ACCOUNT, MADRID, str(n))
        ]
        sent = {v.detail.order_reference for v in views if v.reference.state == State.SENT}
        assert sent == {"0", "4"}


# --- products (R28) --------------------------------------------------------------------------------


async def test_a_product_is_not_asked_about_twice(store: Store) -> None:
    """R28: what was asked about is left out; when nothing is left, PRODUCT_ALREADY_ASKED."""
    async with open_shop(store, rule=product_rule(), caps=[product_cap()]) as shop:
        await shop.publish(order(shop, "1", "mug", "pan"))
        await shop.until("2026-03-20 00:00")
        await shop.publish(order(shop, "2", "pan", "lamp"), order(shop, "3", "mug"))
        await shop.until("2026-04-10 00:00")
        assert products_asked(shop) == [(2, ["mug", "pan"]), (2, ["lamp"])]
        assert await shop.ends() == {SENT: 2, ALREADY_ASKED: 1}


async def test_after_its_window_a_product_is_asked_about_again(store: Store) -> None:
    async with open_shop(store, rule=product_rule(), caps=[product_cap(window_ms=DAY_MS)]) as shop:
        await shop.publish(order(shop, "1", "mug"))
        await shop.until("2026-03-20 00:00")
        await shop.publish(order(shop, "2", "mug"))
        await shop.until("2026-04-10 00:00")
        assert products_asked(shop) == [(2, ["mug"]), (2, ["mug"])]


async def test_two_orders_due_at_once_do_not_ask_about_the_same(store: Store) -> None:
    """R28, B43: the gate sends the second back to be judged anew, in the same round."""
    async with open_shop(store, rule=product_rule(), caps=[product_cap()]) as shop:
        await shop.publish(order(shop, "1", "mug", "pan"), order(shop, "2", "pan", "lamp"))
        await shop.until("2026-04-10 00:00")
        asked = [skus for _, skus in products_asked(shop)]
        assert sorted(sku for skus in asked for sku in skus) == ["lamp", "mug", "pan"]
        assert await shop.ends() == {SENT: 2}


async def test_a_combined_request_without_products_left_asks_about_the_service(
    store: Store,
) -> None:
    """R28, B31: and counts as one."""
    rules = [
        review_rule(steps=[step(days=7, time_of_day_ms=TEN_IN_MADRID)]),
        product_rule(review=COMBINED),
    ]
    async with open_shop(store, rules=rules, caps=[product_cap()]) as shop:
        await shop.publish(order(shop, "1", "mug"))
        await shop.until("2026-03-20 00:00")
        await shop.publish(order(shop, "2", "mug"))
        await shop.until("2026-04-10 00:00")
        assert [kinds for kinds, _ in products_asked(shop)] == [3, 1]
        assert await shop.ends() == {SENT: 2}


async def test_a_reminder_repeats_what_its_request_asked(store: Store) -> None:
    """R23, R28: the same order stands in nobody's way, and what was left out stays so."""
    rules = [
        product_rule(steps=[step("invite", days=12, time_of_day_ms=TEN_IN_MADRID), follow_up()])
    ]
    async with open_shop(store, rules=rules, caps=[product_cap(window_ms=14 * DAY_MS)]) as shop:
        await shop.publish(order(shop, "1", "mug"))
        await shop.until("2026-03-11 00:00")
        await shop.publish(order(shop, "2", "mug", "pan"))
        await shop.until("2026-04-20 00:00")
        # The mug is free again when order 2 is reminded, on 27 March: still left out.
        assert [skus for _, skus in products_asked(shop)] == [["mug"], ["mug"], ["pan"], ["pan"]]


async def test_a_product_counts_only_if_it_was_asked_about(store: Store) -> None:
    """R25: a request that certainly did not go leaves its products free."""
    async with open_shop(store, rule=product_rule(), caps=[product_cap()]) as shop:
        failed = Delivery(Delivery.Kind.FAILED, "no", 0, False)
        shop.post.answers["ana@shop.example"] = [failed]
        await shop.publish(order(shop, "1", "mug"))
        await shop.until("2026-03-20 00:00")
        await shop.publish(order(shop, "2", "mug"))
        await shop.until("2026-04-10 00:00")
        assert products_asked(shop) == [(2, ["mug"])]


async def test_a_product_cap_leaves_other_messages_alone(store: Store) -> None:
    async with open_shop(store, rules=[rule("paid"), review_rule()], caps=[product_cap()]) as shop:
        await shop.publish(order(shop, "1", "mug"), order(shop, "2", "mug"))
        await shop.until("2026-04-10 00:00")
        assert await shop.ends() == {SENT: 6}


async def test_an_exempt_step_asks_again_and_counts(store: Store) -> None:
    steps = [with_caps(step(days=1), exempt_from_caps=["products"])]
    async with open_shop(store, rule=product_rule(steps=steps), caps=[product_cap()]) as shop:
        await shop.publish(order(shop, "1", "mug"), order(shop, "2", "mug"))
        await shop.until("2026-04-10 00:00")
        assert [skus for _, skus in products_asked(shop)] == [["mug"], ["mug"]]


# --- one unit (R23) --------------------------------------------------------------------------------


async def test_a_combined_request_and_its_reminder_are_one_unit(store: Store) -> None:
    """R23, B31, d4: service, product and reminder of one order count once; the next order waits."""
    rules = [review_rule(), product_rule(review=COMBINED)]
    caps = [one_in_14_days(steps=CapSteps.ALL)]
    async with open_shop(store, rules=rules, caps=caps) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2"))
        await shop.until("2026-05-01 00:00")
        assert [at for at, *_ in shop.mails()] == [
            "2026-03-08 09:00", "2026-03-13 09:00", "2026-03-22 09:00", "2026-03-27 09:00",
        ]  # fmt: skip


@pytest.mark.parametrize("scope", [CapScope.CHANNEL, CapScope.RULE, CapScope.MEDIUM])
async def test_a_scope_counts_each_for_itself(store: Store, scope: CapScope) -> None:
    """A30, A32, R24: another channel, rule or medium has room of its own."""
    other = {
        CapScope.CHANNEL: [rule("a")],
        CapScope.RULE: [rule("a"), rule("b")],
        CapScope.MEDIUM: [rule("a", steps=[step("only", Medium.EMAIL, Medium.SMS)])],
    }[scope]
    media = (Medium.EMAIL, Medium.SMS)
    async with open_shop(store, rules=other, caps=[cap(scope=scope)], media=media) as shop:
        contact = msgspec.structs.replace(shop.event().contact, phone="+34600000001")
        await shop.publish(shop.event(contact=contact))
        if scope is CapScope.CHANNEL:
            there = await shop.add_channel("lyon", "a")
            await shop.publish(shop.event(order="9", channel=there, contact=contact))
        await shop.publish(shop.event(order="2", contact=contact))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert (await shop.ends())[SENT] == 2
        assert await shop.pending() == (1 if scope is CapScope.CHANNEL else 2)
