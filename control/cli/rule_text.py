"""Rules as people write and read them: options and files to a Rule, a step to a phrase."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from google.protobuf import json_format
from google.protobuf.message import Message

from afterword.googleapis import expr_pb2, timeofday_pb2
from afterword.v1 import rule_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.parsers import add_validate_only, add_word
from control.cli.values import (
    DAY_SECONDS,
    LENGTH_HELP,
    UsageError,
    duration,
    length,
    length_text,
    time_of_day,
    time_of_day_text,
    word,
    words,
)

FAMILIES: Final = words(api.Rule.Family, "FAMILY_")
PURPOSES: Final = words(types_pb2.Purpose, "PURPOSE_")
MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")
IF_PASSED: Final = words(api.Wait.IfPassed, "IF_PASSED_")

FIRST_STEP, REMINDER_STEP = "invitation", "reminder"
"""Ids of the steps that the options make."""


def add_rule_options(parser: argparse.ArgumentParser, *, is_new: bool) -> None:
    """Add everything that describes a rule, for `create` and `update`."""
    parser.add_argument(
        "--file", metavar="PATH", help="the rule as proto JSON, '-' for standard input"
    )
    rule = parser.add_argument_group("rule")
    rule.add_argument("--display-name", metavar="TEXT", help="what people call it (its id)")
    if is_new:
        add_word(rule, "--family", FAMILIES, "what kind of rule (service-review)")
        add_word(rule, "--purpose", PURPOSES, "why it writes, for notifications and automations")
    rule.add_argument("--event", metavar="TYPE", help="the event type that sets it off")
    rule.add_argument("--condition", metavar="CEL", help="only if this holds; '' removes it")
    rule.add_argument(
        "--stop-when", metavar="TYPES", help="event types that end what waits, with commas; or none"
    )
    rule.add_argument(
        "--expire-after", type=length, metavar="LENGTH", help="not sent later than this"
    )
    rule.add_argument("--priority", type=int, metavar="N", help="0 to 100, higher goes first")
    first = parser.add_argument_group("first message")
    first.add_argument(
        "--after", type=length, metavar="LENGTH", help=f"how long after the event: {LENGTH_HELP}"
    )
    first.add_argument("--at", type=time_of_day, metavar="HH:MM", help="local time of day")
    first.add_argument("--span", type=length, metavar="LENGTH", help="spread over this from --at")
    add_word(first, "--if-passed", IF_PASSED, "if --at has passed that day (next-day)")
    add_word(first, "--medium", MEDIA, "how it is sent (email)")
    first.add_argument(
        "--subject", metavar="TEXT", help="may have {{order}}, {{first_name}}, {{shop}}"
    )
    second = parser.add_argument_group("reminder, counted from the sending of the first message")
    second.add_argument("--reminder-after", type=length, metavar="LENGTH", help="how long after it")
    second.add_argument(
        "--reminder-at", type=time_of_day, metavar="HH:MM", help="local time of day"
    )
    second.add_argument("--reminder-subject", metavar="TEXT", help="subject of the reminder")
    if not is_new:
        parser.add_argument("--enable-step", metavar="ID", help="switch a step on")
        parser.add_argument(
            "--disable-step", metavar="ID", help="switch a step off, also for what waits"
        )
    add_validate_only(parser)


# --- reading ------------------------------------------------------------------------------------


def new_rule(options: argparse.Namespace) -> api.Rule:
    """Return the rule that the options or the file describe."""
    rule = _from_file(options.file) if options.file else api.Rule()
    if not options.file:
        if options.event is None:
            raise UsageError("--event is missing: which event sets the rule off? Or use --file")
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
        read = _from_file(options.file)
        _replace_fields(rule, read)
    _apply(rule, options)
    for step_id, enabled in ((options.enable_step, True), (options.disable_step, False)):
        if step_id is not None:
            _step(rule, step_id).enabled = enabled
    rule.name = present.name
    paths = changed_fields(present, rule)
    if not paths:
        raise UsageError("nothing to change: give at least one option, see -h")
    return rule, paths


def changed_fields(before: Message, after: Message) -> list[str]:
    """Return the top-level fields in which two messages of one type differ."""
    return [
        field.name
        for field in before.DESCRIPTOR.fields
        if _without_others(before, field.name) != _without_others(after, field.name)
    ]


def _replace_fields(message: Message, source: Message) -> None:
    """Overwrite every field that is set in `source`; repeated ones too, instead of appending."""
    for field, _ in source.ListFields():
        message.ClearField(field.name)
    message.MergeFrom(source)


def _without_others(message: Message, field: str) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    for other in message.DESCRIPTOR.fields:
        if other.name != field:
            copy.ClearField(other.name)
    return copy


def _from_file(path: str) -> api.Rule:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        return json_format.ParseDict(json.loads(text), api.Rule())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--file: {error}") from None
    except (json.JSONDecodeError, json_format.ParseError) as error:
        raise UsageError(f"--file: {path}: {error}") from None


def _apply(rule: api.Rule, options: argparse.Namespace) -> None:
    """Write into the rule what the options give."""
    if options.display_name is not None:
        rule.display_name = options.display_name
    if options.event is not None:
        rule.trigger.event_type = options.event
    if options.condition:
        rule.condition.CopyFrom(expr_pb2.Expr(expression=options.condition))
    elif options.condition is not None:
        rule.ClearField("condition")
    if options.stop_when is not None:
        types = [] if options.stop_when == "none" else options.stop_when.split(",")
        rule.stop_when.CopyFrom(api.StopWhen(event_types=(name.strip() for name in types)))
    if options.expire_after is not None:
        rule.expire_after.CopyFrom(duration(options.expire_after))
    if options.priority is not None:
        rule.priority = options.priority
    _apply_first(rule, options)
    _apply_reminder(rule, options)


def _apply_first(rule: api.Rule, options: argparse.Namespace) -> None:
    given = (options.after, options.at, options.span, options.if_passed, options.medium,
             options.subject)  # fmt: skip
    if all(value is None for value in given):
        return
    step = rule.steps[0] if rule.steps else rule.steps.add(id=FIRST_STEP)
    if options.after is not None or options.at is not None:
        _set_wait(step.wait, "--after", options.after, "--at", options.at)
    if options.span is not None:
        step.wait.span.CopyFrom(duration(options.span))
    if options.if_passed is not None:
        step.wait.if_passed = IF_PASSED[options.if_passed]
    action = step.actions[0] if step.actions else step.actions.add(medium=types_pb2.MEDIUM_EMAIL)
    if options.medium is not None:
        action.medium = MEDIA[options.medium]
    if options.subject is not None:
        action.subject = options.subject


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


# --- writing ------------------------------------------------------------------------------------


def step_text(step: api.Step, position: int) -> str:
    """Return a step as a phrase: "email 7d after the event at 10:00"."""
    wait = step.wait
    by_day = wait.WhichOneof("length") == "days"
    span = length_text(wait.days * DAY_SECONDS if by_day else wait.elapsed.seconds)
    is_after_sending = wait.base == api.Wait.BASE_PREVIOUS_STEP_SENT or (
        position > 0 and wait.base == api.Wait.BASE_UNSPECIFIED
    )
    parts = [
        " and ".join(word(types_pb2.Medium, "MEDIUM_", action.medium) for action in step.actions),
        f"{span} after {'the one before' if is_after_sending else 'the event'}",
    ]
    if wait.HasField("time_of_day"):
        parts.append(f"at {time_of_day_text(wait.time_of_day)}")
    if wait.span.seconds:
        parts.append(f"spread over {length_text(wait.span.seconds)}")
    if step.HasField("enabled") and not step.enabled:
        parts.append("(switched off)")
    return " ".join(parts)
