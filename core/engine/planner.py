"""From an event to what it causes: evidence, stops, history, timers, and its plans.

Decides: which rules fire, when each message is first due, and what already speaks against it. There is
one plan for each rule, step and action.
Never: waits or writes. The same event, registry and time give the same plans.

A service and a combined product rule that both pass make one plan, which asks about both (R38). What a
rule's plans are tied to, for stops and for sending once, is the order; for rules about carts the cart.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core import bounds
from core.engine.identity import Identity
from core.engine.incoming import IDENTIFY, Incoming
from core.engine.opening import Hours, may_be_closed
from core.engine.triggers import guards_of, history_of, timers_of
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
from core.records import (
    FLAG_FOLLOW_UP,
    FLAG_HOLD_UNKNOWN,
    KIND_PRODUCT,
    KIND_SERVICE,
    NO_KEY,
    PlanDetail,
    Reference,
)
from core.registry.resources import DEFAULT_REVIEW_STOPS, Channel, ConsentMode, EventType, Rule
from core.registry.rule_parts import (
    Action,
    OncePer,
    ProductTiming,
    Recipient,
    Step,
    StopKey,
    Wait,
    WaitBase,
)
from core.registry.snapshot import PURCHASES, REVIEW_KINDS_SHIFT, Snapshot
from core.rules.cel_values import EvaluationError
from core.rules.lowering import compile_predicate
from core.rules.schedule import due_ms, expiry_ms, is_late
from core.rules.zones import resolve_zone
from core.timer_records import Timer

Evidence = tuple[int, int, int, int, bytes, int]
Asked = tuple[Rule, int]
"""A rule to be planned, with what it asks about, as bits; 0 for what is no review request."""

_encode = msgspec.msgpack.Encoder().encode
_EMPTY_ORDER = OrderAnswer((), ())


def address_for(contact: Contact, medium: int) -> str:
    """Return where the contact is reached over a medium, "" if nowhere."""
    if medium == Medium.EMAIL:
        return contact.email.strip()
    if medium in (Medium.SMS, Medium.WHATSAPP):
        return contact.phone
    return ""


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


class Planner:
    """Plans for one store.

    Args:
        identity: makes the keys.
        holds_unknown: by medium, whether an unknown outcome is held instead of retried.
    """

    def __init__(self, identity: Identity, holds_unknown: frozenset[int]) -> None:
        self.identity = identity
        self._holds_unknown = holds_unknown

    # An event ---------------------------------------------------------------------------------

    def commits(
        self, snapshot: Snapshot, incoming: Incoming, order: OrderAnswer | None, now_ms: int
    ) -> list[Commit]:
        """Return what is to be applied: to the event's own contact first, then, if the event ends
        anything, to every other contact that the order is known under (E7)."""
        event = incoming.event
        is_active = incoming.event_type.active and not incoming.is_import
        disposition = Disposition.NO_MATCH
        if not incoming.event_type.active:
            disposition = Disposition.INACTIVE
        asked: list[Asked] = []
        plans: tuple[Plan, ...] = ()
        timers: tuple[Timer, ...] = ()
        if is_active and incoming.has_contact:
            asked = self._asked(snapshot, incoming)
            if asked:
                case = Case(snapshot, incoming, order or _EMPTY_ORDER, now_ms, event.occur_ms)
                plans = tuple(self._plans(case, asked))
            timers = timers_of(snapshot, incoming, self.identity)
            if plans:
                disposition = Disposition.PLANNED
        stops = () if incoming.is_import else self._stops(snapshot, incoming)
        facts_key = _facts_key(incoming)
        history = history_of(incoming)
        tombstone = incoming.stop_number
        keeps_body = bool(plans or timers) or facts_key is not None
        first = Commit(
            event_key=incoming.event_key,
            contact_key=incoming.contact_key,
            disposition=disposition,
            body=incoming.body if keeps_body else b"",
            event_time_ms=event.occur_ms,
            plans=plans,
            stops=stops,
            consents=self.evidence(incoming, plans, now_ms),
            tombstone_order=incoming.order_key if tombstone else NO_KEY,
            tombstone_type=tombstone,
            history=history,
            guards=guards_of([rule for rule, _ in asked], incoming) if plans else (),
            timers=timers,
            facts_key=facts_key,
        )
        if order is None or not (stops or tombstone or history or facts_key is not None):
            return [first]
        return [first] + [
            Commit(
                event_key=incoming.event_key,
                contact_key=key,
                disposition=disposition,
                body=incoming.body if facts_key is not None else b"",
                event_time_ms=event.occur_ms,
                stops=stops,
                tombstone_order=first.tombstone_order,
                tombstone_type=tombstone,
                history=history if incoming.is_refund else (),
                facts_key=facts_key,
                is_primary=False,
            )
            for key in order.contact_keys
            if key != incoming.contact_key
        ]

    def _asked(self, snapshot: Snapshot, incoming: Incoming) -> list[Asked]:
        """Return the rules that pass, combined product rules merged into their service rule."""
        event = incoming.event
        passed = list(snapshot.matcher(event.channel, event.type).match(event)[0])
        if incoming.is_purchase:
            passed += snapshot.matcher(event.channel, PURCHASES).match(event)[0]
        kinds = {rule.number: _kinds_of(rule) for rule in passed}
        if KIND_PRODUCT not in kinds.values():
            return [(rule, kinds[rule.number]) for rule in passed]
        service = next((rule for rule in passed if rule.family is Family.SERVICE_REVIEW), None)
        asked: list[Asked] = []
        for rule in passed:
            is_combined = (
                rule.review is not None
                and rule.review.product_timing is ProductTiming.SAME_AS_SERVICE
            )
            if service is not None and rule.family is Family.PRODUCT_REVIEW and is_combined:
                if _has_items(event) and snapshot.lacks(rule, incoming.channel) is None:
                    kinds[service.number] |= KIND_PRODUCT
                continue
            asked.append((rule, kinds[rule.number]))
        return [(rule, kinds[rule.number]) for rule, _ in asked]

    def _stops(self, snapshot: Snapshot, incoming: Incoming) -> tuple[Stop, ...]:
        """Return what the event ends; a review ends requests of its own kind only (R38)."""
        if incoming.is_partial_return:
            return ()
        review = incoming.event.review
        kinds = review.kind if review is not None and review.kind else KIND_SERVICE | KIND_PRODUCT
        numbers: dict[tuple[bytes, int], list[int]] = {}
        for event_type in incoming.types:
            for number, tie, reason in snapshot.stops(incoming.event.channel, event_type):
                if tie is StopKey.CONTACT:
                    if incoming.has_contact:
                        numbers.setdefault((NO_KEY, reason), []).append(number)
                    continue
                is_order = tie is StopKey.ORDER
                key = incoming.order_key if is_order else incoming.cart_key(self.identity)
                if key != NO_KEY:
                    numbers.setdefault((key, reason), []).append(number)
        has_comment = review is not None and review.has_comment
        return tuple(
            Stop(key, frozenset(found), reason, kinds, has_comment)
            for (key, reason), found in numbers.items()
        )

    def evidence(
        self, incoming: Incoming, plans: Sequence[Plan], now_ms: int
    ) -> tuple[Evidence, ...]:
        """Return consent entries: what the event carries, and what the shop attests (R17, R20)."""
        event = incoming.event
        attests = incoming.channel.consent_mode == ConsentMode.SHOP_ATTESTS
        if not event.consents and not attests:
            return ()
        keys = {incoming.order_key, *(plan.order_key for plan in plans)} - {NO_KEY}
        places = [(ConsentScope.ORDER, key) for key in sorted(keys)] or [
            (ConsentScope.CHANNEL, incoming.channel.number.to_bytes(8, "little"))
        ]
        said: dict[tuple[int, int], tuple[int, int]] = {}
        for one in event.consents:
            status = ConsentStatus.GRANTED if one.given else ConsentStatus.DENIED
            said[one.purpose, one.medium] = (status, min(one.time_ms or event.occur_ms, now_ms))
        for plan in plans if attests else ():
            if plan.needs_consent:
                granted = (ConsentStatus.GRANTED, min(event.occur_ms, now_ms))
                said.setdefault((plan.purpose, plan.medium), granted)
        return tuple(
            (scope, purpose, medium, status, key, time_ms)
            for (purpose, medium), (status, time_ms) in said.items()
            for scope, key in places
        )

    # Plans ------------------------------------------------------------------------------------

    def _plans(self, case: Case, asked: Sequence[Asked]) -> list[Plan]:
        return [
            self._plan(case, rule, kinds, index, action)
            for rule, kinds in asked
            for index, step in enumerate(rule.steps)
            if step.enabled and not (index and step.wait.base is WaitBase.PREVIOUS_STEP_SENT)
            for action in step.actions
        ]

    def run_plans(self, case: Case, rule: Rule) -> tuple[Plan, ...]:
        """Return the plans of a run that a timer starts, if the rule's condition holds (D5, D13)."""
        if rule.condition is not None and not passes(rule.condition.tree, case.incoming.event):
            return ()
        return tuple(self._plans(case, [(rule, _kinds_of(rule))]))

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
        elif kinds == KIND_PRODUCT and not _has_items(event):
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
        detail = PlanDetail(
            rule.account, channel.id, rule.id, rule.revision, step.id, event.id, event.type,
            event.order.reference if event.order is not None else "",
            "" if is_carrier else address_for(contact, medium),
            event.locale or contact.locale or channel.locale, case.zone, case.zone_source,
            case.base_ms, due_at, case.now_ms,
            rule.condition.source if rule.condition is not None else "", 0, 0, snapshot.revision,
            _carrier_of(event) if is_carrier else "",
        )  # fmt: skip
        # Positional: by keyword this alone costs a microsecond more.
        return Plan(
            medium, rule.purpose, index, channel.number, rule.number, due_at,
            expiry_ms(due_at, rule, index), self._subject_key(rule, incoming), message_key,
            _encode(detail), self.flags(medium, index), rule.priority,
            rule.purpose in CONSENT_PURPOSES and not is_carrier, stop_types, stop_reasons, state,
            reason, kinds,
        )  # fmt: skip

    def flags(self, medium: int, index: int) -> int:
        """Return the flags of an invitation over a medium at a step."""
        flags = FLAG_HOLD_UNKNOWN if medium in self._holds_unknown else 0
        return flags | (FLAG_FOLLOW_UP if index else 0)

    def _subject_key(self, rule: Rule, incoming: Incoming) -> bytes:
        """Return what ties a plan to later events: the cart for rules about carts, else the order."""
        is_about_cart = (
            rule.debounce is not None
            or rule.once_per is OncePer.CART
            or any(stop.key is StopKey.CART for stop in rule.stops)
        )
        cart = incoming.cart_key(self.identity) if is_about_cart else NO_KEY
        return cart if cart != NO_KEY else incoming.order_key

    def _run_key(self, rule: Rule, incoming: Incoming) -> bytes:
        """Return what a run is: an order, an event, a cart or a contact (R1)."""
        key = NO_KEY
        if rule.family in REVIEW_FAMILIES or rule.once_per is OncePer.ORDER:
            key = incoming.order_key
        elif rule.once_per is OncePer.CART:
            key = incoming.cart_key(self.identity)
        elif rule.once_per is OncePer.CONTACT:
            key = incoming.contact_key
        # Without an order or cart the event is the only thing that can be written about twice.
        return key if key != NO_KEY else incoming.event_key

    def _message_key(self, rule: Rule, run_key: bytes, step: int, medium: int) -> bytes:
        if rule.family in REVIEW_FAMILIES:
            return self.identity.review_message_key(run_key, step, medium, 0)
        return self.identity.rule_message_key(run_key, rule.number, step, medium, 0)

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
        return next((r.steps[0].wait for r in passed if r.family is Family.SERVICE_REVIEW), None)

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
        return hours.opening_ms(max(planned_ms, case.base_ms), channel.closed_dates)


def wait_for(step: Step, action: Action, event: Event) -> Wait:
    """Return the wait that holds for an event: the first override that passes, else the action's, else
    the step's (C11, R34)."""
    for override in step.wait_overrides:
        if passes(override.condition.tree, event):
            return override.wait
    return action.wait or step.wait


def passes(tree: list[object], event: Event) -> bool:
    """Return whether a condition holds for an event; one that ends in an error does not (R42)."""
    try:
        return compile_predicate(tree)(event)
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


def _kinds_of(rule: Rule) -> int:
    return int(rule.family) if rule.family in REVIEW_FAMILIES else 0


def _has_items(event: Event) -> bool:
    return event.order is not None and bool(event.order.items)


def _carrier_of(event: Event) -> str:
    return event.shipment.carrier.strip().lower() if event.shipment is not None else ""


def _facts_key(incoming: Incoming) -> bytes | None:
    """Return for whom the event is news: those that wait for its order, or for its contact."""
    if incoming.is_import:
        return None
    if incoming.event.type == IDENTIFY:
        return NO_KEY
    return incoming.order_key if incoming.order_key != NO_KEY else None


def stop_number(snapshot: Snapshot, incoming: Incoming) -> int:
    """Return the number of the tombstone that an event leaves on its order, 0 for none: it ends orders
    for some rule, present or to come."""
    if incoming.order_key == NO_KEY or incoming.is_import or incoming.is_partial_return:
        return 0
    for event_type in incoming.types:
        if event_type in DEFAULT_REVIEW_STOPS or snapshot.stops(incoming.event.channel, event_type):
            found = snapshot.event_type(incoming.channel.account, event_type)
            if found is not None:
                review = incoming.event.review
                kind = review.kind if review is not None else 0
                return found.number | kind << REVIEW_KINDS_SHIFT
    return 0


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
assert (int(Family.SERVICE_REVIEW), int(Family.PRODUCT_REVIEW)) == (KIND_SERVICE, KIND_PRODUCT)
