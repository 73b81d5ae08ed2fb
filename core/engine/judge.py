"""What is to be done with an entry that has fallen due, before the gate is asked.

Decides: whether configuration, address, conditions and hours let it go, in the order of R10, and what it
says (C3, D1, R40). What passes is rendered, ahead of the claim.
Never: consent and caps; the claim script decides on those, on what is true at that moment. Where
condition or hours say no, the script still looks at expiry and consent first.

A no to what is final is given only with a snapshot that was refreshed since; see `Judge.is_final`.
"""

from __future__ import annotations

import msgspec

from core.engine.facts import Known
from core.engine.horizon import Where
from core.engine.opening import Hours, may_be_closed
from core.engine.plans import NO_CARRIER, address_for, carrier_of, passes, step_index
from core.engine.stand_in import MODE_BY_HAND, caps_by_hand, stand_in
from core.errors import RenderingFailed
from core.gate import ClaimAction, ClaimItem
from core.model import (
    CONSENT_PURPOSES,
    REVIEW_FAMILIES,
    Contact,
    Event,
    Family,
    Reason,
    State,
    WaitReason,
)
from core.ports import Waiting
from core.records import FLAG_FOLLOW_UP, KIND_PRODUCT, KIND_SERVICE, PlanDetail, Reference
from core.registry.resources import Channel, Rule
from core.registry.rule_content import as_said
from core.registry.rule_parts import Action, Step
from core.registry.snapshot import FROZEN, RULE_INACTIVE, Snapshot
from core.sending import Letter, Postbox

_detail = msgspec.msgpack.Decoder(PlanDetail)

Fired = tuple[int, bytes, Where]
No = tuple[State, Reason]

_CONDITION_FALSE: No = (State.SKIPPED, Reason.CONDITION_FALSE)
_COMBINED = KIND_SERVICE | KIND_PRODUCT
_RETURNED: No = (State.CANCELLED, Reason.RETURNED)


class Ready(msgspec.Struct):
    """One due entry, judged and rendered."""

    due_ms: int
    where: Where
    item: ClaimItem
    waiting: Waiting | None = None
    detail: PlanDetail | None = None
    letter: Letter | None = None
    rendered: bytes = b""


class Case:
    """One entry with all that its judgement needs; what later events told is looked at once."""

    __slots__ = (
        "_known",
        "channel",
        "detail",
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


class Judge:
    """Judges due entries."""

    def __init__(self, postbox: Postbox) -> None:
        self._postbox = postbox

    def judge(
        self, snapshot: Snapshot, fired: Fired, waiting: Waiting | None, now_ms: int
    ) -> Ready:
        """Return what to ask of the gate for an entry, and its message if it may go.

        Raises:
            StaleRegistry: it was planned with something newer than this snapshot; refresh.
        """
        due_ms, member, where = fired
        if waiting is None or waiting.reference.state != State.SCHEDULED:
            # Cancelled or taken: the claim drops the index entry.
            return Ready(due_ms, where, ClaimItem(member, where[1]), waiting)
        detail = _detail.decode(waiting.detail)
        ready = Ready(due_ms, where, ClaimItem(member, where[1]), waiting, detail)
        case = _case(snapshot, waiting, detail)
        verdict = verdict_of(snapshot, waiting.reference, detail)
        if verdict == RULE_INACTIVE and case is not None and _is_for_products(snapshot, case):
            verdict = None
        if verdict is FROZEN:
            ready.item = ClaimItem(member, where[1], ClaimAction.PARK)
        elif verdict is not None:
            ready.item = _ended(ready, verdict)
        elif now_ms >= waiting.reference.expire_ms:
            ready.item = _ended(ready, (State.EXPIRED, Reason.TOO_LATE))
        elif case is None:
            ready.item = _ended(ready, (State.FAILED, Reason.RENDERING_ERROR))
        else:
            ready.item = self._item(snapshot, case, ready, now_ms)
        return ready

    def _item(self, snapshot: Snapshot, case: Case, ready: Ready, now_ms: int) -> ClaimItem:
        address = self._address(snapshot, case)
        no = self._objection(snapshot, case, address)
        if no is not None:
            return _ended(ready, no)
        needs_consent = case.ref.purpose in CONSENT_PURPOSES and not case.detail.carrier
        later = self._hours(case, now_ms)
        no = later if isinstance(later, tuple) else None
        if not self._holds(case):
            no = _CONDITION_FALSE
        if no is not None:
            return _ended(ready, no, needs_consent=needs_consent)
        if isinstance(later, int):
            return ClaimItem(
                ready.item.member, ready.where[1], ClaimAction.DEFER, needs_consent,
                due_ms=later, wait=WaitReason.QUIET_HOURS,
            )  # fmt: skip
        try:
            self._render(snapshot, case, ready, address, now_ms)
        except RenderingFailed:
            return _ended(ready, (State.FAILED, Reason.RENDERING_ERROR))
        ref = case.ref
        caps = snapshot.caps_for(
            case.detail.account, ref.channel_number, ref.rule_number, ref.purpose, ref.medium,
            bool(ref.flags & FLAG_FOLLOW_UP),
        )  # fmt: skip
        if case.detail.mode == MODE_BY_HAND:
            caps = caps_by_hand(snapshot, caps)
        return ClaimItem(ready.item.member, ready.where[1], ClaimAction.GATE, needs_consent, caps)

    def _address(self, snapshot: Snapshot, case: Case) -> str:
        """Return where it goes: the carrier as the directory has it now, else the contact."""
        detail, medium = case.detail, case.ref.medium
        if detail.carrier:
            named = detail.carrier
            if named == NO_CARRIER:
                named = carrier_of(case.known.event)
            carrier = snapshot.carrier(detail.account, named)
            known = Contact() if carrier is None else Contact(carrier.email, carrier.phone)
            return address_for(known, medium)
        if detail.address or not case.waiting.facts:
            return detail.address
        return address_for(case.known.event.contact, medium)

    def _objection(self, snapshot: Snapshot, case: Case, address: str) -> No | None:
        """Return why address, medium, features or a return forbid it."""
        if not address:
            contact = case.known.event.contact
            is_known = bool(contact.email or contact.phone or case.detail.carrier)
            reason = Reason.NO_RECIPIENT if is_known else Reason.UNIDENTIFIED
            return State.SKIPPED, reason
        if not self._postbox.supports(case.ref.medium):
            return State.SKIPPED, Reason.MEDIUM_NOT_CONFIGURED
        lacking = snapshot.lacks(case.rule, case.channel)
        if lacking is not None:
            return State.SKIPPED, lacking
        if case.ref.kinds and case.waiting.facts and case.known.is_all_returned:
            return _RETURNED
        return None

    def _holds(self, case: Case) -> bool:
        """Return whether its conditions hold: the step's always, the rule's if anything has become
        known since it passed (C3)."""
        step, planned = case.step, case.planned
        if step.condition is not None and not passes(step.condition, case.known.event):
            return False
        if planned.condition is None or not case.waiting.facts or not case.known.is_changed:
            return True
        return passes(planned.condition, case.known.event)

    def _hours(self, case: Case, now_ms: int) -> int | No | None:
        """Return until when hours hold it back, or how they end it; None if they do not."""
        ref, channel = case.ref, case.channel
        if case.detail.carrier or not may_be_closed(channel, ref.purpose, ref.medium):
            return None
        contact = case.known.event.contact
        hours = Hours(
            channel, contact, ref.medium, case.detail.zone, case.detail.zone_source,
            is_hurried=case.detail.is_hurried,
        )  # fmt: skip
        opening_ms = hours.opening_ms(now_ms, channel.closed_dates)
        if opening_ms == now_ms:
            return None
        if hours.skips:
            return State.SKIPPED, Reason.QUIET_HOURS
        return (State.EXPIRED, Reason.NO_SLOT) if opening_ms is None else opening_ms

    def _render(
        self, snapshot: Snapshot, case: Case, ready: Ready, address: str, now_ms: int
    ) -> None:
        ref, detail, waiting = case.ref, case.detail, case.waiting
        action = as_said(case.rule, case.step.id, case.action)
        subject, text = detail.content if detail.content[0] or detail.content[1] else (
            action.subject, action.body
        )  # fmt: skip
        review = case.rule.review
        case.kinds = _kinds(snapshot, case)
        ready.letter = Letter(
            delivery_id=waiting.member.hex(),
            medium=ref.medium,
            address=address,
            family=case.rule.family,
            is_follow_up=ref.step > 0,
            locale=detail.locale,
            subject=subject,
            body=_body(case),
            channel=case.channel,
            attempts=ref.attempts,
            send_ms=now_ms,
            sender=action.sender,
            preheader=action.preheader,
            text=text,
            kinds=case.kinds,
            questionnaire=review.questionnaire if review is not None else "",
            comment_required=_is_comment_required(snapshot, case),
            template=action.template,
            purpose=ref.purpose,
            # A carrier must not unsubscribe the customer.
            member=b"" if detail.carrier else waiting.member,
            revision=case.rule.revision,
        )
        ready.rendered = self._postbox.prepare(ready.letter)


def _case(snapshot: Snapshot, waiting: Waiting, detail: PlanDetail) -> Case | None:
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


def verdict_of(snapshot: Snapshot, ref: Reference, detail: PlanDetail) -> No | None:
    """Return how the configuration ends an invitation, or holds it; see `Snapshot.verdict`."""
    if detail.mode == MODE_BY_HAND:
        return None if ref.channel_number in snapshot.channel_by_number else RULE_INACTIVE
    planned = snapshot.rule_revision(ref.rule_number, detail.revision)
    index = ref.step if planned is None else step_index(planned, detail.step, ref.step)
    return snapshot.verdict(
        ref.rule_number, detail.revision, index, ref.channel_number, detail.registry_revision
    )


def _product_rule(snapshot: Snapshot, case: Case) -> Rule | None:
    """Return the rule by which products are asked about in a combined request, None by now."""
    return snapshot.product_rule(case.channel, case.planned.event_type)


def _is_for_products(snapshot: Snapshot, case: Case) -> bool:
    """Make a combined request whose service rule was switched off one about products alone (R38), if
    they are still asked about."""
    if case.ref.kinds != _COMBINED or _product_rule(snapshot, case) is None:
        return False
    case.kinds = KIND_PRODUCT
    return True


def _kinds(snapshot: Snapshot, case: Case) -> int:
    """Return what a request asks about now: a combined one only about the service, where products are
    not asked about any more."""
    if case.kinds != _COMBINED:
        return case.kinds
    return _COMBINED if _product_rule(snapshot, case) is not None else KIND_SERVICE


def _body(case: Case) -> Event | bytes:
    """Return the event as a message tells it: about products, with those that were kept."""
    if not case.waiting.facts:
        return case.waiting.body
    return case.known.event_of_kept if case.kinds & KIND_PRODUCT else case.known.event


def _is_comment_required(snapshot: Snapshot, case: Case) -> bool:
    review = case.rule.review
    if review is not None and review.comment_required:
        return True
    if case.ref.kinds != _COMBINED or not case.kinds & KIND_PRODUCT:
        return False
    rule = _product_rule(snapshot, case)
    return rule is not None and rule.review is not None and rule.review.comment_required


def _ended(ready: Ready, no: No, *, needs_consent: bool = False) -> ClaimItem:
    return ClaimItem(
        ready.item.member, ready.where[1], ClaimAction.END, needs_consent, (), int(no[0]), int(no[1])
    )  # fmt: skip


assert int(Family.PRODUCT_REVIEW) == KIND_PRODUCT
