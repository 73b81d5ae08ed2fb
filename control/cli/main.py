"""The console script `afterword`: one parser, one command, one exit code.

Never: domain logic. Commands other than `serve`, `demo` and `simulate` are thin clients of the API.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import grpc

from control.cli import (
    accounts,
    apply,
    audit,
    automations,
    caps,
    carriers,
    channels,
    consents,
    contacts,
    demo,
    event_types,
    events,
    explain,
    invitations,
    platforms,
    reviews,
    rules,
    senders,
    serve,
    simulate,
    templates,
)
from control.cli.parsers import add_options
from control.cli.problems import FAILED, OK, USAGE, explain_error, report
from control.cli.session import Session
from control.cli.values import UsageError

_DESCRIPTION = """\
Sends the right word after the sale: rule-driven invitations, due later, sent once, never too often.

`serve` is the daemon, `demo` shows it at work, `simulate` tries a configuration out without one;
everything else talks to a running daemon.
Ids may be short ("madrid") or full ("accounts/default/channels/madrid").
"""

_EPILOG = """\
exit codes: 0 done, 1 refused or not reachable, 2 wrong command line
"""

_INTERRUPTED = 130
"""What shells expect after Ctrl-C: 128 + SIGINT."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="afterword",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, with_defaults=True)
    nouns = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (
        serve, demo, channels, rules, automations, templates, caps, event_types, carriers, platforms,
        senders, accounts, events, consents, contacts, invitations, reviews, explain, audit,
        simulate, apply,
    ):  # fmt: skip
        command.add_parser(nouns)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        if run_here := getattr(options, "run_here", None):
            code: int = run_here(options)
            return code
        with Session(options) as session:
            return options.run(session, options) or OK
    except UsageError as error:
        report(str(error))
        return USAGE
    except grpc.RpcError as error:
        report(explain_error(error, options.address))
        return FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


if __name__ == "__main__":
    sys.exit(main())
