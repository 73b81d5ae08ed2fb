"""`afterword invitations feedback` and `resolve`: what became of messages after they were sent."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from afterword.v1 import invitation_service_pb2 as api
from control.cli.output import print_json, short, time_text
from control.cli.parsers import SubParsers, add_validate_only, add_verb
from control.cli.problems import FAILED, report
from control.cli.session import Session
from control.cli.values import INSTANT_HELP, instant, word, words, words_help

KINDS: Final = words(api.Feedback.Kind, "KIND_")
OUTCOMES: Final = words(api.ResolveInvitationRequest.Outcome, "OUTCOME_")

TIMES: Final = (
    ("deliver_time", "delivered"),
    ("bounce_time", "bounced"),
    ("complaint_time", "complained"),
    ("open_time", "opened"),
    ("click_time", "clicked"),
    ("review_time", "reviewed"),
    ("unsubscribe_time", "unsubscribed"),
)


def add_feedback(verbs: SubParsers) -> None:
    """Add the verb that tells what was heard."""
    feedback = add_verb(
        verbs,
        "feedback",
        run_feedback,
        "tell what was heard of a sent message",
        "invitations feedback 6f1a... complained",
    )
    feedback.add_argument("invitation", help="id, which is the delivery id, or full name")
    feedback.add_argument("kind", choices=KINDS, metavar="KIND", help=words_help(KINDS))
    feedback.add_argument(
        "--time", type=instant, metavar="INSTANT", help=f"when (now): {INSTANT_HELP}"
    )
    add_validate_only(feedback)


def add_resolve(
    verbs: SubParsers, run: Callable[[Session, argparse.Namespace], int | None]
) -> None:
    """Add the verb that settles what is unknown."""
    resolve = add_verb(
        verbs,
        "resolve",
        run,
        "say what became of a message whose outcome is unknown",
        "invitations resolve 6f1a... not-delivered",
    )
    resolve.add_argument("invitation", help="id or full name")
    resolve.add_argument("outcome", choices=OUTCOMES, metavar="OUTCOME", help=words_help(OUTCOMES))
    add_validate_only(resolve)


def run_feedback(session: Session, options: argparse.Namespace) -> int | None:
    """Tell what was heard of one message; 1 if it was refused."""
    told = api.Feedback(
        invitation=session.name("invitations", options.invitation),
        kind=KINDS[options.kind],
        occur_time=options.time,
    )
    request = api.RecordFeedbackRequest(
        parent=session.parent, feedback=[told], validate_only=options.validate_only
    )
    answer = session.call(session.invitations.RecordFeedback, request)
    (result,) = answer.results
    if options.json:
        print_json(answer)
    elif not result.status.code:
        state = word(api.Invitation.State, "STATE_", result.state)
        known = ", told before" if result.duplicate and not options.validate_only else ""
        print(f"{short(result.invitation)} is {state}{known}")
        for name in result.ended_invitations:
            print(f"ended {short(name)}")
        for name in result.in_flight_invitations:
            print(f"may still arrive: {short(name)}")
    if result.status.code:
        report(result.status.message)
        return FAILED
    return None


def resolve_request(session: Session, options: argparse.Namespace) -> api.ResolveInvitationRequest:
    """Return the request of `resolve`."""
    return api.ResolveInvitationRequest(
        name=session.name("invitations", options.invitation),
        outcome=OUTCOMES[options.outcome],
        validate_only=options.validate_only,
    )


def times_text(invitation: api.Invitation) -> list[tuple[str, str]]:
    """Return (label, time) of everything that was heard."""
    return [
        (label, time_text(getattr(invitation, field), invitation.time_zone))
        for field, label in TIMES
        if invitation.HasField(field)  # type: ignore[arg-type]
    ]
