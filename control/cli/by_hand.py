"""`afterword invitations create`: a message without a rule."""

from __future__ import annotations

import argparse
import uuid
from typing import Final

from afterword.v1 import invitation_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.events import CONSENT_PURPOSES, add_contact_options, read_contact
from control.cli.parsers import Command, SubParsers, add_validate_only, add_verb, add_word
from control.cli.session import Session
from control.cli.values import INSTANT_HELP, instant, words

REVIEWS: Final = {
    text: number
    for text, number in words(api.Invitation.ReviewType, "REVIEW_TYPE_").items()
    if text in ("service", "product")
}
PURPOSES: Final = {
    text: number
    for text, number in words(types_pb2.Purpose, "PURPOSE_").items()
    if text in ("marketing", "transactional", "operational")
}
MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")

_EXAMPLE: Final = """invitations create --channel madrid --review service --order 4711 \\
    --email ann@shop.example --consent review
  afterword invitations create --channel madrid --purpose transactional --order 4711 \\
    --email ann@shop.example --subject "About {{order}}" --body "It is on its way." """


def add_create(verbs: SubParsers, run: Command) -> None:
    """Add the verb."""
    create = add_verb(verbs, "create", run, "add a message by hand, without a rule", _EXAMPLE)
    create.add_argument("--channel", metavar="ID", required=True, help="id or full name")
    kind = create.add_mutually_exclusive_group(required=True)
    add_word(kind, "--review", REVIEWS, "ask for a review of it")
    add_word(kind, "--purpose", PURPOSES, "why it is sent, if it asks for no review")
    add_word(create, "--medium", MEDIA, "over which medium (email)")
    create.add_argument("--subject", metavar="TEXT", help="subject line; reviews have one")
    create.add_argument("--body", metavar="TEXT", help="the text; reviews have one")
    create.add_argument(
        "--due", type=instant, metavar="INSTANT", help=f"when (now): {INSTANT_HELP}"
    )
    create.add_argument(
        "--allow-repeat", action="store_true", help="although the order was asked about before"
    )
    create.add_argument("--order", metavar="REFERENCE", help="the order number")
    create.add_argument(
        "--id", metavar="ID", help="an id of your own, which makes repeating safe (a new one)"
    )
    create.add_argument("--source", metavar="NAME", help="the system that issued the id")
    add_word(create, "--consent", CONSENT_PURPOSES, "box ticked, may be repeated", action="append")
    add_contact_options(create)
    add_validate_only(create)


def read_request(session: Session, options: argparse.Namespace) -> api.CreateInvitationRequest:
    """Return the request that the options describe."""
    request = api.CreateInvitationRequest(
        parent=session.parent,
        channel=session.name("channels", options.channel),
        medium=MEDIA[options.medium or "email"],
        subject=options.subject or "",
        body=options.body or "",
        due_time=options.due,
        allow_repeat=options.allow_repeat,
        validate_only=options.validate_only,
    )
    if options.review:
        request.review_type = REVIEWS[options.review]
    if options.purpose:
        request.purpose = PURPOSES[options.purpose]
    event = request.event
    event.id = options.id or str(uuid.uuid4())
    event.source = options.source or ""
    read_contact(event, options)
    if options.order:
        event.order.reference = options.order
    for purpose in options.consent or ():
        event.consents.add(purpose=CONSENT_PURPOSES[purpose], medium=request.medium, given=True)
    return request
