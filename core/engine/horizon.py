"""The near horizon: what the store's lanes hold, as far ahead as memory looks.

Decides: which slots are open, and what of them is in the wheel. One slot is loaded ahead, so that the
wheel never waits for the store when a slot begins. What is due leaves the wheel for the queues of
`core/engine/lines.py`, and those say what goes next.
Never: authority. Everything here is an index that can be thrown away; the claim decides.

Invariants:
1. Every slot that starts before `loaded_until_ms` is open: what is committed before that instant goes
   to the near lane, and opened slots only shrink.
2. An entry due before `loaded_until_ms` is in the wheel or in the queues, or its lane is marked
   unfinished or dirty.

A lane that holds more than was read is read on when little of it is left; and, as long as all that was
read of it is due, also before, a piece at a time: behind a heap of one channel may lie what another has
due.
"""

from __future__ import annotations

from collections.abc import Iterable

from core import bounds
from core.engine.lines import Lines
from core.engine.ownership import Ownership
from core.engine.turns import Fired
from core.gate import Lane, Source
from core.ports import CommittedPlan, DueEntry, Store
from core.stats import Stats
from core.timing_wheel.wheel import TimingWheel

NEAR = Source(Lane.NEAR)
DEFERRED = Source(Lane.DEFERRED)
PARKED = Source(Lane.PARKED)
TIMERS = Source(Lane.TIMERS)
FIXED = (NEAR, DEFERRED, PARKED, TIMERS)
"""Lanes with one key of their own in each partition."""
_FOREVER_MS = 2**47
GATHER_MAX = 512
"""Due entries that one call takes out of the wheel: a millisecond or two of work."""
AHEAD_READ_MAX = 1_024
"""Entries read ahead by one call."""
Where = tuple[int, Source]
"""(partition, lane)."""


class Horizon:
    """The wheel, and the knowledge of what has been put into it."""

    def __init__(self, store: Store, ownership: Ownership, stats: Stats, now_ms: int) -> None:
        self._store = store
        self._ownership = ownership
        self._stats = stats
        self._width_ms = store.meta.slot_width_ms
        self.wheel = TimingWheel(now_ms)
        self.lines = Lines()
        self.loaded_until_ms = 0
        self._outstanding: dict[Where, int] = {}
        """Entries of a lane that are in the wheel or in the queues."""
        self._unfinished: set[Where] = set()
        """Lanes that hold more than was read."""
        self._last_due_ms: dict[Where, int] = {}
        """Due time of the last entry read of an unfinished lane; gone once nothing lies beyond it."""
        self._open_slots: dict[int, set[int]] = {}
        self._near_versions: dict[int, int] = {}
        self._loaded_until_ms: dict[int, int] = {}
        """How far each partition's lanes have been read since it was gained."""
        self._forgotten: set[int] = set()
        """Partitions lost since a load began: what it has read of them does not count."""

    def insert(self, partition: int, source: Source, member: bytes, due_ms: int) -> None:
        """Put one entry into the wheel; idempotent, also if it has moved to another lane."""
        where = (partition, source)
        before = self.wheel.payload_of(member)
        if before is None and len(self.lines):
            waiting = self.lines.find(member)
            if waiting is not None:
                if waiting[0] == due_ms and waiting[2] == where:
                    return
                self.lines.drop(member)
                before = waiting[2]
        self.wheel.insert(member, due_ms, where)
        if before != where:
            outstanding = self._outstanding
            outstanding[where] = outstanding.get(where, 0) + 1
            if before is not None:
                outstanding[before] -= 1

    def on_near(self, partition: int, plan: CommittedPlan) -> None:
        """Take a hint from a commit: due before the horizon."""
        if partition in self._ownership.owned:
            self.insert(partition, NEAR, plan.member, plan.due_ms)

    def on_deferred(self, partition: int, member: bytes, due_ms: int) -> None:
        """Take a hint from a claim, settlement or recovery: now in the deferred lane."""
        if due_ms < self.loaded_until_ms:
            self.insert(partition, DEFERRED, member, due_ms)

    def on_parked(self, partition: int, member: bytes, expire_ms: int) -> None:
        """Take a hint from a claim: held from now on, until it expires at the latest."""
        if expire_ms < self.loaded_until_ms:
            self.insert(partition, PARKED, member, expire_ms)

    def on_timer(self, partition: int, member: bytes, due_ms: int) -> None:
        """Take a hint from a commit: a timer stands there now."""
        if due_ms < self.loaded_until_ms and partition in self._ownership.owned:
            self.insert(partition, TIMERS, member, due_ms)

    def source_of(self, partition: int, member: bytes, due_ms: int) -> Source:
        """Return where a waiting entry is indexed: as the wheel knows it, else by its due time."""
        where: Where | None = self.wheel.payload_of(member)
        if where is not None:
            return where[1]
        waiting = self.lines.find(member)
        if waiting is not None:
            return waiting[2][1]
        return Source(Lane.FAR, due_ms // self._width_ms)

    def gather(self, now_ms: int) -> None:
        """Let a bounded part of what is due leave the wheel; `has_due` tells whether there is more."""
        add = self.lines.add
        for entry in self.wheel.advance(now_ms, GATHER_MAX):
            add(entry)

    def take(self, now_ms: int, limit: int) -> list[Fired]:
        """Return about `limit` due entries whose turn it is, and forget them; those of one channel in
        order of (due, member).

        The wheel works in bounded pieces: an empty answer is the end only if `has_due` agrees.
        """
        self.gather(now_ms)
        return self._taken(self.lines.take(limit, now_ms))

    def take_light(self, limit: int) -> list[Fired]:
        """Return about `limit` gathered entries that need not wait for a heap, and forget them."""
        return self._taken(self.lines.take_light(limit))

    def _taken(self, fired: list[Fired]) -> list[Fired]:
        outstanding = self._outstanding
        for _, _, where in fired:
            outstanding[where] -= 1
        return fired

    def hold(self, key: str, entry: Fired) -> None:
        """Let an entry that was taken stand in line at a sender."""
        where = entry[2]
        if self.wheel.payload_of(entry[1]) is None and self.lines.find(entry[1]) is None:
            self.lines.hold(key, entry)
            self._outstanding[where] = self._outstanding.get(where, 0) + 1

    def has_due(self, now_ms: int) -> bool:
        """True if another `take` would do something."""
        next_ms = self.wheel.next_due_ms()
        return (next_ms is not None and next_ms <= now_ms) or self.lines.has_any(now_ms)

    def is_short(self, now_ms: int) -> bool:
        """Return whether `extend` would do something."""
        return bool(self._not_loaded(self._until_ms(now_ms)) or self._run_out()) or (
            self._behind(now_ms) is not None and self._size() < bounds.WHEEL_ENTRIES_MAX
        )

    async def extend(self, now_ms: int) -> bool:
        """Keep at least one whole slot ahead loaded, and read on in what was read in part; True if
        anything was found."""
        before = self._size()
        until_ms = self._until_ms(now_ms)
        partitions = self._not_loaded(until_ms)
        if partitions:
            await self._load(partitions, until_ms)
        if self._unfinished:
            await self._read(self._run_out())
            await self._read_ahead(now_ms)
        return self._size() != before

    def _until_ms(self, now_ms: int) -> int:
        return max((now_ms // self._width_ms + 2) * self._width_ms, self.loaded_until_ms)

    def _not_loaded(self, until_ms: int) -> list[int]:
        return [p for p in self._ownership.owned if self._loaded_until_ms.get(p, 0) < until_ms]

    def forget(self, partition: int) -> None:
        """Drop the knowledge about a partition that could not be claimed from: it is read anew once
        it is owned again."""
        self._forgotten.add(partition)
        self._loaded_until_ms.pop(partition, None)
        self._open_slots.pop(partition, None)
        self._near_versions.pop(partition, None)

    async def _load(self, partitions: list[int], until_ms: int) -> None:
        wanted = set(partitions)
        self._forgotten.clear()
        owned = {p: o for p, o in self._ownership.owned.items() if p in wanted}
        opened = [p for p, ok in (await self._store.open_slots(owned, until_ms)).items() if ok]
        # What is committed from here on reaches the near lane: the version is read before the lane.
        versions = await self._store.near_versions(opened)
        lanes: list[Where] = []
        slots = await self._store.far_slots(opened, until_ms)
        for p, numbers in slots.items():
            known = self._open_slots.get(p, set())
            lanes += [(p, Source(Lane.FAR, n)) for n in numbers if n not in known]
            lanes += [(p, lane) for lane in FIXED]
        self.loaded_until_ms = max(self.loaded_until_ms, until_ms)
        await self._read(lanes)
        # Not before: what could not be read is read again.
        for p in opened:
            if p not in self._forgotten:
                self._open_slots[p] = self._open_slots.get(p, set()) | set(slots[p])
                self._near_versions[p] = versions[p]
                self._loaded_until_ms[p] = until_ms

    async def _read(self, lanes: Iterable[Where]) -> None:
        lanes = list(lanes)
        if not lanes:
            return
        limit = bounds.SLOT_READ_MAX
        found = await self._store.read_lanes(lanes, self.loaded_until_ms, limit)
        for where, entries in zip(lanes, found, strict=True):
            self._insert_all(where, entries)
            if len(entries) == limit:
                self._unfinished.add(where)
                self._last_due_ms[where] = entries[-1].due_ms
            else:
                self._unfinished.discard(where)
                self._last_due_ms.pop(where, None)
        self._stats.wheel_entries = self._size()

    def _insert_all(self, where: Where, entries: list[DueEntry]) -> None:
        for entry in entries:
            self.insert(where[0], where[1], entry.member, entry.due_ms)

    def _run_out(self) -> list[Where]:
        """Return the lanes to be read on: what was read of them has nearly run out."""
        if not self._unfinished or self._size() >= bounds.WHEEL_ENTRIES_MAX:
            return []
        low = bounds.SLOT_READ_MAX // 4
        return [where for where in self._unfinished if self._outstanding.get(where, 0) <= low]

    async def _read_ahead(self, now_ms: int) -> None:
        """Read a piece of one lane of which all that was read is due."""
        where = self._behind(now_ms)
        if where is None or self._size() >= bounds.WHEEL_ENTRIES_MAX:
            return
        # What is known of the lane lies before the rest. It may count what has moved away, so that a
        # little is passed over here; the lane stays unfinished, and is read from its head in the end.
        last_ms = self._last_due_ms.pop(where)
        known = self._outstanding.get(where, 0)
        found = await self._store.read_lanes(
            [where], self.loaded_until_ms, AHEAD_READ_MAX, skip=known
        )
        self._insert_all(where, found[0])
        if len(found[0]) == AHEAD_READ_MAX:
            self._last_due_ms[where] = max(last_ms, found[0][-1].due_ms)
        self._stats.wheel_entries = self._size()

    def _behind(self, now_ms: int) -> Where | None:
        return next((w for w, due_ms in self._last_due_ms.items() if due_ms <= now_ms), None)

    def _size(self) -> int:
        return len(self.wheel) + len(self.lines)

    async def poll(self) -> bool:
        """Look for entries that arrived without a hint; True if there were any (E5)."""
        owned = sorted(self._ownership.owned)
        versions = await self._store.near_versions(owned)
        changed = [p for p, version in versions.items() if self._near_versions.get(p) != version]
        if not changed:
            return False
        before = len(self.wheel)
        await self._read([(p, lane) for p in changed for lane in FIXED])
        self._near_versions.update({p: versions[p] for p in changed})
        return len(self.wheel) > before

    async def tidy(self, now_ms: int) -> None:
        """Forget the numbers of slots that lie behind and are empty."""
        behind = now_ms // self._width_ms
        spent = {
            p: [n for n in numbers if n < behind and not self._is_busy(p, n)]
            for p, numbers in self._open_slots.items()
        }
        spent = {p: numbers for p, numbers in spent.items() if numbers}
        await self._store.drop_empty_slots(spent)
        for p, numbers in spent.items():
            self._open_slots[p] -= set(numbers)
            for number in numbers:
                self._outstanding.pop((p, Source(Lane.FAR, number)), None)

    def _is_busy(self, partition: int, number: int) -> bool:
        where = (partition, Source(Lane.FAR, number))
        return where in self._unfinished or self._outstanding.get(where, 0) > 0

    async def next_beyond_ms(self) -> int | None:
        """Return the first instant at or after the horizon at which something may be due.

        For virtual clocks, which jump; call it when nothing before the horizon is left.
        """
        # A spent slot would hide the next one.
        await self.tidy(self.loaded_until_ms)
        owned = sorted(self._ownership.owned)
        instants = [
            max(number * self._width_ms, self.loaded_until_ms)
            for number in (await self._store.next_far_slot(owned)).values()
            if number is not None
        ]
        lanes = [(p, lane) for p in owned for lane in (DEFERRED, PARKED, TIMERS)]
        instants += [
            entries[0].due_ms
            for entries in await self._store.read_lanes(lanes, _FOREVER_MS, 1)
            if entries and entries[0].due_ms >= self.loaded_until_ms
        ]
        return min(instants, default=None)
