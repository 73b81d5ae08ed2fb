"""The methods of ConsentService that are about block lists."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from afterword.v1 import consent_service_pb2 as pb2
from afterword.v1 import consent_service_pb2_grpc
from control.conversion import blocks, checks, names, pages
from control.services.updates import caller, found, operation
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]
_BLOCKS = "blocks/{block}"


class BlockMethods(consent_service_pb2_grpc.ConsentServiceServicer):
    """Manages block lists."""

    _registry: Registry

    async def CreateBlock(self, request: pb2.CreateBlockRequest, context: Context) -> pb2.Block:
        """Add a block."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        block_id = checks.resource_id(request.block_id, "block_id")
        new = blocks.block_from_proto(request.block, who.account, block_id)
        created = await self._registry.create_block(
            new, op_id, request.validate_only, actor=who.actor
        )
        return blocks.block_to_proto(created)

    async def GetBlock(self, request: pb2.GetBlockRequest, context: Context) -> pb2.Block:
        """Read a block."""
        account = caller().account
        (block_id,) = names.ids(request.name, account, _BLOCKS, "name")
        present = self._registry.snapshot.block(account, block_id)
        return blocks.block_to_proto(found(present, request.name))

    async def ListBlocks(
        self, request: pb2.ListBlocksRequest, context: Context
    ) -> pb2.ListBlocksResponse:
        """List blocks by id."""
        account = caller().account
        names.parent_account(request.parent, account)
        shown, token = pages.page(
            self._registry.snapshot.blocks(account),
            lambda block: block.id,
            f"blocks {account}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListBlocksResponse(
            blocks=[blocks.block_to_proto(one) for one in shown], next_page_token=token
        )

    async def DeleteBlock(self, request: pb2.DeleteBlockRequest, context: Context) -> Empty:
        """Delete a block."""
        op_id = operation(request, request.request_id)
        who = caller()
        (block_id,) = names.ids(request.name, who.account, _BLOCKS, "name")
        await self._registry.delete_block(
            who.account, block_id, request.etag, op_id, request.validate_only, actor=who.actor
        )
        return Empty()
