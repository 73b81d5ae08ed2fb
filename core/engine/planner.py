"""From an event to what it causes: evidence, stops, history, timers, and its plans.

Decides: which rules fire, and what an event is news for. There is one plan for each rule, step and
action; `core/engine/plans.py` makes it.
Never: waits or writes. The same event, registry and time give the same plans.

A service and a combined product rule that both pass make one plan, which asks about both (R38).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from core.engine.consent_documents import SOURCE_EVENT, ConsentDocument, granted_as, packed
from core.engine.identity import Identity
from core.engine.incoming import IDENTIFY, Incoming
from core.engine.plans import Asked, Case, PlanMaker, has_items, kinds_of, passes
from core.engine.refusals import Refusals
from core.engine.triggers import guards_of, history_of, timers_of
from core.errors import InvalidField, NotFound
from core.model import ConsentScope, ConsentStatus, Disposition, Event, Family
from core.model import Evidence as Told
from core.ports import Commit, OrderAnswer, Plan, Stop
from core.records import BY_HAND, KIND_PRODUCT, KIND_SERVICE, NO_KEY
from core.registry.matchers import EventMatcher
from core.registry.resources import (
    DEFAULT_REVIEW_STOPS,
    Channel,
    ConsentMode,
    EventType,
    HistoryScope,
    Rule,
)
from core.registry.rule_events import REVIEW_KINDS_SHIFT, SHARED_ORDER, stop_reason
from core.registry.rule_parts import ProductTiming, StopKey
from core.registry.snapshot import Snapshot
from core.timer_records import Timer

Evidence = tuple[int, int, int, int, bytes, int, int, bytes]

_EMPTY_ORDER = OrderAnswer((), ())
_ORDER, _CHANNEL = int(ConsentScope.ORDER), int(ConsentScope.CHANNEL)
_DENIED, _ASSUMED = int(ConsentStatus.DENIED), int(ConsentStatus.ASSUMED)


class Planner:
    """Plans for one store.

    Args:
        identity: makes the keys.
        holds_unknown: by medium, whether an unknown outcome is held instead of retried.
        refusals: remembers whose conditions did not hold.
    """

    def __init__(
        self, identity: Identity, holds_unknown: frozenset[int], refusals: Refusals
    ) -> None:
        self.identity = identity
        self._refusals = refusals
        self.maker = PlanMaker(identity, holds_unknown)

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
                plans = tuple(self.maker.plans(case, asked))
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
            guards=guards_of(asked, incoming),
            timers=timers,
            facts_key=facts_key,
        )
        if order is None or not (stops or tombstone or history or facts_key is not None):
            return [first]
        others = [key for key in order.contact_keys if key != incoming.contact_key]
        if others and not tombstone and facts_key is not None and incoming.has_contact:
            shared = {"tombstone_order": incoming.order_key, "tombstone_type": SHARED_ORDER}
            first = msgspec.structs.replace(first, **shared)
        return [first, *(self._told_too(incoming, first, key) for key in others)]

    def _told_too(self, incoming: Incoming, first: Commit, contact_key: bytes) -> Commit:
        """Return what an event does to another contact of its order."""
        tells = incoming.is_refund or not incoming.has_contact
        return Commit(
            event_key=incoming.event_key,
            contact_key=contact_key,
            disposition=first.disposition,
            body=incoming.body if first.facts_key is not None else b"",
            event_time_ms=first.event_time_ms,
            stops=first.stops,
            tombstone_order=incoming.order_key if incoming.stop_number else NO_KEY,
            tombstone_type=incoming.stop_number,
            history=first.history if tells else (),
            facts_key=first.facts_key,
            is_primary=False,
        )

    def run_plans(self, case: Case, rule: Rule) -> tuple[Plan, ...]:
        """Return the plans of a run that a timer starts, if the rule's condition holds (D5, D13)."""
        if rule.condition is not None and not passes(rule.condition, case.incoming.event):
            return ()
        return tuple(self.maker.plans(case, [(rule, kinds_of(rule))]))

    def _asked(self, snapshot: Snapshot, incoming: Incoming) -> list[Asked]:
        """Return the rules that pass, combined product rules merged into their service rule."""
        event = incoming.event
        passed = self._matched(snapshot.matcher(event.channel, event.type), incoming)
        if incoming.is_purchase:
            on_purchases = snapshot.purchase_matcher(event.channel)
            if on_purchases is not None:
                passed = [*passed, *self._matched(on_purchases, incoming)]
        asked = [(rule, kinds_of(rule)) for rule in passed]
        if all(kind != KIND_PRODUCT for _, kind in asked):
            return asked
        kinds = {rule.number: kind for rule, kind in asked}
        service = next((rule for rule in passed if rule.family is Family.SERVICE_REVIEW), None)
        asked = []
        for rule in passed:
            is_combined = (
                rule.review is not None
                and rule.review.product_timing is ProductTiming.SAME_AS_SERVICE
            )
            if service is not None and rule.family is Family.PRODUCT_REVIEW and is_combined:
                if has_items(event) and snapshot.lacks(rule, incoming.channel) is None:
                    kinds[service.number] |= KIND_PRODUCT
                continue
            asked.append((rule, kinds[rule.number]))
        return [(rule, kinds[rule.number]) for rule, _ in asked]

    def _matched(self, matcher: EventMatcher, incoming: Incoming) -> Sequence[Rule]:
        passed, errored = matcher.match(incoming.event)
        if len(passed) < len(matcher.rules):
            numbers = {rule.number for rule in passed}
            refused = [rule for rule in matcher.rules if rule.number not in numbers]
            self._refusals.note(incoming.event_key, incoming.event, refused, len(errored))
        return passed

    def _stops(self, snapshot: Snapshot, incoming: Incoming) -> tuple[Stop, ...]:
        """Return what the event ends; a review ends requests of its own kind only (R38)."""
        if incoming.is_partial_return:
            return ()
        review = incoming.event.review
        kinds = review.kind if review is not None and review.kind else KIND_SERVICE | KIND_PRODUCT
        numbers: dict[tuple[bytes, int], list[int]] = {}
        for event_type in incoming.types:
            stops = snapshot.stops(incoming.event.channel, event_type)
            if event_type in DEFAULT_REVIEW_STOPS:
                stops += ((BY_HAND, StopKey.ORDER, stop_reason(event_type)),)
            for number, tie, reason in stops:
                if tie is StopKey.CONTACT:
                    if incoming.has_contact:
                        numbers.setdefault((NO_KEY, reason), []).append(number)
                    continue
                is_order = tie is StopKey.ORDER
                key = incoming.order_key if is_order else incoming.cart_key(self.identity)
                if key != NO_KEY:
                    numbers.setdefault((key, reason), []).append(number)
        if not numbers:
            return ()
        has_comment = review is not None and review.has_comment
        channel = incoming.channel
        apart = channel.number if channel.history_scope is HistoryScope.CHANNEL else 0
        return tuple(
            Stop(key, frozenset(found), reason, kinds, has_comment, 0 if key != NO_KEY else apart)
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
        keys = [incoming.order_key] if incoming.order_key != NO_KEY else []
        for plan in plans:
            if plan.order_key not in keys and plan.order_key != NO_KEY:
                keys.append(plan.order_key)
        places: list[tuple[int, bytes]] = [(_ORDER, key) for key in keys]
        if not places:
            places = [(_CHANNEL, incoming.channel.number.to_bytes(8, "little"))]
        said: list[tuple[int, int, int, int, int, bytes]] = []
        for one in event.consents:
            status = int(granted_as(one.legal_basis, is_proven=False)) if one.given else _DENIED
            time_ms = min(one.time_ms or event.occur_ms, now_ms)
            document = _document(one, incoming.channel.account)
            said.append((one.purpose, one.medium, status, time_ms, one.expire_ms, document))
        if attests:
            told = {(one.purpose, one.medium) for one in event.consents}
            wanted = {(plan.purpose, plan.medium) for plan in plans if plan.needs_consent}
            time_ms = min(event.occur_ms, now_ms)
            document = _attested(incoming.channel.account)
            said += [(*what, _ASSUMED, time_ms, 0, document) for what in sorted(wanted - told)]
        return tuple([
            (scope, purpose, medium, status, key, time_ms, expire_ms, document)
            for purpose, medium, status, time_ms, expire_ms, document in said
            for scope, key in places
        ])  # fmt: skip


@lru_cache(maxsize=1_024)
def _attested(account: str) -> bytes:
    method = "attested by the shop"
    return packed(ConsentDocument(source=SOURCE_EVENT, method=method, account=account))


def _document(one: Told, account: str) -> bytes:
    return packed(
        ConsentDocument(
            collection_point=one.source, text_version=one.text_version, source=SOURCE_EVENT,
            legal_basis=one.legal_basis, text_sha256=one.text_sha256, locale=one.locale,
            ip_address=one.ip_address, user_agent=one.user_agent, account=account,
        )
    )  # fmt: skip


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
