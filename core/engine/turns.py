"""Whose turn it is: what is due, in a queue for each channel, taken in rounds by deficit.

Decides: which of many due entries go next. Each channel gets a `quantum` of entries by turns, whatever
stands behind them, so that a shop with a million due messages does not delay a shop with ten. Within a
channel the order is (due, partition, member), so that of what is due in one instant a round asks few
partitions for many; but what has come back (a retry, a deferral) has a lane of its own:
where both wait, one entry of `SHARE` comes from it, so that neither stands in front of the other.
Never: reads anything: the member names its contact and its channel.

What is due earlier of the same contact, in any channel or lane, comes along and goes first: the order
of one contact is the caps' order (R26). It is charged to its own channel.

A channel of which no more than a quantum of entries waits is light: all of it goes in one turn.
Where others are not, the light ones can be taken by themselves, so that they share no round with a heap.

Invariants, checked by `validate()`:
1. An entry is in `_of` exactly if it waits; what a heap holds beyond that was taken or dropped.
2. `live` of a queue is the number of its entries that wait; it is in the ring exactly if it has any, and
   among the light exactly if it has no more than a quantum.

Cost: O(log n) an entry, and O(channels) for each call that bars some.
Source: Shreedhar & Varghese, "Efficient fair queuing using deficit round robin" (1996), unit packets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from heapq import heappop, heappush
from typing import Final

from core.bounds import PARTITIONS_MAX
from core.gate import Lane, Source

Fired = tuple[int, bytes, tuple[int, Source]]
"""(due, member, where it is indexed)."""

QUANTUM: Final = 8
"""Entries of a channel before the next channel's turn."""
SHARE: Final = 8
"""Of so many entries of a channel one has come back before, where both kinds wait."""
COMPANY_MAX: Final = 64
"""Entries of one contact that go together at most; the earliest."""

_TIMERS: Final = -1
"""The queue of timers: no channel's number."""
_Placed = tuple[int, Fired]
"""What the order is by, due and partition in one number; and the entry."""


class _Queue:
    """What waits of one channel."""

    __slots__ = ("deficit", "fresh", "live", "number", "returned", "turn")

    def __init__(self, number: int) -> None:
        self.number = number
        self.fresh: list[_Placed] = []
        self.returned: list[_Placed] = []
        self.live = 0
        self.deficit = 0
        self.turn = 0

    def lane(self) -> list[_Placed]:
        """Return the lane whose turn it is; empty only if both are."""
        if not self.returned or not self.fresh:
            return self.fresh or self.returned
        return self.returned if self.turn % SHARE == SHARE - 1 else self.fresh


class Turns:
    """Due entries by channel. Each member waits here at most once.

    Args:
        quantum: entries of a channel before the next channel's turn.
    """

    def __init__(self, quantum: int = QUANTUM) -> None:
        self._quantum = quantum
        self._queues: dict[int, _Queue] = {}
        self._ring: deque[_Queue] = deque()
        self._light: dict[int, _Queue] = {}
        self._of: dict[bytes, tuple[Fired, ...]] = {}
        """Contact key to what waits of it."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, member: bytes) -> Fired | None:
        """Return the entry of a member, None if it does not wait here."""
        for entry in self._of.get(member[:8], ()):
            if entry[1] == member:
                return entry
        return None

    def has_before(self, entry: Fired) -> bool:
        """Return whether something of the same contact waits that is due no later."""
        return any(one[0] <= entry[0] for one in self._of.get(entry[1][:8], ()))

    def count_of(self, number: int) -> int:
        """Return how many entries of a channel wait."""
        queue = self._queues.get(number)
        return 0 if queue is None else queue.live

    def channels(self) -> Collection[int]:
        """Return the channels of which entries wait."""
        return self._queues.keys()

    def add(self, entry: Fired) -> None:
        """Let an entry wait; one of the same member gives way to it."""
        self.drop(entry[1])
        number = channel_of(entry)
        queue = self._queues.get(number)
        if queue is None:
            queue = self._queues[number] = self._light[number] = _Queue(number)
            self._ring.append(queue)
        elif queue.live == self._quantum:
            del self._light[number]
        contact = entry[1][:8]
        self._of[contact] = (*self._of.get(contact, ()), entry)
        queue.live += 1
        self._count += 1
        heappush(_lane_of(queue, entry), (_order(entry), entry))

    def drop(self, member: bytes) -> Fired | None:
        """Forget a member; return its entry, None if it did not wait here."""
        entry = self.find(member)
        if entry is not None:
            self._leave(entry)
            self._forget_if_empty(self._queues[channel_of(entry)])
        return entry

    def take(
        self, limit: int, barred: Collection[int] = (), *, only_barred: bool = False
    ) -> list[Fired]:
        """Return at least one and about `limit` entries, by turns, and forget them.

        Args:
            barred: channels that have no turn now.
            only_barred: these alone have one.
        """
        if not barred:
            return [] if only_barred else self._serve(self._ring, limit)
        ring = self._ring
        turn = deque(q for q in ring if (q.number in barred) is only_barred)
        out = self._serve(turn, limit)
        # Those that had no turn are the next to have one.
        self._ring = deque(q for q in ring if (q.number in barred) is not only_barred)
        self._ring += (q for q in turn if q.live)
        return out

    def _serve(self, turn: deque[_Queue], limit: int) -> list[Fired]:
        out: list[Fired] = []
        while turn and len(out) < limit:
            queue = turn[0]
            if queue.deficit <= 0:
                queue.deficit += self._quantum
            while queue.live and queue.deficit > 0 and len(out) < limit:
                self._take_next(queue, out)
            if not queue.live:
                self._forget_if_empty(queue)
                if turn and turn[0] is queue:
                    turn.popleft()
            elif queue.deficit <= 0:
                turn.rotate(-1)
        return out

    def has_heap(self) -> bool:
        """Return whether any channel is not light."""
        return len(self._light) < len(self._queues)

    def has_light(self) -> bool:
        """Return whether any channel is light."""
        return bool(self._light)

    def take_light(self, limit: int) -> list[Fired]:
        """Return about `limit` entries of light channels, the first to have come first, and forget
        them."""
        out: list[Fired] = []
        while self._light and len(out) < limit:
            queue = next(iter(self._light.values()))
            while queue.live:
                self._take_next(queue, out)
            self._forget_if_empty(queue)
        return out

    def _take_next(self, queue: _Queue, out: list[Fired]) -> None:
        """Take the next of a channel, with what goes before it of the same contact."""
        lane = queue.lane()
        entry = heappop(lane)[1]
        waiting = self._of.get(entry[1][:8], ())
        if not any(one is entry for one in waiting):
            return
        queue.turn += 1
        if len(waiting) == 1:
            self._leave(entry)
            queue.deficit -= 1
            out.append(entry)
            return
        company = sorted(one for one in waiting if one[0] <= entry[0])[:COMPANY_MAX]
        if not any(one is entry for one in company):
            heappush(lane, (_order(entry), entry))
        for one in company:
            self._leave(one)
            own = self._queues[channel_of(one)]
            own.deficit -= 1
            if own is not queue:
                self._forget_if_empty(own)
        out += company

    def _leave(self, entry: Fired) -> None:
        contact = entry[1][:8]
        rest = tuple(one for one in self._of[contact] if one is not entry)
        if rest:
            self._of[contact] = rest
        else:
            del self._of[contact]
        queue = self._queues[channel_of(entry)]
        queue.live -= 1
        if queue.live == self._quantum:
            self._light[queue.number] = queue
        self._count -= 1

    def _forget_if_empty(self, queue: _Queue) -> None:
        if not queue.live and self._queues.get(queue.number) is queue:
            del self._queues[queue.number], self._light[queue.number]
            self._ring.remove(queue)

    def validate(self) -> None:
        """Assert the invariants. For tests."""
        waiting = [entry for entries in self._of.values() for entry in entries]
        assert len(waiting) == self._count == sum(q.live for q in self._queues.values())
        assert {id(q) for q in self._ring} == {id(q) for q in self._queues.values()}
        assert self._light == {n: q for n, q in self._queues.items() if q.live <= self._quantum}
        for entry in waiting:
            lane = _lane_of(self._queues[channel_of(entry)], entry)
            assert any(one is entry for _, one in lane), "invariant 1"


def channel_of(entry: Fired) -> int:
    """Return the number of an entry's channel; that of no channel for a timer."""
    _, member, (_, source) = entry
    return _TIMERS if source.lane == Lane.TIMERS else member[14] << 8 | member[15]


def _order(entry: Fired) -> int:
    return entry[0] * PARTITIONS_MAX + entry[2][0]


def _lane_of(queue: _Queue, entry: Fired) -> list[_Placed]:
    return queue.returned if entry[2][1].lane == Lane.DEFERRED else queue.fresh
