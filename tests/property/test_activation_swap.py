"""Whoever activates what at the same time: every exclusive slot has exactly one winner (A25, R37).

Two registries, as two daemons have them, work on one store. What they are told to do at the same
time, the verbs pause, freeze, stop and resume included (R14), is drawn at random; on the memory store
so is the order in which their calls reach it, on a real server the operating system sees to that.

The audit log tells in which order the writes happened. A model of a few lines carries them out one after
the other: what it comes to must be what the registries hold.
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
from core.errors import FailedPrecondition
from core.model import ActivationState, Family, Reason, State
from core.registry.catalogue import HOLDING, slot_of
from core.registry.memory_store import MemoryRegistryStore
from core.registry.redis_store import RedisRegistryStore
from core.registry.registry import Registry
from core.registry.resources import Activation
from core.registry.snapshot import Snapshot
from core.registry.store import NO_AUDIT, AuditLines, Change, RegistryState, RegistryStore
from tests.support.configuration import ACCOUNT, EveryRuleMatches, channel, rule
from tests.support.registries import noted
from tests.support.valkey import ValkeyServer

NOW = 1_700_000_000_000
CHANNELS = ("es", "fr")
RULES = (
    rule("s-a"), rule("s-b"), rule("s-c", event_type="delivery"),
    rule("p-a", family=Family.PRODUCT_REVIEW),
    rule("p-b", family=Family.PRODUCT_REVIEW, event_type="delivery"),
    rule("n-a", family=Family.NOTIFICATION),
)  # fmt: skip
"""Few, so that requests meet: two pairs share a slot, the others are beside them."""

VERBS = {
    "pause_rule": ActivationState.PAUSED, "freeze_rule": ActivationState.FROZEN,
    "stop_rule": ActivationState.STOPPED, "resume_rule": ActivationState.ACTIVE,
}  # fmt: skip
CALLS = ("activate", "activate", "deactivate", *VERBS)
"""Switching on twice, because every other call may find nothing to do."""

Request = tuple[bool, str, int, int]
"""(which registry, call, index of the rule, index of the channel; -1: all channels, for verbs)."""


def drawn_rounds(seed: int) -> list[list[Request]]:
    """Return rounds of requests, mostly about the two rules of one slot, so that they meet."""
    draw = random.Random(seed)

    def request() -> Request:
        index = draw.choice((0, 0, 0, 1, 1, 1, 2, 3, 4, 5))
        method = draw.choice(CALLS)
        at = draw.choice((0, 0, 0, 1, -1 if method in VERBS else 0))
        return draw.random() < 0.5, method, index, at

    return [[request() for _ in range(draw.randint(1, 4))] for _ in range(draw.randint(1, 16))]


rounds = st.integers(0, 2**32).map(drawn_rounds)
few = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
        self,
        expected_revision: int,
        changes: Sequence[Change],
        op_id: str,
        op_result: bytes,
        audit: AuditLines = NO_AUDIT,
    ) -> int:
        await self._dawdle()
        return await super().write(expected_revision, changes, op_id, op_result, audit)


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
) -> tuple[list[Activation], list[Activation]] | None:
    """Return (how the rule stands where it was told to, what it replaced), None if refused."""
    which, method, rule_index, at = request
    registry, rule_id = registries[which], RULES[rule_index].id
    try:
        if method == "activate":
            stands, replaced = await registry.activate(ACCOUNT, rule_id, CHANNELS[at])
            return [stands], replaced
        if method == "deactivate":
            return [await registry.deactivate(ACCOUNT, rule_id, CHANNELS[at])], []
        verb = getattr(registry, method)
        return await verb(ACCOUNT, rule_id, CHANNELS[at] if at >= 0 else ""), []
    except FailedPrecondition:
        return None


def holders(view: Snapshot) -> Counter[object]:
    """Return how many rules hold each slot; those of free families have one each."""
    found: Counter[object] = Counter()
    for activation in view.activations(ACCOUNT):
        if activation.state in HOLDING:
            present = view.rule(ACCOUNT, activation.rule)
            place = view.channel(ACCOUNT, activation.channel)
            assert present is not None
            assert place is not None
            found[slot_of(present, place) or activation.name] += 1
    return found


class Model:
    """How rules stand, by (channel, rule), after the calls of the history one by one."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], ActivationState] = {}
        self.stopped_from: dict[tuple[str, str], ActivationState] = {}
        self.stop_revisions: dict[tuple[str, str], int] = {}

    def rivals(self, place: tuple[str, str]) -> list[tuple[str, str]]:
        by_id = {each.id: each for each in RULES}
        slot = slot_of(by_id[place[1]], channel(place[0]))
        return [
            other
            for other, state in self.states.items()
            if slot and other != place and state in HOLDING
            and slot_of(by_id[other[1]], channel(other[0])) == slot
        ]  # fmt: skip

    def carry_out(self, call: str, revision: int) -> None:
        method, name = call.split()
        parts = name.split("/")
        if parts[2] == "channels":
            places = [(parts[3], parts[5])]
        else:
            places = [place for place in self.states if place[1] == parts[3]]
        for place in places:
            if method == "activate":
                for rival in self.rivals(place):
                    self.states[rival] = ActivationState.SUPERSEDED
                self.states[place] = ActivationState.ACTIVE
            elif method == "deactivate":
                self.states[place] = ActivationState.INACTIVE
            elif self.may(place, VERBS[method], len(parts) == 4):
                self.become(place, VERBS[method], revision)

    def may(self, place: tuple[str, str], to: ActivationState, is_for_all: bool) -> bool:
        state = self.states[place]
        if to == ActivationState.STOPPED:
            return state != to
        if to == ActivationState.FROZEN:
            return state in HOLDING
        if to == ActivationState.PAUSED:
            return state == ActivationState.ACTIVE
        at_work = HOLDING | {ActivationState.FROZEN}
        if state == ActivationState.STOPPED and is_for_all:
            return self.stopped_from[place] in at_work
        return state in {
            ActivationState.PAUSED, ActivationState.FROZEN, ActivationState.STOPPED,
        }  # fmt: skip

    def become(self, place: tuple[str, str], state: ActivationState, revision: int) -> None:
        if state == ActivationState.STOPPED:
            self.stopped_from[place] = self.states[place]
            self.stop_revisions[place] = revision
        if state == ActivationState.ACTIVE:
            assert self.rivals(place) == [], "nobody is resumed into a slot that is held"
        self.states[place] = state


async def swap(store: RegistryStore, together: list[list[Request]]) -> None:
    """Carry out rounds of simultaneous requests and check what must hold after each."""
    registries = await two_registries(store)
    model = Model()
    for requested in together:
        base = await store.revision()
        answers = await asyncio.gather(*(carry_out(registries, each) for each in requested))
        await asyncio.gather(*(each.refresh() for each in registries))
        view = registries[0].snapshot
        assert view.state == registries[1].snapshot.state == await store.load()
        assert view.revision - base <= len(requested), "a write happens once"
        assert all(count == 1 for count in holders(view).values())
        written = {
            entry.revision: f"{entry.method} {entry.target}"
            for entry in await noted(registries[0])
            if entry.revision > base
        }
        for revision, call in written.items():
            model.carry_out(call, revision)
        check_model(view, model)
        check_winners(view, requested)
        activated_count = sum(call.startswith("activate ") for call in written.values())
        check_answers(requested, answers, activated_count)
        check_verdicts(view)


def check_model(view: Snapshot, model: Model) -> None:
    found = {(each.channel, each.rule): each for each in view.activations(ACCOUNT)}
    assert {place: each.state for place, each in found.items()} == model.states
    stopped = {place: each.stop_revision for place, each in found.items() if each.stop_revision}
    assert stopped == model.stop_revisions, "no other verb takes a stop back (D20)"


def check_winners(view: Snapshot, requested: list[Request]) -> None:
    """Who switched on while nobody left has left one holder."""
    found = holders(view)
    leaving = {"deactivate", "freeze_rule", "stop_rule"}
    left = {(index, at) for _, method, index, at in requested if method in leaving}
    for _, method, rule_index, at in requested:
        place = channel(CHANNELS[at])
        slot = slot_of(RULES[rule_index], place)
        rivals = {
            index for index, each in enumerate(RULES) if slot and slot_of(each, place) == slot
        } or {rule_index}
        nobody_left = not any((index, where) in left for index in rivals for where in (at, -1))
        if method == "activate" and nobody_left:
            assert found[slot or f"{place.name}/activations/{RULES[rule_index].id}"] == 1


def check_answers(
    requested: list[Request],
    answers: Sequence[tuple[list[Activation], list[Activation]] | None],
    activated_count: int,
) -> None:
    replaced_count = 0
    for (_, method, _, _), answer in zip(requested, answers, strict=True):
        if answer is None:
            assert method in VERBS, "switching on and off is never refused here"
            continue
        stands, replaced = answer
        replaced_count += len(replaced)
        assert all(each.state == ActivationState.SUPERSEDED for each in replaced)
        assert not {each.rule for each in replaced} & {each.rule for each in stands}
        if method in VERBS:
            assert {each.state for each in stands} == {VERBS[method]}
    assert replaced_count <= activated_count, "each write replaces one at most"


def check_verdicts(view: Snapshot) -> None:
    """What waits goes on exactly where the slot of its rule is held (R14)."""
    found = holders(view)
    for activation in view.activations(ACCOUNT):
        present = view.rule(ACCOUNT, activation.rule)
        place = view.channel(ACCOUNT, activation.channel)
        assert present is not None
        assert place is not None
        slot = slot_of(present, place)
        is_frozen = activation.state == ActivationState.FROZEN or bool(slot and view.frozen(slot))
        if activation.stop_revision or is_frozen:
            continue
        is_held = bool(found[slot or activation.name])
        expected = None if is_held else (State.CANCELLED, Reason.RULE_INACTIVE)
        assert view.verdict(present.number, 1, 0, place.number) == expected


@settings(few, max_examples=200)
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
