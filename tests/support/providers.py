"""Senders of every kind, their secrets, and transports of them to a stand-in for the provider."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from core.model import Family, Medium, Purpose
from core.registry.senders import Sender, SenderKind
from core.sending import Letter
from senders.credentials import Secrets, variable_of
from senders.http_client import HttpClient, Reach
from senders.http_transport import HttpTransport
from senders.making import TransportMaker
from senders.provider_sink import ProviderSink
from tests.letters import SEND_MS, make_letter

ACCOUNT = "acme"
TOKEN = "tok-canary-1234567890"
HOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRETS = {
    variable_of(ACCOUNT, "token"): TOKEN,
    variable_of(ACCOUNT, "hook"): HOOK_SECRET,
}
PHONE = "+4915112345678"

_FIELDS: dict[SenderKind, dict[str, Any]] = {
    SenderKind.SMS_TWILIO: {
        "provider_account": "AC1", "origin": "+4930123456", "credential": "secret:token",
    },
    SenderKind.WHATSAPP_CLOUD: {"origin": "1010", "credential": "secret:token"},
    SenderKind.WEBHOOK: {"credential": "secret:hook"},
}  # fmt: skip


def sender(kind: SenderKind, endpoint: str, **fields: Any) -> Sender:
    path = "/hook" if kind is SenderKind.WEBHOOK else ""
    values = {"id": kind.name.lower().replace("_", "-"), **_FIELDS[kind], **fields}
    return Sender(account=ACCOUNT, kind=kind, endpoint=endpoint + path, **values)


def letter_for(kind: SenderKind, number: int = 1, **changes: Any) -> Letter:
    medium = {
        SenderKind.SMS_TWILIO: Medium.SMS, SenderKind.WHATSAPP_CLOUD: Medium.WHATSAPP,
        SenderKind.WEBHOOK: Medium.WEBHOOK,
    }[kind]  # fmt: skip
    fields: dict[str, Any] = {
        "medium": medium, "address": PHONE, "family": Family.NOTIFICATION,
        "purpose": Purpose.TRANSACTIONAL, "rule": "late", "step": "one",
    }  # fmt: skip
    if kind is SenderKind.WHATSAPP_CLOUD:
        fields |= {"template": "parcel_late", "parameters": ("{{first_name}}", "{{order}}")}
    return make_letter(number, **(fields | changes))


@contextlib.asynccontextmanager
async def open_sink(**moods: Any) -> AsyncIterator[ProviderSink]:
    sink = ProviderSink(**moods)
    await sink.start()
    try:
        yield sink
    finally:
        await sink.close()


def transport_to(
    sink: ProviderSink, kind: SenderKind, *, timeout_ms: int = 5_000, secrets: Secrets | None = None,
    now_ns: Callable[[], int] | None = None, **fields: Any,
) -> HttpTransport:  # fmt: skip
    """Return the transport of a sender as the daemon makes it, but for how long it waits."""
    maker = TransportMaker(
        secrets or Secrets(environment=SECRETS), reach=Reach.ANY, now_ms=lambda: SEND_MS
    )
    configured = sender(kind, sink.url, **fields)
    places = configured.concurrency or 32
    client = HttpClient(
        connections=places, reach=Reach.ANY, timeout_ms=timeout_ms, now_ms=lambda: SEND_MS
    )
    clock = {"now_ns": now_ns} if now_ns is not None else {}
    return HttpTransport(maker.provider(configured), client, places=places, **clock)
