"""Which of the shop's own templates a message was made from, and in which revision (D1).

Decides: it from the rule as it was sent and the times of the template's revisions; of a reminder of a
review request the plan says it (B19).
Never: for what was not sent, or for a template that has been deleted.

A change that falls between the rendering of a message and its settlement, at most the lease of a claim,
is taken for one before it.
"""

from __future__ import annotations

from core.engine.plans import step_index
from core.model import REVIEW_FAMILIES, Medium, State
from core.records import FLAG_FELL_BACK, PlanDetail, Reference
from core.registry.contents import ContentTemplate
from core.registry.rule_content import as_said
from core.registry.snapshot import Snapshot

_SENT = frozenset({State.SENT, State.DELIVERED})


def said_template(snapshot: Snapshot, ref: Reference, detail: PlanDetail) -> ContentTemplate | None:
    """Return the template of a message in the revision that was sent, None for one that is shipped."""
    if ref.state not in _SENT:
        return None
    rule = snapshot.rule_revision(ref.rule_number, ref.content_revision)
    index = step_index(rule, detail.step, -1) if rule is not None else -1
    if rule is None or index < 0:
        return None
    step = rule.steps[index]
    action = next((one for one in step.actions if one.medium == ref.medium), None)
    if action is None:
        return None
    template = as_said(rule, step.id, action).template
    if detail.platform and not ref.flags & FLAG_FELL_BACK:
        platform = snapshot.platform(detail.account, detail.platform)
        if detail.parent_sequence:
            template = detail.platform_template
        elif platform is not None:
            template = platform.templates.get(Medium(ref.medium), template)
    newest = snapshot.template(detail.account, template) if template else None
    if newest is None or newest.medium != ref.medium:
        return None
    if rule.family in REVIEW_FAMILIES and detail.template_revision:
        return snapshot.template_revision(newest.account, newest.id, detail.template_revision)
    kept = snapshot.template_revisions(newest)
    return next((one for one in reversed(kept) if one.update_ms <= ref.settle_ms), kept[0])
