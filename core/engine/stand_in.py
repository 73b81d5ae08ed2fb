"""What stands in for the rule of an invitation that was made by hand (A3, R45).

Decides: the family, steps and stops that it has without a rule.
Never: whether it goes out; it passes the gates of all others.
"""

from __future__ import annotations

from core.model import Family, Medium, Purpose
from core.records import BY_HAND, KIND_PRODUCT, KIND_SERVICE
from core.registry.resources import DEFAULT_REVIEW_STOPS, Rule
from core.registry.rule_events import stop_reason, tombstone_numbers
from core.registry.rule_parts import Action, Step, Wait
from core.registry.snapshot import Snapshot

MODE_BY_HAND = 2
"""`PlanDetail.mode` of what was made by hand."""


def family_of(kinds: int) -> Family:
    """Return the family of rules that would ask about this; what asks about nothing notifies."""
    if kinds & KIND_SERVICE:
        return Family.SERVICE_REVIEW
    return Family.PRODUCT_REVIEW if kinds & KIND_PRODUCT else Family.NOTIFICATION


def stand_in(account: str, kinds: int, purpose: int, medium: int) -> Rule:
    """Return a rule of one step and action, which nothing follows."""
    return Rule(
        account=account,
        id="",
        number=BY_HAND,
        revision=0,
        family=family_of(kinds),
        purpose=Purpose(purpose),
        event_type="",
        steps=[Step(id="", wait=Wait(elapsed_ms=0), actions=[Action(medium=Medium(medium))])],
    )


def stops_by_hand(
    snapshot: Snapshot, account: str, kinds: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (event type numbers, reasons) whose tombstones end it: those of review rules that set
    none (R39). What asks for no review is ended by no event."""
    pairs = [
        (number, int(stop_reason(stop)))
        for stop in (DEFAULT_REVIEW_STOPS if kinds else ())
        if (found := snapshot.event_type(account, stop)) is not None
        for number in tombstone_numbers(found.number, stop, kinds)
    ]
    return tuple(number for number, _ in pairs), tuple(reason for _, reason in pairs)
