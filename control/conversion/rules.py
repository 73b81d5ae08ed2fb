"""Rules and activations between protobuf and the registry.

Decides: whether a rule may be saved, by itself; that its event types exist is asked by the registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from afterword.v1 import rule_service_pb2 as pb2
from control.conversion import checks, steps, times
from core import bounds
from core.errors import InvalidField, OutOfRange
from core.model import REVIEW_FAMILIES, ActivationState, Family, Medium, Purpose
from core.registry.catalogue import Catalogue
from core.registry.documents import channel_name, rule_name
from core.registry.resources import DEFAULT_REVIEW_STOPS, Activation, Rule
from core.registry.rule_parts import Condition, Step

OUTPUT_ONLY = frozenset({
    "name", "revision", "event_type_active", "active_channels", "warnings", "etag", "create_time",
    "update_time",
})  # fmt: skip
PRIORITY_MAX = 100
STOP_TYPES_MAX = 64
SENDABLE = frozenset({Medium.EMAIL})
"""Media that this server has a transport for."""

_PURPOSES = (Purpose.MARKETING, Purpose.TRANSACTIONAL, Purpose.OPERATIONAL)


class Conditions(Protocol):
    """What checks conditions: `control.cel_frontend.ConditionFrontend`."""

    def compile(self, source: str, family: Family) -> Condition:
        """Return the checked condition, or raise ExpressionInvalid."""

    def warnings(self, condition: Condition, family: Family) -> list[str]:
        """Return what is allowed but probably not meant."""


def rule_from_proto(pb: pb2.Rule, account: str, rule_id: str, conditions: Conditions) -> Rule:
    """Return a rule as a client wants it."""
    display_name = checks.text(
        pb.display_name, "rule.display_name", bounds.NAME_CHARS_MAX, is_required=True
    )
    family = _family(pb)
    purpose = _purpose(pb, family)
    if pb.trigger.WhichOneof("kind") is None or not pb.trigger.event_type:
        checks.missing("rule.trigger.event_type", 'the id of an event type, for example "checkout"')
    condition = None
    if pb.condition.expression.strip():
        condition = conditions.compile(pb.condition.expression, family)
    found_steps = steps.steps_from_proto(pb.steps)
    if not 0 <= pb.priority <= PRIORITY_MAX:
        raise OutOfRange(f"rule.priority must be 0 to {PRIORITY_MAX}", field="rule.priority")
    warnings = conditions.warnings(condition, family) if condition is not None else []
    return Rule(
        account=account,
        id=rule_id,
        display_name=display_name,
        family=family,
        purpose=purpose,
        event_type=pb.trigger.event_type,
        condition=condition,
        steps=found_steps,
        stop_when=_stop_when(pb, family),
        expire_after_ms=_expire_after_ms(pb),
        priority=pb.priority,
        warnings=[*warnings, *_step_warnings(found_steps)],
    )


def _family(pb: pb2.Rule) -> Family:
    right = "SERVICE_REVIEW, PRODUCT_REVIEW, NOTIFICATION or AUTOMATION"
    if not pb.family:
        checks.missing("rule.family", right)
    if pb.family not in pb2.Rule.Family.values():
        raise InvalidField(f"rule.family must be {right}", field="rule.family")
    return Family(pb.family)


def _purpose(pb: pb2.Rule, family: Family) -> Purpose:
    purpose = int(pb.purpose)
    if family in REVIEW_FAMILIES:
        if purpose not in (Purpose.UNSPECIFIED, Purpose.REVIEW):
            raise InvalidField(
                "rule.purpose of a review family is REVIEW; leave it out", field="rule.purpose"
            )
        return Purpose.REVIEW
    right = "MARKETING, TRANSACTIONAL or OPERATIONAL"
    if not purpose:
        checks.missing("rule.purpose", right)
    if purpose == Purpose.REVIEW:
        # Only review families obey the laws on who may be asked (R21).
        raise InvalidField(
            "rule.purpose REVIEW is for the families SERVICE_REVIEW and PRODUCT_REVIEW; here it "
            f"must be {right}",
            field="rule.purpose",
        )
    if purpose not in _PURPOSES:
        raise InvalidField(f"rule.purpose must be {right}", field="rule.purpose")
    return Purpose(purpose)


def _stop_when(pb: pb2.Rule, family: Family) -> list[str]:
    if not pb.HasField("stop_when"):
        return list(DEFAULT_REVIEW_STOPS) if family in REVIEW_FAMILIES else []
    found = list(dict.fromkeys(pb.stop_when.event_types))
    if len(found) > STOP_TYPES_MAX:
        raise OutOfRange(
            f"rule.stop_when.event_types has at most {STOP_TYPES_MAX} entries",
            field="rule.stop_when.event_types",
        )
    return found


def _expire_after_ms(pb: pb2.Rule) -> int | None:
    if not pb.HasField("expire_after"):
        return None
    return times.span_ms(
        pb.expire_after, "rule.expire_after", bounds.MINUTE_MS, bounds.EXPIRE_AFTER_MAX_MS,
        "1 minute to 180 days",
    )  # fmt: skip


def _step_warnings(found: Sequence[Step]) -> list[str]:
    warnings: list[str] = []
    for step in found:
        if step.wait.time_of_day_ms is not None and not step.wait.span_ms:
            warnings.append(
                f"step {step.id!r}: everything goes out at the same minute; a span spreads it"
            )
        warnings += [
            f"step {step.id!r}: this server does not send {action.medium.name}; what is due over it "
            "ends SKIPPED (MEDIUM_NOT_CONFIGURED)"
            for action in step.actions
            if action.medium not in SENDABLE
        ]
    return warnings


def rule_to_proto(rule: Rule, catalogue: Catalogue) -> pb2.Rule:
    """Return a rule as clients see it.

    Args:
        catalogue: says where it is active now, and whether its event type is.
    """
    event_type = catalogue.event_type(rule.account, rule.event_type)
    pb = pb2.Rule(
        name=rule.name,
        display_name=rule.display_name,
        family=pb2.Rule.Family.ValueType(rule.family),
        purpose=steps.purpose_to_proto(rule.purpose),
        trigger=pb2.Trigger(event_type=rule.event_type),
        steps=[steps.step_to_proto(step) for step in rule.steps],
        stop_when=pb2.StopWhen(event_types=rule.stop_when),
        priority=rule.priority,
        revision=rule.revision,
        event_type_active=event_type is not None and event_type.active,
        active_channels=[
            channel_name(each.account, each.channel)
            for each in catalogue.activations_of(rule)
            if each.state == ActivationState.ACTIVE
        ],
        warnings=rule.warnings,
        etag=rule.etag,
        create_time=times.timestamp(rule.create_ms),
        update_time=times.timestamp(rule.update_ms),
    )
    if rule.condition is not None:
        pb.condition.expression = rule.condition.source
    if rule.expire_after_ms is not None:
        pb.expire_after.CopyFrom(times.duration(rule.expire_after_ms))
    return pb


def activation_to_proto(activation: Activation) -> pb2.Activation:
    """Return how a rule stands on a channel; one that never was active there has no time."""
    pb = pb2.Activation(
        name=activation.name,
        rule=rule_name(activation.account, activation.rule),
        state=pb2.Activation.State.ValueType(activation.state),
        actor=activation.actor,
    )
    if activation.update_ms:
        pb.update_time.CopyFrom(times.timestamp(activation.update_ms))
    return pb
