"""Whether an account has blocked an address.

Decides: in which form addresses are looked for in a block list.
"""

from __future__ import annotations

from core.engine.identity import normal_email, normal_phone
from core.model import Medium
from core.registry.blocks import Block
from core.registry.snapshot import Snapshot


def block_of(
    snapshot: Snapshot, account: str, address: str, purpose: int, medium: int
) -> Block | None:
    """Return the block that forbids a message to an address, None if none does."""
    blocks = snapshot.block_list(account)
    if blocks.is_empty:
        return None
    normal = normal_email(address) if medium == Medium.EMAIL else address
    if medium in (Medium.SMS, Medium.WHATSAPP):
        normal = normal_phone(address)
    return blocks.find(normal, purpose, medium)
