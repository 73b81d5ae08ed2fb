"""Conditions and due times: what an event costs before anything is planned.

The baseline in the same file is the C++ runtime of CEL called from Python, on the same conditions and
the same event, already in its own form (a protobuf message).

Ratio: `python -m bench.bench_predicate` prints microseconds an event of both, measured in turns.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import message_factory
from pytest_benchmark.fixture import BenchmarkFixture

from control import cel_schema
from control.cel_frontend import ConditionFrontend
from core.bounds import DAY_MS, HOUR_MS
from core.model import Contact, Event, Family, Item, Money, Order
from core.registry.rule_parts import Wait
from core.rules.fields import ROOTS
from core.rules.lowering import compile_fused
from core.rules.schedule import due_ms

ROUNDS = 20
ONE = (
    'order.currency == "PLN" && order.amount >= 100.0 && contact.country in ["PL", "DE"] && '
    'order.status != "test"'
)
EVENT = Event(
    "1", "", "checkout", "shop", 1_717_400_000_000,
    Contact(email="anna@example.com", country="PL"),
    Order("4711", "paid", Money("PLN", 249, 990_000_000), 1_717_390_000_000, [Item("a", quantity=1)]),
    attributes={"vip": True, "visits": "12", "tags": ["tag 1", "tag 2"]},
)  # fmt: skip


def conditions(count: int) -> list[str]:
    """Return conditions as a shop has them: few currencies, countries and limits, many rules."""
    sources = [ONE]
    for n in range(1, count):
        parts = [f'order.currency == "{("PLN", "EUR", "CZK")[n % 3]}"']
        parts.append(f"order.amount >= {50 * (n % 5)}.0")
        parts.append(f'contact.country == "{("PL", "DE", "CZ", "ES")[n % 4]}"')
        parts.append(f'order.reference != "{n}"')
        if n % 7 == 0:
            parts.append("event.attributes.vip == true")
        if n % 9 == 0:
            parts.append('order.items.exists(i, i.sku == "a")')
        sources.append(" && ".join(parts))
    return sources


def rich_conditions(count: int) -> list[str]:
    """Return conditions with what costs more: times, patterns, loops that make lists, attributes."""
    sources = []
    for n in range(count):
        parts = [
            f"event.occur_time - order.order_time < duration('{n + 1}h')",
            f"order.items.filter(i, i.quantity > {n % 3}).map(i, i.sku).exists(s, s == 'a')",
            f"order.reference.matches('^{n % 10}[0-9]+$') || int(event.attributes.visits) > {n}",
            f"event.attributes.tags.exists(t, t == 'tag {n % 5}')",
        ]
        sources.append(parts[n % 4])
    return sources


FRONTEND = ConditionFrontend()


def fused(sources: list[str]) -> Callable[[Event], tuple[list[int], list[int]]]:
    return compile_fused([FRONTEND.compile(text, Family.NOTIFICATION).tree for text in sources])


@pytest.mark.parametrize("count", [1, 10, 100])
def test_fused_rules(benchmark: BenchmarkFixture, count: int) -> None:
    benchmark.group = f"conditions, {count} rules"
    passed, errored = benchmark(fused(conditions(count)), EVENT)
    assert passed[0] == 0
    assert not errored


def runtime_of(sources: list[str]) -> Callable[[], list[int]]:
    environment = cel_schema.make_environment(FRONTEND.pool)
    expressions = [environment.compile(text) for text in sources]
    descriptor = FRONTEND.pool.FindMessageTypeByName("afterword.v1.Event")
    message = message_factory.GetMessageClass(descriptor)(id="1", type="checkout")
    message.contact.email, message.contact.country = "anna@example.com", "PL"
    message.order.reference, message.order.status = "4711", "paid"
    message.order.amount, message.order.currency = 249.99, "PLN"
    message.order.items.add(sku="a", quantity=1)
    message.occur_time.FromMilliseconds(EVENT.occur_ms)
    message.order.order_time.FromMilliseconds(1_717_390_000_000)
    message.attributes.update(EVENT.attributes)
    variables: dict[str, Any] = {root: getattr(message, root, message) for root in ROOTS}

    def match() -> list[int]:
        # One activation an event, which every condition uses.
        activation = environment.Activation(variables)
        return [
            index
            for index, expression in enumerate(expressions)
            if expression.eval(activation).value() is True
        ]

    return match


@pytest.mark.parametrize("count", [1, 10, 100])
def test_runtime_of_cel(benchmark: BenchmarkFixture, count: int) -> None:
    benchmark.group = f"conditions, {count} rules"
    passed = benchmark(runtime_of(conditions(count)))
    assert passed == fused(conditions(count))(EVENT)[0]


def test_rich_conditions(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "conditions, 100 rich rules"
    sources = rich_conditions(100)
    passed, errored = benchmark(fused(sources), EVENT)
    assert passed == runtime_of(sources)()
    assert not errored


def test_compiling_a_hundred_rules(benchmark: BenchmarkFixture) -> None:
    from core.rules.lowering import _compile_fused
    from core.rules.tree import freeze

    sources = conditions(100)
    trees = [FRONTEND.compile(text, Family.NOTIFICATION).tree for text in sources]
    benchmark(lambda: _compile_fused.__wrapped__(tuple(freeze(tree) for tree in trees)))


def test_checking_a_condition(benchmark: BenchmarkFixture) -> None:
    benchmark(FRONTEND.compile, ONE, Family.NOTIFICATION)


WAITS = {
    "elapsed": (Wait(elapsed_ms=HOUR_MS), ""),
    "calendar": (Wait(days=7, time_of_day_ms=10 * HOUR_MS), ""),
    "calendar with span": (Wait(days=7, time_of_day_ms=10 * HOUR_MS, span_ms=HOUR_MS), ""),
    "activation date": (Wait(days=7, time_of_day_ms=10 * HOUR_MS), "2024-09-01"),
}


@pytest.mark.parametrize("name", WAITS)
def test_due(benchmark: BenchmarkFixture, name: str) -> None:
    benchmark.group = "due_ms"
    wait, activation_date = WAITS[name]
    base_ms = EVENT.occur_ms
    result_ms = benchmark(due_ms, wait, base_ms, "Europe/Warsaw", b"message1", activation_date)
    assert base_ms < result_ms < base_ms + 120 * DAY_MS


def spent_us(call: Callable[[], Any], rounds: int) -> float:
    begin_ns = time.perf_counter_ns()
    for _ in range(rounds):
        call()
    return (time.perf_counter_ns() - begin_ns) / rounds / 1_000


def main() -> None:
    """Print microseconds an event, and the runtime's as a multiple of ours."""
    gc.disable()
    sets = {
        "one condition": conditions(1),
        "100 rules": conditions(100),
        "100 rich rules": rich_conditions(100),
    }
    for title, sources in sets.items():
        function, runtime = fused(sources), runtime_of(sources)
        assert function(EVENT) == (runtime(), [])
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(ROUNDS):
            ours.append(spent_us(lambda call=function: call(EVENT), 10_000 // len(sources)))  # type: ignore[misc]
            theirs.append(spent_us(runtime, 1_000 // len(sources)))
        ratio = min(theirs) / min(ours)
        print(
            f"{title}: {min(ours):.2f} us an event, C++ runtime {min(theirs):.1f} us, {ratio:.0f} times"
        )


if __name__ == "__main__":
    main()
