"""The frame of the story: where an invitation comes from, when it was planned for, and how it ended.

Decides: how plan and end read. All of it was written down when it was decided.
"""

from __future__ import annotations

import msgspec

from core.engine.explain_parts import (
    GATE_OF,
    STAGES,
    Decision,
    Gate,
    TimeSeen,
    Verdict,
    told,
)
from core.engine.explain_texts import ASKED, STOPS, SUMMARIES, WAITS, local, span, utc
from core.engine.plans import step_index
from core.engine.reader import InvitationView
from core.engine.stand_in import MODE_BY_HAND
from core.model import Event, Medium, Reason, State, WaitReason
from core.ports import Waiting
from core.registry.rule_parts import Wait
from core.registry.snapshot import Snapshot
from core.rules.schedule import due_ms

_event = msgspec.msgpack.Decoder(Event)

ARRIVED = (State.SENT, State.DELIVERED)


def origin(view: InvitationView, snapshot: Snapshot) -> list[Decision]:
    """Return what it comes from: an event and a rule, or somebody's wish."""
    ref, detail = view.reference, view.detail
    order = f", order {detail.order_reference}" if detail.order_reference else ""
    of_type = f" of type {detail.event_type}" if detail.event_type else ""
    happened = f"event {detail.event_id or '(without id)'}{of_type}{order}"
    over = f"over {Medium(ref.medium).name}{ASKED.get(ref.kinds, '')}"
    if detail.carrier:
        over += f", to the carrier {detail.carrier}"
    values: tuple[tuple[str, str], ...] = ()
    if detail.mode == MODE_BY_HAND:
        wish = f"somebody wanted it by hand {over}; no rule, and no reminder follows"
    else:
        wish = (
            f"rule {detail.rule} (revision {detail.revision}) wanted it: step {detail.step} {over}"
        )
        values = _why_that_rule(view, snapshot)
    rule = told(Gate.RULE, wish, detail.accept_ms)
    rule.values = values
    lines = [told(Gate.EVENT, f"{happened} was accepted", detail.accept_ms), rule]
    if detail.generation:
        times = "once" if detail.generation == 1 else f"{detail.generation} times"
        text = f"a client had cancelled it, and wanted it back: reinstated {times}"
        lines.append(told(Gate.TIME, text, detail.accept_ms))
    return lines


def _why_that_rule(view: InvitationView, snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    detail = view.detail
    rule = snapshot.rule_revision(view.reference.rule_number, detail.revision)
    values = [
        ("rule.revision", str(detail.revision)),
        ("rule.trigger", detail.event_type),
        ("channel", detail.channel),
        ("step", detail.step),
        ("registry.revision", str(detail.registry_revision)),
    ]
    if rule is not None:
        values.insert(0, ("rule.family", rule.family.name))
    return tuple((name, value) for name, value in values if value)


def plan(view: InvitationView, waiting: Waiting, snapshot: Snapshot) -> Decision:
    """Return when it is due, and how that came about."""
    ref, detail = view.reference, view.detail
    when = f"{local(detail.first_due_ms, detail.zone)} (zone from the {detail.zone_source})"
    is_by_hand = detail.mode == MODE_BY_HAND
    wait = None if is_by_hand else _wait(view, snapshot)
    moved_ms = 0
    if is_by_hand:
        counted = f"it is first due {when}"
    else:
        base = "the message before was sent" if detail.parent_sequence else "it happened"
        base_time = local(detail.base_ms, detail.zone)
        counted = f"counted from {base_time}, when {base}, "
        words = "" if wait is None else wait_words(wait)
        counted += f"with a wait of {words}, " if words else ""
        moved_ms = 0 if wait is None else _moved_from_ms(view, waiting, wait)
        if moved_ms:
            counted += f"and moved by closed hours from {local(moved_ms, detail.zone)}, "
        counted += f"it is first due {when}"
    line = told(Gate.TIME, f"{counted} and may go until {utc(ref.expire_ms)}", detail.accept_ms)
    line.time = TimeSeen(
        detail.zone, detail.zone_source, 0 if is_by_hand else detail.base_ms, detail.first_due_ms,
        ref.due_ms, ref.expire_ms, "" if wait is None else wait_words(wait), moved_ms,
    )  # fmt: skip
    return line


def hurry(view: InvitationView) -> list[Decision]:
    """Return that somebody wanted it sent now, if so."""
    if not view.detail.is_hurried:
        return []
    text = "somebody wanted it sent now: windows do not hold it back, quiet hours do"
    return [told(Gate.TIME, text, view.reference.due_ms)]


def _wait(view: InvitationView, snapshot: Snapshot) -> Wait | None:
    """Return the wait of the step in the revision it was planned with, as far as it is known which."""
    ref, detail = view.reference, view.detail
    rule = snapshot.rule_revision(ref.rule_number, detail.revision)
    if rule is None or not 0 <= (at := step_index(rule, detail.step, ref.step)) < len(rule.steps):
        return None
    step = rule.steps[at]
    if step.wait_overrides:
        # Which of them passed is not kept.
        return None
    own = next((a.wait for a in step.actions if a.medium == ref.medium and a.wait), None)
    return own or step.wait


def _moved_from_ms(view: InvitationView, waiting: Waiting, wait: Wait) -> int:
    """Return from when closed hours had moved it when it was planned, 0 if they had not.

    Told while the event is kept, for the first step of what was planned by its wait alone.
    """
    ref, detail = view.reference, view.detail
    if not waiting.body or detail.generation or detail.parent_sequence:
        return 0
    event = _event.decode(waiting.body)
    if event.activation_date or event.requested_send_ms:
        return 0
    by_wait_ms = due_ms(wait, detail.base_ms, detail.zone, ref.message_key)
    is_moved = detail.accept_ms <= by_wait_ms < detail.first_due_ms
    return by_wait_ms if is_moved else 0


def wait_words(wait: Wait) -> str:
    """Return a wait in words."""
    if wait.elapsed_ms is not None:
        return span(wait.elapsed_ms) if wait.elapsed_ms else ""
    if wait.days is None:
        return ""
    days = f"{wait.days} day{'' if wait.days == 1 else 's'}"
    if wait.time_of_day_ms is None:
        return days
    minutes = wait.time_of_day_ms // 60_000
    return f"{days} at {minutes // 60:02}:{minutes % 60:02}"


def end(view: InvitationView) -> Decision:
    """Return how it ended, or how it stands."""
    ref = view.reference
    if ref.state == State.SCHEDULED:
        line = told(Gate.CLAIM, summary(view), 0, Verdict.PASSED)
        line.verdict = Verdict.WAITS
        return line
    if ref.state == State.IN_FLIGHT:
        line = told(Gate.OUTCOME, "claimed; on its way to the transport", 0)
        return line
    verdict = Verdict.PASSED if ref.state in ARRIVED else Verdict.REFUSED
    line = told(Gate.OUTCOME, summary(view), ref.settle_ms, verdict)
    line.stage = _stage(view)
    return line


def _stage(view: InvitationView) -> str:
    """Return at which stage it ended."""
    ref = view.reference
    if ref.state in ARRIVED:
        return STAGES[Gate.OUTCOME]
    if ref.reason in STOPS:
        return "stop"
    return "accept" if was_born_ended(view) else "claim"


def was_born_ended(view: InvitationView) -> bool:
    """Return whether a gate ended it already when it was planned.

    What ends before it is due, and was not stopped, ended at birth.
    """
    ref = view.reference
    if ref.state < State.SENT or ref.reason in STOPS:
        return False
    return ref.reason == Reason.LATE_EVENT or ref.settle_ms < ref.due_ms


def gate_that_ended(view: InvitationView, is_by_cap: bool) -> Gate:
    """Return which gate decided, OUTCOME if all let it pass.

    Args:
        is_by_cap: the last word of the caps is the moment at which it ended.
    """
    reason = Reason(view.reference.reason)
    if reason is Reason.NO_SLOT and is_by_cap:
        return Gate.CAPS
    return GATE_OF[reason]


def summary(view: InvitationView) -> str:
    """Return in one sentence how it ended, or what it waits for."""
    ref, zone = view.reference, view.detail.zone
    if ref.state == State.SCHEDULED:
        why = WAITS.get(WaitReason(ref.wait), "")
        return f"waits until {local(ref.due_ms, zone)}{why}"
    if ref.state == State.IN_FLIGHT:
        return "on its way"
    if ref.state in ARRIVED:
        tries = f" at attempt {ref.attempts}" if ref.attempts > 1 else ""
        said = ""
        if ref.content_revision not in (0, view.detail.revision):
            said = f" with the content of revision {ref.content_revision}"
        arrived = ", and arrived" if ref.state == State.DELIVERED else ""
        return f"sent {local(ref.settle_ms, zone)}{arrived}{tries}{said}"
    reason = Reason(ref.reason)
    text = SUMMARIES.get(reason, f"ended {State(ref.state).name}")
    return f"{text} ({State(ref.state).name}, {reason.name}; {utc(ref.settle_ms)})"
