"""Rules as people read them: what sets one off, what ends it and its steps, as phrases."""

from __future__ import annotations

from typing import Final

from afterword.v1 import channel_service_pb2, types_pb2
from afterword.v1 import rule_service_pb2 as api
from control.cli.values import DAY_SECONDS, length_text, time_of_day_text, word, words

FAMILIES: Final = words(api.Rule.Family, "FAMILY_")
ONCE_PER: Final = words(api.Rule.OncePer, "ONCE_PER_")
PURPOSES: Final = {
    text: purpose
    for text, purpose in words(types_pb2.Purpose, "PURPOSE_").items()
    if purpose not in (types_pb2.PURPOSE_REVIEW, types_pb2.PURPOSE_DATA_FORWARDING)
}
"""Why a notification or automation writes; requests for reviews have a purpose of their own."""
MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")
IF_PASSED: Final = words(api.Wait.IfPassed, "IF_PASSED_")
WAIT_BASES: Final = {
    text: base
    for text, base in words(api.Wait.Base, "BASE_").items()
    if base != api.Wait.BASE_PREVIOUS_STEP_SENT
}
"""From where the wait of a first step may count."""
RECIPIENTS: Final = words(api.Action.Recipient, "RECIPIENT_")
REARM: Final = words(api.Trigger.Purchase.Rearm, "REARM_")
STEP_ON_CAP: Final = {
    "as-caps-say": channel_service_pb2.Cap.ON_CAP_UNSPECIFIED,
    **words(channel_service_pb2.Cap.OnCap, "ON_CAP_"),
}
STOP_KEYS: Final = words(api.StopWhen.Key, "KEY_")
PRODUCT_TIMINGS: Final = words(api.ReviewSettings.ProductTiming, "PRODUCT_TIMING_")

FIRST_STEP, REMINDER_STEP = "invitation", "reminder"
"""Ids of the steps that the options make."""


def trigger_text(trigger: api.Trigger) -> str:
    """Return what sets a rule off: "3 purchases in 2 months"."""
    kind = trigger.WhichOneof("kind")
    if kind == "purchase":
        purchase = trigger.purchase
        text = "first purchase" if purchase.count == 1 else f"{purchase.count} purchases"
        if purchase.HasField("months"):
            return f"{text} in {purchase.months} month{'' if purchase.months == 1 else 's'}"
        if purchase.HasField("duration"):
            return f"{text} in {length_text(purchase.duration.seconds)}"
        return text
    if kind == "dormant":
        missed = trigger.dormant.event_type or "purchase"
        return f"no {missed} for {_wait_length(trigger.dormant.after)}"
    if kind == "debounce":
        quiet = length_text(trigger.debounce.quiet_for.seconds)
        return f"{quiet} after the last {trigger.debounce.event_type}"
    return trigger.event_type


def stops_text(stop_when: api.StopWhen) -> str:
    """Return what ends a rule: "return, payment_received by contact"."""
    return ", ".join([
        *stop_when.event_types,
        *(
            f"{stop.event_type} by {word(api.StopWhen.Key, 'KEY_', stop.key)}"
            for stop in stop_when.stops
        ),
    ])  # fmt: skip


def review_text(review: api.ReviewSettings) -> str:
    """Return what a request for reviews asks for, "" if nothing out of the ordinary."""
    parts = []
    if review.questionnaire:
        parts.append(f"questionnaire {review.questionnaire}")
    if review.comment_required:
        parts.append("only with a text")
    if review.product_timing == api.ReviewSettings.PRODUCT_TIMING_SAME_AS_SERVICE:
        parts.append("in one message with the service")
    return ", ".join(parts)


def step_text(step: api.Step, position: int) -> str:
    """Return a step as a phrase: "email 7d after the event at 10:00"."""
    wait = step.wait
    is_after_sending = wait.base == api.Wait.BASE_PREVIOUS_STEP_SENT or (
        position > 0 and wait.base == api.Wait.BASE_UNSPECIFIED
    )
    base = "the one before" if is_after_sending else "the event"
    if wait.base == api.Wait.BASE_ACTIVATION_DATE:
        base = "the activation date"
    parts = [
        " and ".join(_action_text(action) for action in step.actions),
        f"{_wait_length(wait)} after {base}",
    ]
    if wait.HasField("time_of_day"):
        parts.append(f"at {time_of_day_text(wait.time_of_day)}")
    if wait.span.seconds:
        parts.append(f"spread over {length_text(wait.span.seconds)}")
    if wait.span_days > 1:
        parts.append(f"spread over {wait.span_days} days")
    if step.wait_overrides:
        count = len(step.wait_overrides)
        parts.append(f"({count} other wait{'' if count == 1 else 's'} for some)")
    if step.condition.expression:
        parts.append(f"if {step.condition.expression}")
    if step.exempt_from_caps:
        parts.append(f"(exempt from {', '.join(step.exempt_from_caps)})")
    if step.not_counted_by_caps:
        parts.append(f"(not counted by {', '.join(step.not_counted_by_caps)})")
    if step.on_cap:
        on_cap = word(channel_service_pb2.Cap.OnCap, "ON_CAP_", step.on_cap)
        parts.append(f"(over a limit: {on_cap})")
    if step.HasField("enabled") and not step.enabled:
        parts.append("(switched off)")
    return " ".join(parts)


def _action_text(action: api.Action) -> str:
    text = word(types_pb2.Medium, "MEDIUM_", action.medium)
    if action.recipient == api.Action.RECIPIENT_CARRIER:
        text += " to the carrier"
    if action.HasField("wait"):
        text += f" ({_wait_length(action.wait)})"
    return text


def _wait_length(wait: api.Wait) -> str:
    by_day = wait.WhichOneof("length") == "days"
    return length_text(wait.days * DAY_SECONDS if by_day else wait.elapsed.seconds)
