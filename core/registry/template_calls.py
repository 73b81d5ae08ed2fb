"""A shop's own templates in the registry: which changes are allowed, and what they are called.

Decides: that what is in use stays, and how many former revisions are kept.
Never: whether a text is right (`control/conversion/templates.py`), or how a change is written
(`writer.py`).

The arguments that all share, and the errors, are those of `core.registry.registry.Registry`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from core.bounds import (
    DAY_MS,
    EXPIRE_AFTER_MAX_MS,
    TEMPLATE_HISTORY_BYTES_MAX,
    TEMPLATE_REVISIONS_MAX,
    TEMPLATES_PER_ACCOUNT_MAX,
    WAIT_MAX_MS,
)
from core.errors import FailedPrecondition, InvalidField
from core.model import REVIEW_FAMILIES
from core.registry.catalogue import Catalogue
from core.registry.contents import ContentTemplate
from core.registry.documents import (
    TEMPLATE_COUNTER,
    platform_name,
    revision_key,
    rule_name,
    template_name,
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
from core.registry.operations import call
from core.registry.resources import Rule
from core.registry.store import Kind
from core.registry.writer import Writer

_TEMPLATE: Final = msgspec.json.Decoder(ContentTemplate)
_NOTHING: Final = msgspec.json.Decoder(None)

_REPEATED_MS: Final = WAIT_MAX_MS + EXPIRE_AFTER_MAX_MS
"""How long after an edit of a rule a reminder says what the rule said before, at most."""


def create(draft: Draft, new: ContentTemplate) -> ContentTemplate:
    """Add a template in its first revision."""
    require_account(draft.base, new.account)
    require_free(draft.base.template(new.account, new.id), new.name)
    check_count(draft.base.templates(new.account), TEMPLATES_PER_ACCOUNT_MAX, "templates")
    _check_users(draft.base, new)
    number = draft.next_number(TEMPLATE_COUNTER, FOUR_BYTES_MAX)
    return draft.create(Kind.TEMPLATE, new.name, replace(new, revision=1), number)


def update(draft: Draft, new: ContentTemplate, etag: str) -> ContentTemplate:
    """Change a template: a new revision, which all says that has not been rendered yet (D1)."""
    present = found(draft.base.template(new.account, new.id), new.name)
    if new.medium != present.medium:
        raise InvalidField(
            f"template.medium of {new.name} is {present.medium.name} and cannot be changed; create "
            "another template",
            field="template.medium",
        )
    changed = edited(draft, present, replace(new, revision=present.revision), etag)
    if changed is present:
        return present
    _check_users(draft.base, changed)
    draft.put(Kind.TEMPLATE_REVISION, revision_key(present.number, present.revision), present)
    _forget_oldest(draft, present)
    newest = replace(changed, revision=present.revision + 1)
    draft.put(Kind.TEMPLATE, newest.name, newest)
    return newest


def delete(draft: Draft, account: str, template: str, etag: str) -> None:
    """Remove a template that no rule and no platform names, with its revisions."""
    name = template_name(account, template)
    present = found(draft.base.template(account, template), name)
    check_etag(present, etag)
    users = [
        rule_name(account, rule.id)
        for rule in draft.base.rules(account)
        if template in _named_by(draft.base, account, rule.id)
    ]
    users += [
        platform_name(account, platform.id)
        for platform in draft.base.platforms(account)
        if template in platform.templates.values()
    ]
    if users:
        raise FailedPrecondition(f"{name} is named by {names(users)}; take it out there first")
    repeating = [
        rule_name(account, rule.id)
        for rule in draft.base.rules(account)
        if _may_repeat(draft, rule, template)
    ]
    if repeating:
        raise FailedPrecondition(
            f"{name} was named by {names(repeating)} within the last {_REPEATED_MS // DAY_MS} days, and "
            "reminders of what was sent may repeat it; delete it later"
        )
    draft.drop(Kind.TEMPLATE, name)
    for former in draft.base.template_revisions(present)[:-1]:
        draft.drop(Kind.TEMPLATE_REVISION, revision_key(present.number, former.revision))


def _check_users(base: Catalogue, wanted: ContentTemplate) -> None:
    """Refuse a template that does not fit those who name it; what is new may be named already, where a
    shipped one of its id was meant."""
    account, unfit, told = wanted.account, [], []
    for rule in base.rules(account):
        actions = [action for step in rule.steps for action in step.actions]
        naming = [
            one for one in actions if (one.template, one.medium) == (wanted.id, wanted.medium)
        ]
        if naming and rule.family not in wanted.families:
            unfit.append(rule_name(account, rule.id))
        if any(action.body or action.whatsapp_parameters for action in naming):
            told.append(rule_name(account, rule.id))
    for platform in base.platforms(account):
        is_named = platform.templates.get(wanted.medium) == wanted.id
        if is_named and not set(platform.review_types) <= set(wanted.families):
            unfit.append(platform_name(account, platform.id))
    if unfit:
        raise FailedPrecondition(
            f"{names(unfit)} name it and would not be among its families; add them or take it out there",
            field="template.families",
        )
    if told:
        raise FailedPrecondition(
            f"{names(told)} name the shipped template of this id with a text of their own, which would "
            "not be said any more; choose another id",
            field="template_id",
        )


def _named_by(base: Catalogue, account: str, rule_id: str) -> set[str]:
    rule = base.rule(account, rule_id)
    assert rule is not None, "it was listed"
    return {action.template for step in rule.steps for action in step.actions}


def _may_repeat(draft: Draft, rule: Rule, template: str) -> bool:
    """Return whether a rule that asks for reviews named a template so lately that a reminder of what it
    sent may still wait (B19)."""
    if rule.family not in REVIEW_FAMILIES:
        return False
    after = rule
    while draft.now_ms - after.update_ms <= _REPEATED_MS:
        former = draft.base.rule_revision(rule.number, after.revision - 1)
        if former is None:
            return False
        named = {action.template for step in former.steps for action in step.actions}
        if len(former.steps) > 1 and template in named:
            return True
        after = former
    return False


def _forget_oldest(draft: Draft, present: ContentTemplate) -> None:
    """Drop the former revisions that are too many or too large, oldest first."""
    size_bytes = 0
    for kept, former in enumerate(reversed(draft.base.template_revisions(present)), 1):
        size_bytes += len(msgspec.json.encode(former))
        is_room = kept < TEMPLATE_REVISIONS_MAX and size_bytes <= TEMPLATE_HISTORY_BYTES_MAX
        if not is_room and former.revision != present.revision:
            draft.drop(Kind.TEMPLATE_REVISION, revision_key(present.number, former.revision))


class TemplateCalls(Writer):
    """Changes of templates; `Registry` is made of it."""

    async def create_template(
        self, new: ContentTemplate, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> ContentTemplate:
        """Add a template."""
        asked = call("create_template", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _TEMPLATE, partial(create, new=new))

    async def update_template(
        self,
        new: ContentTemplate,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> ContentTemplate:
        """Change a template: a new revision."""
        asked = call("update_template", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _TEMPLATE, partial(update, new=new, etag=etag))

    async def delete_template(
        self,
        account_id: str,
        template_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove a template."""
        name = template_name(account_id, template_id)
        asked = call("delete_template", name, account_id, actor, op_id, validate_only)
        edit = partial(delete, account=account_id, template=template_id, etag=etag)
        await self._write(asked, _NOTHING, edit)
