"""`afterword explain`: why something was sent, why not, or what it waits for."""

from __future__ import annotations

import argparse

from afterword.v1 import event_service_pb2
from afterword.v1 import invitation_service_pb2 as api
from control.cli.output import print_json, print_story, time_text
from control.cli.parsers import SubParsers, add_verb
from control.cli.session import Session
from control.cli.values import UsageError, word


def add_parser(nouns: SubParsers) -> None:
    """Add the command."""
    explain = add_verb(
        nouns,
        "explain",
        run_explain,
        "tell every decision about an event or an invitation",
        "explain --event 4711-ordered",
    )
    explain.add_argument("--event", metavar="ID", help="id of the event, as published")
    explain.add_argument("--source", metavar="NAME", help="source of the event, as published")
    explain.add_argument("--invitation", metavar="ID", help="id or full name of an invitation")


def run_explain(session: Session, options: argparse.Namespace) -> None:
    """Tell the story of one event or invitation."""
    if bool(options.event) == bool(options.invitation):
        raise UsageError("give --event ID or --invitation ID")
    request = api.ExplainRequest(parent=session.parent)
    if options.event:
        request.event.id = options.event
        request.event.source = options.source or ""
    else:
        request.invitation = session.name("invitations", options.invitation)
    show_explanation(session.call(session.invitations.Explain, request), options.json)


def show_explanation(answer: api.ExplainResponse, as_json: bool) -> None:
    """Print the summary, then every decision in order."""
    if as_json:
        return print_json(answer)
    print(answer.summary)
    if answer.disposition:
        disposition = event_service_pb2.EventResult.Disposition
        print(f"event: {word(disposition, 'DISPOSITION_', answer.disposition)}")
    zone = next((invitation.time_zone for invitation in answer.invitations), "")
    print()
    print_story(
        ("WHEN", "STAGE", "", "WHAT WAS SEEN AND DECIDED"),
        (
            (
                time_text(decision.decide_time, zone),
                decision.stage,
                "yes" if decision.passed else "no",
                decision.text,
            )
            for decision in answer.decisions
        ),
    )
    for invitation in answer.invitations:
        state = word(api.Invitation.State, "STATE_", invitation.state)
        print(f"\n{invitation.step or 'by hand'} {invitation.name}: {state}", end="")
    if answer.invitations:
        print()
