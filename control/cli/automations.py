"""`afterword automations`: rules ready to be taken."""

from __future__ import annotations

import argparse
from typing import Final

from afterword.v1 import rule_service_pb2 as api
from control.cli import rules
from control.cli.output import print_fields, print_json, print_story, print_table, short
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb, add_word
from control.cli.rule_text import step_text, stops_text, trigger_text
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import UsageError, word, words

CATEGORIES: Final = words(api.Automation.Category, "CATEGORY_")
_COLLECTION: Final = "automations/"


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "automations", "rules ready to be taken, with what may be changed")
    listing = add_verb(verbs, "list", run_list, "list the automations by category")
    add_word(listing, "--category", CATEGORIES, "only these")
    show = add_verb(
        verbs, "show", run_show, "show an automation and its parameters", aliases=("get",)
    )
    show.add_argument("automation", help="id or full name")
    create = add_verb(
        verbs, "create", run_create, "add a rule made from an automation",
        'automations create abandoned-cart --set wait=90m --set "subject=Still thinking?" \\\n'
        "    --activate-on madrid",
    )  # fmt: skip
    create.add_argument("automation", help="id or full name")
    create.add_argument("--id", metavar="ID", help="the id of the rule (that of the automation)")
    create.add_argument("--display-name", metavar="TEXT", help="what people call the rule")
    create.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="a parameter that is to differ, may be repeated",
    )
    create.add_argument(
        "--activate-on",
        action="append",
        metavar="CHANNEL",
        help="switch it on there in the same write, may be repeated",
    )
    add_validate_only(create)


def _name(text: str) -> str:
    return text if text.startswith(_COLLECTION) else f"{_COLLECTION}{text}"


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the automations."""

    def page(token: str) -> api.ListAutomationsResponse:
        request = api.ListAutomationsRequest(
            category=CATEGORIES.get(options.category, api.Automation.CATEGORY_UNSPECIFIED),
            page_size=PAGE_SIZE,
            page_token=token,
        )
        return session.call(session.rules.ListAutomations, request)

    found = session.all_pages(page, api.ListAutomationsResponse())
    if options.json:
        return print_json(found)
    print_story(
        ("CATEGORY", "ID", "DOES"),
        (
            (
                word(api.Automation.Category, "CATEGORY_", automation.category),
                short(automation.name),
                automation.description,
            )
            for automation in found.automations
        ),
    )


def run_show(session: Session, options: argparse.Namespace) -> None:
    """Show an automation."""
    request = api.GetAutomationRequest(name=_name(options.automation))
    automation = session.call(session.rules.GetAutomation, request)
    if options.json:
        return print_json(automation)
    rule = automation.rule
    print_fields(
        (
            ("automation", automation.name),
            ("display name", automation.display_name),
            ("does", automation.description),
            ("category", word(api.Automation.Category, "CATEGORY_", automation.category)),
            ("family", word(api.Rule.Family, "FAMILY_", rule.family)),
            ("event", trigger_text(rule.trigger)),
            ("steps", "\n".join(f"{s.id}: {step_text(s, at)}" for at, s in enumerate(rule.steps))),
            ("stops when", stops_text(rule.stop_when)),
            ("needs", ", ".join(rule.required_features)),
        )
    )
    print()
    print_table(
        ("PARAMETER", "WHAT", "DEFAULT"),
        (
            (
                parameter.id,
                parameter.display_name,
                # Texts of several lines are told by --json.
                " / ".join(filter(None, parameter.default_value.splitlines())),
            )
            for parameter in automation.parameters
        ),
    )


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a rule made from an automation."""
    parameters = {}
    for text in options.set or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set: '{text}' is not NAME=VALUE")
        parameters[name] = value
    request = api.CreateRuleFromAutomationRequest(
        parent=session.parent,
        rule_id=options.id or short(options.automation),
        automation=_name(options.automation),
        display_name=options.display_name or "",
        parameters=parameters,
        activate_on=rules.channel_names(session, options),
        validate_only=options.validate_only,
    )
    rules.show(session.call(session.rules.CreateRuleFromAutomation, request), options)
