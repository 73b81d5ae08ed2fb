"""The books of the demo: what was counted, by whom, and whether it agrees.

Decides: what must be equal. The daemon's counters are kept in the scripts that change the state; the
sink counts what has really arrived; the client counts what it was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from control.demo.examples import Example
from control.demo.sink import Mail
from core.model import Disposition, Reason, State
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
    events_published: int
    events_accepted: int
    events_by_disposition: Mapping[str, int]
    invitations_planned: int
    """First messages and reminders."""
    invitations_sent: int
    reminders_sent: int
    not_sent: Mapping[str, int]
    deferrals_by_cap: int
    """How often the cap has moved an invitation to a later moment."""
    pending: int
    imbalance: int
    """planned - sent - not sent - pending: 0, or something was lost or counted twice."""
    sent: int
    mails_received: int
    message_ids: int
    first_day: str
    last_day: str
    examples: tuple[Example, ...]
    wall_seconds: float
    """The only figure that differs from run to run."""
    problems: tuple[str, ...]
    """What does not agree; empty if all is well."""


def find_problems(
    published: int, accepted: int, refused: Iterable[str], count: Count, mail: Mail
) -> tuple[str, ...]:
    """Return what does not agree, one sentence each."""
    imbalance = imbalance_of(count)
    checks = (
        (published == accepted, f"{accepted:,} of {published:,} events were accepted"),
        (count.pending == 0, f"{count.pending:,} invitations are still pending"),
        (imbalance == 0, f"the books differ by {imbalance:,}"),
        (count.sent == mail.received, f"{count.sent:,} sent, but {mail.received:,} received"),
        (
            mail.message_ids == mail.received,
            f"{mail.received:,} mails have {mail.message_ids:,} different Message-IDs",
        ),
    )
    found = [text for holds, text in checks if not holds]
    return (*found, *list(refused)[:3])


def imbalance_of(count: Count) -> int:
    """Return planned - pending - ended."""
    return count.planned - count.pending - sum(count.ended.values())


def dispositions(count: Count) -> dict[str, int]:
    """Return what became of the events, by name."""
    return {Disposition(key).name: number for key, number in sorted(count.events.items()) if number}
