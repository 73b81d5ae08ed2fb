"""`afterword simulate`: what would go out, when and why not, before anything does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from control.cli.output import count_text
from control.cli.parsers import DEFAULT_ACCOUNT, SubParsers
from control.cli.problems import FAILED, OK, report
from control.cli.values import INSTANT_HELP, UsageError, instant
from core.errors import AfterwordError

if TYPE_CHECKING:
    from control.simulation.simulator import Result

PROBLEMS_SHOWN: Final = 20
"""Beyond this, problems are only counted: one cause usually repeats."""

_DESCRIPTION = """\
Play events through a configuration on a clock of their own, with the daemon's own planner, gate and
settlement on a store in memory. Nothing is sent, no daemon is needed, nothing is kept.

--config is YAML, as `afterword apply` takes it; --events is proto JSON, one event a line. --out gets one
JSON line for each invitation that has ended, by settle time; with --until also for those that wait then.
The same input gives the same file, byte by byte. A summary goes to standard error.

Exit code 1 if an event could not be read or was refused, or the configuration is wrong.
"""

_EPILOG = """\
example:
  afterword simulate --config docs/examples/shop.yaml --events docs/examples/events.jsonl \\
    --out outcomes.jsonl
"""


def add_parser(nouns: SubParsers) -> None:
    """Add the command."""
    parser = nouns.add_parser(
        "simulate",
        help="play events through a configuration, without a daemon",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML")
    parser.add_argument("--events", required=True, metavar="FILE", help="'-': standard input")
    parser.add_argument("--out", default="-", metavar="FILE", help="'-': standard output (default)")
    parser.add_argument(
        "--until",
        type=instant,
        metavar="TIME",
        help=f"where to stop (when nothing waits any more): {INSTANT_HELP}",
    )
    parser.add_argument(
        "--account",
        default=argparse.SUPPRESS,
        metavar="ID",
        help=f"the account, if the file names none ({DEFAULT_ACCOUNT})",
    )
    parser.set_defaults(run_here=run)


def run(options: argparse.Namespace) -> int:
    """Simulate and write the outcomes."""
    from control.simulation import event_file, outcomes
    from control.simulation.config import ConfigFile
    from control.simulation.running import run_alone
    from core.clock import monotonic_ns

    began_ns = monotonic_ns()
    try:
        config = ConfigFile.read(
            options.config, _bytes(options.config, "--config"), options.account
        )
    except AfterwordError as error:
        report(error.message)
        return FAILED
    with _lines(options.events) as lines:
        events = event_file.read(lines, config.account)
    try:
        until_ms = options.until.ToMilliseconds() if options.until is not None else None
        result = run_alone(config.configuration, events.events, until_ms)
    except AfterwordError as error:
        report(config.blame(error).message)
        return FAILED
    _write(options.out, b"".join(outcomes.json_line(line) for line in result.lines))
    problems = sorted([
        *((problem.number, problem.text) for problem in events.problems),
        *(
            (events.numbers[refusal.index], refusal.error.message)
            for refusal in result.refusals
        ),
    ])  # fmt: skip
    _summarize(result, len(events.problems), (monotonic_ns() - began_ns) / 1e9)
    for number, text in problems[:PROBLEMS_SHOWN]:
        report(f"{options.events}:{number}: {text}")
    if len(problems) > PROBLEMS_SHOWN:
        report(f"and {count_text(len(problems) - PROBLEMS_SHOWN, 'more problem')}")
    return FAILED if problems else OK


def _bytes(path: str, option: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{option}: {error}") from None


def _lines(path: str) -> AbstractContextManager[Iterable[bytes]]:
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise UsageError(f"--events: {error}") from None


def _write(path: str, text: bytes) -> None:
    if path == "-":
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return
    try:
        Path(path).write_bytes(text)
    except OSError as error:
        raise UsageError(f"--out: {error}") from None


def _summarize(result: Result, unreadable_count: int, seconds: float) -> None:
    """Tell what it came to, on standard error."""
    from control.simulation.outcomes import counted, time_text

    rows = [(word.lower(), count, "event") for word, count in result.dispositions.items()]
    rows += [
        ("refused", len(result.refusals), "event"),
        ("unreadable", unreadable_count, "event"),
        ("after --until", result.late_event_count, "event"),
    ]
    rows += [
        (f"{state.lower()}{f': {reason}' if reason else ''}", count, "invitation")
        for (state, reason), count in counted(result.lines).items()
    ]
    print(f"{count_text(result.event_count + unreadable_count, 'event')}", file=sys.stderr)
    kind = "event"
    for word, count, noun in rows:
        if noun != kind:
            kind = noun
            print(count_text(len(result.lines), "invitation"), file=sys.stderr)
        if count:
            print(f"  {word:<28}{count:>10,}", file=sys.stderr)
    print(f"clock stopped at {time_text(result.end_ms)}; took {seconds:.2f} s", file=sys.stderr)
