"""The step that follows a message that was sent: the reminder, the second mail.

Decides: what is planned when a step was sent (B17, B18, R33), and what goes over to it.
Never: plans after anything but SENT.
"""

from __future__ import annotations

import msgspec

from core.engine.opening import Hours, may_be_closed
from core.engine.planner import Planner
from core.engine.plans import address_for, carrier_of, step_index, wait_for
from core.model import CONSENT_PURPOSES
from core.ports import Plan
from core.records import FLAG_FELL_BACK, PlanDetail, Reference
from core.registry.resources import Channel, Rule
from core.registry.rule_parts import Action, Recipient, Step, Wait, WaitBase
from core.registry.snapshot import Snapshot
from core.rules.schedule import due_ms, expiry_ms, follow_up_wait
from core.sending import Letter

_encode = msgspec.msgpack.Encoder().encode


def next_plans(
    planner: Planner, snapshot: Snapshot, ref: Reference, detail: PlanDetail, letter: Letter,
    sent_ms: int,
) -> tuple[Plan, ...]:  # fmt: skip
    """Return the plans of the step after a message that was just sent.

    An action goes on from the message over its own medium; if the step before had none, from
    whichever of its messages went first.

    Args:
        ref: of the message sent.
        letter: the message sent; its event is looked at only if something depends on it.
        sent_ms: when the transport took it; the wait counts from here.
    """
    rule = snapshot.rule_revision(ref.rule_number, detail.revision)
    if rule is None:
        return ()
    at = step_index(rule, detail.step, ref.step)
    index = at + 1
    if index >= len(rule.steps):
        return ()
    step = rule.steps[index]
    if step.wait.base is not WaitBase.PREVIOUS_STEP_SENT or not _is_wanted(snapshot, rule, step):
        return ()
    before = {action.medium for action in rule.steps[at].actions}
    return tuple(
        _plan(planner, snapshot, rule, index, action, ref, detail, letter, sent_ms)
        for action in step.actions
        if action.medium == ref.medium or action.medium not in before
    )


def _is_wanted(snapshot: Snapshot, rule: Rule, step: Step) -> bool:
    """Return whether a step was on in the revision that holds, or is on by now (R40): what is switched
    off is looked at when it is due."""
    newest = snapshot.rule_by_number(rule.number) or rule
    return step.enabled or any(one.id == step.id and one.enabled for one in newest.steps)


def _plan(
    planner: Planner, snapshot: Snapshot, rule: Rule, index: int, action: Action, ref: Reference,
    detail: PlanDetail, letter: Letter, sent_ms: int,
) -> Plan:  # fmt: skip
    step, channel = rule.steps[index], letter.channel
    is_carrier = action.recipient is Recipient.CARRIER
    address, carrier = detail.address, detail.carrier
    if action.medium != ref.medium or is_carrier != bool(carrier):
        address = "" if is_carrier else address_for(letter.event.contact, action.medium)
        carrier = carrier_of(letter.event) if is_carrier else ""
    # Not the place in the rule: by an edit that was applied, others may have stood there before.
    number = ref.step + 1
    message_key = planner.maker.next_message_key(rule, ref, number, action.medium)
    wait = action.wait or step.wait
    if step.wait_overrides:
        wait = wait_for(step, action, letter.event)
    due = due_of(wait, rule, sent_ms, detail.zone, message_key)
    due = _opened_ms(channel, letter, action, rule.purpose, detail, due)
    stop_types, stop_reasons = snapshot.stop_numbers(rule, ref.kinds)
    next_detail = msgspec.structs.replace(
        detail, step=step.id, base_ms=sent_ms, first_due_ms=due, accept_ms=sent_ms,
        parent_sequence=ref.sequence, address=address, carrier=carrier, generation=0,
        is_hurried=False, content_revision=letter.revision,
        template_revision=letter.content.revision if letter.content is not None else 0,
        platform_template=letter.template if letter.platform else "",
    )  # fmt: skip
    flags = planner.maker.flags(action.medium, index, is_carrier)
    if detail.platform and not letter.platform:
        # What was meant for another platform and stayed is not sent there by its reminder (R47).
        flags |= FLAG_FELL_BACK
    return Plan(
        medium=action.medium, purpose=rule.purpose, step=number,
        channel_number=ref.channel_number, rule_number=rule.number, due_ms=due,
        expire_ms=expiry_ms(due, rule, index), order_key=ref.order_key,
        message_key=message_key, detail=_encode(next_detail),
        flags=flags, priority=rule.priority,
        needs_consent=rule.purpose in CONSENT_PURPOSES and not is_carrier,
        stop_types=stop_types, stop_reasons=stop_reasons, kinds=ref.kinds,
    )  # fmt: skip


def due_of(wait: Wait, rule: Rule, sent_ms: int, zone: str, message_key: bytes) -> int:
    """Return when a step is due that counts from a send; days without a time go out at the first
    step's."""
    return due_ms(follow_up_wait(wait, rule.steps[0].wait), sent_ms, zone, message_key)


def _opened_ms(
    channel: Channel, letter: Letter, action: Action, purpose: int, detail: PlanDetail, due: int
) -> int:
    if action.recipient is Recipient.CARRIER or not may_be_closed(channel, purpose, action.medium):
        return due
    hours = Hours(channel, letter.event.contact, action.medium, detail.zone, detail.zone_source)
    if hours.skips:
        return due
    # Without an opening the gate says so when it is due.
    return hours.opening_ms(due, channel.closed_dates) or due
