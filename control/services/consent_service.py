"""ConsentService: see consent_service.proto for the contract."""

from __future__ import annotations

from typing import Any

import grpc

from afterword.v1 import consent_service_pb2 as pb2
from afterword.v1 import consent_service_pb2_grpc
from control.conversion import consents, names, pages
from control.conversion.consents import Scope
from control.services.updates import caller, found, operation
from core.clock import Clock
from core.engine.consents import ConsentBook, ConsentView
from core.engine.identity import Identity
from core.errors import NotFound
from core.model import ConsentScope, ConsentStatus
from core.records import NO_KEY
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]


class ConsentService(consent_service_pb2_grpc.ConsentServiceServicer):
    """Manages consents."""

    def __init__(
        self, book: ConsentBook, identity: Identity, registry: Registry, clock: Clock
    ) -> None:
        self._book = book
        self._identity = identity
        self._registry = registry
        self._clock = clock

    async def GrantConsent(self, request: pb2.GrantConsentRequest, context: Context) -> pb2.Consent:
        """Record a consent with its evidence."""
        operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        contact_key = consents.contact_key_of(request.contact, who.account, self._identity)
        scope = consents.scope_from_proto(request, who.account)
        now_ms = self._clock.now_ms()
        time_ms, collection_point, text_version = consents.evidence_from_proto(request, now_ms)
        self._check_channel(who.account, scope)
        if request.validate_only:
            view = self._preview(contact_key, scope, ConsentStatus.GRANTED)
            view.evidence_ms, view.actor = time_ms, who.actor
            view.collection_point, view.text_version = collection_point, text_version
        else:
            view = await self._book.grant(
                who.account, contact_key, scope.purpose, scope.medium, scope.channel_name,
                time_ms, collection_point, text_version, who.actor,
            )  # fmt: skip
        return consents.consent_to_proto(view, who.account)

    async def WithdrawConsent(
        self, request: pb2.WithdrawConsentRequest, context: Context
    ) -> pb2.WithdrawConsentResponse:
        """Record a withdrawal."""
        operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        contact_key = consents.contact_key_of(request.contact, who.account, self._identity)
        scope = consents.scope_from_proto(request, who.account)
        self._check_channel(who.account, scope)
        ended: list[bytes] = []
        in_flight: list[bytes] = []
        if request.validate_only:
            view = self._preview(contact_key, scope, ConsentStatus.WITHDRAWN)
            view.withdraw_ms, view.actor = self._clock.now_ms(), who.actor
        else:
            view, ended, in_flight = await self._book.withdraw(
                who.account, contact_key, scope.purpose, scope.medium, scope.channel_name,
                who.actor,
            )  # fmt: skip
        return pb2.WithdrawConsentResponse(
            consent=consents.consent_to_proto(view, who.account),
            ended_invitations=[names.invitation_name(who.account, member) for member in ended],
            in_flight_invitations=[
                names.invitation_name(who.account, member) for member in in_flight
            ],
        )

    async def GetConsent(self, request: pb2.GetConsentRequest, context: Context) -> pb2.Consent:
        """Read one consent."""
        account = caller().account
        contact_key, consent_id = names.consent(request.name, account, "name")
        for view in await self._book.list(account, contact_key):
            if consents.consent_id(view) == consent_id:
                return consents.consent_to_proto(view, account)
        raise NotFound(f"{request.name[:200]} does not exist", field="name")

    async def ListConsents(
        self, request: pb2.ListConsentsRequest, context: Context
    ) -> pb2.ListConsentsResponse:
        """List the consents of a contact."""
        account = caller().account
        names.parent_account(request.parent, account)
        contact_key = consents.contact_key_of(request.contact, account, self._identity)
        views = sorted(await self._book.list(account, contact_key), key=consents.consent_id)
        shown, token = pages.page(
            views,
            consents.consent_id,
            f"consents {account} {contact_key.hex()}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListConsentsResponse(
            consents=[consents.consent_to_proto(view, account) for view in shown],
            next_page_token=token,
        )

    def _check_channel(self, account: str, scope: Scope) -> None:
        if scope.channel_name:
            channel_id = names.channel_id(scope.channel_name, account, "channel")
            found(self._registry.snapshot.channel(account, channel_id), scope.channel_name)

    def _preview(self, contact_key: bytes, scope: Scope, status: ConsentStatus) -> ConsentView:
        """Return how a consent would stand."""
        kind = ConsentScope.CHANNEL if scope.channel_name else ConsentScope.ACCOUNT
        return ConsentView(
            contact_key, kind, NO_KEY, scope.channel_name, scope.purpose, scope.medium, status
        )
