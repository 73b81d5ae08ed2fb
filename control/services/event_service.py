"""EventService: see event_service.proto for the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from afterword.v1 import event_service_pb2 as pb2
from afterword.v1 import event_service_pb2_grpc, types_pb2
from control.conversion import channels, checks, masks, names, pages
from control.services.publish_stream import Answers, PublishStream
from control.services.publishing import Publisher, check_size, result
from control.services.updates import caller, found, operation, update
from core.ports import Durability
from core.registry.registry import Registry
from core.registry.resources import EventType

Context = grpc.aio.ServicerContext[Any, Any]
_PATTERN = "eventTypes/{event_type}"


class EventService(event_service_pb2_grpc.EventServiceServicer):
    """Takes events and manages their types."""

    def __init__(self, publisher: Publisher, registry: Registry, durability: Durability) -> None:
        self._publisher = publisher
        self._registry = registry
        self._durability = types_pb2.Durability.ValueType(durability)
        self._draining = asyncio.Event()
        self._background: set[Answers] = set()

    def drain(self) -> None:
        """Tell every stream that the daemon is about to stop. Idempotent."""
        self._draining.set()

    async def settle(self) -> None:
        """Wait for batches whose stream has broken."""
        while self._background:
            await asyncio.wait(self._background)

    # Publishing -------------------------------------------------------------------------------

    async def Publish(self, request: pb2.PublishRequest, context: Context) -> pb2.PublishResponse:
        """Publish one event."""
        checks.refuse_unknown(request, "request")
        if not request.HasField("event"):
            checks.missing("event", "what happened")
        account = caller().account
        answers = await self._publisher.publish(
            account, [request.event], validate_only=request.validate_only
        )
        if answers[0].error is not None:
            raise answers[0].error
        return pb2.PublishResponse(
            result=result(account, 0, answers[0]), durability=self._durability
        )

    async def BatchPublish(
        self, request: pb2.BatchPublishRequest, context: Context
    ) -> pb2.BatchPublishResponse:
        """Publish many events, each answered for itself."""
        checks.refuse_unknown(request, "request")
        account = caller().account
        names.parent_account(request.parent, account)
        check_size(len(request.events), "events")
        answers = await self._publisher.publish(
            account, request.events, validate_only=request.validate_only
        )
        return pb2.BatchPublishResponse(
            results=[result(account, index, answer) for index, answer in enumerate(answers)],
            durability=self._durability,
        )

    async def PublishStream(  # type: ignore[override]
        self, request_iterator: AsyncIterator[pb2.PublishStreamRequest], context: Context
    ) -> None:
        """Publish batches over one stream."""
        account = caller().account
        await PublishStream(
            self._publisher, account, context, self._durability, self._draining, self._background
        ).run()

    async def ImportHistory(
        self, request: pb2.ImportHistoryRequest, context: Context
    ) -> pb2.ImportHistoryResponse:
        """Take what happened before; nothing follows from it."""
        checks.refuse_unknown(request, "request")
        account = caller().account
        names.parent_account(request.parent, account)
        check_size(len(request.events), "events")
        answers = await self._publisher.publish(
            account, request.events, validate_only=request.validate_only, is_import=True
        )
        return pb2.ImportHistoryResponse(
            results=[result(account, index, answer) for index, answer in enumerate(answers)],
            durability=self._durability,
        )

    # Event types ------------------------------------------------------------------------------

    async def ListEventTypes(
        self, request: pb2.ListEventTypesRequest, context: Context
    ) -> pb2.ListEventTypesResponse:
        """List the event types of an account."""
        account = caller().account
        names.parent_account(request.parent, account)
        shown, token = pages.page(
            self._registry.snapshot.event_types(account),
            lambda event_type: event_type.id,
            f"eventTypes {account}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListEventTypesResponse(
            event_types=[channels.event_type_to_proto(one) for one in shown],
            next_page_token=token,
        )

    async def GetEventType(
        self, request: pb2.GetEventTypeRequest, context: Context
    ) -> pb2.EventType:
        """Read one event type."""
        account = caller().account
        (event_type_id,) = names.ids(request.name, account, _PATTERN, "name")
        present = self._registry.snapshot.event_type(account, event_type_id)
        return channels.event_type_to_proto(found(present, request.name))

    async def CreateEventType(
        self, request: pb2.CreateEventTypeRequest, context: Context
    ) -> pb2.EventType:
        """Add an event type."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        event_type_id = checks.event_type_id(request.event_type_id, "event_type_id")
        new = channels.event_type_from_proto(request.event_type, who.account, event_type_id)
        created = await self._registry.create_event_type(
            new, op_id, request.validate_only, actor=who.actor
        )
        return channels.event_type_to_proto(created)

    async def UpdateEventType(
        self, request: pb2.UpdateEventTypeRequest, context: Context
    ) -> pb2.EventType:
        """Change an event type."""
        op_id = operation(request, request.request_id)
        who = caller()
        name = request.event_type.name
        (event_type_id,) = names.ids(name, who.account, _PATTERN, "event_type.name")

        def present() -> EventType:
            return found(self._registry.snapshot.event_type(who.account, event_type_id), name)

        def changed(before: EventType) -> EventType:
            pb = masks.merged(
                channels.event_type_to_proto(before), request.event_type, request.update_mask,
                channels.EVENT_TYPE_OUTPUT_ONLY,
            )  # fmt: skip
            return channels.event_type_from_proto(pb, who.account, event_type_id)

        async def write(new: EventType, etag: str) -> EventType:
            return await self._registry.update_event_type(
                new, etag, op_id, request.validate_only, actor=who.actor
            )

        written = await update(self._registry, request.event_type.etag, present, changed, write)
        return channels.event_type_to_proto(written)

    async def DeleteEventType(self, request: pb2.DeleteEventTypeRequest, context: Context) -> Empty:
        """Remove an event type of the account's own."""
        op_id = operation(request, request.request_id)
        who = caller()
        (event_type_id,) = names.ids(request.name, who.account, _PATTERN, "name")
        await self._registry.delete_event_type(
            who.account, event_type_id, request.etag, op_id, request.validate_only,
            actor=who.actor,
        )  # fmt: skip
        return Empty()
