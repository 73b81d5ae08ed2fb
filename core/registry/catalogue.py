"""What is configured, as of one revision, found by name and by number.

Decides: which resource a name or number means, and what holds an exclusive slot.
Never: what follows from it for an event or a message (`core/registry/snapshot.py`).

What it hands out belongs to it: never change a resource taken from it, make a new one with
`msgspec.structs.replace`.

Invariants:
    1. A pair (rule number, revision) always means the same rule, apart from `is_deleted`.
    2. At most one rule holds an exclusive slot (R37); `core/registry/rule_edits.py` sees to it.

Cost: lookups O(1), lists O(their length) after first use; making one O(activations), plus the
decoding of what has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from core.model import CONSENT_PURPOSES, ActivationState, Family, Medium
from core.registry.blocks import NO_BLOCKS, Block, BlockList
from core.registry.breakers import Breaker, breaker_name
from core.registry.contents import ContentTemplate
from core.registry.documents import (
    Documents,
    account_name,
    activation_name,
    block_name,
    cap_name,
    carrier_name,
    channel_name,
    decode,
    event_type_name,
    platform_name,
    revision_key,
    rule_name,
    sender_name,
    template_name,
)
from core.registry.resources import (
    Account,
    Activation,
    Cap,
    Carrier,
    Channel,
    Entitlement,
    EventType,
    Platform,
    ProductExclusivity,
    Rule,
)
from core.registry.senders import Sender
from core.registry.store import RegistryState

HOLDING: Final = frozenset({ActivationState.ACTIVE, ActivationState.PAUSED})
"""States in which a rule holds its slot, and what it planned goes on (R14)."""

STANDING: Final = HOLDING | {ActivationState.FROZEN}
"""States in which a rule needs what its channel has.

A FROZEN rule has its slot as long as nobody takes it: another rule that is switched on there holds
it from then on, and the frozen one stays FROZEN rather than SUPERSEDED, so that nothing of it goes
out unasked. It is resumed when the slot is free, or switched on, which takes the slot back.
"""

ENTITLEMENTS: Final = {
    Family.PRODUCT_REVIEW: Entitlement.PRODUCT_REVIEWS,
    Family.NOTIFICATION: Entitlement.NOTIFICATIONS,
    Family.AUTOMATION: Entitlement.AUTOMATIONS,
}
"""What an account must have booked for rules of a family (B26, C2)."""

Slot = tuple[str, Family, str]
"""(channel name, family, event type; "" where the slot is the whole channel)."""


def slot_of(rule: Rule, channel: Channel) -> Slot | None:
    """Return the slot that the rule takes on a channel while it is active there.

    None if its family is not exclusive: any number of such rules may be active (h1, R37).
    """
    if rule.family == Family.SERVICE_REVIEW:
        return (channel.name, Family.SERVICE_REVIEW, rule.event_type)
    if rule.family == Family.PRODUCT_REVIEW:
        by_type = channel.product_exclusivity == ProductExclusivity.PER_EVENT_TYPE
        return (channel.name, Family.PRODUCT_REVIEW, rule.event_type if by_type else "")
    return None


class Catalogue:
    """One revision of the registry. See the module for what holds for all of it."""

    def __init__(self, state: RegistryState, before: Catalogue | None = None) -> None:
        """Index a state, taking over the decoded documents of an earlier one of the same store."""
        self.state = state
        self.default_media: frozenset[Medium] = (
            before.default_media if before is not None else frozenset(Medium)
        )
        """Media over which channels can send that name no sender for them."""
        self.revision: int = state.revision
        self._documents: Documents = decode(state, before._documents if before else None)
        is_same = before is not None and before._documents.blocks is self._documents.blocks
        self._block_lists: dict[str, BlockList] = (
            before._block_lists if before is not None and is_same else {}
        )
        self.channel_by_name: Mapping[str, Channel] = self._documents.channels.values
        self.channel_by_number: Mapping[int, Channel] = {
            channel.number: channel for channel in self.channel_by_name.values()
        }
        self._rule_by_number: dict[int, Rule] = {
            rule.number: rule for rule in self._documents.rules.values.values()
        }
        self._on_channel: dict[str, list[tuple[Activation, Rule]]] = {}
        self._of_rule: dict[int, list[Activation]] = {}
        self._holders: dict[Slot, list[Activation]] = {}
        self._frozen: dict[Slot, list[Activation]] = {}
        self._index_activations()
        self._tripped = frozenset(
            (channel.number, breaker.medium)
            for breaker in self.breakers
            if breaker.is_open
            and (channel := self.channel(breaker.account, breaker.channel)) is not None
            and not channel.complaint_breaker.is_off
        )

    def _index_activations(self) -> None:
        rules = self._documents.rules.values
        for activation in self._documents.activations.values.values():
            name = channel_name(activation.account, activation.channel)
            channel = self.channel_by_name[name]
            rule = rules[rule_name(activation.account, activation.rule)]
            self._on_channel.setdefault(name, []).append((activation, rule))
            self._of_rule.setdefault(rule.number, []).append(activation)
            slot = slot_of(rule, channel)
            if slot is None:
                continue
            if activation.state in HOLDING:
                self._holders.setdefault(slot, []).append(activation)
            elif activation.state == ActivationState.FROZEN:
                self._frozen.setdefault(slot, []).append(activation)

    def account(self, account: str) -> Account | None:
        """Return an account."""
        return self._documents.accounts.values.get(account_name(account))

    def is_entitled(self, account_id: str, family: Family) -> bool:
        """Return whether the account has booked rules of a family."""
        wanted = ENTITLEMENTS.get(family)
        account = self.account(account_id)
        return wanted is None or account is None or wanted in account.entitlements

    def event_type(self, account: str, event_type: str) -> EventType | None:
        """Return an event type."""
        return self._documents.event_types.values.get(event_type_name(account, event_type))

    def event_types(self, account: str) -> tuple[EventType, ...]:
        """Return an account's event types by id."""
        return self._documents.event_types.of_account(account)

    def channel(self, account: str, channel: str) -> Channel | None:
        """Return a channel."""
        return self.channel_by_name.get(channel_name(account, channel))

    def channels(self, account: str) -> tuple[Channel, ...]:
        """Return an account's channels by id."""
        return self._documents.channels.of_account(account)

    def cap(self, account: str, cap: str) -> Cap | None:
        """Return a cap."""
        return self._documents.caps.values.get(cap_name(account, cap))

    def caps(self, account: str) -> tuple[Cap, ...]:
        """Return an account's caps by id."""
        return self._documents.caps.of_account(account)

    def carrier(self, account: str, carrier: str) -> Carrier | None:
        """Return a carrier."""
        return self._documents.carriers.values.get(carrier_name(account, carrier))

    def carriers(self, account: str) -> tuple[Carrier, ...]:
        """Return an account's carriers by id."""
        return self._documents.carriers.of_account(account)

    def block(self, account: str, block: str) -> Block | None:
        """Return a block."""
        return self._documents.blocks.values.get(block_name(account, block))

    def blocks(self, account: str) -> tuple[Block, ...]:
        """Return an account's blocks by id."""
        return self._documents.blocks.of_account(account)

    def block_list(self, account: str) -> BlockList:
        """Return an account's blocks, compiled at first use."""
        if not self._documents.blocks.values:
            return NO_BLOCKS
        found = self._block_lists.get(account)
        if found is None:
            found = self._block_lists[account] = BlockList(self.blocks(account))
        return found

    def platform(self, account: str, platform: str) -> Platform | None:
        """Return a platform."""
        return self._documents.platforms.values.get(platform_name(account, platform))

    def platforms(self, account: str) -> tuple[Platform, ...]:
        """Return an account's platforms by id."""
        return self._documents.platforms.of_account(account)

    def sender(self, account: str, sender: str) -> Sender | None:
        """Return a sender."""
        return self._documents.senders.values.get(sender_name(account, sender))

    def senders(self, account: str) -> tuple[Sender, ...]:
        """Return an account's senders by id."""
        return self._documents.senders.of_account(account)

    def sender_of(self, channel: Channel, medium: int) -> Sender | None:
        """Return what sends for a channel over a medium, None if it names nothing."""
        sender_id = channel.senders.get(Medium(medium))
        return None if sender_id is None else self.sender(channel.account, sender_id)

    def template(self, account: str, template: str) -> ContentTemplate | None:
        """Return a template of the account's own in its newest revision."""
        return self._documents.templates.values.get(template_name(account, template))

    def templates(self, account: str) -> tuple[ContentTemplate, ...]:
        """Return an account's own templates by id."""
        return self._documents.templates.of_account(account)

    def template_revision(
        self, account: str, template: str, revision: int
    ) -> ContentTemplate | None:
        """Return a template as it was in a revision; None if that is not kept."""
        newest = self.template(account, template)
        if newest is None or newest.revision == revision:
            return newest
        return self._documents.template_revisions.values.get(revision_key(newest.number, revision))

    def template_revisions(self, newest: ContentTemplate) -> tuple[ContentTemplate, ...]:
        """Return the revisions of a template that are kept, oldest first. Cost: O(revisions made)."""
        kept = self._documents.template_revisions.values
        keys = (revision_key(newest.number, at) for at in range(1, newest.revision))
        return (*(kept[key] for key in keys if key in kept), newest)

    def rule(self, account: str, rule: str) -> Rule | None:
        """Return a rule in its newest revision; None for a deleted one."""
        found = self._documents.rules.values.get(rule_name(account, rule))
        return None if found is None or found.is_deleted else found

    def rules(self, account: str) -> tuple[Rule, ...]:
        """Return an account's rules by id, without deleted ones."""
        found = self._documents.rules.of_account(account)
        return tuple(rule for rule in found if not rule.is_deleted)

    def deleted_rule(self, account: str, rule: str) -> Rule | None:
        """Return the tombstone of a deleted rule."""
        found = self._documents.rules.values.get(rule_name(account, rule))
        return found if found is not None and found.is_deleted else None

    def rule_by_number(self, number: int) -> Rule | None:
        """Return a rule in its newest revision, deleted ones included."""
        return self._rule_by_number.get(number)

    def rule_revision(self, number: int, revision: int) -> Rule | None:
        """Return a rule as it was in a revision; those of deleted rules stay readable."""
        newest = self._rule_by_number.get(number)
        if newest is not None and newest.revision == revision:
            return newest
        return self._documents.rule_revisions.values.get(revision_key(number, revision))

    def activation(self, account: str, channel: str, rule: str) -> Activation | None:
        """Return how a rule stands on a channel (both ids); None if it was never active there."""
        return self._documents.activations.values.get(activation_name(account, channel, rule))

    def activations(self, account: str, channel: str | None = None) -> tuple[Activation, ...]:
        """Return the activations of one channel (its id), or of all, by channel and rule."""
        channels = self.channels(account) if channel is None else (self.channel(account, channel),)
        return tuple(
            activation
            for present in channels
            if present is not None
            for activation, _ in sorted(
                self._on_channel.get(present.name, ()), key=lambda entry: entry[0].rule
            )
        )

    def activations_of(self, rule: Rule) -> tuple[Activation, ...]:
        """Return where a rule is or was active, by channel."""
        found = self._of_rule.get(rule.number, ())
        return tuple(sorted(found, key=lambda activation: activation.channel))

    def on_channel(self, channel: Channel) -> Sequence[tuple[Activation, Rule]]:
        """Return how rules stand on a channel, deleted ones included, in no order."""
        return self._on_channel.get(channel.name, ())

    def breaker(self, account: str, channel: str, medium: int) -> Breaker | None:
        """Return how complaints stand on a channel (its id) for a medium; None: never too many."""
        return self._documents.breakers.values.get(breaker_name(account, channel, medium))

    def breakers_of(self, account: str, channel: str) -> tuple[Breaker, ...]:
        """Return the breakers of a channel (its id) that ever tripped, by medium."""
        found = self._documents.breakers.of_account(account)
        return tuple(each for each in found if each.channel == channel)

    def tripped(self, channel: Channel) -> tuple[Breaker, ...]:
        """Return the breakers by which complaints hold a channel back, by medium."""
        if channel.complaint_breaker.is_off:
            return ()
        found = self.breakers_of(channel.account, channel.id)
        return tuple(each for each in found if each.is_open)

    @property
    def breakers(self) -> tuple[Breaker, ...]:
        """Return the breakers of all channels that ever tripped."""
        return tuple(self._documents.breakers.values.values())

    def is_tripped(self, channel_number: int, medium: int) -> bool:
        """Return whether complaints hold back what a channel sends over a medium (g6)."""
        return (channel_number, medium) in self._tripped

    def is_held_back(self, channel_number: int, medium: int, purpose: int) -> bool:
        """Return whether complaints hold back such a message: transactional ones go on."""
        return bool(self._tripped) and (
            purpose in CONSENT_PURPOSES and self.is_tripped(channel_number, medium)
        )

    def holders(self, slot: Slot) -> tuple[Activation, ...]:
        """Return who holds an exclusive slot: none or one (invariant 2)."""
        return tuple(self._holders.get(slot, ()))

    def frozen(self, slot: Slot) -> tuple[Activation, ...]:
        """Return the FROZEN rules of an exclusive slot, whoever holds it (see `STANDING`)."""
        return tuple(self._frozen.get(slot, ()))

    def counter(self, name: str) -> int:
        """Return the last number that a counter has given, 0 if none."""
        return self._documents.counters.values.get(name, 0)
