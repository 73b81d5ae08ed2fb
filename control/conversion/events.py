"""Events from protobuf: the hot path of the daemon.

Decides: whether an event may be taken as it is, by itself; what the account knows of channels and
types is asked later. A refusal names the field and says what would be right.

Shape: each field is read once, because each read crosses into the protobuf runtime. Strings that may
hold no control characters are looked at together; only if that finds something, one by one.

Unknown fields, those of a client newer than the server, are refused in the event itself, its contact
and its consents, because they may say that somebody must not be written to. What only describes (order,
items, parcel, review) may have some; they are left out.

What depends on the time of receipt is checked but never stored: an event that is published again must
give the same value, or it would not be recognised.

Cost: below 8 us for an event with contact, order and one consent; `bench/bench_conversion.py`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NoReturn

from google.protobuf.struct_pb2 import Struct as AttributesPb
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from afterword.v1 import event_pb2, types_pb2
from control.conversion import checks, event_parts, times, wordings
from core import bounds
from core.engine.consent_documents import check_basis
from core.errors import InvalidField, OutOfRange
from core.model import Contact, Event, Evidence, Medium, Purpose

ATTRIBUTES_BYTES_MAX = 16_384
CONSENTS_MAX = 16
SOURCE_CHARS_MAX = 63
SHORT_CHARS_MAX = 2_000
"""The size of an event with longer texts is measured."""

_EVIDENCE_PURPOSES: frozenset[int] = frozenset(
    {Purpose.REVIEW, Purpose.MARKETING, Purpose.DATA_FORWARDING}
)
_MEDIA: frozenset[int] = frozenset(Medium) - {Medium.UNSPECIFIED}
_NOBODY = Contact()
_is_plain_email = checks.PLAIN_EMAIL.fullmatch

# One call that reads many fields costs less than the statements that read them one by one.
_FIELDS = attrgetter(
    "id", "source", "type", "channel", "locale", "system", "system_version", "consents"
)
_CONTACT_FIELDS = attrgetter(
    "email", "phone", "reference", "first_name", "last_name", "session_id", "locale", "time_zone",
    "country",
)  # fmt: skip
_EVIDENCE_FIELDS = attrgetter(
    "purpose", "medium", "given", "collection_point", "text_version", "legal_basis", "locale",
    "text_sha256", "ip_address", "user_agent",
)  # fmt: skip


def event_from_proto(pb: event_pb2.Event, now_ms: int) -> Event:
    """Return the event.

    Args:
        now_ms: the time of receipt; only for bounds.

    Raises:
        InvalidField, OutOfRange: naming the field from "event" on.
    """
    if len(UnknownFieldSet(pb)):
        checks.refuse_unknown(pb, "event")
    event_id, source, event_type, channel, locale, system, system_version, consents = _FIELDS(pb)
    text = f"{event_id}{source}{event_type}{channel}{system}{system_version}"
    # Measuring an event costs as much as reading its contact, so that is left out where nothing
    # large can be: the other parts together are bounded to a part of what is allowed.
    may_be_large = len(text) > SHORT_CHARS_MAX or len(consents) > 1
    if (
        not event_type
        or not channel
        or len(source) > SOURCE_CHARS_MAX
        or len(event_type) > bounds.ID_CHARS_MAX
        or len(text) > bounds.EVENT_ID_CHARS_MAX
        or not text.isprintable()
    ):
        _check_strings(pb)
    if locale and not checks.is_locale(locale):
        checks.locale(locale, "event.locale")
    has = pb.HasField
    occur_ms = _occur_ms(pb.occur_time, now_ms) if has("occur_time") else _no_occur_time()
    contact, order, cart, shipment, review = _NOBODY, None, None, None, None
    if has("contact"):
        contact = contact_from_proto(pb.contact, "event.contact")
        may_be_large = may_be_large or len(contact.session_id) > SHORT_CHARS_MAX
    if has("order"):
        order = event_parts.order(pb.order)
        may_be_large = may_be_large or bool(order.items) or len(order.status) > SHORT_CHARS_MAX
    if has("cart"):
        cart, may_be_large = event_parts.cart(pb.cart), True
    if has("shipment"):
        shipment, may_be_large = event_parts.shipment(pb.shipment), True
    if has("review"):
        review, may_be_large = event_parts.review(pb.review), True
    attributes: dict[str, Any] = {}
    if has("attributes"):
        attributes, may_be_large = _attributes(pb.attributes), True
    if may_be_large and pb.ByteSize() > bounds.EVENT_BYTES_MAX:
        raise OutOfRange(
            f"an event has at most {bounds.EVENT_BYTES_MAX:,} bytes serialised", field="event"
        )
    return Event(
        event_id, source, event_type, channel, occur_ms, contact, order, cart, shipment, review,
        _consents(consents) if consents else [],
        _activation_date(pb, occur_ms) if has("activation_date") else "",
        _requested_send_ms(pb, now_ms) if has("requested_send_time") else 0,
        locale, system, system_version, attributes,
    )  # fmt: skip


def _check_strings(pb: event_pb2.Event) -> None:
    """Say which of the strings is wrong; none is if they only hold unusual characters."""
    checks.text(pb.id, "event.id", bounds.EVENT_ID_CHARS_MAX)
    checks.text(pb.source, "event.source", SOURCE_CHARS_MAX)
    if not pb.type:
        checks.missing("event.type", 'the id of an event type, for example "checkout"')
    checks.text(pb.type, "event.type", bounds.ID_CHARS_MAX)
    if not pb.channel:
        checks.missing("event.channel", '"accounts/{account}/channels/{channel}"')
    checks.text(pb.channel, "event.channel", bounds.EVENT_BYTES_MAX)
    checks.text(pb.system, "event.system", bounds.EVENT_BYTES_MAX)
    checks.text(pb.system_version, "event.system_version", bounds.EVENT_BYTES_MAX)


def _occur_ms(time: Timestamp, now_ms: int) -> int:
    nanos = time.nanos
    occur_ms = time.seconds * 1_000 + nanos // times.NANOS_PER_MS
    if (
        0 <= nanos < times.NANOS_PER_SECOND
        and -bounds.EVENT_AGE_MAX_MS <= occur_ms - now_ms <= bounds.EVENT_AHEAD_MAX_MS
    ):
        return occur_ms
    times.instant_ms(time, "event.occur_time")
    raise OutOfRange(
        f"event.occur_time must be at most {bounds.EVENT_AGE_MAX_MS // bounds.DAY_MS} days ago and at "
        f"most {bounds.EVENT_AHEAD_MAX_MS // bounds.DAY_MS} day ahead of the server's clock",
        field="event.occur_time",
    )


def _no_occur_time() -> NoReturn:
    checks.missing("event.occur_time", "when it happened, by the shop's clock")


def contact_from_proto(pb: event_pb2.Contact, field: str) -> Contact:
    """Return a contact by which somebody can be found."""
    if len(UnknownFieldSet(pb)):
        checks.refuse_unknown(pb, field)
    (
        email, phone, reference, first_name, last_name, session_id, locale, time_zone, country,
    ) = _CONTACT_FIELDS(pb)  # fmt: skip
    if email:
        if _is_plain_email(email) is None or len(email) > bounds.EMAIL_CHARS_MAX:
            email = checks.email(email, f"{field}.email")
    elif not (phone or reference or session_id):
        checks.missing(
            field, "an email, a phone, a reference or a session_id says whom it concerns"
        )
    if phone:
        checks.phone(phone, f"{field}.phone")
    text = f"{reference}{first_name}{last_name}{session_id}"
    if len(text) > bounds.NAME_CHARS_MAX or not text.isprintable():
        checks.text(reference, f"{field}.reference", bounds.REFERENCE_CHARS_MAX)
        checks.text(first_name, f"{field}.first_name", bounds.NAME_CHARS_MAX)
        checks.text(last_name, f"{field}.last_name", bounds.NAME_CHARS_MAX)
        checks.text(session_id, f"{field}.session_id", bounds.EVENT_BYTES_MAX)
    if locale and not checks.is_locale(locale):
        checks.locale(locale, f"{field}.locale")
    if time_zone:
        checks.time_zone(time_zone, f"{field}.time_zone")
    if country and country not in checks.COUNTRY_FORMS:
        country = checks.country(country, f"{field}.country")
    return Contact(
        email,
        phone,
        reference,
        first_name,
        last_name,
        locale,
        time_zone,
        country,
        session_id,
        event_parts.address(pb.address, f"{field}.address") if pb.HasField("address") else None,
    )


def _consents(found: Any) -> list[Evidence]:
    if len(found) > CONSENTS_MAX:
        raise OutOfRange(
            f"event.consents has at most {CONSENTS_MAX} entries", field="event.consents"
        )
    evidence: list[Evidence] = []
    for pb in found:
        (
            purpose, medium, given, collection_point, text_version, basis, locale, text_sha256,
            ip_address, user_agent,
        ) = _EVIDENCE_FIELDS(pb)  # fmt: skip
        if (
            purpose not in _EVIDENCE_PURPOSES
            or (medium not in _MEDIA and (medium or purpose != Purpose.DATA_FORWARDING))
            or len(collection_point) > bounds.TEXT_CHARS_MAX
            or len(text_version) > bounds.NAME_CHARS_MAX
            or not f"{collection_point}{text_version}".isprintable()
            or basis
            or locale
            or text_sha256
            or ip_address
            or user_agent
            or len(UnknownFieldSet(pb))
        ):
            _check_evidence(pb, f"event.consents[{len(evidence)}]")
        time_ms = 0
        if pb.HasField("evidence_time"):
            field = f"event.consents[{len(evidence)}].evidence_time"
            time_ms = times.instant_ms(pb.evidence_time, field)
        expire_ms = 0
        if pb.HasField("expire_time"):
            field = f"event.consents[{len(evidence)}].expire_time"
            expire_ms = max(times.instant_ms(pb.expire_time, field), 1)
        evidence.append(
            Evidence(
                purpose, medium, given, time_ms, collection_point, text_version, basis, expire_ms,
                locale, text_sha256.lower(), ip_address, user_agent,
            )
        )  # fmt: skip
    return evidence


def _check_evidence(pb: event_pb2.ConsentEvidence, field: str) -> None:
    checks.refuse_unknown(pb, field)
    if not pb.purpose:
        checks.missing(f"{field}.purpose", "REVIEW, MARKETING or DATA_FORWARDING")
    if pb.purpose not in _EVIDENCE_PURPOSES:
        raise InvalidField(
            f"{field}.purpose must be REVIEW, MARKETING or DATA_FORWARDING",
            field=f"{field}.purpose",
        )
    if not pb.medium and int(pb.purpose) != Purpose.DATA_FORWARDING:
        checks.missing(f"{field}.medium", "EMAIL, SMS, WHATSAPP or WEBHOOK")
    if pb.medium and pb.medium not in _MEDIA:
        raise InvalidField(
            f"{field}.medium must be EMAIL, SMS, WHATSAPP or WEBHOOK", field=f"{field}.medium"
        )
    checks.text(pb.collection_point, f"{field}.collection_point", bounds.TEXT_CHARS_MAX)
    checks.text(pb.text_version, f"{field}.text_version", bounds.NAME_CHARS_MAX)
    checks.choice(pb.legal_basis, f"{field}.legal_basis", types_pb2.LegalBasis)
    check_basis(
        pb.legal_basis, pb.purpose, pb.medium, pb.collection_point, pb.text_version, f"{field}."
    )
    wordings.check(pb, f"{field}.")


def _activation_date(pb: event_pb2.Event, occur_ms: int) -> str:
    field = "event.activation_date"
    date = times.civil_date(pb.activation_date, field)
    if times.date_ms(date) > occur_ms + bounds.ACTIVATION_DATE_MAX_MS:
        days = bounds.ACTIVATION_DATE_MAX_MS // bounds.DAY_MS
        raise OutOfRange(f"{field} must be at most {days} days after the event", field=field)
    return date


def _requested_send_ms(pb: event_pb2.Event, now_ms: int) -> int:
    field = "event.requested_send_time"
    time_ms = times.instant_ms(pb.requested_send_time, field)
    if time_ms > now_ms + bounds.REQUESTED_SEND_TIME_MAX_MS:
        days = bounds.REQUESTED_SEND_TIME_MAX_MS // bounds.DAY_MS
        raise OutOfRange(f"{field} must be at most {days} days ahead", field=field)
    # 0 means not told, and the first millisecond of 1970 is as past as the second.
    return max(time_ms, 1)


def _attributes(pb: AttributesPb) -> dict[str, Any]:
    if pb.ByteSize() > ATTRIBUTES_BYTES_MAX:
        raise OutOfRange(
            f"event.attributes has at most {ATTRIBUTES_BYTES_MAX:,} bytes",
            field="event.attributes",
        )
    return {key: _plain(value) for key, value in pb.fields.items()}


def _plain(value: Value) -> Any:
    """Return an attribute as Python writes it; the parser has bounded its depth."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {key: _plain(inner) for key, inner in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(inner) for inner in value.list_value.values]
    if kind == "null_value" or kind is None:
        return None
    return getattr(value, kind)
