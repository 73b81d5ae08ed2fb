"""One entry that is due, with all that its judgement needs.

Decides: which revision of its rule counts for what: conditions by the one it was planned with, what it
says by the newest; a reminder of a review request repeats what was sent (B19, D1, R40).
Never: what becomes of it (`core/engine/judge.py`).
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from core.contact_ports import AddressItem
from core.engine.destinations import OWN, Destination
from core.engine.facts import Known
from core.engine.horizon import Where
from core.engine.plans import step_index
from core.engine.stand_in import MODE_BY_HAND, stand_in
from core.engine.turns import Fired as Fired
from core.errors import RenderingFailed
from core.gate import ClaimItem
from core.model import REVIEW_FAMILIES, Item
from core.ports import Waiting
from core.records import PlanDetail, Reference
from core.registry.cap_rules import MessageCaps, VolumeRule
from core.registry.resources import Channel, Rule
from core.registry.rule_parts import Action, Step
from core.registry.snapshot import Snapshot
from core.sending import Letter


class Host(Protocol):
    """Who gives out places (`core/engine/places.py`)."""

    def leave(self, key: str, *, is_spent: bool) -> None:
        """Take a letter out of the count of a sender."""


class Place:
    """A place at a sender that is kept for one letter, with a token of its pace."""

    __slots__ = ("_host", "_is_left", "key")

    def __init__(self, host: Host, key: str) -> None:
        self._host = host
        self._is_left = False
        self.key = key

    def leave(self, *, is_spent: bool) -> None:
        """Give it up: the transport has the letter and counts it itself; or, not spent, it certainly
        does not go. Repeated, it does nothing more."""
        if not self._is_left:
            self._is_left = True
            self._host.leave(self.key, is_spent=is_spent)


class Grant(msgspec.Struct):
    """What a volume limit gave for one round."""

    ledger: bytes
    token: bytes
    unused: int = 0
    """How much of it is returned, in all."""


class Ready(msgspec.Struct):
    """One due entry, judged and rendered."""

    due_ms: int
    where: Where
    item: ClaimItem
    waiting: Waiting | None = None
    detail: PlanDetail | None = None
    letter: Letter | None = None
    rendered: bytes = b""
    caps: MessageCaps | None = None
    """Those that look at it, where the gate is asked."""
    grants: list[Grant] = []
    """Of volume limits, for this entry."""
    quota: VolumeRule | None = None
    """Of the sender that takes it."""
    place: Place | None = None
    """At the sender that takes it, once it has one."""
    at_address: AddressItem | None = None
    """What was asked of its address, once it was asked."""


class Case:
    """One entry with all that its judgement needs; what later events told is looked at once."""

    __slots__ = (
        "_known",
        "channel",
        "destination",
        "detail",
        "items",
        "kinds",
        "planned",
        "ref",
        "rule",
        "step",
        "waiting",
    )

    def __init__(
        self, waiting: Waiting, detail: PlanDetail, channel: Channel, planned: Rule, rule: Rule
    ) -> None:
        self.waiting = waiting
        self.ref: Reference = waiting.reference
        self.detail = detail
        self.channel = channel
        self.planned = planned
        """The rule in the revision it was planned with: what counts for conditions."""
        self.rule = rule
        """The rule as it is now, or, for a reminder of a review request, as it was."""
        self.kinds: int = waiting.reference.kinds
        """What a review request asks about now."""
        index = step_index(planned, detail.step, waiting.reference.step)
        self.step: Step = planned.steps[index]
        """The step as it was planned."""
        self.destination: Destination = OWN
        """Where a review request leads; known once it is rendered."""
        self.items: list[Item] | None = None
        """The products asked about, where caps have left some out."""
        self._known: Known | None = None

    @property
    def known(self) -> Known:
        """What is known by now; decoded when something asks for it."""
        if self._known is None:
            self._known = Known(self.waiting.body, self.waiting.facts, self.ref.order_key)
        return self._known

    @property
    def action(self) -> Action:
        """What is said: by the rule as it is now, where it still has the step and medium."""
        planned, medium = self.step, self.ref.medium
        index = step_index(self.rule, planned.id, -1)
        step = self.rule.steps[index] if index >= 0 else planned
        for actions in (step.actions, planned.actions):
            for action in actions:
                if action.medium == medium:
                    return action
        raise RenderingFailed("the step has no action over this medium")


def case_of(snapshot: Snapshot, waiting: Waiting, detail: PlanDetail) -> Case | None:
    """Return the case of an entry, None if its rule or channel is gone."""
    ref = waiting.reference
    planned: Rule | None
    newest: Rule | None
    if detail.mode == MODE_BY_HAND:
        planned = newest = stand_in(detail.account, ref.kinds, ref.purpose, ref.medium)
    else:
        planned = snapshot.rule_revision(ref.rule_number, detail.revision)
        newest = snapshot.rule_by_number(ref.rule_number)
    channel = snapshot.channel_by_number.get(ref.channel_number)
    if planned is None or newest is None or channel is None:
        return None
    if planned.family in REVIEW_FAMILIES and ref.step > 0:
        # A reminder repeats what was sent, whatever the rule says by now (B19).
        sent = snapshot.rule_revision(ref.rule_number, detail.content_revision)
        newest = sent or planned
    return Case(waiting, detail, channel, planned, newest)
