"""`afterword templates`: what can be said, and what rules say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from afterword.v1 import template_service_pb2 as api
from afterword.v1 import types_pb2
from afterword.v1.rule_service_pb2 import Rule
from control.cli import own_templates
from control.cli.files import FILE_HELP, read_message
from control.cli.output import print_fields, print_json, print_story, print_table, short
from control.cli.parsers import SubParsers, add_noun, add_verb, add_word
from control.cli.rule_text import FAMILIES
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import UsageError, word, words

KINDS: Final = words(api.Template.Kind, "KIND_")
MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "templates", "what messages and questionnaires say")
    listing = add_verb(verbs, "list", run_list, "list the templates")
    listing.add_argument(
        "--own", action="store_true", help="those of your own, not the shipped ones"
    )
    add_word(listing, "--kind", KINDS, "only these")
    add_word(listing, "--family", FAMILIES, "only those that such rules may name")
    show = add_verb(verbs, "show", run_show, "show a template", aliases=("get",))
    show.add_argument("template", help='id, or "questionnaires/standard"')
    show.add_argument("--revision", type=int, default=0, metavar="N", help="of an own one")
    own_templates.add_verbs(verbs)
    of_rule = add_verb(verbs, "of-rule", run_of_rule, "show what each step of a rule says")
    of_rule.add_argument("rule", help="id or full name")
    of_rule.add_argument("--locale", metavar="LOCALE", help="language of the texts (English)")
    preview = add_verb(
        verbs, "preview", run_preview, "render a message as it would go out; nothing is sent",
        "templates preview --rule ask --locale de --html preview.html",
    )  # fmt: skip
    preview.add_argument("template", nargs="?", help="by itself, or in place of the rule's")
    preview.add_argument("--rule", metavar="RULE", help="id or full name")
    preview.add_argument("--step", metavar="ID", help="which step (the first)")
    add_word(preview, "--medium", MEDIA, "over which medium (that of the template, else e-mail)")
    preview.add_argument("--channel", metavar="CHANNEL", help="whose name, sender and language")
    preview.add_argument("--locale", metavar="LOCALE", help="the recipient's")
    preview.add_argument("--combined", action="store_true", help="as one request with products")
    preview.add_argument("--event", metavar="FILE", help=f"what happened, {FILE_HELP}")
    preview.add_argument("--invitation", metavar="NAME", help="whose event is taken")
    preview.add_argument("--html", metavar="FILE", help="write the HTML part there")


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the templates."""

    def page(token: str) -> api.ListTemplatesResponse:
        request = api.ListTemplatesRequest(
            kind=KINDS.get(options.kind, api.Template.KIND_UNSPECIFIED),
            family=FAMILIES.get(options.family, Rule.FAMILY_UNSPECIFIED),
            page_size=PAGE_SIZE,
            page_token=token,
            parent=session.parent if options.own else "",
        )
        return session.call(session.templates.ListTemplates, request)

    found = session.all_pages(page, api.ListTemplatesResponse())
    if options.json:
        return print_json(found)
    print_story(
        ("KIND", "ID", "WHAT IT IS"),
        (
            (word(api.Template.Kind, "KIND_", each.kind), short(each.name), each.description)
            for each in found.templates
        ),
    )


def run_show(session: Session, options: argparse.Namespace) -> None:
    """Show a template."""
    name = own_templates.full_name(session, options.template)
    request = api.GetTemplateRequest(name=name, revision=options.revision)
    template = session.call(session.templates.GetTemplate, request)
    if options.json:
        return print_json(template)
    family_words = {number: text for text, number in FAMILIES.items()}
    is_questionnaire = template.kind == api.Template.KIND_QUESTIONNAIRE
    comment = "may be mandatory" if template.can_require_comment else "cannot be mandatory"
    print_fields(
        (
            ("template", template.name),
            ("display name", template.display_name),
            ("is", template.description),
            ("for", ", ".join(family_words[each] for each in template.families)),
            ("default for", ", ".join(family_words[each] for each in template.default_for)),
            (
                "purposes",
                ", ".join(word(types_pb2.Purpose, "PURPOSE_", each) for each in template.purposes),
            ),
            ("body", word(api.Template.Body, "BODY_", template.body) if template.body else ""),
            ("languages", ", ".join(template.languages)),
            ("comment", comment if is_questionnaire else ""),
        )
    )
    own_templates.show_contents(template)
    if not is_questionnaire:
        return
    print()
    print_table(
        ("QUESTION", "ABOUT", "KIND", "REQUIRED", "TEXT"),
        (
            (
                question.id,
                word(api.Question.Subject, "SUBJECT_", question.subject),
                word(api.Question.Kind, "KIND_", question.kind),
                "yes" if question.required else "",
                question.text,
            )
            for question in template.questions
        ),
    )


def run_of_rule(session: Session, options: argparse.Namespace) -> None:
    """Show what a rule says."""
    request = api.ListRuleTemplatesRequest(
        rule=session.name("rules", options.rule), locale=options.locale or ""
    )
    found = session.call(session.templates.ListRuleTemplates, request)
    if options.json:
        return print_json(found)
    for at, said in enumerate(found.templates):
        if at:
            print()
        sender = said.sender
        print_fields(
            (
                ("step", said.step),
                ("medium", word(types_pb2.Medium, "MEDIUM_", said.medium)),
                ("template", short(said.template)),
                ("with products", short(said.combined_template)),
                ("sender", f"{sender.display_name} <{sender.address}>" if sender.address else ""),
                ("subject", said.subject),
                ("preheader", said.preheader),
                ("body", said.body),
                ("questionnaire", short(said.questionnaire)),
                ("comment", "mandatory" if said.comment_required else ""),
            )
        )


def run_preview(session: Session, options: argparse.Namespace) -> None:
    """Render a message."""
    if not options.template and not options.rule:
        raise UsageError("name a template, or a rule with --rule")
    request = api.PreviewTemplateRequest(
        rule=session.name("rules", options.rule or ""),
        step=options.step or "",
        medium=MEDIA.get(options.medium, types_pb2.MEDIUM_UNSPECIFIED),
        template=own_templates.full_name(session, options.template or ""),
        invitation=session.name("invitations", options.invitation or ""),
        channel=session.name("channels", options.channel or ""),
        locale=options.locale or "",
        combined=options.combined,
    )
    if options.event:
        read_message(options.event, request.event)
        request.event.SetInParent()
    preview = session.call(session.templates.PreviewTemplate, request)
    if options.html:
        try:
            Path(options.html).write_text(preview.html, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--html: {error}") from None
    if options.json:
        return print_json(preview)
    own_templates.show_preview(preview)
    print()
    print(preview.text, end="")
