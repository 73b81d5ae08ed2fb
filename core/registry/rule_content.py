"""What an action says, with what it takes over from the step before it.

Decides: that a reminder repeats the invitation (B19).
Never: what a template says, or which is the default (senders/).
"""

from __future__ import annotations

from msgspec.structs import replace

from core.model import REVIEW_FAMILIES
from core.registry.resources import Rule
from core.registry.rule_parts import Action


def as_said(rule: Rule, step_id: str, action: Action) -> Action:
    """Return an action with the content that it inherits.

    A reminder of a review request that names no template of its own has that of the first step over
    the same medium, with its preheader and text where it has none; only the subject is its own (B19).

    Args:
        rule: the revision that counts for the message.
        step_id: of the action's step.
    """
    first = rule.steps[0]
    if rule.family not in REVIEW_FAMILIES or step_id == first.id:
        return action
    parent = next((one for one in first.actions if one.medium == action.medium), None)
    if parent is None or action.template not in ("", parent.template):
        return action
    return replace(
        action,
        template=parent.template,
        preheader=action.preheader or parent.preheader,
        body=action.body or parent.body,
        whatsapp_parameters=action.whatsapp_parameters or parent.whatsapp_parameters,
    )
