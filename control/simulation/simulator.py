"""Plays events through a configuration on a clock of its own.

Decides: what happens when. The world begins at the first event, configured. Each event is accepted at
its `occur_time`; of several at one instant, in the order given. Before each, everything that falls due
up to its instant has gone out; so what is due at the very instant of an event goes before it.
Never: anything outside its world.

Invariant: the same input gives the same result, byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from afterword.v1 import event_pb2, simulation_service_pb2
from control.conversion import times
from control.simulation import outcomes
from control.simulation.configure import configure
from control.simulation.outcomes import Collector, Line
from control.simulation.world import World, open_world
from core import bounds
from core.bounds import DAY_MS
from core.clock import monotonic_ns
from core.errors import AfterwordError, FailedPrecondition, OutOfRange
from core.model import Disposition

LATEST_MS: Final = 250_000_000_000_000
"""An event in the year 9892 at the latest: what follows from it must have a date."""
_RENEW_NS: Final = 1_000_000_000
_STILL_NS: Final = (bounds.PARTITION_LEASE_MS - bounds.LEASE_MARGIN_MS) * 1_000_000


class Refusal(msgspec.Struct, frozen=True):
    """An event that was not accepted, by its position in the input."""

    index: int
    error: AfterwordError


class Result(msgspec.Struct):
    """What a simulation came to."""

    lines: list[Line] = []
    """What ended, then what waits."""
    dispositions: dict[str, int] = {}
    """How many events had each disposition."""
    refusals: list[Refusal] = []
    event_count: int = 0
    late_event_count: int = 0
    """How many events lie after the end, and were left out."""
    end_ms: int = 0


class Cancelled(Exception):
    """Nobody waits for the result any more."""


async def simulate(
    configuration: simulation_service_pb2.Configuration,
    events: Sequence[event_pb2.Event],
    until_ms: int | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Result:
    """Simulate.

    Args:
        configuration: with full names and an account.
        until_ms: where to stop; None: when nothing waits any more, at most as long after the last
            event as any rule can plan ahead.

    Raises:
        AfterwordError: the configuration cannot be; `field` is the place in it.
        Cancelled: as `is_cancelled` says.
    """
    result = Result(event_count=len(events))
    due: list[tuple[int, int]] = []
    for index, event in enumerate(events):
        try:
            due.append((_instant_ms(event), index))
        except AfterwordError as error:
            result.refusals.append(Refusal(index, error))
    due.sort()
    if until_ms is not None:
        result.late_event_count = sum(time_ms > until_ms for time_ms, _ in due)
        due = [entry for entry in due if entry[0] <= until_ms]
    start_ms = due[0][0] if due else until_ms or 0
    async with open_world(configuration.account, start_ms) as world:
        await configure(world.call, configuration)
        run = _Run(world, result, is_cancelled)
        for time_ms, index in due:
            await run.accept(time_ms, index, events[index])
        await run.finish(until_ms)
    result.refusals.sort(key=lambda refusal: refusal.index)
    return result


def _instant_ms(event: event_pb2.Event) -> int:
    if not event.HasField("occur_time"):
        raise OutOfRange(
            "event.occur_time is required: when it happened, by the shop's clock",
            field="event.occur_time", reason="FIELD_REQUIRED",
        )  # fmt: skip
    time_ms = times.instant_ms(event.occur_time, "event.occur_time")
    if time_ms > LATEST_MS:
        raise OutOfRange(
            "event.occur_time lies too far ahead to be simulated", field="event.occur_time"
        )
    return time_ms


class _Run:
    """One world on its way through time."""

    def __init__(self, world: World, result: Result, is_cancelled: Callable[[], bool]) -> None:
        self._world = world
        self._engine = world.engine
        self._result = result
        self._is_cancelled = is_cancelled
        self._collector = Collector(world.engine.store, world.clock.now_ms())
        self._renewed_ns = monotonic_ns()

    async def accept(self, time_ms: int, index: int, event: event_pb2.Event) -> None:
        """Move to an instant and publish what happened then."""
        await self._advance(time_ms)
        answer = (await self._world.publisher.publish(self._world.account, [event]))[0]
        if answer.error is not None:
            self._result.refusals.append(Refusal(index, answer.error))
            return
        word = Disposition(answer.disposition).name
        counts = self._result.dispositions
        counts[word] = counts.get(word, 0) + 1

    async def finish(self, until_ms: int | None) -> None:
        """Move to the end and tell what became of everything."""
        clock = self._world.clock
        if until_ms is not None:
            await self._advance(max(until_ms, clock.now_ms()))
        else:
            last_ms = clock.now_ms() + bounds.HORIZON_MS
            while await self._has_more() and clock.now_ms() < last_ms:
                await self._advance(clock.now_ms() + DAY_MS)
        await self._collector.collect(clock.now_ms())
        result = self._result
        result.lines = self._collector.ended() + await outcomes.waiting(self._engine.store)
        result.dispositions = dict(sorted(result.dispositions.items()))
        result.end_ms = clock.now_ms()

    async def _has_more(self) -> bool:
        """Return whether anything will ever fall due."""
        horizon = self._engine.horizon
        return horizon.wheel.next_due_ms() is not None or await horizon.next_beyond_ms() is not None

    async def _advance(self, target_ms: int) -> None:
        if self._is_cancelled():
            raise Cancelled
        began_ns = monotonic_ns()
        if began_ns - self._renewed_ns > _RENEW_NS:
            # Leases run on the machine's clock, and a loop that is this busy may be late.
            await self._engine.ownership.renew()
            self._renewed_ns = began_ns
        await self._engine.advance_to(target_ms)
        # Each time: what follows may move an invitation, or make its contact forget it.
        await self._collector.collect(target_ms)
        if monotonic_ns() - began_ns > _STILL_NS and not self._engine.ownership.owned:
            raise FailedPrecondition("the machine stood still for too long; simulate again")
