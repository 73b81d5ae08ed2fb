"""Service and product in one invitation, or in two: what is asked, and what ends it; on both stores."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.bounds import DAY_MS
from core.model import Contact, Event, Family, Order, Reason, Review, State
from core.ports import RuleCount, Store
from core.registry.resources import Account, Entitlement, Rule
from core.registry.rule_parts import ProductTiming, ReviewSettings, Wait, WaitOverride
from tests.support.rules import (
    COMBINED,
    TEN,
    change_channel,
    condition,
    consents,
    follow_up,
    product_rule,
    step,
    switch_off,
    switch_on,
)
from tests.support.shop import ACCOUNT, MADRID, Shop, one_in_14_days, open_shop, review_rule

SERVICE, PRODUCT, BOTH = 1, 2, 3
SENT = (State.SENT, Reason.NONE)
REVIEWED = (State.CANCELLED, Reason.REVIEWED)


def combined(**fields: Any) -> list[Rule]:
    """Return the usual service rule, and a product rule that asks with it."""
    return [review_rule(), product_rule(review=COMBINED, **fields)]


def asked(shop: Shop) -> list[tuple[str, int]]:
    """Return (UTC time, kinds) of what went out."""
    times = [at for at, *_ in shop.mails()]
    return list(zip(times, [letter.kinds for letter in shop.post.letters], strict=True))


async def book(shop: Shop, *entitlements: Entitlement) -> None:
    await shop.registry.update_account(Account(id=ACCOUNT, entitlements=entitlements))


def review(shop: Shop, kind: int, order: str = "1", **fields: Any) -> Event:
    return shop.event(
        "review_submitted", order=order, id=f"review-{order}-{kind}",
        review=Review(kind=kind, **fields),
    )  # fmt: skip


async def counts(shop: Shop, rule: str) -> tuple[int, ...]:
    """Return what is counted of a rule: sent, first sent, reviewed, with a text."""
    found = shop.registry.snapshot.rule(ACCOUNT, rule)
    assert found is not None
    everything = range(shop.engine.store.meta.partition_count)
    counters = (await shop.engine.store.counters(everything)).values()
    return tuple(
        sum(one.rules.get((found.number, what), 0) for one in counters) for what in RuleCount
    )


async def test_one_message_asks_about_both(store: Store) -> None:
    """B31, R38, R23, d4: one message and one unit of the cap, at the service's time, one reminder."""
    cap = one_in_14_days(purposes=[], unit=1, steps=0, limit=2)
    async with open_shop(store, rules=combined(), caps=[cap]) as shop:
        (answer,) = await shop.publish(shop.event())
        assert len(answer.members) == 1
        await shop.until("2026-04-30 00:00")
        assert asked(shop) == [("2026-03-08 09:00", BOTH), ("2026-03-13 09:00", BOTH)]
        assert await counts(shop, "ask") == (2, 1, 0, 0)
        assert await counts(shop, "products") == (0, 0, 0, 0)


async def test_a_combined_request_holds_both_keys(store: Store) -> None:
    """R1, R2, B31: a delivery rule asks about neither again, and about what is left if one was free."""
    later = review_rule(id="arrived", event_type="delivery", steps=[step("invite", days=1)])
    async with open_shop(store, rules=[*combined(), later]) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-02 00:00")
        await shop.publish(shop.event("delivery", consents=consents(shop)))
        assert await shop.ends() == {(State.SKIPPED, Reason.DUPLICATE): 1}


async def test_what_is_left_of_a_combined_request_is_asked(store: Store) -> None:
    """R2: the service was asked about after the checkout, so delivery asks about the products alone."""
    delivery = [
        review_rule(id="arrived", event_type="delivery", steps=[step("invite", days=1)]),
        product_rule(event_type="delivery", review=COMBINED),
    ]
    async with open_shop(store, rules=[review_rule(), *delivery]) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-02 00:00")
        await shop.publish(shop.event("delivery", consents=consents(shop)))
        await shop.until("2026-03-09 00:00")
        assert asked(shop) == [("2026-03-03 00:00", PRODUCT), ("2026-03-08 09:00", SERVICE)]


@pytest.mark.parametrize("kind", [0, Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW])
async def test_any_review_ends_a_combined_reminder(store: Store, kind: int) -> None:
    """R38, B20, B35."""
    async with open_shop(store, rules=combined()) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-09 00:00")
        await shop.publish(review(shop, kind))
        await shop.until("2026-04-30 00:00")
        assert asked(shop) == [("2026-03-08 09:00", BOTH)]
        assert await shop.ends() == {SENT: 1, REVIEWED: 1}


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (Family.SERVICE_REVIEW, [PRODUCT, PRODUCT]),
        (Family.PRODUCT_REVIEW, [SERVICE, SERVICE]),
        (0, []),
    ],
)
async def test_a_review_before_the_first_invitation_ends_its_own_kind(
    store: Store, kind: int, left: list[int]
) -> None:
    """R38, R39, B20, B32: separate requests, reviewed before either went out."""
    product = product_rule(steps=[step("invite", days=12, time_of_day_ms=TEN), follow_up("again")])
    async with open_shop(store, rules=[review_rule(), product]) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-02 00:00")
        await shop.publish(review(shop, kind))
        await shop.until("2026-04-30 00:00")
        assert [kinds for _, kinds in asked(shop)] == left


@pytest.mark.parametrize(
    ("kind", "left"),
    [(Family.SERVICE_REVIEW, [PRODUCT]), (Family.PRODUCT_REVIEW, [SERVICE]), (0, [])],
)
async def test_a_review_that_is_told_before_the_order_counts(
    store: Store, kind: int, left: list[int]
) -> None:
    """R39, R38, E7: the tombstone is of the kind of the review."""
    rules = [review_rule(steps=[step(days=1)]), product_rule()]
    async with open_shop(store, rules=rules) as shop:
        await shop.publish(review(shop, kind))
        await shop.publish(shop.event())
        await shop.until("2026-04-30 00:00")
        assert [kinds for _, kinds in asked(shop)] == left


async def test_without_goods_only_the_service_is_asked_about(store: Store) -> None:
    """R38, R9: and a separate product request is skipped."""
    bare = Order(reference="1")
    async with open_shop(store, rules=combined()) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2", email="b@shop.example"))
        await shop.publish(
            msgspec.structs.replace(shop.event(email="c@shop.example"), id="3", order=bare)
        )
        await shop.until("2026-03-09 00:00")
        assert sorted(kinds for _, kinds in asked(shop)) == [SERVICE, BOTH, BOTH]
    async with open_shop(rules=[review_rule(), product_rule()]) as shop:
        await shop.publish(msgspec.structs.replace(shop.event(), order=bare))
        assert await shop.ends() == {(State.SKIPPED, Reason.PRODUCT_ALREADY_ASKED): 1}


async def test_service_switched_off_asks_about_products_alone(store: Store) -> None:
    """R38: whoever waits with both is asked about the products when due, reminder and all; whoever
    comes later is too, by the product rule's own time."""
    async with open_shop(store, rules=combined()) as shop:
        await shop.publish(shop.event(order="1"))
        await switch_off(shop, "ask")
        await shop.publish(shop.event(order="2", email="b@shop.example"))
        await shop.until("2026-03-14 00:00")
        assert asked(shop) == [
            ("2026-03-08 09:00", PRODUCT),
            ("2026-03-13 09:00", PRODUCT),
            ("2026-03-13 17:00", PRODUCT),
        ]


async def test_with_both_switched_off_nothing_is_asked(store: Store) -> None:
    """R38, h5, B9."""
    async with open_shop(store, rules=combined()) as shop:
        await shop.publish(shop.event())
        await switch_off(shop, "ask", "products")
        await shop.until("2026-03-14 00:00")
        assert await shop.ends() == {(State.CANCELLED, Reason.RULE_INACTIVE): 1}


async def test_the_block_switch_ends_a_combined_request_whole(store: Store) -> None:
    """B9, R38."""
    async with open_shop(store, rules=combined()) as shop:
        await shop.publish(shop.event())
        await change_channel(shop, review_event_types_off=("checkout",))
        await shop.until("2026-03-14 00:00")
        assert await shop.ends() == {(State.CANCELLED, Reason.RULE_INACTIVE): 1}


async def test_products_switched_off_leave_the_service(store: Store) -> None:
    """B27, R38, h5."""
    async with open_shop(store, rules=combined()) as shop:
        await shop.publish(shop.event())
        await switch_off(shop, "products")
        await shop.until("2026-03-09 00:00")
        assert asked(shop) == [("2026-03-08 09:00", SERVICE)]


async def test_products_no_longer_booked(store: Store) -> None:
    """B26, R38: before the order and after it, one asks about the service only."""
    async with open_shop(store, rules=combined()) as shop:
        await shop.publish(shop.event(order="1"))
        await book(shop, Entitlement.NOTIFICATIONS)
        await shop.publish(shop.event(order="2", email="b@shop.example"))
        (view,) = await shop.engine.reader.by_order(ACCOUNT, MADRID, "2")
        assert view.reference.kinds == SERVICE
        await shop.until("2026-03-09 00:00")
        assert asked(shop) == [("2026-03-08 09:00", SERVICE)] * 2


async def test_a_separate_product_request_that_is_no_longer_booked_is_skipped(
    store: Store,
) -> None:
    """B26, R38, C2."""
    async with open_shop(store, rules=[review_rule(), product_rule()]) as shop:
        await shop.publish(shop.event())
        await book(shop)
        await shop.until("2026-04-30 00:00")
        assert await shop.ends() == {SENT: 2, (State.SKIPPED, Reason.ENTITLEMENT): 1}
        assert {kinds for _, kinds in asked(shop)} == {SERVICE}


async def test_a_required_comment_goes_with_the_request(store: Store) -> None:
    """B36: separate or combined, it is told to the questionnaire and stops nothing."""
    strict = ReviewSettings(comment_required=True, questionnaire="products")
    async with open_shop(store, rules=[review_rule(), product_rule(review=strict)]) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-14 00:00")
        told = [(one.kinds, one.comment_required, one.questionnaire) for one in shop.post.letters]
        assert told == [(SERVICE, False, ""), (SERVICE, False, ""), (PRODUCT, True, "products")]
    strict = ReviewSettings(comment_required=True, product_timing=ProductTiming.SAME_AS_SERVICE)
    async with open_shop(rules=[review_rule(), product_rule(review=strict)]) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-09 00:00")
        assert [(one.kinds, one.comment_required) for one in shop.post.letters] == [(BOTH, True)]


async def test_rates_are_counted_once_a_run(store: Store) -> None:
    """B37: sent, first sent, reviewed, with a text; repeated or second reviews count no more."""
    async with open_shop(store) as shop:
        await shop.publish(
            *(shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(3))
        )
        await shop.until("2026-03-09 00:00")
        assert await counts(shop, "ask") == (3, 3, 0, 0)

        def told(order: int, kind: int, **fields: Any) -> Event:
            event = review(shop, kind, order=str(order), **fields)
            event.contact.email = f"c{order}@shop.example"
            return event

        await shop.publish(told(0, Family.SERVICE_REVIEW, has_comment=True))
        await shop.publish(told(0, Family.SERVICE_REVIEW, has_comment=True))
        await shop.publish(told(0, 0, has_comment=True))
        await shop.publish(told(1, Family.SERVICE_REVIEW))
        await shop.publish(told(1, Family.PRODUCT_REVIEW, has_comment=True))
        await shop.until("2026-04-30 00:00")
        assert await counts(shop, "ask") == (4, 3, 2, 1)
        # Also long after the reminder.
        await shop.publish(told(2, Family.SERVICE_REVIEW, has_comment=True))
        assert await counts(shop, "ask") == (4, 3, 3, 2)


async def test_a_review_of_what_was_not_asked_for_counts_nothing(store: Store) -> None:
    """B37."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.publish(review(shop, 0, has_comment=True))
        await shop.until("2026-04-30 00:00")
        assert await counts(shop, "ask") == (0, 0, 0, 0)


async def test_a_requested_time_keeps_the_distance_of_the_product(store: Store) -> None:
    """R32, d1.4: the service goes at the time requested, products as much later as their waits say;
    it beats the activation date."""
    rules = [review_rule(), product_rule()]
    async with open_shop(store, rules=rules, use_activation_date=True) as shop:
        at_ms = shop.clock.now_ms() + 3 * DAY_MS
        await shop.publish(shop.event(requested_send_ms=at_ms, activation_date="2026-06-01"))
        await shop.until("2026-03-31 00:00")
        # Seven and twelve days: five apart.
        assert asked(shop) == [
            ("2026-03-04 09:00", SERVICE),
            ("2026-03-09 09:00", PRODUCT),
            ("2026-03-09 09:00", SERVICE),
        ]


async def test_the_distance_is_that_of_the_waits_that_hold(store: Store) -> None:
    """R32, R34: where the service has another wait for the country, the distance is another."""
    service = review_rule(steps=[step("invite", days=7)])
    test = condition("contact.country == 'PL'", Family.SERVICE_REVIEW)
    service.steps[0].wait_overrides = [WaitOverride(test, Wait(days=10))]
    async with open_shop(store, rules=[service, product_rule()]) as shop:
        at_ms = shop.clock.now_ms() + 3 * DAY_MS
        contact = Contact(email="ana@shop.example", country="PL")
        await shop.publish(shop.event(requested_send_ms=at_ms, contact=contact))
        await shop.until("2026-03-31 00:00")
        assert asked(shop) == [("2026-03-04 09:00", SERVICE), ("2026-03-06 09:00", PRODUCT)]


async def test_the_activation_date_switch_leaves_planned_ones_alone(store: Store) -> None:
    """R31, B14, B15, B34: toggled afterwards; service and product follow it alike."""
    rules = [review_rule(steps=[step(days=7)]), product_rule()]
    async with open_shop(store, rules=rules, use_activation_date=True) as shop:
        await shop.publish(shop.event(order="1", activation_date="2026-04-01"))
        await change_channel(shop, use_activation_date=False)
        await shop.publish(
            shop.event(order="2", email="b@shop.example", activation_date="2026-04-01")
        )
        await shop.until("2026-05-30 00:00")
        assert [at[:10] for at, _ in asked(shop)] == [
            "2026-03-08", "2026-03-13", "2026-04-07", "2026-04-13",
        ]  # fmt: skip


async def test_a_second_product_rule_takes_over_what_is_asked_with_the_service(
    store: Store,
) -> None:
    """B28, R14, R38: superseded by one that asks apart, what waits combined goes on so."""
    async with open_shop(store, rules=combined()) as shop:
        await shop.publish(shop.event(order="1"))
        await switch_on(shop, product_rule(id="apart"))
        await shop.publish(shop.event(order="2", email="b@shop.example"))
        await shop.until("2026-03-14 00:00")
        assert sorted(asked(shop)) == [
            ("2026-03-08 09:00", SERVICE),
            ("2026-03-08 09:00", BOTH),
            ("2026-03-13 09:00", SERVICE),
            ("2026-03-13 09:00", BOTH),
            ("2026-03-13 17:00", PRODUCT),
        ]
