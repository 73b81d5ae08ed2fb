"""Pause, freeze, stop and resume: from where to where, and what each leaves as it is."""

from __future__ import annotations

import pytest
import pytest_asyncio
from msgspec.structs import replace

from core.errors import FailedPrecondition, NotFound
from core.model import ActivationState, Family
from core.registry.catalogue import slot_of
from core.registry.registry import Registry
from tests.support.configuration import ACCOUNT, channel, rule
from tests.support.registries import (
    active,
    active_on,
    noted,
    registry_with_channels,
    stands,
    states,
    watch_bites,
)

VERBS = {
    "pause_rule": ActivationState.PAUSED, "freeze_rule": ActivationState.FROZEN,
    "stop_rule": ActivationState.STOPPED, "resume_rule": ActivationState.ACTIVE,
}  # fmt: skip


@pytest_asyncio.fixture
async def config() -> Registry:
    return await registry_with_channels()


async def brought_to(config: Registry, state: ActivationState) -> None:
    """Bring rule `a` on `es` into a state."""
    await active(config, rule("a"))
    if state == ActivationState.SUPERSEDED:
        await active(config, rule("b"))
        await config.deactivate(ACCOUNT, "b", "es")
    elif state == ActivationState.INACTIVE:
        await config.deactivate(ACCOUNT, "a", "es")
    for verb, leads_to in VERBS.items():
        if leads_to == state != ActivationState.ACTIVE:
            await getattr(config, verb)(ACCOUNT, "a", "es")
    assert stands(config, "a").state == state


LEADS = {
    "ACTIVE": {"pause_rule", "freeze_rule", "stop_rule"},
    "PAUSED": {"freeze_rule", "stop_rule", "resume_rule"},
    "FROZEN": {"stop_rule", "resume_rule"},
    "STOPPED": {"resume_rule"},
    "SUPERSEDED": {"stop_rule"},
    "INACTIVE": {"stop_rule"},
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("start", LEADS)
async def test_a_verb_leads_from_some_states_and_is_refused_in_the_others(
    config: Registry, start: str, verb: str
) -> None:
    """R14, d7, D16, D17, D20."""
    state = ActivationState[start]
    await brought_to(config, state)
    before = stands(config, "a")
    call = getattr(config, verb)(ACCOUNT, "a", "es", "eva")
    if verb in LEADS[start]:
        (changed,) = await call
        assert (changed.state, changed.actor) == (VERBS[verb], "eva")
        assert stands(config, "a") == changed
    elif state == VERBS[verb]:
        assert await call == [before], "as it is"
    else:
        with pytest.raises(FailedPrecondition, match=f"it is {start} on accounts/shop/channels/es"):
            await call
        assert stands(config, "a") == before


@pytest.mark.parametrize("verb", VERBS)
async def test_verbs_bite_even_if_repeated(config: Registry, verb: str) -> None:
    """R13: nothing starts after the answer, also where the first bite did not arrive."""
    await active(config, rule("a"))
    if verb == "resume_rule":
        await config.pause_rule(ACCOUNT, "a", "es")
    bites = watch_bites(config)
    await getattr(config, verb)(ACCOUNT, "a", "es")
    revision = config.snapshot.revision
    await getattr(config, verb)(ACCOUNT, "a", "es")
    assert bites == [revision, revision]
    assert config.snapshot.revision == revision


@pytest.mark.parametrize("verb", VERBS)
async def test_a_rule_that_never_was_active_has_nothing_to_change(
    config: Registry, verb: str
) -> None:
    await config.create_rule(rule("a"))
    for place in ("", "es"):
        with pytest.raises(FailedPrecondition, match="never active there"):
            await getattr(config, verb)(ACCOUNT, "a", place)
    for rule_id, place in (("a", "no"), ("no", "es")):
        with pytest.raises(NotFound, match="no does not exist"):
            await getattr(config, verb)(ACCOUNT, rule_id, place)


async def test_without_a_channel_a_verb_changes_all_on_which_it_is_possible(
    config: Registry,
) -> None:
    """R14: one write, and the answer says where the rule stands so now."""
    await config.create_channel(channel("de"))
    await active(config, rule("a"), "es", "fr", "de")
    await config.deactivate(ACCOUNT, "a", "de")
    await config.pause_rule(ACCOUNT, "a", "fr")
    revision = config.snapshot.revision
    paused = await config.pause_rule(ACCOUNT, "a")
    assert [(each.channel, each.state.name) for each in paused] == [
        ("es", "PAUSED"), ("fr", "PAUSED"),
    ]  # fmt: skip
    assert config.snapshot.revision == revision + 1
    assert stands(config, "a", "de").state == ActivationState.INACTIVE
    frozen = await config.freeze_rule(ACCOUNT, "a")
    assert [each.channel for each in frozen] == ["es", "fr"]
    stopped = await config.stop_rule(ACCOUNT, "a")
    assert [each.channel for each in stopped] == ["de", "es", "fr"], "also what waited where it was"


async def test_resuming_all_gives_back_what_stopping_all_has_taken(config: Registry) -> None:
    """D20: a rule does not come to work where somebody had switched it off, or another took over."""
    await config.create_channel(channel("de"))
    await active(config, rule("a"), "es", "fr", "de")
    await config.deactivate(ACCOUNT, "a", "fr")
    await active(config, rule("b"), "de")
    await config.stop_rule(ACCOUNT, "a")
    resumed = await config.resume_rule(ACCOUNT, "a")
    assert [each.channel for each in resumed] == ["es"]
    assert stands(config, "a", "fr").state == ActivationState.STOPPED
    await config.deactivate(ACCOUNT, "a", "es")
    with pytest.raises(FailedPrecondition, match=r"INACTIVE before: name the channel"):
        await config.resume_rule(ACCOUNT, "a")
    (there,) = await config.resume_rule(ACCOUNT, "a", "fr")
    assert (there.channel, there.state) == ("fr", ActivationState.ACTIVE)


async def test_a_stop_is_never_taken_back(config: Registry) -> None:
    """D17, D20: what was planned under its revision or an earlier one stays dead."""
    await active(config, rule("a"))
    (stopped,) = await config.stop_rule(ACCOUNT, "a", "es")
    revision = config.snapshot.revision
    assert stopped.stop_revision == revision
    await config.resume_rule(ACCOUNT, "a", "es")
    await config.pause_rule(ACCOUNT, "a", "es")
    await config.deactivate(ACCOUNT, "a", "es")
    await config.activate(ACCOUNT, "a", "es")
    await active(config, rule("b"))
    assert stands(config, "a").state == ActivationState.SUPERSEDED
    assert stands(config, "a").stop_revision == revision
    (again,) = await config.stop_rule(ACCOUNT, "a", "es")
    assert again.stop_revision == config.snapshot.revision > revision


async def test_a_paused_rule_keeps_its_slot_until_another_is_activated(config: Registry) -> None:
    """R14, R37."""
    moving = await active(config, rule("b", event_type="delivery"))
    await active(config, rule("a"))
    await config.pause_rule(ACCOUNT, "a", "es")
    with pytest.raises(FailedPrecondition, match="rules/a is active"):
        await config.update_rule(replace(moving, event_type="checkout"))
    _, replaced = await config.activate(ACCOUNT, (await config.create_rule(rule("c"))).id, "es")
    assert [each.rule for each in replaced] == ["a"]
    assert states(config) == {"a": "SUPERSEDED", "b": "ACTIVE", "c": "ACTIVE"}


async def test_a_frozen_rule_stays_frozen_when_another_takes_its_slot(config: Registry) -> None:
    """R14, d7: superseded, what it planned would go on, and nobody asked for that."""
    made = await active(config, rule("a"))
    await config.freeze_rule(ACCOUNT, "a", "es")
    place = config.snapshot.channel(ACCOUNT, "es")
    assert place is not None
    slot = slot_of(made, place)
    assert slot is not None
    assert [each.rule for each in config.snapshot.frozen(slot)] == ["a"]
    await config.create_rule(rule("b"))
    _, replaced = await config.activate(ACCOUNT, "b", "es")
    assert replaced == []
    assert states(config) == {"a": "FROZEN", "b": "ACTIVE"}
    assert [each.rule for each in config.snapshot.holders(slot)] == ["b"]
    with pytest.raises(FailedPrecondition, match="accounts/shop/rules/b has its place"):
        await config.resume_rule(ACCOUNT, "a", "es")
    _, replaced = await config.activate(ACCOUNT, "a", "es")
    assert [each.rule for each in replaced] == ["b"]
    assert states(config) == {"a": "ACTIVE", "b": "SUPERSEDED"}


async def test_resuming_all_is_refused_as_a_whole(config: Registry) -> None:
    """R14: all or nothing, and the error names who is in the way and where."""
    await active(config, rule("a"), "es", "fr")
    await config.stop_rule(ACCOUNT, "a")
    await active(config, rule("b"), "fr")
    with pytest.raises(FailedPrecondition, match=r"channels/fr: accounts/shop/rules/b has its"):
        await config.resume_rule(ACCOUNT, "a")
    assert active_on(config) == set()
    await config.deactivate(ACCOUNT, "b", "fr")
    assert len(await config.resume_rule(ACCOUNT, "a")) == 2


async def test_rules_of_free_families_are_resumed_side_by_side(config: Registry) -> None:
    """h1, D16, D20."""
    for id in ("a", "b"):
        await active(config, rule(id, family=Family.AUTOMATION))
        await config.stop_rule(ACCOUNT, id, "es")
    for id in ("a", "b"):
        await config.resume_rule(ACCOUNT, id, "es")
    assert active_on(config) == {"a", "b"}


@pytest.mark.parametrize("verb", ["pause_rule", "freeze_rule", "stop_rule"])
async def test_every_state_can_be_switched_off(config: Registry, verb: str) -> None:
    """A24, C25, h5."""
    await active(config, rule("a"))
    await getattr(config, verb)(ACCOUNT, "a", "es")
    off = await config.deactivate(ACCOUNT, "a", "es")
    assert off.state == ActivationState.INACTIVE
    with pytest.raises(FailedPrecondition, match="INACTIVE on"):
        await config.resume_rule(ACCOUNT, "a", "es")


async def test_a_channel_with_a_frozen_rule_stays(config: Registry) -> None:
    await active(config, rule("a"))
    await config.freeze_rule(ACCOUNT, "a", "es")
    with pytest.raises(FailedPrecondition, match="accounts/shop/rules/a active"):
        await config.delete_channel(ACCOUNT, "es")
    with pytest.raises(FailedPrecondition, match="email_sender"):
        await config.update_channel(channel("es", email_sender=None))
    await config.stop_rule(ACCOUNT, "a", "es")
    await config.delete_channel(ACCOUNT, "es")


async def test_verbs_are_noted_and_answered_once(config: Registry) -> None:
    """B5, A33: who changed what; a repeated request id gives the first answer."""
    await active(config, rule("a"))
    first = await config.pause_rule(ACCOUNT, "a", "es", "eva", "uuid")
    await config.resume_rule(ACCOUNT, "a", actor="bob")
    assert await config.pause_rule(ACCOUNT, "a", "es", "eva", "uuid") == first
    assert stands(config, "a").state == ActivationState.ACTIVE
    paused, resumed = (await noted(config))[-2:]
    assert (paused.actor, resumed.actor) == ("eva", "bob")
    assert (paused.method, paused.request_id) == ("pause_rule", "uuid")
    assert (resumed.method, resumed.target) == ("resume_rule", "accounts/shop/rules/a")
    assert paused.resource == resumed.resource == "accounts/shop/channels/es/activations/a"
    assert ('"state":3' in paused.after, paused.after) == (True, resumed.before)
    revision = config.snapshot.revision
    (answer,) = await config.stop_rule(ACCOUNT, "a", validate_only=True)
    assert answer.state == ActivationState.STOPPED
    assert config.snapshot.revision == revision


async def test_a_deleted_rule_is_switched_off_in_every_state(config: Registry) -> None:
    """d7, D19: deleting stops implicitly."""
    await active(config, rule("a"), "es", "fr")
    await config.freeze_rule(ACCOUNT, "a", "es")
    await config.stop_rule(ACCOUNT, "a", "fr")
    await config.delete_rule(ACCOUNT, "a")
    assert stands(config, "a").state == stands(config, "a", "fr").state == ActivationState.INACTIVE
