"""`afterword consents import`: a file of what was said elsewhere, over one stream, in batches."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from google.protobuf import json_format

from afterword.v1 import consent_service_pb2 as api
from control.cli.output import count_text
from control.cli.parsers import SubParsers, add_validate_only, add_verb
from control.cli.problems import FAILED, OK, report
from control.cli.session import Session
from control.cli.values import UsageError

BATCH_ITEMS: Final = 500
PROBLEMS_SHOWN: Final = 20
"""Beyond this, problems are only counted: one cause usually repeats."""

_EXAMPLE: Final = """consents import consents.jsonl

each line is one of
  {"grant": {"contact": {"contact": {"email": "ann@shop.example"}}, "purpose": "PURPOSE_REVIEW",
    "medium": "MEDIUM_EMAIL", "evidenceTime": "2024-05-01T10:00:00Z",
    "collectionPoint": "https://shop.example/account"}}
  {"withdrawal": {..., "withdrawTime": "2024-06-01T10:00:00Z"}}
  {"suppression": {..., "kind": "KIND_HARD_BOUNCED", "suppressTime": "2024-06-01T10:00:00Z"}}"""


class Tally(msgspec.Struct):
    """What became of the lines of a file."""

    imported: int = 0
    confirmed: int = 0
    """Consents among them that count as such with proof."""
    refused: int = 0
    unreadable: int = 0
    ended: int = 0
    """Waiting invitations that they ended."""


def add_import(verbs: SubParsers) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs, "import", run_import,
        "import consents, withdrawals and suppressions with their original times", _EXAMPLE,
    )  # fmt: skip
    verb.add_argument("file", help="a JSON object a line; - reads standard input")
    add_validate_only(verb)


def run_import(session: Session, options: argparse.Namespace) -> int:
    """Import every line; report those that cannot be read or are refused, and go on."""
    importer = _Importer(session, options)
    try:
        if options.file == "-":
            importer.run(sys.stdin)
        else:
            with Path(options.file).open(encoding="utf-8") as lines:
                importer.run(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{options.file}: {error}") from None
    tally = importer.tally
    if options.json:
        print(json.dumps(msgspec.to_builtins(tally), indent=2))
    else:
        done = "can be imported" if options.validate_only else "imported"
        text = f"{count_text(tally.imported, 'line')} {done}, {tally.confirmed:,} with proof"
        if tally.ended:
            text += f", {count_text(tally.ended, 'waiting invitation')} ended"
        problems = tally.refused + tally.unreadable
        print(f"{text}, {problems:,} refused" if problems else text)
    return FAILED if tally.refused or tally.unreadable else OK


class _Importer:
    """One stream: a thread of gRPC takes batches, this one reads answers."""

    def __init__(self, session: Session, options: argparse.Namespace) -> None:
        self.tally = Tally()
        self._session = session
        self._options = options
        self._problem_count = 0
        self._sent: list[list[int]] = []
        """The numbers of the lines of each batch that is not answered yet."""
        self._read_error: OSError | UnicodeDecodeError | None = None

    def run(self, lines: Iterable[str]) -> None:
        """Import all lines and wait for the last answer."""
        requests = self._requests(lines)
        for answer in self._session.stream(self._session.consents.ImportConsents, requests):
            self._take(self._sent.pop(0), answer)
        if self._read_error is not None:
            raise self._read_error
        if self._sent:
            raise UsageError("the stream ended early; importing the same file again is safe")
        if self._problem_count > PROBLEMS_SHOWN:
            report(f"and {count_text(self._problem_count - PROBLEMS_SHOWN, 'more problem')}")

    def _requests(self, lines: Iterable[str]) -> Iterator[api.ImportConsentsRequest]:
        """Yield batches. Runs in a thread of gRPC."""
        request, numbers = self._batch(), []
        try:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    item = json_format.Parse(line, api.ImportConsentsRequest.Item())
                except json_format.ParseError as error:
                    self.tally.unreadable += 1
                    self._complain(number, f"cannot be read: {error}")
                    continue
                self._name_channel(item)
                request.items.append(item)
                numbers.append(number)
                if len(numbers) == BATCH_ITEMS:
                    self._sent.append(numbers)
                    yield request
                    request, numbers = self._batch(), []
        except (OSError, UnicodeDecodeError) as error:
            # Raised here it would end in gRPC's log.
            self._read_error = error
            return
        if numbers:
            self._sent.append(numbers)
            yield request

    def _batch(self) -> api.ImportConsentsRequest:
        return api.ImportConsentsRequest(
            parent=self._session.parent, validate_only=self._options.validate_only
        )

    def _name_channel(self, item: api.ImportConsentsRequest.Item) -> None:
        kind = item.WhichOneof("item")
        if kind is not None:
            said = getattr(item, kind)
            said.channel = self._session.name("channels", said.channel)

    def _take(self, numbers: list[int], answer: api.ImportConsentsResponse) -> None:
        for number, result in zip(numbers, answer.results, strict=True):
            self.tally.ended += result.ended_count
            if result.status.code:
                self.tally.refused += 1
                self._complain(number, result.status.message)
            else:
                self.tally.imported += 1
                self.tally.confirmed += result.confirmed

    def _complain(self, number: int, text: str) -> None:
        self._problem_count += 1
        if self._problem_count <= PROBLEMS_SHOWN:
            report(f"line {number}: {text}")
