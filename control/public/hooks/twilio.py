"""Twilio's calls: status callbacks and messages that came in.

Decides: what is signed, and what each status and error code says of a message.
Never: which token signs (`control/public/hooks/desk.py`).

    X-Twilio-Signature = base64 of HMAC-SHA1(auth token, URL + each name and value, names in order)

The URL is the one that was called, query included: our delivery id in it is signed with it. There is no
time in the form, so a call that is repeated is taken again; what it says of a message counts once, and
so does a message that came in, by its id.

Source: the provider's "Webhooks security" and "Track the message status of outbound messages".
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from control.public.hooks.heard import (
    ID_CHARS_MAX,
    Garbage,
    Heard,
    Message,
    member_of_delivery,
    phone_of,
)
from core.contact_ports import FeedbackKind
from core.engine.feedback import Told
from core.model import Medium
from senders.sms import BAD_NUMBER_CODES, MESSAGE_PARAMETER

FIELDS_MAX: Final = 100
TEXT_CHARS_MAX: Final = 4_096
OPTED_OUT: Final = 21610
EMPTY_ANSWER: Final = '<?xml version="1.0" encoding="UTF-8"?>\n<Response/>\n'
"""What tells the provider to answer nothing: anything else would be sent as a message."""

_OTHER_MEDIUM: Final = "whatsapp:"

Pairs = Sequence[tuple[str, str]]


def fields_of(body: bytes) -> Pairs:
    """Return the fields of a form.

    Raises:
        Garbage: it is none.
    """
    try:
        return parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX,
            errors="strict",
        )  # fmt: skip
    except ValueError:
        raise Garbage(f"the body must be a form of at most {FIELDS_MAX} fields") from None


def is_signed(url: str, fields: Pairs, signature: str, token: str) -> bool:
    """Return whether a call was signed with this token.

    The provider may or may not name the port that the scheme implies, so both are tried.
    """
    # Each name once, its values in order, as the provider's own libraries do it.
    text = "".join(name + value for name, value in sorted(set(fields)))
    given = signature.encode("latin-1", "replace")
    is_right = False
    for form in _forms(url):
        digest = hmac.digest(token.encode(), (form + text).encode(), "sha1")
        is_right |= hmac.compare_digest(base64.b64encode(digest), given)
    return is_right


def _forms(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    implied = 443 if parts.scheme == "https" else 80
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    if parts.port not in (None, implied):
        return (url,)
    with_port = urlunsplit(parts._replace(netloc=f"{host}:{implied}"))
    without = urlunsplit(parts._replace(netloc=parts.netloc.removesuffix(f":{implied}")))
    return (url, without, with_port)


def heard(query: Mapping[str, str], fields: Pairs) -> Heard:
    """Return what a call says."""
    told = dict(fields)
    status = told.get("MessageStatus") or told.get("SmsStatus") or ""
    if "Body" in told and status in ("", "received", "receiving"):
        return _written(told)
    if not status:
        raise Garbage("the form must have MessageStatus, or Body for a message that came in")
    kinds = _kinds(status, _number(told.get("ErrorCode", "")))
    if not kinds:
        return Heard(ignored_count=1)
    member = member_of_delivery(query.get(MESSAGE_PARAMETER))
    if member is None:
        return Heard(unknown_count=1)
    return Heard([Told(member, kind) for kind in kinds])


def _kinds(status: str, code: int) -> tuple[FeedbackKind, ...]:
    """Return what a status says; nothing of one on the way."""
    if status == "sent":
        return (FeedbackKind.RESOLVED_SENT,)
    if status == "delivered":
        return (FeedbackKind.DELIVERED,)
    if status == "read":
        return (FeedbackKind.DELIVERED, FeedbackKind.OPENED)
    if status not in ("undelivered", "failed"):
        return ()
    if code in BAD_NUMBER_CODES:
        return (FeedbackKind.HARD_BOUNCED,)
    if code == OPTED_OUT:
        return (FeedbackKind.SOFT_BOUNCED, FeedbackKind.UNSUBSCRIBED)
    return (FeedbackKind.SOFT_BOUNCED,)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _written(told: Mapping[str, str]) -> Heard:
    sender = told.get("From", "")
    medium = Medium.WHATSAPP if sender.startswith(_OTHER_MEDIUM) else Medium.SMS
    phone = phone_of(sender.removeprefix(_OTHER_MEDIUM))
    if not phone:
        return Heard(ignored_count=1)
    # Where the provider keeps a list of stop words of its own, it says so of what it took for one.
    text = "STOP" if told.get("OptOutType") == "STOP" else told["Body"]
    known_by = (told.get("MessageSid") or told.get("SmsSid") or "")[:ID_CHARS_MAX]
    return Heard(messages=[Message(phone, text[:TEXT_CHARS_MAX], medium, id=known_by)])
