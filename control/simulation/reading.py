"""How an account is configured now, read over the API.

Never: changes anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from afterword.v1 import consent_service_pb2, simulation_service_pb2
from control.simulation.kinds import KINDS, ApiCall, Unserved, request
from core.bounds import PAGE_SIZE_MAX

Configuration = simulation_service_pb2.Configuration
ContactConsent = simulation_service_pb2.ContactConsent
Consent = consent_service_pb2.Consent

_GET_ACCOUNT: Final = "ChannelService/GetAccount"


async def read(call: ApiCall, account: str) -> Configuration:
    """Return how an account is configured, without consents."""
    found = Configuration(account=account)
    parent = f"accounts/{account}"
    with contextlib.suppress(Unserved):
        booked = await call(_GET_ACCOUNT, request(_GET_ACCOUNT, name=parent))
        found.booked.CopyFrom(booked)
    for kind in KINDS:
        getattr(found, kind.field).extend(await _listed(call, kind.list, kind.field, parent))
    on_all = f"{parent}/channels/-"
    for one in await _listed(call, "RuleService/ListActivations", "activations", on_all):
        channel = one.name.rpartition("/activations/")[0]
        found.activations.add(rule=one.rule, channel=channel, state=one.state)
    return found


async def read_consents(
    call: ApiCall, account: str, wanted: Iterable[ContactConsent]
) -> list[ContactConsent]:
    """Return what stands in the place of each consent wanted; empty ones where nothing does."""
    parent = f"accounts/{account}"
    known: dict[bytes, Sequence[Any]] = {}
    present: list[ContactConsent] = []
    for one in wanted:
        key = one.contact.SerializeToString(deterministic=True)
        if key not in known:
            selector = consent_service_pb2.ContactSelector(contact=one.contact)
            known[key] = await _listed(
                call, "ConsentService/ListConsents", "consents", parent, contact=selector
            )
        present.append(
            next((_told(c, one) for c in known[key] if _is_of(c, one)), ContactConsent())
        )
    return present


def _is_of(consent: Consent, wanted: ContactConsent) -> bool:
    """Return whether a consent has the scope of the one wanted; those of an order have not."""
    return (
        (consent.purpose, consent.medium, consent.channel)
        == (wanted.purpose, wanted.medium, wanted.channel)
    ) and ".order-" not in consent.name  # fmt: skip


def _told(consent: Consent, wanted: ContactConsent) -> ContactConsent:
    return ContactConsent(
        contact=wanted.contact, purpose=consent.purpose, medium=consent.medium,
        channel=consent.channel, state=consent.state, evidence_time=consent.evidence_time,
        collection_point=consent.collection_point, text_version=consent.text_version,
    )  # fmt: skip


async def _listed(
    call: ApiCall, method: str, field: str, parent: str, **fields: Any
) -> Sequence[Any]:
    """Return all pages of a list; nothing from a server that does not know what is listed."""
    found: list[Any] = []
    token = ""
    while True:
        asked = request(method, parent=parent, page_size=PAGE_SIZE_MAX, page_token=token, **fields)
        try:
            page = await call(method, asked)
        except Unserved:
            return found
        found += getattr(page, field)
        token = page.next_page_token
        if not token:
            return found
