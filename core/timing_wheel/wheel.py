"""The near horizon in memory: a hierarchical timing wheel with a sorted front.

Decides: which entries are due, in the order (due, entry id), and when to look again.
Never: asks for the time, waits, logs, or knows what an entry is for.

How an entry travels. It is inserted into a slot (`levels.py`). When wheel time reaches the start of
that slot, one of two things happens:

- A slot of at most `PIECE` entries is *opened*: sorted, in one go, into a run of the front. From
  there it fires. Descending level by level would cost more than the sort, so it is skipped.
- A larger slot is *cascaded*: its entries are placed again, now at finer levels, at most `PIECE` of
  them a call. Until that is complete nothing fires, because the last entry to move may be the first
  one due. A larger slot of the finest level is one millisecond and cannot be split further: it is
  opened piece by piece, one sorted run each. So a herd in one millisecond is sorted once, in
  pieces, and merged while it fires.

The *front* is a heap of sorted runs. A slot is opened only when all that the front holds from
before it has fired, so each level has at most one run in it (apart from pieces and late insertions),
and mostly there are one or two.

    insert -> slot (level 4) -> cascade -> slot (level 3) -> open -> run -> fire

Invariants, checked by `validate()`:

1. Every entry is in exactly one place: a slot, the slot being cascaded, or a run of the front.
2. An entry in a slot is where `level_for` and `slot_for` say, seen from wheel time now; an entry
   that was inserted too late is in the slot of the current tick.
3. A bit of a level is set exactly if the slot holds entries. Slots hold no cancelled entries.
4. No occupied slot starts before wheel time, and only the slot of the current tick starts at it:
   wheel time never passes a slot that has not been opened.
5. Runs are not empty, each is in order, and the heap of runs is ordered by their heads. Runs may
   hold cancelled entries: those are recognised by identity and dropped when their turn comes.
6. A slot being cascaded lies within one slot of a coarser level that starts at wheel time.
7. `next_due_ms()` is never later than the earliest due (or wheel time, if that is later).
8. The remembered first slot, where there is one, is the first slot.

Units: epoch milliseconds, one tick each; counts are entries.
Cost: insert and cancel O(1); firing O(log runs) an entry. Memory: a tuple and two dictionary places.
Source: Varghese & Lauck 1997, scheme 7. The sorted front is the bottom rung of the ladder queue
(Tang, Goh & Thng, ACM TOMACS 15(3), 2005).
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from operator import itemgetter
from typing import Any

from core.timing_wheel.levels import (
    DUE_END_MS,
    LEVEL_BY_BIT_LENGTH,
    LEVEL_COUNT,
    SLOT_BITS,
    SLOT_COUNT,
    SLOT_MASK,
    level_for,
    next_occupied,
    slot_for,
    slot_span_ms,
    slot_start_ms,
)

Entry = tuple[int, bytes, Any]
"""(due_ms, entry_id, payload). One object for its whole stay: `is` tells it from a later one."""

Slot = dict[bytes, Entry]

Run = list[Entry]
"""Latest first, so that the next to fire is taken from the end."""

PIECE = 4_096
"""Entries opened or cascaded by one call of `advance`: two or three milliseconds of work."""


class TimingWheel:
    """Holds entries until they are due; returns them in order, never early.

    Not for several threads. Time is an argument: the wheel moves only when `advance` is called.

    Attributes:
        moved_count: entries opened or cascaded since the start; grows by at most `PIECE` a call.
    """

    __slots__ = (
        "_cascading",
        "_elapsed_ms",
        "_entries",
        "_first",
        "_occupied",
        "_places",
        "_rows",
        "_run_count",
        "_runs",
        "moved_count",
    )

    def __init__(self, now_ms: int) -> None:
        assert 0 <= now_ms < DUE_END_MS, "now_ms is epoch milliseconds in six bytes"
        self._elapsed_ms = now_ms
        self._entries: dict[bytes, Entry] = {}
        self._occupied = [0] * LEVEL_COUNT
        self._rows: list[list[Slot]] = [[{} for _ in range(SLOT_COUNT)] for _ in self._occupied]
        # `level_for` unrolled for the hot path: bit length -> (level, shift, slots of the level).
        self._places = tuple(
            (level, SLOT_BITS * level, self._rows[level]) for level in LEVEL_BY_BIT_LENGTH
        )
        self._cascading: Slot = {}
        # What `_first_slot` found, None once a slot has been filled or emptied since.
        self._first: tuple[int, int, int] | None = None
        # The head of a run, and a number to break ties, so that payloads are never compared.
        self._runs: list[tuple[int, bytes, int, Run]] = []
        self._run_count = 0
        self.moved_count = 0

    def insert(self, entry_id: bytes, due_ms: int, payload: Any) -> bool:
        """Hold an entry until `due_ms`; an id already present is moved there.

        Args:
            entry_id: names the entry; also the order among entries of one millisecond.
            due_ms: epoch ms below 2**48. In the past is fine: it fires at the next `advance`.
            payload: returned with the entry; never looked at.

        Returns:
            True if the id is new.

        Cost: O(1).
        """
        assert due_ms < DUE_END_MS, "due_ms is epoch milliseconds in six bytes"
        entries = self._entries
        known = entries.get(entry_id)
        if known is not None:
            if known[0] == due_ms and known[2] is payload:
                return False
            self._forget(known)
        entry = entries[entry_id] = (due_ms, entry_id, payload)
        elapsed_ms = self._elapsed_ms
        if due_ms < elapsed_ms:
            due_ms = elapsed_ms
        level, shift, row = self._places[(elapsed_ms ^ due_ms).bit_length()]
        position = due_ms >> shift & SLOT_MASK
        slot = row[position]
        if not slot:
            self._occupied[level] |= 1 << position
            self._first = None
        slot[entry_id] = entry
        return known is None

    def cancel(self, entry_id: bytes) -> bool:
        """Forget an entry. Return False if there is none of that id, for instance if it fired.

        Cost: O(1). One that is already in the front leaves its tuple there until its turn comes.
        """
        entry = self._entries.pop(entry_id, None)
        if entry is None:
            return False
        self._forget(entry)
        return True

    def payload_of(self, entry_id: bytes) -> Any | None:
        """Return what an entry was inserted with, None if there is none of that id. Cost: O(1)."""
        entry = self._entries.get(entry_id)
        return None if entry is None else entry[2]

    def _forget(self, entry: Entry) -> None:
        """Take an entry out of the slot that holds it, if one does (invariants 2, 3)."""
        due_ms, entry_id, _ = entry
        if due_ms < self._elapsed_ms:
            due_ms = self._elapsed_ms
        level, shift, row = self._places[(self._elapsed_ms ^ due_ms).bit_length()]
        position = due_ms >> shift & SLOT_MASK
        slot = row[position]
        if slot.pop(entry_id, None) is None:
            self._cascading.pop(entry_id, None)
        elif not slot:
            self._occupied[level] &= ~(1 << position)
            self._first = None

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, entry_id: object) -> bool:
        return entry_id in self._entries

    def next_due_ms(self) -> int | None:
        """Return when `advance` has something to do next; None if the wheel is empty.

        Returns:
            Epoch ms: the due of an entry, or the start of a slot that is to be opened or cascaded.
            Never later than the earliest due. Wheel time at the latest if something is overdue, so
            after an `advance` that left work behind it is not after that call's `now_ms`. It may be
            the due of an entry cancelled shortly before it would have fired.

        Cost: O(levels).
        """
        if not self._entries:
            return None
        start_ms = self._elapsed_ms if self._cascading else self._first_slot()[2]
        return min(start_ms, self._runs[0][0]) if self._runs else start_ms

    def earliest_due_ms(self) -> int | None:
        """Return the earliest due of all entries, None if there are none.

        Cost: a scan of one slot, and of the slot being cascaded if there is one.
        """
        if not self._entries:
            return None
        while self._runs:
            run = self._runs[0][3]
            if self._entries.get(run[-1][1]) is run[-1]:
                break
            run.pop()
            self._put_back(run)
        level, position, _ = self._first_slot()
        candidates = [entry[0] for entry in self._rows[level][position].values()]
        candidates += [entry[0] for entry in self._cascading.values()]
        candidates += [head[0] for head in self._runs[:1]]
        return min(candidates)

    def advance(self, now_ms: int, limit: int) -> list[Entry]:
        """Move wheel time towards `now_ms` and take what is due.

        The work of one call is bounded: at most `limit` entries are returned and at most `PIECE`
        moved. If that is not enough, `next_due_ms()` says at most `now_ms` afterwards and the
        caller calls again. An empty answer therefore does not mean that nothing is due.

        Args:
            now_ms: epoch ms; never smaller than in an earlier call.
            limit: most entries to return, at least 1.

        Returns:
            (due_ms, entry_id, payload) with due_ms <= now_ms, in the order (due_ms, entry_id). The
            order holds across calls as well, for all that was in the wheel in time.

        Cost: O(limit log runs + PIECE log PIECE).
        """
        assert self._elapsed_ms <= now_ms < DUE_END_MS, "time never goes back"
        assert limit > 0, "limit is at least one entry"
        fired: list[Entry] = []
        work_left = PIECE
        while True:
            if self._cascading:
                work_left -= self._cascade(work_left)
                if self._cascading:
                    return fired
            level, position, start_ms = self._first_slot()
            # The slot of this tick may hold entries due before any in the front: it goes first.
            if start_ms > self._elapsed_ms and self._runs:
                work_left -= self._fire(min(now_ms, start_ms - 1), fired, limit, work_left)
            if start_ms > now_ms:
                self._elapsed_ms = now_ms
                return fired
            size = len(self._rows[level][position])
            is_split = size > PIECE
            if len(fired) >= limit or work_left <= 0 or (size > work_left and not is_split):
                return fired
            self._elapsed_ms = start_ms
            if level and is_split:
                self._cascading = self._take_slot(level, position)
            else:
                work_left -= self._open(level, position, work_left)

    def _first_slot(self) -> tuple[int, int, int]:
        """Return (level, position, start_ms) of the occupied slot that starts first.

        Without one: an empty slot, with `DUE_END_MS` for its start. The finest occupied level comes
        first, since a level is the rest of the current slot of the next coarser one; within it the
        lowest bit, since none is behind wheel time (invariant 4).

        Cost: O(levels), O(1) until a slot is filled or emptied.
        """
        if self._first is not None:
            return self._first
        first = 0, 0, DUE_END_MS
        for level, occupied in enumerate(self._occupied):
            if occupied:
                position = next_occupied(occupied, 0)
                first = level, position, slot_start_ms(self._elapsed_ms, level, position)
                break
        self._first = first
        return first

    def _take_slot(self, level: int, position: int) -> Slot:
        """Replace a slot by an empty one and return it."""
        slot = self._rows[level][position]
        self._rows[level][position] = {}
        self._occupied[level] &= ~(1 << position)
        self._first = None
        return slot

    def _open(self, level: int, position: int, work_left: int) -> int:
        """Sort a slot, or a piece of it, into a run of the front. Return how many entries.

        Cost: O(n log n) for n <= work_left.
        """
        slot = self._rows[level][position]
        if len(slot) <= work_left:
            self._take_slot(level, position)
        run = _take_some(slot, work_left)
        if level:
            run.sort(reverse=True)
        else:
            # Nearly all are due at the same instant. Sorting by id and then, keeping that order, by
            # due compares single values instead of pairs: a third of the time.
            run.sort(key=itemgetter(1), reverse=True)
            run.sort(key=itemgetter(0), reverse=True)
        self._run_count += 1
        heappush(self._runs, (run[-1][0], run[-1][1], self._run_count, run))
        self.moved_count += len(run)
        return len(run)

    def _cascade(self, work_left: int) -> int:
        """Place up to `work_left` entries of the slot being cascaded again. Return how many.

        Cost: O(work_left) amortised; a target slot that doubles copies its own table meanwhile.
        Source: Varghese & Lauck 1997, scheme 7, PER_TICK_BOOKKEEPING; in pieces here.
        """
        source, places, occupied = self._cascading, self._places, self._occupied
        elapsed_ms = self._elapsed_ms
        batch = _take_some(source, work_left)
        for entry in batch:
            due_ms = entry[0]
            level, shift, row = places[(elapsed_ms ^ due_ms).bit_length()]
            position = due_ms >> shift & SLOT_MASK
            slot = row[position]
            if not slot:
                occupied[level] |= 1 << position
            slot[entry[1]] = entry
        self._first = None
        self.moved_count += len(batch)
        return len(batch)

    def _fire(self, until_ms: int, fired: list[Entry], limit: int, work_left: int) -> int:
        """Take entries due at or before `until_ms` from the front, in order, into `fired`.

        Returns:
            How many cancelled entries were dropped on the way; stops at `work_left` of them.

        Cost: O(log runs) an entry; O(1) while one run is ahead of all others.
        """
        runs, pop, append = self._runs, self._entries.pop, fired.append
        room = limit - len(fired)
        dropped = 0
        while runs and room > 0 and runs[0][0] <= until_ms:
            run = runs[0][3]
            # A shorter tuple sorts before a longer one that it begins: payloads stay out of it.
            stop: tuple[Any, ...] = (until_ms + 1,)
            if len(runs) > 1:
                second = runs[1] if len(runs) == 2 or runs[1] < runs[2] else runs[2]
                if second[0] <= until_ms:
                    stop = second[:2]
            while True:
                # The head of the first run always goes; what follows it, while nothing precedes it.
                entry = run.pop()
                found = pop(entry[1], None)
                if found is entry:
                    append(entry)
                    room -= 1
                else:
                    if found is not None:  # the same id, inserted anew: that one is elsewhere
                        self._entries[entry[1]] = found
                    dropped += 1
                    if dropped >= work_left:
                        room = 0
                if room <= 0 or not run or run[-1] > stop:
                    break
            self._put_back(run)
        return dropped

    def _put_back(self, run: Run) -> None:
        """Restore the heap of runs after entries were taken from its first run."""
        if run:
            number = self._runs[0][2]
            heapreplace(self._runs, (run[-1][0], run[-1][1], number, run))
        else:
            heappop(self._runs)

    def validate(self) -> None:
        """Assert the invariants of the module docstring. For tests: costs O(n log n)."""
        elapsed_ms, placed = self._elapsed_ms, dict(self._cascading)
        count = len(placed)
        for level, row in enumerate(self._rows):
            for position, slot in enumerate(row):
                assert (self._occupied[level] >> position & 1) == bool(slot), "invariant 3"
                start_ms = slot_start_ms(elapsed_ms, level, position)
                assert not slot or start_ms >= elapsed_ms + bool(level), "invariant 4"
                for due_ms, _, _ in slot.values():
                    seen_ms = max(due_ms, elapsed_ms)
                    assert level == level_for(elapsed_ms, seen_ms), "invariant 2"
                    assert position == slot_for(level, seen_ms), "invariant 2"
                placed.update(slot)
                count += len(slot)
        self._validate_front(placed, count)
        if self._cascading:
            dues_ms = [entry[0] for entry in self._cascading.values()]
            assert min(dues_ms) >= elapsed_ms, "invariant 6"
            coarser = level_for(elapsed_ms, max(dues_ms)) + 1
            assert elapsed_ms % slot_span_ms(coarser) == 0, "invariant 6"
        first, self._first = self._first, None
        assert first in (None, self._first_slot()), "invariant 8"
        next_ms, earliest_ms = self.next_due_ms(), self.earliest_due_ms()
        assert (next_ms is None) == (earliest_ms is None) == (not self._entries), "invariant 7"
        if next_ms is not None and earliest_ms is not None:
            assert next_ms <= max(earliest_ms, elapsed_ms), "invariant 7"

    def _validate_front(self, placed: Slot, count: int) -> None:
        """Assert invariants 1 and 5, given the `count` entries found in slots."""
        for index, (due_ms, entry_id, _, run) in enumerate(self._runs):
            assert run and run[-1][:2] == (due_ms, entry_id), "invariant 5"
            keys = [entry[:2] for entry in run]
            assert keys == sorted(keys, reverse=True), "invariant 5"
            assert index == 0 or self._runs[(index - 1) // 2] <= self._runs[index], "invariant 5"
            live = [entry for entry in run if self._entries.get(entry[1]) is entry]
            placed.update((entry[1], entry) for entry in live)
            count += len(live)
        assert count == len(placed) == len(self._entries), "invariant 1"
        assert all(placed[key] is entry for key, entry in self._entries.items()), "invariant 1"


def _take_some(slot: Slot, count_max: int) -> list[Entry]:
    """Take up to `count_max` entries out of a slot, all at once if they fit; in no order."""
    if len(slot) > count_max:
        return [slot.popitem()[1] for _ in range(count_max)]
    batch = list(slot.values())
    slot.clear()
    return batch
