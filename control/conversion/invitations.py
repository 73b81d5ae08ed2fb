"""Invitations and explanations as clients see them."""

from __future__ import annotations

from afterword.v1 import event_service_pb2
from afterword.v1 import invitation_service_pb2 as pb2
from control.conversion import names, times
from control.conversion.steps import medium_to_proto, purpose_to_proto
from core.engine.explain import Explanation
from core.engine.reader import InvitationView
from core.model import State
from core.records import member_of, member_parts
from core.registry.documents import channel_name, rule_name


def invitation_to_proto(view: InvitationView) -> pb2.Invitation:
    """Return an invitation as clients see it."""
    member, ref, detail = view.member, view.reference, view.detail
    account = detail.account
    contact_key, _, channel_number = member_parts(member)
    pb = pb2.Invitation(
        name=names.invitation_name(account, member),
        contact=names.contact_name(account, contact_key),
        channel=channel_name(account, detail.channel),
        rule=rule_name(account, detail.rule),
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
        delivery_id=member.hex(),
    )
    if ref.state == State.SCHEDULED:
        pb.wait_reason = pb2.Invitation.WaitReason.ValueType(ref.wait)
    if ref.settle_ms:
        pb.settle_time.CopyFrom(times.timestamp(ref.settle_ms))
    if detail.parent_sequence:
        parent = member_of(contact_key, detail.parent_sequence, channel_number)
        pb.parent_invitation = names.invitation_name(account, parent)
    return pb


def explanation_to_proto(explanation: Explanation) -> pb2.ExplainResponse:
    """Return the story of an invitation or event."""
    return pb2.ExplainResponse(
        summary=explanation.summary,
        decisions=[
            pb2.ExplainResponse.Decision(
                stage=decision.stage,
                text=decision.text,
                decide_time=times.timestamp(decision.time_ms),
                passed=decision.passed,
            )
            for decision in explanation.decisions
        ],
        invitations=[invitation_to_proto(view) for view in explanation.invitations],
        disposition=event_service_pb2.EventResult.Disposition.ValueType(explanation.disposition),
    )
