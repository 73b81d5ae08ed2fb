"""What is to be done with an entry that has fallen due, before the gate is asked.

Decides: whether configuration, address, conditions and hours let it go, in the order of R10, and what it
says (C3, D1, R40). What passes is rendered, ahead of the claim.
Never: consent and caps; the claim script decides on those, on what is true at that moment. Where
condition or hours say no, the script still looks at expiry and consent first.

A no to what is final is given only with a snapshot that was refreshed since; see `Judge.is_final`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from core.engine.blocked import block_of
from core.engine.caps_due import caps_of, next_time_of_day_ms, not_asked_yet, step_now
from core.engine.destinations import destination
from core.engine.due_case import Case, Fired, Ready, case_of
from core.engine.opening import Hours, may_be_closed
from core.engine.plans import NO_CARRIER, address_for, carrier_of, passes, step_index
from core.engine.stand_in import MODE_BY_HAND
from core.errors import RenderingFailed
from core.gate import CapRule, ClaimAction, ClaimItem
from core.model import (
    CONSENT_PURPOSES,
    REVIEW_FAMILIES,
    Contact,
    Event,
    Family,
    Medium,
    Order,
    Reason,
    State,
    WaitReason,
)
from core.ports import Waiting
from core.records import KIND_PRODUCT, KIND_SERVICE, PlanDetail, Reference
from core.registry.cap_rules import MessageCaps
from core.registry.contents import ContentTemplate
from core.registry.resources import Carrier, DeferTo, Rule
from core.registry.rule_content import as_said
from core.registry.snapshot import FROZEN, RULE_INACTIVE, Snapshot
from core.sending import Letter, Postbox

_detail = msgspec.msgpack.Decoder(PlanDetail)

ReviewLink = Callable[[Letter, int], str]
"""From a letter, and about what a review is taken only with a text, to the link that it carries."""

No = tuple[State, Reason]

_CONDITION_FALSE: No = (State.SKIPPED, Reason.CONDITION_FALSE)
_COMBINED = KIND_SERVICE | KIND_PRODUCT
_RETURNED: No = (State.CANCELLED, Reason.RETURNED)
_CAPPED: No = (State.SKIPPED, Reason.CAPPED)
_ALREADY_ASKED: No = (State.SKIPPED, Reason.PRODUCT_ALREADY_ASKED)


class Judge:
    """Judges due entries."""

    def __init__(self, postbox: Postbox) -> None:
        self._postbox = postbox
        self.review_link: ReviewLink = _as_it_is
        """Makes the link of a review request."""

    def judge(
        self, snapshot: Snapshot, fired: Fired, waiting: Waiting | None, now_ms: int,
        ledger: bytes = b"",
    ) -> Ready:  # fmt: skip
        """Return what to ask of the gate for an entry, and its message if it may go.

        Args:
            ledger: of the cap that it has waited for, empty for none.

        Raises:
            StaleRegistry: it was planned with something newer than this snapshot; refresh.
        """
        due_ms, member, where = fired
        if waiting is None or waiting.reference.state != State.SCHEDULED:
            # Cancelled or taken: the claim drops the index entry. Should it wait again by then, it must
            # not be taken without having been judged.
            item = ClaimItem(
                member, where[1], ClaimAction.DEFER, due_ms=now_ms + 1, wait=WaitReason.RETRY,
                heeds_suppression=False,
            )  # fmt: skip
            return Ready(due_ms, where, item, waiting)
        detail = _detail.decode(waiting.detail)
        ready = Ready(due_ms, where, ClaimItem(member, where[1]), waiting, detail)
        case = case_of(snapshot, waiting, detail)
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
        elif _is_held_back(snapshot, case):
            ready.item = ClaimItem(member, where[1], ClaimAction.PARK, wait=WaitReason.COMPLAINTS)
        else:
            ready.item = self._item(snapshot, case, ready, now_ms, ledger)
        return ready

    def _item(
        self, snapshot: Snapshot, case: Case, ready: Ready, now_ms: int, ledger: bytes
    ) -> ClaimItem:
        address = self._address(snapshot, case)
        no = self._objection(snapshot, case, address)
        if no is not None:
            return _ended(ready, no)
        needs_consent = case.ref.purpose in CONSENT_PURPOSES and not case.detail.carrier
        wait = WaitReason.CAPPED
        later: int | No | None = _time_of_day(snapshot, case, ledger, now_ms)
        if later is None:
            later, wait = self._hours(case, now_ms), WaitReason.QUIET_HOURS
        no = later if isinstance(later, tuple) else None
        if not self._holds(case):
            no = _CONDITION_FALSE
        if no is not None:
            return _ended(ready, no, needs_consent=needs_consent)
        if isinstance(later, int):
            return ClaimItem(
                ready.item.member, ready.where[1], ClaimAction.DEFER, needs_consent,
                due_ms=later, wait=wait, heeds_suppression=not case.detail.carrier,
            )  # fmt: skip
        caps, products = self._caps(snapshot, case, now_ms)
        if isinstance(caps, tuple):
            return _ended(ready, caps, needs_consent=needs_consent)
        ready.caps = caps
        try:
            self._render(snapshot, case, ready, address, now_ms)
        except RenderingFailed:
            return _ended(ready, (State.FAILED, Reason.RENDERING_ERROR))
        return ClaimItem(
            ready.item.member, ready.where[1], ClaimAction.GATE, needs_consent,
            caps.gate + products if products else caps.gate,
            heeds_suppression=not case.detail.carrier,
            forwards_data=case.destination.forwards_data, fell_back=case.destination.fell_back,
        )  # fmt: skip

    def _caps(
        self, snapshot: Snapshot, case: Case, now_ms: int
    ) -> tuple[MessageCaps | No, tuple[CapRule, ...]]:
        """Return the caps that look at it, or how they end it; and those of the products it asks
        about, of which the others are left out."""
        step = step_now(snapshot, case.ref, case.step)
        caps = caps_of(snapshot, case.ref, case.detail, step)
        if caps.is_blocked:
            return _CAPPED, ()
        case.kinds = _kinds(snapshot, case)
        if not caps.products or not case.kinds & KIND_PRODUCT:
            return caps, ()
        order = case.known.event_of_kept.order
        items, rules = not_asked_yet(
            caps.products, step, order.items if order is not None else (), case.waiting.record,
            case.ref, now_ms,
        )  # fmt: skip
        if not items:
            if not case.kinds & KIND_SERVICE:
                return _ALREADY_ASKED, ()
            case.kinds = KIND_SERVICE
        case.items = items
        return caps, rules

    def _address(self, snapshot: Snapshot, case: Case) -> str:
        """Return where it goes: the carrier as the directory has it now, else the contact."""
        detail, medium = case.detail, case.ref.medium
        if medium == Medium.WEBHOOK:
            # Of the shop's, whoever the message is about.
            hook = snapshot.sender_of(case.channel, medium)
            return hook.endpoint if hook is not None else ""
        if detail.carrier:
            carrier = _carrier(snapshot, case)
            known = Contact() if carrier is None else Contact(carrier.email, carrier.phone)
            return address_for(known, medium)
        if detail.address or not case.waiting.facts:
            return detail.address
        return address_for(case.known.event.contact, medium)

    def _objection(self, snapshot: Snapshot, case: Case, address: str) -> No | None:
        """Return why address, medium, features or a return forbid it."""
        if not address and case.ref.medium != Medium.WEBHOOK:
            contact = case.known.event.contact
            is_known = bool(contact.email or contact.phone or case.detail.carrier)
            reason = Reason.NO_RECIPIENT if is_known else Reason.UNIDENTIFIED
            return State.SKIPPED, reason
        if not self._postbox.supports(case.ref.medium, case.channel):
            return State.SKIPPED, Reason.MEDIUM_NOT_CONFIGURED
        lacking = snapshot.lacks(case.rule, case.channel)
        if lacking is not None:
            return State.SKIPPED, lacking
        detail, ref = case.detail, case.ref
        if not detail.carrier and block_of(
            snapshot, detail.account, address, ref.purpose, ref.medium
        ):
            return State.SKIPPED, Reason.SUPPRESSED
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
        comment_kinds = _comment_kinds(snapshot, case)
        leads = case.destination = destination(snapshot, waiting, detail, case.kinds, now_ms)
        template = detail.template or leads.template(ref, detail, action.template)
        carrier = _carrier(snapshot, case)
        ready.letter = Letter(
            delivery_id=waiting.member.hex(),
            medium=ref.medium,
            address=address,
            family=case.rule.family,
            is_follow_up=ref.step > 0,
            locale=detail.locale if carrier is None else carrier.locale,
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
            comment_required=bool(comment_kinds),
            template=template,
            content=_content(snapshot, case, template),
            zone=detail.zone,
            purpose=ref.purpose,
            # A carrier must not unsubscribe the customer.
            member=b"" if detail.carrier else waiting.member,
            revision=case.rule.revision,
            platform=leads.id,
            review_url=leads.link(case.known.event, case.channel) if leads.id else "",
            confirm_url=detail.link,
            parameters=tuple(action.whatsapp_parameters),
            rule=case.rule.id,
            step=case.step.id,
            carrier=carrier.id if carrier is not None else "",
        )
        ready.letter.review_url = self.review_link(ready.letter, comment_kinds)
        ready.rendered = self._postbox.prepare(ready.letter)


def _content(snapshot: Snapshot, case: Case, template: str) -> ContentTemplate | None:
    """Return the shop's own template of a message, None for one that is shipped: the newest revision,
    but that of the message before for a reminder of a review request (B19, D1)."""
    detail, medium = case.detail, case.ref.medium
    newest = snapshot.template(detail.account, template) if template else None
    if newest is None or newest.medium != medium:
        return None
    if case.rule.family not in REVIEW_FAMILIES or not detail.template_revision:
        return newest
    return snapshot.template_revision(newest.account, newest.id, detail.template_revision) or newest


def _carrier(snapshot: Snapshot, case: Case) -> Carrier | None:
    """Return the carrier that it goes to, as the directory has it now; None if it goes to the contact,
    or there is no such carrier."""
    detail = case.detail
    if not detail.carrier:
        return None
    named = carrier_of(case.known.event) if detail.carrier == NO_CARRIER else detail.carrier
    return snapshot.carrier(detail.account, named)


def _as_it_is(letter: Letter, comment_kinds: int) -> str:
    return letter.review_url


def _time_of_day(snapshot: Snapshot, case: Case, ledger: bytes, now_ms: int) -> int | None:
    """Return until when what comes back from a cap waits for its time of day; None if it does not."""
    cap = snapshot.cap_by_ledger(ledger) if ledger else None
    if cap is None or cap.defer_to is not DeferTo.NEXT_TIME_OF_DAY:
        return None
    due_ms = next_time_of_day_ms(case.planned, case.step, case.ref, case.detail, case.known.event)
    return due_ms if due_ms > now_ms else None


def _is_held_back(snapshot: Snapshot, case: Case) -> bool:
    """Return whether complaints hold it back (g6); never what goes to a carrier."""
    ref = case.ref
    return not case.detail.carrier and snapshot.is_held_back(
        ref.channel_number, ref.medium, ref.purpose
    )


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
    """Return the event as a message tells it: about products, with those that were kept and that
    caps have not left out."""
    if case.items is not None and case.kinds & KIND_PRODUCT:
        event = case.known.event
        order = msgspec.structs.replace(event.order or Order(), items=case.items)
        return msgspec.structs.replace(event, order=order)
    if not case.waiting.facts:
        return case.waiting.body
    return case.known.event_of_kept if case.kinds & KIND_PRODUCT else case.known.event


def _comment_kinds(snapshot: Snapshot, case: Case) -> int:
    """Return about what a review is taken only with a text, as bits (B36)."""
    review = case.rule.review
    if review is not None and review.comment_required:
        return case.kinds
    if case.ref.kinds != _COMBINED or not case.kinds & KIND_PRODUCT:
        return 0
    rule = _product_rule(snapshot, case)
    is_strict = rule is not None and rule.review is not None and rule.review.comment_required
    return KIND_PRODUCT if is_strict else 0


def _ended(ready: Ready, no: No, *, needs_consent: bool = False) -> ClaimItem:
    return ClaimItem(
        ready.item.member, ready.where[1], ClaimAction.END, needs_consent, (), int(no[0]), int(no[1])
    )  # fmt: skip


assert int(Family.PRODUCT_REVIEW) == KIND_PRODUCT
