"""`afterword carriers`: whom to write to about a shipment that is late."""

from __future__ import annotations

import argparse
from typing import Final

from google.protobuf import field_mask_pb2

from afterword.v1 import channel_service_pb2 as api
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import UsageError

_FIELDS: Final = ("display_name", "email", "phone", "locale")


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "carriers", "the directory of carriers that shipments name")
    create = add_verb(
        verbs, "create", run_create, "add a carrier",
        "carriers create dhl --email claims@carrier.example",
    )  # fmt: skip
    create.add_argument("id", help="what shipments call it, in lower case")
    _add_fields(create)
    for name, run, summary in (
        ("get", run_get, "show one carrier"),
        ("update", run_update, "change what is given, leave the rest"),
        ("delete", run_delete, "delete a carrier; what is due to it later is not sent"),
    ):
        verb = add_verb(verbs, name, run, summary)
        verb.add_argument("carrier", help="id or full name")
        if name == "update":
            _add_fields(verb)
        elif name == "delete":
            add_validate_only(verb)
    add_verb(verbs, "list", run_list, "list the carriers")


def _add_fields(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--display-name", metavar="TEXT", help="what people call it")
    parser.add_argument("--email", metavar="ADDRESS", help="where it is written to by e-mail")
    parser.add_argument("--phone", metavar="NUMBER", help="phone number, such as +34910000000")
    parser.add_argument("--locale", metavar="LOCALE", help="language (that of the channel)")
    add_validate_only(parser)


def _read(options: argparse.Namespace) -> tuple[api.Carrier, list[str]]:
    """Return the carrier as far as it is given, and which fields that is."""
    given = {field: getattr(options, field) for field in _FIELDS}
    told = {field: value for field, value in given.items() if value is not None}
    return api.Carrier(**told), list(told)


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a carrier."""
    carrier, _ = _read(options)
    request = api.CreateCarrierRequest(
        parent=session.parent,
        carrier_id=options.id,
        carrier=carrier,
        validate_only=options.validate_only,
    )
    _show(session.call(session.channels.CreateCarrier, request), options)


def run_get(session: Session, options: argparse.Namespace) -> None:
    """Show one carrier."""
    request = api.GetCarrierRequest(name=session.name("carriers", options.carrier))
    _show(session.call(session.channels.GetCarrier, request), options)


def run_update(session: Session, options: argparse.Namespace) -> None:
    """Change the fields that are given."""
    carrier, paths = _read(options)
    if not paths:
        raise UsageError("nothing to change: give at least one option, see -h")
    carrier.name = session.name("carriers", options.carrier)
    request = api.UpdateCarrierRequest(
        carrier=carrier,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        validate_only=options.validate_only,
    )
    _show(session.call(session.channels.UpdateCarrier, request), options)


def run_delete(session: Session, options: argparse.Namespace) -> None:
    """Delete a carrier."""
    request = api.DeleteCarrierRequest(
        name=session.name("carriers", options.carrier), validate_only=options.validate_only
    )
    answer = session.call(session.channels.DeleteCarrier, request)
    if options.json:
        print_json(answer)
    else:
        print(f"{'can delete' if options.validate_only else 'deleted'} {request.name}")


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the carriers."""

    def page(token: str) -> api.ListCarriersResponse:
        request = api.ListCarriersRequest(
            parent=session.parent, page_size=PAGE_SIZE, page_token=token
        )
        return session.call(session.channels.ListCarriers, request)

    found = session.all_pages(page, api.ListCarriersResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("ID", "NAME", "EMAIL", "PHONE", "LOCALE"),
        (
            (
                short(carrier.name),
                carrier.display_name,
                carrier.email,
                carrier.phone,
                carrier.locale,
            )
            for carrier in found.carriers
        ),
    )


def _show(carrier: api.Carrier, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(carrier)
    print_fields(
        (
            ("carrier", carrier.name),
            ("display name", carrier.display_name),
            ("email", carrier.email),
            ("phone", carrier.phone),
            ("locale", carrier.locale),
            ("changed", time_text(carrier.update_time)),
        )
    )
