"""Budgets of many contacts against a naive log: every message let out is kept and counted (R29).

The log knows no totals, takes or promises: it is a list of instants, one for each message that is out.
"""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from core.timing_wheel.memory_volume import VolumeBudget

CALLS = st.lists(
    st.tuples(
        st.sampled_from([-9, -2, 0, 0, 1, 2, 5, 15]),  # since the call before; clocks differ
        st.integers(0, 5),  # asked for
        st.integers(0, 4),  # given back at once
    ),
    max_size=40,
)


class NaiveLog:
    """Each message that is out, with the instant at which it was taken."""

    def __init__(self) -> None:
        self.out: list[int] = []

    def counting(self, window_ms: int, now_ms: int) -> int:
        return sum(now_ms - time_ms < window_ms for time_ms in self.out)


@given(CALLS, st.integers(0, 6), st.integers(1, 30))
@settings(max_examples=400)
def test_never_more_is_out_than_the_limit_and_never_less_than_asked_without_need(
    calls: list[tuple[int, int, int]], limit: int, window_ms: int
) -> None:
    """R29: the budget gives exactly what the log has room for, at every instant."""
    budget, log = VolumeBudget(), NaiveLog()
    now_ms, clock_ms = 1_000, 0
    for number, (gap_ms, count, unused) in enumerate(calls):
        now_ms += gap_ms
        clock_ms = max(clock_ms, now_ms)  # a clock that is behind asks at the latest instant
        token = b"%d" % number
        answer = budget.take(token, count, limit, window_ms, now_ms)
        budget.validate()
        room = max(0, limit - log.counting(window_ms, clock_ms))
        assert answer.granted == min(count, room)
        log.out += [clock_ms] * answer.granted
        assert budget.take(token, count, limit, window_ms, now_ms) == answer
        budget.give_back(token, unused)
        budget.give_back(token, unused)  # said twice, returned once
        budget.validate()
        for _ in range(min(unused, answer.granted)):
            log.out.remove(clock_ms)
        assert log.counting(window_ms, clock_ms) <= limit


@given(CALLS, st.integers(1, 6), st.integers(1, 30))
@settings(max_examples=400)
def test_promises_ascend_and_wait_for_a_token(
    calls: list[tuple[int, int, int]], limit: int, window_ms: int
) -> None:
    """R29: each that waits is told its own instant, ahead of now and when a token is free."""
    budget, log = VolumeBudget(), NaiveLog()
    now_ms = 1_000
    for number, (gap_ms, count, _) in enumerate(calls):
        now_ms += max(0, gap_ms)
        answer = budget.take(b"%d" % number, count, limit, window_ms, now_ms)
        log.out += [now_ms] * answer.granted
        assert len(answer.wakes) == count - answer.granted
        assert all(one < other for one, other in itertools.pairwise(answer.wakes))
        for wake_ms in answer.wakes:
            assert wake_ms > now_ms
            assert log.counting(window_ms, wake_ms) < limit


@given(st.integers(1, 20), st.integers(1, 200), st.integers(20, 1_000))
def test_a_long_queue_comes_at_the_pace_of_the_budget(
    limit: int, waiting: int, window_ms: int
) -> None:
    """R29: no window holds more wakes than the limit, and all are served when they come."""
    budget = VolumeBudget()
    budget.take(b"burst", limit, limit, window_ms, 1_000)
    wakes = budget.take(b"queue", waiting, limit, window_ms, 1_000).wakes
    interval_ms = -(-window_ms // limit)
    assert wakes == tuple(1_000 + window_ms + n * interval_ms for n in range(waiting))
    for number, wake_ms in enumerate(wakes):
        assert budget.take(b"%d" % number, 1, limit, window_ms, wake_ms).granted == 1


def test_promises_lapse_when_nobody_asks_for_a_window() -> None:
    """R29: those that were promised and ended meanwhile do not hold up those that come later."""
    budget = budget_with_a_queue()
    assert budget.take(b"a", 2, 4, 100, 1_100).granted == 2
    assert budget.take(b"b", 3, 4, 100, 1_101).wakes == (1_200,)


def test_promises_lapse_when_half_of_the_budget_lies_idle() -> None:
    """R29: a window after the first promise its queue would have taken all."""
    budget = budget_with_a_queue()
    assert budget.take(b"a", 1, 4, 100, 1_050).wakes == (1_100 + 400 * 25,)
    assert budget.take(b"b", 1, 4, 100, 1_149).granted == 1
    assert budget.take(b"c", 4, 4, 100, 1_151).wakes == (1_100 + 401 * 25,)
    assert budget.take(b"d", 1, 4, 100, 1_200).wakes == (1_100 + 402 * 25,)
    assert budget.take(b"e", 2, 4, 100, 1_251).granted == 2
    assert budget.take(b"f", 3, 4, 100, 1_252).wakes == (1_351,)


def budget_with_a_queue() -> VolumeBudget:
    """Return a budget of four in 100 ms that is out, with 400 promised from 1,100 on."""
    budget = VolumeBudget()
    budget.take(b"burst", 4, 4, 100, 1_000)
    assert budget.take(b"queue", 400, 4, 100, 1_000).wakes[-1] == 1_100 + 399 * 25
    return budget


def test_a_lowered_limit_promises_nothing_of_what_is_out_beyond_it() -> None:
    """R29: of ten out under a limit of two, eight must come back before one is free."""
    budget = VolumeBudget()
    for number in range(10):
        budget.take(b"%d" % number, 1, 10, 100, 1_000 + number)
    answer = budget.take(b"more", 2, 2, 100, 1_010)
    assert answer.granted == 0
    assert answer.wakes == (1_108, 1_158)


def test_a_budget_of_nothing_grants_and_promises_nothing() -> None:
    """R29: a limit of 0 blocks."""
    budget = VolumeBudget()
    answer = budget.take(b"a", 3, 0, 100, 1_000)
    assert (answer.granted, answer.wakes) == (0, ())
