"""Invitations that somebody adds by hand, without a rule (A3, R45).

Decides: when one is due, what it is tied to, and that the same call makes it once.
Never: lets one past a gate: what decides at accept and when due decides on these too.

The writes are those of an event, in the same order (`core/engine/accept.py`): the id is marked, the
order noted, the plan committed. A crash in between is healed by the same call. The event itself is not
published: no rule fires, and it ends nothing.
"""

from __future__ import annotations

import msgspec

from core.antispam import consent
from core.clock import Clock
from core.engine.destinations import drawn_for
from core.engine.identity import Identity
from core.engine.incoming import Incoming
from core.engine.opening import Hours, may_be_closed
from core.engine.placement import Placement, id_reused
from core.engine.planner import Planner, channel_of, event_type_of
from core.engine.plans import Case, address_for, has_items
from core.engine.reader import InvitationView, Reader
from core.engine.stand_in import MODE_BY_HAND, stand_in, stops_by_hand
from core.errors import InvalidField
from core.model import CONSENT_PURPOSES, Disposition, Event, Reason, State
from core.ports import Commit, OrderAnswer, Plan
from core.records import (
    BY_HAND,
    KIND_PRODUCT,
    NO_KEY,
    ConsentEntry,
    ContactRecord,
    PlanDetail,
    Reference,
    member_of,
)
from core.registry.registry import Registry
from core.registry.resources import EventType
from core.registry.snapshot import Snapshot
from core.rules.schedule import expiry_ms
from core.timing_wheel import memory_contact as contacts

_detail = msgspec.msgpack.Decoder(PlanDetail)
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Wish(msgspec.Struct, frozen=True, array_like=True):
    """An invitation as somebody asks for it."""

    kinds: int
    """What it asks about: `KIND_SERVICE` or `KIND_PRODUCT`; 0: no review request."""
    purpose: int
    medium: int
    subject: str = ""
    text: str = ""
    due_ms: int = 0
    """0: now."""
    allows_repeat: bool = False
    """Also if the order was asked before."""
    template: str = ""
    """Id of the template; "": the default."""
    link: str = ""
    """Where the recipient confirms something."""


class ByHand:
    """Adds invitations to one store."""

    def __init__(
        self, registry: Registry, identity: Identity, planner: Planner, placement: Placement,
        reader: Reader, clock: Clock,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._identity = identity
        self._planner = planner
        self._placement = placement
        self._reader = reader
        self._clock = clock

    async def create(
        self, account: str, event: Event, wish: Wish, *, validate_only: bool = False
    ) -> InvitationView:
        """Add an invitation; the same call again answers the same one, as it stands.

        Args:
            event: to whom and about what; its time 0 means now.
            validate_only: answer what it would be, with the sequence 0.

        Raises:
            NotFound: no such channel in the account.
            InvalidField: the event names nobody, has no id, or a type that does not exist.
            EventIdReused: an event or another invitation has this id.
        """
        snapshot = self._registry.snapshot
        one = self._incoming(snapshot, account, event, wish)
        if validate_only:
            return await self._preview(snapshot, one, wish)
        place = self._placement
        await place.mark(one)
        order = await place.order(one.order_key, one.contact_key)
        # What was marked does not depend on when it came; what is kept may.
        one.event = self._at_once(event)
        one.body = _encode(one.event)
        commit = self._commit(snapshot, one, order, wish, await place.record(one.contact_key))
        answer = await place.commit(commit)
        view = await self._reader.get(account, answer.plans[0].member) if answer.plans else None
        if view is None or view.detail.mode != MODE_BY_HAND:
            # Its mark is forgotten, but the contact knows it still.
            raise id_reused()
        return view

    def _incoming(self, snapshot: Snapshot, account: str, event: Event, wish: Wish) -> Incoming:
        channel = channel_of(snapshot, account, event)
        if event.type:
            event_type_of(snapshot, account, event)
        if not event.id:
            raise InvalidField(
                "an id of your own makes repeating the call safe: 1 to 256 characters that your "
                "system never uses twice",
                field="event.id",
                reason="FIELD_REQUIRED",
            )
        contact = event.contact
        if not (contact.email or contact.phone or contact.reference):
            raise InvalidField(
                "whom it goes to: an email, a phone or a reference",
                field="event.contact",
                reason="FIELD_REQUIRED",
            )
        identity = self._identity
        reference = event.order.reference if event.order is not None else ""
        return Incoming(
            event,
            channel,
            EventType(account=account, id=event.type),
            identity.event_key(account, event.source, event.id),
            identity.contact_key(account, contact),
            True,
            identity.order_key(account, channel.id, reference) if reference else NO_KEY,
            _encode((event, wish)),
        )

    def _at_once(self, event: Event) -> Event:
        if event.occur_ms:
            return event
        return msgspec.structs.replace(event, occur_ms=self._clock.now_ms())

    # The plan -----------------------------------------------------------------------------------

    def _commit(
        self, snapshot: Snapshot, one: Incoming, order: OrderAnswer, wish: Wish,
        record: ContactRecord,
    ) -> Commit:  # fmt: skip
        now_ms = self._clock.now_ms()
        case = Case(snapshot, one, order, now_ms, now_ms)
        plans = (self._plan(case, wish, record),)
        return Commit(
            event_key=one.event_key,
            contact_key=one.contact_key,
            disposition=Disposition.PLANNED,
            body=one.body,
            event_time_ms=one.event.occur_ms,
            plans=plans,
            consents=self._planner.evidence(one, plans, now_ms),
            is_primary=False,
        )

    def _plan(self, case: Case, wish: Wish, record: ContactRecord) -> Plan:
        one, now_ms = case.incoming, case.now_ms
        event, channel = one.event, one.channel
        kinds = wish.kinds
        rule = stand_in(channel.account, kinds, wish.purpose, wish.medium)
        planned_ms = max(wish.due_ms, now_ms)
        due = self._opened_ms(case, wish, planned_ms)
        due_ms = planned_ms if due is None else due
        stop_types, stop_reasons = stops_by_hand(case.snapshot, channel.account, kinds)
        state, reason = State.SCHEDULED, Reason.NONE
        for number, _ in case.order.tombstones:
            if number in stop_types:
                state, reason = State.CANCELLED, Reason(stop_reasons[stop_types.index(number)])
        if state is State.SCHEDULED and due is None:
            state, reason = State.EXPIRED, Reason.NO_SLOT
        elif state is State.SCHEDULED and kinds == KIND_PRODUCT and not has_items(event):
            state, reason = State.SKIPPED, Reason.PRODUCT_ALREADY_ASKED
        reference = event.order.reference if event.order is not None else ""
        drawn = drawn_for(case.snapshot, channel, reference, event.id, kinds)
        detail = PlanDetail(
            account=channel.account, channel=channel.id, rule="", revision=0, step="",
            event_id=event.id, event_type=event.type,
            order_reference=reference,
            address=address_for(event.contact, wish.medium),
            locale=event.locale or event.contact.locale or channel.locale, zone=case.zone,
            zone_source=case.zone_source, base_ms=now_ms, first_due_ms=due_ms, accept_ms=now_ms,
            registry_revision=case.snapshot.revision, mode=MODE_BY_HAND,
            content=(wish.subject, wish.text), platform=drawn.platform, bucket=drawn.bucket,
            shares=drawn.shares, salt_number=drawn.salt_number, template=wish.template,
            link=wish.link,
        )  # fmt: skip
        return Plan(
            medium=wish.medium, purpose=wish.purpose, step=0, channel_number=channel.number,
            rule_number=BY_HAND, due_ms=due_ms, expire_ms=expiry_ms(due_ms, rule, 0),
            order_key=one.order_key, message_key=self._message_key(one, wish, record),
            detail=_encode(detail), flags=self._planner.maker.flags(wish.medium, 0),
            needs_consent=wish.purpose in CONSENT_PURPOSES, stop_types=stop_types,
            stop_reasons=stop_reasons, state=state, reason=reason, kinds=kinds,
        )  # fmt: skip

    def _opened_ms(self, case: Case, wish: Wish, planned_ms: int) -> int | None:
        """Return when the medium may first be used, from the planned instant on (d3)."""
        channel, contact = case.incoming.channel, case.incoming.event.contact
        if not may_be_closed(channel, wish.purpose, wish.medium):
            return planned_ms
        hours = Hours(channel, contact, wish.medium, case.zone, case.zone_source)
        return planned_ms if hours.skips else hours.opening_ms(planned_ms, channel.closed_dates)

    def _message_key(self, one: Incoming, wish: Wish, record: ContactRecord) -> bytes:
        """Return what keeps the order from being asked twice (R2): the key of rules' requests.

        Where a repetition is allowed and the key is held, there is none; where nobody holds it, this
        one does. What asks for no review is one for each call.
        """
        if not wish.kinds:
            return NO_KEY
        run_key = one.order_key if one.order_key != NO_KEY else one.event_key
        key = self._identity.review_message_key(run_key, 0, wish.medium, 0)
        is_held = any(
            ref.message_key == key
            and ref.kinds & wish.kinds
            and ref.state in contacts.KEY_HOLDING_STATES
            for ref in record.references
        )
        return NO_KEY if is_held and wish.allows_repeat else key

    # What it would be ---------------------------------------------------------------------------

    async def _preview(self, snapshot: Snapshot, one: Incoming, wish: Wish) -> InvitationView:
        """Return the invitation as the commit would make it, and change nothing."""
        place = self._placement
        if await place.is_marked(one):
            # The first one wins, so marking what is marked only compares.
            await place.mark(one)
            made = await self._made_before(one)
            if made is not None:
                return made
        await place.find_contact(one)
        order = await place.order(one.order_key)
        one.event = self._at_once(one.event)
        record = await place.record(one.contact_key)
        commit = self._commit(snapshot, one, order, wish, record)
        return _would_be(commit, record, self._clock.now_ms())

    async def _made_before(self, one: Incoming) -> InvitationView | None:
        for ref in (await self._placement.record(one.contact_key)).references:
            if ref.event_key == one.event_key:
                member = member_of(one.contact_key, ref.sequence, ref.channel_number)
                return await self._reader.get(one.channel.account, member)
        return None


def _would_be(commit: Commit, record: ContactRecord, now_ms: int) -> InvitationView:
    """Return what would be born of a commit of one plan, as the store decides on it."""
    (plan,) = commit.plans
    consents = record.consents
    for entry in commit.consents:
        consents = consent.merge(consents, ConsentEntry(*entry[:7]))
    known = msgspec.structs.replace(record, consents=consents)
    state, reason, kinds = contacts.birth(known, plan, True, now_ms)
    ref = Reference(
        sequence=0, state=state, reason=reason, medium=plan.medium, purpose=plan.purpose,
        step=plan.step, channel_number=plan.channel_number, rule_number=plan.rule_number,
        due_ms=plan.due_ms, expire_ms=plan.expire_ms, event_key=commit.event_key,
        order_key=plan.order_key, message_key=plan.message_key, body_sequence=0, kinds=kinds,
    )  # fmt: skip
    member = member_of(commit.contact_key, 0, plan.channel_number)
    return InvitationView(member, ref, _detail.decode(plan.detail))
