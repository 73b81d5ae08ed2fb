"""`afterword invitations dead` and `replay`: what has failed, and sending it after all."""

from __future__ import annotations

import argparse
from typing import Final

from afterword.v1 import invitation_service_pb2 as api
from control.cli.output import print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_validate_only, add_verb, add_word
from control.cli.problems import FAILED
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import UsageError, word, words

_REASONS: Final = {
    text: number
    for text, number in words(api.Invitation.Reason, "REASON_").items()
    if text in (
        "provider-error", "rendering-error", "invalid-template", "internal-error", "contact-full"
    )
}  # fmt: skip


def add_dead_letters(verbs: SubParsers) -> None:
    """Add the verbs."""
    dead = add_verb(
        verbs, "dead", run_dead, "list what has failed and was not replayed, newest first",
        "invitations dead --channel madrid --why provider-error",
    )  # fmt: skip
    replay = add_verb(
        verbs, "replay", run_replay, "let what has failed wait again, due now",
        "invitations replay --all --why provider-error --limit 500",
    )  # fmt: skip
    replay.add_argument("invitation", nargs="?", help="id or full name")
    replay.add_argument("--all", action="store_true", help="all that the filter lets through")
    replay.add_argument("--limit", type=int, default=1_000, help="with --all: how many at most")
    for verb in (dead, replay):
        verb.add_argument("--channel", metavar="ID", help="of this channel alone")
        add_word(verb, "--why", _REASONS, "that failed for this reason alone")
    add_validate_only(replay)


def run_dead(session: Session, options: argparse.Namespace) -> None:
    """List dead letters."""
    request = api.ListDeadLettersRequest(
        parent=session.parent, filter=_filter(session, options), page_size=PAGE_SIZE
    )

    def page(token: str) -> api.ListDeadLettersResponse:
        request.page_token = token
        return session.call(session.invitations.ListDeadLetters, request)

    found = session.all_pages(page, api.ListDeadLettersResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("ID", "FAILED", "WHY", "CHANNEL", "ORDER", "RULE", "ATTEMPTS"),
        (
            (
                short(letter.invitation.name),
                time_text(letter.fail_time, letter.invitation.time_zone),
                word(api.Invitation.Reason, "REASON_", letter.invitation.reason),
                short(letter.invitation.channel),
                letter.invitation.order_reference,
                short(letter.invitation.rule),
                str(letter.invitation.attempts or ""),
            )
            for letter in found.dead_letters
        ),
    )


def run_replay(session: Session, options: argparse.Namespace) -> int | None:
    """Replay one, or all of a filter; 1 if any was refused."""
    if bool(options.invitation) == options.all:
        raise UsageError("which? Give an invitation, or --all")
    if not options.all:
        _replay_one(session, options)
        return None
    request = api.ReplayDeadLettersRequest(
        parent=session.parent, filter=_filter(session, options), validate_only=options.validate_only
    )
    done = refused = 0
    while done + refused < options.limit:
        request.limit = min(options.limit - done - refused, PAGE_SIZE)
        answer = session.call(session.invitations.ReplayDeadLetters, request)
        if options.json:
            print_json(answer)
        for result in answer.results:
            if not result.status.code:
                done += 1
                continue
            refused += 1
            if not options.json:
                print(f"{short(result.invitation)}: {result.status.message}")
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    if not options.json:
        would = "can be replayed" if options.validate_only else "replayed"
        print(f"{done:,} {would}, {refused:,} refused")
    return FAILED if refused else None


def _replay_one(session: Session, options: argparse.Namespace) -> None:
    request = api.ReplayInvitationRequest(
        name=session.name("invitations", options.invitation), validate_only=options.validate_only
    )
    answer = session.call(session.invitations.ReplayInvitation, request)
    if options.json:
        return print_json(answer)
    done = "can be replayed" if options.validate_only else "replayed"
    print(f"{short(answer.name)} {done}")


def _filter(session: Session, options: argparse.Namespace) -> api.DeadLetterFilter:
    return api.DeadLetterFilter(
        channel=session.name("channels", options.channel) if options.channel else "",
        reason=_REASONS[options.why] if options.why else api.Invitation.REASON_UNSPECIFIED,
    )
