"""`afterword rules`: what should follow from an event, and on which channels."""

from __future__ import annotations

import argparse
from typing import Final

from google.protobuf import field_mask_pb2

from afterword.v1 import rule_service_pb2 as api
from control.cli import rule_verbs
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb, add_word
from control.cli.rule_options import add_rule_options, new_rule, updated_rule
from control.cli.rule_text import (
    FAMILIES,
    ONCE_PER,
    review_text,
    step_text,
    stops_text,
    trigger_text,
)
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import length_text, word, words

APPLY_TO: Final = words(api.UpdateRuleRequest.ApplyTo, "APPLY_TO_")

_EXAMPLE: Final = """rules create ask --family service-review --event checkout \\
    --after 7d --at 10:00 --subject "How was your order {{order}}?" \\
    --reminder-after 5d --reminder-at 10:00 --reminder-subject "One last question"
  afterword rules create big-order --family notification --purpose marketing --event checkout \\
    --after 1d --condition 'order.amount >= 100.0 && order.currency == "EUR"' \\
    --subject "Thank you" --body "Here are 10% for your next order."
  afterword rules create thanks --family automation --purpose marketing \\
    --purchases 3 --within-months 2 --after 1h
  afterword rules create ask --file rule.yaml --activate-on madrid"""


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "rules", "what follows from an event, switched on per channel")
    create = add_verb(verbs, "create", run_create, "add a rule, inactive everywhere", _EXAMPLE)
    create.add_argument("id", help="its id: lower-case letters, digits and hyphens")
    add_rule_options(create, is_new=True)
    for name, run, summary in (
        ("get", run_get, "show one rule"),
        ("update", run_update, "change what is given, leave the rest"),
        ("delete", run_delete, "delete a rule and cancel what waits because of it"),
        ("activate", run_activate, "switch a rule on for a channel, in place of its rival"),
        ("deactivate", run_deactivate, "switch a rule off for a channel"),
    ):
        verb = add_verb(verbs, name, run, summary)
        verb.add_argument("rule", help="id or full name")
        if name == "update":
            add_rule_options(verb, is_new=False)
            add_word(verb, "--apply-to", APPLY_TO, "what the change holds for (new)")
        elif name.endswith("activate"):
            verb.add_argument("--channel", required=True, metavar="ID", help="id or full name")
            add_validate_only(verb)
        elif name == "delete":
            add_validate_only(verb)
    add_verb(verbs, "list", run_list, "list the rules")
    rule_verbs.add_verbs(verbs, show)


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a rule."""
    request = api.CreateRuleRequest(
        parent=session.parent,
        rule_id=options.id,
        rule=new_rule(options),
        activate_on=channel_names(session, options),
        validate_only=options.validate_only,
    )
    show(session.call(session.rules.CreateRule, request), options)


def run_get(session: Session, options: argparse.Namespace) -> None:
    """Show one rule."""
    request = api.GetRuleRequest(name=session.name("rules", options.rule))
    show(session.call(session.rules.GetRule, request), options)


def run_update(session: Session, options: argparse.Namespace) -> None:
    """Read the rule, change it, and write it back unless someone else did meanwhile."""
    name = session.name("rules", options.rule)
    present = session.call(session.rules.GetRule, api.GetRuleRequest(name=name))
    rule, paths = updated_rule(present, options)
    request = api.UpdateRuleRequest(
        rule=rule,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        apply_to=APPLY_TO.get(options.apply_to, api.UpdateRuleRequest.APPLY_TO_UNSPECIFIED),
        activate_on=channel_names(session, options),
        validate_only=options.validate_only,
    )
    show(session.call(session.rules.UpdateRule, request), options)


def run_delete(session: Session, options: argparse.Namespace) -> None:
    """Delete a rule."""
    request = api.DeleteRuleRequest(
        name=session.name("rules", options.rule), validate_only=options.validate_only
    )
    answer = session.call(session.rules.DeleteRule, request)
    if options.json:
        print_json(answer)
    else:
        print(f"{'can delete' if options.validate_only else 'deleted'} {request.name}")


def run_activate(session: Session, options: argparse.Namespace) -> None:
    """Switch a rule on, and tell what it replaced."""
    request = api.ActivateRuleRequest(
        name=session.name("rules", options.rule),
        channel=session.name("channels", options.channel),
        validate_only=options.validate_only,
    )
    answer = session.call(session.rules.ActivateRule, request)
    if options.json:
        return print_json(answer)
    _show_activation(answer.activation, options)
    for superseded in answer.superseded:
        print(f"in place of {superseded.rule}; what that has planned goes on")


def run_deactivate(session: Session, options: argparse.Namespace) -> None:
    """Switch a rule off."""
    request = api.DeactivateRuleRequest(
        name=session.name("rules", options.rule),
        channel=session.name("channels", options.channel),
        validate_only=options.validate_only,
    )
    _show_activation(session.call(session.rules.DeactivateRule, request), options)


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the rules."""

    def page(token: str) -> api.ListRulesResponse:
        request = api.ListRulesRequest(parent=session.parent, page_size=PAGE_SIZE, page_token=token)
        return session.call(session.rules.ListRules, request)

    found = session.all_pages(page, api.ListRulesResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("ID", "FAMILY", "EVENT", "SENDS", "ACTIVE ON"),
        (
            (
                short(rule.name),
                word(api.Rule.Family, "FAMILY_", rule.family),
                trigger_text(rule.trigger),
                "; ".join(step_text(step, position) for position, step in enumerate(rule.steps)),
                ", ".join(short(channel) for channel in rule.active_channels),
            )
            for rule in found.rules
        ),
    )


def channel_names(session: Session, options: argparse.Namespace) -> list[str]:
    """Return the full names of the channels to activate on."""
    return [session.name("channels", channel) for channel in options.activate_on or ()]


def _show_activation(activation: api.Activation, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(activation)
    rule_verbs.print_activations([activation])


def show(rule: api.Rule, options: argparse.Namespace) -> None:
    """Print a rule."""
    if options.json:
        return print_json(rule)
    trigger = trigger_text(rule.trigger)
    if trigger and not rule.event_type_active:
        trigger += " (switched off: the rule will not fire)"
    steps = "\n".join(
        f"{step.id}: {step_text(step, position)}" for position, step in enumerate(rule.steps)
    )
    expire = rule.expire_after.seconds
    once_per = rule.once_per if rule.once_per != api.Rule.ONCE_PER_EVENT else 0
    print_fields(
        (
            ("rule", rule.name),
            ("display name", rule.display_name),
            ("family", next((w for w, n in FAMILIES.items() if n == rule.family), "")),
            ("event", trigger),
            ("condition", rule.condition.expression),
            ("steps", steps),
            ("stops when", stops_text(rule.stop_when)),
            ("once per", next((w for w, n in ONCE_PER.items() if n == once_per), "")),
            ("review", review_text(rule.review)),
            ("needs", ", ".join(rule.required_features)),
            ("expires after", length_text(expire) if expire else ""),
            ("priority", str(rule.priority or "")),
            ("active on", "\n".join(rule.active_channels) or "no channel yet"),
            ("made from", rule.automation or rule.copied_from),
            ("revision", str(rule.revision or "")),
            ("what waits", _effect_text(rule)),
            ("warning", "\n".join(rule.warnings)),
            ("changed", time_text(rule.update_time)),
        )
    )


def _effect_text(rule: api.Rule) -> str:
    """Return what an edit did to what waits, "" if nothing was asked of it."""
    if not rule.HasField("pending_effect"):
        return ""
    effect = rule.pending_effect
    return (
        f"{effect.moved_count:,} moved, {effect.cancelled_count:,} cancelled, "
        f"{effect.unchanged_count:,} as before"
    )
