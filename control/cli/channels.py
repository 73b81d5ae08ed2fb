"""`afterword channels`: shops, each with its time zone, language and sender."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from google.protobuf import field_mask_pb2

from afterword.v1 import channel_service_pb2 as api
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb, add_word
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import UsageError, word, words

CONSENT_MODES: Final = words(api.Channel.ConsentMode, "CONSENT_MODE_")

_FIELDS: Final[Mapping[str, str]] = {
    "display_name": "display_name",
    "time_zone": "time_zone",
    "locale": "locale",
    "sender": "email_sender.address",
    "sender_name": "email_sender.display_name",
    "reply_to": "email_sender.reply_to",
    "consent_mode": "consent_mode",
    "use_activation_date": "use_activation_date",
}
"""Option -> field of a channel."""


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "channels", "shops: time zone, language, sender")
    create = add_verb(
        verbs,
        "create",
        run_create,
        "add a channel",
        "channels create madrid --time-zone Europe/Madrid --locale es_ES --sender hola@shop.example",
    )
    create.add_argument("id", help="its id: lower-case letters, digits and hyphens")
    _add_fields(create)
    for name, run, summary in (
        ("get", run_get, "show one channel"),
        ("update", run_update, "change what is given, leave the rest"),
        ("delete", run_delete, "delete a channel on which no rule is active"),
    ):
        verb = add_verb(verbs, name, run, summary)
        verb.add_argument("channel", help="id or full name")
        if name == "update":
            _add_fields(verb)
        elif name == "delete":
            add_validate_only(verb)
    add_verb(verbs, "list", run_list, "list the channels")


def _add_fields(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--display-name", metavar="TEXT", help="what people call it (its id)")
    parser.add_argument("--time-zone", metavar="ZONE", help="IANA time zone, such as Europe/Madrid")
    parser.add_argument("--locale", metavar="LOCALE", help="language, such as es_ES")
    parser.add_argument("--sender", metavar="ADDRESS", help="address in From of its e-mails")
    parser.add_argument("--sender-name", metavar="TEXT", help="name in From")
    parser.add_argument("--reply-to", metavar="ADDRESS", help="where answers go, if elsewhere")
    add_word(parser, "--consent-mode", CONSENT_MODES, "how consent is known")
    parser.add_argument(
        "--use-activation-date",
        action=argparse.BooleanOptionalAction,
        help="waits of review rules count from an event's activation date, if it is later",
    )
    add_validate_only(parser)


def _read(options: argparse.Namespace) -> tuple[api.Channel, list[str]]:
    """Return the channel as far as it is given, and which fields that is."""
    channel, paths = api.Channel(), []
    for option, path in _FIELDS.items():
        value = getattr(options, option)
        if value is None:
            continue
        if option == "consent_mode":
            value = CONSENT_MODES[value]
        *parents, field = path.split(".")
        setattr(getattr(channel, parents[0]) if parents else channel, field, value)
        paths.append(path)
    return channel, paths


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a channel."""
    channel, _ = _read(options)
    channel.display_name = channel.display_name or options.id
    request = api.CreateChannelRequest(
        parent=session.parent,
        channel_id=options.id,
        channel=channel,
        validate_only=options.validate_only,
    )
    _show(session.call(session.channels.CreateChannel, request), options)


def run_get(session: Session, options: argparse.Namespace) -> None:
    """Show one channel."""
    request = api.GetChannelRequest(name=session.name("channels", options.channel))
    _show(session.call(session.channels.GetChannel, request), options)


def run_update(session: Session, options: argparse.Namespace) -> None:
    """Change the fields that are given."""
    channel, paths = _read(options)
    if not paths:
        raise UsageError("nothing to change: give at least one option, see -h")
    channel.name = session.name("channels", options.channel)
    request = api.UpdateChannelRequest(
        channel=channel,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        validate_only=options.validate_only,
    )
    _show(session.call(session.channels.UpdateChannel, request), options)


def run_delete(session: Session, options: argparse.Namespace) -> None:
    """Delete a channel."""
    request = api.DeleteChannelRequest(
        name=session.name("channels", options.channel), validate_only=options.validate_only
    )
    answer = session.call(session.channels.DeleteChannel, request)
    if options.json:
        print_json(answer)
    else:
        print(f"{'can delete' if options.validate_only else 'deleted'} {request.name}")


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the channels."""

    def page(token: str) -> api.ListChannelsResponse:
        request = api.ListChannelsRequest(
            parent=session.parent, page_size=PAGE_SIZE, page_token=token
        )
        return session.call(session.channels.ListChannels, request)

    found = session.all_pages(page, api.ListChannelsResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("ID", "NAME", "TIME ZONE", "LOCALE", "SENDER", "CONSENT"),
        (
            (
                short(channel.name),
                channel.display_name,
                channel.time_zone,
                channel.locale,
                channel.email_sender.address,
                word(api.Channel.ConsentMode, "CONSENT_MODE_", channel.consent_mode),
            )
            for channel in found.channels
        ),
    )


def _show(channel: api.Channel, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(channel)
    sender = channel.email_sender
    print_fields(
        (
            ("channel", channel.name),
            ("display name", channel.display_name),
            ("time zone", channel.time_zone),
            ("locale", channel.locale),
            (
                "sender",
                f"{sender.display_name} <{sender.address}>"
                if sender.display_name
                else sender.address,
            ),
            ("reply to", sender.reply_to),
            ("consent", word(api.Channel.ConsentMode, "CONSENT_MODE_", channel.consent_mode)),
            ("activation date", "waits count from it" if channel.use_activation_date else ""),
            ("changed", time_text(channel.update_time)),
        )
    )
