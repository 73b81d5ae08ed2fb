"""`afterword consents`: who may be written to, and the evidence for it."""

from __future__ import annotations

import argparse
from typing import Final

from afterword.v1 import consent_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.events import CONSENT_PURPOSES
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import (
    CONTACT_HELP,
    SubParsers,
    add_noun,
    add_validate_only,
    add_verb,
    add_word,
)
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import INSTANT_HELP, instant, word, words

MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "consents", "who may be written to, with evidence")
    grant = add_verb(
        verbs,
        "grant",
        run_grant,
        "record a consent with its evidence",
        "consents grant ann@shop.example --collection-point https://shop.example/account",
    )
    withdraw = add_verb(
        verbs,
        "withdraw",
        run_withdraw,
        "record a withdrawal and end what waits because of the consent",
        "consents withdraw ann@shop.example --purpose review",
    )
    for verb in (grant, withdraw):
        verb.add_argument("contact", help=CONTACT_HELP)
        add_word(verb, "--purpose", CONSENT_PURPOSES, "for what (review)", default="review")
        add_word(verb, "--medium", MEDIA, "over which medium (email)", default="email")
        verb.add_argument("--channel", metavar="ID", default="", help="only there (everywhere)")
        add_validate_only(verb)
    grant.add_argument(
        "--collection-point", metavar="TEXT", default="", help="where it was collected; required"
    )
    grant.add_argument("--text-version", metavar="TEXT", default="", help="which wording was shown")
    grant.add_argument(
        "--evidence-time", type=instant, metavar="INSTANT", help=f"when (now): {INSTANT_HELP}"
    )
    listing = add_verb(verbs, "list", run_list, "list the consents of a contact")
    listing.add_argument("contact", help=CONTACT_HELP)


def run_grant(session: Session, options: argparse.Namespace) -> None:
    """Record a consent."""
    request = api.GrantConsentRequest(
        parent=session.parent,
        contact=session.contact(options.contact),
        purpose=CONSENT_PURPOSES[options.purpose],
        medium=MEDIA[options.medium],
        channel=session.name("channels", options.channel),
        evidence_time=options.evidence_time,
        collection_point=options.collection_point,
        text_version=options.text_version,
        validate_only=options.validate_only,
    )
    consent = session.call(session.consents.GrantConsent, request)
    if options.json:
        print_json(consent)
    else:
        print_fields(_fields(consent))


def run_withdraw(session: Session, options: argparse.Namespace) -> None:
    """Record a withdrawal, and tell what it ended."""
    request = api.WithdrawConsentRequest(
        parent=session.parent,
        contact=session.contact(options.contact),
        purpose=CONSENT_PURPOSES[options.purpose],
        medium=MEDIA[options.medium],
        channel=session.name("channels", options.channel),
        validate_only=options.validate_only,
    )
    answer = session.call(session.consents.WithdrawConsent, request)
    if options.json:
        return print_json(answer)
    print_fields(
        (
            *_fields(answer.consent),
            ("ended", "\n".join(answer.ended_invitations)),
            ("may still arrive", "\n".join(answer.in_flight_invitations)),
        )
    )


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the consents of a contact."""

    def page(token: str) -> api.ListConsentsResponse:
        request = api.ListConsentsRequest(
            parent=session.parent,
            contact=session.contact(options.contact),
            page_size=PAGE_SIZE,
            page_token=token,
        )
        return session.call(session.consents.ListConsents, request)

    found = session.all_pages(page, api.ListConsentsResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("PURPOSE", "MEDIUM", "CHANNEL", "STATE", "SINCE", "COLLECTED AT", "ID"),
        (
            (
                word(types_pb2.Purpose, "PURPOSE_", consent.purpose),
                word(types_pb2.Medium, "MEDIUM_", consent.medium),
                short(consent.channel) or "all",
                word(api.Consent.State, "STATE_", consent.state),
                _since(consent),
                consent.collection_point,
                short(consent.name),
            )
            for consent in found.consents
        ),
    )


def _since(consent: api.Consent) -> str:
    return time_text(consent.withdraw_time) or time_text(consent.evidence_time)


def _fields(consent: api.Consent) -> tuple[tuple[str, str], ...]:
    return (
        ("consent", consent.name),
        ("purpose", word(types_pb2.Purpose, "PURPOSE_", consent.purpose)),
        ("medium", word(types_pb2.Medium, "MEDIUM_", consent.medium)),
        ("channel", consent.channel or "all"),
        ("state", word(api.Consent.State, "STATE_", consent.state)),
        ("evidence time", time_text(consent.evidence_time)),
        ("withdrawn", time_text(consent.withdraw_time)),
        ("collected at", consent.collection_point),
        ("text version", consent.text_version),
        ("recorded by", consent.actor),
    )
