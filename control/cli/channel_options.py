"""Channels as people write and read them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from afterword.v1 import channel_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.files import FILE_HELP, read_message
from control.cli.output import print_fields, print_json, time_text
from control.cli.parsers import add_validate_only, add_word
from control.cli.values import (
    UsageError,
    date,
    names_or_none,
    time_of_day,
    time_of_day_text,
    word,
    words,
    words_help,
)

CONSENT_MODES: Final = words(api.Channel.ConsentMode, "CONSENT_MODE_")
EXCLUSIVITIES: Final = words(api.Channel.ProductExclusivity, "PRODUCT_EXCLUSIVITY_")
HISTORY_SCOPES: Final = words(api.Channel.HistoryScope, "HISTORY_SCOPE_")
MEANINGS: Final = words(api.Channel.OrderMeaning, "ORDER_MEANING_")
MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")
WEEKDAYS: Final = {
    text[:3]: number for text, number in words(types_pb2.Weekday, "WEEKDAY_").items()
}

_FIELDS: Final[Mapping[str, str]] = {
    "display_name": "display_name",
    "time_zone": "time_zone",
    "locale": "locale",
    "sender": "email_sender.address",
    "sender_name": "email_sender.display_name",
    "reply_to": "email_sender.reply_to",
    "consent_mode": "consent_mode",
    "use_activation_date": "use_activation_date",
    "country": "country",
    "region": "region",
    "review_page_url": "review_page_url",
    "logo_url": "branding.logo_url",
    "accent_color": "branding.accent_color",
    "shop_url": "branding.shop_url",
    "support_email": "branding.support_email",
    "product_exclusivity": "product_exclusivity",
    "checkout_is_paid": "checkout_is_paid",
    "history_scope": "history_scope",
    "complaint_breaker": "complaint_breaker.disabled",
    "complaint_threshold": "complaint_breaker.threshold",
    "complaint_min": "complaint_breaker.min_complaints",
    "complaint_days": "complaint_breaker.window_days",
}
"""Option -> field of a channel."""

_CHOICES: Final[Mapping[str, Mapping[str, int]]] = {
    "consent_mode": CONSENT_MODES,
    "product_exclusivity": EXCLUSIVITIES,
    "history_scope": HISTORY_SCOPES,
    "complaint_breaker": {"on": False, "off": True},
}
_HOURS: Final = ("open", "quiet", "closed_on_holidays", "skip_when_closed")

_WINDOW: Final = re.compile(r"(?:([a-z,-]+) )?([0-9:]+)-([0-9:]+)")
_WINDOW_HELP: Final = "such as sms=09:00-20:00 or 'sms=mon-fri,sun 09:00-20:00'"


def add_channel_options(parser: argparse.ArgumentParser) -> None:
    """Add everything that describes a channel, for `create` and `update`."""
    parser.add_argument(
        "--file", metavar="PATH", help=f"the channel {FILE_HELP}; options change what it says"
    )
    parser.add_argument("--display-name", metavar="TEXT", help="what people call it (its id)")
    parser.add_argument("--time-zone", metavar="ZONE", help="IANA time zone, such as Europe/Madrid")
    parser.add_argument("--locale", metavar="LOCALE", help="language, such as es_ES")
    parser.add_argument("--sender", metavar="ADDRESS", help="address in From of its e-mails")
    parser.add_argument("--sender-name", metavar="TEXT", help="name in From")
    parser.add_argument("--reply-to", metavar="ADDRESS", help="where answers go, if elsewhere")
    parser.add_argument(
        "--review-page-url", metavar="URL",
        help="the shop's page for reviews, such as https://shop.example/review?t={{token}}; '' for none",
    )  # fmt: skip
    _add_branding_options(parser)
    add_word(parser, "--consent-mode", CONSENT_MODES, "how consent is known")
    _add_switch(
        parser,
        "--use-activation-date",
        "waits of review rules count from an event's activation date, if it is later",
    )
    _add_hours_options(parser)
    rules = parser.add_argument_group("rules and the past")
    add_word(
        rules, "--product-exclusivity", EXCLUSIVITIES, "how many product review rules (per-channel)"
    )
    _add_switch(rules, "--checkout-is-paid", "a checkout or order_created counts as a purchase")
    add_word(rules, "--history-scope", HISTORY_SCOPES, "whose purchases count together (channel)")
    for flag, metavar, text in (
        ("--status", "STATUS=MEANING", f"what an order status means: {words_help(MEANINGS)}"),
        ("--feature", "ID", "what the shop has switched on, for rules that need it"),
        ("--reviews-off", "TYPE", "an event type that leads to no request for a review here"),
    ):
        rules.add_argument(
            flag, action="append", metavar=metavar, help=f"{text}, may be repeated, or none"
        )
    _add_breaker_options(parser)
    add_validate_only(parser)


def _add_branding_options(parser: argparse.ArgumentParser) -> None:
    looks = parser.add_argument_group("how its e-mails look; '' for none")
    for flag, metavar, text in (
        ("--logo-url", "URL", "https address of the picture at their head"),
        ("--accent-color", "#RRGGBB", "colour of their button"),
        ("--shop-url", "URL", "https address of the shop"),
        ("--support-email", "ADDRESS", "where people turn to with questions"),
    ):
        looks.add_argument(flag, metavar=metavar, help=text)
    looks.add_argument(
        "--imprint", action="append", metavar="LINE",
        help="a line of who writes, as the law asks for it, may be repeated, or none",
    )  # fmt: skip


def _add_breaker_options(parser: argparse.ArgumentParser) -> None:
    complaints = parser.add_argument_group("when complaints hold back reviews and advertising")
    add_word(complaints, "--complaint-breaker", _CHOICES["complaint_breaker"], "whether they do")  # type: ignore[arg-type]
    for flag, kind, metavar, text in (
        ("--complaint-threshold", float, "SHARE", "share of what was sent, such as 0.003"),
        ("--complaint-min", int, "COUNT", "how many at least (5)"),
        ("--complaint-days", int, "COUNT", "over how many days (7)"),
    ):
        complaints.add_argument(flag, type=kind, metavar=metavar, help=text)


def _add_switch(parser: argparse._ActionsContainer, flag: str, text: str) -> None:
    parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)


def _add_hours_options(parser: argparse.ArgumentParser) -> None:
    hours = parser.add_argument_group(
        "hours of requests for reviews and of advertising; what is given replaces all hours there are"
    )
    hours.add_argument(
        "--open",
        action="append",
        metavar="MEDIUM=WINDOW",
        help=f"only then, {_WINDOW_HELP}, may be repeated",
    )
    hours.add_argument(
        "--quiet",
        action="append",
        metavar="MEDIUM=WINDOW",
        help=f"never then, {_WINDOW_HELP}, may be repeated",
    )
    hours.add_argument(
        "--closed-on-holidays",
        action="append",
        metavar="MEDIUM",
        help="never on public holidays, may be repeated",
    )
    hours.add_argument(
        "--skip-when-closed",
        action="append",
        metavar="MEDIUM",
        help="what falls due while closed is not sent at all, may be repeated",
    )
    hours.add_argument(
        "--default-hours", action="store_true", help="no hours of its own: the defaults hold"
    )
    hours.add_argument(
        "--country", metavar="CC", help="whose holidays count where a recipient's is not told"
    )
    hours.add_argument("--region", metavar="CODE", help="its part, such as BY for Bavaria")
    hours.add_argument(
        "--closed-date",
        action="append",
        metavar="DATE",
        help="counts as a holiday for everybody, may be repeated, or none",
    )


# --- reading ------------------------------------------------------------------------------------


def read_channel(options: argparse.Namespace) -> tuple[api.Channel, list[str]]:
    """Return the channel as far as it is given, and which fields that is."""
    channel = read_message(options.file, api.Channel()) if options.file else api.Channel()
    paths = [field.name for field, _ in channel.ListFields()]
    for option, path in _FIELDS.items():
        value = getattr(options, option)
        if value is None:
            continue
        if option in _CHOICES:
            value = _CHOICES[option][value]
        *parents, field = path.split(".")
        setattr(getattr(channel, parents[0]) if parents else channel, field, value)
        paths.append(path)
    if options.imprint is not None:
        channel.branding.imprint = "\n".join(names_or_none("--imprint", options.imprint))
        paths.append("branding.imprint")
    if options.default_hours or any(getattr(options, name) is not None for name in _HOURS):
        channel.ClearField("hours")
        channel.hours.extend(_read_hours(options))
        paths.append("hours")
    for option, field, flag in (
        ("closed_date", "closed_dates", "--closed-date"),
        ("feature", "features", "--feature"),
        ("reviews_off", "review_event_types_off", "--reviews-off"),
        ("status", "order_statuses", "--status"),
    ):
        given = getattr(options, option)
        if given is not None:
            channel.ClearField(field)  # type: ignore[arg-type]
            _read_list(channel, field, flag, names_or_none(flag, given))
            paths.append(field)
    return channel, paths


def _read_list(channel: api.Channel, field: str, flag: str, given: list[str]) -> None:
    for text in given:
        if field == "closed_dates":
            channel.closed_dates.append(_read_as(date, flag, text))
        elif field == "order_statuses":
            status, equals, meaning = text.rpartition("=")
            if not equals or meaning not in MEANINGS:
                raise UsageError(
                    f"{flag}: '{text}' is not STATUS=MEANING; meanings are {words_help(MEANINGS)}"
                )
            channel.order_statuses[status] = MEANINGS[meaning]
        else:
            getattr(channel, field).append(text)


def _read_as(read: Any, flag: str, text: str) -> Any:
    try:
        return read(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{flag}: {error}") from None


def _read_hours(options: argparse.Namespace) -> list[api.MediumHours]:
    if options.default_hours and any(getattr(options, name) is not None for name in _HOURS):
        raise UsageError("--default-hours stands alone: it takes all hours away")
    entries: dict[int, api.MediumHours] = {}

    def entry(flag: str, text: str) -> api.MediumHours:
        if text not in MEDIA:
            raise UsageError(f"{flag}: '{text}' is no medium; media are {words_help(MEDIA)}")
        number = MEDIA[text]
        return entries.setdefault(number, api.MediumHours(medium=number))

    for flag, given in (("--open", options.open), ("--quiet", options.quiet)):
        for text in given or ():
            medium, _, window = text.partition("=")
            windows = entry(flag, medium)
            (windows.open if flag == "--open" else windows.quiet).append(_window(flag, window))
    for medium in options.closed_on_holidays or ():
        entry("--closed-on-holidays", medium).closed_on_holidays = True
    for medium in options.skip_when_closed or ():
        entry("--skip-when-closed", medium).on_closed = api.MediumHours.ON_CLOSED_SKIP
    return list(entries.values())


def _window(flag: str, text: str) -> api.Window:
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise UsageError(f"{flag}: '{text}' is no window, {_WINDOW_HELP}")
    days, start, end = match.groups()
    return api.Window(
        weekdays=_weekdays(flag, days) if days else (),
        start=_read_as(time_of_day, flag, start),
        end=_read_as(time_of_day, flag, end),
    )


def _weekdays(flag: str, text: str) -> list[types_pb2.Weekday.ValueType]:
    """Return the days of "mon-fri,sun"."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in WEEKDAYS or (last or first) not in WEEKDAYS:
            raise UsageError(f"{flag}: '{part}' is no day; days are {words_help(WEEKDAYS)}")
        begin, end = int(WEEKDAYS[first]), int(WEEKDAYS[last or first])
        # "sat-mon" goes over the end of the week.
        count = (end - begin) % len(WEEKDAYS) + 1
        found += [(begin - 1 + shift) % len(WEEKDAYS) + 1 for shift in range(count)]
    return [types_pb2.Weekday.ValueType(day) for day in sorted(set(found))]


# --- writing ------------------------------------------------------------------------------------


def show_channel(channel: api.Channel, options: argparse.Namespace) -> None:
    """Print a channel."""
    if options.json:
        return print_json(channel)
    sender = channel.email_sender
    exclusivity = channel.product_exclusivity
    is_per_type = exclusivity == api.Channel.PRODUCT_EXCLUSIVITY_PER_EVENT_TYPE
    statuses = sorted(channel.order_statuses.items())
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
            ("review page", channel.review_page_url),
            *_branding_fields(channel.branding),
            ("consent", word(api.Channel.ConsentMode, "CONSENT_MODE_", channel.consent_mode)),
            ("activation date", "waits count from it" if channel.use_activation_date else ""),
            ("hours", "\n".join(hours_text(entry) for entry in channel.hours)),
            ("holidays", "-".join(filter(None, (channel.country, channel.region)))),
            ("closed on", _dates_text(channel.closed_dates)),
            ("product rules", "one for each event type" if is_per_type else ""),
            ("checkout", "" if channel.checkout_is_paid else "is no purchase yet"),
            (
                "history",
                "purchases on all channels count together"
                if channel.history_scope == api.Channel.HISTORY_SCOPE_ACCOUNT
                else "",
            ),
            (
                "statuses",
                "\n".join(
                    f"{status} means {word(api.Channel.OrderMeaning, 'ORDER_MEANING_', meaning)}"
                    for status, meaning in statuses
                ),
            ),
            ("features", ", ".join(channel.features)),
            ("reviews off", ", ".join(channel.review_event_types_off)),
            ("complaints", _breaker_text(channel.complaint_breaker)),
            ("held back", "\n".join(each.message for each in channel.tripped_breakers)),
            ("changed", time_text(channel.update_time)),
        )
    )


def _branding_fields(branding: api.Branding) -> tuple[tuple[str, str], ...]:
    return (
        ("logo", branding.logo_url),
        ("accent color", branding.accent_color),
        ("shop", branding.shop_url),
        ("imprint", branding.imprint.strip()),
        ("support", branding.support_email),
    )


def _breaker_text(breaker: api.ComplaintBreaker) -> str:
    """Return from when on complaints hold a channel back, "" for the defaults."""
    if breaker.disabled:
        return "hold nothing back"
    if not breaker.threshold:
        return ""
    return (
        f"hold back from {breaker.threshold:.2%} in {breaker.window_days} days on, but not fewer than "
        f"{breaker.min_complaints}"
    )


def hours_text(entry: api.MediumHours) -> str:
    """Return when a medium may be used: "sms: only mon,tue 09:00-18:00; holds till then"."""
    parts = []
    if entry.open:
        parts.append(f"only {', '.join(map(_window_text, entry.open))}")
    if entry.quiet:
        parts.append(f"not {', '.join(map(_window_text, entry.quiet))}")
    if entry.closed_on_holidays:
        parts.append("not on holidays")
    if entry.on_closed == api.MediumHours.ON_CLOSED_SKIP:
        parts.append("not sent when closed")
    medium = word(types_pb2.Medium, "MEDIUM_", entry.medium)
    return f"{medium}: {'; '.join(parts) or 'at any time'}"


def _window_text(window: api.Window) -> str:
    days = ",".join(word(types_pb2.Weekday, "WEEKDAY_", day)[:3] for day in window.weekdays)
    times = f"{time_of_day_text(window.start)}-{time_of_day_text(window.end)}"
    return f"{days} {times}" if days else times


def _dates_text(dates: Iterable[Any]) -> str:
    return ", ".join(f"{each.year:04}-{each.month:02}-{each.day:02}" for each in dates)
