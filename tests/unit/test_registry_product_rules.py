"""Product rules beside service rules: combined or later, however they come together."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from core.bounds import HOUR_MS, MINUTE_MS
from core.errors import FailedPrecondition
from core.model import Family, Medium
from core.registry.product_rules import is_longer
from core.registry.registry import Registry
from core.registry.resources import ProductExclusivity, Rule
from core.registry.rule_parts import (
    Action,
    Condition,
    ProductTiming,
    ReviewSettings,
    Step,
    Wait,
    WaitOverride,
)
from tests.support.configuration import ACCOUNT, channel, rule
from tests.support.registries import active, active_on, registry_with_channels, states, watch_bites

COMBINED = ReviewSettings(product_timing=ProductTiming.SAME_AS_SERVICE)


@pytest_asyncio.fixture
async def config() -> Registry:
    return await registry_with_channels()


def product(id: str = "p", **fields: Any) -> Rule:
    return rule(id, family=Family.PRODUCT_REVIEW, **fields)


def waiting(wait: Wait, *others: tuple[str, Wait]) -> list[Step]:
    """Return a step with a wait, and others where a test is true."""
    overrides = [WaitOverride(Condition(test, ["const", True]), other) for test, other in others]
    action = Action(medium=Medium.EMAIL)
    return [Step(id="first", wait=wait, actions=[action], wait_overrides=overrides)]


def days(count: int, hour: int | None = None) -> Wait:
    return Wait(days=count, time_of_day_ms=None if hour is None else hour * HOUR_MS)


def minutes(count: int) -> Wait:
    return Wait(elapsed_ms=count * MINUTE_MS)


# --- which wait is longer -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "other", "expected"),
    [
        (days(7), days(8), True),
        (days(7), days(7), False),
        (days(7, 8), days(7, 20), False),
        (days(7, 20), days(8, 8), True),
        (days(0), days(0), False),
        (days(0), minutes(1), True),
        (days(7), minutes(7 * 1_440), False),
        (days(7), minutes(7 * 1_440 + 1), True),
        (minutes(36 * 60), days(2), True),
        (minutes(48 * 60), days(2, 23), False),
        (minutes(90), minutes(90), False),
        (minutes(90), minutes(91), True),
        (minutes(36 * 60), minutes(90), False),
    ],
)
def test_a_wait_is_longer_by_days_or_by_elapsed_time(
    service: Wait, other: Wait, expected: bool
) -> None:
    """R38, B32: the table of the module."""
    assert is_longer(other, service) is expected
    assert not (is_longer(other, service) and is_longer(service, other))


# --- separate invitations -------------------------------------------------------------------------


async def test_separate_products_are_asked_about_later_whoever_comes_first(
    config: Registry,
) -> None:
    """B32, R38: activation of either side; the error names both rules and both waits."""
    await active(config, rule("s"))
    await config.create_rule(product(steps=waiting(days(7))))
    with pytest.raises(FailedPrecondition) as caught:
        await config.activate(ACCOUNT, "p", "es")
    assert caught.value.field == "rule.steps[0].wait"
    for part in ("rules/p waits 7 days", "rules/s 7 days", "channels/es", "checkout"):
        assert part in caught.value.message
    await config.deactivate(ACCOUNT, "s", "es")
    await config.activate(ACCOUNT, "p", "es")
    with pytest.raises(FailedPrecondition, match="rules/p waits 7 days, accounts/shop/rules/s 7"):
        await config.activate(ACCOUNT, "s", "es")
    assert active_on(config) == {"p"}


async def test_a_save_of_either_side_is_refused_where_both_are_at_work(config: Registry) -> None:
    """B32, R38; nothing is saved, and inactive rules may wait as they like."""
    service = await active(config, rule("s"))
    late = await active(config, product())
    for changed in (
        replace(late, steps=waiting(minutes(90))), replace(service, steps=waiting(days(14))),
    ):  # fmt: skip
        with pytest.raises(FailedPrecondition, match="must be longer"):
            await config.update_rule(changed)
        await config.create_rule(replace(changed, id=f"{changed.id}-idle"))
    with pytest.raises(FailedPrecondition, match=r"rules/p waits 90 minutes, .*rules/s 7 days"):
        await config.update_rule(replace(late, steps=waiting(minutes(90))))
    assert config.snapshot.rule(ACCOUNT, "p") == late


async def test_a_paused_rule_counts_and_a_stopped_one_is_checked_when_resumed(
    config: Registry,
) -> None:
    """R38: what was planned by a paused rule goes on."""
    await active(config, rule("s"))
    await config.pause_rule(ACCOUNT, "s", "es")
    await config.create_rule(product(steps=waiting(days(7))))
    with pytest.raises(FailedPrecondition, match="must be longer"):
        await config.activate(ACCOUNT, "p", "es")
    await config.stop_rule(ACCOUNT, "s", "es")
    await config.activate(ACCOUNT, "p", "es")
    with pytest.raises(FailedPrecondition, match="must be longer"):
        await config.resume_rule(ACCOUNT, "s", "es")
    assert states(config) == {"p": "ACTIVE", "s": "STOPPED"}


async def test_other_event_types_and_channels_do_not_matter(config: Registry) -> None:
    """R38: same channel and event type."""
    await active(config, rule("s"), "fr")
    await active(config, rule("d", event_type="delivery"))
    await active(config, product(steps=waiting(days(1))))
    assert active_on(config) == {"d", "p"}


async def test_unrelated_rules_are_not_asked(config: Registry) -> None:
    await active(config, rule("s"))
    await active(config, product())
    await active(config, rule("n", family=Family.NOTIFICATION))
    assert active_on(config) == {"n", "p", "s"}


async def test_waits_of_actions_and_of_tests_are_compared(config: Registry) -> None:
    """R34, C11, R38."""
    await active(config, rule("s", steps=waiting(days(7), ("es", days(20)))))
    with pytest.raises(FailedPrecondition, match=r"waits 14 days where es, .*rules/s 20 days"):
        await active(config, product("plain"))
    with pytest.raises(FailedPrecondition, match=r"waits 5 days where vip, .*rules/s 7 days"):
        await active(
            config, product("vip", steps=waiting(days(14), ("es", days(21)), ("vip", days(5))))
        )
    sms = Action(medium=Medium.SMS, wait=days(3))
    both = [Step(id="first", wait=days(21), actions=[Action(medium=Medium.EMAIL), sms])]
    with pytest.raises(FailedPrecondition, match="waits 3 days"):
        await active(config, product("media", steps=both))
    await active(config, product("good", steps=waiting(days(14), ("es", days(21)))))
    assert active_on(config) == {"good", "s"}


# --- one invitation for both ----------------------------------------------------------------------


async def test_combined_needs_a_service_rule_at_work(config: Registry) -> None:
    """B31, R38: its own steps may wait as they like."""
    await config.create_rule(product(review=COMBINED, steps=waiting(days(1))))
    with pytest.raises(FailedPrecondition) as caught:
        await config.activate(ACCOUNT, "p", "es")
    assert caught.value.field == "rule.review.product_timing"
    assert "no service rule is active on accounts/shop/channels/es for checkout" in str(
        caught.value
    )
    await active(config, rule("d", event_type="delivery"))
    with pytest.raises(FailedPrecondition, match="no service rule"):
        await config.activate(ACCOUNT, "p", "es")
    await active(config, rule("s"))
    await config.pause_rule(ACCOUNT, "s", "es")
    await config.activate(ACCOUNT, "p", "es")
    assert active_on(config) == {"d", "p"}


async def test_a_combined_rule_survives_its_service_rule_and_can_be_edited(
    config: Registry,
) -> None:
    """R38: switched off, products are asked about alone; only coming back needs the service again."""
    await active(config, rule("s"))
    made = await active(config, product(review=COMBINED))
    await config.deactivate(ACCOUNT, "s", "es")
    changed = await config.update_rule(replace(made, priority=3))
    assert changed.revision == 2
    with pytest.raises(FailedPrecondition, match="no service rule"):
        await config.update_rule(replace(changed, event_type="delivery"))
    await config.pause_rule(ACCOUNT, "p", "es")
    await config.update_rule(replace(changed, priority=4))
    with pytest.raises(FailedPrecondition, match="no service rule"):
        await config.resume_rule(ACCOUNT, "p", "es")
    await config.activate(ACCOUNT, "s", "es")
    await config.resume_rule(ACCOUNT, "p", "es")


async def test_saving_cannot_take_the_service_rule_from_a_combined_one(config: Registry) -> None:
    """R38: a trigger that moves leaves the other side alone, so the save says so."""
    service = await active(config, rule("s"))
    made = await active(config, product())
    alone = await active(config, product("alone", event_type="delivery"), "fr")
    await config.update_rule(replace(made, review=COMBINED))
    with pytest.raises(FailedPrecondition, match="rules/p asks together with the service"):
        await config.update_rule(replace(service, event_type="delivery"))
    with pytest.raises(FailedPrecondition, match="rules/alone asks together with the service"):
        await config.update_rule(replace(alone, review=COMBINED))


async def test_another_service_rule_may_take_over(config: Registry) -> None:
    """A25, B31."""
    await active(config, rule("s"))
    await active(config, product(review=COMBINED))
    await active(config, rule("t", steps=waiting(days(60))))
    assert states(config) == {"p": "ACTIVE", "s": "SUPERSEDED", "t": "ACTIVE"}


# --- one product rule a channel, or one an event type ---------------------------------------------


async def test_product_rules_may_be_exclusive_per_event_type(config: Registry) -> None:
    """B28, R37, h2; going back is refused while two are at work, and both are named."""
    bites = watch_bites(config)
    wide = channel("es", product_exclusivity=ProductExclusivity.PER_EVENT_TYPE)
    await config.update_channel(wide)
    assert bites == [config.snapshot.revision]
    await active(config, product("c"))
    await active(config, product("d", event_type="delivery"))
    await active(config, product("e", event_type="delivery"))
    assert active_on(config) == {"c", "e"}
    with pytest.raises(FailedPrecondition) as caught:
        await config.update_channel(channel("es"))
    assert caught.value.field == "channel.product_exclusivity"
    assert "accounts/shop/rules/c, accounts/shop/rules/e are active" in caught.value.message
    await config.pause_rule(ACCOUNT, "c", "es")
    with pytest.raises(FailedPrecondition, match="rules/c, accounts/shop/rules/e"):
        await config.update_channel(channel("es"))
    await config.deactivate(ACCOUNT, "c", "es")
    await config.update_channel(channel("es"))
    _, replaced = await config.activate(ACCOUNT, "c", "es")
    assert [each.rule for each in replaced] == ["e"]
