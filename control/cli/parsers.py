"""How the command line is put together: nouns, verbs, and the options that every command has."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, TypeAlias

from control.cli.session import Session

SubParsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where nouns or verbs are added; in quotes because it takes no parameters at run time."""

DEFAULT_ADDRESS = "127.0.0.1:7233"
"""As `control.settings.Grpc.listen`, which takes longer to import."""

DEFAULT_ACCOUNT = "default"
ADDRESS_VARIABLE = "AFTERWORD_ADDRESS"
TOKEN_VARIABLE = "AFTERWORD_TOKEN"

Command = Callable[[Session, argparse.Namespace], int | None]
"""Does what one verb says. None means that all went well."""

CONTACT_HELP = "e-mail address, +phone number, the shop's own reference, or a contact's full name"


def add_noun(nouns: SubParsers, name: str, summary: str) -> SubParsers:
    """Add a noun and return where its verbs go."""
    noun = nouns.add_parser(name, help=summary, description=sentence(summary))
    return noun.add_subparsers(title="verbs", metavar="VERB", required=True)


def add_verb(
    verbs: SubParsers, name: str, run: Command, summary: str, example: str = "",
    aliases: tuple[str, ...] = (),
) -> argparse.ArgumentParser:  # fmt: skip
    """Add a command that talks to a daemon.

    Args:
        verbs: of its noun.
        name: the word.
        run: what it does.
        summary: for the list of verbs and the head of its help.
        example: shown at the end of its help, as typed after "afterword ".
        aliases: other words for it.
    """
    verb = verbs.add_parser(
        name,
        aliases=aliases,
        help=summary,
        description=sentence(summary),
        epilog=f"example:\n  afterword {example}" if example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(verb)
    verb.set_defaults(run=run)
    return verb


def sentence(summary: str) -> str:
    """Return a summary as a sentence."""
    return f"{summary[0].upper()}{summary[1:]}."


def add_validate_only(parser: argparse.ArgumentParser) -> None:
    """Add the switch that every write has."""
    parser.add_argument(
        "--validate-only", action="store_true", help="check everything, change nothing"
    )


def add_word(
    parser: argparse._ActionsContainer,
    flag: str,
    choices: dict[str, Any],
    help_text: str,
    **more: Any,
) -> None:
    """Add an option that takes one word of an enumeration; without it, it is None."""
    parser.add_argument(
        flag, choices=choices, metavar="WORD", help=f"{help_text}: " + ", ".join(choices), **more
    )


def add_options(parser: argparse.ArgumentParser, *, with_defaults: bool = False) -> None:
    """Add what every command takes, so that it may stand before or after the noun and verb.

    Args:
        parser: of the program or of one command.
        with_defaults: for the program alone: a command's default would undo what stood before it.
    """

    def default(value: object) -> object:
        return value if with_defaults else argparse.SUPPRESS

    group = parser.add_argument_group("connection and output")
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        default=default(os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS),
        help=f"where the daemon listens (AFTERWORD_ADDRESS, else {DEFAULT_ADDRESS})",
    )
    group.add_argument(
        "--tls-ca",
        metavar="FILE",
        default=default(""),
        help="speak TLS and trust the authorities in this PEM file",
    )
    group.add_argument(
        "--token",
        metavar="TOKEN",
        default=default(os.environ.get(TOKEN_VARIABLE) or ""),
        help="credential, if the daemon asks for one (AFTERWORD_TOKEN)",
    )
    group.add_argument(
        "--account",
        metavar="ID",
        default=default(DEFAULT_ACCOUNT),
        help=f"the account to work in ({DEFAULT_ACCOUNT})",
    )
    group.add_argument(
        "--json",
        action="store_true",
        default=default(False),
        help="print proto JSON instead of tables",
    )
