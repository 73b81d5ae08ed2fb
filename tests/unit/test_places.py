"""In which order a round's entries ask for places at their senders."""

from __future__ import annotations

import random
from collections import Counter

from core.engine.due_case import Ready
from core.engine.places import _by_channel
from core.gate import ClaimAction, ClaimItem
from tests.letters import make_channel, make_letter
from tests.unit.test_turns import entry


def asking(contact: int, channel: int, due_ms: int, action: int = ClaimAction.GATE) -> Ready:
    """Return an entry of a round that asks for a place."""
    _, member, where = entry(contact, channel, due_ms, sequence=due_ms)
    letter = make_letter(channel=make_channel(id=f"c{channel}"))
    return Ready(due_ms, where, ClaimItem(member, where[1], action), letter=letter)


def dues(order: list[Ready]) -> list[int]:
    return [one.due_ms for one in order]


def test_channels_ask_in_turn_and_those_called_first() -> None:
    ready = [asking(n, 1, due_ms=n) for n in range(1, 5)] + [asking(9, 2, due_ms=9)]
    called = {ready[2].item.member}
    assert dues(_by_channel(ready, called)) == [3, 1, 9, 2, 4]


def test_the_earlier_of_a_contact_asks_first_whatever_its_channel() -> None:
    """R26: the first to get a place takes the slot of a cap."""
    ready = [asking(n, 1, due_ms=n) for n in range(1, 4)] + [asking(3, 2, due_ms=8)]
    assert dues(_by_channel(ready, set())) == [1, 2, 3, 8]
    assert dues(_by_channel(ready, {ready[3].item.member})) == [1, 2, 3, 8]


def test_in_any_round_each_contact_asks_in_order() -> None:
    """R26."""
    chance = random.Random(7)
    for _ in range(200):
        ready = [
            asking(chance.randrange(9), chance.randrange(4), due_ms=n)
            for n in range(1, chance.randrange(2, 40))
        ]
        called = {one.item.member for one in ready if chance.random() < 0.3}
        order = _by_channel(ready, called)
        assert Counter(dues(order)) == Counter(dues(ready))
        for contact in {one.item.member[:8] for one in ready}:
            mine = [one.due_ms for one in order if one.item.member[:8] == contact]
            assert mine == sorted(mine)
