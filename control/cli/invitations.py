"""`afterword invitations`: what goes out, when, and why or why not."""

from __future__ import annotations

import argparse

from afterword.v1 import invitation_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.by_hand import add_create, read_request
from control.cli.dead_letters import add_dead_letters
from control.cli.explain import show_explanation
from control.cli.feedback import add_feedback, add_resolve, resolve_request, times_text
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import CONTACT_HELP, SubParsers, add_noun, add_validate_only, add_verb
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import INSTANT_HELP, UsageError, instant, word


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "invitations", "messages: waiting, sent, or ended otherwise")
    listing = add_verb(
        verbs,
        "list",
        run_list,
        "list the messages of a contact or an order, or those that wait in a channel",
        "invitations list --channel madrid --to now+7d",
    )
    listing.add_argument("--contact", metavar="WHO", help=CONTACT_HELP)
    listing.add_argument("--order", metavar="REFERENCE", help="order number; needs --channel")
    listing.add_argument("--channel", metavar="ID", help="alone: what waits there, by due time")
    listing.add_argument(
        "--from", dest="start", type=instant, metavar="INSTANT", help=f"due from: {INSTANT_HELP}"
    )
    listing.add_argument("--to", dest="end", type=instant, metavar="INSTANT", help="due before")
    for name, run, summary in (
        ("get", run_get, "show one invitation"),
        ("cancel", run_cancel, "cancel an invitation that still waits"),
        ("reinstate", run_reinstate, "let one that a client cancelled wait again"),
        ("send-now", run_send_now, "make one that waits due now"),
        ("explain", run_explain, "tell every decision about an invitation"),
    ):
        verb = add_verb(verbs, name, run, summary)
        verb.add_argument("invitation", help="id or full name")
        if name in ("cancel", "reinstate", "send-now"):
            add_validate_only(verb)
    add_create(verbs, run_create)
    add_dead_letters(verbs)
    add_feedback(verbs)
    add_resolve(verbs, run_resolve)


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List by contact, by order or by due time."""
    request = _list_request(session, options)

    def page(token: str) -> api.ListInvitationsResponse:
        request.page_token = token
        return session.call(session.invitations.ListInvitations, request)

    found = session.all_pages(page, api.ListInvitationsResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("ID", "ORDER", "RULE", "STEP", "DUE", "STATE", "WHY"),
        (
            (
                short(invitation.name),
                invitation.order_reference,
                short(invitation.rule),
                invitation.step,
                time_text(invitation.due_time, invitation.time_zone),
                word(api.Invitation.State, "STATE_", invitation.state),
                _why(invitation),
            )
            for invitation in found.invitations
        ),
    )


def _list_request(session: Session, options: argparse.Namespace) -> api.ListInvitationsRequest:
    """Return the request, or say which options do not go together."""
    request = api.ListInvitationsRequest(parent=session.parent, page_size=PAGE_SIZE)
    has_range = options.start is not None or options.end is not None
    if options.contact and (options.order or options.channel or has_range):
        raise UsageError("--contact stands alone; the others are --order and --channel")
    if options.order and has_range:
        raise UsageError("--from and --to go with --channel alone")
    if options.contact:
        request.contact.CopyFrom(session.contact(options.contact))
        return request
    if not options.channel:
        raise UsageError("whose? Give --contact, or --channel, or --order with --channel")
    channel = session.name("channels", options.channel)
    if options.order:
        request.order.channel = channel
        request.order.order_reference = options.order
    else:
        due = api.ListInvitationsRequest.ByDueTime(
            channel=channel, start_time=options.start, end_time=options.end
        )
        request.due.CopyFrom(due)
    return request


def run_get(session: Session, options: argparse.Namespace) -> None:
    """Show one invitation."""
    request = api.GetInvitationRequest(name=session.name("invitations", options.invitation))
    _show(session.call(session.invitations.GetInvitation, request), options)


def run_cancel(session: Session, options: argparse.Namespace) -> None:
    """Cancel one invitation; the answer says how it stands now."""
    request = api.CancelInvitationRequest(
        name=session.name("invitations", options.invitation), validate_only=options.validate_only
    )
    _show(session.call(session.invitations.CancelInvitation, request), options)


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add one by hand."""
    request = read_request(session, options)
    _show(session.call(session.invitations.CreateInvitation, request), options)


def run_reinstate(session: Session, options: argparse.Namespace) -> None:
    """Let a cancelled one wait again; the answer is the new one."""
    request = api.ReinstateInvitationRequest(
        name=session.name("invitations", options.invitation), validate_only=options.validate_only
    )
    _show(session.call(session.invitations.ReinstateInvitation, request), options)


def run_send_now(session: Session, options: argparse.Namespace) -> None:
    """Make a waiting one due now."""
    request = api.SendInvitationNowRequest(
        name=session.name("invitations", options.invitation), validate_only=options.validate_only
    )
    _show(session.call(session.invitations.SendInvitationNow, request), options)


def run_resolve(session: Session, options: argparse.Namespace) -> None:
    """Say what became of one whose outcome is unknown."""
    request = resolve_request(session, options)
    _show(session.call(session.invitations.ResolveInvitation, request), options)


def run_explain(session: Session, options: argparse.Namespace) -> None:
    """Tell the story of one invitation."""
    request = api.ExplainRequest(
        parent=session.parent, invitation=session.name("invitations", options.invitation)
    )
    show_explanation(session.call(session.invitations.Explain, request), options.json)


def _why(invitation: api.Invitation) -> str:
    """Return why it ended, or why it waits longer."""
    reason = word(api.Invitation.Reason, "REASON_", invitation.reason)
    wait = word(api.Invitation.WaitReason, "WAIT_REASON_", invitation.wait_reason)
    return reason or (f"waits: {wait}" if wait else "")


def _show(invitation: api.Invitation, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(invitation)
    zone = invitation.time_zone
    rule = f"{invitation.rule} (revision {invitation.rule_revision}), step {invitation.step}"
    asked = word(api.Invitation.ReviewType, "REVIEW_TYPE_", invitation.review_type)
    first_due, due = invitation.first_due_time, invitation.due_time
    print_fields(
        (
            ("invitation", invitation.name),
            ("state", word(api.Invitation.State, "STATE_", invitation.state)),
            ("why", _why(invitation)),
            ("contact", invitation.contact),
            ("channel", invitation.channel),
            ("rule", rule if invitation.rule else "none, made by hand"),
            ("asks about", asked.replace("-", " ")),
            ("purpose", word(types_pb2.Purpose, "PURPOSE_", invitation.purpose)),
            ("medium", word(types_pb2.Medium, "MEDIUM_", invitation.medium)),
            ("order", invitation.order_reference),
            ("event", f"{invitation.event_type} {invitation.event_id}".strip()),
            ("first due", time_text(first_due, zone) if first_due != due else ""),
            ("due", time_text(due, zone)),
            ("expires", time_text(invitation.expire_time, zone)),
            ("ended", time_text(invitation.settle_time, zone)),
            *times_text(invitation),
            ("attempts", str(invitation.attempts or "")),
            ("delivery id", invitation.delivery_id),
            ("follows", invitation.parent_invitation),
            ("carrier", invitation.carrier),
            ("reinstated", str(invitation.generation or "")),
        )
    )
