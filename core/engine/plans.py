"""One plan: when a message of a rule is first due for an event, under which keys, and what already
speaks against it.

Decides: due time, expiry, message key and ties of each step and action of a rule that passed.
Never: which rules fire (`core/engine/planner.py`), waits or writes.

What a rule's plans are tied to, for stops and for sending once, is the order; for rules about carts the
cart.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core import bounds
from core.engine.destinations import NOTHING_DRAWN, drawn_for
from core.engine.identity import Identity
from core.engine.incoming import Incoming
from core.engine.opening import Hours, may_be_closed
from core.model import (
    CONSENT_PURPOSES,
    REVIEW_FAMILIES,
    Contact,
    Event,
    Family,
    Medium,
    Reason,
    State,
)
from core.ports import OrderAnswer, Plan
from core.records import (
    FLAG_ELSEWHERE,
    FLAG_FOLLOW_UP,
    FLAG_HOLD_UNKNOWN,
    KIND_PRODUCT,
    KIND_SERVICE,
    NO_KEY,
    PlanDetail,
    Reference,
)
from core.registry.resources import Channel, Rule
from core.registry.rule_parts import (
    Action,
    Condition,
    OncePer,
    Recipient,
    Step,
    StopKey,
    Wait,
    WaitBase,
)
from core.registry.snapshot import Snapshot
from core.rules.cel_values import EvaluationError
from core.rules.lowering import Predicate, compile_predicate
from core.rules.schedule import due_ms, expiry_ms, is_late
from core.rules.zones import resolve_zone

NO_CARRIER = "-"
"""Stands for the carrier of a shipment that names none; it is no id that a carrier can have."""

Asked = tuple[Rule, int]
"""A rule to be planned, with what it asks about, as bits; 0 for what is no review request."""

_encode = msgspec.msgpack.Encoder().encode


class Case:
    """One event about to be planned: what all of its plans share."""

    __slots__ = ("base_ms", "incoming", "now_ms", "order", "snapshot", "zone", "zone_source")

    def __init__(
        self, snapshot: Snapshot, incoming: Incoming, order: OrderAnswer, now_ms: int, base_ms: int
    ) -> None:
        self.snapshot = snapshot
        self.incoming = incoming
        self.order = order
        self.now_ms = now_ms
        self.base_ms = base_ms
        contact = incoming.event.contact
        region = contact.address.region if contact.address is not None else ""
        self.zone, self.zone_source = resolve_zone(
            contact.time_zone, contact.country, incoming.channel.time_zone, contact.phone, region
        )


class PlanMaker:
    """Makes plans for one store.

    Args:
        identity: makes the keys.
        holds_unknown: by medium, whether an unknown outcome is held instead of retried.
    """

    def __init__(self, identity: Identity, holds_unknown: frozenset[int]) -> None:
        self._identity = identity
        self._holds_unknown = holds_unknown

    def plans(self, case: Case, asked: Sequence[Asked]) -> list[Plan]:
        """Return the plans of the rules that pass, but those that wait for a message to be sent."""
        return [
            self._plan(case, rule, kinds, index, action)
            for rule, kinds in asked
            for index, step in enumerate(rule.steps)
            if step.enabled and not (index and step.wait.base is WaitBase.PREVIOUS_STEP_SENT)
            for action in step.actions
        ]

    def _plan(self, case: Case, rule: Rule, kinds: int, index: int, action: Action) -> Plan:
        incoming, snapshot = case.incoming, case.snapshot
        event, channel = incoming.event, incoming.channel
        step, medium = rule.steps[index], action.medium
        run_key = self._run_key(rule, incoming)
        message_key = self._message_key(rule, run_key, index, medium)
        planned_ms = self._first_due_ms(case, rule, step, index, action, message_key)
        due = self._opened_ms(case, rule, action, planned_ms)
        state, reason = State.SCHEDULED, Reason.NONE
        if is_late(case.now_ms, planned_ms):
            state, reason = State.EXPIRED, Reason.LATE_EVENT
        elif due is None:
            state, reason = State.EXPIRED, Reason.NO_SLOT
        elif kinds == KIND_PRODUCT and not has_items(event):
            state, reason = State.SKIPPED, Reason.PRODUCT_ALREADY_ASKED
        due_at = planned_ms if due is None else due
        if state is State.SCHEDULED:
            due_at = max(due_at, case.now_ms)
        stop_types, stop_reasons = snapshot.stop_numbers(rule, kinds)
        for number, _ in case.order.tombstones if stop_types else ():
            if number in stop_types:
                state, reason = State.CANCELLED, Reason(stop_reasons[stop_types.index(number)])
        is_carrier = action.recipient is Recipient.CARRIER
        contact = event.contact
        reference = event.order.reference if event.order is not None else ""
        drawn = NOTHING_DRAWN
        if kinds and channel.diversion is not None:
            drawn = drawn_for(snapshot, channel, reference, event.id, kinds)
        detail = PlanDetail(
            rule.account, channel.id, rule.id, rule.revision, step.id, event.id, event.type,
            reference,
            "" if is_carrier else address_for(contact, medium),
            event.locale or contact.locale or channel.locale, case.zone, case.zone_source,
            case.base_ms, due_at, case.now_ms,
            rule.condition.source if rule.condition is not None else "", 0, 0, snapshot.revision,
            carrier_of(event) if is_carrier else "",
            platform=drawn.platform, bucket=drawn.bucket, shares=drawn.shares,
            salt_number=drawn.salt_number,
        )  # fmt: skip
        # Positional: by keyword this alone costs a microsecond more.
        return Plan(
            medium, rule.purpose, index, channel.number, rule.number, due_at,
            expiry_ms(due_at, rule, index), self._subject_key(rule, incoming), message_key,
            _encode(detail), self.flags(medium, index, is_carrier), rule.priority,
            rule.purpose in CONSENT_PURPOSES and not is_carrier, stop_types, stop_reasons, state,
            reason, kinds,
        )  # fmt: skip

    def flags(self, medium: int, index: int, is_carrier: bool = False) -> int:
        """Return the flags of an invitation over a medium at a step, to the contact or a carrier."""
        flags = FLAG_HOLD_UNKNOWN if medium in self._holds_unknown else 0
        flags |= FLAG_ELSEWHERE if is_carrier else 0
        return flags | (FLAG_FOLLOW_UP if index else 0)

    def _subject_key(self, rule: Rule, incoming: Incoming) -> bytes:
        """Return what ties a plan to later events: the cart for rules about carts, else the order."""
        is_about_cart = (
            rule.debounce is not None
            or rule.once_per is OncePer.CART
            or (bool(rule.stops) and any(stop.key is StopKey.CART for stop in rule.stops))
        )
        if not is_about_cart:
            return incoming.order_key
        cart = incoming.cart_key(self._identity)
        return cart if cart != NO_KEY else incoming.order_key

    def _run_key(self, rule: Rule, incoming: Incoming) -> bytes:
        """Return what a run is: an order, an event, a cart or a contact (R1)."""
        key = NO_KEY
        if rule.family in REVIEW_FAMILIES or rule.once_per is OncePer.ORDER:
            key = incoming.order_key
        elif rule.once_per is OncePer.CART:
            key = incoming.cart_key(self._identity)
        elif rule.once_per is OncePer.CONTACT:
            key = incoming.contact_key
        # Without an order or cart the event is the only thing that can be written about twice.
        return key if key != NO_KEY else incoming.event_key

    def _message_key(self, rule: Rule, run_key: bytes, step: int, medium: int) -> bytes:
        if rule.family in REVIEW_FAMILIES:
            return self._identity.review_message_key(run_key, step, medium, 0)
        return self._identity.rule_message_key(run_key, rule.number, step, medium, 0)

    def next_message_key(self, rule: Rule, ref: Reference, step: int, medium: int) -> bytes:
        """Return the message key of the step after an invitation; it has the same run."""
        run_key = ref.order_key
        if rule.family not in REVIEW_FAMILIES or run_key == NO_KEY:
            # What the run was tied to is not kept; the event that began it says as much.
            run_key = ref.event_key
        return self._message_key(rule, run_key, step, medium)

    def _first_due_ms(
        self, case: Case, rule: Rule, step: Step, index: int, action: Action, message_key: bytes
    ) -> int:
        """Return the planned instant: explicit (R32), else by the wait (d1, R31, R34)."""
        event = case.incoming.event
        is_review = rule.family in REVIEW_FAMILIES
        wait = wait_for(step, action, event)
        if is_review and index == 0 and event.requested_send_ms:
            base_ms = max(event.requested_send_ms, case.base_ms)
            service = self._service_wait(case, rule)
            # The product keeps its distance to the service, which goes at the time requested.
            return base_ms + _distance_ms(service, wait) if service is not None else base_ms
        activation = activation_date(event, wait, is_review, case.incoming.channel)
        return due_ms(wait, case.base_ms, case.zone, message_key, activation)

    def _service_wait(self, case: Case, rule: Rule) -> Wait | None:
        """Return the wait of the service request beside a separate product request."""
        if rule.family is not Family.PRODUCT_REVIEW:
            return None
        event = case.incoming.event
        passed, _ = case.snapshot.matcher(event.channel, event.type).match(event)
        service = next((rule for rule in passed if rule.family is Family.SERVICE_REVIEW), None)
        if service is None:
            return None
        first = service.steps[0]
        return wait_for(first, first.actions[0], event)

    def _opened_ms(self, case: Case, rule: Rule, action: Action, planned_ms: int) -> int | None:
        """Return when the medium may first be used, from the planned instant on (d3)."""
        channel = case.incoming.channel
        if action.recipient is Recipient.CARRIER or not may_be_closed(
            channel, rule.purpose, action.medium
        ):
            return planned_ms
        contact = case.incoming.event.contact
        hours = Hours(channel, contact, action.medium, case.zone, case.zone_source)
        if hours.skips:
            return planned_ms
        return hours.opening_ms(max(planned_ms, case.now_ms), channel.closed_dates)


def address_for(contact: Contact, medium: int) -> str:
    """Return where the contact is reached over a medium, "" if nowhere."""
    if medium == Medium.EMAIL:
        return contact.email.strip()
    if medium in (Medium.SMS, Medium.WHATSAPP):
        return contact.phone
    return ""


def wait_for(step: Step, action: Action, event: Event) -> Wait:
    """Return the wait that holds for an event: the first override that passes, else the action's, else
    the step's (C11, R34)."""
    for override in step.wait_overrides:
        if passes(override.condition, event):
            return override.wait
    return action.wait or step.wait


def passes(condition: Condition, event: Event) -> bool:
    """Return whether a condition holds for an event; one that ends in an error does not (R42)."""
    predicate: Predicate | None = condition.__dict__.get("predicate")
    if predicate is None:
        predicate = condition.__dict__["predicate"] = compile_predicate(condition.tree)
    try:
        return predicate(event)
    except EvaluationError:
        return False


def activation_date(event: Event, wait: Wait, is_review: bool, channel: Channel) -> str:
    """Return the date from which a wait counts if it is later than the event, "" for none (R31)."""
    if is_review:
        return event.activation_date if channel.use_activation_date else ""
    return event.activation_date if wait.base is WaitBase.ACTIVATION_DATE else ""


def _distance_ms(service: Wait, product: Wait) -> int:
    """Return how much later than the service the product is asked about."""
    lengths = [
        wait.elapsed_ms if wait.elapsed_ms is not None else (wait.days or 0) * bounds.DAY_MS
        for wait in (service, product)
    ]
    return max(0, lengths[1] - lengths[0])


def kinds_of(rule: Rule) -> int:
    """Return what a rule asks about, as bits; 0 if it asks for no review."""
    return int(rule.family) if rule.family in REVIEW_FAMILIES else 0


def has_items(event: Event) -> bool:
    """Return whether there is anything to ask about."""
    return event.order is not None and bool(event.order.items)


def carrier_of(event: Event) -> str:
    """Return the id of the carrier that an event names, `NO_CARRIER` if none."""
    shipment = event.shipment
    return (shipment.carrier.strip().lower() if shipment is not None else "") or NO_CARRIER


def step_index(rule: Rule, step_id: str, planned_index: int) -> int:
    """Return where a step stands in a revision of its rule: by its id, else where it was planned."""
    steps = rule.steps
    if 0 <= planned_index < len(steps) and steps[planned_index].id == step_id:
        return planned_index
    return next((index for index, step in enumerate(steps) if step.id == step_id), planned_index)


assert bounds.STEPS_MAX < 256, "a step is one byte"
assert (int(Family.SERVICE_REVIEW), int(Family.PRODUCT_REVIEW)) == (KIND_SERVICE, KIND_PRODUCT)
