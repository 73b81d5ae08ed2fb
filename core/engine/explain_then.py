"""How the gates answered about an invitation that has ended or is on its way.

Decides: which gate decided, which were asked before it, and which never were. What a gate saw is told as
of the decision: the consent table from the append-only log, the ledgers from their stamps, the caps from
the gate's notes.
Never: guesses from the present configuration; where only that is known, the line says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.contact_ports import FeedbackKind
from core.engine import explain_gates as gates
from core.engine.caps_due import caps_of
from core.engine.explain_caps import NOTE_DEFERRED, NOTE_SKIPPED, Note, cap_text
from core.engine.explain_gates import Scene
from core.engine.explain_parts import (
    BIRTH_GATES,
    DUE_GATES,
    Decision,
    Gate,
    Verdict,
    answered,
    told,
)
from core.engine.explain_story import gate_that_ended, was_born_ended
from core.engine.explain_texts import SUMMARIES, local, utc
from core.engine.plans import step_index
from core.engine.stand_in import MODE_BY_HAND
from core.model import Medium, Purpose, Reason
from core.records import member_of
from core.registry.cap_rules import MessageCaps
from core.rules.hours import obeys_hours

_PASSED_TEXTS: Mapping[Gate, str] = {
    Gate.STATE: "rule, activation, event type and step were on",
    Gate.MEDIUM: "a transport was configured for the medium",
    Gate.FEATURES: "the channel had what the rule needs",
    Gate.ENTITLEMENT: "the account had booked such messages",
    Gate.ONCE: "nothing else had the place of this message",
    Gate.HOURS: "windows, quiet hours and holidays were open",
    Gate.VOLUME: "volume limits had room",
    Gate.CONTENT: "the message was made",
}
_ASKED_TEXTS: Mapping[Gate, str] = {
    Gate.STATE: "are rule, activation, event type and step on",
    Gate.ONCE: "does anything else have the place of this message",
    Gate.MEDIUM: "is a transport configured for the medium",
    Gate.FEATURES: "does the channel have what the rule needs",
    Gate.ENTITLEMENT: "has the account booked such messages",
    Gate.HOURS: "are windows, quiet hours and holidays open",
    Gate.VOLUME: "do volume limits have room",
    Gate.CONTENT: "can the message be made",
    Gate.CAPS: "is there room in the caps",
}


def gates_then(scene: Scene, notes: Sequence[Note]) -> list[Decision]:
    """Return the gates in their order, with the answers they gave."""
    view = scene.view
    ref = view.reference
    last = notes[-1] if notes else None
    is_by_cap = last is not None and last.time_ms == ref.settle_ms
    decisive = gate_that_ended(view, is_by_cap)
    if decisive is Gate.SUPPRESSION and scene.table.refusal(ref) is Reason.CONSENT_WITHDRAWN:
        # A withdrawal ends what waits as unsubscribing does.
        decisive = Gate.CONSENT if not scene.table.suppression(ref) else decisive
    lines: list[Decision] = []
    for gate in DUE_GATES:
        verdict = _verdict(scene, gate, decisive)
        line = _line(scene, gate, verdict)
        if line is None:
            continue
        if gate is Gate.CAPS:
            lines += noted(scene, notes)
            if is_by_cap and decisive is gate:
                continue
        lines.append(line if gate is Gate.DIVERSION else answered(line, verdict))
    if ref.attempts:
        times = "once" if ref.attempts == 1 else f"{ref.attempts} times"
        attempts = told(Gate.ATTEMPTS, f"it was handed over {times}", ref.settle_ms)
        attempts.values = (("attempts", str(ref.attempts)),)
        lines.append(attempts)
    return lines


def _verdict(scene: Scene, gate: Gate, decisive: Gate) -> Verdict:
    """Return how a gate answered, by which one decided and when."""
    view = scene.view
    if gate is decisive:
        return Verdict.REFUSED
    if decisive > Gate.CONTENT:
        return Verdict.PASSED
    if was_born_ended(view):
        is_before = gate in BIRTH_GATES and gate < decisive
        return Verdict.PASSED if is_before else Verdict.NOT_ASKED
    if view.reference.settle_ms < view.reference.due_ms or decisive is Gate.ONCE:
        return Verdict.NOT_ASKED
    if view.reference.reason == Reason.REPLACED:
        # Another one of the same contact met the cap; this one only waited.
        return Verdict.NOT_ASKED
    return Verdict.PASSED if gate < decisive else Verdict.NOT_ASKED


def _line(scene: Scene, gate: Gate, verdict: Verdict) -> Decision | None:
    view = scene.view
    seen = _seen(scene, gate)
    if gate is Gate.DIVERSION:
        return seen
    if verdict is Verdict.REFUSED:
        reason = SUMMARIES[Reason(view.reference.reason)].partition(": ")[2]
        text = f"{reason} ({Reason(view.reference.reason).name})"
        is_own = gate is not Gate.SUPPRESSION or bool(scene.table.suppression(view.reference))
        if not is_own and (seen is None or not seen.values):
            text += ": by a block that is gone, or by what another contact with this address said"
            return told(gate, text, scene.at_ms)
        if seen is not None:
            seen.text = f"{text}: {seen.text}"
            return seen
        return told(gate, text, scene.at_ms)
    if verdict is Verdict.NOT_ASKED:
        if seen is not None:
            seen.text = f"not asked; {seen.text}"
            return seen
        return told(gate, f"not asked: {_ASKED_TEXTS[gate]}?", scene.at_ms)
    return seen or told(gate, _PASSED_TEXTS[gate], scene.at_ms)


def _seen(scene: Scene, gate: Gate) -> Decision | None:
    """Return what a gate saw, as far as that was written down."""
    view = scene.view
    match gate:
        case Gate.STOPS:
            return gates.stops(scene)
        case Gate.EXPIRY:
            return gates.expiry(scene)
        case Gate.ADDRESS:
            return gates.address(scene, view.detail.address)
        case Gate.SUPPRESSION:
            return gates.suppression(scene)
        case Gate.CONSENT:
            return gates.consents(scene)
        case Gate.CONDITION:
            return gates.condition(scene)
        case Gate.HOURS:
            return _hours(scene)
        case Gate.CAPS:
            return _caps(scene)
        case Gate.DIVERSION:
            return gates.diversion(scene)
        case Gate.MEDIUM:
            return _medium(scene)
        case Gate.ONCE:
            return _holder(scene)
        case _:
            return None


def _medium(scene: Scene) -> Decision:
    name = Medium(scene.view.reference.medium).name
    line = told(Gate.MEDIUM, f"it goes over {name}", scene.at_ms)
    line.values = (("medium", name),)
    return line


def _holder(scene: Scene) -> Decision | None:
    """Return who has the place of a message that came too late."""
    ref = scene.view.reference
    if ref.reason != Reason.DUPLICATE:
        return None
    others = [
        one
        for one in scene.record.references
        if one.message_key == ref.message_key and one.sequence != ref.sequence
    ]
    if not others:
        return None
    key = scene.view.member[:8]
    name = member_of(key, others[0].sequence, others[0].channel_number).hex()
    line = told(Gate.ONCE, f"invitation {name} has its place", scene.at_ms)
    line.values = (("invitation", name),)
    return line


def _hours(scene: Scene) -> Decision | None:
    view = scene.view
    if not obeys_hours(view.reference.purpose) or not scene.is_for_contact:
        text = f"{Purpose(view.reference.purpose).name} messages do not obey hours"
        if not scene.is_for_contact:
            text = "carriers are written to at any hour"
        return told(Gate.HOURS, text, scene.at_ms)
    line = told(
        Gate.HOURS, f"on its clock it was {local(scene.at_ms, view.detail.zone)}", scene.at_ms
    )
    line.values = (("time_zone", view.detail.zone), ("time_zone.source", view.detail.zone_source))
    return line


def _caps(scene: Scene) -> Decision | None:
    """Return what the caps counted. Limits are those of today: former ones are in the audit log."""
    found = caps_for(scene)
    return None if found is None else gates.caps(scene, found)


def caps_for(scene: Scene) -> MessageCaps | None:
    """Return the caps that look at it by the present configuration, None if its rule is gone."""
    ref, detail, rule = scene.view.reference, scene.view.detail, scene.planned
    if detail.mode == MODE_BY_HAND:
        return scene.snapshot.caps_for(
            detail.account, ref.channel_number, ref.rule_number, ref.purpose, ref.medium, False
        )
    if rule is None:
        return None
    index = step_index(rule, detail.step, ref.step)
    return (
        caps_of(scene.snapshot, ref, detail, rule.steps[index]) if index < len(rule.steps) else None
    )


def noted(scene: Scene, notes: Sequence[Note]) -> list[Decision]:
    """Return a line for each time that a cap was full."""
    lines = []
    for note in notes:
        cap = scene.snapshot.cap_by_ledger(note.ledger)
        seen = scene.ledgers.noted(cap, note)
        text = f"{cap_text(seen)} was full"
        verdict = Verdict.REFUSED
        if note.code == NOTE_DEFERRED:
            verdict = Verdict.WAITS
            text += (
                f": deferred to the moment it frees, {local(note.until_ms, scene.view.detail.zone)}"
            )
        elif note.code != NOTE_SKIPPED:
            text += ", and a better one of the contact waits for it"
        line = told(Gate.CAPS, text, note.time_ms, verdict)
        line.caps = (seen,)
        lines.append(line)
    return lines


def feedback(scene: Scene) -> list[Decision]:
    """Return what was heard after it was sent, in order of time."""
    heard = sorted(scene.view.heard.items(), key=lambda one: one[1])
    lines = []
    for kind, time_ms in heard:
        name = FeedbackKind(kind).name
        line = told(Gate.FEEDBACK, f"{name} at {utc(time_ms)}", time_ms)
        line.values = ((name.lower(), utc(time_ms)),)
        lines.append(line)
    return lines
