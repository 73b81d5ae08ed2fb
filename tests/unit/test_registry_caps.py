"""Caps in the registry: what may be saved together, and what steps that name them forbid."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from core.bounds import CAP_LIMIT_MAX, CAP_LIMITS_MAX
from core.errors import FailedPrecondition, InvalidField, LimitExceeded
from core.model import Medium, Purpose
from core.registry.registry import Registry
from core.registry.resources import CapScope, CapSubject
from core.registry.rule_parts import OnCap, Step
from tests.support.configuration import ACCOUNT, cap, rule, step
from tests.support.registries import registry_with_channels, watch_bites


@pytest_asyncio.fixture
async def config() -> Registry:
    """Give a registry without caps."""
    config = await registry_with_channels()
    for one in config.snapshot.caps(ACCOUNT):
        await config.delete_cap(ACCOUNT, one.id)
    return config


def told(**fields: Any) -> Step:
    return replace(step(), **fields)


async def test_limits_that_no_record_could_count_are_refused(config: Registry) -> None:
    """A31, pitfall:inexact-caps: each within its bound, together above what is counted exactly."""
    await config.create_cap(cap("a", 0, limit=CAP_LIMIT_MAX))
    await config.create_cap(cap("b", 0, limit=CAP_LIMITS_MAX - CAP_LIMIT_MAX))
    with pytest.raises(LimitExceeded, match=f"{CAP_LIMITS_MAX + 1:,} together") as refusal:
        await config.create_cap(cap("c", 0, limit=1))
    assert refusal.value.field == "cap.limit"
    made = config.snapshot.cap(ACCOUNT, "b")
    assert made is not None
    with pytest.raises(LimitExceeded):
        await config.update_cap(
            replace(made, scope=CapScope.MEDIUM, media=[Medium.SMS, Medium.EMAIL])
        )
    await config.update_cap(replace(made, limit=None))
    await config.create_cap(cap("c", 0, limit=1))


async def test_volume_limits_are_not_part_of_the_sum(config: Registry) -> None:
    """R29."""
    await config.create_cap(cap("a", 0, limit=10**8, subject=CapSubject.ALL_CONTACTS))
    await config.create_cap(cap("b", 0, limit=CAP_LIMIT_MAX))


async def test_a_step_names_caps_that_are_there(config: Registry) -> None:
    """R24."""
    await config.create_cap(cap("a", 0))
    await config.create_rule(rule("good", steps=[told(exempt_from_caps=["a"])]))
    wrong = rule("bad", steps=[told(), told(id="second", not_counted_by_caps=["a", "no"])])
    with pytest.raises(InvalidField, match="caps/no does not exist") as refusal:
        await config.create_rule(wrong)
    assert refusal.value.field == "rule.steps[1].not_counted_by_caps[1]"
    made = config.snapshot.rule(ACCOUNT, "good")
    assert made is not None
    with pytest.raises(InvalidField):
        await config.update_rule(replace(made, steps=[told(exempt_from_caps=["no"])]))


async def test_a_cap_that_steps_name_is_not_deleted(config: Registry) -> None:
    """It says which steps; once none does, it goes."""
    await config.create_cap(cap("a", 0))
    made = await config.create_rule(rule("r", steps=[told(not_counted_by_caps=["a"])]))
    with pytest.raises(FailedPrecondition, match=r"rules/r \(step 'first'\)"):
        await config.delete_cap(ACCOUNT, "a")
    await config.update_rule(replace(made, steps=[told()]))
    await config.delete_cap(ACCOUNT, "a")


async def test_a_deleted_rule_names_no_cap(config: Registry) -> None:
    await config.create_cap(cap("a", 0))
    await config.create_rule(rule("r", steps=[told(exempt_from_caps=["a"])]))
    await config.delete_rule(ACCOUNT, "r")
    await config.delete_cap(ACCOUNT, "a")


async def test_a_volume_limit_counts_what_it_lets_pass(config: Registry) -> None:
    """R29: so no step may say that it does not, whichever comes first."""
    await config.create_cap(cap("v", 0, subject=CapSubject.ALL_CONTACTS))
    with pytest.raises(InvalidField, match="exempt_from_caps instead"):
        await config.create_rule(rule("r", steps=[told(not_counted_by_caps=["v"])]))
    await config.create_rule(rule("ok", steps=[told(exempt_from_caps=["v"])]))
    made = await config.create_cap(cap("a", 0))
    await config.create_rule(rule("r", steps=[told(not_counted_by_caps=["a"])]))
    with pytest.raises(FailedPrecondition, match="rules/r") as refusal:
        await config.update_cap(replace(made, subject=CapSubject.ALL_CONTACTS))
    assert refusal.value.field == "cap.subject"


async def test_what_a_step_says_of_caps_bites(config: Registry) -> None:
    """R13: it holds for what waits, from the next claim on."""
    await config.create_cap(cap("a", 0))
    made = await config.create_rule(rule("r"))
    bites = watch_bites(config)
    await config.update_rule(replace(made, steps=[told(on_cap=OnCap.SKIP)]))
    assert len(bites) == 1


async def test_the_default_caps_are_those_of_the_ruling(config: Registry) -> None:
    """h7, A30: one review request in 14 days, five messages in 30, one marketing SMS in 24 hours."""
    await config.ensure_account("new")
    found = {one.id: one for one in config.snapshot.caps("new")}
    days = {id: (one.limit, one.window_ms // 86_400_000) for id, one in found.items()}
    assert days == {"review-requests": (1, 14), "messages": (5, 30), "marketing-sms": (1, 1)}
    assert found["marketing-sms"].purposes == [Purpose.MARKETING]
    assert found["marketing-sms"].media == [Medium.SMS]
