"""Publishing a file of events over one stream, in batches, as fast as the daemon gives credits."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TextIO

import msgspec
from google.protobuf import json_format

from afterword.v1 import event_pb2
from afterword.v1 import event_service_pb2 as api
from control.cli.output import count_text
from control.cli.problems import FAILED, OK, report
from control.cli.session import Session
from control.cli.values import UsageError

BATCH_EVENTS: Final = 500
PRODUCER_ID: Final = "afterword-cli"
PROBLEMS_SHOWN: Final = 20
"""Beyond this, problems are only counted: one cause usually repeats."""


class Tally(msgspec.Struct):
    """What became of the lines of a file."""

    accepted: int = 0
    refused: int = 0
    unreadable: int = 0
    batches: int = 0


def publish_file(session: Session, options: argparse.Namespace) -> int:
    """Publish every line; report those that cannot be read or are refused, and go on."""
    try:
        if options.file == "-":
            tally = _Publisher(session).run(sys.stdin)
        else:
            with Path(options.file).open(encoding="utf-8") as lines:
                tally = _Publisher(session).run(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--file: {error}") from None
    if options.json:
        print(json.dumps(msgspec.to_builtins(tally), indent=2))
    else:
        text = f"{count_text(tally.accepted, 'event')} accepted"
        problems = tally.refused + tally.unreadable
        print(f"{text}, {problems:,} refused" if problems else text)
    return FAILED if tally.refused or tally.unreadable else OK


class EventLines:
    """Reads a file of events, a JSON object a line, and keeps account of its lines."""

    def __init__(self, session: Session) -> None:
        self.tally = Tally()
        self._session = session
        self._problem_count = 0

    def batches(self, lines: Iterable[str]) -> Iterator[tuple[list[int], list[event_pb2.Event]]]:
        """Yield (number of each line, its event) in batches; complain of what cannot be read."""
        numbers: list[int] = []
        events: list[event_pb2.Event] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                event = json_format.Parse(line, event_pb2.Event())
            except json_format.ParseError as error:
                self.tally.unreadable += 1
                self._complain(number, f"not an event: {error}")
                continue
            event.channel = self._session.name("channels", event.channel)
            numbers.append(number)
            events.append(event)
            if len(events) == BATCH_EVENTS:
                yield numbers, events
                numbers, events = [], []
        if events:
            yield numbers, events

    def refuse(self, number: int, text: str) -> None:
        """Count and report a line that the daemon has refused."""
        self.tally.refused += 1
        self._complain(number, text)

    def finish(self) -> None:
        """Say how many problems were not shown."""
        if self._problem_count > PROBLEMS_SHOWN:
            report(f"and {count_text(self._problem_count - PROBLEMS_SHOWN, 'more problem')}")

    def _complain(self, number: int, text: str) -> None:
        self._problem_count += 1
        if self._problem_count <= PROBLEMS_SHOWN:
            report(f"line {number}: {text}")


class _Publisher:
    """One stream: a thread of gRPC takes requests, this one reads acks."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lines = EventLines(session)
        self._credits = threading.Semaphore(0)
        self._has_ended = threading.Event()
        self._unacked: dict[int, list[int]] = {}
        """Batch -> the line of each of its events."""
        self._read_error: OSError | UnicodeDecodeError | None = None

    def run(self, lines: TextIO) -> Tally:
        """Publish all lines and wait for the last ack."""
        answers = self._session.stream(self._session.events.PublishStream, self._requests(lines))
        try:
            for answer in answers:
                if answer.HasField("welcome"):
                    self._credits.release(max(1, answer.welcome.credits))
                elif answer.HasField("ack"):
                    self._take(answer.ack)
                elif answer.HasField("go_away"):
                    report(f"the daemon is stopping: {answer.go_away.cause}")
        finally:
            self._has_ended.set()
            self._credits.release()
        if self._read_error is not None:
            raise self._read_error
        if self._unacked:
            raise UsageError("the stream ended early; publishing the same file again is safe")
        self._lines.finish()
        return self._lines.tally

    def _requests(self, lines: TextIO) -> Iterator[api.PublishStreamRequest]:
        """Yield hello, then a batch for each credit. Runs in a thread of gRPC."""
        hello = api.PublishStreamRequest.Hello(
            parent=self._session.parent, producer_id=PRODUCER_ID, errors_only=True
        )
        yield api.PublishStreamRequest(hello=hello)
        batches = self._lines.batches(lines)
        for sequence in itertools.count(1):
            try:
                numbers, events = next(batches)
            except StopIteration:
                return
            except (OSError, UnicodeDecodeError) as error:
                # Raised here it would end in gRPC's log.
                self._read_error = error
                return
            self._credits.acquire()
            if self._has_ended.is_set():
                return
            self._unacked[sequence] = numbers
            batch = api.PublishStreamRequest.Batch(sequence=sequence, events=events)
            yield api.PublishStreamRequest(batch=batch)

    def _take(self, ack: api.PublishStreamResponse.Ack) -> None:
        numbers = self._unacked.pop(ack.sequence, [])
        tally = self._lines.tally
        tally.batches += 1
        tally.accepted += ack.accepted_count
        for result in ack.results:
            if result.status.code:
                self._lines.refuse(numbers[result.index], result.status.message)
        self._credits.release()
