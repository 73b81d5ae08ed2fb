"""The methods of ConsentService that forbid: suppressions, and messages that people send back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

from afterword.v1 import consent_service_pb2 as pb2
from afterword.v1 import consent_service_pb2_grpc
from control.conversion import checks, consents, names, pages
from control.services.updates import caller, operation
from core import bounds
from core.clock import Clock
from core.engine.consent_documents import SOURCE_API
from core.engine.consent_views import SuppressionView
from core.engine.consents import ConsentBook
from core.engine.stop_words import Inbox
from core.errors import InvalidField
from core.model import ConsentStatus, Medium
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]


class SuppressionMethods(consent_service_pb2_grpc.ConsentServiceServicer):
    """Suppresses, lifts, and hears stop words."""

    _book: ConsentBook
    _inbox: Inbox
    _registry: Registry
    _clock: Clock

    async def SuppressContact(
        self, request: pb2.SuppressContactRequest, context: Context
    ) -> pb2.SuppressContactResponse:
        """Suppress a contact."""
        operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        whom = consents.whom_of(request.contact, who.account)
        said, kind = consents.suppression_from_proto(
            request, who.account, who.actor, SOURCE_API, self._clock.now_ms()
        )
        line = self._book.line(who.account, kind, said)
        if request.validate_only:
            key = await self._book.reach.contact_key(who.account, whom)
            view = SuppressionView(
                key, line.scope, line.scope_key, said.channel_name, said.purpose, said.medium,
                kind, line.time_ms, said.document,
            )  # fmt: skip
            return pb2.SuppressContactResponse(
                suppression=consents.suppression_to_proto(view, who.account)
            )
        view, written = await self._book.suppress(who.account, whom, said, kind)
        pb = consents.suppression_to_proto(view, who.account)
        await self._registry.audit(
            who.account, who.actor, "suppress_contact", pb.contact, request.request_id
        )
        return pb2.SuppressContactResponse(
            suppression=pb,
            ended_invitations=invitations(who.account, written.ended),
            in_flight_invitations=invitations(who.account, written.in_flight),
        )

    async def LiftSuppression(
        self, request: pb2.LiftSuppressionRequest, context: Context
    ) -> pb2.LiftSuppressionResponse:
        """Lift suppressions."""
        operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        whom = consents.whom_of(request.contact, who.account)
        said = consents.lifting_from_proto(request, who.account, who.actor, SOURCE_API)
        if request.validate_only:
            line = self._book.line(who.account, ConsentStatus.LIFTED, said)
            lifted = await self._book.liftable(who.account, whom, line)
        else:
            lifted = await self._book.lift(who.account, whom, said)
            key = await self._book.reach.contact_key(who.account, whom)
            await self._registry.audit(
                who.account, who.actor, "lift_suppression", names.contact_name(who.account, key),
                request.request_id,
            )  # fmt: skip
        return pb2.LiftSuppressionResponse(
            lifted=[consents.suppression_to_proto(view, who.account) for view in lifted]
        )

    async def ListSuppressions(
        self, request: pb2.ListSuppressionsRequest, context: Context
    ) -> pb2.ListSuppressionsResponse:
        """List the suppressions of a contact."""
        account = caller().account
        names.parent_account(request.parent, account)
        whom = consents.whom_of(request.contact, account)
        key = await self._book.reach.contact_key(account, whom)
        shown, token = pages.page(
            sorted(await self._book.suppressions(key), key=_place),
            _place,
            f"suppressions {account} {key.hex()}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListSuppressionsResponse(
            suppressions=[consents.suppression_to_proto(view, account) for view in shown],
            next_page_token=token,
        )

    async def ReceiveMessage(
        self, request: pb2.ReceiveMessageRequest, context: Context
    ) -> pb2.ReceiveMessageResponse:
        """Take a message from a phone."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        if not request.phone:
            checks.missing("phone", "who wrote, in E.164 form, for example +4930123456")
        phone = checks.phone(request.phone, "phone")
        if len(request.text) > bounds.TEXT_CHARS_MAX:
            checks.text(request.text, "text", bounds.TEXT_CHARS_MAX)
        medium = int(request.medium) or Medium.SMS
        if medium not in (Medium.SMS, Medium.WHATSAPP):
            raise InvalidField("medium must be SMS, WHATSAPP or unset for SMS", field="medium")
        if request.channel:
            names.channel_id(request.channel, who.account, "channel")
        done = await self._inbox.receive(
            who.account, phone, request.text, medium, request.channel,
            consents.past_ms(request, "receive_time", self._clock.now_ms()),
            message_id=op_id, validate_only=request.validate_only,
        )  # fmt: skip
        if done.written is None:
            return pb2.ReceiveMessageResponse(action=pb2.ReceiveMessageResponse.ACTION_NONE)
        contacts = [names.contact_name(who.account, key) for key in done.written.contact_keys]
        if not request.validate_only:
            # For each, because each is asked about by itself.
            for name in contacts:
                await self._registry.audit(
                    who.account, who.actor, "receive_message", name, request.request_id
                )
        return pb2.ReceiveMessageResponse(
            action=pb2.ReceiveMessageResponse.ACTION_UNSUBSCRIBED,
            contacts=contacts,
            ended_invitations=invitations(who.account, done.written.ended),
            in_flight_invitations=invitations(who.account, done.written.in_flight),
            may_confirm=done.may_confirm,
        )


def invitations(account: str, members: Iterable[bytes]) -> list[str]:
    """Return the names of invitations."""
    return [names.invitation_name(account, member) for member in members]


def _place(view: SuppressionView) -> str:
    key = view.scope_key.hex()
    return f"{view.scope} {key} {view.purpose} {view.medium} {view.kind}"
