"""`afterword platforms audit`: every draw of a channel, drawn again, counted and written down.

Decides: what stands in the file, and when the audit fails: a draw that does not come out again.
Never: takes the daemon's word: bucket and platform are computed here from salt, unit and shares.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final, TextIO

from afterword.v1 import invitation_service_pb2
from afterword.v1 import platform_service_pb2 as api
from control.cli.output import count_text, print_table, short
from control.cli.parsers import SubParsers, add_verb
from control.cli.problems import FAILED, OK, report
from control.cli.session import Session
from control.cli.values import INSTANT_HELP, UsageError, instant
from core.engine.diversion import NOT_DRAWN, bucket_of, parse_shares, platform_of
from core.engine.draw_check import fit

_COLUMNS: Final = (
    "invitation", "plan_time", "unit", "salt", "bucket", "shares", "platform", "platform_used",
    "review_type", "state", "drawn_again", "why",
)  # fmt: skip
_RIGHT, _WRONG, _NOTHING = "same", "DIFFERS", ""


class Stretch:
    """The draws under one salt and the same shares, one of each order."""

    def __init__(self) -> None:
        self.drawn: Counter[str] = Counter()
        self._units: set[str] = set()

    def add(self, unit: str, platform: str) -> None:
        """Count a draw, if it is the unit's first."""
        if unit not in self._units:
            self._units.add(unit)
            self.drawn[platform] += 1


def add_verb_audit(verbs: SubParsers) -> None:
    """Add the verb."""
    audit = add_verb(
        verbs, "audit", run_audit,
        "draw every first review request of a channel again, and compare the counts with the shares",
        "platforms audit madrid --out draws.csv",
    )  # fmt: skip
    audit.add_argument("channel", help="id or full name")
    audit.add_argument("--start", type=instant, metavar="INSTANT", help=f"from: {INSTANT_HELP}")
    audit.add_argument("--end", type=instant, metavar="INSTANT", help="up to, not included")
    audit.add_argument("--out", metavar="FILE", help="where the draws go, as CSV")


def run_audit(session: Session, options: argparse.Namespace) -> int:
    """Write the draws, and print how they fit."""
    request = api.ExportDiversionRequest(
        parent=session.parent, channel=session.name("channels", options.channel)
    )
    if options.start is not None:
        request.start_time.CopyFrom(options.start)
    if options.end is not None:
        request.end_time.CopyFrom(options.end)
    stretches: dict[tuple[str, str], Stretch] = {}
    count = wrong = 0
    with _file(options.out) as file:
        writer = csv.writer(file, lineterminator="\n") if file is not None else None
        if writer is not None:
            writer.writerow(_COLUMNS)
        for line in session.read_stream(session.platforms.ExportDiversion, request):
            count += 1
            verdict = _again(line, request.channel, stretches)
            wrong += verdict == _WRONG
            if writer is not None:
                writer.writerow(_row(line, verdict))
    _print_fit(stretches)
    print(f"{count_text(count, 'first review request')}, {count_text(wrong, 'wrong draw')}")
    if wrong:
        report("some draws do not come out again; the file says which")
        return FAILED
    return OK


def _file(path: str | None) -> AbstractContextManager[TextIO | None]:
    if path is None:
        return nullcontext()
    try:
        return Path(path).open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"--out: cannot write {path}: {error.strerror}") from None


def _again(
    line: api.ExportDiversionResponse, channel: str, stretches: dict[tuple[str, str], Stretch]
) -> str:
    """Draw again; count the draw if it comes out the same."""
    if line.bucket == NOT_DRAWN:
        return _NOTHING
    _, account, _, channel_id = channel.split("/")
    drawn = platform_of(line.bucket, parse_shares(line.shares))
    if bucket_of(account, channel_id, line.unit, line.salt) != line.bucket:
        return _WRONG
    if line.platform not in (drawn, "own"):
        return _WRONG
    stretches.setdefault((line.salt, line.shares), Stretch()).add(line.unit, drawn)
    return _RIGHT


def _row(line: api.ExportDiversionResponse, verdict: str) -> tuple[str, ...]:
    invitation = invitation_service_pb2.Invitation
    return (
        short(line.invitation),
        line.plan_time.ToJsonString(),
        line.unit,
        line.salt,
        str(line.bucket),
        line.shares,
        line.platform,
        line.platform_used,
        invitation.ReviewType.Name(line.review_type).removeprefix("REVIEW_TYPE_"),
        invitation.State.Name(line.state).removeprefix("STATE_"),
        verdict,
        line.why,
    )


def _print_fit(stretches: dict[tuple[str, str], Stretch]) -> None:
    print_table(
        ("SALT", "PLATFORM", "SHARE", "ORDERS", "EXPECTED", "CHI-SQUARE", "P"),
        _fit_rows(stretches),
    )


def _fit_rows(stretches: dict[tuple[str, str], Stretch]) -> Iterator[tuple[str, ...]]:
    for (salt, text), stretch in stretches.items():
        shares = parse_shares(text)
        found = fit(stretch.drawn, shares)
        told = (f"{found.statistic:.2f} / {found.degrees} df", f"{found.p_value:.4f}")
        for (platform, width), expected in zip(shares, found.expected, strict=True):
            yield (
                salt[:8], platform, f"{width / 100:g}%", f"{stretch.drawn[platform]:,}",
                f"{expected:,.1f}", *told,
            )  # fmt: skip
            told = ("", "")
