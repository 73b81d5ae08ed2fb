"""`afterword contacts`: what is known of a person: to tell them, and to forget it."""

from __future__ import annotations

import argparse

from afterword.v1 import consent_service_pb2, types_pb2
from afterword.v1 import contact_service_pb2 as api
from control.cli.output import print_fields, print_json, short, time_text
from control.cli.parsers import CONTACT_HELP, SubParsers, add_noun, add_validate_only, add_verb
from control.cli.session import Session
from control.cli.values import word


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "contacts", "what is known of a person")
    show = add_verb(
        verbs, "show", run_show, "show how much is known", "contacts show ann@shop.example"
    )
    export = add_verb(
        verbs,
        "export",
        run_export,
        "print everything that is known, as JSON (GDPR, article 15)",
        "contacts export ann@shop.example > ann.json",
    )
    erase = add_verb(
        verbs,
        "erase",
        run_erase,
        "forget a person, for good (GDPR, article 17)",
        "contacts erase ann@shop.example",
    )
    for verb in (show, export, erase):
        verb.add_argument("contact", help=CONTACT_HELP)
    add_validate_only(erase)


def run_show(session: Session, options: argparse.Namespace) -> None:
    """Show how much is known of a contact."""
    request = api.GetContactRequest(parent=session.parent, contact=session.contact(options.contact))
    found = session.call(session.contacts.GetContact, request)
    if options.json:
        return print_json(found)
    print_fields(
        (
            ("contact", found.name),
            ("also known as", "\n".join(found.linked_contacts)),
            ("waiting", str(found.scheduled_count)),
            ("on their way", str(found.in_flight_count)),
            ("ended", str(found.ended_count)),
            ("events", str(found.event_count)),
            ("consents", str(found.consent_count)),
            ("timers", str(found.timer_count)),
            ("purchases", str(found.purchase_count)),
            ("suppressed", "\n".join(_suppression(one) for one in found.suppressions)),
            ("erased", time_text(found.erase_time)),
        )
    )


def run_export(session: Session, options: argparse.Namespace) -> None:
    """Print everything that is known of a contact."""

    def page(token: str) -> api.ContactExport:
        request = api.ExportContactRequest(
            parent=session.parent, contact=session.contact(options.contact), page_token=token
        )
        return session.call(session.contacts.ExportContact, request)

    # There is no table of it: whoever asked is to have it whole.
    print_json(session.all_pages(page, api.ContactExport()))


def run_erase(session: Session, options: argparse.Namespace) -> None:
    """Forget a contact, and tell what may still arrive."""
    request = api.EraseContactRequest(
        parent=session.parent,
        contact=session.contact(options.contact),
        validate_only=options.validate_only,
    )
    done = session.call(session.contacts.EraseContact, request)
    if options.json:
        return print_json(done)
    print_fields(
        (
            ("contact", done.name),
            ("erased", time_text(done.erase_time)),
            ("cancelled", str(done.cancelled_count)),
            ("events forgotten", str(done.event_count)),
            ("orders", str(done.order_count)),
            ("other keys", str(done.linked_count)),
            ("may still arrive", "\n".join(done.in_flight_invitations)),
            ("shared, kept", "\n".join(done.shared_contacts)),
        )
    )


def _suppression(one: consent_service_pb2.Suppression) -> str:
    kind = word(consent_service_pb2.Suppression.Kind, "KIND_", one.kind)
    purpose = word(types_pb2.Purpose, "PURPOSE_", one.purpose) if one.purpose else "all purposes"
    medium = word(types_pb2.Medium, "MEDIUM_", one.medium) if one.medium else "all media"
    where = short(one.channel) or "all channels"
    return f"{kind}: {purpose}, {medium}, {where}, since {time_text(one.suppress_time)}"
