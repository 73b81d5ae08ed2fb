"""PlatformService: see platform_service.proto for the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from afterword.v1 import invitation_service_pb2, platform_service_pb2_grpc
from afterword.v1 import platform_service_pb2 as pb2
from control.conversion import checks, masks, names, pages, platforms, times
from control.services.updates import caller, found, operation, update
from core.engine.diversion_audit import DiversionAudit, DrawnRequest
from core.errors import FailedPrecondition, OutOfRange
from core.registry.registry import Registry
from core.registry.resources import Platform

Context = grpc.aio.ServicerContext[Any, Any]
_PLATFORMS = "platforms/{platform}"


class PlatformService(platform_service_pb2_grpc.PlatformServiceServicer):
    """Manages review platforms, and tells how they were drawn.

    Args:
        audit: reads the draws; None where there is no store to read, as in a simulation.
    """

    def __init__(self, registry: Registry, audit: DiversionAudit | None = None) -> None:
        self._registry = registry
        self._audit = audit

    async def CreatePlatform(
        self, request: pb2.CreatePlatformRequest, context: Context
    ) -> pb2.Platform:
        """Add a platform."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        platform_id = checks.resource_id(request.platform_id, "platform_id")
        own = partial(self._registry.snapshot.template, who.account)
        new = platforms.platform_from_proto(request.platform, who.account, platform_id, own)
        created = await self._registry.create_platform(
            new, op_id, request.validate_only, actor=who.actor
        )
        return platforms.platform_to_proto(created)

    async def GetPlatform(self, request: pb2.GetPlatformRequest, context: Context) -> pb2.Platform:
        """Read a platform."""
        account = caller().account
        (platform_id,) = names.ids(request.name, account, _PLATFORMS, "name")
        present = self._registry.snapshot.platform(account, platform_id)
        return platforms.platform_to_proto(found(present, request.name))

    async def ListPlatforms(
        self, request: pb2.ListPlatformsRequest, context: Context
    ) -> pb2.ListPlatformsResponse:
        """List platforms by id."""
        account = caller().account
        names.parent_account(request.parent, account)
        shown, token = pages.page(
            self._registry.snapshot.platforms(account),
            lambda platform: platform.id,
            f"platforms {account}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListPlatformsResponse(
            platforms=[platforms.platform_to_proto(one) for one in shown], next_page_token=token
        )

    async def UpdatePlatform(
        self, request: pb2.UpdatePlatformRequest, context: Context
    ) -> pb2.Platform:
        """Change a platform."""
        op_id = operation(request, request.request_id)
        who = caller()
        name = request.platform.name
        (platform_id,) = names.ids(name, who.account, _PLATFORMS, "platform.name")

        def present() -> Platform:
            return found(self._registry.snapshot.platform(who.account, platform_id), name)

        def changed(before: Platform) -> Platform:
            pb = masks.merged(
                platforms.platform_to_proto(before), request.platform, request.update_mask,
                platforms.OUTPUT_ONLY,
            )  # fmt: skip
            own = partial(self._registry.snapshot.template, who.account)
            return platforms.platform_from_proto(pb, who.account, platform_id, own)

        async def write(new: Platform, etag: str) -> Platform:
            return await self._registry.update_platform(
                new, etag, op_id, request.validate_only, actor=who.actor
            )

        written = await update(self._registry, request.platform.etag, present, changed, write)
        return platforms.platform_to_proto(written)

    async def DeletePlatform(self, request: pb2.DeletePlatformRequest, context: Context) -> Empty:
        """Delete a platform."""
        op_id = operation(request, request.request_id)
        who = caller()
        (platform_id,) = names.ids(request.name, who.account, _PLATFORMS, "name")
        await self._registry.delete_platform(
            who.account, platform_id, request.etag, op_id, request.validate_only, actor=who.actor
        )
        return Empty()

    async def ExportDiversion(
        self, request: pb2.ExportDiversionRequest, context: Context
    ) -> AsyncIterator[pb2.ExportDiversionResponse]:
        """Tell how the platform of every first review request was drawn."""
        checks.refuse_unknown_deeply(request)
        account = caller().account
        names.parent_account(request.parent, account)
        names.channel_id(request.channel, account, "channel")
        start_ms, end_ms = 0, None
        if request.HasField("start_time"):
            start_ms = times.instant_ms(request.start_time, "start_time")
        if request.HasField("end_time"):
            end_ms = times.instant_ms(request.end_time, "end_time")
            if end_ms < start_ms:
                raise OutOfRange("end_time must not lie before start_time", field="end_time")
        if self._audit is None:
            raise FailedPrecondition("nothing is stored here that could be exported")
        async for one in self._audit.requests(account, request.channel, start_ms, end_ms):
            yield _line(account, one)


def _line(account: str, one: DrawnRequest) -> pb2.ExportDiversionResponse:
    invitation = invitation_service_pb2.Invitation
    return pb2.ExportDiversionResponse(
        invitation=names.invitation_name(account, one.member),
        plan_time=times.timestamp(one.plan_ms),
        unit=one.unit,
        salt=one.salt,
        bucket=one.bucket,
        shares=one.shares,
        platform=one.platform,
        platform_used=one.platform_used,
        why=one.why,
        review_type=invitation.ReviewType.ValueType(one.kinds),
        state=invitation.State.ValueType(one.state),
    )
