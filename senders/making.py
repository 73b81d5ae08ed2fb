"""From a configured sender to its transport.

Decides: which transport each kind has, and that what an account configures reaches public addresses
only, unless the operator says otherwise.
Never: when one is made (`senders/desk.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from core.clock import SystemClock
from core.registry.senders import Sender, SenderKind
from core.sending import Letter, Transport
from senders import message_texts, mime, sms, webhook_payload, whatsapp
from senders.credentials import Secrets
from senders.http_client import HttpClient, Reach, Resolve, is_public, system_resolve
from senders.http_transport import HttpTransport, Provider
from senders.smtp import SmtpTransport
from senders.smtp_connection import Refused, Tls
from senders.webhook import Webhook

HTTP_CONCURRENCY: Final = 32
SMTP_CONNECTIONS: Final = 4

_TLS: Final = {"smtps": Tls.IMPLICIT, "smtp": Tls.STARTTLS, "smtp+plain": Tls.NONE}
_SMTP_PORTS: Final = {"smtps": 465, "smtp": 587, "smtp+plain": 25}
_WALL: Final = SystemClock()


class TransportMaker:
    """Makes transports.

    Args:
        secrets: where credentials are looked up.
        reach: where senders may call.
        render: makes e-mails.
        now_ms: wall clock of signatures: receivers compare it with theirs.
        resolve: resolves names.
        helo_name: how this machine names itself to mail servers.
        callback_of: where the provider of a sender tells how it went; "" for nowhere.
    """

    def __init__(
        self, secrets: Secrets, *, reach: Reach = Reach.PUBLIC,
        render: Callable[[Letter], bytes] = mime.render,
        now_ms: Callable[[], int] = _WALL.now_ms, resolve: Resolve = system_resolve,
        helo_name: str = "localhost",
        callback_of: Callable[[Sender], str] = lambda sender: "",
    ) -> None:  # fmt: skip
        self._callback_of = callback_of
        self._helo_name = helo_name
        self._secrets = secrets
        self._reach = reach
        self._render = render
        self._now_ms = now_ms
        self._resolve = resolve

    def make(self, sender: Sender) -> Transport:
        """Return a transport of a sender's own."""
        if sender.kind is SenderKind.SMTP:
            return self._smtp(sender)
        places = sender.concurrency or HTTP_CONCURRENCY
        client = HttpClient(
            connections=places, reach=self._reach, now_ms=self._now_ms, resolve=self._resolve
        )
        return HttpTransport(self.provider(sender), client, places=places)

    def provider(self, sender: Sender) -> Provider:
        """Return how the provider of a sender is spoken to."""
        credential = self._secrets.credential(sender.account, sender.credential)
        if sender.kind is SenderKind.SMS_TWILIO:
            return sms.TwilioSms(
                sender.provider_account, credential, sender.origin,
                text_of=message_texts.sms_text, endpoint=sender.endpoint or sms.ENDPOINT,
                status_callback=self._callback_of(sender),
            )  # fmt: skip
        if sender.kind is SenderKind.WHATSAPP_CLOUD:
            return whatsapp.WhatsApp(
                sender.origin, credential, template_of=message_texts.whatsapp_call,
                endpoint=sender.endpoint or whatsapp.ENDPOINT,
            )  # fmt: skip
        return Webhook(
            sender.endpoint, credential, payload_of=webhook_payload.payload_of, now_ms=self._now_ms,
            is_secure=self._reach is Reach.PUBLIC,
        )  # fmt: skip

    def _smtp(self, sender: Sender) -> Transport:
        parts = urlsplit(sender.endpoint)
        password: str | Callable[[], str] = ""
        if sender.provider_account:
            password = self._secrets.credential(sender.account, sender.credential).read
        return SmtpTransport(
            parts.hostname or "", parts.port or _SMTP_PORTS[parts.scheme],
            connections=sender.concurrency or SMTP_CONNECTIONS, tls=_TLS[parts.scheme],
            user=sender.provider_account, password=password, render=self._render,
            helo_name=self._helo_name,
            addresses_of=self._public_addresses if self._reach is Reach.PUBLIC else None,
        )  # fmt: skip

    async def _public_addresses(self, host: str) -> Sequence[str]:
        found = [address for address in await self._resolve(host) if is_public(address)]
        if not found:
            raise Refused("connect: no public address")
        return found
