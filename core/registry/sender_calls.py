"""Senders in the registry: which changes are allowed, and what they are called.

Decides: that a channel names only senders that are there and fit the medium, and that one which a
channel names stays. A change holds for all that has not gone out, so it bites (R13).
Never: speaks to a provider (`senders/`), or how a change is written (`writer.py`).

The arguments that all share, and the errors, are those of `core.registry.registry.Registry`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from core.bounds import SENDERS_PER_ACCOUNT_MAX
from core.errors import FailedPrecondition, InvalidField
from core.registry.catalogue import Catalogue
from core.registry.documents import SENDER_COUNTER, sender_name
from core.registry.drafts import (
    FOUR_BYTES_MAX,
    Draft,
    check_count,
    check_etag,
    found,
    names,
    put_edited,
    require_account,
    require_free,
)
from core.registry.operations import call
from core.registry.resources import Channel
from core.registry.senders import Sender
from core.registry.store import Kind
from core.registry.writer import Writer

_SENDER: Final = msgspec.json.Decoder(Sender)
_NOTHING: Final = msgspec.json.Decoder(None)


def create(draft: Draft, new: Sender) -> Sender:
    """Add a sender; nothing goes out by it before a channel names it."""
    require_account(draft.base, new.account)
    require_free(draft.base.sender(new.account, new.id), new.name)
    check_count(draft.base.senders(new.account), SENDERS_PER_ACCOUNT_MAX, "senders")
    number = draft.next_number(SENDER_COUNTER, FOUR_BYTES_MAX)
    return draft.create(Kind.SENDER, new.name, new, number)


def update(draft: Draft, new: Sender, etag: str) -> Sender:
    """Change a sender, but not its kind: channels rely on its medium."""
    present = found(draft.base.sender(new.account, new.id), new.name)
    if new.kind is not present.kind:
        raise InvalidField(
            f"sender.kind of {new.name} is {present.kind.name} and stays so; create another sender",
            field="sender.kind",
        )
    return put_edited(draft, Kind.SENDER, new.name, present, new, etag)


def delete(draft: Draft, account: str, sender: str, etag: str) -> None:
    """Remove a sender that no channel names."""
    name = sender_name(account, sender)
    check_etag(found(draft.base.sender(account, sender), name), etag)
    users = [
        channel.name
        for channel in draft.base.channels(account)
        if sender in channel.senders.values()
    ]
    if users:
        raise FailedPrecondition(
            f"{name} sends for {names(users)}; take it out of their senders first"
        )
    draft.drop(Kind.SENDER, name)
    draft.bites = True


def check_senders(base: Catalogue, channel: Channel) -> None:
    """Refuse a channel that names a sender which is not there, or is for another medium."""
    for index, (medium, sender_id) in enumerate(sorted(channel.senders.items())):
        field = f"channel.senders[{index}].sender"
        present = base.sender(channel.account, sender_id)
        if present is None:
            raise InvalidField(
                f"{sender_name(channel.account, sender_id)} does not exist", field=field
            )
        if present.medium is not medium:
            raise InvalidField(
                f"{present.name} sends {present.medium.name}, not {medium.name}", field=field
            )


class SenderCalls(Writer):
    """Changes of senders; `Registry` is made of it."""

    async def create_sender(
        self, new: Sender, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> Sender:
        """Add a sender."""
        asked = call("create_sender", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _SENDER, partial(create, new=new))

    async def update_sender(
        self,
        new: Sender,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> Sender:
        """Change a sender."""
        asked = call("update_sender", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _SENDER, partial(update, new=new, etag=etag))

    async def delete_sender(
        self,
        account_id: str,
        sender_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove a sender that no channel names."""
        name = sender_name(account_id, sender_id)
        asked = call("delete_sender", name, account_id, actor, op_id, validate_only)
        edit = partial(delete, account=account_id, sender=sender_id, etag=etag)
        await self._write(asked, _NOTHING, edit)
