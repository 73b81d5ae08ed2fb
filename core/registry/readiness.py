"""What a rule must have before it works on a channel.

Decides: that it is booked (B26, C2), fully configured (D22), and that the channel can send over each
of its media (C15), e-mails in somebody's name.
Never: what other rules have to do with it (`activation_edits.py`, `product_rules.py`), or what is
asked when a message falls due: that a carrier has an address (C17), a channel its features (D10).

What is asked of steps is asked of all, also of those that are switched off at the moment: they may
be switched on at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.errors import FailedPrecondition
from core.model import REVIEW_FAMILIES, Medium
from core.registry.catalogue import ENTITLEMENTS, Catalogue
from core.registry.documents import account_name
from core.registry.resources import Channel, Rule
from core.registry.rule_content import as_said
from core.registry.rule_parts import Action

_TEXT_MEDIA: Final = frozenset({Medium.SMS})


def check_ready(base: Catalogue, rule: Rule, channel: Channel) -> None:
    """Refuse to let a rule work on a channel before it has all it needs."""
    check_entitlement(base, rule)
    check_configured(rule)
    check_sender(base, rule, channel)


def check_entitlement(base: Catalogue, rule: Rule) -> None:
    """Refuse what the account has not booked; the message begins with ENTITLEMENT."""
    needed = ENTITLEMENTS.get(rule.family)
    account = base.account(rule.account)
    if needed is None or (account is not None and needed in account.entitlements):
        return
    raise FailedPrecondition(
        f"ENTITLEMENT {needed.name} is not booked by {account_name(rule.account)}, and {rule.name} "
        "needs it",
        field="account.entitlements",
    )


def check_configured(rule: Rule) -> None:
    """Refuse messages that say nothing: only review requests have texts of their own (D22).

    Otherwise an action has a template or its own texts: over e-mail subject and body, over SMS a body. A
    webhook carries the event. Over WhatsApp only what the provider has approved may be sent (g9).
    """
    _check_approved(rule)
    if rule.family in REVIEW_FAMILIES:
        return
    for field, action in _actions(rule):
        if action.template or action.medium == Medium.WEBHOOK:
            continue
        if action.medium == Medium.EMAIL and not action.subject:
            _refuse(rule, f"{field}.subject", "an e-mail needs a subject, or a template")
        if action.medium in (Medium.EMAIL, *_TEXT_MEDIA) and not action.body:
            _refuse(rule, f"{field}.body", "a message needs a body, or a template")


def _check_approved(rule: Rule) -> None:
    for at, step in enumerate(rule.steps):
        for index, action in enumerate(step.actions):
            if action.medium == Medium.WHATSAPP and not as_said(rule, step.id, action).template:
                _refuse(
                    rule,
                    f"rule.steps[{at}].actions[{index}].template",
                    "a WhatsApp message needs the name of a template that the provider has approved",
                )


def check_sender(base: Catalogue, rule: Rule, channel: Channel) -> None:
    """Refuse media that the channel has no sender for (C15), and e-mails that come from nobody: neither
    from their action's sender nor the channel's."""
    for field, action in _actions(rule):
        medium = action.medium
        if medium not in base.default_media and base.sender_of(channel, medium) is None:
            raise FailedPrecondition(
                f"{rule.name} sends {medium.name} ({field}), but {channel.name} has no sender for it: "
                "create one and name it in channel.senders",
                field="channel.senders",
            )
    if channel.email_sender is not None:
        return
    if any(each.medium == Medium.EMAIL and each.sender is None for _, each in _actions(rule)):
        raise FailedPrecondition(
            f"{rule.name} sends e-mail, but {channel.name} has no email_sender",
            field="channel.email_sender",
        )


def _actions(rule: Rule) -> Iterator[tuple[str, Action]]:
    """Yield every action of a rule with the path of its field."""
    for at, step in enumerate(rule.steps):
        for index, action in enumerate(step.actions):
            yield f"rule.steps[{at}].actions[{index}]", action


def _refuse(rule: Rule, field: str, what: str) -> None:
    raise FailedPrecondition(f"{rule.name} is not fully configured: {field}: {what}", field=field)
