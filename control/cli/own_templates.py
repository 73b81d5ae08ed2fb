"""`afterword templates create, update, delete, revisions`: templates of the shop's own."""

from __future__ import annotations

import argparse

import grpc

from afterword import errors
from afterword.v1 import template_service_pb2 as api
from control.cli.files import FILE_HELP, changed_fields, read_message, replace_fields
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_validate_only, add_verb
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import UsageError, word

_SHIPPED = ("templates/", "questionnaires/")


def add_verbs(verbs: SubParsers) -> None:
    """Add the verbs."""
    for name, run, summary in (
        ("create", run_create, "add a template of your own"),
        ("update", run_update, "change what the file has, leave the rest; a new revision"),
    ):
        verb = add_verb(verbs, name, run, summary, f"templates {name} ask-kindly ask-kindly.yaml")
        verb.add_argument("id", help="the id, by which rules name it")
        verb.add_argument("file", metavar="FILE", help=f"the template, {FILE_HELP}")
        add_validate_only(verb)
    delete = add_verb(verbs, "delete", run_delete, "delete a template that no rule names")
    delete.add_argument("id", help="id or full name")
    add_validate_only(delete)
    revisions = add_verb(verbs, "revisions", run_revisions, "list what a template was before")
    revisions.add_argument("id", help="id or full name")


def full_name(session: Session, text: str) -> str:
    """Return the name of a template: an own one of this id goes before a shipped one, as in rules."""
    if not text or text.startswith((*_SHIPPED, "accounts/")):
        return text
    own = session.name("templates", text)
    try:
        session.call(session.templates.GetTemplate, api.GetTemplateRequest(name=own))
    except grpc.RpcError as error:
        if errors.details(error).code is grpc.StatusCode.NOT_FOUND:
            return f"templates/{text}"
        raise
    return own


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a template."""
    template = read_message(options.file, api.Template())
    request = api.CreateTemplateRequest(
        parent=session.parent,
        template_id=options.id,
        template=template,
        validate_only=options.validate_only,
    )
    _show(session.call(session.templates.CreateTemplate, request), options)


def run_update(session: Session, options: argparse.Namespace) -> None:
    """Change what the file has."""
    name = session.name("templates", options.id)
    before = session.call(session.templates.GetTemplate, api.GetTemplateRequest(name=name))
    after = api.Template()
    after.CopyFrom(before)
    replace_fields(after, read_message(options.file, api.Template()))
    after.name = name
    paths = changed_fields(before, after)
    if not paths:
        raise UsageError(f"{options.file} changes nothing")
    request = api.UpdateTemplateRequest(template=after, validate_only=options.validate_only)
    request.update_mask.paths.extend(paths)
    _show(session.call(session.templates.UpdateTemplate, request), options)


def run_delete(session: Session, options: argparse.Namespace) -> None:
    """Delete a template."""
    request = api.DeleteTemplateRequest(
        name=session.name("templates", options.id), validate_only=options.validate_only
    )
    answer = session.call(session.templates.DeleteTemplate, request)
    if options.json:
        print_json(answer)
    else:
        print(f"{'can delete' if options.validate_only else 'deleted'} {request.name}")


def run_revisions(session: Session, options: argparse.Namespace) -> None:
    """List the revisions of a template."""

    def page(token: str) -> api.ListTemplateRevisionsResponse:
        request = api.ListTemplateRevisionsRequest(
            name=session.name("templates", options.id), page_size=PAGE_SIZE, page_token=token
        )
        return session.call(session.templates.ListTemplateRevisions, request)

    found = session.all_pages(page, api.ListTemplateRevisionsResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("REVISION", "CHANGED", "LOCALES", "SUBJECT"),
        (
            (
                str(each.revision),
                time_text(each.update_time),
                ", ".join(content.locale for content in each.contents),
                each.contents[0].email.subject,
            )
            for each in found.templates
        ),
    )


def show_contents(template: api.Template) -> None:
    """Print what an own template says, locale by locale."""
    for content in template.contents:
        email, whatsapp = content.email, content.whatsapp
        print()
        print_fields(
            (
                ("locale", content.locale),
                ("subject", email.subject),
                ("preheader", email.preheader),
                ("sender name", email.sender_name),
                ("reply to", email.reply_to),
                ("approved", f"{whatsapp.template_name} {whatsapp.language}".strip()),
                ("parameters", " | ".join(whatsapp.parameters)),
            )
        )
        print((email.html or content.sms.text).rstrip("\n"))


def show_preview(preview: api.PreviewTemplateResponse) -> None:
    """Print what a preview tells of an own template, beside an e-mail's fields."""
    print_fields(
        (
            ("template", short(preview.template)),
            ("revision", str(preview.template_revision or "")),
            ("language", preview.language),
            ("from", preview.sender),
            ("subject", preview.subject),
            ("preheader", preview.preheader),
            ("approved", f"{preview.whatsapp_template} {preview.whatsapp_language}".strip()),
            ("parameters", " | ".join(preview.whatsapp_parameters)),
            (
                "takes",
                f"{preview.sms_segments} of {preview.sms_encoding}" if preview.sms_segments else "",
            ),
        )
    )


def _show(template: api.Template, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(template)
    print_fields(
        (
            ("template", template.name),
            ("revision", str(template.revision)),
            ("kind", word(api.Template.Kind, "KIND_", template.kind)),
            ("locales", ", ".join(content.locale for content in template.contents)),
            ("default", template.default_locale),
        )
    )
