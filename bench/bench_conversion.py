"""Events from protobuf to the engine's shape, in batches of 500 as streams bring them.

Run: `python -m pytest bench/bench_conversion.py`
Smoke: `AFTERWORD_BENCH_N=500 python -m pytest bench/bench_conversion.py --benchmark-disable`
Ratio: `python -m bench.bench_conversion` prints microseconds an event, and the same as a multiple of
what protobuf itself needs to parse it, measured in turns: the machine's mood cancels out.

Target: 8 us for an event with contact, order and one consent, on a quiet core.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from afterword.v1 import event_pb2, types_pb2
from control.conversion.events import event_from_proto
from core.bounds import DAY_MS

BATCH = 500
EVENT_COUNT = int(os.environ.get("AFTERWORD_BENCH_N", "50_000"))
NOW_MS = 20_000 * DAY_MS
ROUNDS = 40


def event(item_count: int) -> bytes:
    """Return a checkout as a shop sends it, serialised."""
    pb = event_pb2.Event(
        id="evt-20260311-000123",
        source="shop",
        type="checkout",
        channel="accounts/default/channels/madrid",
        locale="es_ES",
        contact=event_pb2.Contact(
            email="maria.garcia@example.com",
            first_name="Maria",
            last_name="Garcia",
            locale="es_ES",
            country="ES",
        ),
        order=event_pb2.Order(reference="A-100123", status="paid"),
        consents=[
            event_pb2.ConsentEvidence(
                purpose=types_pb2.PURPOSE_REVIEW,
                medium=types_pb2.MEDIUM_EMAIL,
                given=True,
                collection_point="https://shop.example/checkout",
            )
        ],
    )
    pb.occur_time.FromMilliseconds(NOW_MS - 1_500)
    pb.order.total.currency_code = "EUR"
    pb.order.total.units = 59
    for number in range(item_count):
        item = pb.order.items.add(
            sku=f"sku-{number}",
            name="A pair of shoes",
            url=f"https://shop.example/p/{number}",
            quantity=1,
        )
        item.price.currency_code = "EUR"
        item.price.units = 29
    return pb.SerializeToString()


def parse(raws: list[bytes]) -> list[event_pb2.Event]:
    return [event_pb2.Event.FromString(raw) for raw in raws]


def convert(batch: list[event_pb2.Event]) -> int:
    return len([event_from_proto(pb, NOW_MS) for pb in batch])


@pytest.mark.benchmark(group="conversion")
@pytest.mark.parametrize("item_count", [0, 2])
def test_convert(benchmark: Any, item_count: int) -> None:
    raws = [event(item_count)] * BATCH
    rounds = max(1, EVENT_COUNT // BATCH)

    def fresh() -> tuple[tuple[list[event_pb2.Event]], dict[str, Any]]:
        # Parsed anew: the first access to a part of a message costs more than the second.
        return (parse(raws),), {}

    assert benchmark.pedantic(convert, setup=fresh, rounds=rounds) == BATCH


def best_us(call: Callable[[], Any], times: list[float]) -> None:
    begin_ns = time.perf_counter_ns()
    call()
    times.append((time.perf_counter_ns() - begin_ns) / BATCH / 1_000)


def main() -> None:
    """Print microseconds an event, and multiples of parsing."""
    gc.disable()
    for item_count in (0, 2):
        raws = [event(item_count)] * BATCH
        parsing: list[float] = []
        converting: list[float] = []
        for _ in range(ROUNDS):
            best_us(lambda raws=raws: parse(raws), parsing)  # type: ignore[misc]
            batch = parse(raws)
            best_us(lambda batch=batch: convert(batch), converting)  # type: ignore[misc]
        parse_us, convert_us = min(parsing), min(converting)
        print(
            f"{item_count} items, {len(raws[0])} bytes: parse {parse_us:.2f} us, "
            f"convert {convert_us:.2f} us, {convert_us / parse_us:.1f} times parsing"
        )


if __name__ == "__main__":
    main()
