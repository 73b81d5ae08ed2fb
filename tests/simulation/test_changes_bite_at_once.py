"""Changes of the configuration that bite at once, against the dispatch of another daemon (R13).

Checked: once the call has returned, no claim lets through what the change ends or holds, though the
daemon that claims has a configuration of its own and has not been told. In every order of the calls, on
both stores, and in a storm of three daemons over one server.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from core.bounds import DAY_MS, HOUR_MS
from core.clock import SystemClock, monotonic_ns
from core.errors import StoreUnavailable
from core.model import Contact, Event, Evidence, Item, Medium, Order, Purpose
from core.ports import Store
from core.registry.blocks import Block, BlockKind
from core.registry.registry import Registry
from core.registry.resources import Rule
from core.registry.rule_parts import Wait
from core.timing_wheel.memory_store import MemoryStore
from tests.support.daemons import PARTITIONS, Daemon, Journal, open_daemons, running
from tests.support.rules import free_rule, step
from tests.support.shop import ACCOUNT, Shop, new_channel, open_shop, review_rule
from tests.support.turns import Door, Turns, all_orders, some_orders
from tests.support.valkey import ValkeyServer

Change = Callable[[Registry], Awaitable[Any]]

DISPATCH = frozenset({"read", "claim", "settle"})
REFRESH = frozenset({"revision", "load"})
ORDERS_ON_SERVER = 8
SHOPS, BURSTS, BURST_MS = 12, 8, 500


# --- changes ------------------------------------------------------------------------------------------


async def stop(registry: Registry) -> None:
    await registry.stop_rule(ACCOUNT, "ask")


async def stop_on_the_channel(registry: Registry) -> None:
    await registry.stop_rule(ACCOUNT, "ask", "madrid")


async def freeze(registry: Registry) -> None:
    await registry.freeze_rule(ACCOUNT, "ask")


async def delete(registry: Registry) -> None:
    await registry.delete_rule(ACCOUNT, "ask")


async def deactivate(registry: Registry) -> None:
    await registry.deactivate(ACCOUNT, "ask", "madrid")


async def disable_the_steps(registry: Registry) -> None:
    rule = registry.snapshot.rule(ACCOUNT, "ask")
    assert rule is not None
    steps = [replace(step, enabled=False) for step in rule.steps]
    await registry.update_rule(replace(rule, steps=steps))


async def event_type_off(registry: Registry) -> None:
    kind = registry.snapshot.event_type(ACCOUNT, "checkout")
    assert kind is not None
    await registry.update_event_type(replace(kind, active=False))


async def reviews_off_for_the_type(registry: Registry) -> None:
    channel = registry.snapshot.channel(ACCOUNT, "madrid")
    assert channel is not None
    await registry.update_channel(replace(channel, review_event_types_off=("checkout",)))


async def block(registry: Registry) -> None:
    new = Block(account=ACCOUNT, id="b1", kind=BlockKind.DOMAIN, value="shop.example")
    await registry.create_block(new)


CHANGES = (stop, stop_on_the_channel, freeze, delete, deactivate, disable_the_steps, event_type_off,
           reviews_off_for_the_type, block)  # fmt: skip


# --- in every order ---------------------------------------------------------------------------------


def race_of(
    make: Callable[[], Awaitable[Store]], change: Change
) -> Callable[[Turns], Awaitable[None]]:
    """Return the race of a change by one daemon against a dispatch by another."""

    async def race(turns: Turns) -> None:
        store = await make()
        here = Door(store, turns, "dispatch", DISPATCH)
        async with open_shop(here, rule=review_rule()) as shop:  # type: ignore[arg-type]
            await shop.publish(shop.event())
            await shop.until("2026-03-08 08:59")
            shared = shop.registry._store
            there = await Registry.open(
                Door(shared, turns, "client", frozenset({"write"})),  # type: ignore[arg-type]
                shop.clock,
            )
            bite = Door(store, turns, "client", frozenset({"require_registry"}))
            there.on_bite.append(bite.require_registry)
            shop.registry._store = Door(shared, turns, "dispatch", REFRESH)  # type: ignore[assignment]
            target_ms = shop.clock.now_ms() + HOUR_MS
            await turns.race(dispatch=shop.engine.advance_to(target_ms), client=change(there))
            await _judge(shop, turns, change)

    return race


async def _judge(shop: Shop, turns: Turns, change: Change) -> None:
    story = f"{change.__name__}: {turns.log}"
    sent, claimed = len(shop.post.sent), turns.place("dispatch", "claim")
    assert sent <= 1, story
    if turns.log.index(("client", "returned")) < claimed:
        assert not sent, f"it started after the call had returned: {story}"
    await shop.ends()
    await shop.engine.advance_to(shop.clock.now_ms() + 60 * DAY_MS)
    assert len(shop.post.sent) == sent, f"it went later: {story}"
    await shop.ends()
    assert await shop.pending() == 0, story


async def _fresh(store: Store) -> Store:
    if isinstance(store, MemoryStore):
        return MemoryStore.create(partition_count=4)
    await store._links[0].call("FLUSHALL")  # type: ignore[attr-defined]
    return store


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_after_a_change_has_returned_no_send_starts(store: Store, change: Change) -> None:
    """R12, R13, B9, C25, D17, D19, pitfall:configuration-during-dispatch: in every order."""
    race = race_of(functools.partial(_fresh, store), change)
    if isinstance(store, MemoryStore):
        await all_orders(race)
    else:
        await some_orders(race, ORDERS_ON_SERVER, seed=3)


@pytest.mark.parametrize(
    "change", sorted(set(CHANGES) - {delete, block}, key=lambda change: change.__name__),
    ids=lambda change: change.__name__,
)  # fmt: skip
async def test_a_change_that_is_repeated_bites_if_it_had_not(change: Change) -> None:
    """R13: the store went away between the write and the bite, and the client asks again.

    What can only be made or deleted once is refused then, unless the request has an id.
    """
    async with open_shop() as shop:
        bitten: list[int] = []

        async def bite(revision: int) -> None:
            if not bitten:
                bitten.append(0)
                raise StoreUnavailable("gone for a moment")
            bitten.append(revision)

        there = await Registry.open(shop.registry._store, shop.clock)
        there.on_bite.append(bite)
        with pytest.raises(StoreUnavailable):
            await change(there)
        await change(there)
        assert bitten[-1] >= there.snapshot.revision


# --- in a storm ---------------------------------------------------------------------------------------


def _rule(n: int) -> Rule:
    """Return a rule of its own for each change, so that they do not meet each other."""
    return free_rule(
        f"r{n}", event_type="checkout", steps=[replace(step(), wait=Wait(elapsed_ms=HOUR_MS))]
    )


async def _prepare(daemons: list[Daemon], start_ms: int, chance: random.Random) -> dict[bytes, int]:
    """Make channels, each with its rule and messages that fall due; return member -> channel."""
    registry = daemons[0].engine.registry
    await registry.ensure_account(ACCOUNT, default_caps=False)
    for n in range(SHOPS):
        await registry.create_rule(_rule(n))
        await registry.create_channel(new_channel(f"c{n}"))
        await registry.activate(ACCOUNT, f"r{n}", f"c{n}", "test")
    for daemon in daemons:
        await daemon.engine.registry.refresh()
    members: dict[bytes, int] = {}
    events = [
        _event(n, number, start_ms + chance.randrange(BURSTS) * BURST_MS - HOUR_MS)
        for n in range(SHOPS)
        for number in range(150)
    ]
    chance.shuffle(events)
    for at in range(0, len(events), 200):
        some = events[at : at + 200]
        for event, answer in zip(
            some, await daemons[0].engine.acceptor.accept(ACCOUNT, some), strict=True
        ):
            assert answer.error is None, answer.error
            members |= dict.fromkeys(answer.members, int(event.channel.rpartition("/c")[2]))
    return members


def _event(n: int, number: int, occur_ms: int) -> Event:
    return Event(
        id=f"{n}-{number}", source="storm", type="checkout", occur_ms=occur_ms,
        channel=f"accounts/{ACCOUNT}/channels/c{n}",
        contact=Contact(email=f"p{number}@shop{n}.example"),
        consents=[Evidence(Purpose.REVIEW, Medium.EMAIL, True, occur_ms)],
        order=Order(reference=f"{number}", items=[Item(sku="mug")]),
    )  # fmt: skip


async def _change(registry: Registry, n: int) -> str:
    rule, channel = f"r{n}", f"c{n}"
    if n % 5 == 0:
        await registry.stop_rule(ACCOUNT, rule)
    elif n % 5 == 1:
        await registry.freeze_rule(ACCOUNT, rule, channel)
    elif n % 5 == 2:
        await registry.delete_rule(ACCOUNT, rule)
    elif n % 5 == 3:
        await registry.deactivate(ACCOUNT, rule, channel)
    else:
        new = Block(account=ACCOUNT, id=f"b{n}", kind=BlockKind.DOMAIN, value=f"shop{n}.example")
        await registry.create_block(new)
    return ("stop", "freeze", "delete", "deactivate", "block")[n % 5]


@pytest.mark.integration
async def test_changes_bite_at_once_in_a_storm() -> None:
    """R12, R13: each change by some daemon, while all of them dispatch what it concerns."""
    seed = int(os.environ.get("AFTERWORD_SEED", "20260301"))
    journal, chance = Journal(), random.Random(seed)
    returned: dict[int, tuple[int, str]] = {}
    with ValkeyServer() as server:
        async with open_daemons(server, 3, journal, seed) as daemons:
            start_ms = SystemClock().now_ms() + 3_000
            members = await _prepare(daemons, start_ms, chance)

            async def client(n: int) -> None:
                at_ms = start_ms + chance.randrange(1, BURSTS - 1) * BURST_MS
                await asyncio.sleep(
                    (at_ms + chance.uniform(-20, 150) - SystemClock().now_ms()) / 1_000
                )
                what = await _change(chance.choice(daemons).engine.registry, n)
                returned[n] = (monotonic_ns(), what)

            async with running(daemons, journal, chance):
                await asyncio.gather(*(client(n) for n in range(SHOPS)))
                frozen = {n for n, (_, what) in returned.items() if what == "freeze"}
                await _settled(daemons, members, frozen)
            late = [
                f"{returned[members[member]][1]}: {(at - returned[members[member]][0]) / 1e6:.1f} ms"
                for at, gate, member in journal.passed
                if gate == "claim" and at > returned[members[member]][0]
            ]
            assert not late, f"seed {seed}: {len(late)} claims after the return, such as {late[:5]}"
            counters = await daemons[0].store.counters(range(PARTITIONS))
            assert all(one.imbalance == 0 for one in counters.values()), f"seed {seed}"
            handed = [member for _, member, _ in journal.handed]
            assert len(handed) == len(set(handed)), f"seed {seed}"
            by_shop = {members[member] for member in handed}
            assert 0 < len(handed) < len(members), f"seed {seed}: {len(handed)}"
            assert len(by_shop) > SHOPS // 2, f"seed {seed}: most went before the change: {by_shop}"


async def _settled(daemons: list[Daemon], members: dict[bytes, int], frozen: set[int]) -> None:
    """Wait until nothing waits but what is frozen."""
    held = sum(n in frozen for n in members.values())
    give_up = monotonic_ns() + 120 * 10**9
    while monotonic_ns() < give_up:
        counters = (await daemons[0].store.counters(range(PARTITIONS))).values()
        open_ = sum(one.scheduled + one.in_flight for one in counters)
        if open_ <= held and not sum(one.in_flight for one in counters):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{open_} still wait")
