"""The timing wheel beside a binary heap with lazy cancel, on one workload and one machine.

Run: `AFTERWORD_BENCH_N=1_000_000 python -m pytest bench/bench_wheel.py`
Smoke: `AFTERWORD_BENCH_N=1_000 python -m pytest bench/bench_wheel.py --benchmark-disable`
Ratio: `python -m bench.bench_wheel` prints microseconds a timer of both, measured in turns.

Workload: N timers with random ids of 16 bytes, due evenly over 24 hours, fired in steps of one
second of at most 512; and a herd, all due in the same millisecond. Both
kinds answer in the same order, and each run checks that nothing was lost.

Units: microseconds a timer; the tables of pytest-benchmark show a whole run instead.
"""

from __future__ import annotations

import gc
import heapq
import os
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from core.bounds import DAY_MS, HOUR_MS, SECOND_MS
from core.timing_wheel.wheel import TimingWheel

TIMER_COUNT = int(os.environ.get("AFTERWORD_BENCH_N", "200_000"))
HERD_COUNT = min(TIMER_COUNT, 100_000)
LIMIT = 512
ROUNDS = 3
NOW_MS = 1_790_000_000_000
FULL_HOUR_MS = NOW_MS // HOUR_MS * HOUR_MS + 10 * HOUR_MS
"""Where herds gather."""

Timer = tuple[bytes, int]


class Timers(Protocol):
    """What both kinds can do."""

    def insert(self, entry_id: bytes, due_ms: int, payload: Any) -> bool: ...
    def cancel(self, entry_id: bytes) -> bool: ...
    def next_due_ms(self) -> int | None: ...
    def advance(self, now_ms: int, limit: int) -> list[tuple[int, bytes, Any]]: ...
    def __len__(self) -> int: ...


class Heap:
    """The baseline: `heapq`, with cancelled entries left in place until they come up."""

    def __init__(self, now_ms: int) -> None:
        self._heap: list[tuple[int, bytes, Any]] = []
        self._entries: dict[bytes, tuple[int, bytes, Any]] = {}

    def insert(self, entry_id: bytes, due_ms: int, payload: Any) -> bool:
        is_new = entry_id not in self._entries
        entry = self._entries[entry_id] = (due_ms, entry_id, payload)
        heapq.heappush(self._heap, entry)
        return is_new

    def cancel(self, entry_id: bytes) -> bool:
        return self._entries.pop(entry_id, None) is not None

    def next_due_ms(self) -> int | None:
        return self._heap[0][0] if self._entries else None

    def advance(self, now_ms: int, limit: int) -> list[tuple[int, bytes, Any]]:
        heap, entries = self._heap, self._entries
        fired: list[tuple[int, bytes, Any]] = []
        while heap and heap[0][0] <= now_ms and len(fired) < limit:
            entry = heapq.heappop(heap)
            if entries.get(entry[1]) is entry:
                del entries[entry[1]]
                fired.append(entry)
        return fired

    def __len__(self) -> int:
        return len(self._entries)


KINDS: dict[str, Callable[[int], Timers]] = {"wheel": TimingWheel, "heapq": Heap}


def day_of_timers(count: int) -> list[Timer]:
    """Timers spread evenly over 24 hours, in no order."""
    source = random.Random(1)
    return [(source.randbytes(16), NOW_MS + source.randrange(1, DAY_MS)) for _ in range(count)]


def herd(count: int) -> list[Timer]:
    """Timers due in the same millisecond."""
    source = random.Random(2)
    return [(source.randbytes(16), FULL_HOUR_MS) for _ in range(count)]


def filled(kind: str, timers: list[Timer]) -> Timers:
    """Insert every timer."""
    held = KINDS[kind](NOW_MS)
    for entry_id, due_ms in timers:
        held.insert(entry_id, due_ms, None)
    return held


def fire_all(held: Timers, step_ms: int = SECOND_MS) -> int:
    """Step through time until nothing is left; return how many fired."""
    fired_count, now_ms = 0, NOW_MS
    while len(held):
        now_ms += step_ms
        while True:
            fired_count += len(held.advance(now_ms, LIMIT))
            next_ms = held.next_due_ms()
            if next_ms is None or next_ms > now_ms:
                break
    return fired_count


def fire_each(held: Timers) -> int:
    """Sleep until there is something to do, as the engine does; return how many fired."""
    fired_count = 0
    while (next_ms := held.next_due_ms()) is not None:
        fired_count += len(held.advance(next_ms, LIMIT))
    return fired_count


def cancel_all(held: Timers, timers: list[Timer]) -> int:
    """Cancel every timer; return how many were there."""
    return sum(held.cancel(entry_id) for entry_id, _ in timers)


def whole_life(kind: str, timers: list[Timer]) -> int:
    """Insert every timer and fire it."""
    return fire_all(filled(kind, timers))


kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def timers() -> list[Timer]:
    return day_of_timers(TIMER_COUNT)


@kinds
def test_insert(benchmark: Any, kind: str, timers: list[Timer]) -> None:
    held = benchmark.pedantic(filled, (kind, timers), rounds=ROUNDS)
    assert len(held) == len(timers)


@kinds
def test_cancel(benchmark: Any, kind: str, timers: list[Timer]) -> None:
    def prepare() -> tuple[tuple[Timers, list[Timer]], dict[str, Any]]:
        return (filled(kind, timers), timers), {}

    assert benchmark.pedantic(cancel_all, setup=prepare, rounds=ROUNDS) == len(timers)


@kinds
def test_advance_in_steps_of_a_second(benchmark: Any, kind: str, timers: list[Timer]) -> None:
    def prepare() -> tuple[tuple[Timers], dict[str, Any]]:
        return (filled(kind, timers),), {}

    assert benchmark.pedantic(fire_all, setup=prepare, rounds=ROUNDS) == len(timers)


@kinds
def test_advance_to_each_due(benchmark: Any, kind: str, timers: list[Timer]) -> None:
    def prepare() -> tuple[tuple[Timers], dict[str, Any]]:
        return (filled(kind, timers),), {}

    assert benchmark.pedantic(fire_each, setup=prepare, rounds=ROUNDS) == len(timers)


@kinds
def test_whole_life(benchmark: Any, kind: str, timers: list[Timer]) -> None:
    assert benchmark.pedantic(whole_life, (kind, timers), rounds=ROUNDS) == len(timers)


@kinds
def test_herd_in_one_millisecond(benchmark: Any, kind: str) -> None:
    def prepare() -> tuple[tuple[Timers], dict[str, Any]]:
        return (filled(kind, herd(HERD_COUNT)),), {}

    assert benchmark.pedantic(fire_each, setup=prepare, rounds=ROUNDS) == HERD_COUNT


def measure_us(work: Callable[[], object], count: int) -> float:
    """Return microseconds a timer of one run, without the garbage collector's share."""
    gc.collect()
    gc.disable()
    try:
        start_ns = time.perf_counter_ns()
        work()
        return (time.perf_counter_ns() - start_ns) / count / 1_000
    finally:
        gc.enable()


def measure_parts_us(kind: str, timers: list[Timer], is_half_cancelled: bool) -> list[float]:
    """Return microseconds a timer: insert, cancel, fire (of those left), all of it."""
    held = KINDS[kind](NOW_MS)
    gone = timers[::2] if is_half_cancelled else []

    def insert() -> None:
        for entry_id, due_ms in timers:
            held.insert(entry_id, due_ms, None)

    parts = [
        measure_us(insert, len(timers)),
        measure_us(lambda: cancel_all(held, gone), len(timers)),
        measure_us(lambda: fire_all(held), len(timers)),
    ]
    return [*parts, sum(parts)]


def main() -> None:
    """Print both kinds side by side, the best of `ROUNDS` runs taken in turns."""
    timers = day_of_timers(TIMER_COUNT)
    print(f"{TIMER_COUNT} timers over 24 h, us a timer: insert, cancel, fire, whole life")
    for title, is_half_cancelled in (("all fire", False), ("half cancelled", True)):
        best: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for kind in KINDS:
                parts = measure_parts_us(kind, timers, is_half_cancelled)
                best[kind] = min(best.get(kind, parts), parts, key=lambda found: found[-1])
        for kind, parts in best.items():
            print(f"{title:15} {kind:6}", *(f"{part:7.2f}" for part in parts))
        print(f"{title:15} heapq / wheel {best['heapq'][-1] / best['wheel'][-1]:.2f}")
    crowd = herd(HERD_COUNT)
    for kind in KINDS:
        held = filled(kind, crowd)
        spent_us = measure_us(lambda held=held: fire_each(held), HERD_COUNT)  # type: ignore[misc]
        print(f"herd of {HERD_COUNT} in one ms, fired: {kind} {spent_us:.2f} us a timer")


if __name__ == "__main__":
    main()
