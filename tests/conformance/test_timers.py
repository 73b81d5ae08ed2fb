"""Timers in the store: set, moved, stopped and run out, once (R7, D5, D13, D17)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from core.bounds import CONTACT_TIMERS_MAX, HOUR_MS, SCRIPT_BATCH_MAX
from core.model import Disposition, Reason
from core.ports import DueEntry, Stop
from core.records import NO_KEY
from tests.conformance.kit import NOW, TIMERS, Hands, commit, contact_key, key, plan, timer

CART, OTHER = key("cart"), key("other cart")


def stop(rule_number: int = 1, of: bytes = NO_KEY) -> Stop:
    return Stop(of, frozenset({rule_number}), Reason.PURCHASED)


async def names(hands: Hands) -> list[bytes]:
    return [one.id for one in await hands.timers()]


async def index(hands: Hands) -> list[DueEntry]:
    return await hands.lane(TIMERS)


async def fire(hands: Hands, name: str, due_ms: int, **fields: Any) -> bool:
    """Let a timer run out with one plan; return whether it did."""
    answer = await hands.commit(plan(), fires=(key(name), due_ms), **fields)
    return bool(answer.plans)


async def test_a_timer_is_kept_with_its_event_and_indexed(hands: Hands) -> None:
    """R7: it is no invitation; it wakes those who wait for news of their lanes."""
    before = await hands.near_version()
    answer = await hands.commit(timers=(timer(key=CART, rule_number=7),), body=b"cart")
    assert (answer.plans, answer.disposition) == ((), Disposition.NO_MATCH)
    assert await hands.timers() == [timer(key=CART, rule_number=7, body=b"cart")]
    assert await index(hands) == [DueEntry(contact_key() + key("timer"), timer().due_ms)]
    assert await hands.near_version() > before
    assert (await hands.counters()).planned == 0


async def test_a_newer_event_moves_it_an_older_one_does_not(hands: Hands) -> None:
    """D5, D13, d8: events may come in any order; as new as it counts as newer."""
    await hands.commit(timers=(timer(),), body=b"first")
    old = replace(timer(), time_ms=NOW - 1, due_ms=NOW + HOUR_MS)
    before = await hands.near_version()
    await hands.commit(timers=(old,), body=b"old")
    assert await hands.timers() == [timer(body=b"first")]
    assert await hands.near_version() == before, "nothing to look at"
    for later in (0, 1):
        new = replace(timer(), time_ms=NOW + later, due_ms=NOW + later + HOUR_MS, revision=9)
        await hands.commit(timers=(new,), body=b"new")
        assert await hands.timers() == [replace(new, body=b"new")]
        assert [entry.due_ms for entry in await index(hands)] == [new.due_ms], "moved, not added"


async def test_a_repeated_event_moves_nothing(hands: Hands) -> None:
    """d8."""
    told = {"event_key": key("e"), "timers": (timer(),)}
    await hands.commit(**told)
    await hands.store.drop_timers(0, [contact_key() + key("timer")])
    await hands.commit(**told)
    assert await hands.timers() == []


async def test_timers_stop_by_key_by_contact_and_by_rule(hands: Hands) -> None:
    """D5, D17: a cart's stop takes that cart's alone, a contact's all; other rules' stay."""
    held = (
        timer("a", key=CART), timer("b", key=OTHER), timer("c", rule_number=2, key=CART),
        timer("d", rule_number=258),
    )  # fmt: skip
    await hands.commit(timers=held)
    await hands.commit(timers=(timer("a", key=CART),), contact_key=contact_key("neighbour"))
    await hands.commit(stops=(stop(1, CART),), event_time_ms=NOW)
    assert await names(hands) == [key("b"), key("c"), key("d")]
    await hands.commit(stops=(stop(1),), event_time_ms=NOW)
    assert await names(hands) == [key("c"), key("d")]
    await hands.commit(stops=(Stop(NO_KEY, frozenset({2, 258}), 0),), event_time_ms=NOW)
    assert await names(hands) == []
    assert [entry.member[:8] for entry in await index(hands)] == [contact_key("neighbour")]


async def test_what_happened_before_does_not_stop_what_began_after(hands: Hands) -> None:
    """d8, D13: a purchase told late leaves the timer of a newer one; one of the cart itself does
    not ask for the time."""
    await hands.commit(timers=(timer("contact"), timer("cart", key=CART)))
    await hands.commit(stops=(stop(),), event_time_ms=NOW - 1)
    assert await names(hands) == [key("contact"), key("cart")]
    await hands.commit(stops=(stop(of=CART),), event_time_ms=NOW - 1)
    assert await names(hands) == [key("contact")]
    await hands.commit(stops=(stop(),), event_time_ms=NOW)
    assert await names(hands) == []


async def test_a_stop_of_one_channel_leaves_the_others(hands: Hands) -> None:
    """R43: the channel is the last two bytes of a timer's id."""
    ids = [key("timer")[:6] + number.to_bytes(2, "big") for number in (1, 258)]
    await hands.commit(timers=tuple(timer(id=one) for one in ids))
    runs = await hands.commit(plan(channel_number=1), plan(channel_number=258))
    ended = await hands.commit(stops=(replace(stop(), channel_number=258),), event_time_ms=NOW)
    assert await names(hands) == ids[:1]
    assert ended.stopped == (runs.plans[1].sequence,)


async def test_stop_comes_before_set(hands: Hands) -> None:
    """R39, D13: a purchase stops the timer and sets it anew in one commit."""
    await hands.commit(timers=(timer(),))
    new = timer(time_ms=NOW + 5, due_ms=NOW + 9)
    await hands.commit(timers=(new,), stops=(stop(),), event_time_ms=NOW + 5)
    assert await hands.timers() == [new]
    assert await index(hands) == [DueEntry(contact_key() + new.id, new.due_ms)]


async def test_it_fires_only_where_it_stands(hands: Hands) -> None:
    """R7: one that has moved or gone causes nothing, and the event may come again."""
    await hands.commit(timers=(timer(due_ms=NOW + 5),))
    record = await hands.record()
    assert not await fire(hands, "timer", NOW + 4)
    assert not await fire(hands, "timer", NOW + 6)
    assert not await fire(hands, "nobody", NOW + 5)
    assert await hands.record() == record
    assert (await hands.counters()).planned == 0
    assert await fire(hands, "timer", NOW + 5)
    assert (await hands.timers(), await index(hands)) == ([], [])


async def test_after_a_lost_reply_it_has_fired_once(hands: Hands) -> None:
    """d8: the same commit again finds what it has planned; another finds the timer gone."""
    await hands.commit(timers=(timer(),))
    told = {"event_key": key("fired"), "fires": (key("timer"), timer().due_ms)}
    first = await hands.commit(plan(), **told)
    again = await hands.commit(plan(), **told)
    assert [p.member for p in again.plans] == [p.member for p in first.plans]
    assert (again.is_duplicate, (await hands.counters()).planned) == (True, 1)
    assert not await fire(hands, "timer", timer().due_ms)


async def test_one_that_was_set_again_fires_again(hands: Hands) -> None:
    """D5: the same cart, left twice."""
    for day in range(2):
        due_ms = NOW + day * HOUR_MS
        await hands.commit(timers=(timer(time_ms=NOW + day, due_ms=due_ms),))
        assert await fire(hands, "timer", due_ms)


async def test_a_contact_has_so_many_timers_and_no_more(hands: Hands) -> None:
    """The one first set goes first, from the index too; moving one makes it no younger."""
    for n in range(CONTACT_TIMERS_MAX):
        await hands.commit(timers=(timer(str(n)),))
    await hands.commit(timers=(timer("0", time_ms=NOW + 1),))
    await hands.commit(timers=(timer("a"), timer("b")))
    held = await names(hands)
    assert len(held) == CONTACT_TIMERS_MAX
    assert (held[0], held[-2:]) == (key("2"), [key("a"), key("b")])
    assert {entry.member[8:] for entry in await index(hands)} == set(held)


async def test_dropping_is_idempotent_and_takes_what_is_named(hands: Hands) -> None:
    await hands.commit(timers=(timer("a"), timer("b")))
    gone = [contact_key() + key("a"), contact_key("nobody") + key("a"), contact_key() + key("x")]
    for _ in range(2):
        await hands.store.drop_timers(0, gone)
        assert await names(hands) == [key("b")]
    assert [entry.member[8:] for entry in await index(hands)] == [key("b")]


async def test_timers_of_many_contacts_at_once(hands: Hands) -> None:
    one, two = contact_key("one"), contact_key("two")
    await hands.commit(timers=(timer(),), contact_key=two)
    assert await hands.store.timers(0, [one, two, one]) == [[], [timer()], []]


async def test_a_full_batch_of_contacts_with_all_their_timers(hands: Hands) -> None:
    """As many as one script call may be about: set, and stopped, all at once."""
    contacts = [contact_key(str(n)) for n in range(SCRIPT_BATCH_MAX)]
    held = tuple(timer(str(n)) for n in range(CONTACT_TIMERS_MAX))
    for fields in ({"timers": held}, {"stops": (stop(),), "event_time_ms": NOW}):
        await hands.store.commit(
            {
                0: [
                    commit(contact_key=one, event_key=key(str(fields)), **fields)
                    for one in contacts
                ]
            },
            NOW,
        )
        entries = await hands.store.read_lane(0, TIMERS, 2**47, 10_000)
        assert len(entries) == (SCRIPT_BATCH_MAX * CONTACT_TIMERS_MAX if "timers" in fields else 0)
