"""Duplicates, and copies pushed to other channels: all or nothing, and each time the same copy."""

from __future__ import annotations

import pytest
import pytest_asyncio
from msgspec.structs import replace

from core.errors import AlreadyExists, FailedPrecondition, LimitExceeded, NotFound
from core.model import ActivationState, Family, Medium
from core.registry import rule_edits
from core.registry.copies import CopyChange
from core.registry.registry import Registry
from core.registry.resources import Account, Entitlement, Rule
from core.registry.rule_parts import ProductTiming, ReviewSettings
from tests.support.configuration import ACCOUNT, channel, rule, step
from tests.support.registries import (
    active,
    active_on,
    registry_with_channels,
    stands,
    states,
    watch_bites,
)


@pytest_asyncio.fixture
async def config() -> Registry:
    config = await registry_with_channels()
    await config.create_channel(channel("de"))
    return config


def told(changes: list[CopyChange]) -> list[tuple[str, str, bool, str, list[str]]]:
    return [
        (
            each.channel, each.rule.id, each.created, each.activation.state.name,
            [other.rule for other in each.superseded],
        )
        for each in changes
    ]  # fmt: skip


def content(rule: Rule) -> Rule:
    """Return a rule without what is its own."""
    return replace(
        rule, id="", number=0, revision=1, changed_revision=0, create_ms=0, update_ms=0,
        copied_from="", copied_for="",
    )  # fmt: skip


# --- duplicates -----------------------------------------------------------------------------------


async def test_a_duplicate_has_everything_but_runs_and_activations(config: Registry) -> None:
    """D18."""
    made = await active(config, rule("a", priority=7, display_name="Ask", automation="ask"))
    await config.update_rule(replace(made, priority=8))
    copy = await config.duplicate_rule(ACCOUNT, "a", "b", actor="eva")
    assert (copy.id, copy.number, copy.revision, copy.copied_from) == ("b", 2, 1, "")
    assert content(copy) == content(replace(made, priority=8))
    assert config.snapshot.activations_of(copy) == ()
    named = await config.duplicate_rule(ACCOUNT, "b", "c", "Another")
    assert named.display_name == "Another"
    await config.update_rule(replace(copy, priority=1))
    assert config.snapshot.rule(ACCOUNT, "a") != config.snapshot.rule(ACCOUNT, "c")
    original = config.snapshot.rule(ACCOUNT, "a")
    assert original is not None
    assert original.priority == 8, "independent"


async def test_a_duplicate_needs_a_source_and_a_free_id(config: Registry) -> None:
    await config.create_rule(rule("a"))
    with pytest.raises(NotFound, match="rules/no"):
        await config.duplicate_rule(ACCOUNT, "no", "b")
    with pytest.raises(AlreadyExists, match="rules/a exists"):
        await config.duplicate_rule(ACCOUNT, "a", "a")
    first = await config.duplicate_rule(ACCOUNT, "a", "b", op_id="uuid")
    assert await config.duplicate_rule(ACCOUNT, "a", "b", op_id="uuid") == first


# --- copies ---------------------------------------------------------------------------------------


async def test_copying_gives_every_channel_a_rule_of_its_own(config: Registry) -> None:
    """B11, B23, B38, R41: active, superseding, in one write, with a list of what changed."""
    source = await active(config, rule("ask", display_name="Ask", priority=3))
    await active(config, rule("old"), "fr")
    bites = watch_bites(config)
    revision = config.snapshot.revision
    changes = await config.copy_rule(ACCOUNT, "ask", None, actor="eva")
    assert told(changes) == [
        ("de", "ask-de", True, "ACTIVE", []),
        ("fr", "ask-fr", True, "ACTIVE", ["old"]),
    ], "not es: the rule itself is active there"
    assert config.snapshot.revision == revision + 1
    assert bites == [revision + 1]
    for change in changes:
        assert (change.rule.copied_from, change.rule.copied_for) == ("ask", change.channel)
        assert content(change.rule) == content(source)
        assert config.snapshot.rule(ACCOUNT, change.rule.id) == change.rule
    assert states(config, "fr") == {"ask-fr": "ACTIVE", "old": "SUPERSEDED"}
    await config.update_rule(replace(changes[0].rule, priority=9))
    untouched = config.snapshot.rule(ACCOUNT, "ask-fr")
    assert untouched == changes[1].rule, "independent rules"


async def test_copying_again_brings_the_same_copies_up_to_date(config: Registry) -> None:
    """B23, R41: those that are as they should be are not listed."""
    source = await active(config, rule("ask"))
    await config.copy_rule(ACCOUNT, "ask", None)
    assert await config.copy_rule(ACCOUNT, "ask", None) == []
    await config.deactivate(ACCOUNT, "ask-de", "de")
    assert told(await config.copy_rule(ACCOUNT, "ask", None)) == [
        ("de", "ask-de", False, "ACTIVE", [])
    ]
    await config.update_rule(replace(source, priority=5))
    copy = config.snapshot.rule(ACCOUNT, "ask-de")
    assert copy is not None
    await config.update_rule(replace(copy, priority=6, copied_from="", copied_for=""))
    changes = await config.copy_rule(ACCOUNT, "ask", ["fr", "de", "fr"])
    assert [(each.channel, each.rule.id, each.rule.revision) for each in changes] == [
        ("de", "ask-de", 3), ("fr", "ask-fr", 2),
    ]  # fmt: skip
    assert [each.rule.priority for each in changes] == [5, 5]
    assert config.snapshot.rule_revision(copy.number, 2) is not None


async def test_a_channel_on_which_the_rule_itself_works_is_left_alone(config: Registry) -> None:
    """R41: also where it was paused: that was somebody's decision."""
    await active(config, rule("ask"), "es", "fr")
    await config.pause_rule(ACCOUNT, "ask", "fr")
    assert told(await config.copy_rule(ACCOUNT, "ask", ["es", "fr"])) == []
    await config.deactivate(ACCOUNT, "ask", "fr")
    assert told(await config.copy_rule(ACCOUNT, "ask", ["es", "fr"])) == [
        ("fr", "ask-fr", True, "ACTIVE", [])
    ]


async def test_a_duplicate_of_a_copy_is_no_copy(config: Registry) -> None:
    """D18: pushing the rule again finds the copy that was made for the channel."""
    source = await config.create_rule(rule("ask"))
    await config.copy_rule(ACCOUNT, "ask", ["fr"])
    free = await config.duplicate_rule(ACCOUNT, "ask-fr", "zzz")
    assert (free.copied_from, free.copied_for) == ("", "")
    await config.update_rule(replace(source, priority=5))
    (change,) = await config.copy_rule(ACCOUNT, "ask", ["fr"])
    assert (change.rule.id, change.created) == ("ask-fr", False)


async def test_a_copy_that_was_deleted_is_made_anew(config: Registry) -> None:
    await config.create_rule(rule("ask"))
    await config.create_rule(rule("ask-de"))
    await config.copy_rule(ACCOUNT, "ask", ["fr"])
    await config.delete_rule(ACCOUNT, "ask-fr")
    changes = await config.copy_rule(ACCOUNT, "ask", ["de", "fr"])
    assert [each.rule.id for each in changes] == ["ask-de-2", "ask-fr-2"]
    assert all(each.created for each in changes)


async def test_ids_of_copies_stay_within_their_bound_and_apart(config: Registry) -> None:
    long = "c" * 62
    for id in (f"{long}a", f"{long}b"):
        await config.create_channel(channel(id))
    await config.create_rule(rule("r" * 63))
    ids = [each.rule.id for each in await config.copy_rule(ACCOUNT, "r" * 63, None)]
    assert len(set(ids)) == 5
    assert all(len(id) == 63 for id in ids)


async def test_copying_is_all_or_nothing(config: Registry) -> None:
    """B23: one channel without a sender, and nothing is written."""
    await config.create_channel(channel("bare", email_sender=None))
    await config.create_rule(rule("ask"))
    state = config.snapshot.state
    with pytest.raises(FailedPrecondition, match="channels/bare has no email_sender"):
        await config.copy_rule(ACCOUNT, "ask", None)
    with pytest.raises(NotFound, match="channels/no"):
        await config.copy_rule(ACCOUNT, "ask", ["fr", "no"])
    assert config.snapshot.state == state
    checked = await config.copy_rule(ACCOUNT, "ask", ["de", "fr"], validate_only=True)
    assert len(checked) == 2
    assert config.snapshot.state == state


async def test_copies_pass_the_checks_of_an_activation(config: Registry) -> None:
    """B26, B38, R38: entitlement and waits, on each channel."""
    products = rule("p", family=Family.PRODUCT_REVIEW)
    await config.create_rule(products)
    await active(config, rule("slow", steps=[step(days=30)]), "fr")
    with pytest.raises(FailedPrecondition, match=r"rules/p-fr waits 14 days, .*/slow 30 days"):
        await config.copy_rule(ACCOUNT, "p", None)
    combined = ReviewSettings(product_timing=ProductTiming.SAME_AS_SERVICE)
    await config.update_rule(replace(products, review=combined))
    with pytest.raises(FailedPrecondition, match="rules/p-de asks together with the service"):
        await config.copy_rule(ACCOUNT, "p", None)
    assert len(await config.copy_rule(ACCOUNT, "p", ["fr"])) == 1
    await config.update_account(Account(id=ACCOUNT, entitlements=(Entitlement.AUTOMATIONS,)))
    with pytest.raises(FailedPrecondition, match="ENTITLEMENT PRODUCT_REVIEWS"):
        await config.copy_rule(ACCOUNT, "p", ["de"])


async def test_a_copy_that_works_elsewhere_too_keeps_to_what_it_needs_there(
    config: Registry,
) -> None:
    source = await config.create_rule(rule("ask", steps=[step(medium=Medium.SMS)]))
    await config.create_channel(channel("bare", email_sender=None))
    await config.copy_rule(ACCOUNT, "ask", ["fr"])
    await config.activate(ACCOUNT, "ask-fr", "bare")
    await config.update_rule(replace(source, steps=[step()]))
    with pytest.raises(FailedPrecondition, match="channels/bare has no email_sender"):
        await config.copy_rule(ACCOUNT, "ask", ["fr"])


async def test_an_account_has_room_for_all_copies_or_gets_none(
    config: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_edits, "RULES_PER_ACCOUNT_MAX", 3)
    await config.create_rule(rule("ask"))
    with pytest.raises(LimitExceeded, match="3 rules"):
        await config.copy_rule(ACCOUNT, "ask", None)
    await config.copy_rule(ACCOUNT, "ask", ["de", "fr"])
    assert await config.copy_rule(ACCOUNT, "ask", ["de", "fr"]) == []


async def test_a_copy_for_a_channel_of_a_free_family_stands_beside_others(
    config: Registry,
) -> None:
    """h1, B11."""
    await active(config, rule("news", family=Family.NOTIFICATION), "de", "fr")
    await config.create_rule(rule("sale", family=Family.NOTIFICATION))
    changes = await config.copy_rule(ACCOUNT, "sale", ["de"], op_id="uuid")
    assert changes[0].superseded == []
    assert active_on(config, "de") == {"news", "sale-de"}
    assert await config.copy_rule(ACCOUNT, "sale", ["de"], op_id="uuid") == changes
    assert stands(config, "sale-de", "de").state == ActivationState.ACTIVE
