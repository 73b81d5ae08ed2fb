"""The steps of a rule between protobuf and the registry: waits and actions."""

from __future__ import annotations

from collections.abc import Sequence

from afterword.v1 import rule_service_pb2 as pb2
from afterword.v1 import types_pb2
from control.conversion import checks, times
from core import bounds
from core.errors import InvalidField, OutOfRange
from core.model import Medium, Purpose
from core.registry.rule_parts import Action, IfPassed, Step, Wait, WaitBase
from senders.templates import validate_subject

WAIT_DAYS_MAX = bounds.WAIT_MAX_MS // bounds.DAY_MS
_MEDIA = "EMAIL, SMS, WHATSAPP or WEBHOOK"


def steps_from_proto(found: Sequence[pb2.Step]) -> list[Step]:
    """Return the steps of a rule, each with an id of its own."""
    if not found:
        checks.missing("rule.steps", f"1 to {bounds.STEPS_MAX} steps")
    if len(found) > bounds.STEPS_MAX:
        raise OutOfRange(f"rule.steps has at most {bounds.STEPS_MAX} steps", field="rule.steps")
    steps: list[Step] = []
    for index, pb in enumerate(found):
        step = _step(pb, index, f"rule.steps[{index}]")
        if any(step.id == other.id for other in steps):
            raise InvalidField(
                f"rule.steps[{index}].id {step.id!r} is taken by another step; each has its own",
                field=f"rule.steps[{index}].id",
            )
        steps.append(step)
    return steps


def _step(pb: pb2.Step, index: int, field: str) -> Step:
    step_id = checks.resource_id(pb.id, f"{field}.id")
    if not pb.HasField("wait"):
        checks.missing(f"{field}.wait", "when the step is due: `elapsed` or `days`")
    return Step(
        id=step_id,
        wait=_wait(pb.wait, index, f"{field}.wait"),
        actions=_actions(pb.actions, f"{field}.actions"),
        enabled=pb.enabled if pb.HasField("enabled") else True,
    )


def _wait(pb: pb2.Wait, index: int, field: str) -> Wait:
    length = pb.WhichOneof("length")
    if length is None:
        checks.missing(field, "`elapsed` or `days` says how long")
    elapsed_ms = days = None
    if length == "elapsed":
        elapsed_ms = times.span_ms(
            pb.elapsed, f"{field}.elapsed", 0, bounds.WAIT_MAX_MS, f"0 to {WAIT_DAYS_MAX} days"
        )
    else:
        days = pb.days
        if not 0 <= days <= WAIT_DAYS_MAX:
            raise OutOfRange(f"{field}.days must be 0 to {WAIT_DAYS_MAX}", field=f"{field}.days")
    time_of_day_ms = None
    if pb.HasField("time_of_day"):
        if days is None:
            raise InvalidField(
                f"{field}.time_of_day goes with `days` only: an elapsed time is exact",
                field=f"{field}.time_of_day",
            )
        time_of_day_ms = times.time_of_day_ms(pb.time_of_day, f"{field}.time_of_day")
    return Wait(
        elapsed_ms=elapsed_ms,
        days=days,
        time_of_day_ms=time_of_day_ms,
        span_ms=_span_ms(pb, field),
        base=_base(pb, index, field),
        if_passed=_if_passed(pb, field),
    )


def _span_ms(pb: pb2.Wait, field: str) -> int:
    if not pb.HasField("span"):
        return 0
    span_ms = times.span_ms(
        pb.span, f"{field}.span", 0, bounds.DAY_MS - 1, "0 to less than 24 hours"
    )
    if span_ms and not pb.HasField("time_of_day"):
        raise InvalidField(f"{field}.span goes with `time_of_day` only", field=f"{field}.span")
    return span_ms


def _base(pb: pb2.Wait, index: int, field: str) -> WaitBase:
    if pb.base not in pb2.Wait.Base.values():
        raise InvalidField(
            f"{field}.base must be BASE_EVENT or BASE_PREVIOUS_STEP_SENT", field=f"{field}.base"
        )
    if not pb.base:
        return WaitBase.PREVIOUS_STEP_SENT if index else WaitBase.EVENT
    if pb.base == pb2.Wait.BASE_PREVIOUS_STEP_SENT and not index:
        raise InvalidField(
            f"{field}.base of the first step must be BASE_EVENT: there is no step before it",
            field=f"{field}.base",
        )
    return WaitBase(pb.base)


def _if_passed(pb: pb2.Wait, field: str) -> IfPassed:
    if pb.if_passed not in pb2.Wait.IfPassed.values():
        raise InvalidField(
            f"{field}.if_passed must be IF_PASSED_NEXT_DAY or IF_PASSED_NOW",
            field=f"{field}.if_passed",
        )
    return IfPassed(pb.if_passed or IfPassed.NEXT_DAY)


def _actions(found: Sequence[pb2.Action], field: str) -> list[Action]:
    if not found:
        checks.missing(field, f"1 to {bounds.ACTIONS_MAX} actions, each for another medium")
    if len(found) > bounds.ACTIONS_MAX:
        raise OutOfRange(f"{field} has at most {bounds.ACTIONS_MAX} actions", field=field)
    actions: list[Action] = []
    for index, pb in enumerate(found):
        if not pb.medium:
            checks.missing(f"{field}[{index}].medium", _MEDIA)
        if pb.medium not in types_pb2.Medium.values():
            raise InvalidField(
                f"{field}[{index}].medium must be {_MEDIA}", field=f"{field}[{index}].medium"
            )
        if any(int(pb.medium) == other.medium for other in actions):
            raise InvalidField(
                f"{field}[{index}].medium is that of another action; each has its own",
                field=f"{field}[{index}].medium",
            )
        validate_subject(pb.subject, field=f"{field}[{index}].subject")
        actions.append(Action(medium=Medium(pb.medium), subject=pb.subject))
    return actions


def step_to_proto(step: Step) -> pb2.Step:
    """Return a step as clients see it."""
    return pb2.Step(
        id=step.id,
        wait=_wait_to_proto(step.wait),
        actions=[
            pb2.Action(medium=medium_to_proto(action.medium), subject=action.subject)
            for action in step.actions
        ],
        enabled=step.enabled,
    )


def _wait_to_proto(wait: Wait) -> pb2.Wait:
    pb = pb2.Wait(
        base=pb2.Wait.Base.ValueType(wait.base),
        if_passed=pb2.Wait.IfPassed.ValueType(wait.if_passed),
    )
    if wait.days is not None:
        pb.days = wait.days
    else:
        pb.elapsed.CopyFrom(times.duration(wait.elapsed_ms or 0))
    if wait.time_of_day_ms is not None:
        pb.time_of_day.CopyFrom(times.time_of_day(wait.time_of_day_ms))
    if wait.span_ms:
        pb.span.CopyFrom(times.duration(wait.span_ms))
    return pb


def medium_to_proto(medium: int) -> types_pb2.Medium.ValueType:
    """Return a medium for the API; the numbers are the same."""
    return types_pb2.Medium.ValueType(medium)


def purpose_to_proto(purpose: int) -> types_pb2.Purpose.ValueType:
    """Return a purpose for the API; the numbers are the same."""
    return types_pb2.Purpose.ValueType(Purpose(purpose))
