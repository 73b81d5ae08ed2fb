"""Lanes: the wheel's source (E5, E8). The index is lazy, the contact record knows the truth."""

from __future__ import annotations

from core.bounds import HOUR_MS
from core.gate import ClaimAction, Lane, Source
from core.model import ConsentScope, Reason, State, WaitReason
from core.ports import DueEntry, Store
from core.records import member_of
from tests.conformance.kit import (
    DEFERRED,
    NEAR,
    NOW,
    Hands,
    consent_entry,
    contact_key,
    far,
    item,
    key,
    plan,
    timer,
)

SLOT = NOW // HOUR_MS


async def slots(hands: Hands, until_ms: int = NOW + 100 * HOUR_MS) -> list[int]:
    return (await hands.store.far_slots([0], until_ms))[0]


async def test_an_empty_store_has_no_slots_and_empty_lanes(hands: Hands) -> None:
    assert await hands.store.far_slots([0, 1], NOW) == {0: [], 1: []}
    for source in (NEAR, DEFERRED, far(NOW)):
        assert await hands.lane(source) == []


async def test_slots_are_listed_ascending_if_they_start_before_the_bound(hands: Hands) -> None:
    for hours in (5, 0, 2, 2):
        await hands.plan(due_ms=NOW + hours * HOUR_MS + 1)
    assert await slots(hands) == [SLOT, SLOT + 2, SLOT + 5]
    assert await slots(hands, NOW + 2 * HOUR_MS) == [SLOT]
    assert await slots(hands, NOW + 2 * HOUR_MS + 1) == [SLOT, SLOT + 2]


async def test_a_lane_is_read_by_due_and_member_up_to_limit_and_bound(hands: Hands) -> None:
    dues = [NOW + 3, NOW + 1, NOW + 2, NOW + 1]
    members = [(await hands.plan(due_ms=due_ms)).member for due_ms in dues]
    expected = sorted(zip(dues, members, strict=True))
    entries = [DueEntry(member, due_ms) for due_ms, member in expected]
    assert await hands.store.read_lane(0, far(NOW), NOW + 10, 10) == entries
    assert await hands.store.read_lane(0, far(NOW), NOW + 10, 2) == entries[:2]
    assert await hands.store.read_lane(0, far(NOW), NOW + 2, 10) == entries[:2]
    assert await hands.store.read_lane(0, far(NOW), NOW + 1, 10) == []


async def test_many_lanes_are_read_in_the_order_asked(store: Store) -> None:
    here, there = await Hands.own(store, 0), await Hands.own(store, 1)
    await here.open_until(NOW + 1)
    near, slotted = await here.plan(), await here.plan(due_ms=NOW + 1)
    other = (await there.commit(plan(), contact_key=contact_key(partition=1))).plans[0]
    lanes = [(1, far(NOW)), (0, NEAR), (0, DEFERRED), (0, far(NOW))]
    assert await store.read_lanes(lanes, NOW + 9, 5) == [
        [DueEntry(other.member, NOW)],
        [DueEntry(near.member, NOW)],
        [],
        [DueEntry(slotted.member, NOW + 1)],
    ]
    assert await store.read_lanes([], NOW, 5) == []


async def test_a_lane_can_be_read_on(hands: Hands) -> None:
    """What lies behind a heap is read without what comes before it."""
    await hands.open_until(NOW + 9)
    members = [(await hands.plan(due_ms=NOW + n)).member for n in range(5)]
    lanes = [(hands.partition, NEAR)]
    found = (await hands.store.read_lanes(lanes, NOW + 4, 2, skip=1))[0]
    assert [entry.member for entry in found] == members[1:3]
    assert (await hands.store.read_lanes(lanes, NOW + 4, 9, skip=3))[0] == [
        DueEntry(members[3], NOW + 3)
    ]
    assert (await hands.store.read_lanes(lanes, NOW + 4, 9, skip=4))[0] == []


async def test_the_next_slot_is_the_first_that_is_known(hands: Hands) -> None:
    assert await hands.store.next_far_slot([0, 1]) == {0: None, 1: None}
    later = await hands.plan(due_ms=NOW + 3 * HOUR_MS)
    first = await hands.plan(due_ms=NOW)
    assert (await hands.store.next_far_slot([0]))[0] == SLOT
    await hands.take(item(first.member))
    await hands.store.drop_empty_slots({0: [SLOT]})
    assert (await hands.store.next_far_slot([0]))[0] == later.due_ms // HOUR_MS


async def test_open_slots_never_lowers_the_bound(hands: Hands) -> None:
    assert await hands.store.open_slots({0: hands.owner}, NOW + 10) == {0: True}
    await hands.open_until(NOW)
    planned = await hands.plan(due_ms=NOW + 9)
    assert await hands.lane(NEAR) == [DueEntry(planned.member, NOW + 9)]


async def test_opening_leaves_what_is_in_its_slot(hands: Hands) -> None:
    planned = await hands.plan(due_ms=NOW + 1)
    await hands.open_until(NOW + HOUR_MS)
    assert await hands.lane(far(NOW)) == [DueEntry(planned.member, NOW + 1)]
    assert await hands.lane(NEAR) == []


async def test_drop_empty_slots_drops_only_what_is_empty(hands: Hands) -> None:
    taken = await hands.plan(due_ms=NOW)
    await hands.plan(due_ms=NOW + HOUR_MS)
    await hands.take(item(taken.member))
    for _ in range(2):
        await hands.store.drop_empty_slots({0: [SLOT, SLOT + 1, SLOT + 7]})
        assert await slots(hands) == [SLOT + 1]
    assert len(await hands.lane(far(NOW + HOUR_MS))) == 1


async def test_a_dropped_slot_may_fill_again(hands: Hands) -> None:
    first = await hands.plan()
    await hands.take(item(first.member))
    await hands.store.drop_empty_slots({0: [SLOT]})
    second = await hands.plan()
    assert await slots(hands) == [SLOT]
    assert await hands.lane(far(NOW)) == [DueEntry(second.member, NOW)]


async def test_sizes_of_the_fixed_lanes(hands: Hands) -> None:
    """Slots are none; what has ended counts until it is looked at."""
    none = dict.fromkeys((Lane.NEAR, Lane.DEFERRED, Lane.PARKED, Lane.TIMERS), 0)
    await hands.plan(due_ms=NOW + HOUR_MS)
    assert await hands.store.lane_sizes([0, 1]) == {0: none, 1: none}
    await hands.open_until(NOW + 1)
    members = [(await hands.plan(due_ms=NOW)).member for _ in range(4)]
    await hands.commit(timers=(timer(),))
    later = item(members[0], NEAR, action=ClaimAction.DEFER, due_ms=NOW + 5, wait=1)
    await hands.claim(later, item(members[1], NEAR, action=ClaimAction.PARK))
    await hands.cancel([members[2]], State.CANCELLED, Reason.BY_CLIENT)
    sizes = {Lane.NEAR: 2, Lane.DEFERRED: 1, Lane.PARKED: 1, Lane.TIMERS: 1}
    assert await hands.store.lane_sizes([0, 1]) == {0: sizes, 1: none}
    await hands.claim(item(members[2], NEAR))
    assert (await hands.store.lane_sizes([0]))[0][Lane.NEAR] == 1


async def test_the_version_rises_whenever_a_fixed_lane_gains(hands: Hands) -> None:
    versions = [await hands.near_version()]
    far_away = await hands.plan(due_ms=NOW)
    assert await hands.near_version() == versions[0]
    await hands.open_until(NOW + 1)
    await hands.plan(due_ms=NOW)
    versions.append(await hands.near_version())
    later = item(
        far_away.member, action=ClaimAction.DEFER, due_ms=NOW + 5, wait=WaitReason.QUIET_HOURS
    )
    await hands.claim(later)
    versions.append(await hands.near_version())
    assert versions == sorted(set(versions))


async def test_the_version_belongs_to_one_partition(store: Store) -> None:
    here, there = await Hands.own(store, 0), await Hands.own(store, 1)
    before = await there.near_version()
    await here.open_until(NOW + 1)
    await here.plan()
    assert await there.near_version() == before


async def test_the_index_is_lazy_after_a_cancellation(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.cancel([planned.member], State.CANCELLED, Reason.BY_CLIENT)
    assert await hands.lane(far(NOW)) == [DueEntry(planned.member, NOW)]


async def test_read_answers_none_for_unknown_members_in_place(hands: Hands) -> None:
    planned = await hands.plan()
    unknown = member_of(contact_key("nobody"), 1, 1)
    answer = (await hands.store.read({0: [unknown, planned.member]}))[0]
    assert answer[0] is None
    assert answer[1] is not None


async def test_read_finds_the_reference_among_bytes_that_look_like_it(hands: Hands) -> None:
    # Four consents, four events and a tombstone put the scope key of channel 1 where a search that
    # only counts alignment takes it for the sequence 1.
    scopes = [(1).to_bytes(8, "little"), *(number.to_bytes(8, "little") for number in (7, 8, 9))]
    for index, scope_key in enumerate(scopes):
        is_first = index == 0
        await hands.commit(
            *([plan(rule_number=77)] if is_first else []),
            consents=(consent_entry(scope=ConsentScope.CHANNEL, scope_key=scope_key),),
            tombstone_order=key("order") if is_first else bytes(8),
            tombstone_type=2 if is_first else 0,
        )
    record = await hands.record()
    assert (len(record.consents), len(record.tombstones), len(record.events)) == (4, 1, 4)
    waiting = await hands.read(member_of(contact_key(), 1, 1))
    assert waiting is not None
    assert waiting.reference == record.references[0]
    assert waiting.body == b"body"


async def test_a_slot_before_the_epoch_of_loading_still_takes_the_past(hands: Hands) -> None:
    planned = await hands.plan(due_ms=NOW - 50 * HOUR_MS)
    assert await hands.lane(Source(0, SLOT - 50)) == [DueEntry(planned.member, planned.due_ms)]
