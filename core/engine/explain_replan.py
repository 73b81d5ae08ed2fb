"""What today's rules would make of an event, as if it came for the first time: planned, not written.

Decides: how the plans read that the very planner makes.
Never: writes; what the store alone knows (who has the place of a message, consents) is asked when an
event is really published.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from core.engine.explain_parts import Decision, Gate, TimeSeen, Verdict, told
from core.engine.explain_texts import local
from core.engine.identity import Identity
from core.engine.incoming import Incoming
from core.engine.planner import Planner
from core.engine.refusals import Refusals
from core.errors import AfterwordError
from core.model import Event, Medium, Reason, State
from core.ports import OrderAnswer, Plan
from core.records import PlanDetail
from core.registry.snapshot import Snapshot
from core.stats import Stats

_detail = msgspec.msgpack.Decoder(PlanDetail)

MakeIncoming = Callable[[Snapshot, str, Event], Incoming]


class Replanner:
    """Plans events again, for whoever asks.

    Args:
        held: media whose unknown outcomes are held.
        incoming: files an event as accepting does.
    """

    def __init__(self, identity: Identity, held: frozenset[int], incoming: MakeIncoming) -> None:
        self._identity = identity
        self._held = held
        self.incoming = incoming

    def of(
        self, snapshot: Snapshot, one: Incoming, order: OrderAnswer | None, now_ms: int
    ) -> list[Decision]:
        """Return a line for each invitation that would be planned, and for each condition that would
        refuse the event."""
        refusals = Refusals(Stats())
        planner = Planner(self._identity, self._held, refusals)
        try:
            commit = planner.commits(snapshot, one, order, now_ms)[0]
        except AfterwordError as error:
            return [told(Gate.EVENT, f"it would be refused: {error}", now_ms, Verdict.REFUSED)]
        lines: list[Decision] = []
        if not one.event_type.active:
            text = f"the event type {one.event_type.id} is switched off: nothing would be planned"
            lines.append(told(Gate.STATE, text, now_ms, Verdict.REFUSED))
        for text, values in refusals.seen(one.event_key):
            line = told(Gate.CONDITION, text, now_ms, Verdict.REFUSED)
            line.values = values
            lines.append(line)
        guarded = {guard.rule_number: guard.count for guard in commit.guards}
        lines += [_plan(plan, guarded.get(plan.rule_number, 0), now_ms) for plan in commit.plans]
        if commit.timers:
            text = f"it would set or move {len(commit.timers)} timer(s)"
            lines.append(told(Gate.RULE, text, now_ms))
        if not commit.plans:
            text = "nothing would be planned by the rules of today"
            lines.append(told(Gate.OUTCOME, text, now_ms, Verdict.REFUSED))
        return lines


def _plan(plan: Plan, purchase_count: int, now_ms: int) -> Decision:
    detail = _detail.decode(plan.detail)
    text = (
        f"rule {detail.rule} (revision {detail.revision}) would plan step {detail.step} over "
        f"{Medium(plan.medium).name}, due {local(plan.due_ms, detail.zone)}"
    )
    if purchase_count:
        text += f", if it is purchase {purchase_count} that counts"
    verdict = Verdict.PASSED
    if plan.state != State.SCHEDULED:
        text += f"; it would end {State(plan.state).name} ({Reason(plan.reason).name}) at once"
        verdict = Verdict.REFUSED
    line = told(Gate.TIME, text, now_ms, verdict)
    line.time = TimeSeen(
        detail.zone, detail.zone_source, detail.base_ms, detail.first_due_ms, plan.due_ms,
        plan.expire_ms,
    )  # fmt: skip
    return line
