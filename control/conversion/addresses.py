"""Who an e-mail comes from, between protobuf and the registry."""

from __future__ import annotations

from afterword.v1 import channel_service_pb2 as pb2
from control.conversion import checks
from core import bounds
from core.registry.rule_parts import EmailSender


def sender_from_proto(pb: pb2.EmailSender, field: str) -> EmailSender:
    """Return a sender.

    Args:
        field: path of the message.
    """
    if not pb.address:
        checks.missing(f"{field}.address", "the address in From")
    return EmailSender(
        address=checks.email(pb.address, f"{field}.address"),
        display_name=checks.text(pb.display_name, f"{field}.display_name", bounds.NAME_CHARS_MAX),
        reply_to=checks.email(pb.reply_to, f"{field}.reply_to") if pb.reply_to else "",
    )


def sender_to_proto(sender: EmailSender | None) -> pb2.EmailSender | None:
    """Return a sender as clients see it, None if there is none."""
    if sender is None:
        return None
    return pb2.EmailSender(
        address=sender.address, display_name=sender.display_name, reply_to=sender.reply_to
    )
