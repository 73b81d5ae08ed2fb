"""A shop with few messages beside one with a heap of them: how late are the few?

A real daemon's engine on a real clock and a server that fsyncs before every answer. The small shop has a
message due every 50 ms, first alone ("quiet"), then while the large shop's heap, all due in one
millisecond, goes out. Lateness is measured where the message is handed over. Two senders:

    free      takes everything at once: processor and store are what there is too little of
    narrow    16 letters under way, 10 to 30 ms each, about 800 a second: the sender is

Beside the heap only those messages count that go while the heap does.

`python -m bench.bench_fairness`; AFTERWORD_BENCH_N sets the size of the heap.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence

import msgspec
import uvloop

from bench import workloads
from bench.bench_throughput import BATCH, LINKS, own_server, spare_the_collector
from core.bounds import DAY_MS, SECOND_MS
from core.clock import SystemClock
from core.engine.engine import Engine
from core.model import Event, Medium
from core.redis_link import RedisLink
from core.registry.memory_store import MemoryRegistryStore
from core.registry.registry import Registry
from core.registry.resources import Channel
from core.registry.rule_parts import Action, Step, Wait
from core.sending import Delivery, Letter
from core.timing_wheel.redis_scripts import SCRIPTS
from core.timing_wheel.redis_store import RedisStore
from senders.postbox import Postbox

HEAP = int(os.environ.get("AFTERWORD_BENCH_N", "100000"))
SMALL = 200
APART_MS = 50
WAIT_MS = 7 * DAY_MS
_ACCEPTED = Delivery(Delivery.Kind.ACCEPTED, "", was_handed_over=True)


class Sink:
    """A sender that notes how late each letter is.

    Args:
        places: letters under way at most.
        takes_ms: how long one takes on average; 0: no time at all.
    """

    holds_unknown = False

    def __init__(self, places: int, takes_ms: int) -> None:
        self._places = places
        self._takes_ms = takes_ms
        self._under_way = 0
        self._chance = random.Random(1)
        self.late_ms: dict[str, list[float]] = {"large": [], "small": []}
        self.at_ms: dict[str, list[float]] = {"large": [], "small": []}
        """When each was handed over."""
        self._sent = asyncio.Condition()

    async def has_sent(self, shop: str, count: int) -> None:
        """Return once so many letters of a shop have been handed over."""
        async with self._sent:
            await self._sent.wait_for(lambda: len(self.late_ms[shop]) >= count)

    def free(self) -> int:
        """Return the places left."""
        return self._places - self._under_way

    def prepare(self, letter: Letter) -> bytes:
        """Render nothing."""
        return b""

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        """Note and accept."""
        now_ms = time.time() * 1_000
        for letter, _ in letters:
            self.late_ms[letter.channel.id].append(now_ms - letter.event.occur_ms - WAIT_MS)
            self.at_ms[letter.channel.id].append(now_ms)
        async with self._sent:
            self._sent.notify_all()
        if self._takes_ms:
            self._under_way += len(letters)
            await asyncio.gather(*(self._carry() for _ in letters))
        return [_ACCEPTED] * len(letters)

    async def _carry(self) -> None:
        await asyncio.sleep(self._takes_ms * self._chance.uniform(0.5, 1.5) / 1_000)
        self._under_way -= 1

    async def close(self) -> None:
        """Nothing to do."""


class Result(msgspec.Struct):
    """Milliseconds late, of the small shop; and how fast the heap went."""

    quiet: list[float]
    beside: list[float]
    large_per_second: float

    def ratio(self, share: float) -> float:
        """Return how much later the small shop's messages are beside the heap."""
        return at(self.beside, share) / at(self.quiet, share)


def at(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of them do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def configure(registry: Registry) -> None:
    """Make both shops, one rule for both, and no caps."""
    await registry.ensure_account(workloads.ACCOUNT, default_caps=False)
    for id in ("large", "small"):
        channel = msgspec.structs.replace(workloads.channel(), id=id)
        assert isinstance(channel, Channel)
        await registry.create_channel(channel)
    rule = workloads.rule()
    rule.steps = [Step(id="invite", wait=Wait(days=7), actions=[Action(medium=Medium.EMAIL)])]
    made = await registry.create_rule(rule)
    for id in ("large", "small"):
        await registry.activate(workloads.ACCOUNT, made.id, id, "bench")


def events(shop: str, first: int, dues_ms: Sequence[int]) -> list[Event]:
    """Return one checkout for each due time."""
    name = f"accounts/{workloads.ACCOUNT}/channels/{shop}"
    return [
        msgspec.structs.replace(workloads.event(first + n, due_ms - WAIT_MS), channel=name)
        for n, due_ms in enumerate(dues_ms)
    ]


async def publish(engine: Engine, found: Sequence[Event]) -> None:
    """Publish in process."""
    for first in range(0, len(found), BATCH):
        answers = await engine.acceptor.accept(workloads.ACCOUNT, found[first : first + BATCH])
        assert all(answer.error is None for answer in answers)


async def measure(heap: int, sink: Sink, small: int = SMALL) -> Result:
    """Run both stretches, one after the other, in one engine."""
    clock = SystemClock()
    async with own_server() as server:
        links = [RedisLink(server.socket_path, list(SCRIPTS.values())) for _ in range(LINKS)]
        store = await RedisStore.open(links)
        registry = await Registry.open(MemoryRegistryStore(), clock)
        await configure(registry)
        engine = Engine(store, registry, Postbox({Medium.EMAIL: sink}), clock)
        await engine.start()
        started_ms = clock.now_ms()
        heap_ms = started_ms + 8 * SECOND_MS + small * APART_MS + heap * 6 // 10
        await publish(engine, events("large", 0, [heap_ms] * heap))
        quiet_ms = clock.now_ms() + SECOND_MS
        assert quiet_ms + small * APART_MS < heap_ms, "the heap was not accepted in time"
        await publish(engine, events("small", heap, _dues_ms(quiet_ms, small)))
        await publish(engine, events("small", heap + small, _dues_ms(heap_ms + SECOND_MS, small)))
        spare_the_collector()
        running = asyncio.create_task(engine.run())
        await sink.has_sent("small", small)
        assert clock.now_ms() < heap_ms, "the small shop alone was too slow"
        await sink.has_sent("small", 2 * small)
        large = [one_ms for one_ms in sink.at_ms["large"] if one_ms > heap_ms]
        await engine.drain(2_000)
        running.cancel()
        await engine.stop()
        await store.close()
    late = list(zip(sink.late_ms["small"], sink.at_ms["small"], strict=True))
    return Result(
        [late_ms for late_ms, _ in late[:small]],
        [late_ms for late_ms, one_ms in late[small:] if one_ms < large[-1]],
        len(large) / (large[-1] - heap_ms) * 1_000,
    )


def _dues_ms(first_ms: int, count: int) -> list[int]:
    return [first_ms + number * APART_MS for number in range(count)]


def report(heap: int = HEAP) -> None:
    """Measure with both senders and print."""
    print(
        f"\nfairness: one message every {APART_MS} ms beside a heap of {heap}; ms late, handed over"
    )
    print(
        f"{'sender':10}{'quiet p50':>11}{'p99':>8}{'beside p50':>12}{'p99':>8}{'ratio p99':>11}",
        end="",
    )
    print(f"{'heap a second':>15}")
    for name, places, takes_ms in (("free", 1 << 20, 0), ("narrow", 16, 20)):
        found = uvloop.run(measure(heap, Sink(places, takes_ms)))
        print(
            f"{name:10}{at(found.quiet, 0.5):>11.1f}{at(found.quiet, 0.99):>8.1f}"
            f"{at(found.beside, 0.5):>12.1f}{at(found.beside, 0.99):>8.1f}"
            f"{found.ratio(0.99):>10.1f}x{found.large_per_second:>15,.0f}"
        )


def test_fairness_smoke() -> None:
    """Both shops' messages come, the small one's not after the heap."""
    found = uvloop.run(measure(2_000, Sink(1 << 20, 0), small=20))
    assert len(found.quiet) == 20
    assert found.large_per_second > 0


if __name__ == "__main__":
    report()
