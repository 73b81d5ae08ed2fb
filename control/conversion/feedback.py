"""Feedback between protobuf and the engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from afterword.v1 import invitation_service_pb2 as pb2
from control import error_table
from control.conversion import checks, names, times
from core.contact_ports import FeedbackKind
from core.engine.feedback import Outcome, Told
from core.errors import NotFound

_MEMBER: Final = re.compile(rf"[0-9a-f]{{{2 * names.MEMBER_BYTES}}}")

_TIMES: Final = {
    FeedbackKind.DELIVERED: "deliver_time",
    FeedbackKind.COMPLAINED: "complaint_time",
    FeedbackKind.OPENED: "open_time",
    FeedbackKind.CLICKED: "click_time",
    FeedbackKind.REVIEWED: "review_time",
    FeedbackKind.UNSUBSCRIBED: "unsubscribe_time",
}
_BOUNCES: Final = (FeedbackKind.HARD_BOUNCED, FeedbackKind.SOFT_BOUNCED)


def told_from_proto(pb: pb2.Feedback, account: str, field: str) -> Told:
    """Return one feedback.

    Args:
        field: its path in the request.

    Raises:
        InvalidField, OutOfRange, NotFound: naming the field.
    """
    checks.refuse_unknown_deeply(pb, field)
    kind = checks.choice(pb.kind, f"{field}.kind", pb2.Feedback.Kind, is_required=True)
    by = pb.WhichOneof("message")
    if by == "invitation":
        member = names.member(pb.invitation, account, f"{field}.invitation")
    elif by == "delivery_id":
        if not _MEMBER.fullmatch(pb.delivery_id):
            # Whatever else has passed through the provider: not ours, so not there.
            raise NotFound("no message has this delivery_id", field=f"{field}.delivery_id")
        member = bytes.fromhex(pb.delivery_id)
    else:
        checks.missing(f"{field}.invitation", "a name, or the delivery_id instead")
    return Told(member, kind, times.optional_instant_ms(pb, "occur_time", field))


def result_to_proto(account: str, index: int, outcome: Outcome) -> pb2.FeedbackResult:
    """Return what became of one feedback."""
    pb = pb2.FeedbackResult(index=index)
    if outcome.error is not None:
        pb.status.CopyFrom(error_table.status_of(error_table.public(outcome.error)))
        return pb
    pb.invitation = names.invitation_name(account, outcome.member)
    pb.state = pb2.Invitation.State.ValueType(outcome.state)
    pb.duplicate = not outcome.is_new
    pb.ended_invitations.extend(names.invitation_name(account, one) for one in outcome.ended)
    pb.in_flight_invitations.extend(
        names.invitation_name(account, one) for one in outcome.in_flight
    )
    return pb


def set_times(pb: pb2.Invitation, heard: Mapping[int, int]) -> None:
    """Say of an invitation when things were heard of it."""
    for kind, field in _TIMES.items():
        if kind in heard:
            getattr(pb, field).CopyFrom(times.timestamp(heard[kind]))
    bounces = [heard[kind] for kind in _BOUNCES if kind in heard]
    if bounces:
        pb.bounce_time.CopyFrom(times.timestamp(min(bounces)))
