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
from google.protobuf import duration_pb2

from afterword.googleapis import timeofday_pb2
from afterword.v1 import (
    channel_service_pb2,
    channel_service_pb2_grpc,
    event_pb2,
    event_service_pb2,
    event_service_pb2_grpc,
    rule_service_pb2,
    rule_service_pb2_grpc,
    types_pb2,
)
from control.demo.sink import INVITATION_SUBJECT, REMINDER_SUBJECT
from control.demo.story import ACCOUNT, SHOPS, Happening

DAY_MS: Final = 86_400_000
DAY_S: Final = 86_400
ANSWER_TIMEOUT_S: Final = 60.0
"""Far beyond any answer of a daemon that works; a demo must not hang."""

RULE: Final = "ask-for-a-review"
CAP: Final = "one-review-request"
SEND_AT: Final = timeofday_pb2.TimeOfDay(hours=10)
INVITATION_DAYS: Final = 7
REMINDER_DAYS: Final = 5
CAP_DAYS: Final = 14

Advance = Callable[[int], Awaitable[None]]
"""Moves the clock to an instant (epoch ms) and fires everything on the way."""


class Told(msgspec.Struct):
    """What the daemon has answered so far."""

    accepted: int = 0
    refused: list[str] = []
    """Why, one text for each refused event."""
    invitation_of_line: dict[int, str] = {}
    """Order -> its invitation's resource name."""
    time_ms: int = 0
    """Where the clock stands."""


# --- before the first event ---------------------------------------------------------------------


async def set_up(channel: grpc.aio.Channel) -> None:
    """Create the shops, the one cap and the rule, and switch the rule on."""
    shops = channel_service_pb2_grpc.ChannelServiceStub(channel)
    for shop in SHOPS:
        await shops.CreateChannel(
            channel_service_pb2.CreateChannelRequest(
                parent=ACCOUNT,
                channel_id=shop.id,
                channel=channel_service_pb2.Channel(
                    display_name=shop.display_name,
                    time_zone=shop.time_zone,
                    locale=shop.locale,
                    email_sender=channel_service_pb2.EmailSender(
                        address=f"{shop.id}@shop.example", display_name=shop.display_name
                    ),
                ),
            ),
            timeout=ANSWER_TIMEOUT_S,
        )
    await shops.CreateCap(
        channel_service_pb2.CreateCapRequest(parent=ACCOUNT, cap_id=CAP, cap=the_cap()),
        timeout=ANSWER_TIMEOUT_S,
    )
    rules = rule_service_pb2_grpc.RuleServiceStub(channel)
    rule = await rules.CreateRule(
        rule_service_pb2.CreateRuleRequest(parent=ACCOUNT, rule_id=RULE, rule=the_rule()),
        timeout=ANSWER_TIMEOUT_S,
    )
    for shop in SHOPS:
        await rules.ActivateRule(
            rule_service_pb2.ActivateRuleRequest(name=rule.name, channel=shop.name),
            timeout=ANSWER_TIMEOUT_S,
        )


def the_cap() -> channel_service_pb2.Cap:
    """Return the demo's only cap: one order asked about in 14 days; reminders are exempt."""
    cap = channel_service_pb2.Cap
    return cap(
        display_name="One review request in 14 days",
        scope=cap.SCOPE_ACCOUNT,
        purposes=[types_pb2.PURPOSE_REVIEW],
        steps=cap.STEPS_FIRST,
        unit=cap.UNIT_ORDER,
        limit=1,
        window=duration_pb2.Duration(seconds=CAP_DAYS * DAY_S),
        on_cap=cap.ON_CAP_DEFER,
    )


def the_rule() -> rule_service_pb2.Rule:
    """Return the rule: a request 7 days after the order, a reminder 5 days after the request."""
    wait, step, action = rule_service_pb2.Wait, rule_service_pb2.Step, rule_service_pb2.Action
    email = types_pb2.MEDIUM_EMAIL
    return rule_service_pb2.Rule(
        display_name="Ask for a review",
        family=rule_service_pb2.Rule.FAMILY_SERVICE_REVIEW,
        trigger=rule_service_pb2.Trigger(event_type="checkout"),
        steps=[
            step(
                id="invitation",
                wait=wait(days=INVITATION_DAYS, time_of_day=SEND_AT),
                actions=[action(medium=email, subject=INVITATION_SUBJECT)],
            ),
            step(
                id="reminder",
                wait=wait(
                    days=REMINDER_DAYS, time_of_day=SEND_AT, base=wait.BASE_PREVIOUS_STEP_SENT
                ),
                actions=[action(medium=email, subject=REMINDER_SUBJECT)],
            ),
        ],
    )


# --- day by day ---------------------------------------------------------------------------------


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
    if result.invitations:
        told.invitation_of_line[happening.line] = result.invitations[0]
