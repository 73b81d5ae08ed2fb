"""The result of the demo as people read it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from control.demo.examples import Example
from control.demo.figures import Figures
from control.demo.shown_mail import ShownMail, framed

WIDTH = 100
_LABEL_CHARS = 34
_NUMBER_CHARS = 7


def text(figures: Figures, html_path: Path | None) -> str:
    """Return the whole report.

    Args:
        html_path: where the HTML part of the mail has been written, if it has.
    """
    lines = [*_table(figures)]
    for example in figures.examples:
        lines += ["", *_example(example)]
    if figures.mail is not None:
        lines += ["", *_mail(figures.mail, html_path)]
    lines += ["", _verdict(figures)]
    return "\n".join(lines)


def _table(figures: Figures) -> Iterator[str]:
    not_sent = sum(figures.not_sent.values())
    when = f"{figures.first_day} to {figures.last_day}, {figures.customers:,} customers"
    all_in = figures.events_accepted == figures.events_published
    sums = (
        f"{figures.invitations_planned:,} planned = {figures.sent:,} sent + {not_sent:,} not sent "
        f"+ {figures.pending:,} pending"
    )
    yield _row("orders", figures.orders, f"{when}, 2 shops in 2 time zones")
    yield _row("reviews written", figures.reviews)
    yield _row("parcels sent", figures.parcels, "to those who left a phone number")
    yield _row("events accepted", figures.events_accepted, "over gRPC" if all_in else "NOT ALL")
    yield ""
    yield _row("messages planned", figures.invitations_planned, "over e-mail, SMS and WhatsApp")
    yield _row(
        "  invitations sent", figures.invitations_sent, "e-mail 7 days after the order at 10:00"
    )
    yield _row("  reminders sent", figures.reminders_sent, "5 days later, if no review came")
    yield _row("  SMS sent", figures.sms_sent, "New York: the day after the parcel left at 11:00")
    yield _row("  WhatsApp messages sent", figures.whatsapp_sent, "Madrid: the same")
    for name, count in figures.not_sent.items():
        yield _row(f"  {reason_text(name)}", count, _REASONS.get(name, ""))
    yield _row("  pending", figures.pending)
    yield _row(
        "deferred by the cap", figures.deferrals_by_cap, "to the moment its 14 days are over"
    )
    yield ""
    yield _row("difference in the books", figures.imbalance, sums)
    yield _row(
        "mails received by the sink",
        figures.mails_received,
        f"{figures.mails_sent:,} were sent; {figures.message_ids:,} different Message-IDs",
    )
    for name, sent, received, different in (
        ("SMS", figures.sms_sent, figures.sms_received, figures.sms_different),
        ("WhatsApp", figures.whatsapp_sent, figures.whatsapp_received, figures.whatsapp_different),
    ):
        note = f"{sent:,} were sent; {different:,} different"
        yield _row(f"{name} received by the stand-in", received, note)
    yield _row("wall time", f"{figures.wall_seconds:.1f} s")


_REASONS = {
    "SKIPPED NO_CONSENT": "the customer had not agreed",
    "CANCELLED REVIEWED": "the review was already written",
    "EXPIRED NO_SLOT": "the cap left no moment within 30 days",
    "EXPIRED TOO_LATE": "its time had run out",
}


def reason_text(name: str) -> str:
    """Return "SKIPPED NO_CONSENT" as "skipped: no consent"."""
    state, _, reason = name.partition(" ")
    return f"{state.lower()}: {reason.lower().replace('_', ' ')}"


def _row(label: str, value: int | str, note: str = "") -> str:
    number = f"{value:,}" if isinstance(value, int) else value
    return f"{label:<{_LABEL_CHARS}}{number:>{_NUMBER_CHARS}}  {note}".rstrip()


def _example(example: Example) -> Iterator[str]:
    yield f"{example.question} Order {example.order}, shop {example.channel}: {example.summary}"
    for line in example.decisions:
        head = f"  {line.time or '':<19}  {line.stage:<9} {'yes' if line.passed else 'no':<4}"
        yield from textwrap.wrap(
            line.text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head)
        )


def _mail(mail: ShownMail, html_path: Path | None) -> Iterator[str]:
    yield f"What does it look like? The plain part of the mail about order {mail.order}, tokens cut off"
    yield from framed(mail)
    where = html_path or "in the same mail"
    yield f"Its HTML part, {mail.html_bytes:,} bytes: {where}"


def _verdict(figures: Figures) -> str:
    if figures.problems:
        return "\n".join(f"PROBLEM: {problem}" for problem in figures.problems)
    return "All is well: nothing pending, the books balance, every message arrived once."
