"""ChannelService: see channel_service.proto for the contract."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import channel_service_pb2_grpc, types_pb2
from control.conversion import accounts, caps, carriers, channels, checks, masks, names, pages
from control.services.updates import caller, found, operation, update
from core.engine.breaker import ComplaintBreaker
from core.registry.registry import Registry
from core.registry.resources import Account, Cap, Carrier, Channel

Context = grpc.aio.ServicerContext[Any, Any]
_CAPS = "caps/{cap}"
_CARRIERS = "carriers/{carrier}"


class ChannelService(channel_service_pb2_grpc.ChannelServiceServicer):
    """Manages the account, its channels, its carriers and its frequency caps."""

    def __init__(self, registry: Registry, breaker: ComplaintBreaker) -> None:
        self._registry = registry
        self._breaker = breaker

    # Channels ---------------------------------------------------------------------------------

    async def CreateChannel(
        self, request: pb2.CreateChannelRequest, context: Context
    ) -> pb2.Channel:
        """Add a channel."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        channel_id = checks.resource_id(request.channel_id, "channel_id")
        new = channels.channel_from_proto(request.channel, who.account, channel_id)
        created = await self._registry.create_channel(
            new, op_id, request.validate_only, actor=who.actor
        )
        return self._to_proto(created)

    async def GetChannel(self, request: pb2.GetChannelRequest, context: Context) -> pb2.Channel:
        """Read a channel."""
        account = caller().account
        channel_id = names.channel_id(request.name, account, "name")
        present = self._registry.snapshot.channel(account, channel_id)
        return self._to_proto(found(present, request.name))

    async def ListChannels(
        self, request: pb2.ListChannelsRequest, context: Context
    ) -> pb2.ListChannelsResponse:
        """List channels by id."""
        account = caller().account
        names.parent_account(request.parent, account)
        shown, token = pages.page(
            self._registry.snapshot.channels(account),
            lambda channel: channel.id,
            f"channels {account}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListChannelsResponse(
            channels=[self._to_proto(one) for one in shown], next_page_token=token
        )

    async def UpdateChannel(
        self, request: pb2.UpdateChannelRequest, context: Context
    ) -> pb2.Channel:
        """Change a channel."""
        op_id = operation(request, request.request_id)
        who = caller()
        name = request.channel.name
        channel_id = names.channel_id(name, who.account, "channel.name")

        def present() -> Channel:
            return found(self._registry.snapshot.channel(who.account, channel_id), name)

        def changed(before: Channel) -> Channel:
            pb = masks.merged(
                channels.channel_to_proto(before), request.channel, request.update_mask,
                channels.OUTPUT_ONLY,
            )  # fmt: skip
            return channels.channel_from_proto(pb, who.account, channel_id)

        async def write(new: Channel, etag: str) -> Channel:
            return await self._registry.update_channel(
                new, etag, op_id, request.validate_only, actor=who.actor
            )

        written = await update(self._registry, request.channel.etag, present, changed, write)
        return self._to_proto(written)

    async def DeleteChannel(self, request: pb2.DeleteChannelRequest, context: Context) -> Empty:
        """Delete a channel."""
        op_id = operation(request, request.request_id)
        who = caller()
        channel_id = names.channel_id(request.name, who.account, "name")
        await self._registry.delete_channel(
            who.account, channel_id, request.etag, op_id, request.validate_only, actor=who.actor
        )
        return Empty()

    async def ResetComplaintBreaker(
        self, request: pb2.ResetComplaintBreakerRequest, context: Context
    ) -> pb2.Channel:
        """Let go what complaints hold back."""
        op_id = operation(request, request.request_id)
        who = caller()
        channel_id = names.channel_id(request.name, who.account, "name")
        medium = checks.choice(request.medium, "medium", types_pb2.Medium)
        await self._breaker.reset(
            who.account, channel_id, medium, op_id, request.validate_only, actor=who.actor
        )
        present = self._registry.snapshot.channel(who.account, channel_id)
        return self._to_proto(found(present, request.name))

    def _to_proto(self, channel: Channel) -> pb2.Channel:
        return channels.channel_to_proto(channel, self._registry.snapshot.tripped(channel))

    # The account ------------------------------------------------------------------------------

    async def GetAccount(self, request: pb2.GetAccountRequest, context: Context) -> pb2.Account:
        """Read the account."""
        account = caller().account
        names.parent_account(request.name, account, "name")
        present = self._registry.snapshot.account(account)
        return accounts.account_to_proto(found(present, request.name))

    async def UpdateAccount(
        self, request: pb2.UpdateAccountRequest, context: Context
    ) -> pb2.Account:
        """Change what the account has booked."""
        op_id = operation(request, request.request_id)
        who = caller()
        name = request.account.name
        names.parent_account(name, who.account, "account.name")
        # An account without a mask is meant as a whole: nothing booked is nothing set.
        mask = request.update_mask if request.update_mask.paths else masks.WHOLE

        def present() -> Account:
            return found(self._registry.snapshot.account(who.account), name)

        def changed(before: Account) -> Account:
            pb = masks.merged(
                accounts.account_to_proto(before), request.account, mask, accounts.OUTPUT_ONLY
            )
            return accounts.account_from_proto(pb, before)

        async def write(new: Account, etag: str) -> Account:
            return await self._registry.update_account(
                new, etag, op_id, request.validate_only, actor=who.actor
            )

        written = await update(self._registry, request.account.etag, present, changed, write)
        return accounts.account_to_proto(written)

    # Carriers ---------------------------------------------------------------------------------

    async def CreateCarrier(
        self, request: pb2.CreateCarrierRequest, context: Context
    ) -> pb2.Carrier:
        """Add a carrier."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        carrier_id = checks.carrier_id(request.carrier_id, "carrier_id")
        new = carriers.carrier_from_proto(request.carrier, who.account, carrier_id)
        created = await self._registry.create_carrier(
            new, op_id, request.validate_only, actor=who.actor
        )
        return carriers.carrier_to_proto(created)

    async def GetCarrier(self, request: pb2.GetCarrierRequest, context: Context) -> pb2.Carrier:
        """Read a carrier."""
        account = caller().account
        (carrier_id,) = names.ids(request.name, account, _CARRIERS, "name")
        present = self._registry.snapshot.carrier(account, carrier_id)
        return carriers.carrier_to_proto(found(present, request.name))

    async def ListCarriers(
        self, request: pb2.ListCarriersRequest, context: Context
    ) -> pb2.ListCarriersResponse:
        """List carriers by id."""
        account = caller().account
        names.parent_account(request.parent, account)
        shown, token = pages.page(
            self._registry.snapshot.carriers(account),
            lambda carrier: carrier.id,
            f"carriers {account}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListCarriersResponse(
            carriers=[carriers.carrier_to_proto(one) for one in shown], next_page_token=token
        )

    async def UpdateCarrier(
        self, request: pb2.UpdateCarrierRequest, context: Context
    ) -> pb2.Carrier:
        """Change a carrier."""
        op_id = operation(request, request.request_id)
        who = caller()
        name = request.carrier.name
        (carrier_id,) = names.ids(name, who.account, _CARRIERS, "carrier.name")

        def present() -> Carrier:
            return found(self._registry.snapshot.carrier(who.account, carrier_id), name)

        def changed(before: Carrier) -> Carrier:
            pb = masks.merged(
                carriers.carrier_to_proto(before), request.carrier, request.update_mask,
                carriers.OUTPUT_ONLY,
            )  # fmt: skip
            return carriers.carrier_from_proto(pb, who.account, carrier_id)

        async def write(new: Carrier, etag: str) -> Carrier:
            return await self._registry.update_carrier(
                new, etag, op_id, request.validate_only, actor=who.actor
            )

        written = await update(self._registry, request.carrier.etag, present, changed, write)
        return carriers.carrier_to_proto(written)

    async def DeleteCarrier(self, request: pb2.DeleteCarrierRequest, context: Context) -> Empty:
        """Delete a carrier."""
        op_id = operation(request, request.request_id)
        who = caller()
        (carrier_id,) = names.ids(request.name, who.account, _CARRIERS, "name")
        await self._registry.delete_carrier(
            who.account, carrier_id, request.etag, op_id, request.validate_only, actor=who.actor
        )
        return Empty()

    # Caps -------------------------------------------------------------------------------------

    async def CreateCap(self, request: pb2.CreateCapRequest, context: Context) -> pb2.Cap:
        """Add a frequency cap."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        cap_id = checks.resource_id(request.cap_id, "cap_id")
        new = caps.cap_from_proto(request.cap, who.account, cap_id)
        created = await self._registry.create_cap(
            new, op_id, request.validate_only, actor=who.actor
        )
        return caps.cap_to_proto(created)

    async def GetCap(self, request: pb2.GetCapRequest, context: Context) -> pb2.Cap:
        """Read a cap."""
        account = caller().account
        (cap_id,) = names.ids(request.name, account, _CAPS, "name")
        return caps.cap_to_proto(found(self._registry.snapshot.cap(account, cap_id), request.name))

    async def ListCaps(
        self, request: pb2.ListCapsRequest, context: Context
    ) -> pb2.ListCapsResponse:
        """List caps by id."""
        account = caller().account
        names.parent_account(request.parent, account)
        shown, token = pages.page(
            self._registry.snapshot.caps(account),
            lambda cap: cap.id,
            f"caps {account}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListCapsResponse(
            caps=[caps.cap_to_proto(one) for one in shown], next_page_token=token
        )

    async def UpdateCap(self, request: pb2.UpdateCapRequest, context: Context) -> pb2.Cap:
        """Change a cap."""
        op_id = operation(request, request.request_id)
        who = caller()
        name = request.cap.name
        (cap_id,) = names.ids(name, who.account, _CAPS, "cap.name")

        def present() -> Cap:
            return found(self._registry.snapshot.cap(who.account, cap_id), name)

        def changed(before: Cap) -> Cap:
            pb = masks.merged(
                caps.cap_to_proto(before), request.cap, request.update_mask, caps.OUTPUT_ONLY
            )
            return caps.cap_from_proto(pb, who.account, cap_id)

        async def write(new: Cap, etag: str) -> Cap:
            return await self._registry.update_cap(
                new, etag, op_id, request.validate_only, actor=who.actor
            )

        return caps.cap_to_proto(
            await update(self._registry, request.cap.etag, present, changed, write)
        )

    async def DeleteCap(self, request: pb2.DeleteCapRequest, context: Context) -> Empty:
        """Delete a cap."""
        op_id = operation(request, request.request_id)
        who = caller()
        (cap_id,) = names.ids(request.name, who.account, _CAPS, "name")
        await self._registry.delete_cap(
            who.account, cap_id, request.etag, op_id, request.validate_only, actor=who.actor
        )
        return Empty()
