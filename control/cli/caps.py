"""`afterword caps`: how often one contact may be written to, and how much may go out in all."""

from __future__ import annotations

import argparse
from typing import Final

from google.protobuf import field_mask_pb2

from afterword.v1 import channel_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb, add_word
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import (
    LENGTH_HELP,
    UsageError,
    duration,
    length,
    length_text,
    word,
    words,
)

PURPOSES: Final = words(types_pb2.Purpose, "PURPOSE_")
MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")
SCOPES: Final = words(api.Cap.Scope, "SCOPE_")
STEPS: Final = {"all": api.Cap.STEPS_UNSPECIFIED, **words(api.Cap.Steps, "STEPS_")}
UNITS: Final = words(api.Cap.Unit, "UNIT_")
ON_CAP: Final = words(api.Cap.OnCap, "ON_CAP_")
SUBJECTS: Final = words(api.Cap.Subject, "SUBJECT_")
DEFER_TO: Final = words(api.Cap.DeferTo, "DEFER_TO_")


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "caps", "limits on how often one contact is written to, and on volume")
    create = add_verb(
        verbs,
        "create",
        run_create,
        "add a frequency cap",
        "caps create reviews --limit 1 --window 14d --purpose review --steps first --unit order",
    )
    create.add_argument("id", help="its id: lower-case letters, digits and hyphens")
    _add_fields(create)
    for name, run, summary in (
        ("get", run_get, "show one cap"),
        ("update", run_update, "change what is given, leave the rest"),
        ("delete", run_delete, "delete a cap"),
    ):
        verb = add_verb(verbs, name, run, summary)
        verb.add_argument("cap", help="id or full name")
        if name == "update":
            _add_fields(verb)
        elif name == "delete":
            add_validate_only(verb)
    add_verb(verbs, "list", run_list, "list the caps")


def _add_fields(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--display-name", metavar="TEXT", help="what people call it (its id)")
    parser.add_argument("--limit", type=int, metavar="N", help="how many; 0 blocks everything")
    parser.add_argument(
        "--window", type=length, metavar="LENGTH", help=f"in which time: {LENGTH_HELP}"
    )
    add_word(parser, "--scope", SCOPES, "counted per contact and (account)")
    add_word(parser, "--subject", SUBJECTS, "each contact by itself, or all together (contact)")
    add_word(parser, "--purpose", PURPOSES, "only these, may be repeated", action="append")
    add_word(parser, "--medium", MEDIA, "only these, may be repeated", action="append")
    add_word(parser, "--steps", STEPS, "which steps of a rule (all)")
    add_word(parser, "--unit", UNITS, "what counts as one (message)")
    add_word(parser, "--on-cap", ON_CAP, "what happens over the limit (by purpose)")
    add_word(parser, "--defer-to", DEFER_TO, "to when it is deferred (exact)")
    parser.add_argument(
        "--longest-deferral", type=length, metavar="LENGTH", help="defer at most this long"
    )
    add_validate_only(parser)


def _read(options: argparse.Namespace) -> tuple[api.Cap, list[str]]:
    """Return the cap as far as it is given, and which fields that is."""
    cap, paths = api.Cap(), []
    for field, choices in (
        ("scope", SCOPES),
        ("steps", STEPS),
        ("unit", UNITS),
        ("on_cap", ON_CAP),
        ("subject", SUBJECTS),
        ("defer_to", DEFER_TO),
        ("display_name", None),
        ("limit", None),
    ):
        value = getattr(options, field)
        if value is not None:
            setattr(cap, field, choices[value] if choices else value)
            paths.append(field)
    for field in ("window", "longest_deferral"):
        if (seconds := getattr(options, field)) is not None:
            getattr(cap, field).CopyFrom(duration(seconds))
            paths.append(field)
    if options.purpose:
        cap.purposes.extend(PURPOSES[purpose] for purpose in options.purpose)
        paths.append("purposes")
    if options.medium:
        cap.media.extend(MEDIA[medium] for medium in options.medium)
        paths.append("media")
    return cap, paths


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a cap."""
    cap, _ = _read(options)
    cap.display_name = cap.display_name or options.id
    cap.scope = cap.scope or api.Cap.SCOPE_ACCOUNT
    request = api.CreateCapRequest(
        parent=session.parent, cap_id=options.id, cap=cap, validate_only=options.validate_only
    )
    _show(session.call(session.channels.CreateCap, request), options)


def run_get(session: Session, options: argparse.Namespace) -> None:
    """Show one cap."""
    request = api.GetCapRequest(name=session.name("caps", options.cap))
    _show(session.call(session.channels.GetCap, request), options)


def run_update(session: Session, options: argparse.Namespace) -> None:
    """Change the fields that are given."""
    cap, paths = _read(options)
    if not paths:
        raise UsageError("nothing to change: give at least one option, see -h")
    cap.name = session.name("caps", options.cap)
    request = api.UpdateCapRequest(
        cap=cap,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        validate_only=options.validate_only,
    )
    _show(session.call(session.channels.UpdateCap, request), options)


def run_delete(session: Session, options: argparse.Namespace) -> None:
    """Delete a cap."""
    request = api.DeleteCapRequest(
        name=session.name("caps", options.cap), validate_only=options.validate_only
    )
    answer = session.call(session.channels.DeleteCap, request)
    if options.json:
        print_json(answer)
    else:
        print(f"{'can delete' if options.validate_only else 'deleted'} {request.name}")


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the caps."""

    def page(token: str) -> api.ListCapsResponse:
        request = api.ListCapsRequest(parent=session.parent, page_size=PAGE_SIZE, page_token=token)
        return session.call(session.channels.ListCaps, request)

    found = session.all_pages(page, api.ListCapsResponse())
    if options.json:
        return print_json(found)
    print_table(
        (
            "ID",
            "LIMIT",
            "WINDOW",
            "COUNTED PER",
            "PURPOSES",
            "MEDIA",
            "STEPS",
            "OVER THE LIMIT",
        ),
        (
            (short(cap.name), _limit(cap), length_text(cap.window.seconds), *_selector(cap))
            for cap in found.caps
        ),
    )


def _limit(cap: api.Cap) -> str:
    if not cap.HasField("limit"):
        return "none"
    unit = word(api.Cap.Unit, "UNIT_", cap.unit) or "message"
    return f"{cap.limit:,} {unit}{'' if cap.limit == 1 else 's'}"


def _selector(cap: api.Cap) -> tuple[str, str, str, str, str]:
    """Return what it is counted per, purposes, media, steps and what happens over the limit."""
    purposes = ", ".join(word(types_pb2.Purpose, "PURPOSE_", purpose) for purpose in cap.purposes)
    media = ", ".join(word(types_pb2.Medium, "MEDIUM_", medium) for medium in cap.media)
    return (
        _counted_per(cap),
        purposes or ("review" if cap.scope == api.Cap.SCOPE_PRODUCT else "review, marketing"),
        media or "all",
        word(api.Cap.Steps, "STEPS_", cap.steps) or "all",
        _over_the_limit(cap),
    )


def _counted_per(cap: api.Cap) -> str:
    scope = word(api.Cap.Scope, "SCOPE_", cap.scope)
    is_volume = cap.subject == api.Cap.SUBJECT_ALL_CONTACTS
    return f"{scope}, all contacts together" if is_volume else f"contact and {scope}"


def _over_the_limit(cap: api.Cap) -> str:
    if cap.scope == api.Cap.SCOPE_PRODUCT:
        return "left out"
    if cap.subject == api.Cap.SUBJECT_ALL_CONTACTS:
        return "wait"
    what = word(api.Cap.OnCap, "ON_CAP_", cap.on_cap) or "by purpose"
    if cap.defer_to == api.Cap.DEFER_TO_NEXT_TIME_OF_DAY:
        what += ", to the next time of day"
    return what


def _show(cap: api.Cap, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(cap)
    scope, purposes, media, steps, on_cap = _selector(cap)
    longest = cap.longest_deferral.seconds
    print_fields(
        (
            ("cap", cap.name),
            ("display name", cap.display_name),
            (
                "limit",
                f"{_limit(cap)} in {length_text(cap.window.seconds)}, per {scope}",
            ),
            ("purposes", purposes),
            ("media", media),
            ("steps", steps),
            ("over the limit", on_cap),
            ("longest deferral", length_text(longest) if longest else ""),
            ("changed", time_text(cap.update_time)),
        )
    )
