"""The edge of a sliding window and the instant it is freed (R25)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.antispam.windows import Blocked, freed_ms, is_counting
from core.bounds import DAY_MS

WINDOW_MS = 14 * DAY_MS


def test_r25_a_send_counts_until_the_window_has_passed_to_the_millisecond() -> None:
    assert is_counting(1_000, WINDOW_MS, 1_000)
    assert is_counting(1_000, WINDOW_MS, 1_000 + WINDOW_MS - 1)
    assert not is_counting(1_000, WINDOW_MS, 1_000 + WINDOW_MS)


def test_a_send_ahead_of_the_clock_counts() -> None:
    assert is_counting(2_000, WINDOW_MS, 1_000)


def test_an_empty_window_is_free() -> None:
    assert freed_ms([], 1, WINDOW_MS, 1_000) is None


def test_a_full_window_is_freed_when_the_oldest_leaves() -> None:
    """R25, pitfall:cap-defers-too-far."""
    assert freed_ms([1_000], 1, WINDOW_MS, 1_001) == 1_000 + WINDOW_MS
    assert freed_ms([1_000, 2_000], 2, WINDOW_MS, 2_001) == 1_000 + WINDOW_MS
    assert freed_ms([1_000], 2, WINDOW_MS, 1_001) is None


def test_the_worked_example_of_the_module() -> None:
    assert freed_ms([0, 4, 7], 2, 10, 8) == 14


def test_the_order_of_the_sends_does_not_matter_and_left_ones_do_not_count() -> None:
    assert freed_ms([7, 0, 4], 2, 10, 8) == 14
    assert freed_ms([7, 0, 4], 2, 10, 10) == 14
    assert freed_ms([7, 0, 4], 2, 10, 14) is None


def test_a_lowered_limit_waits_for_as_many_as_are_too_many() -> None:
    assert freed_ms([0, 1, 2, 3, 4], 1, 10, 5) == 14
    assert freed_ms([0, 1, 2, 3, 4], 5, 10, 5) == 10


def test_r24_a_limit_of_zero_never_has_room() -> None:
    """pitfall:cap-of-zero."""
    assert freed_ms([], 0, WINDOW_MS, 1_000) is Blocked.FOR_EVER


@pytest.mark.parametrize(("limit", "window_ms"), [(-1, 1), (1, 0)])
def test_nonsense_is_refused(limit: int, window_ms: int) -> None:
    with pytest.raises(AssertionError):
        freed_ms([], limit, window_ms, 0)


@given(
    times=st.lists(st.integers(0, 50), max_size=12),
    limit=st.integers(1, 6),
    window_ms=st.integers(1, 30),
    now_ms=st.integers(0, 60),
)
def test_r25_the_freed_instant_is_the_first_with_room(
    times: list[int], limit: int, window_ms: int, now_ms: int
) -> None:
    def counting(at_ms: int) -> int:
        return sum(is_counting(time_ms, window_ms, at_ms) for time_ms in times)

    answer = freed_ms(times, limit, window_ms, now_ms)
    if answer is None:
        assert counting(now_ms) < limit
        return
    assert isinstance(answer, int)
    assert answer > now_ms
    assert counting(answer) < limit
    assert all(counting(at_ms) >= limit for at_ms in range(now_ms, answer))
