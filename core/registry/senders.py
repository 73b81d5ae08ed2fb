"""Senders: what takes the messages of a channel out over a medium, and with whose account (C15).

Decides: the stored shape of a sender, and the medium of each kind.
Never: a secret: a sender holds the name of one (`senders/credentials.py`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from core.model import Medium
from core.registry.resources import Resource


class SenderKind(enum.IntEnum):
    """How a sender is spoken to. Numbers as in the API."""

    SMTP = 1
    SMS_TWILIO = 2
    WHATSAPP_CLOUD = 3
    WEBHOOK = 4


MEDIUM_OF: Final[Mapping[SenderKind, Medium]] = {
    SenderKind.SMTP: Medium.EMAIL,
    SenderKind.SMS_TWILIO: Medium.SMS,
    SenderKind.WHATSAPP_CLOUD: Medium.WHATSAPP,
    SenderKind.WEBHOOK: Medium.WEBHOOK,
}


class Sender(Resource, kw_only=True):
    """An account at a provider, a mail server, or a server of the shop's own."""

    kind: SenderKind
    provider_account: str = ""
    """SMS_TWILIO: the account id; SMTP: the user, "" for none."""
    origin: str = ""
    """SMS_TWILIO: number, alphanumeric name or messaging service; WHATSAPP_CLOUD: id of the number."""
    credential: str = ""
    """Name of the secret; "" only for SMTP without a user."""
    endpoint: str = ""
    """Where it is; "": the provider's own address."""
    concurrency: int = 0
    """Calls under way at most; 0: the default of the kind."""
    messages_per_second: float = 0
    """0: no limit."""
    daily_quota: int = 0
    """Messages a day; 0: no limit."""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/senders/{self.id}"

    @property
    def medium(self) -> Medium:
        """Over which medium it sends."""
        return MEDIUM_OF[self.kind]
