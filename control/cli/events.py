"""`afterword events`: tell the daemon what happened."""

from __future__ import annotations

import argparse
from typing import Final

from afterword.v1 import event_pb2, types_pb2
from afterword.v1 import event_service_pb2 as api
from control.cli.event_import import import_file
from control.cli.event_stream import publish_file
from control.cli.output import print_fields, print_json
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb, add_word
from control.cli.problems import FAILED, OK
from control.cli.session import Session
from control.cli.values import INSTANT_HELP, UsageError, date, instant, money, word, words

CONSENT_PURPOSES: Final = {
    text: number
    for text, number in words(types_pb2.Purpose, "PURPOSE_").items()
    if text in ("review", "marketing", "data-forwarding")
}
REVIEW_KINDS: Final = {
    "any": event_pb2.Review.KIND_UNSPECIFIED,
    **words(event_pb2.Review.Kind, "KIND_"),
}

_EXAMPLE: Final = """events publish checkout --channel madrid --email ann@shop.example \\
    --order 4711 --total "49.90 EUR" --consent review
  afterword events publish --file events.jsonl"""


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "events", "tell what happened: orders, deliveries, reviews")
    publish = add_verb(
        verbs, "publish", run_publish, "publish one event, or a file with one JSON event a line",
        _EXAMPLE,
    )  # fmt: skip
    publish.add_argument("type", nargs="?", help="event type, such as checkout")
    publish.add_argument(
        "--file", metavar="PATH", help="proto JSON, one event a line; '-' for standard input"
    )
    _add_event_options(publish)
    add_contact_options(publish)
    add_validate_only(publish)
    past = add_verb(
        verbs, "import", import_file, "take what happened before; nothing is sent because of it",
        "events import orders-of-last-year.jsonl",
    )  # fmt: skip
    past.add_argument("file", help="proto JSON, one event a line; '-' for standard input")
    add_validate_only(past)


def _add_event_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("event")
    group.add_argument("--channel", metavar="ID", help="id or full name")
    group.add_argument(
        "--id", metavar="ID", help="the shop's id of the event; makes repeating safe"
    )
    group.add_argument("--source", metavar="NAME", help="the system that issued the id")
    group.add_argument(
        "--occurred",
        type=instant,
        metavar="INSTANT",
        help=f"when it happened (now): {INSTANT_HELP}",
    )
    group.add_argument("--order", metavar="REFERENCE", help="the order number")
    group.add_argument("--status", metavar="TEXT", help="the shop's name of the order's state")
    group.add_argument("--total", type=money, metavar="AMOUNT", help="order total, '49.90 EUR'")
    group.add_argument("--cart", metavar="ID", help="the shop's id of the cart")
    group.add_argument("--carrier", metavar="ID", help="who brings the parcel, as in the directory")
    add_word(group, "--consent", CONSENT_PURPOSES, "box ticked, may be repeated", action="append")
    add_word(
        group, "--refuse", CONSENT_PURPOSES, "box not ticked, may be repeated", action="append"
    )
    group.add_argument("--collection-point", metavar="URL", help="where consent was collected")
    add_word(group, "--review", REVIEW_KINDS, "kind of review, for review_submitted")
    group.add_argument("--activation-date", type=date, metavar="DATE", help="waits count from here")
    group.add_argument(
        "--send-at", type=instant, metavar="INSTANT", help="instead of the rule's wait"
    )
    group.add_argument(
        "--attribute", action="append", metavar="NAME=VALUE", help="anything else, may be repeated"
    )


def add_contact_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say whom it concerns."""
    group = parser.add_argument_group("contact")
    group.add_argument("--email", metavar="ADDRESS", help="e-mail address")
    group.add_argument("--phone", metavar="NUMBER", help="phone number, such as +34910000000")
    group.add_argument("--reference", metavar="ID", help="the shop's own customer id")
    group.add_argument(
        "--session", metavar="ID", help="a visit of the shop, if nobody is known yet"
    )
    group.add_argument("--first-name", metavar="TEXT", help="first name")
    group.add_argument("--last-name", metavar="TEXT", help="last name")
    group.add_argument("--locale", metavar="LOCALE", help="language, such as pl_PL")
    group.add_argument("--time-zone", metavar="ZONE", help="IANA time zone, such as Europe/Warsaw")
    group.add_argument("--country", metavar="CC", help="country, such as PL")


def run_publish(session: Session, options: argparse.Namespace) -> int:
    """Publish one event or a file of them."""
    if options.file is not None:
        if options.type is not None:
            raise UsageError("give an event type or --file, not both")
        if options.validate_only:
            raise UsageError("--validate-only works for one event, not with --file")
        return publish_file(session, options)
    if options.type is None:
        raise UsageError("which event? Give its type, such as checkout, or --file")
    request = api.PublishRequest(
        event=read_event(session, options), validate_only=options.validate_only
    )
    answer = session.call(session.events.Publish, request)
    if options.json:
        print_json(answer)
        return OK
    result = answer.result
    disposition = word(api.EventResult.Disposition, "DISPOSITION_", result.disposition)
    print_fields(
        (
            ("event", f"{disposition}{' (checked only)' if options.validate_only else ''}"),
            ("invitations", "\n".join(result.invitations)),
            ("stopped", str(result.stopped_count or "")),
            ("contact", result.contact),
            ("durable", word(types_pb2.Durability, "DURABILITY_", answer.durability)),
        )
    )
    return OK if result.disposition else FAILED


def read_contact(event: event_pb2.Event, options: argparse.Namespace) -> None:
    """Put the contact that the options describe into an event."""
    contact = {
        field: getattr(options, field)
        for field in ("email", "phone", "reference", "first_name", "last_name", "locale",
                      "time_zone", "country")
        if getattr(options, field)
    }  # fmt: skip
    if options.session:
        contact["session_id"] = options.session
    if contact:
        event.contact.CopyFrom(event_pb2.Contact(**contact))


def read_event(session: Session, options: argparse.Namespace) -> event_pb2.Event:
    """Return the event that the options describe."""
    event = event_pb2.Event(
        id=options.id or "",
        source=options.source or "",
        type=options.type,
        channel=session.name("channels", options.channel or ""),
        occur_time=options.occurred or instant("now"),
        activation_date=options.activation_date,
        requested_send_time=options.send_at,
    )
    read_contact(event, options)
    if options.order or options.status or options.total:
        order = event_pb2.Order(
            reference=options.order or "", status=options.status or "", total=options.total
        )
        event.order.CopyFrom(order)
    if options.cart:
        event.cart.id = options.cart
    if options.carrier:
        event.shipment.carrier = options.carrier
    if options.review:
        event.review.kind = REVIEW_KINDS[options.review]
    for purposes, given in ((options.consent, True), (options.refuse, False)):
        for purpose in purposes or ():
            event.consents.add(
                purpose=CONSENT_PURPOSES[purpose],
                medium=types_pb2.MEDIUM_EMAIL,
                given=given,
                collection_point=options.collection_point or "",
            )
    for attribute in options.attribute or ():
        name, equals, value = attribute.partition("=")
        if not equals or not name:
            raise UsageError(f"--attribute: '{attribute}' is not NAME=VALUE")
        event.attributes[name] = value
    return event
