"""Slot arithmetic of the timing wheel, against the positional number system it is defined by."""

from __future__ import annotations

import random

import pytest

from core.bounds import HORIZON_MS
from core.timing_wheel.levels import (
    DUE_END_MS,
    LEVEL_COUNT,
    SLOT_COUNT,
    level_for,
    next_occupied,
    slot_for,
    slot_span_ms,
    slot_start_ms,
)

NOW_MS = 1_790_000_000_000


def digits(instant_ms: int) -> list[int]:
    """Base-64 digits, least significant first, by plain division."""
    return [instant_ms // 64**place % 64 for place in range(LEVEL_COUNT)]


def instants(count: int) -> list[tuple[int, int]]:
    """Pairs (elapsed, due >= elapsed), with distances of every order of magnitude."""
    source = random.Random(7)
    pairs = []
    for _ in range(count):
        elapsed_ms = source.randrange(DUE_END_MS >> source.randrange(48))
        distance_ms = source.randrange(DUE_END_MS >> source.randrange(48))
        pairs.append((elapsed_ms, min(elapsed_ms + distance_ms, DUE_END_MS - 1)))
    return pairs


def test_level_is_the_highest_digit_in_which_the_instants_differ() -> None:
    for elapsed_ms, due_ms in instants(2_000):
        pairs = zip(digits(elapsed_ms), digits(due_ms), strict=True)
        differing = [place for place, (one, other) in enumerate(pairs) if one != other]
        assert level_for(elapsed_ms, due_ms) == max(differing, default=0)


def test_slot_is_the_digit_of_the_instant_at_that_level() -> None:
    for _, due_ms in instants(500):
        assert [slot_for(level, due_ms) for level in range(LEVEL_COUNT)] == digits(due_ms)


def test_the_instant_lies_within_its_slot() -> None:
    for elapsed_ms, due_ms in instants(2_000):
        level = level_for(elapsed_ms, due_ms)
        start_ms = slot_start_ms(elapsed_ms, level, slot_for(level, due_ms))
        assert start_ms <= due_ms < start_ms + slot_span_ms(level)


def test_a_slot_above_the_finest_level_always_starts_after_wheel_time() -> None:
    for elapsed_ms, due_ms in instants(2_000):
        level = level_for(elapsed_ms, due_ms)
        if level:
            assert slot_start_ms(elapsed_ms, level, slot_for(level, due_ms)) > elapsed_ms


def test_a_slot_of_the_finest_level_is_one_millisecond() -> None:
    assert slot_span_ms(0) == 1
    assert len({slot_for(0, NOW_MS + offset_ms) for offset_ms in range(SLOT_COUNT)}) == SLOT_COUNT


@pytest.mark.parametrize(
    ("offset_ms", "level"),
    [(0, 0), (1, 0), (63, 0), (64, 1), (4_095, 1), (4_096, 2), (64**3, 3), (64**4 - 1, 3)],
)
def test_levels_change_at_powers_of_64_from_an_aligned_instant(offset_ms: int, level: int) -> None:
    aligned_ms = NOW_MS // 64**5 * 64**5
    assert level_for(aligned_ms, aligned_ms + offset_ms) == level


def test_the_next_millisecond_may_be_levels_away_when_a_digit_carries() -> None:
    assert level_for(64**3 - 1, 64**3) == 3


def test_the_horizon_has_a_level_on_both_sides_of_the_carry_of_2109() -> None:
    carry_ms = 1 << 42
    assert level_for(NOW_MS, NOW_MS + HORIZON_MS) < LEVEL_COUNT - 1
    assert level_for(carry_ms - 1, carry_ms - 1 + HORIZON_MS) == LEVEL_COUNT - 1


def test_instants_of_a_rotation_are_ordered_by_slot_number() -> None:
    for level in range(LEVEL_COUNT - 1):
        starts_ms = [slot_start_ms(NOW_MS, level, slot) for slot in range(SLOT_COUNT)]
        assert starts_ms == sorted(starts_ms)
        assert {level_for(starts_ms[0], start_ms) for start_ms in starts_ms[1:]} == {level}


def test_next_occupied_finds_the_first_set_bit_at_or_after_the_position() -> None:
    source = random.Random(11)
    for _ in range(500):
        occupied = source.getrandbits(64) & source.getrandbits(64) & source.getrandbits(64)
        position = source.randrange(SLOT_COUNT + 1)
        expected = [slot for slot in range(position, SLOT_COUNT) if occupied >> slot & 1]
        assert next_occupied(occupied, position) == (expected[0] if expected else SLOT_COUNT)


def test_next_occupied_of_an_empty_level_is_past_the_last_slot() -> None:
    assert next_occupied(0, 0) == SLOT_COUNT
