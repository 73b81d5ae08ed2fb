"""PublishStream as a client sees it: credits, the order of acks, resuming, and how streams end."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from afterword import errors
from afterword.v1 import event_pb2
from afterword.v1 import event_service_pb2 as pb2
from core import bounds
from tests.control.kit import PARENT, Shop, event_pb, open_shop, settings_for, with_unknown_field

pytestmark = pytest.mark.asyncio(loop_scope="module")
Request = pb2.PublishStreamRequest


def hello(**fields: Any) -> Request:
    given = {"parent": PARENT, "producer_id": "tests"}
    return Request(hello=Request.Hello(**{**given, **fields}))


def batch(sequence: int, *events: event_pb2.Event) -> Request:
    return Request(batch=Request.Batch(sequence=sequence, events=events))


async def refusal_of(call: Any) -> errors.ErrorDetails:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _read_to_the_end(call)
    return errors.details(caught.value)


async def _read_to_the_end(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_batches_are_acknowledged_in_order(shop: Shop) -> None:
    channel = await shop.create_channel()
    call = shop.events.PublishStream()
    await call.write(hello())
    welcome = (await call.read()).welcome
    assert welcome.credits == bounds.STREAM_CREDITS
    assert welcome.max_batch_events == bounds.EVENT_BATCH_MAX
    # Large and small in turns: the small ones are done first, and wait for the others' acks.
    for sequence in range(1, welcome.credits + 1):
        size = 100 if sequence % 2 else 1
        await call.write(batch(sequence, *[event_pb(channel) for _ in range(size)]))
    await call.done_writing()
    acks = [(await call.read()).ack for _ in range(welcome.credits)]
    assert [ack.sequence for ack in acks] == list(range(1, welcome.credits + 1))
    assert [ack.accepted_count for ack in acks] == [100, 1] * (welcome.credits // 2)
    assert [len(ack.results) for ack in acks] == [100, 1] * (welcome.credits // 2)
    assert acks[-1].credits == bounds.STREAM_CREDITS
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_more_than_the_credits_is_held_back_not_refused(shop: Shop) -> None:
    channel = await shop.create_channel()
    call = shop.events.PublishStream()
    await call.write(hello(errors_only=True))
    await call.read()
    count = 4 * bounds.STREAM_CREDITS
    for sequence in range(1, count + 1):
        await call.write(batch(sequence, event_pb(channel)))
    await call.done_writing()
    acks = [(await call.read()).ack for _ in range(count)]
    assert [ack.sequence for ack in acks] == list(range(1, count + 1))
    assert all(0 <= ack.credits <= bounds.STREAM_CREDITS for ack in acks)
    assert await call.read() is grpc.aio.EOF


async def test_errors_only_lists_the_refused(shop: Shop) -> None:
    channel = await shop.create_channel()
    call = shop.events.PublishStream()
    await call.write(hello(errors_only=True))
    await call.read()
    bad = event_pb(channel, type="")
    await call.write(batch(1, event_pb(channel), bad, event_pb(channel)))
    ack = (await call.read()).ack
    assert ack.accepted_count == 2
    assert [result.index for result in ack.results] == [1]
    assert ack.results[0].status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_a_broken_stream_is_resumed(shop: Shop) -> None:
    channel = await shop.create_channel()
    events = [event_pb(channel) for _ in range(3)]
    first = shop.events.PublishStream()
    await first.write(hello())
    await first.read()
    for sequence, event in enumerate(events[:2], start=1):
        await first.write(batch(sequence, event))
    assert (await first.read()).ack.sequence == 1
    first.cancel()

    second = shop.events.PublishStream()
    await second.write(hello(resume_after_sequence=1))
    await second.read()
    for sequence, event in enumerate(events[1:], start=2):
        await second.write(batch(sequence, event))
    await second.done_writing()
    acks = [(await second.read()).ack for _ in range(2)]
    assert [ack.sequence for ack in acks] == [2, 3]
    assert [ack.accepted_count for ack in acks] == [1, 1]
    again = await shop.events.BatchPublish(pb2.BatchPublishRequest(parent=PARENT, events=events))
    assert {result.disposition for result in again.results} == {
        pb2.EventResult.DISPOSITION_DUPLICATE
    }


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([batch(1, event_pb("c"))], "hello"),
        ([hello(producer_id="")], "hello.producer_id"),
        ([hello(parent="accounts/other")], ""),
        ([hello(resume_after_sequence=-1)], "hello.resume_after_sequence"),
        ([with_unknown_field(hello(), "hello")], "hello"),
        ([hello(), hello()], "batch"),
        ([hello(), batch(2, event_pb("c"))], "batch.sequence"),
        ([hello(resume_after_sequence=7), batch(7, event_pb("c"))], "batch.sequence"),
        ([hello(), batch(1)], "batch.events"),
        ([hello(), batch(1, *[event_pb2.Event(id="x")] * 1_001)], "batch.events"),
    ],
)
async def test_what_breaks_the_protocol_is_named(
    shop: Shop, messages: list[Request], field: str
) -> None:
    call = shop.events.PublishStream(iter(messages))
    problem = await refusal_of(call)
    assert problem.reason
    assert [violation.field for violation in problem.field_violations] == [field] * bool(field)


async def test_acks_come_before_the_refusal_of_a_later_batch(shop: Shop) -> None:
    channel = await shop.create_channel()
    call = shop.events.PublishStream()
    await call.write(hello())
    await call.read()
    await call.write(batch(1, event_pb(channel)))
    await call.write(batch(3, event_pb(channel)))
    assert (await call.read()).ack.sequence == 1
    assert (await refusal_of(call)).field_violations[0].field == "batch.sequence"


async def test_a_client_may_leave_at_any_time(shop: Shop) -> None:
    channel = await shop.create_channel()
    for reads in range(3):
        call = shop.events.PublishStream()
        await call.write(hello())
        await call.write(batch(1, *[event_pb(channel) for _ in range(200)]))
        for _ in range(reads):
            await call.read()
        call.cancel()
    event = event_pb(channel)
    answer = await shop.events.Publish(pb2.PublishRequest(event=event))
    assert answer.result.disposition == pb2.EventResult.DISPOSITION_NO_MATCH


async def test_a_stream_that_only_says_hello_ends_well(shop: Shop) -> None:
    call = shop.events.PublishStream()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    call = shop.events.PublishStream()
    await call.write(hello())
    await call.done_writing()
    assert (await call.read()).HasField("welcome")
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_draining_says_go_away_and_finishes_what_came(tmp_path: Any) -> None:
    async with open_shop(tmp_path, settings_for(tmp_path)) as shop:
        channel = await shop.create_channel()
        call = shop.events.PublishStream()
        await call.write(hello())
        await call.read()
        await call.write(batch(1, event_pb(channel)))
        assert (await call.read()).ack.sequence == 1
        stop = asyncio.create_task(shop.daemon.stop())
        assert (await call.read()).go_away.cause
        await call.write(batch(2, event_pb(channel)))
        await call.done_writing()
        ack = (await call.read()).ack
        assert (ack.sequence, ack.accepted_count) == (2, 1)
        assert await call.read() is grpc.aio.EOF
        await stop
