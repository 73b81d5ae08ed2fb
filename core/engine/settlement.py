"""What a delivery means for an invitation.

Decides: sent, tried again and when, or ended, and whether the caps are given back. Values only.

    accepted    SENT, and the next step is planned from now
    rejected    NOT_DELIVERED: the recipient is refused for good
    unknown     UNKNOWN where unknown outcomes are held (decision 8), else tried again while it can be
    deferred    tried again, while attempts and life last; else FAILED
    failed      FAILED
"""

from __future__ import annotations

from core.backoff import retry_ms
from core.engine.follow_ups import next_plans
from core.engine.planner import Planner
from core.engine.said_template import template_mark
from core.model import Reason, State, WaitReason
from core.ports import Plan, Settlement
from core.records import PlanDetail, Reference
from core.registry.snapshot import Snapshot
from core.sending import Delivery, Letter, Postbox
from core.stats import Stats

ATTEMPTS_MAX = 12
"""Hand-overs of one invitation; then it has FAILED."""


def retry_delay_ms(attempts: int, asked_ms: int, delivery_id: str) -> int:
    """Return how long to wait before the next hand-over: what the transport asks for; if it asks for
    nothing, a span that doubles and is spread."""
    return asked_ms or retry_ms(attempts, delivery_id)


def handed_over(
    member: bytes, letter: Letter, state: State, reason: Reason = Reason.NONE,
    plans: tuple[Plan, ...] = (),
) -> Settlement:  # fmt: skip
    """Return the settlement of what was sent, or may have been: with what it said (D1)."""
    return Settlement(
        member, state, reason, next_plans=plans, content_revision=letter.revision,
        template_mark=template_mark(letter),
    )  # fmt: skip


class Meaning:
    """Turns deliveries into settlements."""

    def __init__(self, planner: Planner, postbox: Postbox, stats: Stats) -> None:
        self._planner = planner
        self._postbox = postbox
        self._stats = stats

    def of(
        self, snapshot: Snapshot, member: bytes, ref: Reference, detail: PlanDetail, letter: Letter,
        delivery: Delivery, now_ms: int,
    ) -> Settlement:  # fmt: skip
        """Return how the invitation settles.

        Args:
            letter: what was handed over.
            now_ms: business clock; for a message accepted, when it was sent.
        """
        attempts = letter.attempts
        releases = not delivery.was_handed_over
        kind = delivery.kind
        if kind is Delivery.Kind.ACCEPTED:
            plans = next_plans(self._planner, snapshot, ref, detail, letter, now_ms)
            return handed_over(member, letter, State.SENT, plans=plans)
        if kind is Delivery.Kind.REJECTED:
            return Settlement(member, State.NOT_DELIVERED, Reason.INVALID_RECIPIENT, 0, releases)
        if kind is Delivery.Kind.UNKNOWN and self._postbox.holds_unknown(ref.medium):
            return handed_over(member, letter, State.UNKNOWN, Reason.OUTCOME_UNKNOWN)
        if kind is not Delivery.Kind.FAILED:
            due_ms = now_ms + retry_delay_ms(attempts, delivery.retry_after_ms, letter.delivery_id)
            if attempts + 1 < ATTEMPTS_MAX and due_ms < ref.expire_ms:
                self._stats.retried += 1
                self._stats.deferred[WaitReason.RETRY] += 1
                gives_back = releases and kind is Delivery.Kind.DEFERRED
                return Settlement(member, State.SCHEDULED, Reason.NONE, due_ms, gives_back)
        if kind is Delivery.Kind.UNKNOWN:
            return handed_over(member, letter, State.UNKNOWN, Reason.OUTCOME_UNKNOWN)
        return Settlement(member, State.FAILED, Reason.PROVIDER_ERROR, 0, releases)
