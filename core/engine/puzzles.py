"""Entries that cannot be judged: a bug, or what an older version wrote.

Decides: that such an entry waits and is looked at again a few times, and then ends FAILED, where it can
be listed and replayed. The tries are counted by each process for itself; what is judged several times
within one look, because a claim was refused or the store was away, has been tried once.
"""

from __future__ import annotations

from typing import Final

from core.bounds import MINUTE_MS
from core.gate import ClaimAction, ClaimItem, Source
from core.model import Reason, State, WaitReason

WAIT_MS: Final = 15 * MINUTE_MS
"""When an entry that could not be judged is looked at again."""
TRIES_MAX: Final = 5
REMEMBERED_MAX: Final = 10_000
"""Entries of which the number of tries is known."""


class Puzzles:
    """What could not be judged, and how often."""

    def __init__(self) -> None:
        self._tries: dict[bytes, tuple[int, int]] = {}
        """Member to how often it was looked at, and when last, epoch ms."""

    def item(self, member: bytes, source: Source, now_ms: int) -> ClaimItem:
        """Return what is to become of an entry that could not be judged once more."""
        tries, last_ms = self._tries.get(member, (0, now_ms - WAIT_MS))
        if now_ms - last_ms >= WAIT_MS:
            tries, last_ms = tries + 1, now_ms
        self._tries[member] = tries, last_ms
        if tries > TRIES_MAX:
            return ClaimItem(
                member, source, ClaimAction.END, False, (), int(State.FAILED),
                int(Reason.INTERNAL_ERROR),
            )  # fmt: skip
        if len(self._tries) > REMEMBERED_MAX:
            del self._tries[next(iter(self._tries))]
        return ClaimItem(
            member, source, ClaimAction.DEFER, False, due_ms=now_ms + WAIT_MS,
            wait=WaitReason.RETRY,
        )  # fmt: skip
