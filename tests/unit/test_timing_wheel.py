"""What the timing wheel does, one sentence a test. Numbers in brackets: its invariants."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from core.bounds import HORIZON_MS, HOUR_MS
from core.timing_wheel import wheel as wheel_module
from core.timing_wheel.levels import DUE_END_MS
from core.timing_wheel.wheel import PIECE, TimingWheel

NOW_MS = 1_790_000_000_000
HOUR_START_MS = NOW_MS // HOUR_MS * HOUR_MS + 10 * HOUR_MS
"""A full hour: where herds gather, and always the start of a slot of level 1."""


class Incomparable:
    """A payload that must never be compared."""

    def __lt__(self, other: object) -> bool:
        raise AssertionError("payloads have no order")

    __gt__ = __le__ = __ge__ = __lt__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("payloads are not compared")

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def wheel() -> Iterator[TimingWheel]:
    """A wheel that must hold its invariants after whatever the test did."""
    wheel = TimingWheel(NOW_MS)
    yield wheel
    wheel.validate()


def key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def drain(wheel: TimingWheel, now_ms: int, limit: int = 512) -> list[tuple[int, bytes, Any]]:
    """Advance until nothing is left to do at this instant."""
    fired = wheel.advance(now_ms, limit)
    while (next_ms := wheel.next_due_ms()) is not None and next_ms <= now_ms:
        fired += wheel.advance(now_ms, limit)
    return fired


# --- one entry ----------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_ms", [1, 63, 64, 65, 4_096, 262_144, 64**4 + 1, HORIZON_MS])
def test_an_entry_fires_at_its_millisecond_and_not_before(
    wheel: TimingWheel, delay_ms: int
) -> None:
    """pitfall:sent-early."""
    wheel.insert(b"a", NOW_MS + delay_ms, "payload")
    assert drain(wheel, NOW_MS + delay_ms - 1) == []
    assert drain(wheel, NOW_MS + delay_ms) == [(NOW_MS + delay_ms, b"a", "payload")]
    assert len(wheel) == 0


def test_an_entry_due_in_the_past_fires_at_the_next_advance(wheel: TimingWheel) -> None:
    wheel.insert(b"a", NOW_MS - HOUR_MS, None)
    wheel.insert(b"b", -1, None)
    assert wheel.advance(NOW_MS, 10) == [(-1, b"b", None), (NOW_MS - HOUR_MS, b"a", None)]


def test_insert_tells_a_new_id_from_a_known_one(wheel: TimingWheel) -> None:
    assert wheel.insert(b"a", NOW_MS + 5, None)
    assert not wheel.insert(b"a", NOW_MS + 5, None)
    assert not wheel.insert(b"a", NOW_MS + 9, None)
    assert len(wheel) == 1


@pytest.mark.parametrize(("first_ms", "second_ms"), [(5, 7_000_000), (7_000_000, 5), (5, -5)])
def test_a_known_id_is_moved_to_its_new_due(
    wheel: TimingWheel, first_ms: int, second_ms: int
) -> None:
    wheel.insert(b"a", NOW_MS + first_ms, "old")
    wheel.insert(b"a", NOW_MS + second_ms, "new")
    assert drain(wheel, NOW_MS + 8_000_000) == [(NOW_MS + second_ms, b"a", "new")]


def test_a_known_id_with_the_same_due_takes_the_new_payload(wheel: TimingWheel) -> None:
    wheel.insert(b"a", NOW_MS + 5, "old")
    wheel.insert(b"a", NOW_MS + 5, "new")
    assert drain(wheel, NOW_MS + 5) == [(NOW_MS + 5, b"a", "new")]


def test_a_cancelled_entry_never_fires(wheel: TimingWheel) -> None:
    wheel.insert(b"a", NOW_MS + 5, None)
    assert wheel.cancel(b"a")
    assert b"a" not in wheel
    assert wheel.next_due_ms() is None
    assert drain(wheel, NOW_MS + 10) == []


def test_cancel_of_an_unknown_or_fired_id_returns_false(wheel: TimingWheel) -> None:
    wheel.insert(b"a", NOW_MS + 1, None)
    drain(wheel, NOW_MS + 1)
    assert not wheel.cancel(b"a")
    assert not wheel.cancel(b"b")


def test_time_that_goes_back_is_a_broken_promise(wheel: TimingWheel) -> None:
    wheel.advance(NOW_MS + 5, 1)
    with pytest.raises(AssertionError):
        wheel.advance(NOW_MS + 4, 1)


def test_a_due_past_six_bytes_is_refused(wheel: TimingWheel) -> None:
    wheel.insert(b"a", DUE_END_MS - 1, None)
    with pytest.raises(AssertionError):
        wheel.insert(b"b", DUE_END_MS, None)


def test_an_entry_survives_the_carry_of_2109() -> None:
    wheel = TimingWheel((1 << 42) - 10)
    wheel.insert(b"a", (1 << 42) + 10, None)
    wheel.validate()
    assert drain(wheel, (1 << 42) + 9) == []
    assert drain(wheel, (1 << 42) + 10) == [((1 << 42) + 10, b"a", None)]


# --- when to look again (7) ---------------------------------------------------------------------


def test_an_empty_wheel_has_no_next_instant(wheel: TimingWheel) -> None:
    assert wheel.next_due_ms() is None
    assert wheel.earliest_due_ms() is None


def test_next_due_is_exact_within_the_finest_level() -> None:
    wheel = TimingWheel(NOW_MS // 64 * 64)
    wheel.insert(b"a", NOW_MS // 64 * 64 + 9, None)
    assert wheel.next_due_ms() == NOW_MS // 64 * 64 + 9


def test_sleeping_until_next_due_never_oversleeps_and_wakes_few_times(wheel: TimingWheel) -> None:
    due_ms = NOW_MS + HORIZON_MS
    wheel.insert(b"a", due_ms, None)
    wakes = 0
    while (next_ms := wheel.next_due_ms()) is not None:
        assert next_ms <= due_ms
        wheel.advance(next_ms, 10)
        wakes += 1
    assert wakes == 2, "one to open the slot, one to fire"


def test_earliest_due_is_exact_in_slots_front_and_past(wheel: TimingWheel) -> None:
    dues_ms = [NOW_MS + offset_ms for offset_ms in (90_000_001, 90_000_000, 70_000, 65, 12, -3)]
    for number, due_ms in enumerate(dues_ms):
        wheel.insert(key(number), due_ms, None)
        assert wheel.earliest_due_ms() == due_ms
    wheel.advance(NOW_MS + 66, 10)
    assert wheel.earliest_due_ms() == NOW_MS + 70_000


def test_earliest_due_passes_over_what_was_cancelled_in_the_front(wheel: TimingWheel) -> None:
    for number in range(4):
        wheel.insert(key(number), HOUR_START_MS + 10 + number, None)
    wheel.advance(HOUR_START_MS, 10)
    wheel.cancel(key(0))
    wheel.cancel(key(1))
    assert wheel.earliest_due_ms() == HOUR_START_MS + 12


# --- order --------------------------------------------------------------------------------------


def test_entries_fire_in_the_order_of_due_then_id(wheel: TimingWheel) -> None:
    source = random.Random(5)
    entries = [
        (NOW_MS + source.randrange(20_000) // 7, source.randbytes(4), None) for _ in range(3_000)
    ]
    for due_ms, entry_id, payload in entries:
        wheel.insert(entry_id, due_ms, payload)
    assert drain(wheel, NOW_MS + 20_000, limit=100) == sorted(entries)


def test_advance_returns_at_most_the_limit_and_says_that_more_is_due(wheel: TimingWheel) -> None:
    for number in range(10):
        wheel.insert(key(number), NOW_MS + 1, None)
    assert [entry_id for _, entry_id, _ in wheel.advance(NOW_MS + 1, 4)] == [*map(key, range(4))]
    next_ms = wheel.next_due_ms()
    assert next_ms is not None
    assert next_ms <= NOW_MS + 1


def test_an_earlier_entry_inserted_while_a_slot_is_served_goes_first(wheel: TimingWheel) -> None:
    for number in range(10):
        wheel.insert(key(number), NOW_MS + 100, None)
    assert len(wheel.advance(NOW_MS + 500, 3)) == 3
    wheel.insert(b"late", NOW_MS + 99, None)
    wheel.insert(key(0), NOW_MS + 100, None)
    fired = [entry_id for _, entry_id, _ in wheel.advance(NOW_MS + 500, 3)]
    assert fired == [b"late", key(0), key(3)]


def test_an_entry_inserted_into_an_opened_range_fires_between_its_neighbours(
    wheel: TimingWheel,
) -> None:
    start_ms = NOW_MS // 4_096 * 4_096 + 2 * 4_096
    wheel.insert(b"a", start_ms + 1_000, None)
    wheel.insert(b"c", start_ms + 3_000, None)
    assert wheel.advance(start_ms, 10) == []
    wheel.insert(b"b", start_ms + 2_000, None)
    wheel.validate()
    assert [entry_id for _, entry_id, _ in drain(wheel, start_ms + 4_000)] == [b"a", b"b", b"c"]


def test_payloads_are_never_compared(wheel: TimingWheel) -> None:
    """The same (due, id) stands in the front twice: once cancelled, once alive."""
    for _ in range(2):
        for number in range(3):
            wheel.insert(key(number), NOW_MS - 1, Incomparable())
        wheel.insert(b"far", NOW_MS + HOUR_MS, Incomparable())
        wheel.advance(NOW_MS, 1)
        for number in range(3):
            wheel.cancel(key(number))
            wheel.insert(key(number), NOW_MS - 1, Incomparable())
    fired = drain(wheel, NOW_MS, limit=1)
    assert [entry_id for _, entry_id, _ in fired] == [key(0), key(1), key(2)]


def test_an_entry_moved_out_of_the_front_and_back_fires_once(wheel: TimingWheel) -> None:
    for number in range(3):
        wheel.insert(key(number), HOUR_START_MS + 10, None)
    wheel.advance(HOUR_START_MS, 10)
    wheel.insert(key(1), HOUR_START_MS + HOUR_MS, None)
    wheel.validate()
    wheel.insert(key(1), HOUR_START_MS + 10, "again")
    wheel.validate()
    assert [payload for _, _, payload in drain(wheel, HOUR_START_MS + 10)] == [None, "again", None]
    assert drain(wheel, HOUR_START_MS + 2 * HOUR_MS) == []


# --- bounded work -------------------------------------------------------------------------------


def count_calls(wheel: TimingWheel, now_ms: int, limit: int) -> int:
    """Advance once. Return how many functions, of any kind, were called inside."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        wheel.advance(now_ms, limit)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("spread_ms", [1, 60, 4_000, 200_000])
def test_a_big_slot_is_moved_in_pieces_and_the_order_still_holds(
    wheel: TimingWheel, spread_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel_module, "PIECE", 100)
    source = random.Random(3)
    entries = [
        (HOUR_START_MS + source.randrange(spread_ms), source.randbytes(8), None)
        for _ in range(3_000)
    ]
    for due_ms, entry_id, payload in entries:
        wheel.insert(entry_id, due_ms, payload)
    now_ms, fired = HOUR_START_MS + spread_ms, []
    while (next_ms := wheel.next_due_ms()) is not None:
        assert next_ms <= now_ms
        moved_before = wheel.moved_count
        fired += wheel.advance(now_ms, 64)
        assert wheel.moved_count - moved_before <= 100
        wheel.validate()
    assert fired == sorted(entries)


def test_no_call_does_more_work_than_a_constant(
    wheel: TimingWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from outside: function calls of any kind, however large the slot is."""
    monkeypatch.setattr(wheel_module, "PIECE", 200)
    for number in range(10_000):
        wheel.insert(key(number), HOUR_START_MS, None)
    calls_max = 0
    while len(wheel):
        calls_max = max(calls_max, count_calls(wheel, HOUR_START_MS, 200))
    assert 200 < calls_max <= 8 * 200


def test_nothing_fires_while_a_cascade_is_unfinished(
    wheel: TimingWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel_module, "PIECE", 10)
    for number in range(35):
        wheel.insert(key(number), HOUR_START_MS + 35 - number, None)
    drain(wheel, HOUR_START_MS - 1)
    answers = [wheel.advance(HOUR_START_MS + 40, 5) for _ in range(3)]
    assert answers == [[], [], []]
    assert wheel.next_due_ms() == HOUR_START_MS
    assert wheel.earliest_due_ms() == HOUR_START_MS + 1
    assert [due_ms for due_ms, _, _ in drain(wheel, HOUR_START_MS + 40)] == [
        HOUR_START_MS + offset_ms for offset_ms in range(1, 36)
    ]


def test_an_entry_can_be_cancelled_moved_and_added_while_its_slot_is_cascaded(
    wheel: TimingWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel_module, "PIECE", 10)
    for number in range(40):
        wheel.insert(key(number), HOUR_START_MS + number, None)
    drain(wheel, HOUR_START_MS - 1)
    assert wheel.advance(HOUR_START_MS + 63, 5) == []
    for number in range(0, 40, 2):
        assert wheel.cancel(key(number))
        wheel.validate()
    for number in range(1, 40, 4):
        wheel.insert(key(number), HOUR_START_MS + 50, "moved")
        wheel.validate()
    wheel.insert(b"new", HOUR_START_MS + 2, None)
    fired = drain(wheel, HOUR_START_MS + 63, limit=7)
    assert fired[0][1] == b"new"
    assert [entry_id for _, entry_id, _ in fired[1:]] == [
        *map(key, range(3, 40, 4)),
        *map(key, range(1, 40, 4)),
    ]


def test_a_cascade_whose_rest_is_cancelled_is_over(
    wheel: TimingWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel_module, "PIECE", 10)
    for number in range(40):
        wheel.insert(key(number), HOUR_START_MS + 1 + number, None)
    wheel.insert(b"far", HOUR_START_MS + HOUR_MS, None)
    drain(wheel, HOUR_START_MS - 1)
    assert wheel.advance(HOUR_START_MS, 5) == []
    for number in range(40):
        wheel.cancel(key(number))
    assert len(wheel) == 1
    assert drain(wheel, HOUR_START_MS + HOUR_MS) == [(HOUR_START_MS + HOUR_MS, b"far", None)]


def test_entries_cancelled_in_the_front_are_dropped_in_pieces(
    wheel: TimingWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel_module, "PIECE", 50)
    for number in range(500):
        wheel.insert(key(number), HOUR_START_MS, None)
    while not wheel.advance(HOUR_START_MS, 1):
        pass
    for number in range(1, 499):
        wheel.cancel(key(number))
    calls = []
    while len(wheel):
        calls.append(count_calls(wheel, HOUR_START_MS, 1))
    assert len(calls) == 10, "498 dropped, 50 a call, then the last one fires"
    assert max(calls) <= 8 * 50


# --- a herd in one millisecond ------------------------------------------------------------------


class CountedId(bytes):
    """An id that counts how often it is asked for its order."""

    asked_count = 0

    def __lt__(self, other: bytes) -> bool:
        CountedId.asked_count += 1
        return bytes.__lt__(self, other)

    def __gt__(self, other: bytes) -> bool:
        CountedId.asked_count += 1
        return bytes.__gt__(self, other)


def test_a_herd_is_sorted_once_and_not_again_by_each_call(wheel: TimingWheel) -> None:
    source, count, limit = random.Random(9), 3 * PIECE, 100
    for _ in range(count):
        wheel.insert(CountedId(source.randbytes(8)), HOUR_START_MS, None)
    fired: list[bytes] = []
    while not fired:
        CountedId.asked_count = 0
        fired += [entry_id for _, entry_id, _ in wheel.advance(HOUR_START_MS, limit)]
    while len(wheel):
        CountedId.asked_count = 0
        fired += [entry_id for _, entry_id, _ in wheel.advance(HOUR_START_MS, limit)]
        assert CountedId.asked_count <= 8 * limit, "a merge of few runs, not a sort"
    assert fired == sorted(fired)
    assert len(fired) == count
