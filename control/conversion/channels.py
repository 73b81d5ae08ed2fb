"""Channels and event types between protobuf and the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import event_service_pb2
from control.conversion import (
    addresses,
    branding,
    breakers,
    checks,
    hours,
    platforms,
    senders,
    times,
)
from core import bounds
from core.engine import review_links
from core.errors import InvalidField
from core.registry.breakers import Breaker
from core.registry.resources import (
    Channel,
    ConsentMode,
    EventType,
    HistoryScope,
    OrderMeaning,
    ProductExclusivity,
)

OUTPUT_ONLY = frozenset(
    {"name", "etag", "create_time", "update_time", "diversion_salt", "tripped_breakers"}
)
EVENT_TYPE_OUTPUT_ONLY = frozenset({"name", "etag", "create_time", "update_time", "shipped"})

STATUSES_MAX = 100
FEATURES_MAX = 32
EVENT_TYPES_MAX = 1_000
"""Of `review_event_types_off`."""


def channel_from_proto(pb: pb2.Channel, account: str, channel_id: str) -> Channel:
    """Return a channel as a client wants it."""
    display_name = checks.text(
        pb.display_name, "channel.display_name", bounds.NAME_CHARS_MAX, is_required=True
    )
    if not pb.time_zone:
        checks.missing("channel.time_zone", "an IANA time zone, for example Europe/Madrid")
    if not pb.locale:
        checks.missing("channel.locale", 'a language with a region, for example "es_ES"')
    checks.choice(pb.consent_mode, "channel.consent_mode", pb2.Channel.ConsentMode)
    exclusivity = checks.choice(
        pb.product_exclusivity, "channel.product_exclusivity", pb2.Channel.ProductExclusivity
    )
    scope = checks.choice(pb.history_scope, "channel.history_scope", pb2.Channel.HistoryScope)
    country, region = _place(pb)
    return Channel(
        account=account,
        id=channel_id,
        display_name=display_name,
        time_zone=checks.time_zone(pb.time_zone, "channel.time_zone"),
        locale=checks.locale(pb.locale, "channel.locale"),
        email_sender=addresses.sender_from_proto(pb.email_sender, "channel.email_sender")
        if pb.HasField("email_sender")
        else None,
        consent_mode=ConsentMode(pb.consent_mode or ConsentMode.REQUIRE_EVIDENCE),
        use_activation_date=pb.use_activation_date,
        hours=hours.hours_from_proto(pb.hours, "channel.hours"),
        country=country,
        region=region,
        closed_dates=hours.dates_from_proto(pb.closed_dates, "channel.closed_dates"),
        product_exclusivity=ProductExclusivity(exclusivity or ProductExclusivity.PER_CHANNEL),
        checkout_is_paid=pb.checkout_is_paid if pb.HasField("checkout_is_paid") else True,
        history_scope=HistoryScope(scope or HistoryScope.CHANNEL),
        order_statuses=_statuses(pb.order_statuses),
        features=features(pb.features, "channel.features", FEATURES_MAX),
        review_event_types_off=_types_off(pb.review_event_types_off),
        complaint_breaker=breakers.settings_from_proto(pb),
        diversion=platforms.diversion_from_proto(pb, account),
        senders=senders.of_channel_from_proto(pb, account),
        review_page_url=review_links.check_page(pb.review_page_url, "channel.review_page_url")
        if pb.review_page_url
        else "",
        branding=branding.from_proto(pb),
    )


def _place(pb: pb2.Channel) -> tuple[str, str]:
    """Return (country, region), each "" if it is not told."""
    country = checks.country(pb.country, "channel.country") if pb.country else ""
    region = checks.region(pb.region, "channel.region") if pb.region else ""
    if region and not country:
        raise InvalidField(
            "channel.region is a part of channel.country: set that too", field="channel.region"
        )
    return country, region


def _statuses(found: Mapping[str, int]) -> dict[str, OrderMeaning]:
    checks.count(len(found), "channel.order_statuses", STATUSES_MAX)
    statuses: dict[str, OrderMeaning] = {}
    for status, meaning in sorted(found.items()):
        if not status:
            checks.missing("channel.order_statuses", "each entry has the shop's word for a status")
        checks.text(status, "channel.order_statuses", bounds.NAME_CHARS_MAX)
        field = f"channel.order_statuses[{status}]"
        checks.choice(meaning, field, pb2.Channel.OrderMeaning, is_required=True)
        statuses[status] = OrderMeaning(meaning)
    return statuses


def features(found: Sequence[str], field: str, most: int) -> tuple[str, ...]:
    """Return the ids of features, each once."""
    checks.count(len(found), field, most)
    for index, feature in enumerate(found):
        checks.resource_id(feature, f"{field}[{index}]")
    return tuple(dict.fromkeys(found))


def _types_off(found: Sequence[str]) -> tuple[str, ...]:
    field = "channel.review_event_types_off"
    checks.count(len(found), field, EVENT_TYPES_MAX)
    for index, event_type in enumerate(found):
        checks.event_type_id(event_type, f"{field}[{index}]")
    return tuple(dict.fromkeys(found))


def channel_to_proto(channel: Channel, tripped: Sequence[Breaker] = ()) -> pb2.Channel:
    """Return a channel as clients see it.

    Args:
        tripped: the breakers by which complaints hold it back.
    """
    return pb2.Channel(
        name=channel.name,
        display_name=channel.display_name,
        time_zone=channel.time_zone,
        locale=channel.locale,
        email_sender=addresses.sender_to_proto(channel.email_sender),
        consent_mode=pb2.Channel.ConsentMode.ValueType(channel.consent_mode),
        use_activation_date=channel.use_activation_date,
        etag=channel.etag,
        create_time=times.timestamp(channel.create_ms),
        update_time=times.timestamp(channel.update_ms),
        hours=hours.hours_to_proto(channel.hours),
        country=channel.country,
        region=channel.region,
        closed_dates=hours.dates_to_proto(channel.closed_dates),
        product_exclusivity=pb2.Channel.ProductExclusivity.ValueType(channel.product_exclusivity),
        checkout_is_paid=channel.checkout_is_paid,
        history_scope=pb2.Channel.HistoryScope.ValueType(channel.history_scope),
        order_statuses={
            status: pb2.Channel.OrderMeaning.ValueType(meaning)
            for status, meaning in channel.order_statuses.items()
        },
        features=channel.features,
        review_event_types_off=channel.review_event_types_off,
        complaint_breaker=breakers.settings_to_proto(channel.complaint_breaker),
        tripped_breakers=breakers.tripped_to_proto(tripped),
        diversion=platforms.diversion_to_proto(channel.diversion, channel.account),
        diversion_salt=channel.diversion.salt if channel.diversion is not None else "",
        senders=senders.of_channel_to_proto(channel.senders, channel.account),
        review_page_url=channel.review_page_url,
        branding=branding.to_proto(channel.branding),
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
