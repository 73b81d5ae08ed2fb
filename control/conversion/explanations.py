"""Explanations as clients see them."""

from __future__ import annotations

from collections.abc import Mapping

from afterword.v1 import consent_service_pb2, event_service_pb2
from afterword.v1 import invitation_service_pb2 as pb2
from control.conversion import names, times
from control.conversion.invitations import invitation_to_proto
from control.conversion.steps import medium_to_proto, purpose_to_proto
from core.antispam.consent import is_suppression
from core.engine.explain_parts import (
    CapSeen,
    ConsentSeen,
    Decision,
    Explanation,
    LedgerEntry,
    TimeSeen,
)
from core.model import ConsentScope, ConsentStatus

Response = pb2.ExplainResponse
_Kind = consent_service_pb2.ConsentLine.Kind
_KINDS: Mapping[int, consent_service_pb2.ConsentLine.Kind.ValueType] = {
    ConsentStatus.GRANTED: _Kind.KIND_GRANTED,
    ConsentStatus.DENIED: _Kind.KIND_DENIED,
    ConsentStatus.WITHDRAWN: _Kind.KIND_WITHDRAWN,
    ConsentStatus.PENDING: _Kind.KIND_PENDING,
    ConsentStatus.CONFIRMED: _Kind.KIND_CONFIRMED,
    ConsentStatus.ASSUMED: _Kind.KIND_GRANTED,
    ConsentStatus.LIFTED: _Kind.KIND_LIFTED,
}


def explanation_to_proto(told: Explanation, account: str) -> pb2.ExplainResponse:
    """Return the story of an invitation or event."""
    return pb2.ExplainResponse(
        summary=told.summary,
        decisions=[_decision(line, account, told) for line in told.decisions],
        invitations=[invitation_to_proto(view) for view in told.invitations],
        disposition=event_service_pb2.EventResult.Disposition.ValueType(told.disposition),
        now=[_decision(line, account, told) for line in told.now],
    )


def _decision(line: Decision, account: str, told: Explanation) -> pb2.ExplainResponse.Decision:
    pb = Response.Decision(
        stage=line.stage,
        text=line.text,
        passed=line.passed,
        gate=Response.Gate.ValueType(line.gate),
        verdict=Response.Verdict.ValueType(line.verdict),
        values=[Response.Value(name=name, value=value) for name, value in line.values],
        consents=[_consent(one, account, told) for one in line.consents],
        caps=[_cap(one, account) for one in line.caps],
        invitation=names.invitation_name(account, line.member) if line.member else "",
    )
    pb.decide_time.CopyFrom(times.timestamp(line.time_ms))
    if line.time is not None:
        pb.time.CopyFrom(_time(line.time))
    return pb


def _consent(seen: ConsentSeen, account: str, told: Explanation) -> pb2.ExplainResponse.ConsentSeen:
    suppressed = is_suppression(seen.status)
    pb = Response.ConsentSeen(
        kind=_Kind.KIND_SUPPRESSED
        if suppressed
        else _KINDS.get(seen.status, _Kind.KIND_UNSPECIFIED),
        purpose=purpose_to_proto(seen.purpose),
        medium=medium_to_proto(seen.medium),
        for_order=seen.scope == ConsentScope.ORDER,
        evidence_time=times.timestamp(seen.time_ms),
        decided=seen.decided,
    )
    if suppressed:
        pb.suppression = consent_service_pb2.Suppression.Kind.ValueType(seen.status)
    if seen.number:
        pb.line = f"{names.contact_name(account, told.contact_key)}/consentLines/{seen.number}"
        pb.write_time.CopyFrom(times.timestamp(seen.write_ms))
    if seen.scope == ConsentScope.CHANNEL:
        number = int.from_bytes(seen.scope_key, "little")
        pb.channel = told.channel_names.get(number, "")
    if seen.expire_ms:
        pb.expire_time.CopyFrom(times.timestamp(seen.expire_ms))
    return pb


def _cap(seen: CapSeen, account: str) -> pb2.ExplainResponse.CapSeen:
    pb = Response.CapSeen(
        cap=seen.name,
        limit=seen.limit,
        entries=[_entry(one, account) for one in seen.entries],
        full=seen.is_full,
    )
    pb.window.FromMilliseconds(seen.window_ms)
    if seen.free_ms:
        pb.free_time.CopyFrom(times.timestamp(seen.free_ms))
    return pb


def _entry(entry: LedgerEntry, account: str) -> pb2.ExplainResponse.LedgerEntry:
    return Response.LedgerEntry(
        send_time=times.timestamp(entry.time_ms),
        invitation=names.invitation_name(account, entry.member) if entry.member else "",
        order_reference=entry.order_reference,
    )


def _time(seen: TimeSeen) -> pb2.ExplainResponse.TimeSeen:
    pb = Response.TimeSeen(
        time_zone=seen.zone,
        time_zone_source=seen.zone_source,
        wait=seen.wait,
        first_due_time=times.timestamp(seen.first_due_ms),
        due_time=times.timestamp(seen.due_ms),
        expire_time=times.timestamp(seen.expire_ms),
    )
    if seen.moved_from_ms:
        pb.moved_from_time.CopyFrom(times.timestamp(seen.moved_from_ms))
    if seen.base_ms:
        pb.base_time.CopyFrom(times.timestamp(seen.base_ms))
    return pb
