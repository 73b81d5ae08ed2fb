"""Consents between protobuf and the engine."""

from __future__ import annotations

from typing import NamedTuple

from afterword.v1 import consent_service_pb2 as pb2
from afterword.v1 import types_pb2
from control.conversion import checks, events, names, times
from control.conversion.steps import medium_to_proto, purpose_to_proto
from core import bounds
from core.engine.consents import ConsentView
from core.engine.identity import Identity
from core.errors import InvalidField
from core.model import ConsentScope, ConsentStatus, Medium, Purpose

_PURPOSES = (Purpose.REVIEW, Purpose.MARKETING, Purpose.DATA_FORWARDING)


class Scope(NamedTuple):
    """What a grant or withdrawal is about."""

    purpose: int
    medium: int
    channel_name: str
    """Full name, "" for the whole account."""


def contact_key_of(
    selector: pb2.ContactSelector, account: str, identity: Identity, field: str = "contact"
) -> bytes:
    """Return the key of the contact that a selector means; it need not be known yet."""
    kind = selector.WhichOneof("by")
    if kind == "name":
        return names.contact_key(selector.name, account, f"{field}.name")
    if kind == "contact":
        contact = events.contact_from_proto(selector.contact, f"{field}.contact")
        return identity.contact_key(account, contact)
    checks.missing(field, "the `name` of a contact, or a `contact` with email, phone or reference")


def scope_from_proto(
    request: pb2.GrantConsentRequest | pb2.WithdrawConsentRequest, account: str
) -> Scope:
    """Return what a request is about; that the channel exists is asked by the engine."""
    purpose, medium = int(request.purpose), int(request.medium)
    right = "REVIEW, MARKETING or DATA_FORWARDING"
    if not purpose:
        checks.missing("purpose", right)
    if purpose not in _PURPOSES:
        raise InvalidField(f"purpose must be {right}", field="purpose")
    right = "EMAIL, SMS, WHATSAPP or WEBHOOK"
    if not medium and purpose != Purpose.DATA_FORWARDING:
        checks.missing("medium", right)
    if medium not in types_pb2.Medium.values():
        raise InvalidField(f"medium must be {right}", field="medium")
    if request.channel:
        names.channel_id(request.channel, account, "channel")
    return Scope(purpose, medium, request.channel)


def evidence_from_proto(request: pb2.GrantConsentRequest, now_ms: int) -> tuple[int, str, str]:
    """Return (time, collection point, text version); a consent must be provable."""
    time_ms = now_ms
    if request.HasField("evidence_time"):
        time_ms = min(times.instant_ms(request.evidence_time, "evidence_time"), now_ms)
    return (
        time_ms,
        checks.text(
            request.collection_point, "collection_point", bounds.TEXT_CHARS_MAX, is_required=True
        ),
        checks.text(request.text_version, "text_version", bounds.NAME_CHARS_MAX),
    )


def consent_id(view: ConsentView) -> str:
    """Return the last part of a consent's name."""
    channel = view.channel_name.rpartition("/")[2] or names.ANY
    base = f"{channel}.{Purpose(view.purpose).name.lower()}.{Medium(view.medium).name.lower()}"
    return f"{base}.order-{view.scope_key.hex()}" if view.scope == ConsentScope.ORDER else base


def consent_name(view: ConsentView, account: str) -> str:
    """Return the full name of a consent."""
    return f"{names.contact_name(account, view.contact_key)}/consents/{consent_id(view)}"


def consent_to_proto(view: ConsentView, account: str) -> pb2.Consent:
    """Return a consent as clients see it."""
    state = pb2.Consent.STATE_UNSPECIFIED
    if view.status in (ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.WITHDRAWN):
        state = pb2.Consent.State.ValueType(view.status)
    pb = pb2.Consent(
        name=consent_name(view, account),
        purpose=purpose_to_proto(view.purpose),
        medium=medium_to_proto(view.medium),
        channel=view.channel_name,
        state=state,
        collection_point=view.collection_point,
        text_version=view.text_version,
        actor=view.actor,
    )
    if view.evidence_ms:
        pb.evidence_time.CopyFrom(times.timestamp(view.evidence_ms))
    if view.withdraw_ms:
        pb.withdraw_time.CopyFrom(times.timestamp(view.withdraw_ms))
    return pb
