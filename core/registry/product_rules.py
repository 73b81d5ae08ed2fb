"""How product reviews go with service reviews on one channel and event type (B31, B32, R38).

A shop asks twice about an order: how the purchase went, and what the products are like. A product
rule says with `ReviewSettings.product_timing` how its question goes with that of the service rule
which is active for the same event type on the same channel:

    SAME_AS_SERVICE  One invitation asks both, when the service rule's steps say, in the service rule's
                     words. So a service rule must be there when the product rule is switched on. If
                     it goes later, products are asked about alone, by the product rule's own steps:
                     a combined rule therefore has steps too, and any that are valid.
    OWN              An invitation of its own, and a later one: nobody can judge on Tuesday what
                     arrives on Thursday. With no service rule there, any wait will do.

"Later" is decided on the waits as they are written, so that it holds for every event alike:

    service   product    longer because
    7 days    8 days     more whole days; times of day and spans do not count
    7 days    7 days     refused, also with a later time of day
    7 days    169 hours  one of them is exact: elapsed times are compared, a day being 24 hours
    36 hours  2 days     48 hours are more than 36
    36 hours  90 minutes refused

Compared are the first steps, every action of one with every action of the other. An action's own wait
stands in for that of its step (C11). Where waits depend on a test (R34), both rules are looked at
as they are without any, and then with each test true by itself: "10 days for ES" of one rule is held
against "12 days for ES" of the other, or against its plain wait if it has no such test.

Looked at after every edit by which a rule of either family is saved, switched on, copied or resumed;
PAUSED counts as active, because what waits goes on. Switching off, pausing, freezing, stopping and
deleting are never refused.

Decides: whether the rules of a channel, as a draft leaves them, go together.
Never: which invitation is sent (`core/engine/planner.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from core.bounds import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from core.errors import FailedPrecondition
from core.model import REVIEW_FAMILIES, ActivationState, Family
from core.registry.catalogue import HOLDING
from core.registry.drafts import Draft
from core.registry.resources import Activation, Channel, Rule
from core.registry.rule_parts import ProductTiming, Wait

Standing = Iterable[tuple[Activation, Rule]]

_UNITS = ((HOUR_MS, "hour"), (MINUTE_MS, "minute"), (SECOND_MS, "second"), (1, "millisecond"))


def check_product_rules(draft: Draft, rule: Rule, channel: Channel) -> None:
    """Refuse a draft that leaves a product rule on a channel which does not go with the service rule.

    Nothing is asked if the edit is about a rule of another family. A combined rule that was alone
    before, because its service rule went, may stay so and be edited.

    Cost: O(rules that are or were active on the channel).
    """
    if rule.family not in REVIEW_FAMILIES:
        return
    standing = draft.on_channel(channel)
    services = _service_rules(standing)
    alone_before = _alone(draft.base.on_channel(channel))
    for activation, product in _holding(standing, Family.PRODUCT_REVIEW):
        service = services.get(product.event_type)
        if is_combined(product):
            key = (product.id, product.event_type, activation.state)
            if service is None and key not in alone_before:
                raise FailedPrecondition(
                    f"{product.name} asks together with the service, but no service rule is active "
                    f"on {channel.name} for {product.event_type}; switch one on first",
                    field="rule.review.product_timing",
                )
        elif service is not None:
            _check_waits(service, product, channel)


def is_combined(rule: Rule) -> bool:
    """Return whether a product rule asks in one invitation with the service rule (B31)."""
    return rule.review is not None and rule.review.product_timing == ProductTiming.SAME_AS_SERVICE


def is_longer(wait: Wait, other: Wait) -> bool:
    """Return whether a wait is strictly longer than another: see the table of the module."""
    if wait.elapsed_ms is None and other.elapsed_ms is None:
        return (wait.days or 0) > (other.days or 0)
    return _elapsed_ms(wait) > _elapsed_ms(other)


def _holding(standing: Standing, family: Family) -> Iterable[tuple[Activation, Rule]]:
    return (
        (activation, rule)
        for activation, rule in standing
        if rule.family == family and activation.state in HOLDING and not rule.is_deleted
    )


def _service_rules(standing: Standing) -> dict[str, Rule]:
    return {rule.event_type: rule for _, rule in _holding(standing, Family.SERVICE_REVIEW)}


def _alone(standing: Standing) -> set[tuple[str, str, ActivationState]]:
    """Return (id, event type, state) of the combined rules that have no service rule."""
    services = _service_rules(standing)
    return {
        (rule.id, rule.event_type, activation.state)
        for activation, rule in _holding(standing, Family.PRODUCT_REVIEW)
        if is_combined(rule) and rule.event_type not in services
    }


def _check_waits(service: Rule, product: Rule, channel: Channel) -> None:
    tests = {
        override.condition.source
        for rule in (service, product)
        for override in rule.steps[0].wait_overrides
    }
    for test in ("", *sorted(tests)):
        for wait in _first_waits(product, test):
            for other in _first_waits(service, test):
                if not is_longer(wait, other):
                    where = f" where {test}" if test else ""
                    raise FailedPrecondition(
                        f"{product.name} waits {_text(wait)}{where}, {service.name} {_text(other)}; "
                        f"on {channel.name} both are for {product.event_type}, so the wait for "
                        "products must be longer: more whole days, or a longer time if either is in "
                        "minutes or hours",
                        field="rule.steps[0].wait",
                    )


def _first_waits(rule: Rule, test: str) -> list[Wait]:
    """Return the waits of the first step's actions where a test is true, "" for none."""
    step = rule.steps[0]
    matching = [each.wait for each in step.wait_overrides if each.condition.source == test]
    step_wait = matching[0] if matching else step.wait
    return [action.wait or step_wait for action in step.actions]


def _elapsed_ms(wait: Wait) -> int:
    return wait.elapsed_ms if wait.elapsed_ms is not None else (wait.days or 0) * DAY_MS


def _text(wait: Wait) -> str:
    """Return a wait in the largest unit in which it is whole."""
    if wait.elapsed_ms is None:
        return _counted(wait.days or 0, "day")
    size_ms, unit = next(each for each in _UNITS if wait.elapsed_ms % each[0] == 0)
    return _counted(wait.elapsed_ms // size_ms, unit)


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
