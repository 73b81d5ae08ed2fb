"""Block lists in the registry: which changes are allowed, and what they are called.

Decides: that a block holds from the next send on, so it bites (R13).
Never: which addresses it means (`blocks.py`), or how a change is written (`writer.py`).

The arguments that all share, and the errors, are those of `core.registry.registry.Registry`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from core.bounds import BLOCKS_PER_ACCOUNT_MAX
from core.registry.blocks import Block
from core.registry.documents import BLOCK_COUNTER, block_name
from core.registry.drafts import (
    FOUR_BYTES_MAX,
    Draft,
    check_count,
    check_etag,
    found,
    require_account,
    require_free,
)
from core.registry.operations import call
from core.registry.store import Kind
from core.registry.writer import Writer

_BLOCK: Final = msgspec.json.Decoder(Block)
_NOTHING: Final = msgspec.json.Decoder(None)


def create(draft: Draft, new: Block) -> Block:
    """Add a block."""
    require_account(draft.base, new.account)
    require_free(draft.base.block(new.account, new.id), new.name)
    check_count(draft.base.blocks(new.account), BLOCKS_PER_ACCOUNT_MAX, "blocks")
    draft.bites = True
    number = draft.next_number(BLOCK_COUNTER, FOUR_BYTES_MAX)
    return draft.create(Kind.BLOCK, new.name, new, number)


def delete(draft: Draft, account: str, block: str, etag: str) -> None:
    """Remove a block."""
    name = block_name(account, block)
    check_etag(found(draft.base.block(account, block), name), etag)
    draft.drop(Kind.BLOCK, name)
    draft.bites = True


class BlockCalls(Writer):
    """Changes of block lists; `Registry` is made of it."""

    async def create_block(
        self, new: Block, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> Block:
        """Add a block."""
        asked = call("create_block", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _BLOCK, partial(create, new=new))

    async def delete_block(
        self,
        account_id: str,
        block_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove a block."""
        name = block_name(account_id, block_id)
        asked = call("delete_block", name, account_id, actor, op_id, validate_only)
        edit = partial(delete, account=account_id, block=block_id, etag=etag)
        await self._write(asked, _NOTHING, edit)
