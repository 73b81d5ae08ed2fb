"""Channels and event types between protobuf and the registry."""

from __future__ import annotations

from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import event_service_pb2
from control.conversion import checks, times
from core import bounds
from core.errors import InvalidField
from core.registry.resources import Channel, ConsentMode, EventType
from core.registry.rule_parts import EmailSender

OUTPUT_ONLY = frozenset({"name", "etag", "create_time", "update_time"})
EVENT_TYPE_OUTPUT_ONLY = OUTPUT_ONLY | {"shipped"}


def channel_from_proto(pb: pb2.Channel, account: str, channel_id: str) -> Channel:
    """Return a channel as a client wants it."""
    display_name = checks.text(
        pb.display_name, "channel.display_name", bounds.NAME_CHARS_MAX, is_required=True
    )
    if not pb.time_zone:
        checks.missing("channel.time_zone", "an IANA time zone, for example Europe/Madrid")
    if not pb.locale:
        checks.missing("channel.locale", 'a language with a region, for example "es_ES"')
    if pb.consent_mode not in pb2.Channel.ConsentMode.values():
        raise InvalidField(
            "channel.consent_mode must be CONSENT_MODE_REQUIRE_EVIDENCE or "
            "CONSENT_MODE_SHOP_ATTESTS",
            field="channel.consent_mode",
        )
    return Channel(
        account=account,
        id=channel_id,
        display_name=display_name,
        time_zone=checks.time_zone(pb.time_zone, "channel.time_zone"),
        locale=checks.locale(pb.locale, "channel.locale"),
        email_sender=_sender(pb.email_sender) if pb.HasField("email_sender") else None,
        consent_mode=ConsentMode(pb.consent_mode or ConsentMode.REQUIRE_EVIDENCE),
        use_activation_date=pb.use_activation_date,
    )


def _sender(pb: pb2.EmailSender) -> EmailSender:
    field = "channel.email_sender"
    if not pb.address:
        checks.missing(f"{field}.address", "the address in From")
    return EmailSender(
        address=checks.email(pb.address, f"{field}.address"),
        display_name=checks.text(pb.display_name, f"{field}.display_name", bounds.NAME_CHARS_MAX),
        reply_to=checks.email(pb.reply_to, f"{field}.reply_to") if pb.reply_to else "",
    )


def channel_to_proto(channel: Channel) -> pb2.Channel:
    """Return a channel as clients see it."""
    sender = channel.email_sender
    return pb2.Channel(
        name=channel.name,
        display_name=channel.display_name,
        time_zone=channel.time_zone,
        locale=channel.locale,
        email_sender=None
        if sender is None
        else pb2.EmailSender(
            address=sender.address, display_name=sender.display_name, reply_to=sender.reply_to
        ),
        consent_mode=pb2.Channel.ConsentMode.ValueType(channel.consent_mode),
        use_activation_date=channel.use_activation_date,
        etag=channel.etag,
        create_time=times.timestamp(channel.create_ms),
        update_time=times.timestamp(channel.update_ms),
    )


def event_type_from_proto(
    pb: event_service_pb2.EventType, account: str, event_type_id: str
) -> EventType:
    """Return an event type as a client wants it."""
    return EventType(
        account=account,
        id=event_type_id,
        display_name=checks.text(pb.display_name, "event_type.display_name", bounds.NAME_CHARS_MAX),
        active=pb.active,
    )


def event_type_to_proto(event_type: EventType) -> event_service_pb2.EventType:
    """Return an event type as clients see it."""
    return event_service_pb2.EventType(
        name=event_type.name,
        display_name=event_type.display_name,
        active=event_type.active,
        shipped=event_type.shipped,
        etag=event_type.etag,
        create_time=times.timestamp(event_type.create_ms),
        update_time=times.timestamp(event_type.update_ms),
    )
