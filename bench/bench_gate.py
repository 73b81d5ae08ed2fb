"""What the gate costs: bytes of the store for each contact and each pending invitation, and processor
time for each invitation that is claimed through the whole gate, against a claim that asks nothing.

Everything runs on a real server in memory, without append-only file, so that only the work itself is
counted. The two kinds of claims take turns, batch by batch, on the same store: contacts with one
consent, one message that was sent before, and one invitation that is due.

    bytes       MEMORY USAGE of all keys of a family, every element looked at
    server      what the server itself counts for the claim script, `INFO commandstats`
    daemon      processor time of this process around the call

Absolute figures depend on the machine; read the ratios.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import uvloop

from bench import workloads
from bench.bench_throughput import BATCH, DUE_MS, START_MS, fire_all
from control.embedded_server import EmbeddedServer
from control.serve import spare_the_collector
from core import bounds
from core.bounds import DAY_MS
from core.clock import ManualClock
from core.engine.engine import Engine
from core.gate import CapRule, ClaimCode, ClaimItem
from core.model import ConsentStatus, Medium, Purpose
from core.partitions import partition_of, partition_tags
from core.records import NO_KEY, ConsentEntry, ContactRecord, Stamp, pack_contact
from core.redis_keys import PartitionKeys
from core.redis_link import RedisLink
from core.registry.memory_store import MemoryRegistryStore
from core.registry.registry import Registry
from core.registry.resources import Cap, CapScope, CapUnit
from core.timing_wheel.redis_store import SCRIPTS, RedisStore
from senders.counting import CountingTransport
from senders.postbox import Postbox

CONTACTS = int(os.environ.get("AFTERWORD_BENCH_N", "60000")) // 3
ROUND = 16
"""Entries of one claim call: a round of 1,024 over 64 partitions."""
LINKS = 16
_LEASE_MS = 10**15
_UNGATED: dict[str, Any] = {"needs_consent": False, "heeds_suppression": False}


class Cost(NamedTuple):
    """What one claimed invitation costs, microseconds of processor time."""

    server_us: float
    daemon_us: float


class Report(NamedTuple):
    """All figures."""

    contact_bytes: float
    """A contact of whom only a consent and one stamp are known."""
    pending_bytes: dict[str, float]
    """Family of keys -> bytes for each pending invitation, its contact and its event."""
    bare: Cost
    gated: Cost


def caps() -> list[Cap]:
    """Return three caps that look at every request, and have room."""
    return [
        Cap(
            account=workloads.ACCOUNT, id=f"cap-{days}", scope=CapScope.ACCOUNT, limit=limit,
            window_ms=days * DAY_MS, purposes=[Purpose.REVIEW], unit=unit,
        )
        for limit, days, unit in (
            (3, 14, CapUnit.ORDER), (5, 30, CapUnit.MESSAGE), (100, 365, CapUnit.MESSAGE)
        )
    ]  # fmt: skip


@asynccontextmanager
async def own_store() -> AsyncIterator[tuple[RedisStore, RedisLink]]:
    """Run a store on an embedded server of its own, and a link beside it."""
    with tempfile.TemporaryDirectory(prefix="aw-bench-") as folder:
        server = EmbeddedServer(Path(folder))
        await server.start()
        links = [RedisLink(server.socket_path, list(SCRIPTS.values())) for _ in range(LINKS)]
        beside = RedisLink(server.socket_path)
        await beside.connect()
        await beside.call("CONFIG", "SET", "appendonly", "no")
        store = await RedisStore.open(links, is_virtual=True)
        try:
            yield store, beside
        finally:
            await store.close()
            await beside.close()
            await server.stop()


# --- bytes -----------------------------------------------------------------------------------------


async def bytes_by_family(link: RedisLink) -> Counter[str]:
    """Return what the keys of each family take."""
    found: Counter[str] = Counter()
    cursor = b"0"
    while True:
        cursor, names = await link.call("SCAN", cursor, "COUNT", 1_000)
        sizes = await asyncio.gather(
            *(link.send("MEMORY", "USAGE", name, "SAMPLES", 0) for name in names)
        )
        for name, size in zip(names, sizes, strict=True):
            found[name.split(b"}:")[1].split(b":")[0].decode()] += size or 0
        if cursor == b"0":
            return found


async def contact_bytes(count: int) -> float:
    """Return the bytes of one contact with a consent and a stamp, among as many."""
    record = ContactRecord(
        consents=[
            ConsentEntry(0, Purpose.REVIEW, Medium.EMAIL, ConsentStatus.GRANTED, NO_KEY, START_MS)
        ],
        stamps=[Stamp(b"capA", NO_KEY, START_MS)],
    )
    raw = pack_contact(record)
    async with own_store() as (store, link):
        tags = store.meta.partition_count
        keys = [PartitionKeys(tag) for tag in partition_tags(tags)]
        before = await bytes_by_family(link)
        for at in range(0, count, BATCH):
            names = [secrets.token_bytes(8) for _ in range(min(BATCH, count - at))]
            await asyncio.gather(
                *(link.send("HSET", keys[partition_of(n, tags)].contacts, n, raw) for n in names)
            )
        return ((await bytes_by_family(link)) - before).total() / count


# --- claims ----------------------------------------------------------------------------------------


async def open_engine(store: RedisStore, clock: ManualClock) -> Engine:
    """Open the usual shop with three caps on a store."""
    registry = await Registry.open(MemoryRegistryStore(), clock)
    await registry.ensure_account(workloads.ACCOUNT, default_caps=False)
    await registry.create_channel(workloads.channel())
    for cap in caps():
        await registry.create_cap(cap)
    rule = workloads.rule()
    rule = await registry.create_rule(msgspec.structs.replace(rule, steps=rule.steps[:1]))
    await registry.activate(workloads.ACCOUNT, rule.id, "shop", "bench")
    engine = Engine(store, registry, Postbox({Medium.EMAIL: CountingTransport()}), clock)
    await engine.start()
    return engine


async def accept(engine: Engine, now_ms: int, count: int, order: str) -> list[bytes]:
    """Publish one order for each contact; return the members of what is pending."""
    members: list[bytes] = []
    for first in range(0, count, BATCH):
        events = [workloads.event(n, now_ms) for n in range(first, min(first + BATCH, count))]
        for event in events:
            event.id += order
            assert event.order is not None
            event.order.reference += order
        for answer in await engine.acceptor.accept(workloads.ACCOUNT, events):
            assert answer.error is None, answer.error
            members += answer.members
    return members


async def claim_us(link: RedisLink) -> tuple[int, int]:
    """Return (calls, microseconds) of scripts, as the server counts them."""
    text = (await link.call("INFO", "commandstats")).decode()
    line = next((one for one in text.splitlines() if one.startswith("cmdstat_evalsha:")), "")
    fields = dict(part.split("=") for part in line.partition(":")[2].split(",") if part)
    return int(fields.get("calls", 0)), int(fields.get("usec", 0))


async def claims(
    engine: Engine, store: RedisStore, link: RedisLink, members: list[bytes], now_ms: int
) -> tuple[Cost, Cost]:
    """Claim everything, every other batch through the whole gate; return (bare, gated)."""
    snapshot = engine.registry.snapshot
    rules: tuple[CapRule, ...] = snapshot.caps_for(
        workloads.ACCOUNT, 1, 1, Purpose.REVIEW, Medium.EMAIL, False
    ).gate
    assert len(rules) == 3
    by_partition: dict[int, list[bytes]] = {}
    for member in members:
        partition = partition_of(member[:8], store.meta.partition_count)
        by_partition.setdefault(partition, []).append(member)
    spent = {True: [0, 0.0, 0], False: [0, 0.0, 0]}
    source = engine.horizon.source_of
    batches = [
        (p, found[at : at + ROUND])
        for p, found in by_partition.items()
        for at in range(0, len(found), ROUND)
    ]
    for number, (partition, found) in enumerate(batches):
        is_gated = number % 2 == 0
        more = {"caps": rules} if is_gated else _UNGATED
        items = [ClaimItem(m, source(partition, m, now_ms), **more) for m in found]
        _, before_us = await claim_us(link)
        started = time.process_time()
        answers = await store.claim(
            partition, engine.ownership.owned[partition], secrets.token_bytes(16), items, now_ms,
            _LEASE_MS, snapshot.revision,
        )  # fmt: skip
        used = time.process_time() - started
        _, after_us = await claim_us(link)
        assert all(answer.code == ClaimCode.CLAIMED for answer in answers), answers
        sums = spent[is_gated]
        sums[0] += after_us - before_us
        sums[1] += used * 1e6
        sums[2] += len(items)
    bare, gated = (Cost(s[0] / s[2], s[1] / s[2]) for s in (spent[False], spent[True]))
    return bare, gated


async def measure(count: int) -> Report:
    """Measure everything."""
    of_contact = await contact_bytes(count)
    async with own_store() as (store, link):
        clock = ManualClock(START_MS)
        engine = await open_engine(store, clock)
        before = await bytes_by_family(link)
        await accept(engine, START_MS, count, "-first")
        pending = (await bytes_by_family(link)) - before
        clock.move_to_ms(DUE_MS)
        spare_the_collector()
        await fire_all(engine, clock)
        members = await accept(engine, DUE_MS, count, "-second")
        clock.move_to_ms(DUE_MS + 8 * DAY_MS)
        await engine.horizon.extend(clock.now_ms())
        spare_the_collector()
        bare, gated = await claims(engine, store, link, members, clock.now_ms())
        await engine.stop()
    shares = {family: size / count for family, size in pending.most_common()}
    return Report(of_contact, shares, bare, gated)


def report(count: int = CONTACTS) -> Report:
    """Measure and print."""
    found = uvloop.run(measure(count))
    print(f"\ngate, {count} contacts, server without append-only file")
    print(f"a contact with a consent and one stamp: {found.contact_bytes:.0f} bytes")
    total = sum(found.pending_bytes.values())
    print(f"a pending invitation with its contact and event: {total:.0f} bytes, of which")
    for family, size in found.pending_bytes.items():
        if size >= 1:
            print(f"    {family:20}{size:>8.0f}")
    print(f"{'':42}{'server us':>11}{'daemon us':>11}")
    rows = (
        ("claim without any gate", found.bare),
        ("claim: consent, suppression, three caps", found.gated),
    )
    for name, cost in rows:
        print(f"{name:42}{cost.server_us:>11.1f}{cost.daemon_us:>11.1f}")
    server, daemon = (a / b for a, b in zip(found.gated, found.bare, strict=True))
    print(f"{'ratio':42}{server:>10.2f}x{daemon:>10.2f}x")
    return found


def test_gate_smoke() -> None:
    """Every figure is there, on few contacts."""
    found = report(bounds.SCRIPT_BATCH_MAX)
    assert found.contact_bytes > 0
    assert found.pending_bytes["contacts"] > 0
    assert found.bare.server_us > 0
    assert found.gated.server_us > 0


if __name__ == "__main__":
    report()
