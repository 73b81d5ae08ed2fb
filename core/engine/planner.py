"""From an event to what it causes: evidence, stops, and one plan per rule, step and action.

Decides: which rules fire, when each message is first due, and what already speaks against it.
Never: waits or writes. The same event, registry and time give the same plans.
"""

from __future__ import annotations

import msgspec

from core import bounds
from core.engine.identity import Identity
from core.errors import InvalidField, NotFound
from core.model import (
    CONSENT_PURPOSES,
    REVIEW_FAMILIES,
    ConsentScope,
    ConsentStatus,
    Contact,
    Disposition,
    Event,
    Family,
    Medium,
    Reason,
    State,
)
from core.ports import Commit, OrderAnswer, Plan, Stop
from core.records import FLAG_FOLLOW_UP, FLAG_HOLD_UNKNOWN, NO_KEY, PlanDetail, Reference
from core.registry.resources import DEFAULT_REVIEW_STOPS, Channel, ConsentMode, EventType, Rule
from core.registry.rule_parts import Action, WaitBase
from core.registry.snapshot import Snapshot
from core.rules.schedule import due_ms, expiry_ms, follow_up_wait, is_late
from core.rules.zones import resolve_zone

Evidence = tuple[int, int, int, int, bytes, int]

_encode = msgspec.msgpack.Encoder().encode
_EMPTY_ORDER = OrderAnswer((), ())


def address_for(contact: Contact, medium: int) -> str:
    """Return where the contact is reached over a medium, "" if nowhere."""
    if medium == Medium.EMAIL:
        return contact.email.strip()
    if medium in (Medium.SMS, Medium.WHATSAPP):
        return contact.phone
    return ""


class Incoming:
    """One event on its way through accept, with the keys it is filed under."""

    __slots__ = (
        "body", "channel", "contact_key", "event", "event_key", "event_type", "has_contact",
        "leaves_tombstone", "order_key",
    )  # fmt: skip

    def __init__(
        self, event: Event, channel: Channel, event_type: EventType, event_key: bytes,
        contact_key: bytes, has_contact: bool, order_key: bytes, body: bytes,
        leaves_tombstone: bool,
    ) -> None:  # fmt: skip
        self.event = event
        self.channel = channel
        self.event_type = event_type
        self.event_key = event_key
        self.contact_key = contact_key
        """The contact named; without one, the order itself stands for the unknown contact."""
        self.has_contact = has_contact
        self.order_key = order_key
        self.body = body
        self.leaves_tombstone = leaves_tombstone
        """True if the event ends its order for some rule, present or to come."""


class Planner:
    """Plans for one store.

    Args:
        identity: makes the keys.
        holds_unknown: by medium, whether an unknown outcome is held instead of retried.
    """

    def __init__(self, identity: Identity, holds_unknown: frozenset[int]) -> None:
        self._identity = identity
        self._holds_unknown = holds_unknown

    def commits(
        self, snapshot: Snapshot, incoming: Incoming, order: OrderAnswer | None, now_ms: int
    ) -> list[Commit]:
        """Return what is to be applied: to the event's own contact first, then, if the event stops
        anything, to every other contact that the order is known under (E7)."""
        event = incoming.event
        disposition = Disposition.INACTIVE
        plans: list[Plan] = []
        if incoming.event_type.active:
            if incoming.has_contact:
                plans = self._plans(snapshot, incoming, order or _EMPTY_ORDER, now_ms)
            disposition = Disposition.PLANNED if plans else Disposition.NO_MATCH
        stops = self._stops(snapshot, incoming)
        tombstone = incoming.leaves_tombstone
        first = Commit(
            event_key=incoming.event_key,
            contact_key=incoming.contact_key,
            disposition=disposition,
            body=incoming.body if plans else b"",
            event_time_ms=event.occur_ms,
            plans=tuple(plans),
            stops=stops,
            consents=self._evidence(incoming, plans, now_ms),
            tombstone_order=incoming.order_key if tombstone else NO_KEY,
            tombstone_type=incoming.event_type.number if tombstone else 0,
        )
        if order is None or not tombstone:
            return [first]
        return [first] + [
            Commit(
                event_key=incoming.event_key,
                contact_key=key,
                disposition=disposition,
                body=b"",
                event_time_ms=event.occur_ms,
                stops=stops,
                tombstone_order=incoming.order_key,
                tombstone_type=incoming.event_type.number,
                is_primary=False,
            )
            for key in order.contact_keys
            if key != incoming.contact_key
        ]

    def _stops(self, snapshot: Snapshot, incoming: Incoming) -> tuple[Stop, ...]:
        """Return what the event ends; a review ends requests of its own kind only (R38)."""
        if incoming.order_key == NO_KEY:
            return ()
        rules = snapshot.stops(incoming.event.channel, incoming.event.type)
        if not rules:
            return ()
        review = incoming.event.review
        kind = review.kind if review is not None else 0
        numbers: dict[int, list[int]] = {}
        for number, family, reason in rules:
            if kind and family in REVIEW_FAMILIES and family != kind:
                continue
            numbers.setdefault(reason, []).append(number)
        return tuple(
            Stop(incoming.order_key, frozenset(found), reason) for reason, found in numbers.items()
        )

    def _evidence(self, incoming: Incoming, plans: list[Plan], now_ms: int) -> tuple[Evidence, ...]:
        """Return consent entries: what the event carries, and what the shop attests (R17, R20)."""
        event = incoming.event
        if incoming.order_key != NO_KEY:
            scope, key = ConsentScope.ORDER, incoming.order_key
        else:
            scope, key = ConsentScope.CHANNEL, incoming.channel.number.to_bytes(8, "little")
        entries: list[Evidence] = []
        told: set[tuple[int, int]] = set()
        for one in event.consents:
            status = ConsentStatus.GRANTED if one.given else ConsentStatus.DENIED
            time_ms = min(one.time_ms or event.occur_ms, now_ms)
            entries.append((scope, one.purpose, one.medium, status, key, time_ms))
            told.add((one.purpose, one.medium))
        if incoming.channel.consent_mode == ConsentMode.SHOP_ATTESTS:
            for plan in plans:
                if plan.needs_consent and (plan.purpose, plan.medium) not in told:
                    told.add((plan.purpose, plan.medium))
                    time_ms = min(event.occur_ms, now_ms)
                    entries.append(
                        (scope, plan.purpose, plan.medium, ConsentStatus.GRANTED, key, time_ms)
                    )
        return tuple(entries)

    def _plans(
        self, snapshot: Snapshot, incoming: Incoming, order: OrderAnswer, now_ms: int
    ) -> list[Plan]:
        passed, _ = snapshot.matcher(incoming.event.channel, incoming.event.type).match(
            incoming.event
        )
        plans: list[Plan] = []
        for rule in passed:
            for index, step in enumerate(rule.steps):
                if index and step.wait.base is WaitBase.PREVIOUS_STEP_SENT:
                    continue
                if step.enabled:
                    plans += [
                        self._plan(snapshot, incoming, order, rule, index, action, now_ms)
                        for action in step.actions
                    ]
        return plans

    def _plan(
        self, snapshot: Snapshot, incoming: Incoming, order: OrderAnswer, rule: Rule, index: int,
        action: Action, now_ms: int,
    ) -> Plan:  # fmt: skip
        event, channel = incoming.event, incoming.channel
        contact = event.contact
        zone, zone_source = resolve_zone(contact.time_zone, contact.country, channel.time_zone)
        message_key = self._message_key(
            rule, incoming.event_key, incoming.order_key, index, action.medium
        )
        due = self._first_due_ms(incoming, rule, index, zone, message_key)
        state, reason = State.SCHEDULED, Reason.NONE
        if is_late(now_ms, due):
            state, reason = State.EXPIRED, Reason.LATE_EVENT
        due = max(due, now_ms) if state is State.SCHEDULED else due
        stop_types, stop_reasons = snapshot.stop_numbers(rule)
        if stop_types and order.tombstones:
            for number, _ in order.tombstones:
                if number in stop_types:
                    state = State.CANCELLED
                    reason = Reason(stop_reasons[stop_types.index(number)])
        detail = PlanDetail(
            rule.account, channel.id, rule.id, rule.revision, rule.steps[index].id, event.id,
            event.type, event.order.reference if event.order is not None else "",
            address_for(contact, action.medium), event.locale or contact.locale or channel.locale,
            zone, zone_source, event.occur_ms, due, now_ms,
            rule.condition.source if rule.condition is not None else "",
        )  # fmt: skip
        # Positional: by keyword this alone costs a microsecond more.
        return Plan(
            action.medium, rule.purpose, index, channel.number, rule.number, due,
            expiry_ms(due, rule, index), incoming.order_key, message_key, _encode(detail),
            self._flags(action.medium, index), rule.priority, rule.purpose in CONSENT_PURPOSES,
            stop_types, stop_reasons, state, reason,
        )  # fmt: skip

    def _flags(self, medium: int, index: int) -> int:
        flags = FLAG_HOLD_UNKNOWN if medium in self._holds_unknown else 0
        return flags | (FLAG_FOLLOW_UP if index else 0)

    def _message_key(
        self, rule: Rule, event_key: bytes, order_key: bytes, step: int, medium: int
    ) -> bytes:
        if rule.family in REVIEW_FAMILIES:
            # Without an order the event is the only thing that can be asked about twice.
            base = order_key if order_key != NO_KEY else event_key
            return self._identity.review_message_key(base, rule.family, step, medium, 0)
        return self._identity.rule_message_key(event_key, rule.number, step, medium, 0)

    def _first_due_ms(
        self, incoming: Incoming, rule: Rule, index: int, zone: str, message_key: bytes
    ) -> int:
        """Return the planned instant: explicit (R32), else by the wait (d1, R31)."""
        event, wait = incoming.event, rule.steps[index].wait
        is_review = rule.family in REVIEW_FAMILIES
        if is_review and index == 0 and event.requested_send_ms:
            return max(event.requested_send_ms, event.occur_ms)
        activation = ""
        if is_review and incoming.channel.use_activation_date:
            activation = event.activation_date
        return due_ms(wait, event.occur_ms, zone, message_key, activation)

    def next_plans(
        self, snapshot: Snapshot, ref: Reference, detail: PlanDetail, sent_ms: int
    ) -> tuple[Plan, ...]:
        """Return the step that follows a message that was just sent (B17, B18, R33).

        Args:
            ref: of the message sent.
            sent_ms: when the transport took it; the wait counts from here.
        """
        rule = snapshot.rule_revision(ref.rule_number, detail.revision)
        index = ref.step + 1
        if rule is None or index >= len(rule.steps):
            return ()
        step = rule.steps[index]
        if step.wait.base is not WaitBase.PREVIOUS_STEP_SENT or not step.enabled:
            return ()
        wait = follow_up_wait(step.wait, rule.steps[0].wait)
        stop_types, stop_reasons = snapshot.stop_numbers(rule)
        plans: list[Plan] = []
        for action in step.actions:
            if action.medium != ref.medium:
                continue
            message_key = self._message_key(
                rule, ref.event_key, ref.order_key, index, action.medium
            )
            due = due_ms(wait, sent_ms, detail.zone, message_key)
            next_detail = msgspec.structs.replace(
                detail, step=step.id, base_ms=sent_ms, first_due_ms=due, accept_ms=sent_ms,
                parent_sequence=ref.sequence,
            )  # fmt: skip
            plans.append(
                Plan(
                    medium=action.medium, purpose=rule.purpose, step=index,
                    channel_number=ref.channel_number, rule_number=rule.number, due_ms=due,
                    expire_ms=expiry_ms(due, rule, index), order_key=ref.order_key,
                    message_key=message_key, detail=_encode(next_detail),
                    flags=self._flags(action.medium, index), priority=rule.priority,
                    needs_consent=rule.purpose in CONSENT_PURPOSES, stop_types=stop_types,
                    stop_reasons=stop_reasons,
                )
            )  # fmt: skip
        return tuple(plans)


def ends_orders(snapshot: Snapshot, event: Event) -> bool:
    """True if events like this one end their order for some rule, present or to come."""
    return event.type in DEFAULT_REVIEW_STOPS or bool(snapshot.stops(event.channel, event.type))


def event_type_of(snapshot: Snapshot, account: str, event: Event) -> EventType:
    """Return the event's type.

    Raises:
        InvalidField: the account has no such type (R15).
    """
    found = snapshot.event_type(account, event.type)
    if found is None:
        raise InvalidField(
            f'"{event.type[:63]}" is no event type of this account; list them with '
            "ListEventTypes, or add it with CreateEventType",
            field="event.type",
        )
    return found


def channel_of(snapshot: Snapshot, account: str, event: Event) -> Channel:
    """Return the event's channel.

    Raises:
        NotFound: the account has no such channel.
    """
    found = snapshot.channel_by_name.get(event.channel)
    if found is None or found.account != account:
        raise NotFound(
            f'"{event.channel[:200]}" is no channel of this account; it should read '
            f"accounts/{account}/channels/<channel>",
            field="event.channel",
        )
    return found


assert bounds.STEPS_MAX < 256, "a step is one byte"
assert int(Family.PRODUCT_REVIEW) == 2, "Review.kind and Family share their numbers"
