"""The timing wheel against the simplest thing that could be right: a list, sorted when asked.

The piece is set to a few entries, so that small examples cascade, split and merge.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core.bounds import DAY_MS, HORIZON_MS
from core.timing_wheel import wheel as wheel_module
from core.timing_wheel.levels import DUE_END_MS
from core.timing_wheel.wheel import TimingWheel

PIECE = 3
STARTS_MS = (0, 1_790_000_000_000, (1 << 42) - 5, 64**5 - 1)
DISTANCES_MS = (1, 2, 63, 64, 65, 4_095, 4_096, 262_144, DAY_MS, 64**5, HORIZON_MS)


class SortedList:
    """The model: every operation looks at everything."""

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[int, bytes, Any]] = {}

    def due(self, now_ms: int) -> list[tuple[int, bytes, Any]]:
        return sorted(entry for entry in self.entries.values() if entry[0] <= now_ms)

    def earliest_due_ms(self) -> int | None:
        return min((entry[0] for entry in self.entries.values()), default=None)


class Pair:
    """A wheel and its model, driven together and compared after every step."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.wheel = TimingWheel(now_ms)
        self.model = SortedList()
        self.serial = 0

    def insert(self, entry_id: bytes, due_ms: int) -> None:
        self.serial += 1
        is_new = entry_id not in self.model.entries
        assert self.wheel.insert(entry_id, due_ms, self.serial) == is_new
        self.model.entries[entry_id] = (due_ms, entry_id, self.serial)

    def cancel(self, entry_id: bytes) -> None:
        was_there = self.model.entries.pop(entry_id, None) is not None
        assert self.wheel.cancel(entry_id) == was_there

    def advance(self, now_ms: int, limit: int) -> None:
        """One call: what fires is the beginning of what is due; if it stops short, it says so."""
        self.now_ms = now_ms
        due = self.model.due(now_ms)
        fired = self.wheel.advance(now_ms, limit)
        assert fired == due[: len(fired)]
        assert len(fired) <= limit
        for _, entry_id, _ in fired:
            del self.model.entries[entry_id]
        if len(fired) < len(due):
            next_ms = self.wheel.next_due_ms()
            assert next_ms is not None
            assert next_ms <= now_ms

    def drain(self, now_ms: int, limit: int) -> None:
        """Calls until nothing is left to do: everything due has fired, in a bounded number."""
        calls_left = 20 + 12 * len(self.model.entries) // PIECE + len(self.model.entries)
        self.advance(now_ms, limit)
        while (next_ms := self.wheel.next_due_ms()) is not None and next_ms <= now_ms:
            self.advance(now_ms, limit)
            calls_left -= 1
            assert calls_left > 0, "advance makes progress"
        assert not self.model.due(now_ms)

    def compare(self) -> None:
        self.wheel.validate()
        assert len(self.wheel) == len(self.model.entries)
        assert all(entry_id in self.wheel for entry_id in self.model.entries)
        earliest_ms = self.model.earliest_due_ms()
        assert self.wheel.earliest_due_ms() == earliest_ms
        next_ms = self.wheel.next_due_ms()
        assert (next_ms is None) == (earliest_ms is None)
        if next_ms is not None and earliest_ms is not None:
            assert next_ms <= max(earliest_ms, self.now_ms)


@pytest.fixture(autouse=True)
def _small_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel_module, "PIECE", PIECE)


ids = st.integers(0, 15).map(lambda number: bytes([number]))
distances = st.one_of(
    st.sampled_from(DISTANCES_MS),
    st.integers(0, 130),
    st.integers(0, 36).flatmap(lambda bits: st.integers(0, 1 << bits)),
)
limits = st.sampled_from((1, 2, 5, 100))


class WheelAgainstModel(RuleBasedStateMachine):
    """Any operations in any order."""

    @initialize(now_ms=st.sampled_from(STARTS_MS))
    def start(self, now_ms: int) -> None:
        self.pair = Pair(now_ms)

    @rule(entry_id=ids, distance_ms=distances)
    def insert_ahead(self, entry_id: bytes, distance_ms: int) -> None:
        self.pair.insert(entry_id, min(self.pair.now_ms + distance_ms, DUE_END_MS - 1))

    @rule(entry_id=ids, distance_ms=distances)
    def insert_late(self, entry_id: bytes, distance_ms: int) -> None:
        self.pair.insert(entry_id, self.pair.now_ms - distance_ms)

    @rule(distance_ms=distances, count=st.integers(2, 16))
    def insert_herd(self, distance_ms: int, count: int) -> None:
        due_ms = min(self.pair.now_ms + distance_ms, DUE_END_MS - 1)
        for number in range(count):
            self.pair.insert(bytes([number * 5 % 16]), due_ms)

    @rule(entry_id=ids)
    def cancel(self, entry_id: bytes) -> None:
        self.pair.cancel(entry_id)

    @rule(distance_ms=distances, limit=limits)
    def advance(self, distance_ms: int, limit: int) -> None:
        self.pair.advance(self.pair.now_ms + distance_ms, limit)

    @rule(limit=limits)
    def advance_to_the_next_instant(self, limit: int) -> None:
        next_ms = self.pair.wheel.next_due_ms()
        self.pair.advance(max(self.pair.now_ms, next_ms or 0), limit)

    @rule(distance_ms=distances, limit=limits)
    def drain(self, distance_ms: int, limit: int) -> None:
        self.pair.drain(self.pair.now_ms + distance_ms, limit)

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "pair"):
            self.pair.compare()


TestWheelAgainstModel = WheelAgainstModel.TestCase
TestWheelAgainstModel.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("seed", range(12))
def test_long_random_lives_agree_with_the_sorted_list(seed: int) -> None:
    """Many more entries than the state machine holds, so that slots overflow at several levels."""
    source = random.Random(seed)
    pair = Pair(source.choice(STARTS_MS))
    span_bits = source.choice((4, 8, 14, 20, 33))
    for step in range(400):
        entry_id = source.randrange(120).to_bytes(1, "big")
        draw = source.random()
        if draw < 0.6:
            pair.insert(entry_id, pair.now_ms + source.randrange(-5, 1 << span_bits))
        elif draw < 0.75:
            pair.cancel(entry_id)
        elif draw < 0.97:
            jump_ms = source.randrange(1 << source.randrange(span_bits))
            pair.advance(pair.now_ms + jump_ms, source.randrange(1, 9))
        else:
            pair.drain(pair.now_ms + source.randrange(1 << span_bits), 7)
        if step % 4 == 0:
            pair.compare()
    pair.drain(pair.now_ms + (1 << span_bits) + 1, 7)
    assert len(pair.wheel) == 0
