"""The two directories of a partition in memory: events first seen (E6), who ordered what (E7).

Decides: what is remembered of an event id and of an order, and for how long (E14).
Never: what follows from it; a mark is no proof that the event was applied.

Entries live in generations of fixed length, counted from the epoch. A write goes to the present
generation, a read looks there and in the one before: an entry lives one to two generations from its
last write. Event marks are written once; orders are copied forward by each note of them.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from core.bounds import EVENT_GENERATION_MS, ORDER_GENERATION_MS
from core.ports import EventMark, MarkAnswer, OrderAnswer, OrderNote
from core.records import NO_KEY

Value = TypeVar("Value")


class Generations(Generic[Value]):
    """Entries by key, which die with the generation after the one they were written in."""

    def __init__(self, length_ms: int) -> None:
        self._length_ms = length_ms
        self._entries: dict[int, dict[bytes, Value]] = {}

    def present(self, key: bytes, now_ms: int) -> Value | None:
        """Return the entry of the present generation."""
        return self._entries.get(now_ms // self._length_ms, {}).get(key)

    def previous(self, key: bytes, now_ms: int) -> Value | None:
        """Return the entry of the generation before."""
        return self._entries.get(now_ms // self._length_ms - 1, {}).get(key)

    def put(self, key: bytes, value: Value, now_ms: int) -> None:
        """Write the entry into the present generation."""
        self._entries.setdefault(now_ms // self._length_ms, {})[key] = value

    def reachable(self, now_ms: int) -> list[dict[bytes, Value]]:
        """Return the entries of the present generation and of the one before."""
        number = now_ms // self._length_ms
        return [self._entries.get(number, {}), self._entries.get(number - 1, {})]

    def drop_dead(self, now_ms: int) -> None:
        """Forget the generations that no read can reach any more."""
        oldest = now_ms // self._length_ms - 1
        for generation in [number for number in self._entries if number < oldest]:
            del self._entries[generation]


class EventDirectory:
    """Event ids, first wins."""

    def __init__(self) -> None:
        self._marks: Generations[EventMark] = Generations(EVENT_GENERATION_MS)

    def find(self, event_key: bytes, now_ms: int) -> EventMark | None:
        """Return the first sight of an event, None if it was never seen or is forgotten."""
        found = self._marks.present(event_key, now_ms)
        return found if found is not None else self._marks.previous(event_key, now_ms)

    def mark(self, mark: EventMark, now_ms: int) -> MarkAnswer:
        """Record an event unless it is known, and return what is known of it."""
        found = self.find(mark.event_key, now_ms)
        if found is None:
            self._marks.put(mark.event_key, mark, now_ms)
            return MarkAnswer(True, True, mark.contact_key)
        return MarkAnswer(False, found.body_hash == mark.body_hash, found.contact_key)

    def forget(self, event_key: bytes, now_ms: int) -> None:
        """Drop the mark of an event: seen again, it is new."""
        for entries in self._marks.reachable(now_ms):
            entries.pop(event_key, None)

    def drop_dead(self, now_ms: int) -> None:
        """Forget what has outlived its two generations."""
        self._marks.drop_dead(now_ms)


class OrderEntry(msgspec.Struct, frozen=True):
    """What is known of an order: who was ever named for it, and which event types ended it."""

    contact_keys: tuple[bytes, ...] = ()
    tombstones: tuple[tuple[int, int], ...] = ()

    def with_note(self, note: OrderNote) -> OrderEntry:
        """Return the entry with a note added; a contact or an event type stands once."""
        contact_keys, tombstones = self.contact_keys, self.tombstones
        if note.contact_key != NO_KEY and note.contact_key not in contact_keys:
            contact_keys += (note.contact_key,)
        if note.stop_event_type and all(t[0] != note.stop_event_type for t in tombstones):
            tombstones += ((note.stop_event_type, note.time_ms),)
        return OrderEntry(contact_keys, tombstones)


class OrderDirectory:
    """Orders, with the contacts that were named for them and their tombstones."""

    def __init__(self) -> None:
        self._orders: Generations[OrderEntry] = Generations(ORDER_GENERATION_MS)

    def note(self, note: OrderNote, now_ms: int) -> OrderAnswer:
        """Write, then read. Any note renews a known order; one that says nothing makes none."""
        known = self._orders.present(note.order_key, now_ms)
        if known is None:
            known = self._orders.previous(note.order_key, now_ms) or OrderEntry()
        known = known.with_note(note)
        if known != OrderEntry():
            self._orders.put(note.order_key, known, now_ms)
        return OrderAnswer(known.contact_keys, known.tombstones)

    def forget(self, order_key: bytes, contact_key: bytes, now_ms: int) -> None:
        """Take a contact out of an order's entry; an entry that says nothing any more goes."""
        for entries in self._orders.reachable(now_ms):
            known = entries.get(order_key)
            if known is None:
                continue
            left = tuple(key for key in known.contact_keys if key != contact_key)
            if left or known.tombstones:
                entries[order_key] = OrderEntry(left, known.tombstones)
            else:
                del entries[order_key]

    def drop_dead(self, now_ms: int) -> None:
        """Forget what has outlived its two generations."""
        self._orders.drop_dead(now_ms)
