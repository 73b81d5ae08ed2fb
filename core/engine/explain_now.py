"""What would happen now: the very judgement of something due, on the present record, changing nothing.

Decides: in which order the answers of judge and kernels make the outcome; it is that of the claim.
Never: writes, reserves or sends. What only a claim can ask (volume limits, other contacts at the same
address) is said to be not asked.
"""

from __future__ import annotations

from collections.abc import Callable

from core.antispam import caps as cap_kernel
from core.antispam.caps import Verdict as CapVerdict
from core.antispam.caps import invitation_tag
from core.engine import explain_gates as gates
from core.engine.due_case import Ready
from core.engine.explain_caps import cap_text
from core.engine.explain_gates import Scene
from core.engine.explain_parts import DUE_GATES, GATE_OF, Decision, Gate, Verdict, answered, told
from core.engine.explain_texts import SUMMARIES, WAITS, local
from core.engine.explain_then import caps_for
from core.engine.judge import Judge
from core.gate import ClaimAction, Lane, Source
from core.model import ActivationState, Medium, Reason, State, WaitReason
from core.registry.cap_rules import MessageCaps

_HELD: dict[int, str] = {
    WaitReason.FROZEN: "its rule is frozen",
    WaitReason.COMPLAINTS: "too many called messages of its channel unwanted",
}
_GATE_OF_WAIT = {WaitReason.CAPPED: Gate.CAPS, WaitReason.QUIET_HOURS: Gate.HOURS}


class Rehearsal:
    """Says what would happen to an invitation if it were due this moment.

    Args:
        judge: the one that judges what is due.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def of(self, scene: Scene, partition: int, ledger: bytes) -> list[Decision]:
        """Return the gates with the answers they would give, and the outcome last.

        Args:
            ledger: of the cap that it waits for, empty for none.

        Raises:
            StaleRegistry: it was planned with something newer than the snapshot; refresh.
        """
        ref = scene.view.reference
        if ref.state != State.SCHEDULED:
            where = "it is on its way" if ref.state == State.IN_FLIGHT else "it has ended"
            return [told(Gate.OUTCOME, f"nothing is left to decide: {where}", scene.at_ms)]
        fired = (ref.due_ms, scene.view.member, (partition, Source(Lane.NEAR)))
        ready = self._judge.judge(scene.snapshot, fired, scene.waiting, scene.at_ms, ledger)
        found = _Answers(scene, ready)
        lines = [line for gate in DUE_GATES if (line := found.line(gate)) is not None]
        return [*lines, found.outcome(lines)]


class _Answers:
    """What judge and kernels say, gate by gate."""

    def __init__(self, scene: Scene, ready: Ready) -> None:
        self._scene = scene
        self._ready = ready
        item = self._item = ready.item
        self._decisive: Gate | None = None
        """The gate by which the judge decided, None if it asks the gate of the store."""
        self._verdict = Verdict.PASSED
        if item.action == ClaimAction.END:
            self._decisive, self._verdict = GATE_OF[Reason(item.reason)], Verdict.REFUSED
        elif item.action == ClaimAction.PARK:
            self._decisive, self._verdict = Gate.STATE, Verdict.WAITS
        elif item.action == ClaimAction.DEFER:
            wait = WaitReason(item.wait)
            self._decisive = _GATE_OF_WAIT.get(wait, Gate.HOURS)
            self._verdict = Verdict.WAITS
            if item.due_ms >= scene.view.reference.expire_ms:
                self._verdict = Verdict.REFUSED
        self._lines: dict[Gate, Callable[[], Decision]] = {
            Gate.STATE: self._state,
            Gate.STOPS: lambda: gates.stops(scene),
            Gate.ONCE: lambda: self._told(Gate.ONCE, "it has the place of this message"),
            Gate.EXPIRY: self._expiry,
            Gate.ADDRESS: self._address,
            Gate.MEDIUM: self._medium,
            Gate.FEATURES: lambda: self._told(Gate.FEATURES, "the channel has what the rule needs"),
            Gate.ENTITLEMENT: lambda: self._told(Gate.ENTITLEMENT, "such messages are booked"),
            Gate.SUPPRESSION: lambda: gates.suppression(scene),
            Gate.CONSENT: lambda: gates.consents(scene),
            Gate.CONDITION: lambda: gates.condition(scene),
            Gate.HOURS: self._hours,
            Gate.CAPS: self._caps,
            Gate.VOLUME: self._volume,
            Gate.CONTENT: lambda: self._told(Gate.CONTENT, "the message can be made"),
        }

    def _told(self, gate: Gate, text: str, verdict: Verdict = Verdict.PASSED) -> Decision:
        return told(gate, text, self._scene.at_ms, verdict)

    def line(self, gate: Gate) -> Decision | None:
        """Return what a gate says; None where there is nothing to ask."""
        if gate is Gate.DIVERSION:
            return gates.diversion(self._scene)
        line = self._lines[gate]()
        if gate is self._decisive:
            return self._decided(gate, line)
        if gate in (Gate.SUPPRESSION, Gate.CONSENT, Gate.CAPS, Gate.EXPIRY, Gate.VOLUME):
            return line
        if self._decisive is not None and gate > self._decisive:
            line.text = f"not asked; {line.text}" if gate is Gate.CONDITION else "not asked"
            return answered(line, Verdict.NOT_ASKED)
        # The judge has looked, and let it pass: what a kernel sees of stale facts does not count.
        return answered(line, Verdict.PASSED)

    def _decided(self, gate: Gate, line: Decision) -> Decision:
        item, zone = self._item, self._scene.view.detail.zone
        if item.action == ClaimAction.END:
            reason = Reason(item.reason)
            why = SUMMARIES[reason].partition(": ")[2]
            line.text = f"{why} ({reason.name}): {line.text}" if line.values else (
                f"{why} ({reason.name})"
            )  # fmt: skip
        elif item.action == ClaimAction.PARK:
            held = _HELD.get(item.wait or WaitReason.FROZEN, "it is held")
            line.text = f"it would be held: {held}"
        else:
            line.text = f"not before {local(item.due_ms, zone)}"
        return answered(line, self._verdict)

    # Gates --------------------------------------------------------------------------------------

    def _state(self) -> Decision:
        scene, ref, detail = self._scene, self._scene.view.reference, self._scene.view.detail
        line = self._told(Gate.STATE, "rule, activation, event type and step are on")
        newest = scene.snapshot.rule_by_number(ref.rule_number)
        if scene.planned is None or newest is None:
            line.text = "its channel is there"
            return line
        activation = scene.snapshot.activation(detail.account, detail.channel, detail.rule)
        state = activation.state if activation is not None else ActivationState.INACTIVE
        step = next((one for one in newest.steps if one.id == detail.step), None)
        line.values = (
            ("rule.revision", str(newest.revision)),
            ("rule.deleted", str(newest.is_deleted).lower()),
            ("activation.state", state.name),
            ("step.enabled", str(step is None or step.enabled).lower()),
        )
        if detail.event_type:
            is_on = scene.snapshot.is_type_active(detail.account, detail.event_type)
            line.values += ((f"eventTypes.{detail.event_type}.active", str(is_on).lower()),)
        return line

    def _expiry(self) -> Decision:
        line = gates.expiry(self._scene)
        is_over = self._scene.at_ms >= self._scene.view.reference.expire_ms
        return answered(line, Verdict.REFUSED) if is_over else line

    def _address(self) -> Decision:
        letter = self._ready.letter
        found = letter.address if letter is not None else self._scene.view.detail.address
        return gates.address(self._scene, found)

    def _medium(self) -> Decision:
        name = Medium(self._scene.view.reference.medium).name
        line = self._told(Gate.MEDIUM, f"there is a transport for {name}")
        line.values = (("medium", name),)
        return line

    def _hours(self) -> Decision:
        detail = self._scene.view.detail
        line = self._told(Gate.HOURS, f"open at {local(self._scene.at_ms, detail.zone)}")
        line.values = (("time_zone", detail.zone), ("time_zone.source", detail.zone_source))
        return line

    def _caps(self) -> Decision:
        scene, ref = self._scene, self._scene.view.reference
        found: MessageCaps | None = self._ready.caps or caps_for(scene)
        line = gates.caps(scene, found or MessageCaps())
        if self._item.action != ClaimAction.GATE:
            return answered(line, Verdict.NOT_ASKED)
        decision = cap_kernel.check(
            scene.record.stamps, self._item.caps, invitation_tag(ref.sequence), ref.order_key,
            scene.at_ms, ref.expire_ms,
        )  # fmt: skip
        if decision.verdict is CapVerdict.PASS:
            return line
        full = next((one for one in line.caps if one.is_full), None)
        name = cap_text(full) if full is not None else "a cap"
        if decision.verdict is CapVerdict.DEFER and decision.until_ms is not None:
            until = local(decision.until_ms, scene.view.detail.zone)
            line.text = f"{name} is full until {until}; {line.text}"
            return answered(line, Verdict.WAITS)
        line.text = f"{name} is full; {line.text}"
        return answered(line, Verdict.REFUSED)

    def _volume(self) -> Decision:
        found = self._ready.caps
        if found is None or not found.volumes:
            return self._told(Gate.VOLUME, "no volume limit looks at it")
        text = "volume limits are asked by the claim alone"
        return self._told(Gate.VOLUME, text, Verdict.NOT_ASKED)

    # Outcome ------------------------------------------------------------------------------------

    def outcome(self, lines: list[Decision]) -> Decision:
        """Return what would become of it: what the first gate says that does not let it pass."""
        no = next(
            (line for line in lines if line.verdict in (Verdict.REFUSED, Verdict.WAITS)), None
        )
        if self._item.action == ClaimAction.END and not self._item.needs_consent:
            # This the claim does not look behind.
            no = next(line for line in lines if line.gate is self._decisive)
        if no is None:
            return self._told(Gate.OUTCOME, "if it were due now, it would be sent")
        if no.verdict is Verdict.WAITS:
            text = f"if it were due now, it would wait ({no.stage}: {no.text})"
            return self._told(Gate.OUTCOME, text, Verdict.WAITS)
        state, reason = self._end(no)
        text = f"if it were due now, it would end {state.name} ({reason.name})"
        line = self._told(Gate.OUTCOME, text, Verdict.REFUSED)
        line.values = (("state", state.name), ("reason", reason.name))
        return line

    def _end(self, no: Decision) -> tuple[State, Reason]:
        scene, item, ref = self._scene, self._item, self._scene.view.reference
        if no.gate is self._decisive and item.action == ClaimAction.END:
            return State(item.state), Reason(item.reason)
        match no.gate:
            case Gate.SUPPRESSION:
                return State.SKIPPED, scene.table.suppression(ref)
            case Gate.CONSENT:
                return State.SKIPPED, scene.table.refusal(ref)
            case Gate.EXPIRY:
                return State.EXPIRED, Reason.TOO_LATE
            case Gate.CAPS:
                decision = cap_kernel.check(
                    scene.record.stamps, item.caps, invitation_tag(ref.sequence), ref.order_key,
                    scene.at_ms, ref.expire_ms,
                )  # fmt: skip
                if decision.verdict is CapVerdict.SKIP:
                    return State.SKIPPED, Reason.CAPPED
        return State.EXPIRED, Reason.NO_SLOT


assert WAITS.keys() >= _HELD.keys()
