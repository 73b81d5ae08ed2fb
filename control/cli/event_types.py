"""`afterword event-types`: which kinds of happening count."""

from __future__ import annotations

import argparse

from google.protobuf import field_mask_pb2

from afterword.v1 import event_service_pb2 as api
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import UsageError


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "event-types", "kinds of events, each with an on/off switch")
    add_verb(verbs, "list", run_list, "list the event types")
    create = add_verb(
        verbs, "create", run_create, "add an event type", "event-types create gift_wrapped"
    )
    create.add_argument("id", help="its id: lower-case letters, digits, hyphens, underscores")
    update = add_verb(
        verbs,
        "update",
        run_update,
        "switch an event type on or off, or rename it",
        "event-types update delivery --no-active",
    )
    update.add_argument("event_type", help="id or full name")
    for verb in (create, update):
        verb.add_argument("--display-name", metavar="TEXT", help="what people call it")
        verb.add_argument(
            "--active",
            action=argparse.BooleanOptionalAction,
            help="whether events of this type lead to anything",
        )
        add_validate_only(verb)
    delete = add_verb(verbs, "delete", run_delete, "remove an event type that no rule names")
    delete.add_argument("event_type", help="id or full name")
    add_validate_only(delete)


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the event types."""

    def page(token: str) -> api.ListEventTypesResponse:
        request = api.ListEventTypesRequest(
            parent=session.parent, page_size=PAGE_SIZE, page_token=token
        )
        return session.call(session.events.ListEventTypes, request)

    found = session.all_pages(page, api.ListEventTypesResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("ID", "NAME", "ACTIVE", "SHIPPED"),
        (
            (
                short(event_type.name),
                event_type.display_name,
                "yes" if event_type.active else "no",
                "yes" if event_type.shipped else "no",
            )
            for event_type in found.event_types
        ),
    )


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add an event type, active unless told otherwise."""
    request = api.CreateEventTypeRequest(
        parent=session.parent,
        event_type_id=options.id,
        event_type=api.EventType(
            display_name=options.display_name or "",
            active=True if options.active is None else options.active,
        ),
        validate_only=options.validate_only,
    )
    _show(session.call(session.events.CreateEventType, request), options)


def run_update(session: Session, options: argparse.Namespace) -> None:
    """Change the switch or the display name."""
    event_type = api.EventType(name=session.name("eventTypes", options.event_type))
    paths = []
    if options.active is not None:
        event_type.active = options.active
        paths.append("active")
    if options.display_name is not None:
        event_type.display_name = options.display_name
        paths.append("display_name")
    if not paths:
        raise UsageError("nothing to change: give --active, --no-active or --display-name")
    request = api.UpdateEventTypeRequest(
        event_type=event_type,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        validate_only=options.validate_only,
    )
    _show(session.call(session.events.UpdateEventType, request), options)


def run_delete(session: Session, options: argparse.Namespace) -> None:
    """Remove an event type of the account's own."""
    request = api.DeleteEventTypeRequest(
        name=session.name("eventTypes", options.event_type), validate_only=options.validate_only
    )
    answer = session.call(session.events.DeleteEventType, request)
    if options.json:
        print_json(answer)
    else:
        print(f"{'can delete' if options.validate_only else 'deleted'} {request.name}")


def _show(event_type: api.EventType, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(event_type)
    print_fields(
        (
            ("event type", event_type.name),
            ("display name", event_type.display_name),
            ("active", "yes" if event_type.active else "no"),
            ("shipped", "yes" if event_type.shipped else "no"),
            ("changed", time_text(event_type.update_time)),
        )
    )
