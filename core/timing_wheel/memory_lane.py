"""The index of one lane in memory: members by due time, as a sorted set holds them.

Decides: the order of a lane, (due, member).
Never: whether an entry still waits; the index is lazy, the contact record knows.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator

from core.ports import DueEntry


class LaneIndex:
    """Members with their due time, each once.

    Cost: add and remove O(log n) and a move of memory; n is one lane of one partition.
    """

    def __init__(self) -> None:
        self._order: list[tuple[int, bytes]] = []
        self._due_ms: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[DueEntry]:
        return (DueEntry(member, due_ms) for due_ms, member in self._order)

    def due_ms(self, member: bytes) -> int | None:
        """Return the due time under which a member is indexed, None if it is not."""
        return self._due_ms.get(member)

    def add(self, member: bytes, due_ms: int) -> None:
        """Index a member; one that is indexed already moves to its new due time."""
        self.remove(member)
        bisect.insort(self._order, (due_ms, member))
        self._due_ms[member] = due_ms

    def remove(self, member: bytes) -> None:
        """Drop a member; nothing happens if it is not there."""
        due_ms = self._due_ms.pop(member, None)
        if due_ms is not None:
            del self._order[bisect.bisect_left(self._order, (due_ms, member))]

    def first(self, until_ms: int, limit: int, skip: int = 0) -> list[DueEntry]:
        """Return the first `limit` entries after `skip`, due before `until_ms` (epoch ms), by (due,
        member)."""
        end = min(bisect.bisect_left(self._order, (until_ms, b"")), skip + limit)
        return [DueEntry(member, due_ms) for due_ms, member in self._order[skip:end]]
