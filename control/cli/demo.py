"""`afterword demo`: a real shop's eighteen months, replayed in seconds."""

from __future__ import annotations

import argparse
from pathlib import Path

from control.cli.parsers import SubParsers
from control.cli.problems import FAILED, report
from core.errors import AfterwordError

_DESCRIPTION = """\
Replay 6,919 real purchases of a CD shop (January 1997 to June 1998) through a daemon that starts for
the purpose: events go in over gRPC, a virtual clock runs from day to day, and every mail, SMS and
WhatsApp message is delivered, over SMTP and HTTP, to small servers of its own. At the end the books must
balance. Nothing is kept.

Exit code 1 if anything is left over, lost or sent twice.
"""


def add_parser(nouns: SubParsers) -> None:
    """Add the command."""
    demo = nouns.add_parser(
        "demo",
        help="replay a real shop's eighteen months in seconds",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument("--json", type=Path, metavar="PATH", help="also write the figures here")
    demo.add_argument(
        "--html", type=Path, metavar="PATH", help="also write the HTML part of one mail here"
    )
    demo.add_argument(
        "--orders", type=_order_count, metavar="N", help="only the first N lines of the sample"
    )
    demo.add_argument("--quiet", action="store_true", help="no progress, only the result")
    demo.set_defaults(run_here=run)


def _order_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of orders, 1 or more")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Run the demo."""
    from control.demo.run import run_demo

    for flag, path in (("--json", options.json), ("--html", options.html)):
        if path is not None and not path.parent.is_dir():
            report(f"{flag} {path}: there is no folder {path.parent}")
            return FAILED
    try:
        return run_demo(
            orders=options.orders,
            json_path=options.json,
            html_path=options.html,
            quiet=options.quiet,
        )
    except AfterwordError as error:
        report(str(error))
        return FAILED
