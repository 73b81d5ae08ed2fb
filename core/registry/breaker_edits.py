"""Changes to complaint breakers: trip and reset.

Decides: that both bite at once (R13), and that each is done once.
Never: whether there were too many complaints (`core/engine/breaker.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from core.registry.breakers import Breaker
from core.registry.documents import channel_name
from core.registry.drafts import Draft, found
from core.registry.store import Kind


def trip(
    draft: Draft, account: str, channel: str, medium: int, sent_count: int, complaint_count: int
) -> Breaker:
    """Hold back what a channel sends over a medium; one that is held back stays as it is."""
    found(draft.base.channel(account, channel), channel_name(account, channel))
    draft.bites = True
    present = draft.base.breaker(account, channel, medium)
    if present is not None and present.is_open:
        return present
    tripped = Breaker(
        account=account,
        channel=channel,
        medium=medium,
        is_open=True,
        trip_ms=draft.now_ms,
        sent_count=sent_count,
        complaint_count=complaint_count,
    )
    draft.put(Kind.BREAKER, tripped.name, tripped)
    return tripped


def reset(
    draft: Draft, account: str, channel: str, medium: int, forgiven: Mapping[int, int]
) -> list[Breaker]:
    """Let go what is held back on a channel; return the breakers that were open.

    Args:
        medium: which; 0 for all.
        forgiven: medium -> complaints counted today.
    """
    found(draft.base.channel(account, channel), channel_name(account, channel))
    draft.bites = True
    closed = [
        replace(
            present,
            is_open=False,
            reset_ms=draft.now_ms,
            forgiven_count=forgiven.get(present.medium, 0),
        )
        for present in draft.base.breakers_of(account, channel)
        if present.is_open and medium in (0, present.medium)
    ]
    for each in closed:
        draft.put(Kind.BREAKER, each.name, each)
    return closed


def drop_all(draft: Draft, account: str, channel: str) -> None:
    """Forget the breakers of a channel that goes."""
    for present in draft.base.breakers_of(account, channel):
        draft.drop(Kind.BREAKER, present.name)
