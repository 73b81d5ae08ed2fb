"""`afterword account`: what the account has booked."""

from __future__ import annotations

import argparse
from typing import Final

from google.protobuf import field_mask_pb2

from afterword.v1 import channel_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.output import print_fields, print_json
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb
from control.cli.session import Session
from control.cli.values import UsageError, names_or_none, word, words, words_help

ENTITLEMENTS: Final = words(types_pb2.Entitlement, "ENTITLEMENT_")


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "account", "what the account has booked")
    add_verb(verbs, "show", run_show, "show the account", aliases=("get",))
    change = add_verb(
        verbs, "set", run_set, "say what the account has booked",
        "account set --entitlement notifications --entitlement automations",
    )  # fmt: skip
    change.add_argument(
        "--entitlement",
        action="append",
        metavar="WORD",
        help=f"all that is booked, may be repeated, or none: {words_help(ENTITLEMENTS)}",
    )
    add_validate_only(change)


def run_show(session: Session, options: argparse.Namespace) -> None:
    """Show the account."""
    request = api.GetAccountRequest(name=session.parent)
    _show(session.call(session.channels.GetAccount, request), options)


def run_set(session: Session, options: argparse.Namespace) -> None:
    """Change what is booked."""
    if options.entitlement is None:
        raise UsageError("nothing to change: give --entitlement, or --entitlement none")
    account = api.Account(name=session.parent)
    for text in names_or_none("--entitlement", options.entitlement):
        if text not in ENTITLEMENTS:
            raise UsageError(f"--entitlement: '{text}' is none of {words_help(ENTITLEMENTS)}, none")
        account.entitlements.append(ENTITLEMENTS[text])
    request = api.UpdateAccountRequest(
        account=account,
        update_mask=field_mask_pb2.FieldMask(paths=["entitlements"]),
        validate_only=options.validate_only,
    )
    _show(session.call(session.channels.UpdateAccount, request), options)


def _show(account: api.Account, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(account)
    booked = ", ".join(
        word(types_pb2.Entitlement, "ENTITLEMENT_", each) for each in account.entitlements
    )
    print_fields((("account", account.name), ("entitlements", booked or "none")))
