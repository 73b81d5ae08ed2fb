"""`afterword rules`: what should follow from an event, and on which channels."""

from __future__ import annotations

import argparse
from typing import Final

from google.protobuf import field_mask_pb2

from afterword.v1 import rule_service_pb2 as api
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb
from control.cli.rule_text import FAMILIES, add_rule_options, new_rule, step_text, updated_rule
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import length_text, word

_EXAMPLE: Final = """rules create ask --family service-review --event checkout \\
    --after 7d --at 10:00 --subject "How was your order {{order}}?" \\
    --reminder-after 5d --reminder-at 10:00 --reminder-subject "One last question"
  afterword rules create ask-big --event checkout --after 7d --condition 'order.total.units >= 100'
  afterword rules create ask --file rule.json"""


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
        elif name.endswith("activate"):
            verb.add_argument("--channel", required=True, metavar="ID", help="id or full name")
            add_validate_only(verb)
        elif name == "delete":
            add_validate_only(verb)
    add_verb(verbs, "list", run_list, "list the rules")


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a rule."""
    request = api.CreateRuleRequest(
        parent=session.parent,
        rule_id=options.id,
        rule=new_rule(options),
        validate_only=options.validate_only,
    )
    _show(session.call(session.rules.CreateRule, request), options)


def run_get(session: Session, options: argparse.Namespace) -> None:
    """Show one rule."""
    request = api.GetRuleRequest(name=session.name("rules", options.rule))
    _show(session.call(session.rules.GetRule, request), options)


def run_update(session: Session, options: argparse.Namespace) -> None:
    """Read the rule, change it, and write it back unless someone else did meanwhile."""
    name = session.name("rules", options.rule)
    present = session.call(session.rules.GetRule, api.GetRuleRequest(name=name))
    rule, paths = updated_rule(present, options)
    request = api.UpdateRuleRequest(
        rule=rule,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        validate_only=options.validate_only,
    )
    _show(session.call(session.rules.UpdateRule, request), options)


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
                rule.trigger.event_type,
                "; ".join(step_text(step, position) for position, step in enumerate(rule.steps)),
                ", ".join(short(channel) for channel in rule.active_channels),
            )
            for rule in found.rules
        ),
    )


def _show_activation(activation: api.Activation, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(activation)
    state = word(api.Activation.State, "STATE_", activation.state)
    channel = activation.name.rpartition("/activations/")[0]
    print(f"{activation.rule} is {state} on {channel}")


def _show(rule: api.Rule, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(rule)
    event_type = rule.trigger.event_type
    if event_type and not rule.event_type_active:
        event_type += " (switched off: the rule will not fire)"
    steps = "\n".join(
        f"{step.id}: {step_text(step, position)}" for position, step in enumerate(rule.steps)
    )
    expire = rule.expire_after.seconds
    print_fields(
        (
            ("rule", rule.name),
            ("display name", rule.display_name),
            ("family", next((w for w, n in FAMILIES.items() if n == rule.family), "")),
            ("event", event_type),
            ("condition", rule.condition.expression),
            ("steps", steps),
            ("stops when", ", ".join(rule.stop_when.event_types)),
            ("expires after", length_text(expire) if expire else ""),
            ("priority", str(rule.priority or "")),
            ("active on", "\n".join(rule.active_channels) or "no channel yet"),
            ("revision", str(rule.revision or "")),
            ("warning", "\n".join(rule.warnings)),
            ("changed", time_text(rule.update_time)),
        )
    )
