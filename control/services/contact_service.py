"""ContactService: see contact_service.proto for the contract."""

from __future__ import annotations

from typing import Any

import grpc

from afterword.v1 import consent_service_pb2, contact_service_pb2_grpc
from afterword.v1 import contact_service_pb2 as pb2
from control.conversion import checks, names, pages, times
from control.conversion.contacts import Told
from control.conversion.events import contact_from_proto
from control.services.updates import caller, operation
from core.clock import Clock
from core.engine.dossier import Dossiers
from core.engine.erasure import Eraser
from core.engine.reader import Reader
from core.errors import InvalidField, NotFound
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]


class ContactService(contact_service_pb2_grpc.ContactServiceServicer):
    """Tells what is known of people, and forgets it."""

    def __init__(
        self, dossiers: Dossiers, eraser: Eraser, reader: Reader, registry: Registry, clock: Clock
    ) -> None:
        self._dossiers = dossiers
        self._eraser = eraser
        self._reader = reader
        self._registry = registry
        self._clock = clock

    async def GetContact(
        self, request: pb2.GetContactRequest, context: Context
    ) -> pb2.ContactSummary:
        """Tell how much is known of a contact."""
        account, key = await self._whom(request.parent, request.contact)
        return (await self._told(account, key)).summary()

    async def ExportContact(
        self, request: pb2.ExportContactRequest, context: Context
    ) -> pb2.ContactExport:
        """Give out everything that is known of a contact."""
        account, key = await self._whom(request.parent, request.contact)
        scope = f"export {account} {key.hex()}"
        after = pages.after(request.page_token, scope)
        if after and not after.isdecimal():
            raise InvalidField(
                "use the next_page_token of the answer before, unchanged", field="page_token"
            )
        page, following = (await self._told(account, key)).page(int(after or 0))
        page.next_page_token = pages.token(scope, str(following or ""))
        return page

    async def EraseContact(
        self, request: pb2.EraseContactRequest, context: Context
    ) -> pb2.EraseContactResponse:
        """Forget a contact."""
        operation(request, request.request_id)
        account, key = await self._whom(request.parent, request.contact)
        if request.validate_only:
            done = await self._eraser.preview(account, key)
        else:
            done = await self._eraser.erase(account, key)
            await self._registry.audit(
                account, caller().actor, "erase_contact", names.contact_name(account, key),
                request.request_id,
            )  # fmt: skip
        answer = pb2.EraseContactResponse(
            name=names.contact_name(account, key),
            cancelled_count=len(done.cancelled),
            event_count=done.event_count,
            order_count=done.order_count,
            linked_count=len(done.links.own),
            in_flight_invitations=[
                names.invitation_name(account, member) for member in done.in_flight
            ],
            shared_contacts=[names.contact_name(account, other) for other in done.links.shared],
        )
        if done.erase_ms:
            answer.erase_time.CopyFrom(times.timestamp(done.erase_ms))
        return answer

    async def _whom(
        self, parent: str, selector: consent_service_pb2.ContactSelector
    ) -> tuple[str, bytes]:
        """Return (account, contact key) of a request; the contact need not be known."""
        account = caller().account
        names.parent_account(parent, account)
        kind = selector.WhichOneof("by")
        if kind == "name":
            return account, names.contact_key(selector.name, account, "contact.name")
        if kind != "contact":
            checks.missing(
                "contact",
                "the `name` of a contact, or a `contact` with email, phone, reference or session_id",
            )
        contact = contact_from_proto(selector.contact, "contact.contact")
        return account, await self._dossiers.find(account, contact)

    async def _told(self, account: str, key: bytes) -> Told:
        dossiers, links = await self._dossiers.whole(account, key)
        if not dossiers:
            raise NotFound("nothing is known of this contact in this account", field="contact")
        views = {
            view.member: view
            for dossier in dossiers
            for view in await self._reader.by_contact(account, dossier.contact_key)
        }
        return Told(account, self._registry.snapshot, dossiers, links, views, self._clock.now_ms())
