"""Who owns a partition: compared by equality (E11), and what only an owner may do (E3)."""

from __future__ import annotations

import pytest

from core.errors import OwnershipLost, StaleRegistry
from core.model import State
from core.ports import Owner, OwnerState, Store
from tests.conformance.kit import DEFERRED, LEASE_MS, NEAR, NOW, Hands, far, item


async def acquire(store: Store, partition: int, nonce: bytes) -> Owner | None:
    observed = await store.owners([partition])
    return (await store.acquire(observed, nonce))[partition]


async def test_nobody_owns_a_new_partition(store: Store) -> None:
    assert await store.owners([0, 3]) == {0: OwnerState(0, b"", 0), 3: OwnerState(0, b"", 0)}


async def test_acquire_takes_what_is_still_as_observed(store: Store) -> None:
    owner = await acquire(store, 1, b"daemon a")
    assert owner is not None
    assert owner.nonce == b"daemon a"
    state = (await store.owners([1]))[1]
    assert (state.epoch, state.nonce) == (owner.epoch, owner.nonce)


async def test_acquire_gives_none_where_somebody_was_faster(store: Store) -> None:
    observed = await store.owners([1, 2])
    await acquire(store, 1, b"daemon a")
    answer = await store.acquire(observed, b"daemon b")
    assert answer[1] is None
    assert answer[2] is not None
    assert (await store.owners([1]))[1].nonce == b"daemon a"


async def test_a_renewal_in_between_defeats_the_take_over(store: Store) -> None:
    owner = await acquire(store, 0, b"daemon a")
    assert owner is not None
    observed = await store.owners([0])
    assert await store.renew({0: owner}) == {0: True}
    assert await store.acquire(observed, b"daemon b") == {0: None}


async def test_a_take_over_raises_the_epoch(store: Store) -> None:
    first = await acquire(store, 0, b"daemon a")
    second = await acquire(store, 0, b"daemon b")
    assert first is not None
    assert second is not None
    assert second.epoch > first.epoch


async def test_renew_raises_the_counter_of_the_owner_only(store: Store) -> None:
    old = await acquire(store, 0, b"daemon a")
    new = await acquire(store, 0, b"daemon b")
    assert old is not None
    assert new is not None
    before = (await store.owners([0]))[0].renewals
    assert await store.renew({0: old}) == {0: False}
    assert (await store.owners([0]))[0].renewals == before
    assert await store.renew({0: new}) == {0: True}
    assert (await store.owners([0]))[0].renewals > before


async def test_e11_the_same_nonce_with_another_epoch_is_another_owner(store: Store) -> None:
    owner = await acquire(store, 0, b"daemon a")
    assert owner is not None
    assert await store.renew({0: Owner(owner.epoch + 1, owner.nonce)}) == {0: False}
    assert await store.renew({0: Owner(owner.epoch, b"daemon b")}) == {0: False}


async def test_release_gives_back_and_may_be_repeated(store: Store) -> None:
    owner = await acquire(store, 0, b"daemon a")
    assert owner is not None
    await store.release({0: owner})
    await store.release({0: owner})
    state = (await store.owners([0]))[0]
    assert (state.epoch, state.nonce) == (owner.epoch, b"")
    assert await store.renew({0: owner}) == {0: False}
    following = await acquire(store, 0, b"daemon b")
    assert following is not None
    assert following.epoch > owner.epoch


async def test_release_leaves_a_later_owner_alone(store: Store) -> None:
    old = await acquire(store, 0, b"daemon a")
    new = await acquire(store, 0, b"daemon b")
    assert old is not None
    assert new is not None
    await store.release({0: old})
    assert await store.renew({0: new}) == {0: True}


async def test_claim_is_refused_to_a_former_owner_and_changes_nothing(hands: Hands) -> None:
    """pitfall:two-workers."""
    planned = await hands.plan()
    await acquire(hands.store, 0, b"daemon b")
    with pytest.raises(OwnershipLost):
        await hands.claim(item(planned.member))
    assert await hands.state(planned.member) == (State.SCHEDULED, 0)
    assert len(await hands.lane(far(NOW))) == 1


async def test_open_slots_is_refused_to_a_former_owner(hands: Hands) -> None:
    await acquire(hands.store, 0, b"daemon b")
    assert await hands.store.open_slots({0: hands.owner}, NOW + 1) == {0: False}
    await hands.plan()
    assert await hands.lane(NEAR) == []


async def test_recover_is_refused_to_a_former_owner(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.take(item(planned.member))
    await acquire(hands.store, 0, b"daemon b")
    lost = {0: hands.owner, 1: await acquire(hands.store, 1, b"daemon a")}
    assert await hands.store.recover(lost, LEASE_MS + 1, NOW) == {1: []}, "the others are looked at"
    assert await hands.state(planned.member) == (State.IN_FLIGHT, 0)
    assert await hands.lane(DEFERRED) == []


async def test_nobody_may_claim_in_a_partition_without_owner(store: Store) -> None:
    with pytest.raises(OwnershipLost):
        await store.claim(0, Owner(0, b""), bytes(16), [], NOW, LEASE_MS, 0)


async def test_r13_claim_refuses_a_snapshot_older_than_demanded(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.store.require_registry(7)
    with pytest.raises(StaleRegistry):
        await hands.claim(item(planned.member), registry_revision=6)
    assert await hands.state(planned.member) == (State.SCHEDULED, 0)
    await hands.take(item(planned.member), registry_revision=7)


async def test_r13_a_demand_is_never_lowered(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.store.require_registry(7)
    await hands.store.require_registry(3)
    with pytest.raises(StaleRegistry):
        await hands.claim(item(planned.member), registry_revision=6)


async def test_r13_a_demand_bites_in_every_partition(store: Store) -> None:
    await store.require_registry(2)
    for partition in range(store.meta.partition_count):
        hands = await Hands.own(store, partition)
        with pytest.raises(StaleRegistry):
            await hands.claim(registry_revision=1)
