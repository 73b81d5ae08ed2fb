"""`afterword senders`: what takes messages out, and which channel uses what."""

from __future__ import annotations

import argparse
from typing import Final

from google.protobuf import field_mask_pb2

from afterword.v1 import channel_service_pb2, types_pb2
from afterword.v1 import sender_service_pb2 as api
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb, add_word
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import UsageError, words

_KINDS: Final = words(api.Sender.Kind, "KIND_")
_MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")
_TEXTS: Final = ("display_name", "provider_account", "origin", "credential", "endpoint")
_NUMBERS: Final = ("concurrency", "messages_per_second", "daily_quota")


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(nouns, "senders", "accounts at providers, mail servers, webhooks")
    create = add_verb(
        verbs, "create", run_create, "add a sender",
        "senders create texts --kind sms-twilio --provider-account AC123 --origin +34910000000 "
        "--credential secret:twilio",
    )  # fmt: skip
    create.add_argument("id", help="the id")
    _add_fields(create)
    for name, run, summary in (
        ("get", run_get, "show one sender"),
        ("update", run_update, "change what is given, leave the rest"),
        ("delete", run_delete, "delete a sender that no channel names"),
    ):
        verb = add_verb(verbs, name, run, summary)
        verb.add_argument("sender", help="id or full name")
        if name == "update":
            _add_fields(verb)
        elif name == "delete":
            add_validate_only(verb)
    add_verb(verbs, "list", run_list, "list the senders")
    use = add_verb(
        verbs, "use", run_use, "say by what a channel sends; this replaces what it said before",
        "senders use madrid sms=texts webhook=erp",
    )  # fmt: skip
    use.add_argument("channel", help="id or full name")
    use.add_argument("named", nargs="*", metavar="MEDIUM=SENDER", help="none: what the daemon has")
    add_validate_only(use)


def _add_fields(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--display-name", metavar="TEXT", help="what people call it")
    add_word(parser, "--kind", _KINDS, "how it is spoken to")
    parser.add_argument("--provider-account", metavar="ID", help="account at the provider, or user")
    parser.add_argument("--origin", metavar="TEXT", help="number or name that messages come from")
    parser.add_argument(
        "--credential", metavar="secret:NAME", help="the name of its secret, never the secret"
    )
    parser.add_argument("--endpoint", metavar="URL", help="where it is, if not at the provider's")
    parser.add_argument("--concurrency", type=int, metavar="COUNT", help="calls at a time")
    parser.add_argument(
        "--messages-per-second", type=float, metavar="COUNT", help="at most; 0 for no limit"
    )
    parser.add_argument("--daily-quota", type=int, metavar="COUNT", help="at most; 0 for no limit")
    add_validate_only(parser)


def _read(options: argparse.Namespace) -> tuple[api.Sender, list[str]]:
    """Return the sender as far as it is given, and which fields that is."""
    given = {field: getattr(options, field) for field in (*_TEXTS, *_NUMBERS)}
    told = {field: value for field, value in given.items() if value is not None}
    if options.kind is not None:
        told["kind"] = _KINDS[options.kind]
    return api.Sender(**told), list(told)


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a sender."""
    sender, _ = _read(options)
    request = api.CreateSenderRequest(
        parent=session.parent,
        sender_id=options.id,
        sender=sender,
        validate_only=options.validate_only,
    )
    _show(session.call(session.senders.CreateSender, request), options)


def run_get(session: Session, options: argparse.Namespace) -> None:
    """Show one sender."""
    request = api.GetSenderRequest(name=session.name("senders", options.sender))
    _show(session.call(session.senders.GetSender, request), options)


def run_update(session: Session, options: argparse.Namespace) -> None:
    """Change the fields that are given."""
    sender, paths = _read(options)
    if not paths:
        raise UsageError("nothing to change: give at least one option, see -h")
    sender.name = session.name("senders", options.sender)
    request = api.UpdateSenderRequest(
        sender=sender,
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        validate_only=options.validate_only,
    )
    _show(session.call(session.senders.UpdateSender, request), options)


def run_delete(session: Session, options: argparse.Namespace) -> None:
    """Delete a sender."""
    request = api.DeleteSenderRequest(
        name=session.name("senders", options.sender), validate_only=options.validate_only
    )
    answer = session.call(session.senders.DeleteSender, request)
    if options.json:
        print_json(answer)
    else:
        print(f"{'can delete' if options.validate_only else 'deleted'} {request.name}")


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the senders."""

    def page(token: str) -> api.ListSendersResponse:
        request = api.ListSendersRequest(
            parent=session.parent, page_size=PAGE_SIZE, page_token=token
        )
        return session.call(session.senders.ListSenders, request)

    found = session.all_pages(page, api.ListSendersResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("ID", "NAME", "KIND", "ACCOUNT", "ORIGIN", "CREDENTIAL", "ENDPOINT"),
        (
            (
                short(one.name), one.display_name, _kind_word(one), one.provider_account, one.origin,
                one.credential, one.endpoint,
            )
            for one in found.senders
        ),
    )  # fmt: skip


def run_use(session: Session, options: argparse.Namespace) -> None:
    """Say by what a channel sends."""
    channel = channel_service_pb2.Channel(name=session.name("channels", options.channel))
    for text in options.named:
        medium, equals, sender = text.partition("=")
        if not equals or not sender or medium not in _MEDIA:
            raise UsageError(
                f"'{text}' is not MEDIUM=SENDER, such as sms=texts; media: {', '.join(_MEDIA)}"
            )
        channel.senders.add(
            medium=types_pb2.Medium.ValueType(_MEDIA[medium]),
            sender=session.name("senders", sender),
        )
    request = channel_service_pb2.UpdateChannelRequest(
        channel=channel,
        update_mask=field_mask_pb2.FieldMask(paths=["senders"]),
        validate_only=options.validate_only,
    )
    changed = session.call(session.channels.UpdateChannel, request)
    if options.json:
        return print_json(changed)
    words_of = {number: word for word, number in _MEDIA.items()}
    named = [f"{words_of[one.medium]}={short(one.sender)}" for one in changed.senders]
    print_fields((("channel", changed.name), ("senders", ", ".join(named))))


def _show(sender: api.Sender, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(sender)
    print_fields(
        (
            ("sender", sender.name),
            ("display name", sender.display_name),
            ("kind", _kind_word(sender)),
            ("account", sender.provider_account),
            ("origin", sender.origin),
            ("credential", sender.credential),
            ("endpoint", sender.endpoint),
            ("concurrency", str(sender.concurrency or "")),
            ("messages per second", f"{sender.messages_per_second:g}"),
            ("daily quota", str(sender.daily_quota)),
            ("changed", time_text(sender.update_time)),
        )
    )


def _kind_word(sender: api.Sender) -> str:
    return next((word for word, number in _KINDS.items() if number == sender.kind), "")
