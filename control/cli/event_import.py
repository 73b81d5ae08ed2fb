"""Importing a file of what happened before, in batches."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from afterword.v1 import event_pb2
from afterword.v1 import event_service_pb2 as api
from control.cli.event_stream import EventLines, Tally
from control.cli.output import count_text
from control.cli.problems import FAILED, OK
from control.cli.session import Session
from control.cli.values import UsageError


def import_file(session: Session, options: argparse.Namespace) -> int:
    """Import every line; report those that cannot be read or are refused, and go on."""
    try:
        if options.file == "-":
            tally = _import(session, sys.stdin, options)
        else:
            with Path(options.file).open(encoding="utf-8") as lines:
                tally = _import(session, lines, options)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{options.file}: {error}") from None
    if options.json:
        print(json.dumps(msgspec.to_builtins(tally), indent=2))
    else:
        done = "can be imported" if options.validate_only else "imported"
        problems = tally.refused + tally.unreadable
        text = f"{count_text(tally.accepted, 'event')} {done}"
        print(f"{text}, {problems:,} refused" if problems else text)
    return FAILED if tally.refused or tally.unreadable else OK


def _import(session: Session, lines: Iterable[str], options: argparse.Namespace) -> Tally:
    reader = EventLines(session)
    for numbers, events in reader.batches(lines):
        _send(session, reader, numbers, events, options)
    reader.finish()
    return reader.tally


def _send(
    session: Session,
    reader: EventLines,
    numbers: list[int],
    events: list[event_pb2.Event],
    options: argparse.Namespace,
) -> None:
    request = api.ImportHistoryRequest(
        parent=session.parent, events=events, validate_only=options.validate_only
    )
    answer = session.call(session.events.ImportHistory, request)
    reader.tally.batches += 1
    for result in answer.results:
        if result.status.code:
            reader.refuse(numbers[result.index], result.status.message)
        else:
            reader.tally.accepted += 1
