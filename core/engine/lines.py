"""What is due and has not gone: first by channel, then in a line at the sender that has no place yet.

Decides: of what the next round is made: of those in line, as many as their sender has places for; of the
others by turns (`core/engine/turns.py`).
Never: reads or writes the store. What stands here still lies in its lane there, and is due as before.

A line takes at most half of a round, as long as channels wait of which nothing stands there: after an
outage it may be long and its sender have much room, and they need not wait for its end.

Rounds run side by side, but never two with the same contact: what would go while another round has not
claimed what it has of that contact stands aside until it has, so that of two entries of one contact the
earlier is claimed first (R26).

A channel of which `BAR` entries stand in line lets no more in, but for a few, `PROBES` every
`PROBE_PAUSE_MS`: what it has for other senders lies somewhere behind, and only reading an entry tells
which sender it needs.

Memory: an index entry of about 400 bytes for each, counted against `bounds.WHEEL_ENTRIES_MAX` together
with the wheel; a line holds `LINE_MAX` at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from core.engine.turns import Fired, Turns, channel_of

BAR: Final = 256
PROBES: Final = 64
PROBE_PAUSE_MS: Final = 250
LINE_MAX: Final = 16_384
"""Entries in line at one sender; what comes on top is put off in the store."""


def _none(key: str) -> int:
    return 0


class Lines:
    """Due entries of one process, each once."""

    def __init__(self) -> None:
        self.room_of: Callable[[str], int] = _none
        """How many letters a sender takes now."""
        self._by_channel = Turns()
        self._in_line: dict[str, Turns] = {}
        self._barring: Counter[int] = Counter()
        """Channel to how many of its entries stand in line."""
        self._called: dict[bytes, str] = {}
        """Member to the sender whose place is kept for it, while it is read and judged."""
        self._kept: Counter[str] = Counter()
        self._under_way: dict[bytes, list[Fired]] = {}
        """Contact of which a round has not claimed yet, to what stands aside for that round."""
        self._aside = 0
        self._probed_ms = 0

    def __len__(self) -> int:
        in_line = sum(len(line) for line in self._in_line.values())
        return len(self._by_channel) + in_line + self._aside

    def find(self, member: bytes) -> Fired | None:
        """Return the entry of a member, None if it is not here."""
        found = self._by_channel.find(member)
        for line in self._in_line.values():
            found = found or line.find(member)
        if found is None:
            aside = self._under_way.get(member[:8], ())
            found = next((entry for entry in aside if entry[1] == member), None)
        return found

    def add(self, entry: Fired) -> None:
        """Let what is due wait for its turn."""
        self._by_channel.add(entry)

    def drop(self, member: bytes) -> Fired | None:
        """Forget a member; return its entry, None if it was not here."""
        found = self._by_channel.drop(member)
        if found is not None:
            return found
        for key, line in self._in_line.items():
            found = line.drop(member)
            if found is not None:
                self._left(key, [found])
                return found
        found = self.find(member)
        if found is not None:
            self._under_way[member[:8]].remove(found)
            self._aside -= 1
        return found

    # Lines at senders ---------------------------------------------------------------------------

    def length(self, key: str) -> int:
        """Return how many stand in line at a sender."""
        line = self._in_line.get(key)
        return 0 if line is None else len(line)

    def hold(self, key: str, entry: Fired) -> None:
        """Let an entry stand in line at a sender."""
        line = self._in_line.get(key)
        if line is None:
            line = self._in_line[key] = Turns(quantum=1)
        if line.find(entry[1]) is None:
            self._barring[channel_of(entry)] += 1
        line.add(entry)

    def has_before(self, key: str, entry: Fired) -> bool:
        """Return whether of the same contact something stands in line at a sender that is due no
        later than an entry of a round."""
        line = self._in_line.get(key)
        return line is not None and line.has_before(entry)

    def has_aside(self, entry: Fired) -> bool:
        """Return whether something stands aside for the round of an entry that is due no later."""
        return any(one[0] <= entry[0] for one in self._under_way.get(entry[1][:8], ()))

    def waiting_at(self) -> list[str]:
        """Return the senders at which anything stands in line."""
        return list(self._in_line)

    def disperse(self) -> None:
        """Let all that stands in line wait by channel again: it may need another sender by now."""
        for line in self._in_line.values():
            while waiting := line.take(LINE_MAX):
                for entry in waiting:
                    self._by_channel.add(entry)
        self._in_line.clear()
        self._barring.clear()

    def kept(self, key: str) -> int:
        """Return how many places of a sender are kept for what was called."""
        return self._kept[key]

    def arrived(self, members: Iterable[bytes]) -> set[bytes]:
        """Give up the places kept for members, who take them now or not at all; return who had one."""
        found = set()
        for member in members:
            key = self._called.pop(member, None)
            if key is not None:
                found.add(member)
                self._kept[key] -= 1
                if not self._kept[key]:
                    del self._kept[key]
        return found

    # A round ------------------------------------------------------------------------------------

    def take(self, limit: int, now_ms: int) -> list[Fired]:
        """Return about `limit` entries that go next, and forget them; nothing if none can.

        The caller tells `claimed` once their round has.
        """
        served = self._served()
        out = self._by_channel.take(limit // 2, served | self._barred()) if served else []
        out += self._call(limit - len(out))
        barred = self._barred()
        if len(out) < limit:
            out += self._by_channel.take(limit - len(out), barred)
        if barred and len(out) < limit and self._may_probe(now_ms):
            self._probed_ms = now_ms
            out += self._by_channel.take(PROBES, barred, only_barred=True)
        return self._begin(out)

    def take_light(self, limit: int) -> list[Fired]:
        """Return about `limit` entries that need not wait for a heap: those that have a place at their
        sender, and those of channels with few. See `take`."""
        waiting = self._by_channel
        out = waiting.take_light(limit // 2) if waiting.has_heap() else []
        out += self._call(limit - len(out))
        if len(out) < limit and waiting.has_heap():
            out += waiting.take_light(limit - len(out))
        return self._begin(out)

    def has_light(self) -> bool:
        """Return whether `take_light` would return anything."""
        waiting = self._by_channel
        return (waiting.has_heap() and waiting.has_light()) or self._has_room()

    def claimed(self, fired: Iterable[Fired]) -> None:
        """Let what stood aside for a round wait for its turn again: it has claimed, or given up."""
        for _, member, _ in fired:
            aside = self._under_way.pop(member[:8], ())
            self._aside -= len(aside)
            for entry in aside:
                self._by_channel.add(entry)

    def _begin(self, taken: list[Fired]) -> list[Fired]:
        """Return what may go now; what has a contact that is under way stands aside."""
        under_way = self._under_way
        going: list[Fired] = []
        for entry in taken:
            aside = under_way.get(entry[1][:8])
            if aside is None:
                going.append(entry)
                continue
            aside.append(entry)
            self._aside += 1
            self.arrived([entry[1]])
        for _, member, _ in going:
            under_way.setdefault(member[:8], [])
        return going

    def has_any(self, now_ms: int) -> bool:
        """Return whether `take` would return anything."""
        waiting = len(self._by_channel)
        if not self._in_line:
            return waiting > 0
        if self._has_room():
            return True
        return waiting > 0 and (
            self._may_probe(now_ms) or waiting > sum(map(self._by_channel.count_of, self._barred()))
        )

    def _barred(self) -> set[int]:
        return {number for number, count in self._barring.items() if count >= BAR}

    def _served(self) -> set[int]:
        """Return the channels of those in line at senders that have room: they go in their order."""
        lines = (line for key, line in self._in_line.items() if self.room_of(key) > 0)
        return {number for line in lines for number in line.channels()}

    def _has_room(self) -> bool:
        return any(self.room_of(key) > 0 for key in self._in_line)

    def _may_probe(self, now_ms: int) -> bool:
        return now_ms >= self._probed_ms + PROBE_PAUSE_MS

    def _call(self, limit: int) -> list[Fired]:
        """Take from the lines what their senders have places for."""
        out: list[Fired] = []
        for key, line in list(self._in_line.items()):
            room = min(self.room_of(key), limit - len(out))
            if room <= 0:
                continue
            called = line.take(room)
            for _, member, _ in called:
                self._called[member] = key
            self._kept[key] += len(called)
            self._left(key, called)
            out += called
        return out

    def _left(self, key: str, entries: Iterable[Fired]) -> None:
        for entry in entries:
            number = channel_of(entry)
            self._barring[number] -= 1
            if not self._barring[number]:
                del self._barring[number]
        # Those served go to the end, so that the first lines do not take all of a round.
        line = self._in_line.pop(key)
        if len(line):
            self._in_line[key] = line
