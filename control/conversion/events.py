"""Events from protobuf: the hot path of the daemon.

Decides: whether an event may be taken as it is, by itself; what the account knows of channels and
types is asked later. A refusal names the field and says what would be right.

Shape: each field is read once, because each read crosses into the protobuf runtime. Strings that may
hold no control characters are looked at together; only if that finds something, one by one.

Unknown fields are refused here as well as in configuration: a client that is newer than the server
hears of it, instead of losing a consent or a stop which this server cannot see. That costs about 0.1
us for each message inside an event.

What depends on the time of receipt is checked but never stored: an event that is published again must
give the same value, or it would not be recognised.

Cost: below 8 us for an event with contact, order and one consent; `bench/bench_conversion.py`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from google.protobuf.struct_pb2 import Struct as AttributesPb
from google.protobuf.struct_pb2 import Value
from google.protobuf.unknown_fields import UnknownFieldSet

from afterword.v1 import event_pb2
from control.conversion import checks, event_parts, times
from core import bounds
from core.errors import InvalidField, OutOfRange
from core.model import Contact, Event, Evidence, Medium, Purpose

ATTRIBUTES_BYTES_MAX = 16_384
CONSENTS_MAX = 16
SOURCE_CHARS_MAX = 63

_EVIDENCE_PURPOSES: frozenset[int] = frozenset(
    {Purpose.REVIEW, Purpose.MARKETING, Purpose.DATA_FORWARDING}
)
_MEDIA: frozenset[int] = frozenset(Medium) - {Medium.UNSPECIFIED}
_NOBODY = Contact()

# One call that reads many fields costs less than the statements that read them one by one.
_FIELDS = attrgetter(
    "id", "source", "type", "channel", "locale", "system", "system_version", "consents"
)
_CONTACT_FIELDS = attrgetter(
    "email", "phone", "reference", "first_name", "last_name", "session_id", "locale", "time_zone",
    "country",
)  # fmt: skip
_EVIDENCE_FIELDS = attrgetter("purpose", "medium", "given", "collection_point", "text_version")


def event_from_proto(pb: event_pb2.Event, now_ms: int) -> Event:
    """Return the event.

    Args:
        now_ms: the time of receipt; only for bounds.

    Raises:
        InvalidField, OutOfRange: naming the field from "event" on.
    """
    if pb.ByteSize() > bounds.EVENT_BYTES_MAX:
        raise OutOfRange(
            f"an event has at most {bounds.EVENT_BYTES_MAX:,} bytes serialised", field="event"
        )
    if len(UnknownFieldSet(pb)):
        checks.refuse_unknown(pb, "event")
    event_id, source, event_type, channel, locale, system, system_version, consents = _FIELDS(pb)
    if (
        not event_type
        or not channel
        or len(event_id) > bounds.EVENT_ID_CHARS_MAX
        or len(source) > SOURCE_CHARS_MAX
        or not f"{event_id}{source}{event_type}{channel}{system}{system_version}".isprintable()
    ):
        _check_strings(pb)
    if locale and not checks.is_locale(locale):
        checks.locale(locale, "event.locale")
    has = pb.HasField
    if not has("occur_time"):
        checks.missing("event.occur_time", "when it happened, by the shop's clock")
    occur_ms = _occur_ms(pb.occur_time, now_ms)
    return Event(
        event_id,
        source,
        event_type,
        channel,
        occur_ms,
        _contact(pb.contact) if has("contact") else _NOBODY,
        event_parts.order(pb.order) if has("order") else None,
        event_parts.cart(pb.cart) if has("cart") else None,
        event_parts.shipment(pb.shipment) if has("shipment") else None,
        event_parts.review(pb.review) if has("review") else None,
        _consents(consents) if consents else [],
        _activation_date(pb, occur_ms) if has("activation_date") else "",
        _requested_send_ms(pb, now_ms) if has("requested_send_time") else 0,
        locale,
        system,
        system_version,
        _attributes(pb.attributes) if has("attributes") else {},
    )


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


def _occur_ms(time: Any, now_ms: int) -> int:
    seconds, nanos = time.seconds, time.nanos
    occur_ms = seconds * 1_000 + nanos // times.NANOS_PER_MS
    if now_ms - bounds.EVENT_AGE_MAX_MS <= occur_ms <= now_ms + bounds.EVENT_AHEAD_MAX_MS and (
        0 <= nanos < times.NANOS_PER_SECOND
    ):
        return int(occur_ms)
    times.instant_ms(time, "event.occur_time")
    raise OutOfRange(
        f"event.occur_time must be at most {bounds.EVENT_AGE_MAX_MS // bounds.DAY_MS} days ago and at "
        f"most {bounds.EVENT_AHEAD_MAX_MS // bounds.DAY_MS} day ahead of the server's clock",
        field="event.occur_time",
    )


def _contact(pb: event_pb2.Contact) -> Contact:
    return contact_from_proto(pb, "event.contact")


def contact_from_proto(pb: event_pb2.Contact, field: str) -> Contact:
    """Return a contact by which somebody can be found."""
    if len(UnknownFieldSet(pb)):
        checks.refuse_unknown(pb, field)
    (
        email, phone, reference, first_name, last_name, session_id, locale, time_zone, country,
    ) = _CONTACT_FIELDS(pb)  # fmt: skip
    if email:
        if not checks.is_plain_email(email):
            email = checks.email(email, f"{field}.email")
    elif not phone and not reference:
        checks.missing(field, "an email, a phone or a reference says whom it concerns")
    if phone:
        checks.phone(phone, f"{field}.phone")
    if (
        len(reference) > bounds.REFERENCE_CHARS_MAX
        or len(first_name) > bounds.NAME_CHARS_MAX
        or len(last_name) > bounds.NAME_CHARS_MAX
        or not f"{reference}{first_name}{last_name}{session_id}".isprintable()
    ):
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
    return [_evidence(one, index) for index, one in enumerate(found)]


def _evidence(pb: event_pb2.ConsentEvidence, index: int) -> Evidence:
    purpose, medium, given, collection_point, text_version = _EVIDENCE_FIELDS(pb)
    if (
        purpose not in _EVIDENCE_PURPOSES
        or (medium not in _MEDIA and (medium or purpose != Purpose.DATA_FORWARDING))
        or len(collection_point) > bounds.TEXT_CHARS_MAX
        or len(text_version) > bounds.NAME_CHARS_MAX
        or not f"{collection_point}{text_version}".isprintable()
        or len(UnknownFieldSet(pb))
    ):
        _check_evidence(pb, f"event.consents[{index}]")
    time_ms = 0
    if pb.HasField("evidence_time"):
        time_ms = times.instant_ms(pb.evidence_time, f"event.consents[{index}].evidence_time")
    return Evidence(purpose, medium, given, time_ms, collection_point, text_version)


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
