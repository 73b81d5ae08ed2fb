"""`afterword rules`: pausing, stopping and copying rules, and what came of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, Final

from afterword.v1 import rule_service_pb2 as api
from control.cli.output import print_fields, print_json
from control.cli.parsers import Command, SubParsers, add_validate_only, add_verb
from control.cli.session import Session
from control.cli.values import UsageError, word

Show = Callable[[api.Rule, argparse.Namespace], None]

_VERBS: Final = {
    "pause": (api.PauseRuleRequest, "PauseRule", "start no new runs; what waits goes on"),
    "freeze": (api.FreezeRuleRequest, "FreezeRule", "start no new runs and hold what waits"),
    "stop": (api.StopRuleRequest, "StopRule", "end all runs: what waits is cancelled"),
    "resume": (
        api.ResumeRuleRequest,
        "ResumeRule",
        "make a paused, frozen or stopped rule active again",
    ),
}
"""Verb -> (request, method, what it does)."""


def add_verbs(verbs: SubParsers, show: Show) -> None:
    """Add the verbs.

    Args:
        show: prints a rule.
    """
    for name, (_, _, summary) in _VERBS.items():
        verb = add_verb(verbs, name, _switch(name), summary, f"rules {name} ask --channel madrid")
        verb.add_argument("rule", help="id or full name")
        verb.add_argument(
            "--channel", metavar="ID", help="id or full name (every channel on which it stands)"
        )
        add_validate_only(verb)
    duplicate = add_verb(
        verbs, "duplicate", _duplicate(show), "make a copy under another id, inactive everywhere",
        "rules duplicate ask ask-again",
    )  # fmt: skip
    duplicate.add_argument("rule", help="id or full name")
    duplicate.add_argument("id", help="the id of the copy")
    duplicate.add_argument("--display-name", metavar="TEXT", help="what people call the copy")
    add_validate_only(duplicate)
    copy = add_verb(
        verbs, "copy", run_copy, "give channels a copy of their own, active there",
        "rules copy ask --channel berlin --channel paris\n  afterword rules copy ask --all-channels",
    )  # fmt: skip
    copy.add_argument("rule", help="id or full name")
    copy.add_argument(
        "--channel", action="append", metavar="ID", help="id or full name, may be repeated"
    )
    copy.add_argument("--all-channels", action="store_true", help="every channel of the account")
    add_validate_only(copy)
    revision = add_verb(
        verbs, "revision", _revision(show), "show a rule as it was in a revision",
        "rules revision ask 1",
    )  # fmt: skip
    revision.add_argument("rule", help="id or full name")
    revision.add_argument("revision", type=int, help="1 to the newest")
    stats = add_verb(verbs, "stats", run_stats, "count what came of a rule")
    stats.add_argument("rule", help="id or full name")


def _switch(name: str) -> Command:
    request_type, method, _ = _VERBS[name]

    def run(session: Session, options: argparse.Namespace) -> None:
        request: Any = request_type(
            name=session.name("rules", options.rule),
            channel=session.name("channels", options.channel or ""),
            validate_only=options.validate_only,
        )
        answer: Any = session.call(getattr(session.rules, method), request)
        if options.json:
            return print_json(answer)
        if not answer.activations:
            print(f"{request.name} stands on no channel where that would change anything")
        print_activations(answer.activations)

    return run


def _duplicate(show: Show) -> Command:
    def run(session: Session, options: argparse.Namespace) -> None:
        request = api.DuplicateRuleRequest(
            name=session.name("rules", options.rule),
            rule_id=options.id,
            display_name=options.display_name or "",
            validate_only=options.validate_only,
        )
        show(session.call(session.rules.DuplicateRule, request), options)

    return run


def run_copy(session: Session, options: argparse.Namespace) -> None:
    """Copy a rule to channels, and tell what has changed."""
    if options.all_channels == bool(options.channel):
        raise UsageError("where to? Give --channel, or --all-channels")
    request = api.CopyRuleRequest(
        name=session.name("rules", options.rule),
        channels=[session.name("channels", channel) for channel in options.channel or ()],
        all_channels=options.all_channels,
        validate_only=options.validate_only,
    )
    answer = session.call(session.rules.CopyRule, request)
    if options.json:
        return print_json(answer)
    if not answer.changes:
        print("every channel has it already")
    for change in answer.changes:
        print(f"{change.rule.name} {'made' if change.created else 'brought to the same content'}")
        print_activations([change.activation])
        for superseded in change.superseded:
            print(f"in place of {superseded.rule}; what that has planned goes on")


def _revision(show: Show) -> Command:
    def run(session: Session, options: argparse.Namespace) -> None:
        request = api.GetRuleRevisionRequest(
            name=session.name("rules", options.rule), revision=options.revision
        )
        show(session.call(session.rules.GetRuleRevision, request), options)

    return run


def run_stats(session: Session, options: argparse.Namespace) -> None:
    """Count what came of a rule."""
    request = api.GetRuleStatsRequest(name=session.name("rules", options.rule))
    stats = session.call(session.rules.GetRuleStats, request)
    if options.json:
        return print_json(stats)
    print_fields(
        (
            ("rule", stats.name),
            ("sent", f"{stats.sent_count:,}, {stats.first_sent_count:,} of them first messages"),
            ("reviewed", f"{stats.reviewed_count:,} ({stats.response_rate:.1%})"),
            ("with a text", f"{stats.commented_count:,} ({stats.comment_rate:.1%})"),
        )
    )


def print_activations(activations: Iterable[api.Activation]) -> None:
    """Print how rules stand, a line each."""
    for activation in activations:
        state = word(api.Activation.State, "STATE_", activation.state)
        channel = activation.name.rpartition("/activations/")[0]
        print(f"{activation.rule} is {state} on {channel}")
