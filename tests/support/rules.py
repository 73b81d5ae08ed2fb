"""Rules and the changes to them that tests of a shop's life are made of."""

from __future__ import annotations

from typing import Any

import msgspec

from control.cel_frontend import ConditionFrontend
from core.bounds import HOUR_MS
from core.model import Evidence, Family, Medium, Purpose
from core.registry.resources import Rule
from core.registry.rule_parts import (
    Action,
    Condition,
    ProductTiming,
    ReviewSettings,
    Step,
    Wait,
    WaitBase,
)
from tests.support.configuration import with_texts
from tests.support.shop import ACCOUNT, Shop, review_rule

TEN = 10 * HOUR_MS
COMBINED = ReviewSettings(product_timing=ProductTiming.SAME_AS_SERVICE)
_FRONTEND = ConditionFrontend()


def condition(source: str, family: Family = Family.AUTOMATION) -> Condition:
    return _FRONTEND.compile(source, family)


def step(id: str = "only", *media: Medium, **wait: Any) -> Step:
    actions = [Action(medium=medium) for medium in media or (Medium.EMAIL,)]
    return Step(id=id, wait=Wait(**(wait or {"elapsed_ms": 0})), actions=actions)


def follow_up(id: str = "next", *media: Medium, **wait: Any) -> Step:
    return step(id, *media, base=WaitBase.PREVIOUS_STEP_SENT, **(wait or {"days": 5}))


def free_rule(id: str, purpose: Purpose = Purpose.TRANSACTIONAL, **fields: Any) -> Rule:
    """Return a rule of no review family, at once after checkout unless told otherwise."""
    values: dict[str, Any] = {
        "id": id, "family": Family.AUTOMATION, "purpose": purpose, "steps": [step()],
        "stop_when": [],
    }  # fmt: skip
    return with_texts(review_rule(**{**values, **fields}))


def product_rule(**fields: Any) -> Rule:
    """Return a rule that asks about products 12 days after checkout at 18:00, without reminder."""
    values: dict[str, Any] = {
        "id": "products", "family": Family.PRODUCT_REVIEW,
        "steps": [step("invite", days=12, time_of_day_ms=18 * HOUR_MS)],
    }  # fmt: skip
    return review_rule(**{**values, **fields})


async def switch_on(shop: Shop, *rules: Rule) -> None:
    for rule in rules:
        await shop.registry.create_rule(rule)
        await shop.registry.activate(ACCOUNT, rule.id, "madrid", "test")


async def switch_off(shop: Shop, *rules: str) -> None:
    for rule in rules:
        await shop.registry.deactivate(ACCOUNT, rule, "madrid", "test")


async def switch_type(shop: Shop, id: str, active: bool) -> None:
    kind = shop.registry.snapshot.event_type(ACCOUNT, id)
    assert kind is not None
    await shop.registry.update_event_type(msgspec.structs.replace(kind, active=active))


async def change_rule(shop: Shop, id: str = "ask", **fields: Any) -> Rule:
    """Write a new revision of a rule."""
    rule = shop.registry.snapshot.rule(ACCOUNT, id)
    assert rule is not None
    return await shop.registry.update_rule(msgspec.structs.replace(rule, **fields))


async def change_channel(shop: Shop, **fields: Any) -> None:
    channel = shop.registry.snapshot.channel(ACCOUNT, "madrid")
    assert channel is not None
    await shop.registry.update_channel(msgspec.structs.replace(channel, **fields))


def consents(
    shop: Shop, purpose: Purpose = Purpose.REVIEW, *media: Medium, given: bool = True
) -> list[Evidence]:
    now_ms = shop.clock.now_ms()
    return [Evidence(purpose, medium, given, now_ms) for medium in media or (Medium.EMAIL,)]
