"""What is due and has not gone: first by channel, then in a line at the sender that has no place yet.

Decides: of what the next round is made: of those in line, as many as their sender has places for; of the
others by turns (`core/engine/turns.py`).
Never: reads or writes the store. What stands here still lies in its lane there, and is due as before.

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
        self._probed_ms = 0

    def __len__(self) -> int:
        return len(self._by_channel) + sum(len(line) for line in self._in_line.values())

    def find(self, member: bytes) -> Fired | None:
        """Return the entry of a member, None if it is not here."""
        found = self._by_channel.find(member)
        for line in self._in_line.values():
            found = found or line.find(member)
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
                break
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
            line = self._in_line[key] = Turns()
        if line.find(entry[1]) is None:
            self._barring[channel_of(entry)] += 1
        line.add(entry)

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
        """Return about `limit` entries that go next, and forget them; nothing if none can."""
        out = self._call(limit)
        barred = {number for number, count in self._barring.items() if count >= BAR}
        if len(out) < limit:
            out += self._by_channel.take(limit - len(out), barred)
        if barred and len(out) < limit and self._may_probe(now_ms):
            self._probed_ms = now_ms
            out += self._by_channel.take(PROBES, barred, only_barred=True)
        return out

    def has_any(self, now_ms: int) -> bool:
        """Return whether `take` would return anything."""
        waiting = len(self._by_channel)
        if not self._in_line:
            return waiting > 0
        if any(self.room_of(key) > 0 for key in self._in_line):
            return True
        barred = [number for number, count in self._barring.items() if count >= BAR]
        return waiting > 0 and (
            self._may_probe(now_ms) or waiting > sum(map(self._by_channel.count_of, barred))
        )

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
