"""A pace is kept to the millisecond."""

from __future__ import annotations

import random

import pytest

from core.engine.pace import BURST_PER_SECOND, Pace

NOW = 1_790_000_000_000


@pytest.mark.parametrize("per_second", [0.5, 1, 7, 80, 1_000, 2_500])
def test_no_span_lets_more_through_than_the_pace_and_one_burst(per_second: float) -> None:
    pace, chance = Pace(per_second, NOW), random.Random(int(per_second))
    burst = max(1, int(per_second / BURST_PER_SECOND))
    sent: list[int] = []
    now_ms = NOW
    for _ in range(3_000):
        now_ms += chance.randrange(30)
        count = min(pace.free(now_ms), chance.randrange(40))
        pace.take(count, now_ms)
        sent += [now_ms] * count
    for first in range(0, len(sent), 97):
        for last in range(first, min(first + 400, len(sent)), 13):
            span_ms = sent[last] - sent[first]
            assert last - first + 1 <= per_second * span_ms / 1_000 + burst + 1e-6


@pytest.mark.parametrize("per_second", [0.0015, 0.0004, 3 / 86_400])
def test_a_very_slow_pace_is_as_slow_as_it_says(per_second: float) -> None:
    pace = Pace(per_second, NOW)
    pace.take(1, NOW)
    assert pace.ready_ms(0, NOW) - NOW == pytest.approx(1_000 / per_second, abs=1)


def test_the_next_may_go_at_the_instant_that_was_said() -> None:
    pace = Pace(3, NOW)
    pace.take(pace.free(NOW), NOW)
    for number in range(4):
        ready_ms = pace.ready_ms(0, NOW)
        assert pace.free(ready_ms - 1) == 0, number
        assert pace.free(ready_ms) == 1
        pace.take(1, ready_ms)


def test_all_of_a_queue_are_told_their_instants() -> None:
    pace = Pace(10, NOW)
    pace.take(1, NOW)
    assert [pace.ready_ms(n, NOW) - NOW for n in range(4)] == [100, 200, 300, 400]


def test_what_did_not_go_is_given_back_but_no_more_than_a_burst() -> None:
    pace = Pace(20, NOW)
    pace.take(2, NOW)
    pace.give_back(1)
    assert pace.free(NOW) == 1
    pace.give_back(50)
    assert pace.free(NOW) == 2


def test_a_clock_that_goes_back_stands_still() -> None:
    pace = Pace(1, NOW)
    pace.take(1, NOW)
    assert pace.free(NOW - 10_000) == 0
    assert pace.free(NOW + 999) == 0
    assert pace.free(NOW + 1_000) == 1
