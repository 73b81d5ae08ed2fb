"""Budgets of many contacts (R29): never more than the limit in any window, and when to ask again."""

from __future__ import annotations

import itertools
import random

import pytest

from core.bounds import HOUR_MS
from core.contact_ports import VolumeAnswer
from core.ports import Store
from tests.conformance.kit import NOW
from tests.conformance.stores import open_memory_store, open_redis_store

LEDGER = b"mail"
WINDOW = HOUR_MS


async def take(
    store: Store,
    token: bytes,
    count: int,
    now_ms: int = NOW,
    *,
    limit: int = 3,
    ledger: bytes = LEDGER,
) -> VolumeAnswer:
    return await store.take_volume(ledger, token, count, limit, WINDOW, now_ms)


async def test_a_budget_gives_what_is_free_and_says_when_more_will_be(store: Store) -> None:
    """R29: three in an hour; the fourth when the first has left the window."""
    assert await take(store, b"a", 2) == VolumeAnswer(2)
    answer = await take(store, b"b", 3, NOW + 10)
    assert answer == VolumeAnswer(1, (NOW + WINDOW, NOW + WINDOW + WINDOW // 3))
    assert (await take(store, b"c", 1, NOW + WINDOW - 1)).granted == 0
    assert (await take(store, b"d", 3, NOW + WINDOW)).granted == 2
    assert (await take(store, b"e", 1, NOW + WINDOW + 10)).granted == 1


async def test_the_same_token_gives_the_first_answer_again(store: Store) -> None:
    """R29: an answer that was lost costs nothing; after the window the token is new."""
    first = await take(store, b"a", 2, limit=1)
    assert first == VolumeAnswer(1, (NOW + WINDOW,))
    assert await take(store, b"a", 2, NOW + WINDOW - 1, limit=1) == first
    assert await take(store, b"a", 1, NOW + WINDOW, limit=1) == VolumeAnswer(1)


async def test_what_was_not_used_comes_back_once(store: Store) -> None:
    """R29: returned is what a token says in all; a repetition returns nothing more."""
    await take(store, b"a", 3)
    await store.give_back_volume(LEDGER, b"a", 2)
    await store.give_back_volume(LEDGER, b"a", 2)
    await store.give_back_volume(LEDGER, b"a", 1)
    assert (await take(store, b"b", 3, NOW + 1)).granted == 2
    await store.give_back_volume(LEDGER, b"a", 9)
    assert (await take(store, b"c", 3, NOW + 2)).granted == 1
    await store.give_back_volume(LEDGER, b"unknown", 3)
    assert (await take(store, b"d", 3, NOW + 3)).granted == 0


async def test_a_limit_of_nothing_blocks_without_a_promise(store: Store) -> None:
    assert await take(store, b"a", 2, limit=0) == VolumeAnswer(0, ())


async def test_budgets_know_nothing_of_each_other(store: Store) -> None:
    await take(store, b"a", 3)
    assert (await take(store, b"a", 3, ledger=b"text")).granted == 3


async def test_promises_are_made_once(store: Store) -> None:
    """R29: who asks after others is promised what nobody else was promised, at the budget's pace."""
    await take(store, b"burst", 3)
    promised = [
        wake
        for number in range(5)
        for wake in (await take(store, b"%d" % number, 2, NOW + number)).wakes
    ]
    assert promised == [NOW + WINDOW + number * WINDOW // 3 for number in range(10)]


async def test_a_clock_that_is_behind_asks_at_the_latest_instant(store: Store) -> None:
    """R29: two daemons whose clocks differ never let out more than one would."""
    assert (await take(store, b"a", 3, NOW + 500)).granted == 3
    assert (await take(store, b"b", 1, NOW)).granted == 0
    assert (await take(store, b"c", 1, NOW + WINDOW)).granted == 0
    assert (await take(store, b"d", 1, NOW + WINDOW + 500)).granted == 1


@pytest.mark.parametrize("seed", range(6))
async def test_twins_give_the_same_answers(seed: int) -> None:
    """Random takes, returns, limits and windows: both stores answer equally."""
    chance = random.Random(seed)
    async with open_memory_store() as model, open_redis_store() as twin:
        now_ms, tokens = NOW, [b"first"]
        for number in itertools.count():
            if number == 300:
                break
            now_ms += chance.choice([-2, 0, 0, 1, 5, 20, 300])
            limit, window_ms = chance.choice([(5, 100), (5, 100), (9, 100), (2, 100), (0, 50)])
            if chance.random() < 0.2:
                token, count = chance.choice(tokens[-5:]), chance.randint(0, 4)
                for store in (model, twin):
                    await store.give_back_volume(LEDGER, token, count)
                continue
            token = chance.choice(tokens[-5:]) if chance.random() < 0.1 else b"token %d" % number
            tokens.append(token)
            count = chance.randint(0, 6)
            answers = [
                await store.take_volume(LEDGER, token, count, limit, window_ms, now_ms)
                for store in (model, twin)
            ]
            assert answers[0] == answers[1], f"seed {seed}, call {number}"
