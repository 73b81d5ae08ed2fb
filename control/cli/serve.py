"""`afterword serve`: the daemon itself, in the foreground."""

from __future__ import annotations

import argparse
import os

from control.cli.parsers import ADDRESS_VARIABLE, TOKEN_VARIABLE, SubParsers
from control.cli.values import UsageError
from control.settings import add_arguments, from_arguments
from core.errors import InvalidField

_DESCRIPTION = """\
Run the daemon in the foreground until it is interrupted.

Without options it listens on this machine only, keeps its state in ./afterword-data with a server of
its own, and writes mail as .eml files to the folder outbox in there. Every option can also be set in
the environment (--mail-host as AFTERWORD_MAIL_HOST) or in a TOML file (host in the table [mail]).
"""


def add_parser(nouns: SubParsers) -> None:
    """Add the command."""
    serve = nouns.add_parser(
        "serve",
        help="run the daemon in the foreground",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(serve)
    serve.set_defaults(run_here=run)


def run(options: argparse.Namespace) -> int:
    """Run the daemon until it is told to stop."""
    # These two are for clients; the daemon refuses what it does not know.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in (ADDRESS_VARIABLE, TOKEN_VARIABLE)
    }
    try:
        settings = from_arguments(options, environment)
    except InvalidField as error:
        raise UsageError(str(error)) from None
    from control.serve import run as serve

    return serve(settings)
