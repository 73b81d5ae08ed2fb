"""A registry in memory with an account and the channels `es` and `fr`, for tests of its edits."""

from __future__ import annotations

from core.clock import ManualClock
from core.model import ActivationState
from core.registry.audit import AuditEntry, AuditFilter
from core.registry.memory_store import MemoryRegistryStore
from core.registry.registry import Registry
from core.registry.resources import Activation, Rule
from tests.support.configuration import ACCOUNT, EveryRuleMatches, channel

NOW = 1_700_000_000_000
CHANNELS = ("es", "fr")


async def registry_with_channels() -> Registry:
    store = MemoryRegistryStore(ManualClock(NOW))
    config = await Registry.open(store, ManualClock(NOW), EveryRuleMatches)
    await config.ensure_account(ACCOUNT)
    for id in CHANNELS:
        await config.create_channel(channel(id))
    return config


def watch_bites(config: Registry) -> list[int]:
    """Return a list that grows by the revision of every change that bites (R13)."""
    seen: list[int] = []

    async def bite(revision: int) -> None:
        seen.append(revision)

    config.on_bite.append(bite)
    return seen


async def noted(config: Registry) -> list[AuditEntry]:
    """Return who changed what, oldest first."""
    found, _ = await config.audit_entries(ACCOUNT, AuditFilter(), "", 100_000)
    return [each.entry for each in reversed(found)]


async def active(config: Registry, new: Rule, *channels: str) -> Rule:
    """Create a rule and switch it on."""
    created = await config.create_rule(new)
    for id in channels or ("es",):
        await config.activate(ACCOUNT, created.id, id)
    return created


def stands(config: Registry, rule_id: str, channel_id: str = "es") -> Activation:
    found = config.snapshot.activation(ACCOUNT, channel_id, rule_id)
    assert found is not None
    return found


def states(config: Registry, channel_id: str = "es") -> dict[str, str]:
    """Return how each rule stands on a channel."""
    return {each.rule: each.state.name for each in config.snapshot.activations(ACCOUNT, channel_id)}


def active_on(config: Registry, channel_id: str = "es") -> set[str]:
    found = config.snapshot.activations(ACCOUNT, channel_id)
    return {each.rule for each in found if each.state == ActivationState.ACTIVE}
