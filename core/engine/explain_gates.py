"""What each gate sees of an invitation: the lines that the story of one that has ended and the question
"what would happen now" share.

Decides: how each gate reads. Whether it let the invitation pass is said by who asks.
Never: what was or would be decided (`explain_then.py`, `explain_now.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.engine.blocked import block_of
from core.engine.destinations import why
from core.engine.explain_caps import Ledgers, counted_text
from core.engine.explain_consents import Table, status_name
from core.engine.explain_parts import (
    CapSeen,
    ConsentSeen,
    Decision,
    Gate,
    Verdict,
    answered,
    told,
)
from core.engine.explain_texts import masked, plain, utc
from core.engine.facts import Known
from core.engine.plans import step_index
from core.engine.reader import InvitationView
from core.engine.stand_in import MODE_BY_HAND
from core.model import CONSENT_PURPOSES, ConsentScope, Medium, Purpose, Reason
from core.ports import Waiting
from core.records import NO_KEY, ContactRecord
from core.registry.cap_rules import MessageCaps
from core.registry.resources import Rule
from core.registry.rule_events import REVIEW_KINDS_SHIFT, SHARED_ORDER
from core.registry.rule_parts import Condition
from core.registry.snapshot import Snapshot
from core.rules.matcher import evaluate

VALUES_MAX = 16
"""Values that one line tells of."""


class Scene:
    """One invitation at a moment, with all that gates look at."""

    def __init__(
        self, view: InvitationView, waiting: Waiting, record: ContactRecord, table: Table,
        ledgers: Ledgers, snapshot: Snapshot, at_ms: int,
    ) -> None:  # fmt: skip
        self.view = view
        self.waiting = waiting
        self.record = record
        self.table = table
        self.ledgers = ledgers
        self.snapshot = snapshot
        self.at_ms = at_ms

    @property
    def is_for_contact(self) -> bool:
        """False for what goes to a carrier."""
        return not self.view.detail.carrier

    @property
    def planned(self) -> Rule | None:
        """The rule in the revision it was planned with."""
        if self.view.detail.mode == MODE_BY_HAND:
            return None
        ref = self.view.reference
        return self.snapshot.rule_revision(ref.rule_number, self.view.detail.revision)

    @property
    def step_condition(self) -> Condition | None:
        """What the step asks when it is due."""
        rule, detail = self.planned, self.view.detail
        if rule is None:
            return None
        index = step_index(rule, detail.step, self.view.reference.step)
        return rule.steps[index].condition if 0 <= index < len(rule.steps) else None


def stops(scene: Scene) -> Decision:
    """Return what has ended the order so far."""
    ref, detail = scene.view.reference, scene.view.detail
    numbers = {each.number: each.id for each in scene.snapshot.event_types(detail.account)}
    found = [
        (numbers.get(stone.event_type_number % _NUMBERS, "an event"), stone.time_ms)
        for stone in scene.record.tombstones
        if stone.order_key == ref.order_key != NO_KEY
        and stone.time_ms <= scene.at_ms
        and stone.event_type_number != SHARED_ORDER
    ]
    if ref.order_key == NO_KEY:
        text = "it belongs to no order that something could end"
    elif found:
        text = "of its order was told: " + ", ".join(f"{kind} at {utc(ms)}" for kind, ms in found)
    else:
        text = "nothing was told that ends its order"
    line = told(Gate.STOPS, text, scene.at_ms)
    line.values = tuple((f"order.{kind}", utc(ms)) for kind, ms in found)
    return line


_NUMBERS = 1 << REVIEW_KINDS_SHIFT
"""Of a tombstone's number the event type is what lies below; above it says what a review was about."""


def expiry(scene: Scene) -> Decision:
    """Return until when it may go."""
    text = f"it may go until {utc(scene.view.reference.expire_ms)}"
    line = told(Gate.EXPIRY, text, scene.at_ms)
    line.values = (("expire_time", utc(scene.view.reference.expire_ms)),)
    return line


def address(scene: Scene, found: str) -> Decision:
    """Return where it goes, as far as that may be told."""
    medium = Medium(scene.view.reference.medium).name
    detail = scene.view.detail
    if detail.carrier:
        whom = f"the carrier {detail.carrier}"
        text = f"{whom} is written to at {masked(found)}" if found else f"{whom} has no address"
    elif found:
        text = f"the contact is reached over {medium} at {masked(found)}"
    else:
        text = f"no address of the contact for {medium} is known"
    line = told(Gate.ADDRESS, text, scene.at_ms)
    line.values = (("address", masked(found)),) if found else ()
    return line


def suppression(scene: Scene) -> Decision:
    """Return which suppressions speak about it."""
    if not scene.is_for_contact:
        text = "what goes to a carrier is none of the contact's business"
        return told(Gate.SUPPRESSION, text, scene.at_ms)
    ref, detail = scene.view.reference, scene.view.detail
    seen = scene.table.suppressions(ref)
    reason = scene.table.suppression(ref)
    block = block_of(scene.snapshot, detail.account, detail.address, ref.purpose, ref.medium)
    if block is not None and reason is Reason.NONE:
        text = f"block {block.id} ({block.value}) forbids the address"
    elif not seen:
        text = "the contact is on no suppression list"
    elif reason is Reason.NONE:
        text = "what suppressed the contact was ended by a later confirmation: " + _listed(seen)
    else:
        text = "the contact is not to be written to: " + _listed(seen)
    line = told(Gate.SUPPRESSION, text, scene.at_ms)
    line.consents = seen
    line.values = (("block", block.name),) if block is not None else ()
    is_free = reason is Reason.NONE and block is None
    return line if is_free else answered(line, Verdict.REFUSED)


def consents(scene: Scene) -> Decision:
    """Return which consents and withdrawals speak about it, and which of them decides."""
    ref = scene.view.reference
    if not scene.is_for_contact:
        text = "what goes to a carrier needs no consent of the contact"
        return told(Gate.CONSENT, text, scene.at_ms)
    if ref.purpose not in CONSENT_PURPOSES:
        text = f"{Purpose(ref.purpose).name} messages need no consent"
        return told(Gate.CONSENT, text, scene.at_ms)
    seen = scene.table.consents(ref)
    what = f"{Purpose(ref.purpose).name} over {Medium(ref.medium).name}"
    is_allowed = scene.table.refusal(ref) is Reason.NONE
    if not seen:
        text = f"nobody has told of a consent to {what}"
    else:
        verb = "is" if is_allowed else "is no valid"
        text = f"there {verb} consent to {what}: {_listed(seen)}"
    line = told(Gate.CONSENT, text, scene.at_ms)
    line.consents = seen
    return line if is_allowed else answered(line, Verdict.REFUSED)


def _listed(seen: Sequence[ConsentSeen]) -> str:
    return "; ".join(consent_text(one) for one in seen)


def consent_text(one: ConsentSeen) -> str:
    """Return one entry in words: "GRANTED for order at ... (line 3, decides)"."""
    marks = [f"line {one.number}"] if one.number else []
    marks += ["decides"] if one.decided else []
    marked = f" ({', '.join(marks)})" if marks else ""
    until = f" until {utc(one.expire_ms)}" if one.expire_ms else ""
    scope = ConsentScope(one.scope).name.lower()
    return f"{status_name(one.status)} for {scope} at {utc(one.time_ms)}{until}{marked}"


def condition(scene: Scene) -> Decision:
    """Return what the conditions of rule and step saw in the event and in what was told since."""
    rule = scene.planned
    found = [
        (name, one)
        for name, one in (
            ("rule", rule.condition if rule is not None else None),
            ("step", scene.step_condition),
        )
        if one is not None
    ]
    if rule is None or not found:
        return told(Gate.CONDITION, "it has no condition", scene.at_ms)
    if not scene.waiting.body:
        text = "; ".join(f"the {name} asks: {one.source}" for name, one in found)
        text += " (what it read is no longer kept)"
        return told(Gate.CONDITION, text, scene.at_ms)
    ref = scene.view.reference
    event = Known(scene.waiting.body, scene.waiting.facts, ref.order_key).event
    texts, values, holds = [], [], True
    for name, one in found:
        came = evaluate(msgspec.structs.replace(rule, condition=one), event)
        how = "true" if came.passed else "false"
        if came.error is not None:
            how = f"taken for false, because it erred ({came.error})"
        texts.append(f"the condition of the {name} is {how}: {one.source}")
        values += [(field, plain(field, value)) for field, value in came.fields.items()]
        holds = holds and came.passed
    line = told(Gate.CONDITION, "; ".join(texts), scene.at_ms)
    line.values = (("source", source_of(scene)), *dict.fromkeys(values))[:VALUES_MAX]
    return line if holds else answered(line, Verdict.REFUSED)


def source_of(scene: Scene) -> str:
    """Return where a condition reads: the event, and what was told since."""
    detail = scene.view.detail
    named = f"event {detail.event_id or '(without id)'}"
    return f"{named} and later events of the order" if scene.waiting.facts else named


def caps(scene: Scene, found: MessageCaps) -> Decision:
    """Return what each cap counts."""
    ref = scene.view.reference
    seen: list[CapSeen] = []
    for cap, rule in zip(found.caps, found.gate, strict=True):
        if rule.is_checked:
            seen.append(scene.ledgers.seen(cap, rule, ref, scene.at_ms))
    text = "; ".join(counted_text(one) for one in seen) or "no cap looks at it"
    line = told(Gate.CAPS, text, scene.at_ms)
    line.caps = tuple(seen)
    return line


def diversion(scene: Scene) -> Decision | None:
    """Return where its review is to be written, None if nothing is divided."""
    ref, detail = scene.view.reference, scene.view.detail
    text = why(detail, ref.flags)
    if not text:
        return None
    line = told(Gate.DIVERSION, text, detail.accept_ms)
    line.values = (
        ("bucket", str(detail.bucket)),
        ("shares", detail.shares),
        ("platform", detail.platform or "own"),
    )
    line.consents = scene.table.consents(ref, Purpose.DATA_FORWARDING) if detail.platform else ()
    return line
