"""Whose turn it is, of what is due in many channels."""

from __future__ import annotations

import random

from core.engine.horizon import DEFERRED, NEAR, TIMERS
from core.engine.turns import COMPANY_MAX, QUANTUM, SHARE, Fired, Turns
from core.gate import Source
from core.records import member_of


def entry(
    contact: int, channel: int, due_ms: int = 0, source: Source = NEAR, sequence: int = 1
) -> Fired:
    return due_ms, member_of(contact.to_bytes(8, "big"), sequence, channel), (contact % 4, source)


def channels(taken: list[Fired]) -> list[int]:
    return [int.from_bytes(member[14:], "big") for _, member, _ in taken]


def test_a_few_wait_for_no_heap() -> None:
    turns = Turns()
    for n in range(10_000):
        turns.add(entry(n, 1, due_ms=n))
    for n in range(10):
        turns.add(entry(20_000 + n, 2, due_ms=50_000 + n))
    taken = turns.take(32)
    assert channels(taken).count(2) == 10
    assert len(taken) == 32
    turns.validate()


def test_those_that_have_much_share_alike() -> None:
    turns = Turns()
    for n in range(3_000):
        turns.add(entry(n, 1 + n % 3, due_ms=n))
    seen = [channel for _ in range(10) for channel in channels(turns.take(50))]
    counts = [seen.count(channel) for channel in (1, 2, 3)]
    assert max(counts) - min(counts) <= QUANTUM


def test_within_a_channel_the_earlier_goes_first() -> None:
    """R26."""
    turns, chance = Turns(), random.Random(3)
    dues = list(range(500))
    chance.shuffle(dues)
    for n, due_ms in enumerate(dues):
        turns.add(entry(n, 1, due_ms=due_ms))
    taken = [due for _ in range(10) for due, _, _ in turns.take(50)]
    assert taken == sorted(dues)


def test_what_is_due_earlier_of_the_same_contact_comes_along() -> None:
    """R26: a contact's order is that of its due times, in whichever channels."""
    turns = Turns()
    for n in range(1_000):
        turns.add(entry(n, 1, due_ms=n))
    turns.add(entry(900, 2, due_ms=950, sequence=2))
    taken = turns.take(16)
    mine = [one for one in taken if one[1][:8] == (900).to_bytes(8, "big")]
    assert mine == [entry(900, 1, due_ms=900), entry(900, 2, due_ms=950, sequence=2)]
    assert len(turns) == 1_001 - len(taken)
    turns.validate()


def test_the_company_of_one_contact_is_bounded() -> None:
    turns = Turns()
    for n in range(1, 200):
        turns.add(entry(7, 1, due_ms=n, sequence=n))
    turns.add(entry(7, 2, due_ms=500, sequence=500))
    taken = turns.take(1) + turns.take(1)
    assert len(turns.take(1)) <= COMPANY_MAX
    assert [due for due, _, _ in taken] == sorted(due for due, _, _ in taken)
    while turns.take(8):
        turns.validate()
    assert len(turns) == 0


def test_what_came_back_has_its_share_and_no_more() -> None:
    turns = Turns()
    for n in range(800):
        turns.add(entry(n, 1, due_ms=n))
        turns.add(entry(10_000 + n, 1, due_ms=n, source=DEFERRED))
    taken = turns.take(80)
    assert sum(where[1] == DEFERRED for _, _, where in taken) == 80 // SHARE


def test_what_came_back_has_all_where_nothing_else_waits() -> None:
    turns = Turns()
    for n in range(100):
        turns.add(entry(n, 1, due_ms=n, source=DEFERRED))
    assert len(turns.take(100)) == 100


def test_barred_channels_have_no_turn() -> None:
    turns = Turns()
    for n in range(100):
        turns.add(entry(n, 1 + n % 2, due_ms=n))
    assert set(channels(turns.take(20, {1}))) == {2}
    assert set(channels(turns.take(20, {1}, only_barred=True))) == {1}
    assert turns.take(20, {1, 2}) == []


def test_a_member_waits_once_and_can_be_dropped() -> None:
    turns = Turns()
    turns.add(entry(1, 1, due_ms=5))
    turns.add(entry(1, 1, due_ms=9))
    assert len(turns) == 1
    assert turns.find(entry(1, 1)[1]) == entry(1, 1, due_ms=9)
    assert turns.drop(entry(1, 1)[1]) == entry(1, 1, due_ms=9)
    assert turns.drop(entry(1, 1)[1]) is None
    assert turns.take(5) == []
    turns.validate()


def test_timers_have_a_queue_of_their_own() -> None:
    turns = Turns()
    for n in range(1_000):
        turns.add(entry(n, 1))
    timer = (9, bytes(8) + b"timer-id", (0, TIMERS))
    turns.add(timer)
    assert timer in turns.take(16)


def test_what_is_light_can_be_taken_by_itself() -> None:
    turns = Turns()
    for n in range(1_000):
        turns.add(entry(n, 1, due_ms=n))
    assert not turns.has_light()
    for n in range(2 * QUANTUM + 1):
        turns.add(entry(5_000 + n, 2 + n % 2, due_ms=90_000 + n))
    assert turns.has_heap()
    assert channels(turns.take_light(100)) == [3] * QUANTUM, "one too many waits of the other"
    assert turns.drop(entry(5_000, 2)[1]) is not None
    assert channels(turns.take_light(100)) == [2] * QUANTUM
    assert turns.take_light(100) == []
    while turns.take(50):
        turns.validate()
    assert not turns.has_heap()


def test_any_course_of_events_keeps_the_invariants() -> None:
    for seed in range(30):
        turns, chance = Turns(), random.Random(seed)
        held: dict[bytes, Fired] = {}
        for _ in range(400):
            act = chance.random()
            if act < 0.6:
                one = entry(
                    chance.randrange(12), chance.randrange(3), chance.randrange(50),
                    chance.choice([NEAR, DEFERRED]), chance.randrange(4),
                )  # fmt: skip
                turns.add(one)
                held[one[1]] = one
            elif act < 0.75 and held:
                member = chance.choice(sorted(held))
                assert turns.drop(member) == held.pop(member), f"seed {seed}"
            elif act < 0.8:
                for one in turns.take_light(chance.randrange(1, 9)):
                    assert held.pop(one[1]) == one, f"seed {seed}"
            else:
                for one in turns.take(chance.randrange(1, 9), {chance.randrange(3)}):
                    assert held.pop(one[1]) == one, f"seed {seed}"
            turns.validate()
            assert len(turns) == len(held), f"seed {seed}"


def test_however_many_are_barred_the_others_go_by_turns() -> None:
    turns, chance = Turns(), random.Random(5)
    for n in range(3_000):
        turns.add(entry(n % 700, n % 60, due_ms=n, sequence=n))
    while len(turns):
        barred = set(chance.sample(range(60), chance.randrange(60)))
        only_barred = chance.random() < 0.3
        has_any = any((n in barred) is only_barred and turns.count_of(n) for n in range(60))
        assert bool(turns.take(64, barred, only_barred=only_barred)) is has_any
        turns.validate()


def test_who_had_no_turn_is_the_next_to_have_one() -> None:
    turns = Turns()
    for n in range(300):
        turns.add(entry(n, 1 + n % 3, due_ms=n))
    assert channels(turns.take(24, {1})) == [2] * 8 + [3] * 8 + [2] * 8
    assert channels(turns.take(16)) == [1] * 8 + [3] * 8
