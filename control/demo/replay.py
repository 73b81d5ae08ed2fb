"""The shop's side of the demo: a plain client of the API that tells the story day by day.

Decides: the order of things. A day's events are published when the day is over, UTC; an event of a
customer goes out only when the one before it is acknowledged, so the result never hangs on chance.
Never: looks into the daemon. Moving the clock is the one thing no client can do, so it is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

import grpc
import msgspec

from afterword.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc
from control.demo.configuration import ANSWER_TIMEOUT_S
from control.demo.story import ACCOUNT, Happening

DAY_MS: Final = 86_400_000

Advance = Callable[[int], Awaitable[None]]
"""Moves the clock to an instant (epoch ms) and fires everything on the way."""


class Told(msgspec.Struct):
    """What the daemon has answered so far."""

    accepted: int = 0
    refused: list[str] = []
    """Why, one text for each refused event."""
    invitation_of_line: dict[int, str] = {}
    """Order -> the resource name of its request for a review."""
    time_ms: int = 0
    """Where the clock stands."""


def days(happenings: Iterable[Happening]) -> Iterator[tuple[int, list[Happening]]]:
    """Yield (the day's end in epoch ms, its events) for each day, UTC, on which something happened."""
    for day, group in groupby(happenings, key=lambda happening: happening.time_ms // DAY_MS):
        yield (day + 1) * DAY_MS, list(group)


def rounds(day: Sequence[Happening]) -> list[list[Happening]]:
    """Split a day so that no round has two events of one customer."""
    split: list[list[Happening]] = []
    seen: dict[str, int] = {}
    for happening in day:
        place = seen.get(happening.customer, 0)
        seen[happening.customer] = place + 1
        if place == len(split):
            split.append([])
        split[place].append(happening)
    return split


class Publisher:
    """One PublishStream: a batch goes out, its ack comes in. An async context manager."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call = event_service_pb2_grpc.EventServiceStub(channel).PublishStream()
        self._sequence = 0
        self._batch_events_max = 0

    async def __aenter__(self) -> Publisher:
        hello = event_service_pb2.PublishStreamRequest.Hello(parent=ACCOUNT, producer_id="demo")
        await self._call.write(event_service_pb2.PublishStreamRequest(hello=hello))
        self._batch_events_max = (await self._read("welcome")).welcome.max_batch_events
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._call.done_writing()
        self._call.cancel()

    async def publish(
        self, events: Sequence[event_pb2.Event]
    ) -> list[event_service_pb2.EventResult]:
        """Publish events and return their results once they are durable."""
        results: list[event_service_pb2.EventResult] = []
        for at in range(0, len(events), self._batch_events_max):
            self._sequence += 1
            batch = event_service_pb2.PublishStreamRequest.Batch(
                sequence=self._sequence, events=events[at : at + self._batch_events_max]
            )
            await self._call.write(event_service_pb2.PublishStreamRequest(batch=batch))
            ack = (await self._read("ack")).ack
            assert ack.sequence == self._sequence, "acks come in the order of the batches"
            results.extend(ack.results)
        return results

    async def _read(self, kind: str) -> event_service_pb2.PublishStreamResponse:
        answer = await asyncio.wait_for(self._call.read(), ANSWER_TIMEOUT_S)
        if not isinstance(answer, event_service_pb2.PublishStreamResponse):
            raise RuntimeError(f"the stream ended where {kind} should have come")
        if answer.WhichOneof("message") != kind:
            raise RuntimeError(f"{answer.WhichOneof('message')} came where {kind} should have come")
        return answer


async def tell_story(
    channel: grpc.aio.Channel,
    happenings: Sequence[Happening],
    advance: Advance,
    told: Told,
    after_day: Callable[[], Awaitable[None]],
) -> None:
    """Publish everything in order, moving the clock to the end of each day first.

    Args:
        told: filled as the answers come.
        after_day: called after each day.
    """
    async with Publisher(channel) as publisher:
        for end_ms, day in days(happenings):
            await advance(end_ms)
            told.time_ms = end_ms
            for group in rounds(day):
                results = await publisher.publish([happening.event for happening in group])
                for happening, result in zip(group, results, strict=True):
                    _note(told, happening, result)
            await after_day()


def _note(told: Told, happening: Happening, result: event_service_pb2.EventResult) -> None:
    if result.status.code:
        told.refused.append(f"{happening.event.id}: {result.status.message}")
        return
    told.accepted += 1
    if result.invitations and happening.event.type == "checkout":
        told.invitation_of_line[happening.line] = result.invitations[0]
