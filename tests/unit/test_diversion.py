"""The draw: unbiased, repeatable, and blind to everything but the order (A29, B42, R47, d6, g8)."""

from __future__ import annotations

import ast
import hashlib
import inspect
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.engine import diversion
from core.engine.diversion import (
    BUCKETS,
    bucket_of,
    draw,
    parse_shares,
    platform_of,
    shares_of,
    shares_text,
    unit_of,
)
from core.engine.draw_check import Fit, fit, tail
from core.registry.diversion_parts import Weight

ORDERS = 100_000
SALT = "00112233445566778899aabbccddeeff"
P_MIN = 0.001
WEIGHTS = {
    "a little": [Weight("trustpilot", 1)],
    "a fifth": [Weight("trustpilot", 20)],
    "half": [Weight("google", 50)],
    "three": [Weight("trustpilot", 30), Weight("google", 15), Weight("facebook", 5)],
    "everything": [Weight("trustpilot", 60), Weight("google", 40)],
}


def drawn(weights: list[Weight], salt: str = SALT) -> Counter[str]:
    return Counter(
        draw("shop", "madrid", unit_of(f"order-{number}", ""), salt, weights).platform
        for number in range(ORDERS)
    )


@pytest.mark.parametrize("name", WEIGHTS)
def test_a29_b42_shares_of_100_000_orders_fit_their_weights(name: str) -> None:
    """A29, B42: what is drawn fits the weights, by a chi-square test with p > 0.001."""
    weights = WEIGHTS[name]
    assert fit(drawn(weights), shares_of(weights)).p_value > P_MIN


def test_a29_every_bucket_is_as_likely_as_any_other() -> None:
    """A29: 200,000 orders over all 10,000 buckets, in 100 groups of 100."""
    groups = Counter(
        str(bucket_of("shop", "madrid", f"order:{number}", SALT) // 100)
        for number in range(2 * ORDERS)
    )
    assert fit(groups, tuple((str(group), 100) for group in range(100))).p_value > P_MIN


def test_a29_the_test_finds_a_biased_draw() -> None:
    """A29: two common mistakes, a byte taken modulo 100 and a share one bucket in a hundred too wide,
    fail where the product passes."""
    weights = WEIGHTS["half"]
    by_byte = Counter(
        "own" if hashlib.blake2b(str(n).encode()).digest()[0] % 100 < 50 else "google"
        for n in range(ORDERS)
    )
    assert fit(by_byte, shares_of(weights)).p_value < P_MIN
    shifted = Counter(
        "own" if bucket_of("shop", "madrid", f"order:{n}", SALT) < 5_100 else "google"
        for n in range(ORDERS)
    )
    assert fit(shifted, shares_of(weights)).p_value < P_MIN


def test_d6_the_draw_of_an_order_never_changes() -> None:
    """d6: the same order, salt and weights give the same draw for ever: this one is written down."""
    found = draw("shop", "madrid", unit_of("A-1", "event"), SALT, WEIGHTS["three"])
    text = b"shop\0madrid\0order:A-1"
    digest = hashlib.blake2b(text, digest_size=32, key=SALT.encode()).digest()
    assert found.bucket == int.from_bytes(digest, "big") % BUCKETS == 7_156
    assert found.shares == "own=5000 facebook=500 google=1500 trustpilot=3000"
    assert found.platform == "trustpilot"
    assert found == draw("shop", "madrid", "order:A-1", SALT, WEIGHTS["three"][::-1])


def test_d6_account_channel_and_salt_each_draw_anew() -> None:
    """d6: orders of two channels, accounts or salts have nothing to do with each other."""
    here = [bucket_of("shop", "madrid", f"order:{n}", SALT) for n in range(200)]
    for account, channel, salt in (
        ("shop", "berlin", SALT), ("other", "madrid", SALT), ("shop", "madrid", SALT[::-1]),
    ):  # fmt: skip
        there = [bucket_of(account, channel, f"order:{n}", salt) for n in range(200)]
        assert sum(a == b for a, b in zip(here, there, strict=True)) < 3


def test_r47_without_an_order_the_event_is_drawn_for() -> None:
    """R47: and an event is never taken for an order of the same name."""
    assert unit_of("", "E-1") == "event:E-1"
    assert unit_of("E-1", "E-9") == "order:E-1"


def test_a29_shares_lie_beside_each_other_and_leave_the_rest_to_the_own_platform() -> None:
    """A29: own first, then by id; every bucket has one owner."""
    shares = shares_of([Weight("z", 10), Weight("a", 30)])
    assert shares == (("own", 6_000), ("a", 3_000), ("z", 1_000))
    assert [platform_of(bucket, shares) for bucket in (0, 5_999, 6_000, 8_999, 9_000, 9_999)] == [
        "own", "own", "a", "a", "z", "z",
    ]  # fmt: skip
    assert parse_shares(shares_text(shares)) == shares
    assert shares_of([]) == (("own", 10_000),)
    everything = shares_of([Weight("a", 100)])
    assert platform_of(0, everything) == "a"


def test_g8_the_draw_takes_nothing_but_order_channel_salt_and_weights() -> None:
    """g8: the signature and the imports are the proof that no trait of a customer can enter."""
    assert list(inspect.signature(draw).parameters) == [
        "account", "channel", "unit", "salt", "weights",
    ]  # fmt: skip
    assert list(inspect.signature(bucket_of).parameters) == ["account", "channel", "unit", "salt"]
    assert list(inspect.signature(unit_of).parameters) == ["order_reference", "event_id"]
    tree = ast.parse(Path(inspect.getfile(diversion)).read_text(encoding="utf-8"))
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported == {
        "__future__", "collections.abc", "functools", "hashlib", "msgspec",
        "core.registry.diversion_parts",
    }  # fmt: skip


def test_b42_the_lines_in_the_document_draw_the_same() -> None:
    """B42: an auditor needs nothing of this product but what the export tells."""
    text = (Path(__file__).parents[2] / "docs/DIVERSION.md").read_text(encoding="utf-8")
    theirs: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], theirs)
    for number in range(500):
        ours = draw("shop", "madrid", f"order:{number}", SALT, WEIGHTS["three"])
        assert theirs["bucket"]("shop", "madrid", f"order:{number}", SALT) == ours.bucket
        assert theirs["platform"](ours.bucket, ours.shares) == ours.platform


# The test itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statistic", "degrees", "p_value"),
    # Critical values as any table of the chi-square distribution has them.
    [
        (3.841, 1, 0.05), (10.828, 1, 0.001), (5.991, 2, 0.05), (13.816, 2, 0.001),
        (7.815, 3, 0.05), (11.070, 5, 0.05), (124.342, 100, 0.05), (123.225, 99, 0.05),
    ],
)  # fmt: skip
def test_the_tail_of_chi_square_is_that_of_the_tables(
    statistic: float, degrees: int, p_value: float
) -> None:
    assert math.isclose(tail(statistic, degrees), p_value, rel_tol=0.002)


def test_p_values_of_fair_dice_are_spread_evenly() -> None:
    """A test that always passed would not find anything: of fair draws one in ten has p < 0.1."""
    shares, lots = shares_of(WEIGHTS["three"]), random.Random(20_261_122)
    low = 0
    for _ in range(400):
        counts = Counter(platform_of(lots.randrange(BUCKETS), shares) for _ in range(500))
        low += fit(counts, shares).p_value < 0.1
    assert 20 < low < 62


def test_a_platform_without_a_share_fits_nothing() -> None:
    assert fit({"own": 10, "else": 1}, shares_of([Weight("a", 50)])).p_value == 0
    assert fit({}, shares_of([Weight("a", 50)])) == Fit(0, (0.0, 0.0), 0.0, 1, 1.0)
    assert fit({"own": 7}, shares_of([])).p_value == 1.0
