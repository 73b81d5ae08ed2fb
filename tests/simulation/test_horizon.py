"""The near horizon under awkward turns: lanes that move, large slots, partitions lost and regained."""

from __future__ import annotations

import pytest

from core import bounds
from core.engine.horizon import DEFERRED, NEAR
from core.model import State
from core.ports import Store
from tests.support.shop import open_shop


async def test_an_entry_that_moves_between_lanes_is_counted_once(store: Store) -> None:
    async with open_shop(store) as shop:
        horizon, now_ms = shop.engine.horizon, shop.clock.now_ms()
        member = bytes(16)
        horizon.insert(0, NEAR, member, now_ms + 5)
        horizon.insert(0, DEFERRED, member, now_ms + 9)
        horizon.insert(0, DEFERRED, member, now_ms + 9)
        assert horizon.take(now_ms + 8, 10) == []
        assert horizon.take(now_ms + 9, 10) == [(now_ms + 9, member, (0, DEFERRED))]
        assert set(horizon._outstanding.values()) == {0}
        horizon.wheel.validate()


async def test_a_slot_larger_than_one_read_comes_out_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SLOT_READ_MAX", 8)
    async with open_shop(store) as shop:
        events = [shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(200)]
        await shop.publish(*events)
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 200
        assert {at for at, _, _ in shop.mails()} == {"2026-03-08 09:00"}


async def test_what_fell_due_while_the_lease_was_lost_goes_once_it_is_regained(
    store: Store,
) -> None:
    async with open_shop(store) as shop:
        await shop.publish(*(shop.event(order=str(n), email=f"c{n}@s.example") for n in range(20)))
        await shop.until("2026-03-08 08:30")
        ownership = shop.engine.ownership
        granted_ns, ownership._granted_ns = ownership._granted_ns, 0
        assert ownership.owned == {}
        await shop.until("2026-03-08 09:30")
        assert shop.mails() == []
        ownership._granted_ns = granted_ns
        await shop.until("2026-03-08 10:00")
        assert len(shop.mails()) == 20
        assert await shop.ends() == {(State.SENT, 0): 20}


async def test_an_entry_that_arrived_without_a_hint_is_found(store: Store) -> None:
    async with open_shop(store) as shop:
        hint, shop.engine.acceptor._on_near = shop.engine.acceptor._on_near, lambda *_: None
        await shop.publish(shop.event(at="2026-02-22 08:00"))
        shop.engine.acceptor._on_near = hint
        assert len(shop.engine.horizon.wheel) == 0
        assert await shop.engine.horizon.poll()
        await shop.until("2026-03-01 10:00")
        assert len(shop.mails()) == 1
