"""The twins: the same operations, the same answers, the same state, for any sequence (verified fake).

A failure prints the seed and the operations before it; run one seed alone with
`python -m pytest tests/conformance/test_twins_agree.py -k "seed_7"`.
"""

from __future__ import annotations

import contextlib

import pytest

from core.bounds import DAY_MS, OUTCOME_RETENTION_MS
from core.timing_wheel.memory_store import MemoryStore
from tests.conformance.kit import PARTITION_COUNT, SLOT_MS
from tests.conformance.random_world import PARTITIONS, Side, World, plain
from tests.conformance.stores import FACTORIES, open_memory_store

STEPS = 250
STEPS_BETWEEN_LOOKS = 10
"""The whole state is compared this often; set it to 1 to find the step that differs."""
SEEDS = [pytest.param(seed, id=f"seed_{seed}") for seed in range(12)]


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_operations_keep_the_invariants(seed: int) -> None:
    store = MemoryStore.create(partition_count=PARTITION_COUNT, slot_width_ms=SLOT_MS)
    side, world = Side(store), World(seed)
    await side.own()
    for _ in range(STEPS):
        name, call = world.step()
        world.heard(name, await call(side))
        try:
            store.validate()
        except AssertionError as error:
            pytest.fail(f"seed {seed}: after {name}: {error}")


@pytest.mark.parametrize("other", sorted(FACTORIES.keys() - {"memory"}))
@pytest.mark.parametrize("seed", SEEDS)
async def test_twins_give_the_same_answers_and_end_in_the_same_state(seed: int, other: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        twin = Side(await stack.enter_async_context(FACTORIES[other]()))
        model = Side(await stack.enter_async_context(open_memory_store()))
        await model.own()
        await twin.own()
        world = World(seed)
        log: list[str] = []
        for step in range(1, STEPS + 1):
            name, call = world.step()
            log.append(name)
            expected, answer = await call(model), await call(twin)
            world.heard(name, expected)
            story = f"seed {seed}, step {step}:\n" + "\n".join(log[-STEPS_BETWEEN_LOOKS:])
            assert plain(answer) == plain(expected), story
            assert await twin.gains() == await model.gains(), story
            if step % STEPS_BETWEEN_LOOKS == 0:
                seen = await twin.everything(world.now_ms)
                assert seen == await model.everything(world.now_ms), story
        await sweep(model, world.now_ms)
        await sweep(twin, world.now_ms)
        seen = await twin.everything(world.now_ms)
        assert seen == await model.everything(world.now_ms), f"seed {seed}, after the sweep"


async def sweep(side: Side, now_ms: int) -> None:
    for number in PARTITIONS:
        while await side.store.sweep(number, now_ms + OUTCOME_RETENTION_MS + 2 * DAY_MS):
            pass
