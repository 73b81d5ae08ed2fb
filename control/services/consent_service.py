"""ConsentService: see consent_service.proto for the contract."""

from __future__ import annotations

from typing import Any

import grpc

from afterword.v1 import consent_service_pb2 as pb2
from control.conversion import consents, names, pages, wordings
from control.public.words import known_language
from control.services.block_methods import BlockMethods
from control.services.consent_import import ConsentImport
from control.services.suppression_methods import SuppressionMethods, invitations
from control.services.updates import caller, operation
from core.clock import Clock
from core.engine.consent_documents import SOURCE_API, granted_as
from core.engine.consent_views import ConsentView
from core.engine.consents import ConsentBook, Statement
from core.engine.double_opt_in import DoubleOptIn, Request
from core.engine.reach import Whom
from core.engine.stop_words import Inbox
from core.errors import InvalidField, NotFound
from core.model import ConsentStatus
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]


class ConsentService(SuppressionMethods, BlockMethods):
    """Manages consents, suppressions and block lists."""

    def __init__(
        self, book: ConsentBook, opt_in: DoubleOptIn, inbox: Inbox, registry: Registry,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._book = book
        self._opt_in = opt_in
        self._inbox = inbox
        self._registry = registry
        self._clock = clock

    # Given and taken back -------------------------------------------------------------------------

    async def GrantConsent(self, request: pb2.GrantConsentRequest, context: Context) -> pb2.Consent:
        """Record a consent with its evidence."""
        operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        whom = consents.whom_of(request.contact, who.account)
        said, expire_ms = consents.grant_from_proto(
            request, who.account, who.actor, SOURCE_API, self._clock.now_ms()
        )
        if request.validate_only:
            status = granted_as(said.document.legal_basis, is_proven=True)
            view = await self._preview(who.account, whom, said, status)
            view.expire_ms = expire_ms
        else:
            view = await self._book.grant(who.account, whom, said, expire_ms)
        pb = consents.consent_to_proto(view, who.account)
        if not request.validate_only:
            await self._registry.audit(
                who.account, who.actor, "grant_consent", pb.name, request.request_id
            )
        return pb

    async def WithdrawConsent(
        self, request: pb2.WithdrawConsentRequest, context: Context
    ) -> pb2.WithdrawConsentResponse:
        """Record a withdrawal."""
        operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        whom = consents.whom_of(request.contact, who.account)
        said = consents.withdrawal_from_proto(
            request, who.account, who.actor, SOURCE_API, self._clock.now_ms()
        )
        if request.validate_only:
            view = await self._preview(who.account, whom, said, ConsentStatus.WITHDRAWN)
            return pb2.WithdrawConsentResponse(consent=consents.consent_to_proto(view, who.account))
        view, written = await self._book.withdraw(who.account, whom, said)
        pb = consents.consent_to_proto(view, who.account)
        await self._registry.audit(
            who.account, who.actor, "withdraw_consent", pb.name, request.request_id
        )
        return pb2.WithdrawConsentResponse(
            consent=pb,
            ended_invitations=invitations(who.account, written.ended),
            in_flight_invitations=invitations(who.account, written.in_flight),
        )

    async def ImportConsents(  # type: ignore[override]
        self, request_iterator: object, context: Context
    ) -> None:
        """Import what was said elsewhere, batch by batch."""
        await ConsentImport(self._book, self._registry, self._clock, caller(), context).run()

    # Read back ------------------------------------------------------------------------------------

    async def GetConsent(self, request: pb2.GetConsentRequest, context: Context) -> pb2.Consent:
        """Read one consent."""
        account = caller().account
        contact_key, consent_id = names.consent(request.name, account, "name")
        await self._book.reach.require_ours(account, contact_key, "name")
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
        whom = consents.whom_of(request.contact, account)
        contact_key = await self._book.reach.contact_key(account, whom)
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

    async def ListConsentHistory(
        self, request: pb2.ListConsentHistoryRequest, context: Context
    ) -> pb2.ListConsentHistoryResponse:
        """List what was ever told."""
        account = caller().account
        names.parent_account(request.parent, account)
        whom = consents.whom_of(request.contact, account)
        contact_key = await self._book.reach.contact_key(account, whom)
        scope = f"consent history {account} {contact_key.hex()}"
        size = pages.size(request.page_size)
        start = pages.after(request.page_token, scope)
        lines = await self._book.history(contact_key, int(start or 0), size + 1)
        shown = lines[:size]
        return pb2.ListConsentHistoryResponse(
            lines=[
                consents.line_to_proto(
                    line, self._book.channel_name(line.scope, line.scope_key), account
                )
                for line in shown
            ],
            next_page_token=pages.token(scope, str(shown[-1].number) if len(lines) > size else ""),
        )

    # Double opt-in --------------------------------------------------------------------------------

    async def RequestConsent(
        self, request: pb2.RequestConsentRequest, context: Context
    ) -> pb2.RequestConsentResponse:
        """Ask for a consent that is to be confirmed."""
        request_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        whom = consents.whom_of(request.contact, who.account)
        said, expire_after_ms = consents.request_from_proto(
            request, who.account, who.actor, SOURCE_API, request_id
        )
        if request.sender_channel:
            names.channel_id(request.sender_channel, who.account, "sender_channel")
        if request.send and (whom.contact is None or not whom.contact.email):
            raise InvalidField(
                "contact must have an e-mail address: the mail is sent there",
                field="contact",
            )
        contact_locale = whom.contact.locale if whom.contact is not None else ""
        asked = Request(
            whom, said, expire_after_ms, known_language(request.locale, contact_locale),
            request.send, request.sender_channel,
        )  # fmt: skip
        done = await self._opt_in.request(who.account, asked, validate_only=request.validate_only)
        answer = pb2.RequestConsentResponse(
            consent=consents.consent_to_proto(done.view, who.account)
        )
        if done.token and not request.validate_only:
            await self._registry.audit(
                who.account, who.actor, "request_consent", answer.consent.name, request_id
            )
            answer.token, answer.link = done.token, done.link
            answer.expire_time.FromMilliseconds(done.expire_ms)
            if done.member:
                answer.invitation = names.invitation_name(who.account, done.member)
        return answer

    async def ConfirmConsent(
        self, request: pb2.ConfirmConsentRequest, context: Context
    ) -> pb2.Consent:
        """Confirm a consent."""
        operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        wordings.check_device(request)
        ticket = self._opt_in.read(request.token)
        if ticket is None or ticket.account != who.account:
            raise InvalidField(
                "token must be one that RequestConsent has given, whole and unaltered",
                field="token",
            )
        view = await self._opt_in.confirm(
            ticket, request.ip_address, request.user_agent, actor=who.actor, source=SOURCE_API,
            validate_only=request.validate_only,
        )  # fmt: skip
        pb = consents.consent_to_proto(view, who.account)
        if not request.validate_only:
            await self._registry.audit(
                who.account, who.actor, "confirm_consent", pb.name, request.request_id
            )
        return pb

    async def _preview(
        self, account: str, whom: Whom, said: Statement, status: ConsentStatus
    ) -> ConsentView:
        """Return how a consent would stand."""
        line = self._book.line(account, status, said)
        contact_key = await self._book.reach.contact_key(account, whom)
        view = ConsentView(
            contact_key, line.scope, line.scope_key, said.channel_name, said.purpose, said.medium,
            status,
        )  # fmt: skip
        if status == ConsentStatus.WITHDRAWN:
            view.withdraw_ms, view.withdrawal = line.time_ms, said.document
        else:
            view.evidence_ms, view.proof = line.time_ms, said.document
        return view
