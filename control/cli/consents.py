"""`afterword consents`: who may be written to and who may not, and the evidence for it."""

from __future__ import annotations

import argparse
from typing import Final

from afterword.v1 import consent_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli import blocks, consent_import, suppressions
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
from control.cli.values import INSTANT_HELP, LENGTH_HELP, duration, instant, length, word, words

MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")
BASES: Final = words(types_pb2.LegalBasis, "LEGAL_BASIS_")
_EVIDENCE: Final = (
    ("collection-point", "where it was collected; required"),
    ("text-version", "which wording was shown"),
    ("text-sha256", "SHA-256 of the wording"),
    ("locale", "language of the wording"),
    ("ip-address", "from which address it came"),
    ("user-agent", "by which program it came"),
)


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "consents", "who may be written to and who may not, with evidence")
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
    request = add_verb(
        verbs,
        "request",
        run_request,
        "ask for a consent that the contact confirms by a link (double opt-in)",
        "consents request ann@shop.example --collection-point https://shop.example/newsletter "
        "--purpose marketing --send --sender madrid",
    )
    for verb in (grant, withdraw, request):
        verb.add_argument("contact", help=CONTACT_HELP)
        add_word(verb, "--purpose", CONSENT_PURPOSES, "for what (review)", default="review")
        add_word(verb, "--medium", MEDIA, "over which medium (email)", default="email")
        verb.add_argument("--channel", metavar="ID", default="", help="only there (everywhere)")
        add_validate_only(verb)
    for verb in (grant, request):
        for name, text in _EVIDENCE:
            verb.add_argument(f"--{name}", metavar="TEXT", default="", help=text)
    for verb in (grant, withdraw):
        verb.add_argument("--method", metavar="TEXT", default="", help="how it was said")
    _add_grant_options(grant)
    withdraw.add_argument("--reason", metavar="TEXT", default="", help="why, in words")
    withdraw.add_argument(
        "--withdraw-time", type=instant, metavar="INSTANT", help=f"when (now): {INSTANT_HELP}"
    )
    _add_request_options(request)
    confirm = add_verb(
        verbs, "confirm", run_confirm, "confirm a consent by the token of its request"
    )
    confirm.add_argument("token", help="as `request` has given it")
    add_validate_only(confirm)
    listing = add_verb(verbs, "list", run_list, "list the consents of a contact")
    listing.add_argument("contact", help=CONTACT_HELP)
    history = add_verb(verbs, "history", run_history, "list what was ever told, oldest first")
    history.add_argument("contact", help=CONTACT_HELP)
    suppressions.add_verbs(verbs)
    consent_import.add_import(verbs)
    blocks.add_parser(verbs)


def _add_grant_options(grant: argparse.ArgumentParser) -> None:
    add_word(grant, "--legal-basis", BASES, "why writing is lawful (consent)", default="consent")
    for name, text in (
        ("evidence-time", "when it was given (now)"),
        ("expire-time", "from when on it counts no more (never)"),
        ("request-time", "when it was asked for, if the shop made a double opt-in itself"),
        ("confirm-time", "when it was confirmed then"),
    ):
        grant.add_argument(
            f"--{name}", type=instant, metavar="INSTANT", help=f"{text}: {INSTANT_HELP}"
        )


def _add_request_options(request: argparse.ArgumentParser) -> None:
    request.add_argument(
        "--expire-after", type=length, metavar="TIME", help=f"1h to 30d (7d): {LENGTH_HELP}"
    )
    request.add_argument(
        "--send", action="store_true", help="send the one mail that asks to confirm, now"
    )
    request.add_argument(
        "--sender", metavar="ID", default="", help="which channel sends it (that of --channel)"
    )
    request.add_argument(
        "--request-id", metavar="UUID", default="", help="the same again sends no second mail"
    )


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
        legal_basis=BASES[options.legal_basis],
        text_sha256=options.text_sha256,
        locale=options.locale,
        ip_address=options.ip_address,
        user_agent=options.user_agent,
        method=options.method,
        expire_time=options.expire_time,
        request_time=options.request_time,
        confirm_time=options.confirm_time,
    )
    _show(session.call(session.consents.GrantConsent, request), options)


def run_withdraw(session: Session, options: argparse.Namespace) -> None:
    """Record a withdrawal, and tell what it ended."""
    request = api.WithdrawConsentRequest(
        parent=session.parent,
        contact=session.contact(options.contact),
        purpose=CONSENT_PURPOSES[options.purpose],
        medium=MEDIA[options.medium],
        channel=session.name("channels", options.channel),
        validate_only=options.validate_only,
        method=options.method,
        withdraw_time=options.withdraw_time,
        reason=options.reason,
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


def run_request(session: Session, options: argparse.Namespace) -> None:
    """Ask for a consent that is to be confirmed."""
    request = api.RequestConsentRequest(
        parent=session.parent,
        contact=session.contact(options.contact),
        purpose=CONSENT_PURPOSES[options.purpose],
        medium=MEDIA[options.medium],
        channel=session.name("channels", options.channel),
        collection_point=options.collection_point,
        text_version=options.text_version,
        text_sha256=options.text_sha256,
        locale=options.locale,
        ip_address=options.ip_address,
        user_agent=options.user_agent,
        expire_after=None if options.expire_after is None else duration(options.expire_after),
        send=options.send,
        sender_channel=session.name("channels", options.sender),
        request_id=options.request_id,
        validate_only=options.validate_only,
    )
    answer = session.call(session.consents.RequestConsent, request)
    if options.json:
        return print_json(answer)
    print_fields(
        (
            *_fields(answer.consent),
            ("token", answer.token),
            ("link", answer.link),
            ("until", time_text(answer.expire_time)),
            ("mail", answer.invitation),
        )
    )


def run_confirm(session: Session, options: argparse.Namespace) -> None:
    """Confirm a consent."""
    request = api.ConfirmConsentRequest(
        parent=session.parent, token=options.token, validate_only=options.validate_only
    )
    _show(session.call(session.consents.ConfirmConsent, request), options)


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
                _state(consent),
                _since(consent),
                consent.collection_point,
                short(consent.name),
            )
            for consent in found.consents
        ),
    )


def run_history(session: Session, options: argparse.Namespace) -> None:
    """List what was ever told about a contact's consents."""

    def page(token: str) -> api.ListConsentHistoryResponse:
        request = api.ListConsentHistoryRequest(
            parent=session.parent,
            contact=session.contact(options.contact),
            page_size=PAGE_SIZE,
            page_token=token,
        )
        return session.call(session.consents.ListConsentHistory, request)

    found = session.all_pages(page, api.ListConsentHistoryResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("NO.", "SAID", "PURPOSE", "MEDIUM", "WHERE", "WHEN", "BY", "HOW"),
        (
            (
                str(line.number),
                word(api.Suppression.Kind, "KIND_", line.suppression)
                or word(api.ConsentLine.Kind, "KIND_", line.kind),
                word(types_pb2.Purpose, "PURPOSE_", line.purpose) or "all",
                word(types_pb2.Medium, "MEDIUM_", line.medium) or "all",
                short(line.channel) or (f"order {line.order}" if line.order else "all"),
                time_text(line.evidence_time),
                line.proof.actor,
                line.proof.method or line.proof.source,
            )
            for line in found.lines
        ),
    )


def _show(consent: api.Consent, options: argparse.Namespace) -> None:
    if options.json:
        print_json(consent)
    else:
        print_fields(_fields(consent))


def _since(consent: api.Consent) -> str:
    return time_text(consent.withdraw_time) or time_text(consent.evidence_time)


def _state(consent: api.Consent) -> str:
    state = word(api.Consent.State, "STATE_", consent.state)
    return f"{state}, with proof" if consent.confirmed else state


def _fields(consent: api.Consent) -> tuple[tuple[str, str], ...]:
    proof = consent.proof
    return (
        ("consent", consent.name),
        ("purpose", word(types_pb2.Purpose, "PURPOSE_", consent.purpose)),
        ("medium", word(types_pb2.Medium, "MEDIUM_", consent.medium)),
        ("channel", consent.channel or "all"),
        ("state", _state(consent)),
        ("evidence time", time_text(consent.evidence_time)),
        ("expires", time_text(consent.expire_time)),
        ("withdrawn", time_text(consent.withdraw_time)),
        ("withdrawn by", consent.withdrawal.method or consent.withdrawal.source),
        ("legal basis", word(types_pb2.LegalBasis, "LEGAL_BASIS_", proof.legal_basis)),
        ("collected at", consent.collection_point),
        ("text version", consent.text_version),
        ("asked for", time_text(proof.request_time)),
        ("confirmed", time_text(proof.confirm_time)),
        ("recorded by", consent.actor),
    )
