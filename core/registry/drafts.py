"""A draft: changes to the registry, computed against one catalogue and not yet written.

Decides: how a change is put down, and the checks that all changes share.
Never: which changes are allowed (`edits.py`, `rule_edits.py`); reads or writes no store.

An edit takes a draft, adds changes to it and returns the answer; one that raises leaves a draft
which must be thrown away. The registry writes the changes only if the catalogue is still the newest,
so everything checked against it is true at the moment of the write. Of rules and how they stand, a
draft shows what they will be, so that one write can save a rule and switch it on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from core.errors import AlreadyExists, LimitExceeded, NotFound, RevisionConflict
from core.model import ActivationState
from core.registry.catalogue import HOLDING, Catalogue, slot_of
from core.registry.documents import account_name, channel_name, rule_name
from core.registry.resources import Activation, Channel, Resource, Rule
from core.registry.store import Change, Kind

ResourceT = TypeVar("ResourceT", bound=Resource)
FoundT = TypeVar("FoundT")

TWO_BYTES_MAX = 2**16 - 1
"""Largest channel number: records and wheel members give it two bytes."""
EVENT_TYPE_NUMBER_MAX = 2**14 - 1
"""Largest event type number: tombstones give it two bytes, less two bits for the kind of a review."""
FOUR_BYTES_MAX = 2**32 - 1
"""Largest rule and cap number: records and ledgers give them four bytes."""
NAMES_MAX = 10
"""Names that an error message lists."""


class Draft:
    """Changes against one catalogue, not yet written."""

    def __init__(self, base: Catalogue, now_ms: int, actor: str) -> None:
        self.base = base
        self.revision = base.revision + 1
        """What the registry's revision will be."""
        self.now_ms = now_ms
        self.actor = actor
        self.bites = False
        """Daemons may not claim with an older snapshot once this is written (R13)."""
        self.changes: list[Change] = []
        self._numbers: dict[str, int] = {}
        self._rules: dict[str, Rule] = {}
        """Full name -> rule, of those that this draft writes."""
        self._on_channel: dict[str, dict[str, Activation]] = {}
        """Full name of a channel -> id of a rule -> activation, of those that this draft writes."""

    def put(self, kind: Kind, key: str, value: msgspec.Struct | int) -> None:
        """Write a document."""
        self.changes.append(Change(kind, key, msgspec.json.encode(value)))

    def drop(self, kind: Kind, key: str) -> None:
        """Remove a document."""
        self.changes.append(Change(kind, key, None))

    def next_number(self, counter: str, number_max: int) -> int:
        """Allocate a number that was never given before and never will be again."""
        number = self._numbers.get(counter, self.base.counter(counter)) + 1
        if number > number_max:
            raise LimitExceeded(f"all {number_max} numbers of {counter} have been given away")
        self._numbers[counter] = number
        self.put(Kind.COUNTER, counter, number)
        return number

    def create(self, kind: Kind, key: str, new: ResourceT, number: int) -> ResourceT:
        """Write a new resource and return it as it will be."""
        created = self.created(new, number)
        self.put(kind, key, created)
        return created

    def created(self, new: ResourceT, number: int) -> ResourceT:
        """Return a new resource as it will be."""
        return replace(
            new,
            number=number,
            changed_revision=self.revision,
            create_ms=self.now_ms,
            update_ms=self.now_ms,
        )

    # Rules and how they stand ------------------------------------------------------------------

    def put_rule(self, rule: Rule) -> Rule:
        """Write a rule in its newest revision and return it."""
        self.put(Kind.RULE, rule.name, rule)
        self._rules[rule.name] = rule
        return rule

    def rule(self, account: str, rule: str) -> Rule | None:
        """Return a rule as it will be; None for a deleted one."""
        name = rule_name(account, rule)
        return self._rules[name] if name in self._rules else self.base.rule(account, rule)

    def stand(self, activation: Activation, state: ActivationState) -> Activation:
        """Write how a rule stands on a channel and return it as it will be."""
        changed = replace(
            activation,
            state=state,
            stopped_from=activation.state
            if state == ActivationState.STOPPED
            else ActivationState.UNSPECIFIED,
            actor=self.actor,
            update_ms=self.now_ms,
        )
        self.put(Kind.ACTIVATION, changed.name, changed)
        channel = channel_name(changed.account, changed.channel)
        self._on_channel.setdefault(channel, {})[changed.rule] = changed
        self.bites = True
        return changed

    def activation(self, account: str, channel: str, rule: str) -> Activation:
        """Return how a rule will stand on a channel (both ids), INACTIVE if it never was active."""
        changed = self._on_channel.get(channel_name(account, channel), {}).get(rule)
        return (
            changed
            or self.base.activation(account, channel, rule)
            or Activation(
                account=account, channel=channel, rule=rule, state=ActivationState.INACTIVE
            )
        )

    def on_channel(self, channel: Channel) -> list[tuple[Activation, Rule]]:
        """Return how rules will stand on a channel, by rule, without deleted ones."""
        merged = {each.rule: each for each, _ in self.base.on_channel(channel)}
        merged.update(self._on_channel.get(channel.name, {}))
        return [
            (merged[rule_id], rule)
            for rule_id in sorted(merged)
            if (rule := self.rule(channel.account, rule_id)) is not None
        ]

    def rivals(self, rule: Rule, channel: Channel) -> list[Activation]:
        """Return who else will hold the exclusive slot that a rule has on a channel."""
        slot = slot_of(rule, channel)
        if slot is None:
            return []
        return [
            activation
            for activation, other in self.on_channel(channel)
            if activation.state in HOLDING
            and other.id != rule.id
            and slot_of(other, channel) == slot
        ]


class Tagged(Protocol):
    """What has an etag."""

    @property
    def etag(self) -> str:
        """Changes with every change."""


def found(resource: FoundT | None, name: str) -> FoundT:
    """Return the resource, or say that there is none of this name."""
    if resource is None:
        raise NotFound(f"{name} does not exist")
    return resource


def require_account(base: Catalogue, account: str) -> None:
    """Refuse what belongs to an account that does not exist."""
    found(base.account(account), account_name(account))


def require_free(resource: object | None, name: str) -> None:
    """Refuse to create what is there."""
    if resource is not None:
        raise AlreadyExists(f"{name} exists")


def check_count(
    present: tuple[Resource, ...], count_max: int, what: str, added_count: int = 1
) -> None:
    """Refuse more than an account may have."""
    if len(present) + added_count > count_max:
        raise LimitExceeded(f"an account has at most {count_max} {what}")


def check_etag(present: Tagged, etag: str) -> None:
    """Refuse a change made from another version of the resource; "" refuses none."""
    if etag and etag != present.etag:
        raise RevisionConflict(f"the etag is {present.etag} by now, not {etag}", field="etag")


def edited(draft: Draft, present: ResourceT, new: ResourceT, etag: str) -> ResourceT:
    """Return `new` with what callers cannot set, or `present` itself if nothing differs."""
    check_etag(present, etag)
    kept = replace(
        new,
        number=present.number,
        create_ms=present.create_ms,
        changed_revision=present.changed_revision,
        update_ms=present.update_ms,
    )
    # As stored, because a tuple in a condition's tree comes back as a list.
    if msgspec.json.encode(kept) == msgspec.json.encode(present):
        # Again, in case the first time was written but did not come to bite.
        draft.bites = True
        return present
    return replace(kept, changed_revision=draft.revision, update_ms=draft.now_ms)


def put_edited(
    draft: Draft, kind: Kind, name: str, present: ResourceT, new: ResourceT, etag: str
) -> ResourceT:
    """Write `new` as `edited` has it and let it bite: it holds for all that has not gone out."""
    changed = edited(draft, present, new, etag)
    if changed is not present:
        draft.bites = True
        draft.put(kind, name, changed)
    return changed


def names(names: Iterable[str]) -> str:
    """Return names for a message, the first `NAMES_MAX` of them."""
    listed = list(names)
    more = f" and {len(listed) - NAMES_MAX} more" if len(listed) > NAMES_MAX else ""
    return ", ".join(listed[:NAMES_MAX]) + more
