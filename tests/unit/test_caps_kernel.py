"""Caps of one invitation: pass, skip, defer or expire (R23-R25, R28, R30), and stamps (E9)."""

from __future__ import annotations

from typing import Any

import pytest

from core.antispam.caps import Decision, Verdict, check, invitation_tag, reserve, unit_tag
from core.bounds import CAP_WINDOW_MAX_MS, DAY_MS
from core.gate import CapRule
from core.records import NO_KEY, Stamp

NOW = 20_000 * DAY_MS
WINDOW_MS = 14 * DAY_MS
EXPIRE = NOW + 30 * DAY_MS
OWN, OTHER, THIRD = invitation_tag(1), invitation_tag(2), invitation_tag(3)
ORDER = b"an order"
PASSED = Decision(Verdict.PASS)


def cap(**fields: Any) -> CapRule:
    given: dict[str, Any] = {
        "ledger": b"cap1",
        "limit": 1,
        "window_ms": WINDOW_MS,
        "is_order_unit": False,
        "is_skip": False,
        "longest_deferral_ms": 0,
    }
    return CapRule(**(given | fields))


def asked(
    stamps: list[Stamp],
    *caps: CapRule,
    own_tag: bytes = OWN,
    order_key: bytes = NO_KEY,
    now_ms: int = NOW,
    expire_ms: int = EXPIRE,
) -> Decision:
    return check(stamps, caps, own_tag, order_key, now_ms, expire_ms)


def stamp(time_ms: int = NOW - DAY_MS, ledger: bytes = b"cap1", tag: bytes = OTHER) -> Stamp:
    return Stamp(ledger, tag, time_ms)


def deferred(until_ms: int, ledger: bytes = b"cap1") -> Decision:
    return Decision(Verdict.DEFER, until_ms, ledger)


# --- units ----------------------------------------------------------------------------------------


def test_a_tag_is_two_zeros_and_the_sequence() -> None:
    assert invitation_tag(258) == bytes(6) + b"\x01\x02"


def test_r23_the_unit_is_the_order_where_there_is_one() -> None:
    by_order = cap(is_order_unit=True)
    assert unit_tag(cap(), OWN, ORDER) == OWN
    assert unit_tag(by_order, OWN, ORDER) == ORDER
    assert unit_tag(by_order, OWN, NO_KEY) == OWN


# --- check ----------------------------------------------------------------------------------------


def test_without_caps_everything_passes() -> None:
    assert asked([stamp()]) == PASSED


def test_r25_a_full_cap_defers_to_the_exact_freed_instant() -> None:
    assert asked([stamp(NOW - 1)], cap()) == deferred(NOW - 1 + WINDOW_MS)
    assert asked([stamp(NOW - WINDOW_MS)], cap()) == PASSED


def test_other_ledgers_do_not_count() -> None:
    assert asked([stamp(ledger=b"cap2")], cap()) == PASSED


def test_e9_stamps_of_the_own_unit_do_not_count() -> None:
    assert asked([stamp(tag=OWN)], cap()) == PASSED
    by_order = cap(is_order_unit=True)
    assert asked([stamp(tag=ORDER)], by_order, order_key=ORDER) == PASSED
    assert asked([stamp(tag=ORDER)], by_order, order_key=b"another!").verdict == Verdict.DEFER
    assert asked([stamp(tag=OWN)], by_order, order_key=ORDER).verdict == Verdict.DEFER


def test_r28_any_full_cap_that_skips_wins() -> None:
    skipping = cap(ledger=b"cap2", is_skip=True)
    both = [stamp(), stamp(ledger=b"cap2")]
    assert asked(both, cap(), skipping) == Decision(Verdict.SKIP, ledger=b"cap2")
    assert asked([stamp()], cap(), skipping).verdict == Verdict.DEFER


def test_r24_a_limit_of_zero_skips_even_if_it_would_defer() -> None:
    assert asked([], cap(limit=0)) == Decision(Verdict.SKIP, ledger=b"cap1")


def test_r28_of_several_full_caps_the_latest_instant_counts() -> None:
    longer = cap(ledger=b"cap2", window_ms=20 * DAY_MS)
    both = [stamp(), stamp(ledger=b"cap2")]
    expected = deferred(NOW + 19 * DAY_MS, b"cap2")
    assert asked(both, cap(), longer) == asked(both, longer, cap()) == expected


def test_of_equal_instants_the_first_cap_is_named() -> None:
    both = [stamp(), stamp(ledger=b"cap2")]
    assert asked(both, cap(), cap(ledger=b"cap2")).ledger == b"cap1"


def test_r24_an_exempt_message_is_not_checked() -> None:
    assert asked([stamp()], cap(is_checked=False)) == PASSED
    assert asked([], cap(limit=0, is_checked=False)) == PASSED
    assert asked([stamp()], cap(is_counted=False)).verdict == Verdict.DEFER


@pytest.mark.parametrize(
    ("expire_after_ms", "longest_ms", "verdict"),
    [
        (13 * DAY_MS + 1, 0, Verdict.DEFER),
        (13 * DAY_MS, 0, Verdict.EXPIRE),
        (30 * DAY_MS, 13 * DAY_MS, Verdict.DEFER),
        (30 * DAY_MS, 13 * DAY_MS - 1, Verdict.EXPIRE),
        (13 * DAY_MS, 13 * DAY_MS, Verdict.EXPIRE),
    ],
)
def test_r30_the_longest_deferral_only_shortens(
    expire_after_ms: int, longest_ms: int, verdict: Verdict
) -> None:
    decision = asked(
        [stamp()], cap(longest_deferral_ms=longest_ms), expire_ms=NOW + expire_after_ms
    )
    assert decision == Decision(verdict, NOW + 13 * DAY_MS, b"cap1")


def test_the_longest_deferral_of_a_cap_that_is_not_full_binds_nobody() -> None:
    impatient = cap(ledger=b"cap2", longest_deferral_ms=1)
    assert asked([stamp()], cap(), impatient).verdict == Verdict.DEFER


def test_the_shortest_longest_deferral_of_the_full_caps_binds() -> None:
    impatient = cap(ledger=b"cap2", window_ms=2 * DAY_MS, longest_deferral_ms=2 * DAY_MS)
    both = [stamp(), stamp(ledger=b"cap2")]
    assert asked(both, impatient) == deferred(NOW + DAY_MS, b"cap2")
    assert asked(both, cap(), impatient).verdict == Verdict.EXPIRE


# --- reserve ----------------------------------------------------------------------------------------


def test_every_counted_cap_gets_a_stamp_at_the_end() -> None:
    caps = (cap(), cap(ledger=b"cap2", is_counted=False), cap(ledger=b"cap3", is_checked=False))
    old = [stamp()]
    assert reserve(old, caps, OWN, NO_KEY, NOW) == [
        stamp(),
        Stamp(b"cap1", OWN, NOW),
        Stamp(b"cap3", OWN, NOW),
    ]
    assert old == [stamp()]


def test_r23_e9_a_unit_is_stamped_once_inside_the_window() -> None:
    by_order = (cap(is_order_unit=True),)
    stamps = reserve([], by_order, OWN, ORDER, NOW)
    assert stamps == [Stamp(b"cap1", ORDER, NOW)]
    assert reserve(stamps, by_order, OTHER, ORDER, NOW + WINDOW_MS - 1) == stamps
    again = reserve(stamps, by_order, THIRD, ORDER, NOW + WINDOW_MS)
    assert again == [*stamps, Stamp(b"cap1", ORDER, NOW + WINDOW_MS)]


def test_stamps_beyond_every_window_are_left_out() -> None:
    kept, gone = stamp(NOW - CAP_WINDOW_MAX_MS + 1), stamp(NOW - CAP_WINDOW_MAX_MS)
    assert reserve([gone, kept], (cap(is_counted=False),), OWN, NO_KEY, NOW) == [kept]


# --- looking again, replacing -----------------------------------------------------------------------


def test_a_full_cap_that_looks_again_says_so_before_it_skips_or_defers() -> None:
    for fields in ({}, {"is_skip": True}, {"limit": 0}):
        again = cap(ledger=b"look", looks_again=True, **fields)
        stamps = [stamp(), stamp(ledger=b"look")]
        looked = Decision(Verdict.LOOK_AGAIN, ledger=b"look")
        assert asked(stamps, again) == looked
        assert asked(stamps, cap(), again) == looked, "deferring waits for all others"
    assert asked([stamp()], cap(ledger=b"look", looks_again=True)) == PASSED


def test_the_first_of_looking_again_and_skipping_decides() -> None:
    again, skip = cap(ledger=b"look", looks_again=True), cap(is_skip=True)
    stamps = [stamp(), stamp(ledger=b"look")]
    assert asked(stamps, again, skip).verdict == Verdict.LOOK_AGAIN
    assert asked(stamps, skip, again).verdict == Verdict.SKIP


def test_r28_whether_to_replace_is_said_by_the_cap_that_is_freed_last() -> None:
    first = cap(ledger=b"one1", is_replace=True)
    last = cap(ledger=b"two2", window_ms=2 * WINDOW_MS)
    stamps = [stamp(ledger=b"one1"), stamp(ledger=b"two2")]
    assert asked(stamps, first).is_replace
    assert not asked(stamps, first, last).is_replace
    assert not asked(stamps, last, first).is_replace
    last = cap(ledger=b"two2", window_ms=2 * WINDOW_MS, is_replace=True)
    assert asked(stamps, cap(ledger=b"one1"), last).is_replace
