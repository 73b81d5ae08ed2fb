"""`afterword platforms`: where else reviews are written, which part goes there, and the proof."""

from __future__ import annotations

import argparse
from typing import Final

from google.protobuf import field_mask_pb2

from afterword.v1 import channel_service_pb2, invitation_service_pb2, types_pb2
from afterword.v1 import platform_service_pb2 as api
from control.cli import platform_audit
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb, add_word
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import UsageError, word, words

_KINDS: Final = {
    name.removeprefix("KIND_").lower(): number
    for name, number in api.Platform.Kind.items()
    if number
}
_TYPES: Final = {
    "service": invitation_service_pb2.Invitation.REVIEW_TYPE_SERVICE,
    "product": invitation_service_pb2.Invitation.REVIEW_TYPE_PRODUCT,
}
_WORDS: Final = {"yes": True, "no": False}
_MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "platforms", "other platforms that reviews are written on")
    create = add_verb(
        verbs, "create", run_create, "add a platform",
        "platforms create trustpilot --kind trustpilot --type service "
        "--review-url 'https://reviews.example/shop?order={{order}}'",
    )  # fmt: skip
    create.add_argument("id", help='the id; not "own"')
    _add_fields(create)
    for name, run, summary in (
        ("get", run_get, "show one platform"),
        ("update", run_update, "change what is given, leave the rest"),
        ("delete", run_delete, "delete a platform that no channel gives a share"),
    ):
        verb = add_verb(verbs, name, run, summary)
        verb.add_argument("platform", help="id or full name")
        if name == "update":
            _add_fields(verb)
        elif name == "delete":
            add_validate_only(verb)
    add_verb(verbs, "list", run_list, "list the platforms")
    divide = add_verb(
        verbs, "divide", run_divide,
        "say which part of a channel's review requests goes where; the rest stays on the own platform",
        "platforms divide madrid trustpilot=40 google=10",
    )  # fmt: skip
    divide.add_argument("channel", help="id or full name")
    divide.add_argument(
        "weights", nargs="*", metavar="PLATFORM=PERCENT", help="none: everything stays"
    )
    divide.add_argument("--renew-salt", action="store_true", help="draw all later orders anew")
    add_validate_only(divide)
    platform_audit.add_verb_audit(verbs)


def _add_fields(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--display-name", metavar="TEXT", help="what people call it")
    add_word(parser, "--kind", _KINDS, "what it is")
    parser.add_argument(
        "--type", action="append", choices=_TYPES, metavar="WORD", dest="types",
        help="what is reviewed there: service, product; give it twice for both",
    )  # fmt: skip
    parser.add_argument("--review-url", metavar="URL", help="where reviews are written")
    parser.add_argument(
        "--email-template", metavar="ID", help='template of e-mails that lead there; "" for none'
    )
    parser.add_argument(
        "--template", action="append", metavar="MEDIUM=ID", dest="templates", default=[],
        help="own template over another medium, sms=ask-kindly, may be repeated; those that are not "
        "given go",
    )  # fmt: skip
    add_word(parser, "--reports-reviews", _WORDS, "whether it tells who has reviewed")
    add_word(parser, "--needs-consent", _WORDS, "whether leading there takes DATA_FORWARDING")
    add_validate_only(parser)


def _read(options: argparse.Namespace) -> tuple[api.Platform, list[str]]:
    """Return the platform as far as it is given, and which fields that is."""
    platform, paths = api.Platform(), []
    if options.display_name is not None:
        platform.display_name = options.display_name
        paths.append("display_name")
    if options.kind is not None:
        platform.kind = _KINDS[options.kind]
        paths.append("kind")
    if options.types is not None:
        platform.review_types.extend(_TYPES[one] for one in dict.fromkeys(options.types))
        paths.append("review_types")
    if options.review_url is not None:
        platform.review_url = options.review_url
        paths.append("review_url")
    if options.email_template is not None or options.templates:
        if options.email_template:
            platform.templates.add(medium=types_pb2.MEDIUM_EMAIL, template=options.email_template)
        for text in options.templates:
            medium, _, template = text.partition("=")
            if medium not in _MEDIA or not template:
                raise UsageError(f"--template: {text!r} is not MEDIUM=ID, such as sms=ask-kindly")
            platform.templates.add(medium=_MEDIA[medium], template=template)
        paths.append("templates")
    if options.reports_reviews is not None:
        platform.reports_reviews = _WORDS[options.reports_reviews]
        paths.append("reports_reviews")
    if options.needs_consent is not None:
        platform.needs_data_forwarding = _WORDS[options.needs_consent]
        paths.append("needs_data_forwarding")
    return platform, paths


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a platform."""
    platform, _ = _read(options)
    request = api.CreatePlatformRequest(
        parent=session.parent,
        platform_id=options.id,
        platform=platform,
        validate_only=options.validate_only,
    )
    _show(session.call(session.platforms.CreatePlatform, request), options)


def run_get(session: Session, options: argparse.Namespace) -> None:
    """Show one platform."""
    request = api.GetPlatformRequest(name=session.name("platforms", options.platform))
    _show(session.call(session.platforms.GetPlatform, request), options)


def run_update(session: Session, options: argparse.Namespace) -> None:
    """Change the fields that are given."""
    platform, paths = _read(options)
    if not paths:
        raise UsageError("nothing to change: give at least one option, see -h")
    platform.name = session.name("platforms", options.platform)
    request = api.UpdatePlatformRequest(
        platform=platform,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        validate_only=options.validate_only,
    )
    _show(session.call(session.platforms.UpdatePlatform, request), options)


def run_delete(session: Session, options: argparse.Namespace) -> None:
    """Delete a platform."""
    request = api.DeletePlatformRequest(
        name=session.name("platforms", options.platform), validate_only=options.validate_only
    )
    answer = session.call(session.platforms.DeletePlatform, request)
    if options.json:
        print_json(answer)
    else:
        print(f"{'can delete' if options.validate_only else 'deleted'} {request.name}")


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the platforms."""

    def page(token: str) -> api.ListPlatformsResponse:
        request = api.ListPlatformsRequest(
            parent=session.parent, page_size=PAGE_SIZE, page_token=token
        )
        return session.call(session.platforms.ListPlatforms, request)

    found = session.all_pages(page, api.ListPlatformsResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("ID", "NAME", "KIND", "TYPES", "NEEDS CONSENT", "REVIEW URL"),
        (
            (
                short(one.name),
                one.display_name,
                _kind_word(one),
                _types_text(one),
                "yes" if one.needs_data_forwarding else "no",
                one.review_url,
            )
            for one in found.platforms
        ),
    )


def run_divide(session: Session, options: argparse.Namespace) -> None:
    """Say which part of a channel's review requests goes where."""
    diversion = channel_service_pb2.Diversion(renew_salt=options.renew_salt)
    for text in options.weights:
        platform, equals, percent = text.rpartition("=")
        if not equals or not platform or not percent.isdecimal() or len(percent) > 3:
            raise UsageError(f"'{text}' is not PLATFORM=PERCENT, such as trustpilot=40")
        diversion.weights.add(platform=session.name("platforms", platform), percent=int(percent))
    request = channel_service_pb2.UpdateChannelRequest(
        channel=channel_service_pb2.Channel(
            name=session.name("channels", options.channel), diversion=diversion
        ),
        update_mask=field_mask_pb2.FieldMask(paths=["diversion"]),
        validate_only=options.validate_only,
    )
    channel = session.call(session.channels.UpdateChannel, request)
    if options.json:
        return print_json(channel)
    given = {short(one.platform): one.percent for one in channel.diversion.weights}
    shares = {"own": 100 - sum(given.values()), **given}
    print_fields(
        (
            ("channel", channel.name),
            ("shares", ", ".join(f"{name} {percent}%" for name, percent in shares.items())),
            ("salt", channel.diversion_salt),
        )
    )


def _show(platform: api.Platform, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(platform)
    print_fields(
        (
            ("platform", platform.name),
            ("display name", platform.display_name),
            ("kind", _kind_word(platform)),
            ("types", _types_text(platform)),
            ("review url", platform.review_url),
            *(
                (f"{word(types_pb2.Medium, 'MEDIUM_', one.medium)} template", one.template)
                for one in platform.templates
            ),
            ("reports reviews", "yes" if platform.reports_reviews else "no"),
            ("needs consent", "yes" if platform.needs_data_forwarding else "no"),
            ("changed", time_text(platform.update_time)),
        )
    )


def _kind_word(platform: api.Platform) -> str:
    return next((word for word, number in _KINDS.items() if number == platform.kind), "")


def _types_text(platform: api.Platform) -> str:
    return ", ".join(word for word, number in _TYPES.items() if number in platform.review_types)
