"""What Prometheus reads of a daemon: every metric by its name, and what moves it."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from afterword.v1 import channel_service_pb2, event_pb2, event_service_pb2, rule_service_pb2
from core.model import Medium, WaitReason
from core.sending import Delivery
from tests.architecture.repository import ROOT
from tests.control.kit import DAY_S, PARENT, Shop, cap_pb, event_pb, open_shop, step_pb, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")
KIND = Delivery.Kind
OUTCOMES = [kind.name.lower() for kind in KIND]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """A daemon of its own: its numbers are looked at."""
    folder: Path = tmp_path_factory.mktemp("metrics")
    async with open_shop(folder) as shop:
        yield shop


async def scrape(shop: Shop) -> dict[str, Metric]:
    """Return our families by name, as Prometheus itself would read them."""

    def read() -> str:
        address = f"http://{shop.daemon.http_address}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return str(answer.read().decode())

    families = text_string_to_metric_families(await asyncio.to_thread(read))
    return {each.name: each for each in families if each.name.startswith("afterword_")}


def values(family: Metric, label: str, ending: str = "", **fixed: str) -> dict[str, float]:
    """Return the samples of a family by one label."""
    return {
        sample.labels[label]: sample.value
        for sample in family.samples
        if sample.name == family.name + ending and fixed.items() <= sample.labels.items()
    }


async def buy(shop: Shop, channel: str, email: str = "") -> None:
    """Let somebody buy, and what is due go out."""
    who = event_pb2.Contact(email=email or f"{unique('who')}@example.com")
    event = event_pb(channel, contact=who)
    await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    await shop.daemon.engine.advance_to(shop.clock.now_ms())


async def open_channel(shop: Shop, **fields: Any) -> tuple[str, str]:
    """Open a channel that asks for reviews at once; return its name and that of its rule."""
    channel = await shop.create_channel(**fields)
    return channel, await shop.create_rule(channel, steps=[step_pb(days=0)])


async def test_every_metric_is_told_in_the_documentation(shop: Shop) -> None:
    """No more there than here, and the labels too."""
    told = (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(afterword_\w+)(?:\{([\w,]*)\})?` \| (\w+) \|", told, re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows})
    found = {}
    for family in (await scrape(shop)).values():
        ending = "_total" if family.type == "counter" else ""
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        found[family.name + ending] = (family.type, labels)
    assert {name: kind for name, _, kind in rows} == {
        name: kind for name, (kind, _) in found.items()
    }
    # Of some there is nothing yet that would have labels.
    for name, labels, _ in rows:
        assert found[name][1] in (set(filter(None, labels.split(","))), set()), name


async def test_hand_overs_are_told_from_zero_on(shop: Shop) -> None:
    """A rate needs the first one too."""
    found = await scrape(shop)
    for medium in Medium:
        if medium:
            told = values(
                found["afterword_hand_overs"], "outcome", "_total",
                medium=medium.name.lower(), sender=medium.name,
            )  # fmt: skip
            assert list(told) == OUTCOMES
    assert values(found["afterword_deferred"], "reason", "_total").keys() == {
        reason.name.lower() for reason in WaitReason if reason
    }


async def test_hand_overs_are_counted_by_outcome_and_timed(shop: Shop) -> None:
    """What a sender said of each message, and how long it took to say so."""
    channel, _ = await open_channel(shop)
    before = await scrape(shop)
    for kind in KIND:
        shop.outbox.answer = Delivery(kind, retry_after_ms=86_400_000)
        await buy(shop, channel)
    shop.outbox.answer = Delivery(KIND.ACCEPTED)
    await buy(shop, channel)
    after = await scrape(shop)
    own = {"medium": "email", "sender": "EMAIL"}
    told, was = (
        values(found["afterword_hand_overs"], "outcome", "_total", **own)
        for found in (after, before)
    )
    assert {name: told[name] - was[name] for name in OUTCOMES} == {
        "accepted": 2, "deferred": 1, "rejected": 1, "failed": 1, "unknown": 1,
    }  # fmt: skip
    spans, count = after["afterword_hand_over_seconds"], sum(told.values())
    buckets = values(spans, "le", "_bucket", medium="email")
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets["+Inf"] == values(spans, "medium", "_count")["email"] == count
    assert 0 < values(spans, "medium", "_sum")["email"] < 60
    # Those that were deferred and unknown wait for their next attempt.
    retries = [
        values(f["afterword_deferred"], "reason", "_total")["retry"] for f in (before, after)
    ]
    assert retries[1] - retries[0] == 2


async def test_what_waits_is_counted_by_reason_and_lane(shop: Shop) -> None:
    """A cap puts off, a frozen rule parks; both are told, and where they lie."""
    channel, rule = await open_channel(shop)
    await shop.channels.CreateCap(
        channel_service_pb2.CreateCapRequest(parent=PARENT, cap_id=unique("cap"), cap=cap_pb())
    )
    before = await scrape(shop)
    for _ in range(3):
        await buy(shop, channel, "twice@example.com")
    found = await scrape(shop)

    def moved(name: str, label: str, ending: str = "") -> dict[str, float]:
        new, old = (values(each[name], label, ending) for each in (found, before))
        return {key: new[key] - old[key] for key in new if new[key] != old[key]}

    assert moved("afterword_deferred", "reason", "_total") == {"capped": 2}
    assert moved("afterword_lane_entries", "lane") == {"deferred": 2}
    await shop.rules.FreezeRule(rule_service_pb2.FreezeRuleRequest(name=rule))
    before = found
    await shop.daemon.engine.advance_to(shop.clock.now_ms() + DAY_S * 1_000)
    found = await scrape(shop)
    assert moved("afterword_deferred", "reason", "_total")["frozen"] == 2
    assert moved("afterword_lane_entries", "lane")["parked"] == 2
