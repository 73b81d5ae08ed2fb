"""Switching rules on and off per channel, and the verbs pause, freeze, stop and resume.

Decides: from which state a verb leads to which, and the swap of an exclusive slot (A25, R14, R37).
Never: reads or writes a store, or asks the time. How edits work: `core/registry/drafts.py`.

    verb      from                                            to        what waits
    activate  any                                             ACTIVE    goes on
    pause     ACTIVE                                          PAUSED    goes on
    freeze    ACTIVE, PAUSED                                  FROZEN    is held
    stop      any but STOPPED, if the rule ever was active    STOPPED   is cancelled, for good
    resume    PAUSED, FROZEN, STOPPED                         ACTIVE    goes on, if not stopped
    switch    any but INACTIVE                                INACTIVE  is looked at when due
    off

Activating supersedes who holds the exclusive slot, ACTIVE or PAUSED; resuming is refused instead. A
FROZEN rule loses its slot to a rule that is activated there, but stays FROZEN: see
`core.registry.catalogue.STANDING`. Switched off while another holds the slot, what it planned goes on
as that of a superseded rule does (R14).

What a stop ends is told by `Activation.stop_revision`, which no other verb takes back: all that was
planned under that revision of the registry or an earlier one is dead (D17, D20).
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from core.errors import FailedPrecondition
from core.model import ActivationState
from core.registry.catalogue import STANDING
from core.registry.documents import channel_name, rule_name
from core.registry.drafts import Draft, found, names
from core.registry.product_rules import check_product_rules
from core.registry.readiness import check_ready
from core.registry.resources import Activation, Channel, Rule

_FROM: Final = {
    ActivationState.PAUSED: frozenset({ActivationState.ACTIVE}),
    ActivationState.FROZEN: frozenset({ActivationState.ACTIVE, ActivationState.PAUSED}),
    ActivationState.STOPPED: STANDING | {ActivationState.SUPERSEDED, ActivationState.INACTIVE},
    ActivationState.ACTIVE: frozenset({
        ActivationState.PAUSED, ActivationState.FROZEN, ActivationState.STOPPED,
    }),
}  # fmt: skip
"""State that a verb leads to -> states that it leads from."""

_DONE: Final = {
    ActivationState.PAUSED: "paused",
    ActivationState.FROZEN: "frozen",
    ActivationState.STOPPED: "stopped",
    ActivationState.ACTIVE: "resumed",
}


def activate(
    draft: Draft, account: str, rule_id: str, channel_id: str
) -> tuple[Activation, list[Activation]]:
    """Make a rule ACTIVE on a channel; who held its exclusive slot is SUPERSEDED (A25, R37).

    Returns:
        The activation, and those that it replaced: none or one. One that is ACTIVE already is
        returned as it is.
    """
    rule = found(draft.base.rule(account, rule_id), rule_name(account, rule_id))
    channel = found(draft.base.channel(account, channel_id), channel_name(account, channel_id))
    present = draft.base.activation(account, channel_id, rule_id)
    if present is not None and present.state == ActivationState.ACTIVE:
        # Again, in case the first time was written but did not come to bite.
        draft.bites = True
        return present, []
    return switch_on(draft, rule, channel)


def switch_on(draft: Draft, rule: Rule, channel: Channel) -> tuple[Activation, list[Activation]]:
    """Make a rule ACTIVE as the draft has it, with all checks, even if it is ACTIVE already."""
    check_ready(draft.base, rule, channel)
    superseded = [
        draft.stand(rival, ActivationState.SUPERSEDED) for rival in draft.rivals(rule, channel)
    ]
    present = draft.activation(rule.account, channel.id, rule.id)
    if present.state != ActivationState.ACTIVE:
        present = draft.stand(present, ActivationState.ACTIVE)
    check_product_rules(draft, rule, channel)
    return present, superseded


def deactivate(draft: Draft, account: str, rule_id: str, channel_id: str) -> Activation:
    """Switch a rule off on a channel; what waits is looked at when due (h5)."""
    found(draft.base.rule(account, rule_id), rule_name(account, rule_id))
    found(draft.base.channel(account, channel_id), channel_name(account, channel_id))
    # Again, in case the first time was written but did not come to bite.
    draft.bites = True
    present = draft.activation(account, channel_id, rule_id)
    if present.state == ActivationState.INACTIVE:
        return present
    return draft.stand(present, ActivationState.INACTIVE)


def change_state(
    draft: Draft, account: str, rule_id: str, channel_id: str, state: ActivationState
) -> list[Activation]:
    """Pause, freeze, stop or resume a rule on one channel, or on all on which that is possible.

    A rule that was stopped where it was not at work, being switched off or superseded, is resumed
    there only by naming the channel: resuming all gives back what stopping all has taken.

    Args:
        channel_id: "" for all.
        state: what the verb leads to: PAUSED, FROZEN, STOPPED or ACTIVE.

    Returns:
        Where the rule stands so now, by channel; where it did before, it is returned as it is.
    """
    rule = found(draft.base.rule(account, rule_id), rule_name(account, rule_id))
    there = list(draft.base.activations_of(rule))
    if channel_id:
        found(draft.base.channel(account, channel_id), channel_name(account, channel_id))
        there = [each for each in there if each.channel == channel_id]
    # Again, in case the first time was written but did not come to bite.
    draft.bites = True
    affected = [
        each for each in there if each.state == state or _may_change(each, state, not channel_id)
    ]
    if not affected:
        raise FailedPrecondition(
            f"{rule.name} cannot be {_DONE[state]}: it must be {_names_of(state)}, but {_told(there)}"
        )
    return [
        each if each.state == state else _changed(draft, rule, each, state) for each in affected
    ]


def _may_change(present: Activation, state: ActivationState, is_for_all: bool) -> bool:
    if present.state not in _FROM[state]:
        return False
    if present.state == ActivationState.STOPPED and is_for_all:
        return present.stopped_from in STANDING
    return True


def _changed(draft: Draft, rule: Rule, present: Activation, state: ActivationState) -> Activation:
    if state == ActivationState.STOPPED:
        return draft.stand(replace(present, stop_revision=draft.revision), state)
    if state != ActivationState.ACTIVE:
        return draft.stand(present, state)
    channel = draft.base.channel(present.account, present.channel)
    assert channel is not None, "activations go with their channel"
    check_ready(draft.base, rule, channel)
    rivals = [rule_name(each.account, each.rule) for each in draft.rivals(rule, channel)]
    if rivals:
        raise FailedPrecondition(
            f"{rule.name} cannot be resumed on {channel.name}: {names(rivals)} has its place; "
            "activate it to take the place back"
        )
    changed = draft.stand(present, state)
    check_product_rules(draft, rule, channel)
    return changed


def _names_of(state: ActivationState) -> str:
    return " or ".join(each.name for each in sorted(_FROM[state]))


def _told(there: list[Activation]) -> str:
    if not there:
        return "it was never active there"
    standing = []
    for each in there:
        was = each.stopped_from
        before = f" ({was.name} before: name the channel)" if was and was not in STANDING else ""
        standing.append(f"{each.state.name} on {channel_name(each.account, each.channel)}{before}")
    return f"it is {names(standing)}"
