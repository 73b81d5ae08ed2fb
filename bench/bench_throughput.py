"""How many events a second go in durably, and how many invitations a second come out of a backlog.

Everything shares the machine: client, daemon and server. Absolute figures depend on the machine and on
the minute, so each run also measures the server's own limit on the same disk and prints the ratio: the
same number of events written by plain pipelined commands, one ZADD, one HSET and one SET of the event's
bytes each, with the same fsync.

    ingest   batches of 500 over one gRPC stream to a daemon in its own process, acknowledged after fsync
    fire     a backlog due at one instant through the full gate (consent, two caps) to a transport that
             counts, with the reminders planned
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import msgspec
import uvloop

from afterword.v1 import event_service_pb2
from bench import workloads
from control.daemon import Daemon
from control.embedded_server import EmbeddedServer
from control.serve import spare_the_collector
from control.settings import Grpc, Http, Life, Settings, StoreOptions
from core.clock import ManualClock
from core.engine.engine import ROUND_MAX, Engine
from core.model import Medium
from core.redis_link import RedisLink
from core.registry.memory_store import MemoryRegistryStore
from core.registry.registry import Registry
from core.rules import public_holidays
from core.timing_wheel.redis_store import SCRIPTS, RedisStore
from senders.counting import CountingTransport
from senders.postbox import Postbox

EVENTS = int(os.environ.get("AFTERWORD_BENCH_N", "60000"))
BATCH = 500
LINKS = 16
START_SECONDS_MAX = 30.0
START_MS = 1_772_355_600_000
"""2026-03-01 09:00 UTC."""
DUE_MS = START_MS + 8 * 86_400_000
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Figure(NamedTuple):
    """One measurement."""

    name: str
    per_second: float
    daemon_us: float
    """CPU of the daemon's process for each item, microseconds."""
    server_us: float
    """CPU of the server for each item, microseconds."""


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


class Meter:
    """Wall and processor time of a stretch."""

    def __init__(self, daemon_pid: int, server_pid: int) -> None:
        self._pids = daemon_pid, server_pid
        self._before = [cpu_seconds(pid) for pid in self._pids]
        self._started = time.perf_counter()

    def read(self, name: str, count: int) -> Figure:
        """Return the figure for `count` items."""
        wall = time.perf_counter() - self._started
        daemon, server = (
            (cpu_seconds(pid) - before) / count * 1e6
            for pid, before in zip(self._pids, self._before, strict=True)
        )
        return Figure(name, count / wall, daemon, server)


@asynccontextmanager
async def own_server() -> AsyncIterator[EmbeddedServer]:
    """Run an embedded server, fsyncing before each answer, in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="aw-bench-") as folder:
        server = EmbeddedServer(Path(folder))
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


async def server_limit(count: int) -> Figure:
    """Write `count` events as plainly as can be, over as many connections as the daemon uses."""
    body = msgspec.msgpack.encode(workloads.event(1, START_MS))
    async with own_server() as server:
        links = [RedisLink(server.socket_path) for _ in range(LINKS)]
        for link in links:
            await link.connect()
        assert server.pid is not None
        meter = Meter(os.getpid(), server.pid)
        in_flight = 4_000
        for first in range(0, count, in_flight):
            futures = []
            for number in range(first, min(first + in_flight, count)):
                link, key = links[number % LINKS], b"%016d" % number
                futures += (
                    link.send("ZADD", f"z{number % 64}", number, key),
                    link.send("HSET", f"h{number % 64}", key, body),
                    link.send("SET", key, b"1"),
                )
            await asyncio.gather(*futures)
        figure = meter.read("the server alone, plain writes", count)
        for link in links:
            await link.close()
    return figure


# --- fire ------------------------------------------------------------------------------------------


async def fire(count: int) -> tuple[Figure, Figure]:
    """Accept `count` events in process, then fire them as one backlog."""
    async with own_server() as server:
        links = [RedisLink(server.socket_path, list(SCRIPTS.values())) for _ in range(LINKS)]
        clock = ManualClock(START_MS)
        store = await RedisStore.open(links, is_virtual=True)
        registry = await Registry.open(MemoryRegistryStore(), clock)
        await configure(registry)
        transport = CountingTransport()
        engine = Engine(store, registry, Postbox({Medium.EMAIL: transport}), clock)
        await engine.start()
        assert server.pid is not None
        spare_the_collector()
        accepted = await accept_all(engine, Meter(os.getpid(), server.pid), count)
        clock.move_to_ms(DUE_MS)
        spare_the_collector()
        meter = Meter(os.getpid(), server.pid)
        await fire_all(engine, clock)
        figure = meter.read("fire, full gate", count)
        assert transport.letters == count, f"{transport.letters} of {count} came out"
        await engine.stop()
        await store.close()
    return accepted, figure


async def configure(registry: Registry) -> None:
    """Make the shop, its rule and its caps."""
    await registry.ensure_account(workloads.ACCOUNT, default_caps=False)
    await registry.create_channel(workloads.channel())
    for cap in workloads.caps():
        await registry.create_cap(cap)
    rule = await registry.create_rule(workloads.rule())
    await registry.activate(workloads.ACCOUNT, rule.id, "shop", "bench")


async def accept_all(engine: Engine, meter: Meter, count: int) -> Figure:
    """Publish all events in process, eight batches at a time."""
    events = [workloads.event(number, START_MS - number % 3_600_000) for number in range(count)]
    room = asyncio.Semaphore(8)

    async def publish(first: int) -> None:
        async with room:
            answers = await engine.acceptor.accept(workloads.ACCOUNT, events[first : first + BATCH])
            assert all(answer.error is None for answer in answers)

    await asyncio.gather(*(publish(first) for first in range(0, count, BATCH)))
    return meter.read("accept, in process", count)


async def fire_all(engine: Engine, clock: ManualClock) -> None:
    """Fire what is due as the engine's own loop does, rounds overlapping."""
    rounds: set[asyncio.Task[None]] = set()
    while True:
        await engine.horizon.extend(clock.now_ms())
        fired = engine.horizon.take(clock.now_ms(), ROUND_MAX)
        if fired:
            rounds.add(asyncio.create_task(engine.dispatcher.fire(fired)))
        elif not rounds and not engine.horizon.has_due(clock.now_ms()):
            return
        if len(rounds) >= 4 or (rounds and not fired):
            _, rounds = await asyncio.wait(rounds, return_when=asyncio.FIRST_COMPLETED)


# --- ingest over gRPC -------------------------------------------------------------------------------


def serve(folder: str, address: str, pipe: Any) -> None:
    """Run a daemon in this process until told to stop (the body of the child process)."""

    async def run() -> None:
        settings = Settings(
            grpc=Grpc(listen=address),
            http=Http(listen=""),
            store=StoreOptions(data_dir=folder),
            life=Life(default_caps=False),
        )
        # The daemon does this beside its work, once; it is no part of what an event costs.
        public_holidays.prepare()
        daemon = Daemon(settings, postbox=Postbox({Medium.EMAIL: CountingTransport()}))
        await daemon.start()
        await configure(daemon.registry)
        spare_the_collector()
        assert daemon.embedded is not None
        pipe.send(daemon.embedded.pid)
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await daemon.stop()

    uvloop.run(run())


async def ingest(count: int) -> Figure:
    """Publish `count` events over one stream to a daemon in another process."""
    occur_ms = int(time.time() * 1_000) - 3_600_000
    messages = [
        workloads.batch(sequence, first, BATCH, occur_ms)
        for sequence, first in enumerate(range(0, count, BATCH), start=1)
    ]
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory(prefix="aw-bench-") as folder:
        address = f"unix:{folder}/api.sock"
        process = context.Process(
            target=serve, args=(f"{folder}/data", address, theirs), daemon=True
        )
        process.start()
        started = await asyncio.get_running_loop().run_in_executor(
            None, ours.poll, START_SECONDS_MAX
        )
        assert started, "the daemon did not start"
        server_pid = ours.recv()
        assert process.pid is not None
        async with grpc.aio.insecure_channel(address) as channel:
            # The messages are serialised beforehand: the client's cost is not the question.
            stream = channel.stream_stream(
                "/afterword.v1.EventService/PublishStream",
                request_serializer=None,
                response_deserializer=event_service_pb2.PublishStreamResponse.FromString,
            )()
            meter = Meter(process.pid, server_pid)
            await publish_all(stream, messages)
            figure = meter.read("ingest over gRPC, durable", count)
        ours.send(None)
        await asyncio.get_running_loop().run_in_executor(None, process.join)
    return figure


async def publish_all(stream: Any, messages: list[bytes]) -> None:
    """Send every message as credits allow, and wait for the last ack."""
    hello = event_service_pb2.PublishStreamRequest.Hello(
        parent=f"accounts/{workloads.ACCOUNT}", producer_id="bench", errors_only=True
    )
    await stream.write(event_service_pb2.PublishStreamRequest(hello=hello).SerializeToString())
    credits = (await stream.read()).welcome.credits
    sent = acknowledged = 0
    while acknowledged < len(messages):
        while sent < len(messages) and sent - acknowledged < credits:
            await stream.write(messages[sent])
            sent += 1
        ack = (await stream.read()).ack
        assert ack.accepted_count == BATCH, ack
        acknowledged = ack.sequence
    await stream.done_writing()


def report(count: int = EVENTS) -> list[Figure]:
    """Measure everything, one after the other, and print it against the server's own limit."""
    limit = uvloop.run(server_limit(count))
    ingested = uvloop.run(ingest(count))
    accepted, fired = uvloop.run(fire(count))
    print(f"\nthroughput, {count} events, fsync before every answer, all on {os.cpu_count()} cores")
    print(f"{'':34}{'per second':>12}{'of the limit':>14}{'daemon us':>11}{'server us':>11}")
    figures = [limit, ingested, accepted, fired]
    for figure in figures:
        ratio = figure.per_second / limit.per_second
        print(
            f"{figure.name:34}{figure.per_second:>12,.0f}{ratio:>13.2f}x"
            f"{figure.daemon_us:>11.1f}{figure.server_us:>11.1f}"
        )
    return figures


def test_throughput_smoke() -> None:
    """All stretches run, on few events."""
    figures = report(2 * BATCH)
    assert all(figure.per_second > 0 for figure in figures)


if __name__ == "__main__":
    report()
