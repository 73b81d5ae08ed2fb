"""What is asked once more when a message is due: conditions, features, addresses; on both stores."""

from __future__ import annotations

from typing import Any

import pytest

from core.model import Contact, Family, Medium, Money, Order, Purpose, Reason, State
from core.ports import Store
from core.registry.resources import Account
from core.registry.rule_parts import Step
from tests.support.rules import (
    change_channel,
    change_rule,
    condition,
    consents,
    follow_up,
    free_rule,
    step,
)
from tests.support.shop import ACCOUNT, Shop, open_shop, review_rule

ANA = "ana@shop.example"
CONDITION_FALSE = {(State.SKIPPED, Reason.CONDITION_FALSE): 1}


def with_condition(step: Step, source: str) -> Step:
    step.condition = condition(source)
    return step


def updated(shop: Shop, **order: Any) -> Any:
    event = shop.event("order_updated", id=str(order))
    event.order = Order("1", **order)
    return event


@pytest.mark.parametrize(("told", "count"), [("shipped", 2), ("lost", 1), ("", 1)])
async def test_a_step_has_a_condition_of_its_own(store: Store, told: str, count: int) -> None:
    """C3, D6, R42: looked at when the step is due, on what is known by then; missing is false."""
    steps = [
        step("first", elapsed_ms=0),
        with_condition(follow_up("second"), "order.status == 'shipped'"),
    ]
    async with open_shop(store, rule=free_rule("news", steps=steps)) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-02 00:00")
        if told:
            await shop.publish(updated(shop, status=told))
        await shop.until("2026-03-30 00:00")
        assert len(shop.mails()) == count
        assert (await shop.ends()).get((State.SKIPPED, Reason.CONDITION_FALSE), 0) == 2 - count


async def test_a_step_condition_is_asked_even_if_nothing_became_known(store: Store) -> None:
    """R42: the rule's own passed already; the step's has never been asked."""
    steps = [with_condition(step(days=1), "order.amount > 100.0 && order.currency == 'EUR'")]
    async with open_shop(store, rule=free_rule("news", steps=steps)) as shop:
        (answer,) = await shop.publish(shop.event())
        assert len(answer.members) == 1, "planned: asked when it is due"
        await shop.until("2026-03-03 00:00")
        assert await shop.ends() == CONDITION_FALSE


async def test_a_value_that_changes_back_is_what_it_was(store: Store) -> None:
    """C3, C6, C12."""
    rule = review_rule(condition=condition("order.status != 'on-hold'"))
    async with open_shop(store, rule=rule) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-03 00:00")
        await shop.publish(updated(shop, status="on-hold"))
        await shop.until("2026-03-04 00:00")
        await shop.publish(updated(shop, status="complete"))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


async def test_an_error_is_a_no(store: Store) -> None:
    """R42: a key that is not there, at accept and when due."""
    rule = free_rule(
        "news", condition=condition("event.attributes.tier == 'gold'"), steps=[step(days=1)]
    )
    async with open_shop(store, rule=rule) as shop:
        (without,) = await shop.publish(shop.event(order="1"))
        assert without.members == ()
        await shop.publish(shop.event(order="2", attributes={"tier": "gold"}))
        await shop.publish(shop.event("order_updated", order="2", attributes={"tier": 7}))
        await shop.until("2026-03-03 00:00")
        assert await shop.ends() == CONDITION_FALSE


async def test_a_condition_is_that_of_the_revision_it_was_planned_with(store: Store) -> None:
    """R40, A27: another condition is for those who come later."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"))
        await change_rule(
            shop, condition=condition("order.status == 'never'", Family.SERVICE_REVIEW)
        )
        await shop.publish(shop.event("order_updated", order="1"))
        (later,) = await shop.publish(shop.event(order="2"))
        assert later.members == ()
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


async def test_money_is_an_amount_in_a_currency(store: Store) -> None:
    """C6, C12, R42."""
    source = "order.amount > 100.0 && order.currency == 'EUR'"
    rule = free_rule("thanks", condition=condition(source), steps=[step(days=1)])
    async with open_shop(store, rule=rule) as shop:
        events = []
        for order, total in (("1", Money("EUR", 120)), ("2", Money("USD", 120)), ("3", None)):
            event = shop.event(order=order)
            event.order = Order(order, total=total)
            events.append(event)
        answers = await shop.publish(*events)
        assert [len(answer.members) for answer in answers] == [1, 0, 0]
        cheaper = shop.event("order_updated", order="1")
        cheaper.order = Order("1", total=Money("EUR", 80))
        await shop.publish(cheaper)
        await shop.until("2026-03-03 00:00")
        assert await shop.ends() == CONDITION_FALSE


@pytest.mark.parametrize("later", [True, False])
async def test_a_feature_that_is_off_when_due(store: Store, later: bool) -> None:
    """D10, R9: looked at when the message is due, not when it is planned."""
    rule = review_rule(required_features=["comments"])
    features = () if later else ("comments",)
    async with open_shop(store, rule=rule, features=features) as shop:
        await shop.publish(shop.event())
        await change_channel(shop, features=("comments",) if later else ())
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == later
        assert (await shop.ends()).get((State.SKIPPED, Reason.FEATURE_OFF), 0) == (not later)


async def test_what_is_no_longer_booked_when_due(store: Store) -> None:
    """C2, B26, R10."""
    async with open_shop(store, rule=free_rule("news", steps=[step(days=1)])) as shop:
        await shop.publish(shop.event())
        await shop.registry.update_account(Account(id=ACCOUNT, entitlements=()))
        await shop.until("2026-03-03 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.ENTITLEMENT): 1}


async def test_the_first_gate_that_says_no_is_the_reason() -> None:
    """R10: identity, medium, feature, entitlement, consent, condition, in this order."""
    steps = [with_condition(step("s", Medium.EMAIL, days=1), "order.status == 'x'")]
    rule = free_rule("news", Purpose.MARKETING, steps=steps, required_features=["f"])
    told: list[int] = []

    async def outcome(**wanted: Any) -> None:
        fields = {"features": ("f",), "given": True, "is_booked": True, **wanted}
        async with open_shop(rule=rule) as shop:
            await change_channel(shop, features=fields["features"])
            contact = fields.get("contact") or Contact(email=ANA)
            yes = consents(shop, Purpose.MARKETING)
            await shop.publish(shop.event(consents=yes, contact=contact))
            if not fields["given"]:
                no = consents(shop, Purpose.MARKETING, given=False)
                await shop.publish(shop.event("order_updated", consents=no, contact=contact))
            if not fields["is_booked"]:
                await shop.registry.update_account(Account(id=ACCOUNT, entitlements=()))
            await shop.until("2026-03-03 00:00")
            ((_, reason),) = await shop.ends()
            told.append(reason)

    await outcome()
    await outcome(given=False)
    await outcome(given=False, is_booked=False)
    await outcome(given=False, is_booked=False, features=())
    phone = Contact(phone="+34600000001")
    await outcome(given=False, is_booked=False, features=(), contact=phone)
    assert told == [
        Reason.CONDITION_FALSE, Reason.NO_CONSENT, Reason.ENTITLEMENT, Reason.FEATURE_OFF,
        Reason.NO_RECIPIENT,
    ]  # fmt: skip


async def test_what_has_expired_is_too_late_whatever_else(store: Store) -> None:
    """R10, R30: expiry speaks before address and condition."""
    steps = [with_condition(step(days=1), "order.status == 'x'")]
    async with open_shop(store, rule=free_rule("news", steps=steps)) as shop:
        await shop.publish(shop.event(contact=Contact(phone="+34600000001")))
        shop.clock.move_to_ms(shop.clock.now_ms() + 5 * 86_400_000)
        await shop.until("2026-03-09 00:00")
        assert await shop.ends() == {(State.EXPIRED, Reason.TOO_LATE): 1}
