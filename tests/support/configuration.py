"""Small configurations: resources with every field filled in, and states made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from core.bounds import DAY_MS
from core.model import ActivationState, Event, Family, Medium, Purpose
from core.registry.documents import revision_key
from core.registry.resources import (
    Account,
    Activation,
    Cap,
    CapScope,
    Carrier,
    Channel,
    EventType,
    Rule,
)
from core.registry.rule_parts import Action, EmailSender, Step, Wait
from core.registry.store import EMPTY_STATE, Change, Kind, RegistryState

ACCOUNT = "shop"
SENDER = EmailSender(address="hello@shop.example")


def channel(id: str = "es", number: int = 1, **fields: Any) -> Channel:
    fields = {"email_sender": SENDER, **fields}
    return Channel(
        account=ACCOUNT, id=id, number=number, time_zone="Europe/Madrid", locale="es_ES", **fields
    )


def event_type(id: str, number: int = 1, active: bool = True) -> EventType:
    return EventType(account=ACCOUNT, id=id, number=number, active=active)


def step(
    id: str = "first",
    medium: Medium = Medium.EMAIL,
    enabled: bool = True,
    days: int = 7,
    **texts: str,
) -> Step:
    action = Action(medium=medium, **texts)
    return Step(id=id, wait=Wait(days=days), actions=[action], enabled=enabled)


def steps_for(family: Family) -> list[Step]:
    """Return what a rule of a family needs to be switched on: texts, or the longer wait (R38)."""
    if family == Family.SERVICE_REVIEW:
        return [step()]
    if family == Family.PRODUCT_REVIEW:
        return [step(days=14)]
    return [step(subject="News", body="About your order.")]


def rule(id: str, number: int = 1, family: Family = Family.SERVICE_REVIEW, **fields: Any) -> Rule:
    fields = {
        "purpose": Purpose.REVIEW, "event_type": "checkout", "steps": steps_for(family), **fields
    }  # fmt: skip
    return Rule(account=ACCOUNT, id=id, number=number, family=family, **fields)


def with_texts(rule: Rule) -> Rule:
    """Return a rule of a free family that may be switched on: each message says something (D22)."""
    for each in rule.steps:
        each.actions = [
            replace(
                action,
                subject=action.subject or "News",
                body=action.body or "About your order.",
                template=action.template or ("news" if action.medium is Medium.WHATSAPP else ""),
            )
            for action in each.actions
        ]
    return rule


def cap(id: str, number: int = 1, **fields: Any) -> Cap:
    fields = {"scope": CapScope.ACCOUNT, "window_ms": DAY_MS, "limit": 1, **fields}
    return Cap(account=ACCOUNT, id=id, number=number, **fields)


def activation(
    rule_id: str, channel_id: str = "es", state: ActivationState = ActivationState.ACTIVE
) -> Activation:
    return Activation(account=ACCOUNT, channel=channel_id, rule=rule_id, state=state)


KINDS = {
    Account: Kind.ACCOUNT,
    EventType: Kind.EVENT_TYPE,
    Channel: Kind.CHANNEL,
    Cap: Kind.CAP,
    Carrier: Kind.CARRIER,
    Rule: Kind.RULE,
    Activation: Kind.ACTIVATION,
}


def state_of(
    *resources: EventType | Channel | Cap | Carrier | Rule | Activation,
    earlier: Sequence[Rule] = (),
    counters: dict[str, int] | None = None,
) -> RegistryState:
    """Return a state at revision 1 with an account, its resources and earlier rule revisions."""
    changes = [
        Change(KINDS[type(each)], each.name, msgspec.json.encode(each)) for each in resources
    ]
    changes.append(
        Change(Kind.ACCOUNT, f"accounts/{ACCOUNT}", msgspec.json.encode(Account(id=ACCOUNT)))
    )
    changes += [
        Change(Kind.RULE_REVISION, revision_key(old.number, old.revision), msgspec.json.encode(old))
        for old in earlier
    ]
    changes += [
        Change(Kind.COUNTER, name, msgspec.json.encode(value))
        for name, value in (counters or {}).items()
    ]
    return EMPTY_STATE.after(changes)


class EveryRuleMatches:
    """A matcher for tests that are not about conditions."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules

    def match(self, event: Event) -> tuple[Sequence[Rule], Sequence[Rule]]:
        return self.rules, ()
