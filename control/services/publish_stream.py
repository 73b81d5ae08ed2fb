"""One PublishStream: batches in, acks out.

Decides: the order of acks, which is that of the batches, while the batches themselves are worked on at
the same time, up to the credits; and what is said at the end.

    reader   takes batches off the stream, starts one task for each, waits for a free credit first:
             a client that sends more than it may is held back by flow control, not refused
    writer   takes the tasks in order, waits for each, writes its ack and frees its credit
    drain    puts a go_away in the writer's way when the daemon is about to stop

A batch that was read is finished even if the stream breaks: the client will send it again, and finds
it done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc

from afterword.v1 import event_pb2, types_pb2
from afterword.v1 import event_service_pb2 as pb2
from control.conversion import checks, names
from control.services.publishing import Publisher, check_size, result
from core import bounds
from core.engine.accept import EventAnswer
from core.errors import InvalidField, OutOfRange

Context = grpc.aio.ServicerContext[Any, Any]
Answers = asyncio.Task[list[EventAnswer]]


class Batch:
    """A batch under way."""

    __slots__ = ("answers", "sequence")

    def __init__(self, sequence: int, answers: Answers) -> None:
        self.sequence = sequence
        self.answers = answers


class PublishStream:
    """The server's side of one stream.

    Args:
        background: where tasks are kept that may outlive the stream.
    """

    def __init__(
        self, publisher: Publisher, account: str, context: Context,
        durability: types_pb2.Durability.ValueType, draining: asyncio.Event,
        background: set[Answers],
    ) -> None:  # fmt: skip
        self._publisher = publisher
        self._account = account
        self._context = context
        self._durability = durability
        self._draining = draining
        self._background = background
        self._credits = asyncio.Semaphore(bounds.STREAM_CREDITS)
        self._outstanding = 0
        self._errors_only = False
        self._next_sequence = 1
        # Bounded by the credits, one error or end, and one go_away.
        self._todo: asyncio.Queue[Batch | pb2.PublishStreamResponse | Exception | None] = (
            asyncio.Queue()
        )

    async def run(self) -> None:
        """Serve the stream until the client has said everything."""
        if not await self._greet():
            return
        helpers = [asyncio.create_task(self._read()), asyncio.create_task(self._announce_end())]
        try:
            while (one := await self._todo.get()) is not None:
                if isinstance(one, Exception):
                    raise one
                if isinstance(one, Batch):
                    await self._acknowledge(one)
                else:
                    await self._context.write(one)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _greet(self) -> bool:
        """Take the hello and answer it; False if the client has left."""
        first = await self._context.read()
        if not isinstance(first, pb2.PublishStreamRequest):
            return False
        checks.refuse_unknown_deeply(first)
        if first.WhichOneof("message") != "hello":
            checks.missing("hello", "the first message of a stream is a hello")
        hello = first.hello
        names.parent_account(hello.parent, self._account, "hello.parent")
        checks.text(hello.producer_id, "hello.producer_id", bounds.ID_CHARS_MAX, is_required=True)
        if hello.resume_after_sequence < 0:
            raise OutOfRange(
                "hello.resume_after_sequence must be the last sequence acknowledged, or 0",
                field="hello.resume_after_sequence",
            )
        self._errors_only = hello.errors_only
        self._next_sequence = hello.resume_after_sequence + 1
        welcome = pb2.PublishStreamResponse.Welcome(
            credits=bounds.STREAM_CREDITS,
            max_batch_events=bounds.EVENT_BATCH_MAX,
            durability=self._durability,
        )
        await self._context.write(pb2.PublishStreamResponse(welcome=welcome))
        return True

    async def _read(self) -> None:
        """Start a task for each batch, to the end of the stream or to the first bad message."""
        try:
            while True:
                await self._credits.acquire()
                message = await self._context.read()
                if not isinstance(message, pb2.PublishStreamRequest):
                    break
                self._todo.put_nowait(self._start(message))
        except Exception as error:
            # Raised by the writer, after the acks of what came before.
            self._todo.put_nowait(error)
        else:
            self._todo.put_nowait(None)

    def _start(self, message: pb2.PublishStreamRequest) -> Batch:
        if message.WhichOneof("message") != "batch":
            raise InvalidField("after the hello come batches only", field="batch")
        batch = message.batch
        if batch.sequence != self._next_sequence:
            raise InvalidField(
                f"batch.sequence must be {self._next_sequence}, one more than that of the batch "
                f"before, not {batch.sequence}",
                field="batch.sequence",
            )
        check_size(len(batch.events), "batch.events")
        self._next_sequence += 1
        self._outstanding += 1
        return Batch(batch.sequence, self._publish(batch.events))

    def _publish(self, events: Sequence[event_pb2.Event]) -> Answers:
        task = asyncio.create_task(self._publisher.publish(self._account, events))
        self._background.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: Answers) -> None:
        self._background.discard(task)
        if not task.cancelled():
            # Looked at, so that nobody complains if the stream broke before its ack.
            task.exception()

    async def _acknowledge(self, batch: Batch) -> None:
        answers = await asyncio.shield(batch.answers)
        self._outstanding -= 1
        self._credits.release()
        errors_only = self._errors_only
        ack = pb2.PublishStreamResponse.Ack(
            sequence=batch.sequence,
            accepted_count=sum(answer.error is None for answer in answers),
            results=[
                result(self._account, index, answer)
                for index, answer in enumerate(answers)
                if answer.error is not None or not errors_only
            ],
            durability=self._durability,
            credits=bounds.STREAM_CREDITS - self._outstanding,
        )
        await self._context.write(pb2.PublishStreamResponse(ack=ack))

    async def _announce_end(self) -> None:
        await self._draining.wait()
        go_away = pb2.PublishStreamResponse.GoAway(
            cause="the daemon is about to stop; send what is not acknowledged again later"
        )
        self._todo.put_nowait(pb2.PublishStreamResponse(go_away=go_away))
