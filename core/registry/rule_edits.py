"""Changes to rules.

Decides: which are allowed; what a rule that is at work must still be after a change, and the tombstone
of a deleted rule.
Never: reads or writes a store, asks the time, or checks what a request can be checked for by itself
(`control/` does, before). How edits work: `core/registry/drafts.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from core.bounds import RULES_PER_ACCOUNT_MAX
from core.errors import AlreadyExists, FailedPrecondition, InvalidField
from core.model import REVIEW_FAMILIES, ActivationState
from core.registry.activation_edits import switch_on
from core.registry.cap_edits import check_named_caps
from core.registry.cap_rules import said_of_caps
from core.registry.catalogue import HOLDING, STANDING, Catalogue
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
    edited,
    found,
    names,
    require_account,
    require_free,
)
from core.registry.edits import types_of
from core.registry.product_rules import check_product_rules
from core.registry.readiness import check_configured, check_sender
from core.registry.resources import Rule
from core.registry.store import Kind


def create_rule(draft: Draft, new: Rule, activate_on: Sequence[str] = ()) -> Rule:
    """Add a rule, inactive everywhere (A12), or switched on for channels, given by id (B24)."""
    require_account(draft.base, new.account)
    check_room(draft.base, new.account, 1)
    created = add(draft, new)
    _switch_on_all(draft, created, activate_on)
    return created


def update_rule(draft: Draft, new: Rule, etag: str, activate_on: Sequence[str] = ()) -> Rule:
    """Change a rule: a new revision; those before stay readable (A27, R40).

    Switching a step bites, and so does what else ends messages that fall due. The trigger may become
    any other, but where the rule is at work and not to be switched on anew, it may not move into a
    slot that another rule holds (R37).
    """
    present = found(draft.base.rule(new.account, new.id), new.name)
    changed = revise(draft, present, new, etag)
    _switch_on_all(draft, changed, activate_on)
    if changed is not present:
        check_where_at_work(draft, changed)
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


def duplicate_rule(
    draft: Draft, account: str, rule_id: str, new_id: str, display_name: str
) -> Rule:
    """Add a rule like another: everything but runs, counters and activations (D18)."""
    source = found(draft.base.rule(account, rule_id), rule_name(account, rule_id))
    new = replace(
        source,
        id=new_id,
        display_name=display_name or source.display_name,
        copied_from="",
        copied_for="",
    )
    return create_rule(draft, new)


# --- what other edits of rules are made of --------------------------------------------------------


def check_room(base: Catalogue, account: str, added_count: int) -> None:
    """Refuse more rules than an account may have."""
    check_count(base.rules(account), RULES_PER_ACCOUNT_MAX, "rules", added_count)


def add(draft: Draft, new: Rule) -> Rule:
    """Write a new rule in its first revision."""
    require_free(draft.rule(new.account, new.id), new.name)
    if draft.base.deleted_rule(new.account, new.id) is not None:
        raise AlreadyExists(
            f"{new.name} was deleted, and invitations may still refer to it; choose another id"
        )
    _check_trigger(draft.base, new)
    check_named_caps(draft.base, new)
    number = draft.next_number(RULE_COUNTER, FOUR_BYTES_MAX)
    first = replace(new, revision=1, is_deleted=False)
    return draft.put_rule(draft.created(first, number))


def revise(draft: Draft, present: Rule, new: Rule, etag: str) -> Rule:
    """Write the next revision of a rule, or return `present` itself if nothing differs."""
    kept = replace(
        new,
        revision=present.revision,
        is_deleted=False,
        copied_from=present.copied_from,
        copied_for=present.copied_for,
        automation=present.automation,
    )
    changed = edited(draft, present, kept, etag)
    if changed is present:
        return present
    if changed.family != present.family:
        raise InvalidField("the family of a rule cannot be changed", field="rule.family")
    _check_trigger(draft.base, changed)
    check_named_caps(draft.base, changed)
    if _ends_what_waits(present, changed):
        draft.bites = True
    draft.put(Kind.RULE_REVISION, revision_key(present.number, present.revision), present)
    return draft.put_rule(replace(changed, revision=present.revision + 1))


def check_where_at_work(draft: Draft, rule: Rule) -> None:
    """Refuse a rule that no longer fits where it is ACTIVE, PAUSED or FROZEN.

    It keeps to what it must have (D22), to one rule per slot (R37), and to its counterpart (R38).
    Where the draft itself switches it on, `switch_on` has looked.
    """
    for activation in draft.base.activations_of(rule):
        if activation.state not in STANDING:
            continue
        channel = draft.base.channel(activation.account, activation.channel)
        assert channel is not None, "activations go with their channel"
        check_configured(rule)
        check_sender(draft.base, rule, channel)
        rivals = draft.rivals(rule, channel) if activation.state in HOLDING else []
        if rivals:
            active = names(rule_name(each.account, each.rule) for each in rivals)
            raise FailedPrecondition(
                f"{active} is active on {channel.name} for {rule.event_type}; switch one of them off "
                "first",
                field="rule.trigger.event_type",
            )
        check_product_rules(draft, rule, channel)


def _switch_on_all(draft: Draft, rule: Rule, channel_ids: Sequence[str]) -> None:
    for channel_id in dict.fromkeys(channel_ids):
        name = channel_name(rule.account, channel_id)
        switch_on(draft, rule, found(draft.base.channel(rule.account, channel_id), name))


def _ends_what_waits(present: Rule, changed: Rule) -> bool:
    """Return whether a change holds for what waits: it ends some of it, or caps look at it otherwise."""
    enabled = {step.id: step.enabled for step in present.steps}
    said = {step.id: said_of_caps(step) for step in present.steps}
    return (
        changed.event_type != present.event_type
        or changed.required_features != present.required_features
        or any(enabled.get(step.id, step.enabled) != step.enabled for step in changed.steps)
        or any(
            said.get(step.id, said_of_caps(step)) != said_of_caps(step) for step in changed.steps
        )
    )


def _check_trigger(base: Catalogue, rule: Rule) -> None:
    others = (rule.purchase, rule.dormant, rule.debounce)
    if rule.family in REVIEW_FAMILIES and (not rule.event_type or others != (None, None, None)):
        raise InvalidField(
            "a rule that asks for reviews is set off by each event of one type: event_type is the only "
            "trigger for it",
            field="rule.trigger",
        )
    if (rule.event_type, *others) == ("", None, None, None):
        raise InvalidField("rule.trigger says what sets the rule off", field="rule.trigger")
    for event_type, field in types_of(rule).items():
        if base.event_type(rule.account, event_type) is None:
            raise InvalidField(
                f"{event_type_name(rule.account, event_type)} does not exist; list event types with "
                "ListEventTypes, or add it with CreateEventType",
                field=field,
            )
