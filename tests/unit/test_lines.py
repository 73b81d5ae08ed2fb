"""What is due and has not gone: lines at senders, and who may pass them."""

from __future__ import annotations

import random

from core.engine.lines import BAR, PROBE_PAUSE_MS, PROBES, Lines
from core.engine.turns import Fired
from tests.unit.test_turns import channels, entry

NOW = 1_790_000_000_000


class Rooms:
    """How many letters each sender takes."""

    def __init__(self, **rooms: int) -> None:
        self.rooms = rooms
        self.lines = Lines()
        self.lines.room_of = self

    def __call__(self, key: str) -> int:
        return self.rooms[key] - self.lines.kept(key)


def test_a_line_is_served_as_its_sender_has_places() -> None:
    """R12."""
    rooms = Rooms(mail=0)
    lines = rooms.lines
    for n in range(10):
        lines.hold("mail", entry(n, 1, due_ms=n))
    assert lines.take(100, NOW) == []
    assert not lines.has_any(NOW)
    rooms.rooms["mail"] = 3
    assert lines.has_any(NOW)
    called = lines.take(100, NOW)
    assert [due for due, _, _ in called] == [0, 1, 2]
    assert lines.take(100, NOW) == [], "their places are kept while they are judged"
    members = [member for _, member, _ in called]
    assert lines.arrived(members) == set(members)
    assert lines.arrived(members) == set()
    assert [due for due, _, _ in lines.take(100, NOW)] == [3, 4, 5]


def test_a_heap_in_line_bars_its_channel_but_for_a_few() -> None:
    rooms = Rooms(texts=0)
    lines = rooms.lines
    for n in range(BAR):
        lines.hold("texts", entry(n, 1, due_ms=n))
    for n in range(1_000):
        lines.add(entry(10_000 + n, 1, due_ms=n))
    lines.add(entry(50_000, 2))
    first = lines.take(2_000, NOW)
    assert channels(first).count(2) == 1
    assert channels(first).count(1) == PROBES
    assert lines.take(2_000, NOW + PROBE_PAUSE_MS - 1) == []
    assert not lines.has_any(NOW + PROBE_PAUSE_MS - 1)
    assert lines.has_any(NOW + PROBE_PAUSE_MS)
    assert channels(lines.take(2_000, NOW + PROBE_PAUSE_MS)) == [1] * PROBES
    rooms.rooms["texts"] = 1
    assert len(lines.take(2_000, NOW + PROBE_PAUSE_MS)) > PROBES, "below the bar all may pass"


def test_a_line_is_shared_by_channels_in_turn() -> None:
    rooms = Rooms(mail=0)
    for n in range(5_000):
        rooms.lines.hold("mail", entry(n, 1, due_ms=n))
    rooms.lines.hold("mail", entry(9_999, 2, due_ms=99_999))
    rooms.rooms["mail"] = 16
    assert channels(rooms.lines.take(100, NOW)).count(2) == 1


def test_a_place_that_is_free_goes_to_each_channel_in_turn() -> None:
    """R12: behind a heap the few wait for one message of it, not for eight."""
    rooms = Rooms(mail=0)
    for n in range(100):
        rooms.lines.hold("mail", entry(n, 1, due_ms=n))
    rooms.lines.hold("mail", entry(9_999, 2, due_ms=99_999))
    rooms.rooms["mail"] = 1
    served = []
    for _ in range(2):
        called = rooms.lines.take(100, NOW)
        served += channels(called)
        rooms.lines.arrived(member for _, member, _ in called)
        rooms.lines.claimed(called)
    assert set(served) == {1, 2}


def test_after_a_change_all_wait_by_channel_again() -> None:
    rooms = Rooms(mail=0)
    for n in range(2 * BAR):
        rooms.lines.hold("mail", entry(n, 1, due_ms=n))
    rooms.lines.disperse()
    assert len(rooms.lines) == 2 * BAR
    assert [due for due, _, _ in rooms.lines.take(9, NOW)] == list(range(9))
    assert rooms.lines.waiting_at() == []


def test_what_moves_is_forgotten_wherever_it_stands() -> None:
    rooms = Rooms(mail=0)
    held, waiting = entry(1, 1), entry(2, 1)
    rooms.lines.hold("mail", held)
    rooms.lines.add(waiting)
    assert rooms.lines.find(held[1]) == held
    assert rooms.lines.drop(held[1]) == held
    assert rooms.lines.drop(waiting[1]) == waiting
    assert len(rooms.lines) == 0
    assert rooms.lines.drop(held[1]) is None


def test_a_few_need_not_wait_for_a_heap() -> None:
    """R12: neither those of a shop with few, nor those whose sender has a place now."""
    rooms = Rooms(mail=0)
    lines = rooms.lines
    lines.add(entry(1, 2))
    assert not lines.has_light(), "alone it is no lighter than the rest"
    assert lines.take_light(9) == []
    for n in range(1_000):
        lines.add(entry(100 + n, 1, due_ms=n))
    assert lines.has_light()
    assert lines.take_light(9) == [entry(1, 2)]
    lines.hold("mail", entry(5_000, 1))
    assert not lines.has_light()
    rooms.rooms["mail"] = 1
    assert lines.has_light()
    assert lines.take_light(9) == [entry(5_000, 1)]


def test_two_rounds_never_share_a_contact() -> None:
    """R26: what comes later of a contact waits until the round before has claimed."""
    rooms = Rooms(mail=1)
    lines = rooms.lines
    lines.add(entry(7, 1, sequence=1))
    first = lines.take(10, NOW)
    later, called = entry(7, 2, due_ms=5, sequence=2), entry(7, 1, due_ms=6, sequence=3)
    lines.add(later)
    lines.hold("mail", called)
    assert lines.take(10, NOW) == []
    assert lines.kept("mail") == 0, "who stands aside keeps no place"
    assert len(lines) == 2
    assert lines.find(called[1]) == called
    assert lines.drop(called[1]) == called
    assert len(lines) == 1
    lines.claimed(first)
    assert lines.take(10, NOW) == [later]
    lines.claimed([later])
    assert len(lines) == 0


def test_in_any_course_each_contact_goes_in_order_and_nothing_is_lost() -> None:
    """R26."""
    for seed in range(40):
        chance = random.Random(seed)
        rooms = Rooms(mail=0)
        lines, rounds = rooms.lines, list[list[Fired]]()
        coming = [
            entry(n % 9, chance.choice([1, 1, 1, 2]), due_ms=n, sequence=n) for n in range(300)
        ]
        gone: list[Fired] = []
        while coming or len(lines) or rounds:
            act = chance.random()
            if act < 0.4:
                for one in coming[: chance.randrange(30)]:
                    lines.add(one)
                    coming.remove(one)
            elif act < 0.7:
                size = chance.randrange(1, 12)
                taken = lines.take(size, NOW) if chance.random() < 0.5 else lines.take_light(size)
                contacts = {member[:8] for _, member, _ in taken}
                others = {member[:8] for other in rounds for _, member, _ in other}
                assert not contacts & others, f"seed {seed}"
                rounds += [taken] if taken else []
            elif rounds:
                done = rounds.pop(chance.randrange(len(rounds)))
                lines.claimed(done)
                gone += done
        assert len(gone) == 300, f"seed {seed}"
        for contact in {member[:8] for _, member, _ in gone}:
            dues = [due for due, member, _ in gone if member[:8] == contact]
            assert dues == sorted(dues), f"seed {seed}"


def test_a_long_line_does_not_hold_back_who_stands_in_none() -> None:
    """R12: its sender has come back, and takes more at a time than a round has."""
    rooms = Rooms(mail=0)
    lines = rooms.lines
    for n in range(5_000):
        lines.hold("mail", entry(n, 1, due_ms=n))
    for n in range(10):
        lines.add(entry(9_000 + n, 2))
        lines.add(entry(9_100 + n, 1, due_ms=9_000))
    rooms.rooms["mail"] = 1_000
    taken = lines.take(16, NOW)
    assert channels(taken).count(2) == 8
    assert [due for due, *_ in taken if due] == list(range(1, 8)), "one channel goes in its order"
    assert channels(lines.take(16, NOW)).count(2) == 2
    assert len(lines.take(16, NOW)) == 16, "where nobody else waits, all of a round is theirs"


def test_in_a_light_round_a_long_line_leaves_room_for_a_few() -> None:
    rooms = Rooms(mail=0)
    lines = rooms.lines
    for n in range(5_000):
        lines.hold("mail", entry(n, 1, due_ms=n))
        lines.add(entry(10_000 + n, 3, due_ms=n))
    for channel in range(4, 54):
        lines.add(entry(50_000 + channel, channel))
    rooms.rooms["mail"] = 1_000
    seen = [channels(lines.take_light(32)) for _ in range(2)]
    assert [sum(number > 3 for number in found) for found in seen] == [16, 16]
    assert [found.count(1) for found in seen] == [16, 16]
