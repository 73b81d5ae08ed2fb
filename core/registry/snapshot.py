"""The registry as of one revision, compiled for the hot path.

Decides: which rules an event meets, which it stops, which caps hold for a message, and whether the
configuration still wants what falls due.
Never: changes anything, asks the time or does I/O.

Everything that costs more than a dictionary access is computed at first use and kept until the next
revision. A snapshot made after another one takes over the decoded documents and the compiled
matchers that are still the same.

Cost: lookups O(1) after first use; making one as `core/registry/catalogue.py` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from core.errors import StaleRegistry
from core.model import REVIEW_FAMILIES, ActivationState, Family, Reason, State
from core.registry import cap_rules
from core.registry.cap_rules import MessageCaps
from core.registry.catalogue import HOLDING, Catalogue, slot_of
from core.registry.documents import CHANNEL_COUNTER, RULE_COUNTER
from core.registry.matchers import EventMatcher, MatcherFactory, default_matcher
from core.registry.resources import Activation, Cap, Channel, ProductExclusivity, Rule
from core.registry.rule_events import (
    StopRule,
    stop_reason,
    stops_of,
    tombstone_numbers,
    trigger_type,
)
from core.registry.rule_parts import Step
from core.registry.store import RegistryState

PURCHASES: Final = "\0purchase"
"""Stands for an event type where rules on purchases are looked up."""

Verdict = tuple[State, Reason]

_RULE_DELETED: Final = (State.CANCELLED, Reason.RULE_DELETED)
RULE_INACTIVE: Final = (State.CANCELLED, Reason.RULE_INACTIVE)
"""The verdict on what is switched off, with nobody in its place."""
_TYPE_INACTIVE: Final = (State.CANCELLED, Reason.EVENT_TYPE_INACTIVE)
_STEP_OFF: Final = (State.CANCELLED, Reason.STEP_OFF)
_RULE_STOPPED: Final = (State.CANCELLED, Reason.RULE_STOPPED)
FROZEN: Final = (State.SCHEDULED, Reason.NONE)
"""The verdict on what is held until its rule is resumed."""


class Snapshot(Catalogue):
    """One revision of the registry, with what follows from it."""

    def __init__(
        self,
        state: RegistryState,
        before: Snapshot | None = None,
        matcher_factory: MatcherFactory = default_matcher,
    ) -> None:
        """Compile a state.

        Args:
            state: what the store holds.
            before: an earlier snapshot of the same store, to take over what has not changed.
            matcher_factory: makes the matcher of a list of rules.
        """
        super().__init__(state, before)
        self._matcher_factory = matcher_factory
        self._active: dict[str, dict[str, tuple[Rule, ...]]] = {}
        self._matchers: dict[tuple[str, str], EventMatcher] = {}
        self._compiled = self._still_compiled(before)
        self._stops: dict[str, dict[str, tuple[StopRule, ...]]] = {}
        self._stop_numbers: dict[tuple[int, int, int], tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._timer_rules: dict[str, dict[str, tuple[Rule, ...]]] = {}
        self._stop_revisions: dict[tuple[int, int], int] = {}
        self._verdicts: dict[tuple[int, int, int, int], Verdict | None] = {}
        self._caps: dict[tuple[object, ...], MessageCaps] = {}
        self._cap_by_ledger: dict[bytes, Cap] = {}
        self._are_ledgers_complete = False

    def _still_compiled(
        self, before: Snapshot | None
    ) -> dict[tuple[tuple[int, int], ...], EventMatcher]:
        """Return the matchers of the snapshot before whose rules are all still the newest."""
        if before is None or before._matcher_factory is not self._matcher_factory:
            return {}
        # Sets of rules that were once active together pile up; more than activations is too many.
        if len(before._compiled) > len(self._documents.activations.values) + 1:
            return {}
        rules = self._rule_by_number
        return {
            key: matcher
            for key, matcher in before._compiled.items()
            if all(number in rules and rules[number].revision == rev for number, rev in key)
        }

    # What an event meets ---------------------------------------------------------------------

    def matcher(self, channel: str, event_type: str) -> EventMatcher:
        """Return the compiled rules that are ACTIVE on a channel for an event type.

        Args:
            channel: full name of a channel.
            event_type: id of an event type, or `PURCHASES` for rules on purchases. Whether it is
                switched on is for the caller to ask.

        Cost: two dictionary accesses; at first use the compilation, unless the same rules in the
        same revisions were compiled before, for whichever channel and in whichever snapshot.
        """
        found = self._matchers.get((channel, event_type))
        if found is not None:
            return found
        rules = self._active_rules(channel).get(event_type, ())
        key = tuple((rule.number, rule.revision) for rule in rules)
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = self._matcher_factory(rules)
        # What nobody configured is not kept: clients could fill the memory with names.
        if rules:
            self._matchers[channel, event_type] = compiled
        return compiled

    def purchase_matcher(self, channel: str) -> EventMatcher | None:
        """Return the compiled rules on purchases ACTIVE on a channel, None if there are none."""
        if PURCHASES not in self._active_rules(channel):
            return None
        return self.matcher(channel, PURCHASES)

    def _active_rules(self, channel: str) -> Mapping[str, tuple[Rule, ...]]:
        found = self._active.get(channel)
        if found is None:
            found = _grouped(
                (PURCHASES if rule.purchase is not None else rule.event_type, rule)
                for rule in self._active_on(channel)
                if rule.dormant is None and rule.debounce is None
            )
            if channel in self._on_channel:
                self._active[channel] = found
        return found

    def _active_on(self, channel: str) -> list[Rule]:
        """Return the rules that are active on a channel, by id; but review rules that its switch for
        their event type turns off (B9)."""
        found = self.channel_by_name.get(channel)
        off = found.review_event_types_off if found is not None else ()
        active = [
            rule
            for activation, rule in self._on_channel.get(channel, ())
            if activation.state == ActivationState.ACTIVE
            and not rule.is_deleted
            and not (rule.family in REVIEW_FAMILIES and rule.event_type in off)
        ]
        return sorted(active, key=lambda rule: rule.id)

    def timer_rules(self, channel: str, event_type: str) -> tuple[Rule, ...]:
        """Return the active rules whose timer such an event moves, by id.

        Args:
            channel: full name of a channel.
            event_type: id of an event type, or `PURCHASES`.
        """
        found = self._timer_rules.get(channel)
        if found is None:
            if channel not in self._on_channel:
                return ()
            found = self._timer_rules[channel] = _grouped(
                (rule.debounce.event_type, rule)
                if rule.debounce is not None
                else (trigger_type(rule) or PURCHASES, rule)
                for rule in self._active_on(channel)
                if rule.debounce is not None or rule.dormant is not None
            )
        return found.get(event_type, ())

    def stops(self, channel: str, event_type: str) -> tuple[StopRule, ...]:
        """Return the rules whose waiting invitations an event of this type ends.

        All rules that are or were active on the channel (full name), in whichever state, by their
        newest `stop_when`; rules triggered by the same type are included (R39: stop first, then
        plan), deleted ones are not.
        """
        by_type = self._stops.get(channel)
        if by_type is None:
            if channel not in self._on_channel:
                return ()
            found: dict[str, set[StopRule]] = {}
            for _, rule in self._on_channel[channel]:
                for stop, key in () if rule.is_deleted else stops_of(rule):
                    found.setdefault(stop, set()).add((rule.number, key, stop_reason(stop)))
            by_type = {stop: tuple(sorted(rules)) for stop, rules in found.items()}
            self._stops[channel] = by_type
        return by_type.get(event_type, ())

    def stop_numbers(self, rule: Rule, kinds: int = 0) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return (event type numbers, reasons) for `Plan.stop_types` and `Plan.stop_reasons`.

        Tombstones never stop what an event of the same type triggered (R39), so the rule's own
        trigger is left out.

        Args:
            kinds: what a review request asks about, as bits; a review of one kind leaves a number of
                its own (R38).
        """
        key = (rule.number, rule.revision, kinds)
        found = self._stop_numbers.get(key)
        if found is None:
            pairs = [
                (number, int(stop_reason(stop)))
                for stop in dict.fromkeys(rule.stop_when)
                if stop != rule.event_type
                and (event_type := self.event_type(rule.account, stop)) is not None
                for number in tombstone_numbers(event_type.number, stop, kinds)
            ]
            found = (tuple(number for number, _ in pairs), tuple(reason for _, reason in pairs))
            self._stop_numbers[key] = found
        return found

    # What falls due --------------------------------------------------------------------------

    def lacks(self, rule: Rule, channel: Channel) -> Reason | None:
        """Return what the channel or account lacks for a rule's messages (D10, B26), None if
        nothing."""
        wanted = rule.required_features
        if wanted and any(feature not in channel.features for feature in wanted):
            return Reason.FEATURE_OFF
        return None if self.is_entitled(rule.account, rule.family) else Reason.ENTITLEMENT

    def product_rule(self, channel: Channel, event_type: str) -> Rule | None:
        """Return the rule by which a channel asks about products, None if it does not: none is ACTIVE
        or PAUSED, none is booked, or requests after such events are switched off there (R38, B9)."""
        is_by_type = channel.product_exclusivity is ProductExclusivity.PER_EVENT_TYPE
        slot = (channel.name, Family.PRODUCT_REVIEW, event_type if is_by_type else "")
        if event_type in channel.review_event_types_off:
            return None
        for activation in self.holders(slot):
            rule = self.rule(activation.account, activation.rule)
            if rule is not None and self.lacks(rule, channel) is None:
                return rule
        return None

    def is_stopped(self, rule_number: int, channel_number: int, registry_revision: int) -> bool:
        """Return whether what was planned under a registry revision was stopped since (D17, D20)."""
        key = (rule_number, channel_number)
        stopped = self._stop_revisions.get(key)
        if stopped is None:
            activation = self._activation_of(rule_number, channel_number)
            stopped = activation.stop_revision if activation is not None else 0
            self._stop_revisions[key] = stopped
        return stopped > 0 and registry_revision <= stopped

    def _activation_of(self, rule_number: int, channel_number: int) -> Activation | None:
        rule = self._rule_by_number.get(rule_number)
        channel = self.channel_by_number.get(channel_number)
        if rule is None or channel is None:
            return None
        return self.activation(rule.account, channel.id, rule.id)

    @property
    def newest_stop_revision(self) -> int:
        """The registry revision of the last stop, 0 if there was none."""
        activations = self._documents.activations.values.values()
        return max((activation.stop_revision for activation in activations), default=0)

    def is_frozen(self, rule_number: int, channel_number: int) -> bool:
        """Return whether nothing of a rule may go out on a channel until it is resumed (R14)."""
        activation = self._activation_of(rule_number, channel_number)
        if activation is None or activation.state != ActivationState.FROZEN:
            return False
        return not self._rule_by_number[rule_number].is_deleted

    def verdict(
        self, rule_number: int, revision: int, step_index: int, channel_number: int,
        registry_revision: int = 2**47,
    ) -> Verdict | None:  # fmt: skip
        """Return how the configuration ends an invitation that falls due now, None if it does not.

        In this order: RULE_DELETED; RULE_STOPPED; `FROZEN`, which ends nothing;
        EVENT_TYPE_INACTIVE (h4); STEP_OFF, by the newest revision of the rule (R40);
        RULE_INACTIVE, if the rule is switched off or superseded on the channel and nobody holds its
        slot (h5, R14).

        A no is final, so act on one only with a snapshot that was refreshed after the entry was
        read: the rule may have been switched on since.

        Args:
            rule_number: of the invitation.
            revision: of the rule when the invitation was planned.
            step_index: position of its step in that revision.
            channel_number: of the invitation.
            registry_revision: under which it was planned; left out, no stop is looked at.

        Raises:
            StaleRegistry: it was planned with something newer than this snapshot; refresh.
        """
        if self.is_stopped(rule_number, channel_number, registry_revision):
            return _RULE_STOPPED
        key = (rule_number, revision, step_index, channel_number)
        try:
            return self._verdicts[key]
        except KeyError:
            answer = self._verdicts[key] = self._judge(*key)
            return answer

    def _judge(
        self, rule_number: int, revision: int, step_index: int, channel_number: int
    ) -> Verdict | None:
        rule = self._rule_by_number.get(rule_number)
        if rule is None:
            self._require_allocated(RULE_COUNTER, rule_number)
            return _RULE_DELETED
        if rule.is_deleted:
            return _RULE_DELETED
        planned = self.rule_revision(rule_number, revision)
        if planned is None:
            raise StaleRegistry(f"rule {rule.name} has no revision {revision} here")
        channel = self.channel_by_number.get(channel_number)
        if channel is None:
            # A channel is deleted only when nothing is active there, so nothing holds the slot.
            self._require_allocated(CHANNEL_COUNTER, channel_number)
            return RULE_INACTIVE
        if self.is_frozen(rule_number, channel_number):
            return FROZEN
        if not self.is_type_active(rule.account, trigger_type(planned)):
            return _TYPE_INACTIVE
        step_id = planned.steps[step_index].id
        if any(step.id == step_id and not step.enabled for step in rule.steps):
            return _STEP_OFF
        is_review = planned.family in REVIEW_FAMILIES
        if is_review and planned.event_type in channel.review_event_types_off:
            return RULE_INACTIVE
        activation = self.activation(rule.account, channel.id, rule.id)
        if activation is not None and activation.state in HOLDING:
            return None
        slot = slot_of(planned, channel)
        return None if slot is not None and slot in self._holders else RULE_INACTIVE

    def is_type_active(self, account: str, event_type: str) -> bool:
        """Return whether events of a type lead to anything; "" is no type and always does."""
        if not event_type:
            return True
        found = self.event_type(account, event_type)
        return found is not None and found.active

    def _require_allocated(self, counter: str, number: int) -> None:
        """Tell what is gone, which was once numbered, from what this snapshot does not know yet."""
        if number > self.counter(counter):
            raise StaleRegistry(f"{counter} number {number} is newer than this snapshot")

    def caps_for(
        self, account: str, channel_number: int, rule_number: int, purpose: int, medium: int,
        is_follow_up: bool, step: Step | None = None,
    ) -> MessageCaps:  # fmt: skip
        """Return the caps that look at a message, by id (R24).

        Args:
            step: of the message; None: it says nothing about caps.
        """
        said = cap_rules.said_of_caps(step)
        key = (account, channel_number, rule_number, purpose, medium, is_follow_up, said)
        found = self._caps.get(key)
        if found is None:
            found = self._caps[key] = cap_rules.caps_of(
                self.caps(account), channel_number, rule_number, purpose, medium, is_follow_up, step
            )
            self._cap_by_ledger.update(
                (rule.ledger, cap) for rule, cap in zip(found.gate, found.caps, strict=True)
            )
        return found

    def cap_by_ledger(self, ledger: bytes) -> Cap | None:
        """Return the cap to which a ledger belongs, None if it is gone.

        For explaining, not for sending. Cost: O(1) for what `caps_for` has met; else, once, all
        ledgers there can be: caps times the channels or rules of their account.
        """
        if ledger not in self._cap_by_ledger and not self._are_ledgers_complete:
            for cap in self._documents.caps.values.values():
                channels = [channel.number for channel in self.channels(cap.account)]
                rules = [rule.number for rule in self.rules(cap.account)]
                for value in cap_rules.scope_values(cap.scope, channels, rules):
                    self._cap_by_ledger.setdefault(cap_rules.ledger_of(cap, value), cap)
            self._are_ledgers_complete = True
        return self._cap_by_ledger.get(ledger)


def _grouped(pairs: Iterable[tuple[str, Rule]]) -> dict[str, tuple[Rule, ...]]:
    found: dict[str, list[Rule]] = {}
    for key, rule in pairs:
        found.setdefault(key, []).append(rule)
    return {key: tuple(rules) for key, rules in found.items()}
