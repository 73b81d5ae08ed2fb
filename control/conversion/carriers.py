"""Carriers between protobuf and the registry."""

from __future__ import annotations

from afterword.v1 import channel_service_pb2 as pb2
from control.conversion import checks, times
from core import bounds
from core.registry.resources import Carrier

OUTPUT_ONLY = frozenset({"name", "etag", "create_time", "update_time"})


def carrier_from_proto(pb: pb2.Carrier, account: str, carrier_id: str) -> Carrier:
    """Return a carrier as a client wants it."""
    return Carrier(
        account=account,
        id=carrier_id,
        display_name=checks.text(pb.display_name, "carrier.display_name", bounds.NAME_CHARS_MAX),
        email=checks.email(pb.email, "carrier.email") if pb.email else "",
        phone=checks.phone(pb.phone, "carrier.phone") if pb.phone else "",
        locale=checks.locale(pb.locale, "carrier.locale") if pb.locale else "",
    )


def carrier_to_proto(carrier: Carrier) -> pb2.Carrier:
    """Return a carrier as clients see it."""
    return pb2.Carrier(
        name=carrier.name,
        display_name=carrier.display_name,
        email=carrier.email,
        phone=carrier.phone,
        locale=carrier.locale,
        etag=carrier.etag,
        create_time=times.timestamp(carrier.create_ms),
        update_time=times.timestamp(carrier.update_ms),
    )
