"""The calls that change accounts, event types, channels, carriers and caps.

Decides: what each is called and answers; which changes are allowed is said in `edits.py`.
Never: anything about rules (`registry.py`), or how a change is written (`writer.py`).

The arguments that all share, and the errors, are those of `core.registry.registry.Registry`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from core.registry import cap_edits, edits, platform_edits
from core.registry.documents import (
    account_name,
    cap_name,
    carrier_name,
    channel_name,
    event_type_name,
    platform_name,
)
from core.registry.operations import call
from core.registry.resources import Account, Cap, Carrier, Channel, EventType, Platform
from core.registry.writer import Writer

_ACCOUNT: Final = msgspec.json.Decoder(Account)
_EVENT_TYPE: Final = msgspec.json.Decoder(EventType)
_CHANNEL: Final = msgspec.json.Decoder(Channel)
_CARRIER: Final = msgspec.json.Decoder(Carrier)
_PLATFORM: Final = msgspec.json.Decoder(Platform)
_CAP: Final = msgspec.json.Decoder(Cap)
_NOTHING: Final = msgspec.json.Decoder(None)


class ResourceCalls(Writer):
    """Changes of all resources but rules; `Registry` is made of it."""

    # Accounts and event types ----------------------------------------------------------------

    async def ensure_account(
        self, account_id: str, default_caps: bool = True, *, actor: str = ""
    ) -> Account:
        """Make an account exist, with the shipped event types, and caps if it is new. Idempotent."""
        asked = call("ensure_account", account_name(account_id), account_id, actor)
        edit = partial(edits.ensure_account, account=account_id, with_default_caps=default_caps)
        return await self._write(asked, _ACCOUNT, edit)

    async def update_account(
        self,
        new: Account,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> Account:
        """Change what an account has booked."""
        asked = call("update_account", new.name, new.id, actor, op_id, validate_only)
        edit = partial(edits.update_account, new=new, etag=etag)
        return await self._write(asked, _ACCOUNT, edit)

    async def create_event_type(
        self, new: EventType, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> EventType:
        """Add an event type."""
        asked = call("create_event_type", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _EVENT_TYPE, partial(edits.create_event_type, new=new))

    async def update_event_type(
        self,
        new: EventType,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> EventType:
        """Change an event type; mostly its switch."""
        asked = call("update_event_type", new.name, new.account, actor, op_id, validate_only)
        edit = partial(edits.update_event_type, new=new, etag=etag)
        return await self._write(asked, _EVENT_TYPE, edit)

    async def delete_event_type(
        self,
        account_id: str,
        event_type_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove an event type which is not shipped and which no rule names."""
        name = event_type_name(account_id, event_type_id)
        asked = call("delete_event_type", name, account_id, actor, op_id, validate_only)
        edit = partial(
            edits.delete_event_type, account=account_id, event_type=event_type_id, etag=etag
        )
        await self._write(asked, _NOTHING, edit)

    # Channels ----------------------------------------------------------------------------------

    async def create_channel(
        self, new: Channel, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> Channel:
        """Add a channel."""
        asked = call("create_channel", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _CHANNEL, partial(edits.create_channel, new=new))

    async def update_channel(
        self,
        new: Channel,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> Channel:
        """Change a channel."""
        asked = call("update_channel", new.name, new.account, actor, op_id, validate_only)
        edit = partial(edits.update_channel, new=new, etag=etag)
        return await self._write(asked, _CHANNEL, edit)

    async def delete_channel(
        self,
        account_id: str,
        channel_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove a channel on which no rule is active."""
        name = channel_name(account_id, channel_id)
        asked = call("delete_channel", name, account_id, actor, op_id, validate_only)
        edit = partial(edits.delete_channel, account=account_id, channel=channel_id, etag=etag)
        await self._write(asked, _NOTHING, edit)

    # Carriers ------------------------------------------------------------------------------------

    async def create_carrier(
        self, new: Carrier, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> Carrier:
        """Add a carrier."""
        asked = call("create_carrier", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _CARRIER, partial(edits.create_carrier, new=new))

    async def update_carrier(
        self,
        new: Carrier,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> Carrier:
        """Change a carrier."""
        asked = call("update_carrier", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _CARRIER, partial(edits.update_carrier, new=new, etag=etag))

    async def delete_carrier(
        self,
        account_id: str,
        carrier_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove a carrier."""
        name = carrier_name(account_id, carrier_id)
        asked = call("delete_carrier", name, account_id, actor, op_id, validate_only)
        edit = partial(edits.delete_carrier, account=account_id, carrier=carrier_id, etag=etag)
        await self._write(asked, _NOTHING, edit)

    # Platforms -----------------------------------------------------------------------------------

    async def create_platform(
        self, new: Platform, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> Platform:
        """Add a review platform."""
        asked = call("create_platform", new.name, new.account, actor, op_id, validate_only)
        edit = partial(platform_edits.create_platform, new=new)
        return await self._write(asked, _PLATFORM, edit)

    async def update_platform(
        self,
        new: Platform,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> Platform:
        """Change a review platform."""
        asked = call("update_platform", new.name, new.account, actor, op_id, validate_only)
        edit = partial(platform_edits.update_platform, new=new, etag=etag)
        return await self._write(asked, _PLATFORM, edit)

    async def delete_platform(
        self,
        account_id: str,
        platform_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove a review platform that no channel names."""
        name = platform_name(account_id, platform_id)
        asked = call("delete_platform", name, account_id, actor, op_id, validate_only)
        edit = partial(
            platform_edits.delete_platform, account=account_id, platform=platform_id, etag=etag
        )
        await self._write(asked, _NOTHING, edit)

    # Caps ----------------------------------------------------------------------------------------

    async def create_cap(
        self, new: Cap, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> Cap:
        """Add a cap."""
        asked = call("create_cap", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _CAP, partial(cap_edits.create_cap, new=new))

    async def update_cap(
        self,
        new: Cap,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> Cap:
        """Change a cap."""
        asked = call("update_cap", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _CAP, partial(cap_edits.update_cap, new=new, etag=etag))

    async def delete_cap(
        self,
        account_id: str,
        cap_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove a cap."""
        name = cap_name(account_id, cap_id)
        asked = call("delete_cap", name, account_id, actor, op_id, validate_only)
        edit = partial(cap_edits.delete_cap, account=account_id, cap=cap_id, etag=etag)
        await self._write(asked, _NOTHING, edit)
