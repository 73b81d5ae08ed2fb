"""SenderService: see sender_service.proto for the contract."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from afterword.v1 import sender_service_pb2 as pb2
from afterword.v1 import sender_service_pb2_grpc
from control.conversion import checks, masks, names, pages, senders
from control.services.updates import caller, found, operation, update
from core.registry.registry import Registry
from core.registry.senders import Sender

Context = grpc.aio.ServicerContext[Any, Any]
_SENDERS = "senders/{sender}"


class SenderService(sender_service_pb2_grpc.SenderServiceServicer):
    """Manages senders.

    Args:
        allow_private: endpoints may lie on private networks.
    """

    def __init__(self, registry: Registry, *, allow_private: bool = False) -> None:
        self._registry = registry
        self._allow_private = allow_private

    async def CreateSender(self, request: pb2.CreateSenderRequest, context: Context) -> pb2.Sender:
        """Add a sender."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        sender_id = checks.resource_id(request.sender_id, "sender_id")
        new = self._from_proto(request.sender, who.account, sender_id)
        created = await self._registry.create_sender(
            new, op_id, request.validate_only, actor=who.actor
        )
        return senders.sender_to_proto(created)

    async def GetSender(self, request: pb2.GetSenderRequest, context: Context) -> pb2.Sender:
        """Read a sender."""
        account = caller().account
        (sender_id,) = names.ids(request.name, account, _SENDERS, "name")
        present = self._registry.snapshot.sender(account, sender_id)
        return senders.sender_to_proto(found(present, request.name))

    async def ListSenders(
        self, request: pb2.ListSendersRequest, context: Context
    ) -> pb2.ListSendersResponse:
        """List senders by id."""
        account = caller().account
        names.parent_account(request.parent, account)
        shown, token = pages.page(
            self._registry.snapshot.senders(account),
            lambda sender: sender.id,
            f"senders {account}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListSendersResponse(
            senders=[senders.sender_to_proto(one) for one in shown], next_page_token=token
        )

    async def UpdateSender(self, request: pb2.UpdateSenderRequest, context: Context) -> pb2.Sender:
        """Change a sender."""
        op_id = operation(request, request.request_id)
        who = caller()
        name = request.sender.name
        (sender_id,) = names.ids(name, who.account, _SENDERS, "sender.name")

        def present() -> Sender:
            return found(self._registry.snapshot.sender(who.account, sender_id), name)

        def changed(before: Sender) -> Sender:
            pb = masks.merged(
                senders.sender_to_proto(before), request.sender, request.update_mask,
                senders.OUTPUT_ONLY,
            )  # fmt: skip
            return self._from_proto(pb, who.account, sender_id)

        async def write(new: Sender, etag: str) -> Sender:
            return await self._registry.update_sender(
                new, etag, op_id, request.validate_only, actor=who.actor
            )

        written = await update(self._registry, request.sender.etag, present, changed, write)
        return senders.sender_to_proto(written)

    async def DeleteSender(self, request: pb2.DeleteSenderRequest, context: Context) -> Empty:
        """Delete a sender."""
        op_id = operation(request, request.request_id)
        who = caller()
        (sender_id,) = names.ids(request.name, who.account, _SENDERS, "name")
        await self._registry.delete_sender(
            who.account, sender_id, request.etag, op_id, request.validate_only, actor=who.actor
        )
        return Empty()

    def _from_proto(self, pb: pb2.Sender, account: str, sender_id: str) -> Sender:
        return senders.sender_from_proto(pb, account, sender_id, allow_private=self._allow_private)
