"""Whoever activates what at the same time: every exclusive slot has exactly one winner (A25, R37).

Two registries, as two daemons have them, work on one store. What they are told to do at the same
time is drawn at random; on the memory store so is the order in which their calls reach it, on a real
server the operating system sees to that.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from core.clock import ManualClock
from core.model import ActivationState, Family, Reason, State
from core.registry.catalogue import slot_of
from core.registry.memory_store import MemoryRegistryStore
from core.registry.redis_store import RedisRegistryStore
from core.registry.registry import Registry
from core.registry.resources import Activation
from core.registry.snapshot import Snapshot
from core.registry.store import Change, RegistryState, RegistryStore
from tests.support.configuration import ACCOUNT, EveryRuleMatches, channel, rule
from tests.support.valkey import ValkeyServer

NOW = 1_700_000_000_000
CHANNELS = ("es", "fr")
RULES = (
    rule("s-a"), rule("s-b"), rule("s-c"), rule("s-d", event_type="delivery"),
    rule("p-a", family=Family.PRODUCT_REVIEW),
    rule("p-b", family=Family.PRODUCT_REVIEW, event_type="delivery"),
    rule("n-a", family=Family.NOTIFICATION), rule("n-b", family=Family.NOTIFICATION),
)  # fmt: skip

Request = tuple[bool, bool, int, int]
"""(which registry, switch on or off, index of the rule, index of the channel)."""

requests = st.tuples(
    st.booleans(), st.booleans(), st.integers(0, len(RULES) - 1), st.integers(0, len(CHANNELS) - 1)
)
rounds = st.lists(st.lists(requests, min_size=1, max_size=6), min_size=1, max_size=5)
few = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class InterleavedStore(MemoryRegistryStore):
    """Lets others go first, now and then, before it does what it is asked."""

    def __init__(self, seed: int) -> None:
        super().__init__(ManualClock(NOW))
        self._random = random.Random(seed)

    async def _dawdle(self) -> None:
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)

    async def load(self) -> RegistryState:
        await self._dawdle()
        return await super().load()

    async def revision(self) -> int:
        await self._dawdle()
        return await super().revision()

    async def write(
        self, expected_revision: int, changes: Sequence[Change], op_id: str, op_result: bytes
    ) -> int:
        await self._dawdle()
        return await super().write(expected_revision, changes, op_id, op_result)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


async def two_registries(store: RegistryStore) -> tuple[Registry, Registry]:
    first = await Registry.open(store, ManualClock(NOW), EveryRuleMatches)
    await first.ensure_account(ACCOUNT)
    for channel_id in CHANNELS:
        await first.create_channel(channel(channel_id))
    for each in RULES:
        await first.create_rule(each)
    return first, await Registry.open(store, ManualClock(NOW), EveryRuleMatches)


async def carry_out(
    registries: tuple[Registry, Registry], request: Request
) -> tuple[Activation, list[Activation]]:
    which, switches_on, rule_index, channel_index = request
    registry, rule_id = registries[which], RULES[rule_index].id
    if switches_on:
        return await registry.activate(ACCOUNT, rule_id, CHANNELS[channel_index])
    return await registry.deactivate(ACCOUNT, rule_id, CHANNELS[channel_index]), []


def holders(view: Snapshot) -> Counter[object]:
    """Return how many rules are ACTIVE in each slot; those of free families have one each."""
    found: Counter[object] = Counter()
    for activation in view.activations(ACCOUNT):
        if activation.state == ActivationState.ACTIVE:
            present = view.rule(ACCOUNT, activation.rule)
            assert present is not None
            slot = slot_of(present, f"accounts/{ACCOUNT}/channels/{activation.channel}")
            found[slot or activation.name] += 1
    return found


async def swap(store: RegistryStore, together: list[list[Request]]) -> None:
    """Carry out rounds of simultaneous requests and check what must hold after each."""
    registries = await two_registries(store)
    for requested in together:
        before = registries[0].snapshot
        base = await store.revision()
        answers = await asyncio.gather(*(carry_out(registries, each) for each in requested))
        await asyncio.gather(*(each.refresh() for each in registries))
        view = registries[0].snapshot
        assert view.state == registries[1].snapshot.state == await store.load()
        check_winners(view, requested)
        assert view.revision - base <= len(requested), "a write happens once"
        replaced = sum(len(superseded) for _, superseded in answers)
        notes = [note for note in view.history() if note.revision > base]
        activated = sum(note.call.startswith("activate ") for note in notes)
        deactivated = sum(note.call.startswith("deactivate ") for note in notes)
        assert replaced <= activated
        if not deactivated:
            # Nothing but swaps: whoever came is still there, or was replaced by exactly one other.
            assert sum(holders(view).values()) - sum(holders(before).values()) == (
                activated - replaced
            )
        check_verdicts(view)


def check_winners(view: Snapshot, requested: list[Request]) -> None:
    found = holders(view)
    assert all(count == 1 for count in found.values()), found
    switched_off = {(rule_index, at) for _, on, rule_index, at in requested if not on}
    for _, switches_on, rule_index, at in requested:
        name = f"accounts/{ACCOUNT}/channels/{CHANNELS[at]}"
        slot = slot_of(RULES[rule_index], name)
        rivals = {
            index for index, each in enumerate(RULES) if slot and slot_of(each, name) == slot
        } or {rule_index}
        if switches_on and not any((index, at) in switched_off for index in rivals):
            assert found[slot or f"{name}/activations/{RULES[rule_index].id}"] == 1


def check_verdicts(view: Snapshot) -> None:
    """What waits goes on exactly where the slot of its rule is held (R14)."""
    found = holders(view)
    for activation in view.activations(ACCOUNT):
        present = view.rule(ACCOUNT, activation.rule)
        place = view.channel(ACCOUNT, activation.channel)
        assert present is not None
        assert place is not None
        is_held = bool(found[slot_of(present, place.name) or activation.name])
        expected = None if is_held else (State.CANCELLED, Reason.RULE_INACTIVE)
        assert view.verdict(present.number, 1, 0, place.number) == expected


@few
@given(together=rounds, seed=st.integers(0, 2**32))
def test_one_winner_per_slot_in_memory(together: list[list[Request]], seed: int) -> None:
    asyncio.run(swap(InterleavedStore(seed), together))


@few
@given(together=rounds)
def test_one_winner_per_slot_on_a_server(
    server: ValkeyServer, together: list[list[Request]]
) -> None:
    async def on_an_empty_server() -> None:
        client = Redis.from_url(server.url)
        await client.flushall()
        store = RedisRegistryStore(client)
        try:
            await swap(store, together)
        finally:
            await store.close()

    asyncio.run(on_an_empty_server())


def test_ten_rules_for_one_slot_leave_one_winner(server: ValkeyServer) -> None:
    """A25: everybody at once, from as many connections as there are registries."""

    async def race() -> None:
        client = Redis.from_url(server.url)
        await client.flushall()
        stores = [RedisRegistryStore(client)]
        stores += [RedisRegistryStore.connect(server.url) for _ in range(4)]
        opener, _ = await two_registries(stores[0])
        for number in range(10):
            await opener.create_rule(rule(f"race-{number}"))
        registries = [
            await Registry.open(store, ManualClock(NOW), EveryRuleMatches) for store in stores
        ]
        answers = await asyncio.gather(
            *(
                registries[number % 5].activate(ACCOUNT, f"race-{number}", "es")
                for number in range(10)
            )
        )
        await opener.refresh()
        states = Counter(each.state for each in opener.snapshot.activations(ACCOUNT, "es"))
        assert states == {ActivationState.ACTIVE: 1, ActivationState.SUPERSEDED: 9}
        assert sum(len(superseded) for _, superseded in answers) == 9
        replaced = [each.rule for _, superseded in answers for each in superseded]
        assert len(set(replaced)) == 9, "each was replaced once"
        for store in stores:
            await store.close()

    asyncio.run(race())
