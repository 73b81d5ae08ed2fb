"""How a channel's e-mails look, between protobuf and the registry."""

from __future__ import annotations

from afterword.v1 import channel_service_pb2 as pb2
from control.conversion import checks
from core.registry.branding import Branding, check_color, check_imprint, check_url

FIELD = "channel.branding"


def from_proto(pb: pb2.Channel) -> Branding | None:
    """Return the branding of a channel, None where nothing is set."""
    given = pb.branding
    branding = Branding(
        logo_url=check_url(given.logo_url, f"{FIELD}.logo_url"),
        accent_color=check_color(given.accent_color, f"{FIELD}.accent_color"),
        shop_url=check_url(given.shop_url, f"{FIELD}.shop_url"),
        imprint=check_imprint(given.imprint, f"{FIELD}.imprint"),
        support_email=checks.email(given.support_email, f"{FIELD}.support_email")
        if given.support_email
        else "",
    )
    return branding if branding != Branding() else None


def to_proto(branding: Branding | None) -> pb2.Branding | None:
    """Return a branding as clients see it, None if there is none."""
    if branding is None:
        return None
    return pb2.Branding(
        logo_url=branding.logo_url,
        accent_color=branding.accent_color,
        shop_url=branding.shop_url,
        imprint=branding.imprint,
        support_email=branding.support_email,
    )
