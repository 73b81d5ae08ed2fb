"""`afterword consents suppress`, `lift`, `suppressions` and `receive`: who is not written to."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Final

from afterword.v1 import consent_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import CONTACT_HELP, SubParsers, add_validate_only, add_verb, add_word
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import word, words

MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")
ALL_MEDIA: Final = {"all": types_pb2.MEDIUM_UNSPECIFIED, **MEDIA}
PURPOSES: Final = {
    "all": types_pb2.PURPOSE_UNSPECIFIED,
    **{
        text: number
        for text, number in words(types_pb2.Purpose, "PURPOSE_").items()
        if text != "data-forwarding"
    },
}
KINDS: Final = {
    text: number
    for text, number in words(api.Suppression.Kind, "KIND_").items()
    if text != "erased"
}
PHONE_MEDIA: Final = {text: MEDIA[text] for text in ("sms", "whatsapp")}


def add_verbs(verbs: SubParsers) -> None:
    """Add the verbs."""
    suppress = add_verb(
        verbs,
        "suppress",
        run_suppress,
        "send a contact nothing any more, and end what waits",
        'consents suppress ann@shop.example --medium email --reason "asked by letter"',
    )
    lift = add_verb(
        verbs,
        "lift",
        run_lift,
        "lift the suppressions of exactly this purpose, medium and channel",
        'consents lift ann@shop.example --reason "mailbox works again"',
    )
    for verb in (suppress, lift):
        verb.add_argument("contact", help=CONTACT_HELP)
        add_word(verb, "--purpose", PURPOSES, "for what (all)", default="all")
        add_word(verb, "--medium", ALL_MEDIA, "over which medium (all)", default="all")
        verb.add_argument("--channel", metavar="ID", default="", help="only there (everywhere)")
        verb.add_argument("--reason", metavar="TEXT", default="", help="why, in words")
        add_validate_only(verb)
    add_word(suppress, "--kind", KINDS, "why (blocked)", default="blocked")
    listing = add_verb(verbs, "suppressions", run_list, "list why a contact is not written to")
    listing.add_argument("contact", help=CONTACT_HELP)
    receive = add_verb(
        verbs,
        "receive",
        run_receive,
        "take a message from a phone: a stop word unsubscribes it",
        "consents receive +4930123456 STOP",
    )
    receive.add_argument("phone", help="who wrote, as +4930123456")
    receive.add_argument("text", help="what they wrote")
    add_word(receive, "--medium", PHONE_MEDIA, "by what it came (sms)", default="sms")
    receive.add_argument("--channel", metavar="ID", default="", help="whose number it was sent to")
    add_validate_only(receive)


def run_suppress(session: Session, options: argparse.Namespace) -> None:
    """Suppress a contact, and tell what it ended."""
    request = api.SuppressContactRequest(
        parent=session.parent,
        contact=session.contact(options.contact),
        purpose=PURPOSES[options.purpose],
        medium=ALL_MEDIA[options.medium],
        channel=session.name("channels", options.channel),
        kind=KINDS[options.kind],
        reason=options.reason,
        validate_only=options.validate_only,
    )
    answer = session.call(session.consents.SuppressContact, request)
    if options.json:
        return print_json(answer)
    made = answer.suppression
    print_fields(
        (
            ("contact", made.contact),
            ("kind", word(api.Suppression.Kind, "KIND_", made.kind)),
            ("purpose", word(types_pb2.Purpose, "PURPOSE_", made.purpose) or "all"),
            ("medium", word(types_pb2.Medium, "MEDIUM_", made.medium) or "all"),
            ("channel", made.channel or "all"),
            ("since", time_text(made.suppress_time)),
            ("ended", "\n".join(answer.ended_invitations)),
            ("may still arrive", "\n".join(answer.in_flight_invitations)),
        )
    )


def run_lift(session: Session, options: argparse.Namespace) -> None:
    """Lift suppressions, and tell which."""
    request = api.LiftSuppressionRequest(
        parent=session.parent,
        contact=session.contact(options.contact),
        purpose=PURPOSES[options.purpose],
        medium=ALL_MEDIA[options.medium],
        channel=session.name("channels", options.channel),
        reason=options.reason,
        validate_only=options.validate_only,
    )
    answer = session.call(session.consents.LiftSuppression, request)
    if options.json:
        return print_json(answer)
    if not answer.lifted:
        return print("nothing to lift")
    _table(answer.lifted)


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the suppressions of a contact."""

    def page(token: str) -> api.ListSuppressionsResponse:
        request = api.ListSuppressionsRequest(
            parent=session.parent,
            contact=session.contact(options.contact),
            page_size=PAGE_SIZE,
            page_token=token,
        )
        return session.call(session.consents.ListSuppressions, request)

    found = session.all_pages(page, api.ListSuppressionsResponse())
    if options.json:
        return print_json(found)
    _table(found.suppressions)


def run_receive(session: Session, options: argparse.Namespace) -> None:
    """Take a message from a phone."""
    request = api.ReceiveMessageRequest(
        parent=session.parent,
        phone=options.phone,
        text=options.text,
        medium=PHONE_MEDIA[options.medium],
        channel=session.name("channels", options.channel),
        validate_only=options.validate_only,
    )
    answer = session.call(session.consents.ReceiveMessage, request)
    if options.json:
        return print_json(answer)
    print_fields(
        (
            ("done", word(api.ReceiveMessageResponse.Action, "ACTION_", answer.action)),
            ("contacts", "\n".join(answer.contacts)),
            ("ended", "\n".join(answer.ended_invitations)),
            ("may still arrive", "\n".join(answer.in_flight_invitations)),
            ("may confirm", "once" if answer.may_confirm else ""),
        )
    )


def _table(found: Iterable[api.Suppression]) -> None:
    print_table(
        ("KIND", "PURPOSE", "MEDIUM", "CHANNEL", "SINCE", "BY", "REASON"),
        (
            (
                word(api.Suppression.Kind, "KIND_", one.kind),
                word(types_pb2.Purpose, "PURPOSE_", one.purpose) or "all",
                word(types_pb2.Medium, "MEDIUM_", one.medium) or "all",
                short(one.channel) or "all",
                time_text(one.suppress_time),
                one.proof.actor,
                one.proof.reason,
            )
            for one in found
        ),
    )
