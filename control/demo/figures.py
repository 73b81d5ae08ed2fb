"""The books of the demo: what was counted, by whom, and whether it agrees.

Decides: what must be equal. The daemon's counters are kept in the scripts that change the state; the
sink counts what has really arrived; the client counts what it was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from control.demo.examples import Example
from control.demo.shown_mail import ShownMail
from control.demo.sink import Arrived
from core.model import Disposition, Medium, Reason, State
from core.ports import Counters

ARRIVING = frozenset({State.SENT, State.DELIVERED})


class Count(msgspec.Struct, frozen=True):
    """The counters of the whole store, added up."""

    planned: int
    scheduled: int
    in_flight: int
    ended: Mapping[tuple[int, int], int]
    """(state, reason) -> count."""
    events: Mapping[int, int]
    """Disposition -> count."""

    @property
    def pending(self) -> int:
        """Waiting or on their way."""
        return self.scheduled + self.in_flight

    @property
    def sent(self) -> int:
        """Taken by the transport."""
        return sum(count for (state, _), count in self.ended.items() if state in ARRIVING)

    @property
    def not_sent(self) -> dict[str, int]:
        """Ended otherwise: "SKIPPED NO_CONSENT" -> count, in the order of states and reasons."""
        return {
            f"{State(state).name} {Reason(reason).name}": count
            for (state, reason), count in sorted(self.ended.items())
            if state not in ARRIVING and count
        }


def add_up(partitions: Iterable[Counters]) -> Count:
    """Return the counters of all partitions together."""
    planned = scheduled = in_flight = 0
    ended: dict[tuple[int, int], int] = {}
    events: dict[int, int] = {}
    for part in partitions:
        planned += part.planned
        scheduled += part.scheduled
        in_flight += part.in_flight
        for key, count in part.ended.items():
            ended[key] = ended.get(key, 0) + count
        for disposition, count in part.events.items():
            events[disposition] = events.get(disposition, 0) + count
    return Count(planned, scheduled, in_flight, ended, events)


class Figures(msgspec.Struct, frozen=True):
    """The result of a demo. The names are the keys of its JSON and stay as they are."""

    orders: int
    customers: int
    reviews: int
    parcels: int
    events_published: int
    events_accepted: int
    events_by_disposition: Mapping[str, int]
    invitations_planned: int
    """Messages of all kinds: requests, reminders, and those about parcels."""
    invitations_sent: int
    reminders_sent: int
    sms_sent: int
    whatsapp_sent: int
    not_sent: Mapping[str, int]
    deferrals_by_cap: int
    """How often the cap has moved an invitation to a later moment."""
    pending: int
    imbalance: int
    """planned - sent - not sent - pending: 0, or something was lost or counted twice."""
    sent: int
    """Over all media."""
    mails_sent: int
    mails_received: int
    message_ids: int
    sms_received: int
    sms_different: int
    """Pairs of number and words; as many as messages, if none came twice."""
    whatsapp_received: int
    whatsapp_different: int
    first_day: str
    last_day: str
    examples: tuple[Example, ...]
    mail: ShownMail | None
    """One that was sent; None if the replayed orders have none that is sure to be."""
    wall_seconds: float
    """The only figure that differs from run to run."""
    problems: tuple[str, ...]
    """What does not agree; empty if all is well."""


def find_problems(
    published: int, accepted: int, refused: Iterable[str], count: Count,
    sent_by_medium: Mapping[int, int], arrived: Arrived,
) -> tuple[str, ...]:  # fmt: skip
    """Return what does not agree, one sentence each.

    Args:
        sent_by_medium: SMS and WhatsApp messages by the daemon's count; the others are mails.
    """
    imbalance = imbalance_of(count)
    mail = arrived.mail
    checks = [
        (published == accepted, f"{accepted:,} of {published:,} events were accepted"),
        (count.pending == 0, f"{count.pending:,} invitations are still pending"),
        (imbalance == 0, f"the books differ by {imbalance:,}"),
    ]
    for name, sent, received, different in (
        ("mails", mails_of(count, sent_by_medium), mail.received, mail.message_ids),
        ("SMS", sent_by_medium[Medium.SMS], arrived.sms.received, arrived.sms.different),
        (
            "WhatsApp messages",
            sent_by_medium[Medium.WHATSAPP],
            arrived.whatsapp.received,
            arrived.whatsapp.different,
        ),
    ):
        checks += [
            (sent == received, f"{sent:,} {name} were sent, but {received:,} received"),
            (different == received, f"of {received:,} {name} {different:,} are different"),
        ]
    found = [text for holds, text in checks if not holds]
    return (*found, *list(refused)[:3])


def mails_of(count: Count, sent_by_medium: Mapping[int, int]) -> int:
    """Return how many of the messages sent are mails."""
    return count.sent - sum(sent_by_medium.values())


def imbalance_of(count: Count) -> int:
    """Return planned - pending - ended."""
    return count.planned - count.pending - sum(count.ended.values())


def dispositions(count: Count) -> dict[str, int]:
    """Return what became of the events, by name."""
    return {Disposition(key).name: number for key, number in sorted(count.events.items()) if number}
