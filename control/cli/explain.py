"""`afterword explain`: why something was sent, why not, or what it waits for."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from afterword.v1 import consent_service_pb2, event_service_pb2
from afterword.v1 import invitation_service_pb2 as api
from control.cli.output import PROSE_CHARS_MIN, WIDTH, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_verb
from control.cli.session import Session
from control.cli.values import UsageError, length_text, word

_Decision = api.ExplainResponse.Decision
_ANSWERS: Final = {
    api.ExplainResponse.VERDICT_PASSED: "yes",
    api.ExplainResponse.VERDICT_REFUSED: "no",
    api.ExplainResponse.VERDICT_WAITS: "later",
    api.ExplainResponse.VERDICT_NOT_ASKED: "not asked",
}
_INDENT: Final = "  "


def add_parser(nouns: SubParsers) -> None:
    """Add the command."""
    explain = add_verb(
        nouns,
        "explain",
        run_explain,
        "tell every decision about an event, an invitation or an order",
        "explain --event 4711-ordered",
    )
    explain.add_argument("--event", metavar="ID", help="id of the event, as published")
    explain.add_argument("--source", metavar="NAME", help="source of the event, as published")
    explain.add_argument("--invitation", metavar="ID", help="id or full name of an invitation")
    explain.add_argument("--order", metavar="REFERENCE", help="everything about an order")
    explain.add_argument("--channel", metavar="ID", help="the channel of the order")
    explain.add_argument(
        "--now", action="store_true", help="say also what would happen this moment"
    )


def run_explain(session: Session, options: argparse.Namespace) -> None:
    """Tell the story of one event, invitation or order."""
    if sum(map(bool, (options.event, options.invitation, options.order))) != 1:
        raise UsageError("give --event ID, --invitation ID, or --order REFERENCE with --channel ID")
    if bool(options.order) != bool(options.channel):
        raise UsageError("--order and --channel go together: a reference belongs to a channel")
    request = api.ExplainRequest(parent=session.parent, with_now=options.now)
    if options.event:
        request.event.id = options.event
        request.event.source = options.source or ""
    elif options.order:
        request.order.channel = session.name("channels", options.channel)
        request.order.order_reference = options.order
    else:
        request.invitation = session.name("invitations", options.invitation)
    show_explanation(session.call(session.invitations.Explain, request), options.json)


def show_explanation(answer: api.ExplainResponse, as_json: bool) -> None:
    """Print the summary, then every decision in order, and what would happen now."""
    if as_json:
        return print_json(answer)
    print(answer.summary)
    if answer.disposition:
        disposition = event_service_pb2.EventResult.Disposition
        print(f"event: {word(disposition, 'DISPOSITION_', answer.disposition)}")
    zone = next((invitation.time_zone for invitation in answer.invitations), "")
    print()
    _print_decisions(answer.decisions, zone, "WHEN")
    if answer.now:
        print("\nif it happened now\n")
        _print_decisions(answer.now, zone, "")
    for invitation in answer.invitations:
        state = word(api.Invitation.State, "STATE_", invitation.state)
        print(f"\n{invitation.step or 'by hand'} {invitation.name}: {state}", end="")
    if answer.invitations:
        print()


def _print_decisions(decisions: Sequence[_Decision], zone: str, when: str) -> None:
    """Print one gate a line, with what it looked at below; without `when`, without times."""
    rows: list[tuple[str, ...]] = []
    details: list[list[str]] = []
    for line in decisions:
        answer = _ANSWERS.get(line.verdict) or ("yes" if line.passed else "no")
        text = line.text.removeprefix("not asked: ").removeprefix("not asked; ")
        time = (time_text(line.decide_time, zone),) if when else ()
        rows.append((*time, line.stage, answer, "" if text == "not asked" else text))
        details.append(list(_details(line, zone)))
    heads = (*((when,) if when else ()), "GATE", "PASSED", "WHAT WAS SEEN AND DECIDED")
    used = sum(max(len(row[at]) for row in (heads, *rows)) + 2 for at in range(len(heads) - 1))
    room = max(shutil.get_terminal_size((WIDTH, 24)).columns - used, PROSE_CHARS_MIN)
    blank = (" ",) * (len(heads) - 1)
    wrapped: list[tuple[str, ...]] = []
    for (*cells, prose), below in zip(rows, details, strict=True):
        first, *more = textwrap.wrap(prose, room) or [" "]
        wrapped.append((*cells, first))
        wrapped += [(*blank, line) for line in more]
        wrapped += [(*blank, f"{_INDENT}{line}") for line in below]
    print_table(heads, wrapped)


def _details(line: _Decision, zone: str) -> Iterator[str]:
    """Return what a decision looked at, a thing a line."""
    for value in line.values:
        # What the sentence says already is not said twice.
        if line.gate == api.ExplainResponse.GATE_CONDITION or value.value not in line.text:
            yield f"{value.name} = {value.value}"
    for seen in line.consents:
        if not seen.line or f"(line {short(seen.line)}" not in line.text:
            yield _consent(seen, zone)
    for cap in line.caps:
        yield from _cap(cap, zone)
    if line.HasField("time"):
        yield from _time(line.time)


def _consent(seen: api.ExplainResponse.ConsentSeen, zone: str) -> str:
    kind = word(consent_service_pb2.ConsentLine.Kind, "KIND_", seen.kind)
    if seen.suppression:
        kind = word(consent_service_pb2.Suppression.Kind, "KIND_", seen.suppression)
    where = "order" if seen.for_order else short(seen.channel) or "account"
    until = f", until {time_text(seen.expire_time, zone)}" if seen.HasField("expire_time") else ""
    decides = " <- decides" if seen.decided else ""
    number = f"line {short(seen.line)}: " if seen.line else ""
    return f"{number}{kind} for {where}, {time_text(seen.evidence_time, zone)}{until}{decides}"


def _cap(cap: api.ExplainResponse.CapSeen, zone: str) -> Iterator[str]:
    if not cap.cap:
        return
    free = f", free {time_text(cap.free_time, zone)}" if cap.HasField("free_time") else ""
    window = length_text(cap.window.seconds)
    yield f"{short(cap.cap)}: {len(cap.entries)} of {cap.limit} in {window}{free}"
    for entry in cap.entries:
        what = (
            f"order {entry.order_reference}" if entry.order_reference else short(entry.invitation)
        )
        yield f"{_INDENT}{time_text(entry.send_time, zone)}  {what}".rstrip()


def _time(seen: api.ExplainResponse.TimeSeen) -> Iterator[str]:
    yield f"time zone {seen.time_zone}, from the {seen.time_zone_source}"
    if seen.HasField("base_time"):
        yield f"counted from {time_text(seen.base_time, seen.time_zone)}"
    if seen.wait:
        yield f"wait {seen.wait}"
    if seen.HasField("moved_from_time"):
        yield f"moved by hours from {time_text(seen.moved_from_time, seen.time_zone)}"
