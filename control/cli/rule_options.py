"""Rules as people write them: options and files to a Rule."""

from __future__ import annotations

import argparse
from typing import Final

from afterword.googleapis import expr_pb2, timeofday_pb2
from afterword.v1 import rule_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.files import FILE_HELP, changed_fields, read_message, replace_fields
from control.cli.parsers import add_validate_only, add_word
from control.cli.rule_caps import add_cap_options, apply_caps
from control.cli.rule_text import (
    FAMILIES,
    FIRST_STEP,
    IF_PASSED,
    MEDIA,
    ONCE_PER,
    PRODUCT_TIMINGS,
    PURPOSES,
    REARM,
    RECIPIENTS,
    REMINDER_STEP,
    STOP_KEYS,
    WAIT_BASES,
)
from control.cli.values import (
    DAY_SECONDS,
    LENGTH_HELP,
    UsageError,
    duration,
    length,
    names_or_none,
    time_of_day,
    words_help,
)

_TRIGGERS: Final = ("event", "purchases", "dormant_after", "debounce")
"""Options of which one says what sets a rule off."""


def add_rule_options(parser: argparse.ArgumentParser, *, is_new: bool) -> None:
    """Add everything that describes a rule, for `create` and `update`."""
    parser.add_argument(
        "--file", metavar="PATH", help=f"the rule {FILE_HELP}; options change what it says"
    )
    rule = parser.add_argument_group("rule")
    rule.add_argument("--display-name", metavar="TEXT", help="what people call it (its id)")
    if is_new:
        add_word(rule, "--family", FAMILIES, "what kind of rule (service-review)")
        add_word(rule, "--purpose", PURPOSES, "why it writes, for notifications and automations")
    rule.add_argument("--condition", metavar="CEL", help="only if this holds; '' removes it")
    rule.add_argument(
        "--stop-when", metavar="TYPES", help="event types that end what waits, with commas; or none"
    )
    rule.add_argument(
        "--stop",
        action="append",
        metavar="TYPE:KEY",
        help="an event type that ends what waits by another key, such as payment_received:contact, "
        f"may be repeated, or none; keys: {words_help(STOP_KEYS)}",
    )
    rule.add_argument(
        "--expire-after", type=length, metavar="LENGTH", help="not sent later than this"
    )
    rule.add_argument("--priority", type=int, metavar="N", help="0 to 100, higher goes first")
    add_word(rule, "--once-per", ONCE_PER, "for what a step is sent at most once (event)")
    rule.add_argument(
        "--require-feature",
        action="append",
        metavar="ID",
        help="a feature that a channel must have, may be repeated, or none",
    )
    _add_trigger_options(parser)
    _add_review_options(parser)
    _add_message_options(parser)
    rule.add_argument(
        "--activate-on",
        action="append",
        metavar="CHANNEL",
        help="switch it on there in the same write, may be repeated",
    )
    if not is_new:
        parser.add_argument("--enable-step", metavar="ID", help="switch a step on")
        parser.add_argument(
            "--disable-step", metavar="ID", help="switch a step off, also for what waits"
        )
    add_cap_options(parser)
    add_validate_only(parser)


def _add_trigger_options(parser: argparse.ArgumentParser) -> None:
    trigger = parser.add_argument_group("what sets it off, one of these")
    trigger.add_argument("--event", metavar="TYPE", help="every event of this type")
    trigger.add_argument(
        "--purchases", type=int, metavar="N", help="the N-th purchase of a contact"
    )
    trigger.add_argument(
        "--dormant-after", type=length, metavar="LENGTH", help="no purchase for so long"
    )
    trigger.add_argument(
        "--debounce", metavar="TYPE", help="so long after the last of a series of these events"
    )
    more = parser.add_argument_group("more about that")
    more.add_argument(
        "--within-months", type=int, metavar="N", help="purchases: within calendar months"
    )
    more.add_argument("--within", type=length, metavar="LENGTH", help="purchases: within this time")
    add_word(more, "--rearm", REARM, "purchases: when again (after-window)")
    more.add_argument(
        "--dormant-event", metavar="TYPE", help="dormant: no event of this type, not purchases"
    )
    more.add_argument(
        "--quiet-for", type=length, metavar="LENGTH", help="debounce: how long nothing may follow"
    )


def _add_review_options(parser: argparse.ArgumentParser) -> None:
    review = parser.add_argument_group("requests for reviews")
    review.add_argument("--questionnaire", metavar="ID", help="which questionnaire (the default)")
    review.add_argument(
        "--comment-required",
        action=argparse.BooleanOptionalAction,
        help="a review is taken only with a text",
    )
    add_word(review, "--product-timing", PRODUCT_TIMINGS, "when products are asked about (own)")


def _add_message_options(parser: argparse.ArgumentParser) -> None:
    first = parser.add_argument_group("first message")
    first.add_argument(
        "--after", type=length, metavar="LENGTH", help=f"how long after the event: {LENGTH_HELP}"
    )
    first.add_argument("--at", type=time_of_day, metavar="HH:MM", help="local time of day")
    first.add_argument("--span", type=length, metavar="LENGTH", help="spread over this from --at")
    first.add_argument("--span-days", type=int, metavar="N", help="spread over so many days")
    add_word(first, "--base", WAIT_BASES, "from where --after counts (event)")
    add_word(first, "--if-passed", IF_PASSED, "if --at has passed that day (next-day)")
    add_word(first, "--medium", MEDIA, "how it is sent (email)")
    add_word(first, "--recipient", RECIPIENTS, "to whom it goes (customer)")
    first.add_argument("--template", metavar="ID", help="which template (that of the family)")
    first.add_argument(
        "--subject", metavar="TEXT",
        help="may have {{order}}, {{first_name}}, {{shop}}, {{carrier}}, {{tracking_number}}",
    )  # fmt: skip
    first.add_argument(
        "--preheader", metavar="TEXT", help="what is shown behind the subject; may have the same"
    )
    first.add_argument(
        "--body", metavar="TEXT",
        help="the text, where the template leaves it open; may have the same, an SMS also "
        "{{products}}, {{link}}, {{expected_date}}",
    )  # fmt: skip
    first.add_argument("--sender", metavar="ADDRESS", help="address in From, if not the channel's")
    first.add_argument("--sender-name", metavar="TEXT", help="name in From")
    second = parser.add_argument_group("reminder, counted from the sending of the first message")
    second.add_argument("--reminder-after", type=length, metavar="LENGTH", help="how long after it")
    second.add_argument(
        "--reminder-at", type=time_of_day, metavar="HH:MM", help="local time of day"
    )
    second.add_argument("--reminder-subject", metavar="TEXT", help="subject of the reminder")


# --- reading ------------------------------------------------------------------------------------


def new_rule(options: argparse.Namespace) -> api.Rule:
    """Return the rule that the options or the file describe."""
    rule = read_message(options.file, api.Rule()) if options.file else api.Rule()
    if not options.file:
        if all(getattr(options, name) is None for name in _TRIGGERS):
            raise UsageError(
                "--event is missing: which event sets the rule off? Or use --purchases, "
                "--dormant-after, --debounce or --file"
            )
        if options.after is None:
            raise UsageError("--after is missing: how long after the event? 0 for at once")
        rule.family = FAMILIES[options.family or "service-review"]
    elif options.family:
        rule.family = FAMILIES[options.family]
    if options.purpose:
        rule.purpose = PURPOSES[options.purpose]
    _apply(rule, options)
    rule.display_name = rule.display_name or options.id
    return rule


def updated_rule(present: api.Rule, options: argparse.Namespace) -> tuple[api.Rule, list[str]]:
    """Return a rule as it is to be, and which fields of it have changed."""
    rule = api.Rule()
    rule.CopyFrom(present)
    if options.file:
        replace_fields(rule, read_message(options.file, api.Rule()))
    _apply(rule, options)
    for step_id, enabled in ((options.enable_step, True), (options.disable_step, False)):
        if step_id is not None:
            _step(rule, step_id).enabled = enabled
    rule.name = present.name
    paths = changed_fields(present, rule)
    if not paths and not options.activate_on:
        raise UsageError("nothing to change: give at least one option, see -h")
    return rule, paths


def _apply(rule: api.Rule, options: argparse.Namespace) -> None:
    """Write into the rule what the options give."""
    if options.display_name is not None:
        rule.display_name = options.display_name
    if options.condition:
        rule.condition.CopyFrom(expr_pb2.Expr(expression=options.condition))
    elif options.condition is not None:
        rule.ClearField("condition")
    if options.expire_after is not None:
        rule.expire_after.CopyFrom(duration(options.expire_after))
    if options.priority is not None:
        rule.priority = options.priority
    if options.once_per is not None:
        rule.once_per = ONCE_PER[options.once_per]
    if options.require_feature is not None:
        rule.required_features[:] = names_or_none("--require-feature", options.require_feature)
    _apply_trigger(rule, options)
    _apply_stops(rule, options)
    _apply_review(rule, options)
    _apply_first(rule, options)
    _apply_reminder(rule, options)
    apply_caps(rule, options)


def _apply_trigger(rule: api.Rule, options: argparse.Namespace) -> None:
    given = [name for name in _TRIGGERS if getattr(options, name) is not None]
    if len(given) > 1:
        flags = " and ".join("--" + name.replace("_", "-") for name in given)
        raise UsageError(f"{flags}: one of these sets the rule off")
    trigger = rule.trigger
    if options.event is not None:
        trigger.event_type = options.event
    if options.debounce is not None:
        trigger.debounce.event_type = options.debounce
    if options.quiet_for is not None:
        trigger.debounce.quiet_for.CopyFrom(duration(options.quiet_for))
    if options.dormant_after is not None:
        trigger.dormant.after.elapsed.CopyFrom(duration(options.dormant_after))
    if options.dormant_event is not None:
        trigger.dormant.event_type = options.dormant_event
    if options.purchases is not None:
        trigger.purchase.count = options.purchases
    if options.within_months is not None:
        trigger.purchase.months = options.within_months
    if options.within is not None:
        trigger.purchase.duration.CopyFrom(duration(options.within))
    if options.rearm is not None:
        trigger.purchase.rearm = REARM[options.rearm]


def _apply_stops(rule: api.Rule, options: argparse.Namespace) -> None:
    if options.stop_when is not None:
        types = [] if options.stop_when == "none" else options.stop_when.split(",")
        rule.stop_when.event_types[:] = [name.strip() for name in types]
        rule.stop_when.SetInParent()
    if options.stop is None:
        return
    stops = []
    for text in names_or_none("--stop", options.stop):
        event_type, _, key = text.partition(":")
        if key not in STOP_KEYS:
            raise UsageError(f"--stop: '{text}' is not TYPE:KEY; keys are {words_help(STOP_KEYS)}")
        stops.append(api.StopWhen.Stop(event_type=event_type, key=STOP_KEYS[key]))
    rule.stop_when.ClearField("stops")
    rule.stop_when.stops.extend(stops)
    rule.stop_when.SetInParent()


def _apply_review(rule: api.Rule, options: argparse.Namespace) -> None:
    if options.questionnaire is not None:
        rule.review.questionnaire = options.questionnaire
    if options.comment_required is not None:
        rule.review.comment_required = options.comment_required
    if options.product_timing is not None:
        rule.review.product_timing = PRODUCT_TIMINGS[options.product_timing]


_WAIT_OPTIONS: Final = ("after", "at", "span", "span_days", "base", "if_passed")
_ACTION_OPTIONS: Final = (
    "medium", "recipient", "template", "subject", "preheader", "body", "sender", "sender_name",
)  # fmt: skip


def _apply_first(rule: api.Rule, options: argparse.Namespace) -> None:
    if all(getattr(options, name) is None for name in (*_WAIT_OPTIONS, *_ACTION_OPTIONS)):
        return
    step = rule.steps[0] if rule.steps else rule.steps.add(id=FIRST_STEP)
    if options.after is not None or options.at is not None:
        _set_wait(step.wait, "--after", options.after, "--at", options.at)
    if options.span is not None:
        step.wait.span.CopyFrom(duration(options.span))
    if options.span_days is not None:
        step.wait.span_days = options.span_days
    if options.base is not None:
        step.wait.base = WAIT_BASES[options.base]
    if options.if_passed is not None:
        step.wait.if_passed = IF_PASSED[options.if_passed]
    action = step.actions[0] if step.actions else step.actions.add(medium=types_pb2.MEDIUM_EMAIL)
    if options.medium is not None:
        action.medium = MEDIA[options.medium]
    if options.recipient is not None:
        action.recipient = RECIPIENTS[options.recipient]
    for field in ("template", "subject", "preheader", "body"):
        if getattr(options, field) is not None:
            setattr(action, field, getattr(options, field))
    if options.sender is not None:
        action.sender.address = options.sender
    if options.sender_name is not None:
        action.sender.display_name = options.sender_name


def _apply_reminder(rule: api.Rule, options: argparse.Namespace) -> None:
    given = (options.reminder_after, options.reminder_at, options.reminder_subject)
    if all(value is None for value in given):
        return
    if not rule.steps:
        raise UsageError("a reminder needs a first message: give --after")
    if len(rule.steps) > 1:
        step = rule.steps[1]
    elif options.reminder_after is None:
        raise UsageError("--reminder-after is missing: how long after the first message?")
    else:
        step = rule.steps.add(id=REMINDER_STEP)
        step.wait.base = api.Wait.BASE_PREVIOUS_STEP_SENT
        step.actions.add(medium=rule.steps[0].actions[0].medium)
    if options.reminder_after is not None or options.reminder_at is not None:
        _set_wait(
            step.wait,
            "--reminder-after",
            options.reminder_after,
            "--reminder-at",
            options.reminder_at,
        )
    if options.reminder_subject is not None:
        step.actions[0].subject = options.reminder_subject


def _set_wait(
    wait: api.Wait,
    after_flag: str,
    seconds: int | None,
    at_flag: str,
    at: timeofday_pb2.TimeOfDay | None,
) -> None:
    """Write a length of time and a time of day, each if given."""
    if at is not None:
        wait.time_of_day.CopyFrom(at)
        if seconds is None and not wait.HasField("days"):
            raise UsageError(f"{at_flag} needs {after_flag} in whole days, such as {after_flag} 7d")
    if seconds is None:
        return
    if not wait.HasField("time_of_day"):
        wait.elapsed.CopyFrom(duration(seconds))
    elif seconds % DAY_SECONDS:
        raise UsageError(f"with {at_flag}, {after_flag} counts whole days, such as {after_flag} 7d")
    else:
        wait.days = seconds // DAY_SECONDS


def _step(rule: api.Rule, step_id: str) -> api.Step:
    for step in rule.steps:
        if step.id == step_id:
            return step
    known = ", ".join(step.id for step in rule.steps)
    raise UsageError(f"the rule has no step '{step_id}'; it has: {known}")
