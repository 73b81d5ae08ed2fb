"""Running a simulation: on a loop of its own, whoever asks.

Decides: which loop, and how the collector of garbage is set meanwhile where the process has nothing
else to do.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence

import uvloop

from afterword.v1 import event_pb2, simulation_service_pb2
from control.simulation.simulator import Result, simulate

_GENERATIONS = (200_000, 50, 100)
"""A simulation makes much that stays, and little that only the collector finds."""


def run(
    configuration: simulation_service_pb2.Configuration,
    events: Sequence[event_pb2.Event],
    until_ms: int | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Result:
    """Simulate on a loop of its own; in a thread that has none. See `simulator.simulate`."""
    results: list[Result] = []

    async def keep() -> None:
        # Not as the result of the task: a runner would make a text of it.
        results.append(await simulate(configuration, events, until_ms, is_cancelled))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(keep())
    return results[0]


def run_alone(
    configuration: simulation_service_pb2.Configuration,
    events: Sequence[event_pb2.Event],
    until_ms: int | None = None,
) -> Result:
    """Simulate in a process that does nothing else."""
    before = gc.get_threshold()
    gc.set_threshold(*_GENERATIONS)
    try:
        return run(configuration, events, until_ms)
    finally:
        gc.set_threshold(*before)
