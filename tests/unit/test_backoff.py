from __future__ import annotations

from core.bounds import HOUR_MS
from senders import backoff


def test_the_same_question_has_the_same_answer() -> None:
    assert backoff.retry_ms(3, "d1") == backoff.retry_ms(3, "d1")


def test_the_span_doubles_within_its_jitter() -> None:
    for attempts in range(8):
        span_ms = min(backoff.RETRY_FIRST_MS << attempts, backoff.RETRY_LONGEST_MS)
        for number in range(50):
            assert span_ms / 2 < backoff.retry_ms(attempts, f"d{number}") <= span_ms


def test_the_span_is_bounded_for_any_number_of_attempts() -> None:
    for attempts in (-1, 0, 9, 40, 41, 1_000_000):
        assert 0 < backoff.retry_ms(attempts, "d1") <= backoff.RETRY_LONGEST_MS <= 4 * HOUR_MS


def test_letters_and_attempts_are_spread() -> None:
    assert len({backoff.retry_ms(0, f"d{number}") for number in range(1_000)}) > 900
    longest = [backoff.retry_ms(attempts, "d1") for attempts in range(20, 30)]
    assert len(set(longest)) == len(longest), "past the bound the attempt still moves the jitter"


def test_a_server_is_left_alone_for_longer_each_time() -> None:
    pauses = [backoff.reconnect_ms(failures, b"k") for failures in range(12)]
    assert pauses[0] <= backoff.RECONNECT_FIRST_MS
    assert max(pauses) <= backoff.RECONNECT_LONGEST_MS
    assert pauses[6] > pauses[3] > pauses[0]


def test_the_smallest_span_is_not_zero() -> None:
    assert backoff.backoff_ms(0, b"", 1, 1) == 1
