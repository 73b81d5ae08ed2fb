"""Why a rule did not want an event (C13, R42)."""

from __future__ import annotations

from control.cel_frontend import ConditionFrontend
from core.model import Family
from core.ports import Store
from tests.support.shop import Shop, open_shop, review_rule

FRONTEND = ConditionFrontend()


async def told(shop: Shop, event_id: str) -> list[str]:
    story = await shop.engine.explainer.event("shop", "test", event_id)
    return [one.text for one in story.decisions if one.stage == "condition"]


async def test_a_condition_that_is_false_says_what_it_saw(store: Store) -> None:
    """C13: a missing field makes it false, and that is told."""
    condition = FRONTEND.compile('contact.country == "PT"', Family.SERVICE_REVIEW)
    async with open_shop(store, rule=review_rule(condition=condition)) as shop:
        await shop.publish(shop.event())
        assert await told(shop, "checkout-1") == [
            'the condition of rule ask was false: contact.country == "PT"; it saw '
            "contact.country = ''"
        ]
        assert shop.engine.stats.condition_errors == 0


async def test_a_condition_that_errs_is_false_and_counted(store: Store) -> None:
    """C13, R42: a missing attribute key is an error, hence false, and recorded."""
    condition = FRONTEND.compile('event.attributes.tier == "gold"', Family.SERVICE_REVIEW)
    async with open_shop(store, rule=review_rule(condition=condition)) as shop:
        await shop.publish(shop.event())
        [line] = await told(shop, "checkout-1")
        assert line.startswith("the condition of rule ask was taken for false, because it erred (")
        assert shop.engine.stats.condition_errors == 1
        await shop.publish(shop.event(order="2", attributes={"tier": "gold"}))
        assert await told(shop, "checkout-2") == [
            'its condition was true: event.attributes.tier == "gold"'
        ]
