"""Senders between protobuf and the registry, and which of them a channel names."""

from __future__ import annotations

import math
import re
from typing import Final

from afterword.v1 import channel_service_pb2, types_pb2
from afterword.v1 import sender_service_pb2 as pb2
from control.conversion import checks, endpoints, names, times
from core import bounds
from core.errors import InvalidField, OutOfRange
from core.model import Medium
from core.registry.documents import sender_name
from core.registry.senders import Sender, SenderKind
from senders.credentials import check_reference

OUTPUT_ONLY: Final = frozenset({"name", "etag", "create_time", "update_time"})
CONCURRENCY_MAX: Final = 256
SMTP_CONNECTIONS_MAX: Final = 64
PER_SECOND_MAX: Final = 10_000
QUOTA_MAX: Final = 1_000_000_000

_TWILIO_ACCOUNT: Final = re.compile(r"AC[0-9A-Za-z]{1,62}")
_TWILIO_ORIGIN: Final = re.compile(
    r"\+[1-9][0-9]{1,14}|MG[0-9A-Za-z]{1,62}|(?=.*[A-Za-z])[A-Za-z0-9 +&_-]{1,11}"
)
_PHONE_NUMBER_ID: Final = re.compile(r"[0-9]{1,32}")
_USER: Final = re.compile(r"[!-~]{1,256}")


def sender_from_proto(
    pb: pb2.Sender, account: str, sender_id: str, *, allow_private: bool
) -> Sender:
    """Return a sender as a client wants it.

    Args:
        allow_private: endpoints may lie on private networks.
    """
    kind = SenderKind(checks.choice(pb.kind, "sender.kind", pb2.Sender.Kind, is_required=True))
    most = SMTP_CONNECTIONS_MAX if kind is SenderKind.SMTP else CONCURRENCY_MAX
    return Sender(
        account=account,
        id=sender_id,
        display_name=checks.text(pb.display_name, "sender.display_name", bounds.NAME_CHARS_MAX),
        kind=kind,
        provider_account=_provider_account(pb, kind),
        origin=_origin(pb, kind),
        credential=_credential(pb, kind),
        endpoint=_endpoint(pb, kind, allow_private),
        concurrency=int(_bounded(pb.concurrency, "sender.concurrency", most)),
        messages_per_second=_bounded(
            pb.messages_per_second, "sender.messages_per_second", PER_SECOND_MAX
        ),
        daily_quota=int(_bounded(pb.daily_quota, "sender.daily_quota", QUOTA_MAX)),
    )


def _provider_account(pb: pb2.Sender, kind: SenderKind) -> str:
    field = "sender.provider_account"
    if kind is SenderKind.SMS_TWILIO:
        right = 'the id of the account at the provider, "AC" and letters or digits'
        return _matching(pb.provider_account, field, _TWILIO_ACCOUNT, right)
    if kind is SenderKind.SMTP:
        if not pb.provider_account:
            return ""
        return _matching(pb.provider_account, field, _USER, "the user in plain ASCII, or empty")
    return _empty(pb.provider_account, field, kind)


def _origin(pb: pb2.Sender, kind: SenderKind) -> str:
    field = "sender.origin"
    if kind is SenderKind.SMS_TWILIO:
        right = (
            "a number such as +4930123456, a name of at most 11 letters and digits, or the id of a "
            'messaging service, "MG..."'
        )
        return _matching(pb.origin, field, _TWILIO_ORIGIN, right)
    if kind is SenderKind.WHATSAPP_CLOUD:
        return _matching(pb.origin, field, _PHONE_NUMBER_ID, "the id of the number, digits")
    return _empty(pb.origin, field, kind)


def _credential(pb: pb2.Sender, kind: SenderKind) -> str:
    field = "sender.credential"
    if kind is SenderKind.SMTP and not pb.provider_account:
        if pb.credential:
            raise InvalidField(
                f"{field} goes together with sender.provider_account, the user", field=field
            )
        return ""
    if not pb.credential:
        checks.missing(field, 'the name of a secret, "secret:<name>"')
    return check_reference(pb.credential, field=field)


def _endpoint(pb: pb2.Sender, kind: SenderKind, allow_private: bool) -> str:
    field = "sender.endpoint"
    if kind is SenderKind.SMTP:
        if not pb.endpoint:
            checks.missing(field, 'the mail server, "smtps://host:465"')
        has_user = bool(pb.provider_account)
        return endpoints.smtp(pb.endpoint, field, allow_private=allow_private, has_user=has_user)
    if not pb.endpoint:
        if kind is SenderKind.WEBHOOK:
            checks.missing(field, "the https address to call")
        return ""
    is_base = kind is not SenderKind.WEBHOOK
    return endpoints.http(pb.endpoint, field, is_base=is_base, allow_private=allow_private)


def _matching(text: str, field: str, form: re.Pattern[str], right: str) -> str:
    if not text:
        checks.missing(field, right)
    if form.fullmatch(text) is None:
        raise InvalidField(f"{field} must be {right}", field=field)
    return text


def _empty(text: str, field: str, kind: SenderKind) -> str:
    if text:
        raise InvalidField(f"{field} must be empty: {kind.name} has none", field=field)
    return ""


def _bounded(value: float, field: str, most: int) -> float:
    if not math.isfinite(value) or not 0 <= value <= most:
        raise OutOfRange(f"{field} must be 0 to {most:,}; 0 is the default", field=field)
    return value


def sender_to_proto(sender: Sender) -> pb2.Sender:
    """Return a sender as clients see it."""
    return pb2.Sender(
        name=sender.name,
        display_name=sender.display_name,
        kind=pb2.Sender.Kind.ValueType(sender.kind),
        provider_account=sender.provider_account,
        origin=sender.origin,
        credential=sender.credential,
        endpoint=sender.endpoint,
        concurrency=sender.concurrency,
        messages_per_second=sender.messages_per_second,
        daily_quota=sender.daily_quota,
        etag=sender.etag,
        create_time=times.timestamp(sender.create_ms),
        update_time=times.timestamp(sender.update_ms),
    )


# --- of a channel ---------------------------------------------------------------------------------


def of_channel_from_proto(pb: channel_service_pb2.Channel, account: str) -> dict[Medium, str]:
    """Return which senders a channel names; that they are there is asked by the registry."""
    named: dict[Medium, str] = {}
    for index, one in enumerate(pb.senders):
        field = f"channel.senders[{index}]"
        checks.refuse_unknown(one, field)
        medium = Medium(
            checks.choice(one.medium, f"{field}.medium", types_pb2.Medium, is_required=True)
        )
        if medium in named:
            raise InvalidField(
                f"{field}.medium stands there already: one sender for each medium",
                field=f"{field}.medium",
            )
        (named[medium],) = names.ids(one.sender, account, "senders/{sender}", f"{field}.sender")
    return dict(sorted(named.items()))


def of_channel_to_proto(
    named: dict[Medium, str], account: str
) -> list[channel_service_pb2.Channel.MediumSender]:
    """Return which senders a channel names as clients see them."""
    return [
        channel_service_pb2.Channel.MediumSender(
            medium=types_pb2.Medium.ValueType(medium), sender=sender_name(account, sender)
        )
        for medium, sender in sorted(named.items())
    ]
