"""The calls that trip and reset complaint breakers.

Decides: what each is called and answers; what one does is said in `breaker_edits.py`.
Never: how a change is written (`writer.py`).

The arguments that all share, and the errors, are those of `core.registry.registry.Registry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from core.registry import breaker_edits
from core.registry.breakers import Breaker
from core.registry.documents import channel_name
from core.registry.operations import call
from core.registry.writer import Writer

_BREAKER: Final = msgspec.json.Decoder(Breaker)
_BREAKERS: Final = msgspec.json.Decoder(list[Breaker])


class BreakerCalls(Writer):
    """Changes of complaint breakers; `Registry` is made of it."""

    async def trip_breaker(
        self,
        account_id: str,
        channel_id: str,
        medium: int,
        sent_count: int,
        complaint_count: int,
        *,
        actor: str = "",
    ) -> Breaker:
        """Hold back what a channel sends over a medium."""
        name = channel_name(account_id, channel_id)
        asked = call("trip_breaker", name, account_id, actor)
        edit = partial(
            breaker_edits.trip,
            account=account_id,
            channel=channel_id,
            medium=medium,
            sent_count=sent_count,
            complaint_count=complaint_count,
        )
        return await self._write(asked, _BREAKER, edit)

    async def reset_breaker(
        self,
        account_id: str,
        channel_id: str,
        medium: int,
        forgiven: Mapping[int, int],
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> list[Breaker]:
        """Let go what is held back on a channel over a medium, or over all (0); return what was."""
        name = channel_name(account_id, channel_id)
        asked = call("reset_breaker", name, account_id, actor, op_id, validate_only)
        edit = partial(
            breaker_edits.reset,
            account=account_id,
            channel=channel_id,
            medium=medium,
            forgiven=forgiven,
        )
        return await self._write(asked, _BREAKERS, edit)
