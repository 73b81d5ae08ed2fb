"""How answers are printed: tables for people, proto JSON for programs.

Never: colours or cut-off text; what is printed can be piped, searched and copied.
"""

from __future__ import annotations

import datetime
import json
import shutil
import textwrap
import zoneinfo
from collections.abc import Iterable, Sequence

from google.protobuf import json_format, timestamp_pb2
from google.protobuf.message import Message

WIDTH = 100
"""Of prose where there is no terminal to ask."""
PROSE_CHARS_MIN = 40


def print_json(message: Message) -> None:
    """Print a message as proto JSON (names in lowerCamelCase), indented."""
    fields = json_format.MessageToDict(message)
    print(json.dumps(fields, indent=2, ensure_ascii=False))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their heads, columns aligned; a hyphen where there is nothing."""
    lines = [tuple(heads), *(tuple(cell or "-" for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def print_story(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows whose last cell is prose: a table with that column wrapped to the terminal."""
    stories = [tuple(row) for row in rows]
    used = sum(max(len(row[at]) for row in (heads, *stories)) + 2 for at in range(len(heads) - 1))
    room = max(shutil.get_terminal_size((WIDTH, 24)).columns - used, PROSE_CHARS_MIN)
    blank = (" ",) * (len(heads) - 1)
    wrapped = []
    for *cells, prose in stories:
        first, *more = textwrap.wrap(prose, room) or [""]
        wrapped += [(*cells, first), *((*blank, line) for line in more)]
    print_table(heads, wrapped)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print one thing, a field a line; fields without a value are left out."""
    shown = [(name, value) for name, value in fields if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *more = value.splitlines()
        print(f"{name.ljust(width)}  {first}")
        for line in more:
            print(f"{''.ljust(width)}  {line}")


def count_text(count: int, noun: str) -> str:
    """Return "1 event" or "3 events"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def short(name: str) -> str:
    """Return the last part of a resource name: its id."""
    return name.rpartition("/")[2]


def time_text(stamp: timestamp_pb2.Timestamp, zone: str = "") -> str:
    """Return an instant to the second, in the zone if it is known here, else in UTC."""
    if not stamp.seconds and not stamp.nanos:
        return ""
    try:
        tzinfo: datetime.tzinfo = zoneinfo.ZoneInfo(zone) if zone else datetime.UTC
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        tzinfo = datetime.UTC
    moment = stamp.ToDatetime(tzinfo=datetime.UTC).astimezone(tzinfo)
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z")
