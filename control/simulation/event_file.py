"""Events from a file: proto JSON, one a line.

Decides: that a line which is no event costs itself and nothing else: it is kept as a problem, with its
number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from google.protobuf import json_format

from afterword.v1 import event_pb2
from control.simulation import event_json
from core.bounds import EVENT_BYTES_MAX

LINE_BYTES_MAX: Final = 8 * EVENT_BYTES_MAX
"""JSON is longer than what it says; more than eight times is no event of ours."""


class Problem(msgspec.Struct, frozen=True):
    """A line that came to nothing."""

    number: int
    """Of the line, from 1."""
    text: str


class EventFile(msgspec.Struct):
    """The events of a file.

    Attributes:
        numbers: the line of each event.
    """

    events: list[event_pb2.Event] = []
    numbers: list[int] = []
    problems: list[Problem] = []


def read(lines: Iterable[bytes], account: str) -> EventFile:
    """Read lines; blank ones are left out, and the id of a channel stands for its name."""
    found = EventFile()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if len(line) > LINE_BYTES_MAX:
            found.problems.append(Problem(number, f"longer than {LINE_BYTES_MAX:,} bytes"))
            continue
        try:
            event = event_json.parse(line)
        except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
            found.problems.append(Problem(number, f"not an event: {error}"))
            continue
        if event.channel and "/" not in event.channel:
            event.channel = f"accounts/{account}/channels/{event.channel}"
        found.events.append(event)
        found.numbers.append(number)
    return found
