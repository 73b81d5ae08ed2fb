"""One sender that is dead, or slow, beside others: on a real clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from core.bounds import HOUR_MS
from core.clock import SystemClock
from core.engine.engine import Engine
from core.engine.lines import BAR
from core.model import Contact, Event, Medium, Order
from core.registry.memory_store import MemoryRegistryStore
from core.registry.registry import Registry
from core.registry.rule_parts import Action, Step, Wait
from core.sending import Delivery, Letter, Transport
from core.timing_wheel.memory_store import MemoryStore
from senders.paced import PacedTransport
from senders.postbox import Postbox
from tests.support.rules import free_rule
from tests.support.shop import ACCOUNT, new_channel

BOTH = (Medium.EMAIL, Medium.SMS)


class Gate:
    """A transport that takes letters, and answers once it is opened."""

    holds_unknown = False

    def __init__(self, places: int, *, is_open: bool) -> None:
        self._places = places
        self._under_way = 0
        self.opened = asyncio.Event()
        if is_open:
            self.opened.set()
        self.letters: list[Letter] = []
        self.late_ms: list[int] = []
        self.taken_ms: list[int] = []
        self.most = 0
        self.clock = SystemClock()

    def free(self) -> int:
        return self._places - self._under_way

    def prepare(self, letter: Letter) -> bytes:
        return b""

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        self._under_way += len(letters)
        self.most = max(self.most, self._under_way)
        self.taken_ms += [self.clock.now_ms()] * len(letters)
        await self.opened.wait()
        for letter, _ in letters:
            self.letters.append(letter)
            self.late_ms.append(self.clock.now_ms() - letter.event.occur_ms - HOUR_MS)
        self._under_way -= len(letters)
        return [Delivery(Delivery.Kind.ACCEPTED, "", was_handed_over=True)] * len(letters)

    async def close(self) -> None:
        return


@asynccontextmanager
async def engine_with(
    transports: dict[Medium, Gate], email_per_second: float = 0
) -> AsyncIterator[Engine]:
    """Run an engine with a shop that writes an e-mail and an SMS for each checkout."""
    clock = SystemClock()
    store = MemoryStore.create(partition_count=8, is_virtual=False)
    registry = await Registry.open(MemoryRegistryStore(), clock)
    await registry.ensure_account(ACCOUNT, default_caps=False)
    for id in ("madrid", "lyon"):
        await registry.create_channel(new_channel(id))
    actions = [Action(medium=medium, body="Thank you.") for medium in BOTH]
    steps = [Step(id="tell", wait=Wait(elapsed_ms=HOUR_MS), actions=actions)]
    rule = await registry.create_rule(free_rule("tell", steps=steps))
    for id in ("madrid", "lyon"):
        await registry.activate(ACCOUNT, rule.id, id, "test")
    ways: dict[int, Transport] = {**transports}
    if email_per_second:
        ways[Medium.EMAIL] = PacedTransport(ways[Medium.EMAIL], email_per_second)
    engine = Engine(store, registry, Postbox(ways), clock)
    await engine.start()
    running = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        for transport in transports.values():
            transport.opened.set()
        await engine.drain(5_000)
        await engine.stop()
        running.cancel()
        store.validate()


async def publish(engine: Engine, channel: str, first: int, count: int, in_ms: int) -> None:
    """Publish checkouts whose messages are due in a moment."""
    occur_ms = SystemClock().now_ms() + in_ms - HOUR_MS
    events = [
        Event(
            id=f"e{n}", source="test", type="checkout", occur_ms=occur_ms,
            channel=f"accounts/{ACCOUNT}/channels/{channel}",
            contact=Contact(email=f"c{n}@s.example", phone=f"+346{n:08d}", country="ES"),
            order=Order(reference=str(n)),
        )
        for n in range(first, first + count)
    ]  # fmt: skip
    answers = await engine.acceptor.accept(ACCOUNT, events)
    assert all(answer.error is None for answer in answers)


async def until(condition: object, seconds: float = 20) -> None:
    """Wait for a condition; fail if it does not come."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_sender_that_never_answers_holds_up_no_other() -> None:
    """R12: of the same channel, even: and no more is claimed for it than it has places."""
    dead, alive = Gate(4, is_open=False), Gate(64, is_open=True)
    async with engine_with({Medium.EMAIL: dead, Medium.SMS: alive}) as engine:
        count = 2 * BAR
        await publish(engine, "madrid", 0, count, 300)
        await until(lambda: len(alive.letters) == count)
        assert dead.most == 4
        assert engine.stats.claimed == count + 4
        await publish(engine, "lyon", 5_000, 10, 200)
        await until(lambda: len(alive.letters) == count + 10)
        assert max(alive.late_ms[count:]) < 2_000, "a dead sender's heap delays nobody"
        assert engine.stats.sent == count + 10
        (line, *_) = engine.dispatcher.places.states()
        assert (line.name, line.room) == ("EMAIL", 0)
        dead.opened.set()
        await until(lambda: len(dead.letters) == count + 10)
        await until(lambda: engine.stats.sent == 2 * (count + 10))
        assert engine.stats.retried == 0, "what waited has used up no attempt"


async def test_a_few_do_not_wait_behind_a_heap_for_a_narrow_sender() -> None:
    """Fairness: places go by turns to the channels, whoever came first."""
    narrow, alive = Gate(8, is_open=False), Gate(64, is_open=True)
    async with engine_with({Medium.EMAIL: narrow, Medium.SMS: alive}) as engine:
        await publish(engine, "madrid", 0, 600, 100)
        await until(lambda: narrow.most == 8)
        await publish(engine, "lyon", 5_000, 10, 100)
        await until(lambda: sum(x.channel.id == "lyon" for x in alive.letters) == 10)
        narrow.opened.set()
        await until(lambda: sum(x.channel.id == "lyon" for x in narrow.letters) == 10)
        before = sum(letter.channel.id == "madrid" for letter in narrow.letters)
        assert before <= 8 + 64, "those that had places, and as many as have turns meanwhile"
        await until(lambda: len(narrow.letters) == 610)


async def test_the_daemon_s_own_way_out_keeps_its_pace_and_uses_it() -> None:
    """R12: no more is claimed than may go, and nothing that waits uses up an attempt."""
    per_second, burst, count = 200, 20, 500
    paced, alive = Gate(64, is_open=True), Gate(64, is_open=True)
    transports = {Medium.EMAIL: paced, Medium.SMS: alive}
    async with engine_with(transports, per_second) as engine:
        await publish(engine, "madrid", 0, count, 300)
        await until(lambda: len(alive.letters) == count)
        assert len(paced.letters) < count, "the other way does not wait for it"
        await until(lambda: len(paced.letters) == count)
        taken = paced.taken_ms
        for first in range(0, count, 7):
            for last in range(first, count, 13):
                span_ms = taken[last] - taken[first] + 1
                assert last - first + 1 <= per_second * span_ms / 1_000 + burst + 1
        assert taken[-1] - taken[0] < 2 * count * 1_000 / per_second
        assert engine.stats.retried == 0
