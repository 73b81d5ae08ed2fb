"""Entries that cannot be judged: how often they are looked at."""

from __future__ import annotations

from core.engine.horizon import NEAR
from core.engine.puzzles import REMEMBERED_MAX, TRIES_MAX, WAIT_MS, Puzzles
from core.gate import ClaimAction

NOW = 1_790_000_000_000


def test_what_is_judged_again_within_one_look_was_tried_once() -> None:
    """d8: a store that is away for some seconds must not make it fail before it has waited."""
    puzzles, actions = Puzzles(), list[int]()
    for look in range(TRIES_MAX + 1):
        for again in range(4):
            item = puzzles.item(bytes(16), NEAR, NOW + look * WAIT_MS + again * 200)
            actions.append(item.action)
    assert actions == [ClaimAction.DEFER] * 4 * TRIES_MAX + [ClaimAction.END] * 4


def test_no_more_are_remembered_than_memory_is_for() -> None:
    puzzles = Puzzles()
    for n in range(REMEMBERED_MAX + 100):
        puzzles.item(n.to_bytes(16, "big"), NEAR, NOW)
    assert len(puzzles._tries) == REMEMBERED_MAX
