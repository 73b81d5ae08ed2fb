"""Invitations and explanations as clients see them, and what they ask for by hand."""

from __future__ import annotations

from typing import Final

from afterword.v1 import event_pb2, types_pb2
from afterword.v1 import invitation_service_pb2 as pb2
from control.conversion import checks, names, times
from control.conversion.events import event_from_proto
from control.conversion.feedback import set_times
from control.conversion.steps import medium_to_proto, purpose_to_proto
from core import bounds
from core.engine.destinations import platform_drawn, platform_used
from core.engine.diversion import NOT_DRAWN
from core.engine.manual import Wish
from core.engine.reader import InvitationView
from core.errors import InvalidField, OutOfRange
from core.model import Event, Medium, Purpose, State
from core.records import KIND_PRODUCT, KIND_SERVICE, member_of, member_parts
from core.registry.documents import channel_name, rule_name
from senders.templates import validate_subject, validate_text

_ASKED: Final = {
    pb2.Invitation.REVIEW_TYPE_UNSPECIFIED: 0,
    pb2.Invitation.REVIEW_TYPE_SERVICE: KIND_SERVICE,
    pb2.Invitation.REVIEW_TYPE_PRODUCT: KIND_PRODUCT,
}
_FREE_PURPOSES: Final = (Purpose.MARKETING, Purpose.TRANSACTIONAL, Purpose.OPERATIONAL)
_UNUSED: Final = {
    "requested_send_time": "say when in due_time",
    "activation_date": "say when in due_time",
}
_TYPELESS: Final = "none"
"""Stands for an event type while the rest of the event is read."""


def invitation_to_proto(view: InvitationView) -> pb2.Invitation:
    """Return an invitation as clients see it; without a name what only would be one."""
    member, ref, detail = view.member, view.reference, view.detail
    account = detail.account
    contact_key, sequence, channel_number = member_parts(member)
    pb = pb2.Invitation(
        name=names.invitation_name(account, member) if sequence else "",
        contact=names.contact_name(account, contact_key),
        channel=channel_name(account, detail.channel),
        rule=rule_name(account, detail.rule) if detail.rule else "",
        rule_revision=detail.revision,
        step=detail.step,
        medium=medium_to_proto(ref.medium),
        purpose=purpose_to_proto(ref.purpose),
        order_reference=detail.order_reference,
        event_id=detail.event_id,
        event_type=detail.event_type,
        state=pb2.Invitation.State.ValueType(ref.state),
        reason=pb2.Invitation.Reason.ValueType(ref.reason),
        first_due_time=times.timestamp(detail.first_due_ms),
        due_time=times.timestamp(ref.due_ms),
        expire_time=times.timestamp(ref.expire_ms),
        attempts=ref.attempts,
        time_zone=detail.zone,
        delivery_id=member.hex() if sequence else "",
        mode=pb2.Invitation.Mode.ValueType(detail.mode),
        review_type=pb2.Invitation.ReviewType.ValueType(ref.kinds),
        questionnaire=view.review.questionnaire,
        comment_required=view.review.comment_required,
        generation=detail.generation,
        content_revision=ref.content_revision,
        platform=platform_drawn(detail),
        platform_used=platform_used(detail, ref),
        template=view.said.name if view.said is not None else "",
        template_revision=view.said.revision if view.said is not None else 0,
        diversion_bucket=None if detail.bucket == NOT_DRAWN else detail.bucket,
    )
    if detail.carrier:
        pb.carrier = f"accounts/{account}/carriers/{detail.carrier}"
    if ref.state == State.SCHEDULED:
        pb.wait_reason = pb2.Invitation.WaitReason.ValueType(ref.wait)
    set_times(pb, view.heard)
    if ref.settle_ms:
        pb.settle_time.CopyFrom(times.timestamp(ref.settle_ms))
    if detail.parent_sequence:
        parent = member_of(contact_key, detail.parent_sequence, channel_number)
        pb.parent_invitation = names.invitation_name(account, parent)
    return pb


# --- by hand --------------------------------------------------------------------------------------


def wish_from_proto(
    pb: pb2.CreateInvitationRequest, account: str, now_ms: int
) -> tuple[Event, Wish]:
    """Return to whom and about what, and what is asked for.

    Raises:
        InvalidField, OutOfRange: naming the field of the request.
    """
    names.channel_id(pb.channel, account, "channel")
    kinds = _kinds(pb)
    medium = checks.choice(pb.medium, "medium", types_pb2.Medium, is_required=True)
    event = _event(pb, now_ms)
    text = pb.body.replace("\r\n", "\n")
    validate_subject(pb.subject, field="subject")
    validate_text(text, field="body")
    if not kinds:
        _check_texts(pb, medium)
    due_ms = times.instant_ms(pb.due_time, "due_time") if pb.HasField("due_time") else 0
    if due_ms > now_ms + bounds.REQUESTED_SEND_TIME_MAX_MS:
        days = bounds.REQUESTED_SEND_TIME_MAX_MS // bounds.DAY_MS
        raise OutOfRange(f"due_time must be at most {days} days ahead", field="due_time")
    return event, Wish(
        kinds, _purpose(pb, kinds), medium, pb.subject, text, due_ms, pb.allow_repeat
    )


def _kinds(pb: pb2.CreateInvitationRequest) -> int:
    kinds = _ASKED.get(pb.review_type)
    if kinds is None:
        raise InvalidField(
            "review_type must be REVIEW_TYPE_SERVICE or REVIEW_TYPE_PRODUCT; to ask about both, make "
            "two calls",
            field="review_type",
        )
    if pb.allow_repeat and not kinds:
        raise InvalidField(
            "allow_repeat is about review requests: only these are kept from repeating",
            field="allow_repeat",
        )
    return kinds


def _purpose(pb: pb2.CreateInvitationRequest, kinds: int) -> int:
    if kinds:
        if int(pb.purpose) not in (Purpose.UNSPECIFIED, Purpose.REVIEW):
            raise InvalidField(
                "purpose of what asks for a review is PURPOSE_REVIEW: leave it out", field="purpose"
            )
        return Purpose.REVIEW
    right = "PURPOSE_MARKETING, PURPOSE_TRANSACTIONAL or PURPOSE_OPERATIONAL"
    if not pb.purpose:
        checks.missing("purpose", f"{right}; or set review_type to ask for a review")
    if int(pb.purpose) not in _FREE_PURPOSES:
        raise InvalidField(
            f"purpose must be {right}; what asks for a review says so in review_type",
            field="purpose",
        )
    return int(pb.purpose)


def _event(pb: pb2.CreateInvitationRequest, now_ms: int) -> Event:
    """Return the event; its type may be left out, its channel is the request's, its time now."""
    given = event_pb2.Event()
    given.CopyFrom(pb.event)
    for name, instead in _UNUSED.items():
        if given.HasField(name):  # type: ignore[arg-type]
            raise InvalidField(
                f"event.{name} does not count for an invitation by hand: {instead}",
                field=f"event.{name}",
            )
    if given.channel and given.channel != pb.channel:
        raise InvalidField(
            "event.channel must be the channel of the request, or be left out",
            field="event.channel",
        )
    given.channel = pb.channel
    given.type = given.type or _TYPELESS
    if not given.HasField("occur_time"):
        given.occur_time.CopyFrom(times.timestamp(now_ms))
    event = event_from_proto(given, now_ms)
    event.type = pb.event.type
    if not pb.event.HasField("occur_time"):
        event.occur_ms = 0
    return event


def _check_texts(pb: pb2.CreateInvitationRequest, medium: int) -> None:
    """Refuse a message that says nothing: only review requests have texts of their own (D22)."""
    if medium == Medium.EMAIL and not pb.subject:
        checks.missing("subject", "an e-mail that asks for no review needs one")
    if medium != Medium.WEBHOOK and not pb.body:
        checks.missing("body", "a message that asks for no review needs a text")
