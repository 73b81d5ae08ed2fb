"""Which of the shop's own templates a message was made from, and in which revision (D1).

Decides: the mark that is kept of what was sent, and what it says later.
Never: for what was not sent, or for a template that has been deleted.

    mark 0        not known: it was sent before marks were kept
    mark 1        none of the shop's own
    mark 2..255   2 + revision modulo 254: of one template fewer revisions are kept

Of messages without a mark the revision follows from the times of the template's changes, of a reminder
of a review request from its plan (B19). That may be one too new.
"""

from __future__ import annotations

from collections.abc import Iterator

from core import bounds
from core.engine.plans import step_index
from core.engine.stand_in import MODE_BY_HAND
from core.model import REVIEW_FAMILIES, Medium
from core.records import FLAG_FELL_BACK, PlanDetail, Reference
from core.registry.contents import ContentTemplate
from core.registry.resources import Rule
from core.registry.rule_content import as_said
from core.registry.rule_parts import Action
from core.registry.snapshot import Snapshot
from core.sending import Letter

_SHIPPED = 1
_OWN = 2
_REVISIONS = 256 - _OWN

_APART_MS = bounds.MINUTE_MS
"""How far the clocks of who edits and who sends may be apart."""

assert bounds.TEMPLATE_REVISIONS_MAX < _REVISIONS


def template_mark(letter: Letter) -> int:
    """Return the mark that tells which revision of which kind of template a letter says."""
    own = letter.content
    return _SHIPPED if own is None else _OWN + own.revision % _REVISIONS


def said_template(snapshot: Snapshot, ref: Reference, detail: PlanDetail) -> ContentTemplate | None:
    """Return the template of a message in the revision that was sent, None for one that is shipped."""
    mark = ref.template_mark
    if not ref.was_sent or mark == _SHIPPED:
        return None
    template = _template_of(snapshot, ref, detail)
    newest = snapshot.template(detail.account, template) if template else None
    if newest is None or newest.medium != ref.medium:
        return None
    return _marked(snapshot, ref, newest) if mark else _guessed(snapshot, ref, detail, newest)


def _marked(snapshot: Snapshot, ref: Reference, newest: ContentTemplate) -> ContentTemplate | None:
    """Return the one revision that is kept and has the mark; None if the one sent is kept no more."""
    revision = newest.revision - (newest.revision + _OWN - ref.template_mark) % _REVISIONS
    said = snapshot.template_revision(newest.account, newest.id, revision)
    if said is None or said.update_ms > ref.settle_ms + _APART_MS:
        # 254 revisions later, or of another template that has the id by now.
        return None
    return said


def _guessed(
    snapshot: Snapshot, ref: Reference, detail: PlanDetail, newest: ContentTemplate
) -> ContentTemplate | None:
    rule = snapshot.rule_revision(ref.rule_number, ref.content_revision)
    if rule is None:
        return None
    if rule.family in REVIEW_FAMILIES and detail.template_revision:
        return snapshot.template_revision(newest.account, newest.id, detail.template_revision)
    kept = snapshot.template_revisions(newest)
    return next((one for one in reversed(kept) if one.update_ms <= ref.settle_ms), kept[0])


# Which template ---------------------------------------------------------------------------------


def _template_of(snapshot: Snapshot, ref: Reference, detail: PlanDetail) -> str:
    """Return the id of the template of a message that was sent, "" if it is not known any more."""
    if detail.template:
        return detail.template
    template = ""
    if detail.mode != MODE_BY_HAND:
        rule = snapshot.rule_revision(ref.rule_number, ref.content_revision)
        action = next(_actions(snapshot, ref, detail, rule), None) if rule is not None else None
        if rule is None or action is None:
            return ""
        template = as_said(rule, detail.step, action).template
    if not detail.platform or ref.flags & FLAG_FELL_BACK:
        return template
    if detail.parent_sequence:
        return detail.platform_template
    platform = snapshot.platform(detail.account, detail.platform)
    return platform.templates.get(Medium(ref.medium), template) if platform is not None else ""


def _actions(
    snapshot: Snapshot, ref: Reference, detail: PlanDetail, rule: Rule
) -> Iterator[Action]:
    """Return what the rule said: where it had the step or medium no more, what it said when planned."""
    for revision in (rule, snapshot.rule_revision(ref.rule_number, detail.revision)):
        index = step_index(revision, detail.step, -1) if revision is not None else -1
        if revision is not None and index >= 0:
            yield from (one for one in revision.steps[index].actions if one.medium == ref.medium)
