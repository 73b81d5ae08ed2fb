"""The steps of a rule between protobuf and the registry: waits, conditions and actions."""

from __future__ import annotations

from collections.abc import Sequence

from afterword.v1 import channel_service_pb2, types_pb2
from afterword.v1 import rule_service_pb2 as pb2
from control.conversion import addresses, checks, contents, texts, waits
from control.conversion.frame import Frame
from core import bounds
from core.errors import InvalidField
from core.model import Medium, Purpose
from core.registry.rule_parts import (
    Action,
    Condition,
    OnCap,
    Recipient,
    Step,
    Wait,
    WaitOverride,
)
from senders.templates import SUBJECT_VARIABLES, check_variables, validate_subject

OVERRIDES_MAX = 16
_MEDIA = "EMAIL, SMS, WHATSAPP or WEBHOOK"


def steps_from_proto(found: Sequence[pb2.Step], frame: Frame) -> list[Step]:
    """Return the steps of a rule, each with an id of its own."""
    if not found:
        checks.missing("rule.steps", f"1 to {bounds.STEPS_MAX} steps")
    checks.count(len(found), "rule.steps", bounds.STEPS_MAX, "steps")
    steps: list[Step] = []
    for index, pb in enumerate(found):
        step = _step(pb, index, f"rule.steps[{index}]", frame)
        if any(step.id == other.id for other in steps):
            raise InvalidField(
                f"rule.steps[{index}].id {step.id!r} is taken by another step; each has its own",
                field=f"rule.steps[{index}].id",
            )
        steps.append(step)
    return steps


def _step(pb: pb2.Step, index: int, field: str, frame: Frame) -> Step:
    step_id = checks.resource_id(pb.id, f"{field}.id")
    if not pb.HasField("wait"):
        checks.missing(f"{field}.wait", "when the step is due: `elapsed` or `days`")
    wait = waits.step_wait(pb.wait, index, f"{field}.wait", is_review=frame.is_review)
    return Step(
        id=step_id,
        wait=wait,
        actions=_actions(pb.actions, wait, f"{field}.actions", frame),
        enabled=pb.enabled if pb.HasField("enabled") else True,
        condition=frame.condition(pb.condition, f"{field}.condition", f"step {step_id!r}"),
        wait_overrides=_overrides(pb, wait, f"{field}.wait_overrides", frame),
        exempt_from_caps=_caps(pb.exempt_from_caps, f"{field}.exempt_from_caps"),
        not_counted_by_caps=_caps(pb.not_counted_by_caps, f"{field}.not_counted_by_caps"),
        on_cap=OnCap(checks.choice(pb.on_cap, f"{field}.on_cap", channel_service_pb2.Cap.OnCap)),
    )


def _caps(ids: Sequence[str], field: str) -> list[str]:
    """Return ids of caps, each once; that there are such caps is asked by the registry."""
    checks.count(len(ids), field, bounds.CAPS_PER_ACCOUNT_MAX, "caps")
    for index, cap_id in enumerate(ids):
        checks.resource_id(cap_id, f"{field}[{index}]")
        if cap_id in ids[:index]:
            raise InvalidField(
                f"{field}[{index}] {cap_id!r} is there already; name each cap once",
                field=f"{field}[{index}]",
            )
    return list(ids)


def _overrides(pb: pb2.Step, wait: Wait, field: str, frame: Frame) -> list[WaitOverride]:
    checks.count(len(pb.wait_overrides), field, OVERRIDES_MAX)
    overrides: list[WaitOverride] = []
    for index, override in enumerate(pb.wait_overrides):
        path = f"{field}[{index}]"
        condition = frame.condition(override.condition, f"{path}.condition", f"step {pb.id!r}")
        if condition is None:
            checks.missing(f"{path}.condition", "for which events the wait is another")
        if not override.HasField("wait"):
            checks.missing(f"{path}.wait", "what replaces the step's wait")
        overrides.append(
            WaitOverride(condition, waits.replacing_wait(override.wait, wait, f"{path}.wait"))
        )
    return overrides


def _actions(found: Sequence[pb2.Action], wait: Wait, field: str, frame: Frame) -> list[Action]:
    if not found:
        checks.missing(field, f"1 to {bounds.ACTIONS_MAX} actions, each for another medium")
    checks.count(len(found), field, bounds.ACTIONS_MAX, "actions")
    actions: list[Action] = []
    for index, pb in enumerate(found):
        action = _action(pb, wait, f"{field}[{index}]", frame)
        if any(action.medium == other.medium for other in actions):
            raise InvalidField(
                f"{field}[{index}].medium is that of another action; each has its own",
                field=f"{field}[{index}].medium",
            )
        actions.append(action)
    return actions


def _action(pb: pb2.Action, wait: Wait, field: str, frame: Frame) -> Action:
    if not pb.medium:
        checks.missing(f"{field}.medium", _MEDIA)
    if pb.medium not in types_pb2.Medium.values():
        raise InvalidField(f"{field}.medium must be {_MEDIA}", field=f"{field}.medium")
    medium = Medium(pb.medium)
    validate_subject(pb.subject, field=f"{field}.subject")
    return Action(
        medium=medium,
        subject=pb.subject,
        recipient=_recipient(pb, field, frame),
        wait=waits.replacing_wait(pb.wait, wait, f"{field}.wait") if pb.HasField("wait") else None,
        template=contents.template_id(pb.template, medium, frame, f"{field}.template"),
        sender=addresses.sender_from_proto(pb.sender, f"{field}.sender")
        if pb.HasField("sender")
        else None,
        preheader=_preheader(pb.preheader, f"{field}.preheader"),
        body=texts.sms_body(pb.body, f"{field}.body")
        if medium is Medium.SMS
        else texts.body(pb.body, f"{field}.body", SUBJECT_VARIABLES),
        whatsapp_parameters=texts.whatsapp_parameters(
            pb.whatsapp_parameters, medium, f"{field}.whatsapp_parameters"
        ),
    )


def _recipient(pb: pb2.Action, field: str, frame: Frame) -> Recipient:
    path = f"{field}.recipient"
    recipient = checks.choice(pb.recipient, path, pb2.Action.Recipient)
    if recipient == Recipient.CARRIER:
        if Medium(pb.medium) is Medium.WEBHOOK:
            raise InvalidField(
                f"{path} of a webhook is RECIPIENT_CUSTOMER: it goes to a server of the shop's",
                field=path,
            )
        if frame.is_review:
            raise InvalidField(
                f"{path} of a review family is RECIPIENT_CUSTOMER: carriers write no reviews",
                field=path,
            )
        if frame.purpose != Purpose.OPERATIONAL:
            raise InvalidField(
                f"{path} RECIPIENT_CARRIER needs the purpose OPERATIONAL: set rule.purpose",
                field=path,
            )
    return Recipient(recipient or Recipient.CUSTOMER)


def _preheader(text: str, field: str) -> str:
    checks.text(text, field, bounds.SUBJECT_CHARS_MAX)
    check_variables(text, field, SUBJECT_VARIABLES)
    return text


def step_to_proto(step: Step) -> pb2.Step:
    """Return a step as clients see it."""
    pb = pb2.Step(
        id=step.id,
        wait=waits.wait_to_proto(step.wait),
        actions=[_action_to_proto(action) for action in step.actions],
        enabled=step.enabled,
        wait_overrides=[
            pb2.WaitOverride(wait=waits.wait_to_proto(override.wait))
            for override in step.wait_overrides
        ],
        exempt_from_caps=step.exempt_from_caps,
        not_counted_by_caps=step.not_counted_by_caps,
        on_cap=channel_service_pb2.Cap.OnCap.ValueType(step.on_cap),
    )
    conditions: list[Condition] = [override.condition for override in step.wait_overrides]
    for override_pb, condition in zip(pb.wait_overrides, conditions, strict=True):
        override_pb.condition.expression = condition.source
    if step.condition is not None:
        pb.condition.expression = step.condition.source
    return pb


def _action_to_proto(action: Action) -> pb2.Action:
    return pb2.Action(
        medium=medium_to_proto(action.medium),
        subject=action.subject,
        recipient=pb2.Action.Recipient.ValueType(action.recipient),
        wait=None if action.wait is None else waits.wait_to_proto(action.wait),
        template=action.template,
        sender=addresses.sender_to_proto(action.sender),
        preheader=action.preheader,
        body=action.body,
        whatsapp_parameters=action.whatsapp_parameters,
    )


def medium_to_proto(medium: int) -> types_pb2.Medium.ValueType:
    """Return a medium for the API; the numbers are the same."""
    return types_pb2.Medium.ValueType(medium)


def purpose_to_proto(purpose: int) -> types_pb2.Purpose.ValueType:
    """Return a purpose for the API; the numbers are the same."""
    return types_pb2.Purpose.ValueType(Purpose(purpose))
