"""Timers in memory: set, moved, stopped and run out (R7).

Decides: that a newer event moves or stops a timer and an older one does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.bounds import CONTACT_TIMERS_MAX
from core.ports import DueEntry, Stop
from core.records import NO_KEY
from core.timer_records import Timer
from core.timing_wheel.memory_lane import LaneIndex


class Timers:
    """The timers of one partition, by contact, with their index."""

    def __init__(self) -> None:
        self.index = LaneIndex()
        self._by_contact: dict[bytes, list[Timer]] = {}

    def of(self, contact_key: bytes) -> list[Timer]:
        """Return the timers of a contact in the order in which they were first set."""
        return list(self._by_contact.get(contact_key, ()))

    def set(self, contact_key: bytes, timers: Sequence[Timer]) -> bool:
        """Set timers, or move those that are set unless their event is newer; say if any was."""
        held = self._by_contact.get(contact_key, [])
        is_any = False
        for timer in timers:
            at = next((i for i, old in enumerate(held) if old.id == timer.id), None)
            if at is None:
                held.append(timer)
            elif timer.time_ms >= held[at].time_ms:
                held[at] = timer
            else:
                continue
            is_any = True
            self.index.add(contact_key + timer.id, timer.due_ms)
        for timer in held[: max(0, len(held) - CONTACT_TIMERS_MAX)]:
            self.index.remove(contact_key + timer.id)
        self._keep(contact_key, held[-CONTACT_TIMERS_MAX:])
        return is_any

    def is_due(self, contact_key: bytes, timer_id: bytes, due_ms: int) -> bool:
        """Return whether a timer stands at exactly this instant."""
        return self.index.due_ms(contact_key + timer_id) == due_ms

    def drop(self, contact_key: bytes, timer_id: bytes) -> None:
        """Forget a timer."""
        self.index.remove(contact_key + timer_id)
        self._keep(contact_key, [t for t in self.of(contact_key) if t.id != timer_id])

    def stop(self, contact_key: bytes, stop: Stop, time_ms: int) -> None:
        """Forget the timers that a stop is meant for. What happened before a timer's event ends it only
        if it is about the same order or cart."""
        for timer in self.of(contact_key):
            is_tied = stop.order_key == timer.key != NO_KEY
            is_older = stop.order_key == NO_KEY and timer.time_ms <= time_ms
            is_there = stop.channel_number in (0, timer.channel_number)
            if timer.rule_number in stop.rule_numbers and is_there and (is_tied or is_older):
                self.drop(contact_key, timer.id)

    def validate(self) -> None:
        """Assert that every timer is indexed where it stands, and nothing else is."""
        expected = {
            DueEntry(contact_key + timer.id, timer.due_ms)
            for contact_key, timers in self._by_contact.items()
            for timer in timers
        }
        assert set(self.index) == expected, "timers and their index agree"

    def _keep(self, contact_key: bytes, timers: list[Timer]) -> None:
        if timers:
            self._by_contact[contact_key] = timers
        else:
            self._by_contact.pop(contact_key, None)
