"""When complaints are too many, which are forgiven, and what a trip and a reset write (g6)."""

from __future__ import annotations

import pytest

from core.bounds import DAY_MS
from core.clock import ManualClock
from core.errors import NotFound
from core.registry.breakers import MILLION, Breaker, BreakerSettings
from core.registry.memory_store import MemoryRegistryStore
from core.registry.registry import Registry
from tests.support.shop import ACCOUNT, new_channel

NOW = 20_000 * DAY_MS + 5


@pytest.mark.parametrize("sent", [*range(1_000, 30_000, 1_000), 333_000, 7_000_000])
@pytest.mark.parametrize("threshold_ppm", [3_000, 1_000, 7_000])
def test_the_limit_is_met_exactly(threshold_ppm: int, sent: int) -> None:
    """g6: 0.3 % of a thousand is three, whatever floating point makes of it."""
    settings = BreakerSettings(threshold_ppm=threshold_ppm, min_complaints=1)
    limit = threshold_ppm * sent // MILLION
    assert settings.is_exceeded(sent, limit)
    assert not settings.is_exceeded(sent, limit - 1)
    assert not settings.is_exceeded(sent + 1, limit)


def test_the_defaults_are_those_of_the_mail_providers() -> None:
    """g6: never 0.3 %; and five at least."""
    settings = BreakerSettings()
    assert settings.is_exceeded(1_666, 5)
    assert not settings.is_exceeded(1_667, 5)
    assert not settings.is_exceeded(4, 4)
    assert settings.is_exceeded(0, 5), "complaints about what was sent long ago count too"
    assert list(settings.days(NOW)) == list(range(19_994, 20_001))


def test_a_reset_forgives_what_was_counted_by_then() -> None:
    breaker = Breaker(
        account="a", channel="c", medium=1, is_open=False, trip_ms=0, sent_count=9,
        complaint_count=3, reset_ms=NOW, forgiven_count=3,
    )  # fmt: skip
    assert breaker.unforgiven(on_reset_day=3, later=0) == 0
    assert breaker.unforgiven(on_reset_day=5, later=2) == 4
    assert breaker.unforgiven(on_reset_day=0, later=2) == 2, "counts may be gone with their day"


async def open_registry() -> tuple[Registry, ManualClock, list[int]]:
    clock, bites = ManualClock(NOW), list[int]()
    registry = await Registry.open(MemoryRegistryStore(clock), clock)
    await registry.ensure_account(ACCOUNT, default_caps=False)
    await registry.create_channel(new_channel("madrid"))

    async def bite(revision: int) -> None:
        bites.append(revision)

    registry.on_bite.append(bite)
    return registry, clock, bites


async def test_a_trip_and_a_reset_bite_and_happen_once() -> None:
    """g6, R13."""
    registry, clock, bites = await open_registry()
    number = registry.snapshot.channels(ACCOUNT)[0].number
    etag = registry.snapshot.channels(ACCOUNT)[0].etag
    first = await registry.trip_breaker(ACCOUNT, "madrid", 1, 100, 7, actor="breaker")
    assert bites == [registry.snapshot.revision]
    assert registry.snapshot.is_held_back(number, 1, 1)
    assert not registry.snapshot.is_held_back(number, 2, 1), "another medium"
    assert not registry.snapshot.is_held_back(number, 1, 3), "transactional"
    clock.move_to_ms(NOW + 1)
    assert await registry.trip_breaker(ACCOUNT, "madrid", 1, 200, 9) == first
    assert len(bites) == 2, "in case the first did not come to bite"
    assert registry.snapshot.channels(ACCOUNT)[0].etag == etag, "no conflict for whoever edits"
    (closed,) = await registry.reset_breaker(ACCOUNT, "madrid", 0, {1: 7}, "op", actor="ann")
    assert (closed.is_open, closed.reset_ms, closed.forgiven_count) == (False, NOW + 1, 7)
    assert not registry.snapshot.is_held_back(number, 1, 1)
    assert await registry.reset_breaker(ACCOUNT, "madrid", 0, {}, "op") == [closed]
    assert await registry.reset_breaker(ACCOUNT, "madrid", 0, {}) == []


async def test_other_settings_bite() -> None:
    """R13: what was held is let go by all daemons, and the reverse."""
    registry, _, bites = await open_registry()
    await registry.trip_breaker(ACCOUNT, "madrid", 1, 100, 7)
    off = BreakerSettings(is_off=True)
    await registry.update_channel(new_channel("madrid", complaint_breaker=off))
    assert bites[-1] == registry.snapshot.revision
    (channel,) = registry.snapshot.channels(ACCOUNT)
    assert registry.snapshot.tripped(channel) == ()
    assert not registry.snapshot.is_held_back(channel.number, 1, 1)


async def test_only_the_medium_named_is_reset() -> None:
    registry, _, _ = await open_registry()
    for medium in (1, 2):
        await registry.trip_breaker(ACCOUNT, "madrid", medium, 10, 9)
    await registry.reset_breaker(ACCOUNT, "madrid", 2, {})
    (channel,) = registry.snapshot.channels(ACCOUNT)
    assert [one.medium for one in registry.snapshot.tripped(channel)] == [1]
    with pytest.raises(NotFound, match="channels/porto"):
        await registry.trip_breaker(ACCOUNT, "porto", 1, 10, 9)
