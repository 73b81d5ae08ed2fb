"""What is remembered of event ids (E6, E14) and of orders (E7)."""

from __future__ import annotations

from core.bounds import EVENT_GENERATION_MS, ORDER_GENERATION_MS
from core.ports import EventMark, MarkAnswer, OrderAnswer, OrderNote, Store
from core.records import NO_KEY
from tests.conformance.kit import NOW, contact_key, key

EVENT_START = NOW - NOW % EVENT_GENERATION_MS
ORDER_START = NOW - NOW % ORDER_GENERATION_MS
ANNA, BEN = contact_key("anna"), contact_key("ben")


async def mark(
    store: Store, event: str, body: bytes, contact: bytes, now_ms: int = NOW
) -> MarkAnswer:
    marks = {2: [EventMark(key(event), body, contact)]}
    return (await store.mark_events(marks, now_ms))[2][0]


async def note(
    store: Store,
    contact: bytes = NO_KEY,
    stop: int = 0,
    time_ms: int = 0,
    now_ms: int = NOW,
    order: str = "order",
) -> OrderAnswer:
    notes = {1: [OrderNote(key(order), contact, stop, time_ms)]}
    return (await store.note_orders(notes, now_ms))[1][0]


async def test_e6_the_first_sight_of_an_event_wins(store: Store) -> None:
    assert await mark(store, "e", b"hash of1", ANNA) == MarkAnswer(True, True, ANNA)
    assert await mark(store, "e", b"hash of1", BEN) == MarkAnswer(False, True, ANNA)
    assert await mark(store, "e", b"hash of2", BEN) == MarkAnswer(False, False, ANNA)
    assert await mark(store, "other", b"hash of2", BEN) == MarkAnswer(True, True, BEN)


async def test_e6_the_first_in_a_batch_wins(store: Store) -> None:
    first, second = EventMark(key("e"), b"hash of1", ANNA), EventMark(key("e"), b"hash of2", BEN)
    answer = await store.mark_events({0: [first, second], 3: [second]}, NOW)
    assert answer[0] == [MarkAnswer(True, True, ANNA), MarkAnswer(False, False, ANNA)]
    assert answer[3] == [MarkAnswer(True, True, BEN)]


async def test_event_mark_reads_without_writing(store: Store) -> None:
    assert await store.event_mark(2, key("e"), NOW) is None
    assert (await mark(store, "e", b"hash of1", ANNA)).is_new
    assert await store.event_mark(2, key("e"), NOW) == MarkAnswer(False, True, ANNA)


async def test_e14_a_mark_lives_one_to_two_generations(store: Store) -> None:
    await mark(store, "e", b"hash of1", ANNA, EVENT_START)
    last_ms = EVENT_START + 2 * EVENT_GENERATION_MS - 1
    assert await store.event_mark(2, key("e"), last_ms) == MarkAnswer(False, True, ANNA)
    assert not (await mark(store, "e", b"hash of1", BEN, last_ms)).is_new
    assert await store.event_mark(2, key("e"), last_ms + 1) is None
    assert await mark(store, "e", b"hash of1", BEN, last_ms + 1) == MarkAnswer(True, True, BEN)


async def test_e7_an_unknown_order_is_empty(store: Store) -> None:
    assert await note(store) == OrderAnswer((), ())


async def test_e7_every_contact_of_an_order_is_named_once_in_order_of_writing(
    store: Store,
) -> None:
    assert await note(store, ANNA) == OrderAnswer((ANNA,), ())
    assert await note(store, BEN) == OrderAnswer((ANNA, BEN), ())
    assert await note(store, ANNA) == OrderAnswer((ANNA, BEN), ())
    assert await note(store) == OrderAnswer((ANNA, BEN), ())
    assert await note(store, order="another") == OrderAnswer((), ())


async def test_e7_checkout_and_cancellation_see_each_other_in_either_order(store: Store) -> None:
    assert await note(store, ANNA, order="a") == OrderAnswer((ANNA,), ())
    assert await note(store, stop=5, time_ms=NOW, order="a") == OrderAnswer((ANNA,), ((5, NOW),))
    assert await note(store, stop=5, time_ms=NOW, order="b") == OrderAnswer((), ((5, NOW),))
    assert await note(store, ANNA, order="b") == OrderAnswer((ANNA,), ((5, NOW),))


async def test_e7_one_tombstone_for_each_event_type_the_first_stays(store: Store) -> None:
    await note(store, stop=5, time_ms=NOW)
    await note(store, stop=6, time_ms=NOW - 9)
    answer = await note(store, stop=5, time_ms=NOW + 9)
    assert answer.tombstones == ((5, NOW), (6, NOW - 9))


async def test_notes_of_one_batch_apply_in_order(store: Store) -> None:
    order = key("order")
    answer = await store.note_orders({1: [OrderNote(order, ANNA), OrderNote(order, BEN)]}, NOW)
    assert answer[1] == [OrderAnswer((ANNA,), ()), OrderAnswer((ANNA, BEN), ())]


async def test_an_order_lives_one_to_two_generations_from_its_last_note(store: Store) -> None:
    await note(store, ANNA, now_ms=ORDER_START)
    second_ms = ORDER_START + 2 * ORDER_GENERATION_MS - 1
    assert await note(store, BEN, now_ms=second_ms) == OrderAnswer((ANNA, BEN), ())
    third_ms = second_ms + ORDER_GENERATION_MS
    assert await note(store, stop=5, time_ms=9, now_ms=third_ms) == OrderAnswer(
        (ANNA, BEN), ((5, 9),)
    )
    assert await note(store, now_ms=third_ms + 2 * ORDER_GENERATION_MS) == OrderAnswer((), ())


async def test_an_order_is_forgotten_after_two_generations(store: Store) -> None:
    await note(store, ANNA, now_ms=ORDER_START)
    assert await note(store, now_ms=ORDER_START + 2 * ORDER_GENERATION_MS) == OrderAnswer((), ())


async def test_a_note_that_says_nothing_renews_a_known_order(store: Store) -> None:
    await note(store, ANNA, now_ms=ORDER_START)
    last_ms = ORDER_START + 2 * ORDER_GENERATION_MS - 1
    for now_ms in (last_ms, last_ms + 1):
        assert await note(store, now_ms=now_ms) == OrderAnswer((ANNA,), ())
