"""Several daemons' engines over one server, on the real clock, whose every step is written down.

Decides: where a daemon dawdles, and when a partition changes hands. The stores are real ones, each with
its own connections; what stands between engine and store passes every call on, and only takes its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from hashlib import blake2b
from typing import Any

from core.bounds import HOUR_MS
from core.clock import SystemClock, monotonic_ns
from core.contact_ports import AddressCode
from core.engine.engine import Engine
from core.gate import ClaimCode
from core.model import Medium
from core.redis_link import RedisLink
from core.registry.redis_store import RedisRegistryStore
from core.registry.registry import Registry
from core.sending import Delivery, Letter
from core.timing_wheel.redis_store import SCRIPTS, RedisStore
from senders.postbox import Postbox
from tests.support.shop import KeepingTransport
from tests.support.valkey import ValkeyServer

PARTITIONS = 16
MEDIA = (Medium.EMAIL, Medium.SMS)


class Journal:
    """What all daemons together have done, on the machine's monotonic clock."""

    def __init__(self) -> None:
        self.handed: list[tuple[int, bytes, int]] = []
        """(when a hand-over began, member, medium)."""
        self.accepted: list[bytes] = []
        """Members of what was taken; the rest is tried again."""
        self.passed: list[tuple[int, str, bytes]] = []
        """(when a gate was asked, which, member) of what it let through."""
        self.addresses: list[tuple[int, bytes]] = []
        """(when an address was asked, tag) of what it let through; see `address_tag`."""
        self.moves = 0
        """Partitions that changed hands."""


def address_tag(member: bytes) -> bytes:
    """Return the name that a message has among all that go to an address."""
    return blake2b(member, digest_size=8).digest()


class Dawdling:
    """A store whose dispatch sometimes stops for a moment, before a call or after it."""

    def __init__(self, store: RedisStore, journal: Journal, chance: random.Random) -> None:
        self._store = store
        self._journal = journal
        self._chance = chance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def _dawdle(self) -> None:
        lot = self._chance.random()
        if lot < 0.03:
            # Long enough that the claim passes the gate once more (E4).
            await asyncio.sleep(self._chance.uniform(0.5, 0.9))
        elif lot < 0.4:
            await asyncio.sleep(self._chance.uniform(0, 0.04))

    async def claim(self, partition: int, owner: Any, token: bytes, items: Any, *rest: Any) -> Any:
        await self._dawdle()
        asked_ns = monotonic_ns()
        answers = await self._store.claim(partition, owner, token, items, *rest)
        self._journal.passed += [
            (asked_ns, "claim", item.member)
            for item, answer in zip(items, answers, strict=True)
            if answer.code == ClaimCode.CLAIMED
        ]
        await self._dawdle()
        return answers

    async def mark_sending(self, partition: int, token: bytes, items: Any, now_ms: int) -> Any:
        await self._dawdle()
        asked_ns = monotonic_ns()
        answers = await self._store.mark_sending(partition, token, items, now_ms)
        self._journal.passed += [
            (asked_ns, "mark_sending", item.member)
            for item, may in zip(items, answers, strict=True)
            if may
        ]
        await self._dawdle()
        return answers

    async def mark_addresses(self, partition: int, items: Any, now_ms: int) -> Any:
        await self._dawdle()
        asked_ns = monotonic_ns()
        answers = await self._store.mark_addresses(partition, items, now_ms)
        self._journal.addresses += [
            (asked_ns, item.tag)
            for item, answer in zip(items, answers, strict=True)
            if answer.code == AddressCode.PASSED
        ]
        await self._dawdle()
        return answers


class NotingTransport(KeepingTransport):
    """Takes most letters, sooner or later, and notes when they were handed over."""

    journal: Journal
    chance: random.Random

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        now_ns = monotonic_ns()
        for letter, _ in letters:
            self.journal.handed.append((now_ns, letter.member, letter.medium))
        if self.chance.random() < 0.5:
            await asyncio.sleep(self.chance.uniform(0, 0.05))
        return [self._answer(letter) for letter, _ in letters]

    def _answer(self, letter: Letter) -> Delivery:
        if self.chance.random() < 0.3:
            return Delivery(Delivery.Kind.DEFERRED, "busy")
        self.journal.accepted.append(letter.member)
        return Delivery(Delivery.Kind.ACCEPTED, "", 0, True)


class Daemon:
    """One engine with its own connections and its own view of the configuration."""

    def __init__(self, engine: Engine, store: RedisStore) -> None:
        self.engine = engine
        self.store = store

    @property
    def owned(self) -> list[int]:
        return sorted(self.engine.ownership.owned)

    async def give(self, partition: int, other: Daemon) -> None:
        """Give a lease back, so that the other daemon takes it."""
        ownership = self.engine.ownership
        owner = ownership._owned.pop(partition, None)
        if owner is not None:
            await self.store.release({partition: owner})
        await other.engine.ownership.acquire([partition])
        await other.engine.ownership.renew()
        other.engine._wakeup.set()

    async def be_overtaken(self, partition: int, other: Daemon) -> None:
        """Lose a lease to another daemon without knowing, as after a long pause."""
        theirs = other.engine.ownership
        seen = await other.store.owners([partition])
        owner = (await other.store.acquire(seen, theirs._nonce))[partition]
        if owner is not None:
            theirs._owned[partition] = owner
            await theirs.renew()
            other.engine._wakeup.set()


@contextlib.asynccontextmanager
async def open_daemons(
    server: ValkeyServer, count: int, journal: Journal, seed: int
) -> AsyncIterator[list[Daemon]]:
    """Open engines over one server; they own nothing and run only once `run` is called."""
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await _open(stack, server, journal, random.Random(f"{seed}:{n}")) for n in range(count)
        ]


async def _open(
    stack: contextlib.AsyncExitStack, server: ValkeyServer, journal: Journal, chance: random.Random
) -> Daemon:
    links = [RedisLink(server.socket_path, list(SCRIPTS.values())) for _ in range(2)]
    store = await RedisStore.open(links, partition_count=PARTITIONS, slot_width_ms=HOUR_MS)
    stack.push_async_callback(store.close)
    registry_store = RedisRegistryStore.connect(server.url)
    stack.push_async_callback(registry_store.close)
    clock = SystemClock()
    registry = await Registry.open(registry_store, clock)
    registry.on_bite.append(store.require_registry)
    post = NotingTransport(clock)  # type: ignore[arg-type]
    post.journal, post.chance = journal, chance
    dawdling: Any = Dawdling(store, journal, chance)
    postbox = Postbox(dict.fromkeys(MEDIA, post))
    engine = Engine(dawdling, registry, postbox, clock, is_exclusive=False)
    return Daemon(engine, store)


@contextlib.asynccontextmanager
async def running(
    daemons: Sequence[Daemon], journal: Journal, chance: random.Random
) -> AsyncIterator[None]:
    """Run the daemons, each with a part of the partitions, which go from hand to hand."""
    for daemon in daemons:
        await daemon.engine.start()
    for partition in daemons[0].owned:
        await daemons[0].give(partition, daemons[partition % len(daemons)])
    tasks = [asyncio.create_task(daemon.engine.run()) for daemon in daemons]
    mover = asyncio.create_task(_move(daemons, journal, chance))
    try:
        yield
        assert not mover.done(), mover.exception()
        assert not any(task.done() for task in tasks), "a daemon has ended"
    finally:
        mover.cancel()
        for daemon in daemons:
            await daemon.engine.drain(10_000)
        await asyncio.gather(mover, *tasks, return_exceptions=True)
        for daemon in daemons:
            await daemon.engine.stop()


async def _move(daemons: Sequence[Daemon], journal: Journal, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.uniform(0.02, 0.15))
        here, there = chance.sample(list(daemons), 2)
        if not here.owned:
            continue
        partition = chance.choice(here.owned)
        if chance.random() < 0.5:
            await here.give(partition, there)
        else:
            await here.be_overtaken(partition, there)
        journal.moves += 1
