"""Limits over all contacts: never more than allowed, whoever sends; on both stores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from core.bounds import DAY_MS, HOUR_MS
from core.engine.engine import Engine
from core.model import Contact, Medium, Purpose, Reason, State, WaitReason
from core.ports import Store
from core.registry.resources import Cap, CapScope, CapSubject
from core.registry.rule_parts import OnCap
from core.sending import Delivery
from senders.postbox import Postbox
from tests.support.rules import free_rule, step
from tests.support.shop import ACCOUNT, MADRID, KeepingTransport, Shop, ms, open_shop

SENT = (State.SENT, Reason.NONE)


def volume(**fields: Any) -> Cap:
    """Return a limit of three transactional messages an hour, to all contacts together."""
    values: dict[str, Any] = {
        "id": "volume", "scope": CapScope.ACCOUNT, "limit": 3, "window_ms": HOUR_MS,
        "purposes": [Purpose.TRANSACTIONAL], "subject": CapSubject.ALL_CONTACTS,
    }  # fmt: skip
    return Cap(account=ACCOUNT, **{**values, **fields})


async def checkouts(shop: Shop, count: int, first: int = 0) -> None:
    """Publish checkouts of as many contacts."""
    await shop.publish(*(
        shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(first, first + count)
    ))  # fmt: skip


def most_in_a_window(times: Sequence[int], window_ms: int) -> int:
    """Return the most sends that any window holds."""
    return max(sum(0 <= other - first < window_ms for other in times) for first in times)


async def waiting(shop: Shop, count: int) -> list[tuple[int, int]]:
    """Return (wait reason, attempts) of what waits of the first orders."""
    return [
        (view.reference.wait, view.reference.attempts)
        for n in range(count)
        for view in await shop.engine.reader.by_order(ACCOUNT, MADRID, str(n))
        if view.reference.state == State.SCHEDULED
    ]


async def test_what_finds_no_room_waits_and_goes_when_there_is_some(store: Store) -> None:
    """R29: SCHEDULED (VOLUME), no attempt used up, at most the limit in any window, none lost."""
    rule = free_rule("a")
    async with open_shop(store, rule=rule, caps=[volume()]) as shop:
        await checkouts(shop, 8)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 3
        assert await waiting(shop, 8) == [(WaitReason.VOLUME, 0)] * 5
        assert shop.engine.stats.deferred[WaitReason.VOLUME] == 5
        await shop.until("2026-03-02 09:00")
        assert await shop.ends() == {SENT: 8}
        assert most_in_a_window([at for at, *_ in shop.post.sent], HOUR_MS) == 3
        # Without a gap: the fourth when the first has left.
        assert shop.post.sent[3][0] == shop.post.sent[0][0] + HOUR_MS


async def test_a_volume_limit_counts_each_channel_for_itself(store: Store) -> None:
    async with open_shop(store, rule=free_rule("a"), caps=[volume(scope=CapScope.CHANNEL)]) as shop:
        there = await shop.add_channel("lyon", "a")
        await checkouts(shop, 5)
        for n in range(5):
            email = f"l{n}@shop.example"
            await shop.publish(shop.event(order=f"l{n}", channel=there, email=email))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 6


async def test_of_several_limits_all_must_have_room(store: Store) -> None:
    """R28, R29: what the wider one gave for those that the narrower refused is given back."""
    caps = [
        volume(id="a-wide", limit=5),
        volume(id="b-narrow", limit=2, scope=CapScope.RULE),
    ]
    rules = [free_rule("a", priority=9), free_rule("b", steps=[step(elapsed_ms=1_000)])]
    async with open_shop(store, rules=rules, caps=caps) as shop:
        await checkouts(shop, 4)
        await shop.engine.advance_to(shop.clock.now_ms() + 2_000)
        # Two of each rule: four of five, because what was refused cost the wide limit nothing.
        assert len(shop.post.sent) == 4
        await shop.registry.delete_cap(ACCOUNT, "b-narrow")
        await checkouts(shop, 4, first=10)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 5


async def test_what_the_gate_refuses_costs_nothing(store: Store) -> None:
    """R29: tokens are given back for what is not claimed."""
    each = Cap(
        account=ACCOUNT, id="each", scope=CapScope.ACCOUNT, limit=1, window_ms=DAY_MS,
        purposes=[Purpose.TRANSACTIONAL], on_cap=OnCap.SKIP,
    )  # fmt: skip
    async with open_shop(store, rule=free_rule("a"), caps=[volume(), each]) as shop:
        for n in range(3):
            await shop.publish(shop.event(order=f"same-{n}"))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 1
        await checkouts(shop, 4)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 3


async def test_what_certainly_did_not_go_costs_nothing(store: Store) -> None:
    """R25, R29: and what may have gone, does."""
    async with open_shop(store, rule=free_rule("a"), caps=[volume(limit=2)]) as shop:
        failed = Delivery(Delivery.Kind.FAILED, "no", 0, False)
        shop.post.answers["c0@shop.example"] = [failed]
        await checkouts(shop, 1)
        await shop.engine.advance_to(shop.clock.now_ms())
        bounced = Delivery(Delivery.Kind.REJECTED, "no", 0, True)
        shop.post.answers["c1@shop.example"] = [bounced]
        await checkouts(shop, 1, first=1)
        await shop.engine.advance_to(shop.clock.now_ms())
        await checkouts(shop, 3, first=2)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 2
        assert shop.post.sent[0][1] == "c1@shop.example"
        assert await shop.pending() == 2


async def test_what_cannot_wait_so_long_expires(store: Store) -> None:
    """R30: EXPIRED (NO_SLOT)."""
    rule = free_rule("a", expire_after_ms=HOUR_MS // 2)
    async with open_shop(store, rule=rule, caps=[volume()]) as shop:
        await checkouts(shop, 5)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await shop.ends() == {SENT: 3, (State.EXPIRED, Reason.NO_SLOT): 2}


async def test_a_volume_limit_of_zero_blocks(store: Store) -> None:
    """R24."""
    async with open_shop(store, rule=free_rule("a"), caps=[volume(limit=0)]) as shop:
        await checkouts(shop, 2)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await shop.ends() == {(State.SKIPPED, Reason.CAPPED): 2}


async def test_a_step_may_be_exempt_from_a_volume_limit(store: Store) -> None:
    urgent = free_rule("urgent", steps=[step()])
    urgent.steps[0].exempt_from_caps = ["volume"]
    async with open_shop(store, rules=[urgent, free_rule("a")], caps=[volume()]) as shop:
        await checkouts(shop, 5)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 8


@pytest.mark.parametrize("rounds", [1, 4])
async def test_two_daemons_never_exceed_a_limit_together(store: Store, rounds: int) -> None:
    """R29, E16: two dispatchers on one store, each with half of the partitions, due at once."""
    limit, count = 7, 60
    async with open_shop(store, rule=free_rule("a"), caps=[volume(limit=limit)]) as shop:
        await shop.engine.stop()
        half = store.meta.partition_count // 2
        engines = []
        post = KeepingTransport(shop.clock)
        for n in range(2):
            engine = Engine(
                store, shop.registry, Postbox({Medium.EMAIL: post}), shop.clock, is_exclusive=False
            )
            await engine.ownership.acquire(range(n * half, (n + 1) * half))
            await engine.horizon.extend(shop.clock.now_ms())
            engines.append(engine)
        shop.engine = engines[0]
        answers = await engines[0].acceptor.accept(
            ACCOUNT,
            [
                shop.event(order=str(n), contact=Contact(email=f"c{n}@x.example"))
                for n in range(count)
            ],
        )
        assert all(answer.error is None for answer in answers)
        for _ in range(rounds):
            for engine in engines:
                await engine.horizon.poll()
            await asyncio.gather(*(
                engine.dispatcher.fire(engine.horizon.take(shop.clock.now_ms(), 8))
                for _ in range(4)
                for engine in engines
            ))  # fmt: skip
        assert len(post.sent) == limit
        shop.clock.move_to_ms(ms("2026-03-01 10:00"))
        for engine in engines:
            await engine.horizon.poll()
            await engine.dispatcher.fire(engine.horizon.take(shop.clock.now_ms(), 1_000))
        assert limit < len(post.sent) <= 2 * limit
        assert most_in_a_window([at for at, *_ in post.sent], HOUR_MS) <= limit
        for engine in engines:
            await engine.stop()
