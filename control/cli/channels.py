"""`afterword channels`: shops, each with its time zone, language, sender and hours."""

from __future__ import annotations

import argparse

from google.protobuf import field_mask_pb2

from afterword.v1 import channel_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.channel_options import MEDIA, add_channel_options, read_channel, show_channel
from control.cli.output import print_json, print_table, short
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb, add_word
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import UsageError, word


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "channels", "shops: time zone, language, sender, hours")
    create = add_verb(
        verbs,
        "create",
        run_create,
        "add a channel",
        "channels create madrid --time-zone Europe/Madrid --locale es_ES --sender hola@shop.example",
    )
    create.add_argument("id", help="its id: lower-case letters, digits and hyphens")
    add_channel_options(create)
    for name, run, summary in (
        ("get", run_get, "show one channel"),
        ("update", run_update, "change what is given, leave the rest"),
        ("delete", run_delete, "delete a channel on which no rule is active"),
    ):
        verb = add_verb(verbs, name, run, summary)
        verb.add_argument("channel", help="id or full name")
        if name == "update":
            add_channel_options(verb)
        elif name == "delete":
            add_validate_only(verb)
    reset = add_verb(
        verbs,
        "reset-breaker",
        run_reset_breaker,
        "let go what complaints hold back",
        "channels reset-breaker madrid",
    )
    reset.add_argument("channel", help="id or full name")
    add_word(reset, "--medium", MEDIA, "only over this medium (all)")
    add_validate_only(reset)
    add_verb(verbs, "list", run_list, "list the channels")


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a channel."""
    channel, _ = read_channel(options)
    channel.display_name = channel.display_name or options.id
    request = api.CreateChannelRequest(
        parent=session.parent,
        channel_id=options.id,
        channel=channel,
        validate_only=options.validate_only,
    )
    show_channel(session.call(session.channels.CreateChannel, request), options)


def run_get(session: Session, options: argparse.Namespace) -> None:
    """Show one channel."""
    request = api.GetChannelRequest(name=session.name("channels", options.channel))
    show_channel(session.call(session.channels.GetChannel, request), options)


def run_update(session: Session, options: argparse.Namespace) -> None:
    """Change the fields that are given."""
    channel, paths = read_channel(options)
    if not paths:
        raise UsageError("nothing to change: give at least one option, see -h")
    channel.name = session.name("channels", options.channel)
    request = api.UpdateChannelRequest(
        channel=channel,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        validate_only=options.validate_only,
    )
    show_channel(session.call(session.channels.UpdateChannel, request), options)


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


def run_reset_breaker(session: Session, options: argparse.Namespace) -> None:
    """Let go what complaints hold back."""
    request = api.ResetComplaintBreakerRequest(
        name=session.name("channels", options.channel),
        medium=MEDIA[options.medium] if options.medium else types_pb2.MEDIUM_UNSPECIFIED,
        validate_only=options.validate_only,
    )
    show_channel(session.call(session.channels.ResetComplaintBreaker, request), options)


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
