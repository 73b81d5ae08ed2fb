"""Rules and activations between protobuf and the registry.

Decides: whether a rule may be saved, by itself; that its event types exist is asked by the registry.
"""

from __future__ import annotations

from collections.abc import Sequence

from afterword.v1 import rule_service_pb2 as pb2
from control.conversion import channels, checks, contents, steps, texts, times, triggers
from control.conversion.frame import Conditions, Frame, OwnTemplates, no_templates
from core import bounds
from core.errors import InvalidField, OutOfRange
from core.model import REVIEW_FAMILIES, ActivationState, Family, Purpose
from core.registry.catalogue import Catalogue
from core.registry.documents import channel_name, rule_name
from core.registry.resources import Activation, Rule
from core.registry.rule_parts import OncePer, ProductTiming, ReviewSettings, Step

OUTPUT_ONLY = frozenset({
    "name", "revision", "event_type_active", "active_channels", "warnings", "etag", "create_time",
    "update_time", "copied_from", "automation", "pending_effect",
})  # fmt: skip
PRIORITY_MAX = 100
FEATURES_MAX = 8

_PURPOSES = (Purpose.MARKETING, Purpose.TRANSACTIONAL, Purpose.OPERATIONAL)


def automation_name(automation: str) -> str:
    """Return the full name of a predefined automation."""
    return f"automations/{automation}"


def rule_from_proto(
    pb: pb2.Rule,
    account: str,
    rule_id: str,
    conditions: Conditions,
    *,
    automation: str = "",
    own: OwnTemplates = no_templates,
) -> Rule:
    """Return a rule as a client wants it.

    Args:
        automation: id of the predefined automation it is made from.
        own: the shop's own templates.
    """
    display_name = checks.text(
        pb.display_name, "rule.display_name", bounds.NAME_CHARS_MAX, is_required=True
    )
    family = _family(pb)
    frame = Frame(family=family, purpose=_purpose(pb, family), conditions=conditions, own=own)
    trigger = triggers.trigger_from_proto(pb.trigger, frame)
    condition = frame.condition(pb.condition, "rule.condition")
    found_steps = steps.steps_from_proto(pb.steps, frame)
    if not 0 <= pb.priority <= PRIORITY_MAX:
        raise OutOfRange(f"rule.priority must be 0 to {PRIORITY_MAX}", field="rule.priority")
    stop_when, stops = triggers.stops_from_proto(pb, frame)
    features = channels.features(pb.required_features, "rule.required_features", FEATURES_MAX)
    rule = Rule(
        account=account,
        id=rule_id,
        display_name=display_name,
        family=family,
        purpose=frame.purpose,
        event_type=trigger.event_type,
        condition=condition,
        steps=found_steps,
        stop_when=stop_when,
        expire_after_ms=_expire_after_ms(pb),
        priority=pb.priority,
        warnings=[
            *frame.warnings, *triggers.warnings(trigger, stops), *_step_warnings(found_steps),
        ],
        purchase=trigger.purchase,
        dormant=trigger.dormant,
        debounce=trigger.debounce,
        stops=stops,
        once_per=_once_per(pb, frame),
        review=_review(pb, frame),
        required_features=list(features),
        automation=automation,
    )  # fmt: skip
    contents.check_texts(rule, own)
    return rule


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


def _once_per(pb: pb2.Rule, frame: Frame) -> OncePer:
    field = "rule.once_per"
    checks.choice(pb.once_per, field, pb2.Rule.OncePer)
    if frame.is_review and pb.once_per:
        raise InvalidField(
            f"{field} is for NOTIFICATION and AUTOMATION: a review family asks once per order in any "
            "case; leave it out",
            field=field,
        )
    return OncePer(pb.once_per or OncePer.EVENT)


def _review(pb: pb2.Rule, frame: Frame) -> ReviewSettings | None:
    field = "rule.review"
    if not pb.HasField("review"):
        return None
    if not frame.is_review:
        raise InvalidField(
            f"{field} is for the families SERVICE_REVIEW and PRODUCT_REVIEW; leave it out",
            field=field,
        )
    review = pb.review
    timing = checks.choice(
        review.product_timing, f"{field}.product_timing", pb2.ReviewSettings.ProductTiming
    )
    if timing and frame.family != Family.PRODUCT_REVIEW:
        raise InvalidField(
            f"{field}.product_timing is for the family PRODUCT_REVIEW; leave it out",
            field=f"{field}.product_timing",
        )
    return ReviewSettings(
        questionnaire=contents.questionnaire_id(
            review.questionnaire, field, comment_required=review.comment_required
        ),
        comment_required=review.comment_required,
        product_timing=ProductTiming(timing or ProductTiming.OWN),
    )


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
        found_waits = [
            step.wait,
            *(action.wait for action in step.actions if action.wait is not None),
            *(override.wait for override in step.wait_overrides),
        ]
        if any(
            wait.time_of_day_ms is not None and not wait.span_ms and wait.span_days < 2
            for wait in found_waits
        ):
            warnings.append(
                f"step {step.id!r}: everything goes out at the same minute; a span spreads it"
            )
        warnings += texts.sms_warnings(step)
    return warnings


def rule_to_proto(rule: Rule, catalogue: Catalogue) -> pb2.Rule:
    """Return a rule as clients see it.

    Args:
        catalogue: says where it is active now, and whether its event type is.
    """
    pb = pb2.Rule(
        name=rule.name,
        display_name=rule.display_name,
        family=pb2.Rule.Family.ValueType(rule.family),
        purpose=steps.purpose_to_proto(rule.purpose),
        trigger=triggers.trigger_to_proto(rule),
        steps=[steps.step_to_proto(step) for step in rule.steps],
        stop_when=triggers.stops_to_proto(rule),
        priority=rule.priority,
        revision=rule.revision,
        event_type_active=_is_trigger_on(rule, catalogue),
        active_channels=[
            channel_name(each.account, each.channel)
            for each in catalogue.activations_of(rule)
            if each.state == ActivationState.ACTIVE
        ],
        warnings=rule.warnings,
        etag=rule.etag,
        create_time=times.timestamp(rule.create_ms),
        update_time=times.timestamp(rule.update_ms),
        review=_review_to_proto(rule),
        required_features=rule.required_features,
        once_per=pb2.Rule.OncePer.ValueType(0 if rule.family in REVIEW_FAMILIES else rule.once_per),
        copied_from=rule_name(rule.account, rule.copied_from) if rule.copied_from else "",
        automation=automation_name(rule.automation) if rule.automation else "",
    )
    if rule.condition is not None:
        pb.condition.expression = rule.condition.source
    if rule.expire_after_ms is not None:
        pb.expire_after.CopyFrom(times.duration(rule.expire_after_ms))
    return pb


def _is_trigger_on(rule: Rule, catalogue: Catalogue) -> bool:
    """Return whether an event can set the rule off, or its timer."""
    found = (catalogue.event_type(rule.account, each) for each in triggers.event_types(rule))
    return any(event_type is not None and event_type.active for event_type in found)


def _review_to_proto(rule: Rule) -> pb2.ReviewSettings | None:
    review = rule.review
    if review is None:
        return None
    is_product = rule.family == Family.PRODUCT_REVIEW
    return pb2.ReviewSettings(
        questionnaire=review.questionnaire,
        comment_required=review.comment_required,
        product_timing=pb2.ReviewSettings.ProductTiming.ValueType(
            review.product_timing if is_product else 0
        ),
    )


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
