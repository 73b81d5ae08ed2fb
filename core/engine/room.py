"""Places at the senders of channels: what is due and has none is put off before the gate is asked.

Decides: who of a round gets the places that a sender has now (the first by turn), and when the others
look again.
Never: places of the daemon's own transports; no more is taken from the wheel than those can take.

So a provider that is slow, full or down holds back what goes by it, and nothing else. What is put off
uses up no attempt. It comes back a little later for each batch before it, so that a heap at a slow
provider does not turn up whole every second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from core.bounds import SECOND_MS
from core.engine.due_case import Ready
from core.gate import ClaimAction, ClaimItem
from core.model import WaitReason
from core.sending import Postbox

BUSY_MS: Final = SECOND_MS
BATCH: Final = 32
"""Entries that come back together."""


class _Room(msgspec.Struct):
    """What one sender can take."""

    places: int
    put_off: int = 0


def put_off_those_without(postbox: Postbox, ready: Iterable[Ready], now_ms: int) -> None:
    """Make entries that pass, and for which their channel's sender has no place, wait.

    Args:
        ready: in turn.
    """
    rooms: dict[tuple[str, str], _Room] = {}
    for one in ready:
        letter = one.letter
        if letter is None or one.item.action != ClaimAction.GATE:
            continue
        sender_id = letter.channel.senders.get(letter.medium)  # type: ignore[call-overload]
        if sender_id is None:
            continue
        key = (letter.channel.account, sender_id)
        room = rooms.get(key)
        if room is None:
            room = rooms[key] = _Room(postbox.free(letter.medium, letter.channel))
        if room.places > 0:
            room.places -= 1
            continue
        due_ms = now_ms + BUSY_MS * (1 + room.put_off // BATCH)
        room.put_off += 1
        one.item = ClaimItem(
            one.item.member, one.where[1], ClaimAction.DEFER, one.item.needs_consent,
            due_ms=due_ms, wait=WaitReason.RETRY, heeds_suppression=one.item.heeds_suppression,
        )  # fmt: skip
