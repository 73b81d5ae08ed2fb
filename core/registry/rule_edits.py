"""Changes to rules, and switching them on and off per channel.

Decides: which are allowed; the swap of an exclusive slot, and the tombstone of a deleted rule.
Never: reads or writes a store, asks the time, or checks what a request can be checked for by itself
(`control/` does, before). How edits work: `core/registry/drafts.py`.
"""

from __future__ import annotations

from msgspec.structs import replace

from core.bounds import RULES_PER_ACCOUNT_MAX
from core.errors import AlreadyExists, FailedPrecondition, InvalidField
from core.model import ActivationState
from core.registry.catalogue import HOLDING, Catalogue, slot_of
from core.registry.documents import (
    RULE_COUNTER,
    channel_name,
    event_type_name,
    revision_key,
    rule_name,
)
from core.registry.drafts import (
    FOUR_BYTES_MAX,
    Draft,
    check_count,
    check_etag,
    check_sender,
    edited,
    found,
    require_account,
    require_free,
)
from core.registry.resources import Activation, Rule
from core.registry.store import Kind

# --- rules --------------------------------------------------------------------------------------


def create_rule(draft: Draft, new: Rule) -> Rule:
    """Add a rule, inactive everywhere (A12)."""
    require_account(draft.base, new.account)
    require_free(draft.base.rule(new.account, new.id), new.name)
    if draft.base.deleted_rule(new.account, new.id) is not None:
        raise AlreadyExists(
            f"{new.name} was deleted, and invitations may still refer to it; choose another id"
        )
    check_count(draft.base.rules(new.account), RULES_PER_ACCOUNT_MAX, "rules")
    _check_event_types(draft.base, new)
    number = draft.next_number(RULE_COUNTER, FOUR_BYTES_MAX)
    first = replace(new, revision=1, is_deleted=False)
    return draft.create(Kind.RULE, new.name, first, number)


def update_rule(draft: Draft, new: Rule, etag: str) -> Rule:
    """Change a rule: a new revision; those before stay readable (A27, R40).

    Switching a step bites. A trigger may move to another event type only where that does not make
    two rules active in one slot (R37).
    """
    present = found(draft.base.rule(new.account, new.id), new.name)
    kept = replace(new, revision=present.revision, is_deleted=False)
    changed = edited(draft, present, kept, etag)
    if changed is present:
        return present
    if changed.family != present.family:
        raise InvalidField("the family of a rule cannot be changed", field="rule.family")
    _check_event_types(draft.base, changed)
    for activation in draft.base.activations_of(present):
        if activation.state in HOLDING:
            _check_still_fits(draft.base, changed, activation)
    changed = replace(changed, revision=present.revision + 1)
    enabled = {step.id: step.enabled for step in present.steps}
    draft.bites = changed.event_type != present.event_type or any(
        enabled.get(step.id, step.enabled) != step.enabled for step in changed.steps
    )
    draft.put(Kind.RULE_REVISION, revision_key(present.number, present.revision), present)
    draft.put(Kind.RULE, changed.name, changed)
    return changed


def delete_rule(draft: Draft, account: str, rule: str, etag: str) -> None:
    """Delete a rule, leaving a tombstone by which what waits is recognised and cancelled (d7)."""
    present = found(draft.base.rule(account, rule), rule_name(account, rule))
    check_etag(present, etag)
    for activation in draft.base.activations_of(present):
        if activation.state != ActivationState.INACTIVE:
            draft.stand(activation, ActivationState.INACTIVE)
    tombstone = replace(
        present, is_deleted=True, changed_revision=draft.revision, update_ms=draft.now_ms
    )
    draft.put(Kind.RULE, present.name, tombstone)
    draft.bites = True


# --- activation ---------------------------------------------------------------------------------


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
    present = draft.base.activation(account, channel_id, rule_id) or Activation(
        account=account, channel=channel_id, rule=rule_id, state=ActivationState.INACTIVE
    )
    if present.state == ActivationState.ACTIVE:
        draft.bites = True
        return present, []
    check_sender(rule, channel)
    slot = slot_of(rule, channel.name)
    superseded = [
        draft.stand(holder, ActivationState.SUPERSEDED)
        for holder in (draft.base.holders(slot) if slot is not None else ())
        if holder.rule != rule_id
    ]
    return draft.stand(present, ActivationState.ACTIVE), superseded


def deactivate(draft: Draft, account: str, rule_id: str, channel_id: str) -> Activation:
    """Switch a rule off on a channel; what waits is looked at when due (h5)."""
    found(draft.base.rule(account, rule_id), rule_name(account, rule_id))
    found(draft.base.channel(account, channel_id), channel_name(account, channel_id))
    present = draft.base.activation(account, channel_id, rule_id)
    # Again, in case the first time was written but did not come to bite.
    draft.bites = True
    if present is None:
        return Activation(
            account=account, channel=channel_id, rule=rule_id, state=ActivationState.INACTIVE
        )
    if present.state == ActivationState.INACTIVE:
        return present
    return draft.stand(present, ActivationState.INACTIVE)


def _check_event_types(base: Catalogue, rule: Rule) -> None:
    if base.event_type(rule.account, rule.event_type) is None:
        raise InvalidField(
            f"{event_type_name(rule.account, rule.event_type)} does not exist",
            field="rule.trigger.event_type",
        )
    for index, stop in enumerate(rule.stop_when):
        if base.event_type(rule.account, stop) is None:
            raise InvalidField(
                f"{event_type_name(rule.account, stop)} does not exist",
                field=f"rule.stop_when.event_types[{index}]",
            )


def _check_still_fits(base: Catalogue, rule: Rule, activation: Activation) -> None:
    """An active rule keeps to one rule per slot and to what its channel has, when it changes."""
    channel = base.channel(activation.account, activation.channel)
    assert channel is not None, "activations go with their channel"
    check_sender(rule, channel)
    slot = slot_of(rule, channel.name)
    for holder in base.holders(slot) if slot is not None else ():
        if holder.rule != rule.id:
            raise FailedPrecondition(
                f"{rule_name(holder.account, holder.rule)} is active on {channel.name} for "
                f"{rule.event_type}; switch one of them off first",
                field="rule.trigger.event_type",
            )
