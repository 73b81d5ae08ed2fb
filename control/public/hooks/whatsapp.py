"""The WhatsApp Cloud API's calls: the handshake, statuses, and messages that came in.

Decides: what is signed, and what each status and error code says of a message.
Never: which secret signs (`control/public/hooks/desk.py`), or anything of the 24 hours after a message:
only approved templates are sent.

    X-Hub-Signature-256 = "sha256=" and hexadecimal HMAC-SHA256(app secret, body)

Source: the provider's "Webhooks, getting started" and the "messages" field of its account webhooks.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from control.public.hooks.heard import (
    ID_CHARS_MAX,
    ITEMS_MAX,
    Garbage,
    Heard,
    Message,
    member_of_delivery,
    phone_of,
)
from core.bounds import SECOND_MS
from core.contact_ports import FeedbackKind
from core.engine.feedback import Told
from core.model import Medium
from senders.whatsapp import BAD_NUMBER_CODES

TEXT_CHARS_MAX: Final = 4_096
CHALLENGE_CHARS_MAX: Final = 256
OPTED_OUT: Final = 131050
"""The recipient takes no marketing from this sender any more."""
_PREFIX: Final = "sha256="
_TIME_MAX_S: Final = 2**40


def challenge_of(query: Mapping[str, str], verify_token: str) -> str:
    """Return what the handshake is answered with, "" if it is not to be."""
    given = query.get("hub.verify_token", "").encode()
    is_right = hmac.compare_digest(given, verify_token.encode())
    challenge = query.get("hub.challenge", "")
    is_plain = challenge.isascii() and challenge.isalnum() and len(challenge) <= CHALLENGE_CHARS_MAX
    return challenge if is_right and is_plain and query.get("hub.mode") == "subscribe" else ""


def is_signed(body: bytes, signature: str, secret: str) -> bool:
    """Return whether a call was signed with this secret."""
    wanted = _PREFIX + hmac.digest(secret.encode(), body, "sha256").hex()
    return hmac.compare_digest(wanted.encode(), signature.encode("latin-1", "replace"))


def heard(body: bytes, phone_number_id: str) -> Heard:
    """Return what a call says.

    Args:
        phone_number_id: the provider's id of the sender's number; what is said of others is left out.

    Raises:
        Garbage: it is not what the provider says.
    """
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Garbage("the body must be JSON") from None
    if not isinstance(told, dict) or not isinstance(told.get("entry"), list):
        raise Garbage("the body must be an object with a list `entry`")
    found = Heard()
    for value in _values(told["entry"]):
        metadata = value.get("metadata")
        statuses, messages = _dicts(value.get("statuses")), _dicts(value.get("messages"))
        if not isinstance(metadata, dict) or metadata.get("phone_number_id") != phone_number_id:
            found.ignored_count += len(statuses) + len(messages) or 1
            continue
        for status in statuses:
            _add_status(found, status)
        for message in messages:
            _add_message(found, message)
    if found.count > 2 * ITEMS_MAX:
        raise Garbage(f"a call has at most {ITEMS_MAX:,} items")
    return found


def _values(entries: list[Any]) -> Iterator[dict[str, Any]]:
    for entry in _dicts(entries):
        for change in _dicts(entry.get("changes")):
            value = change.get("value")
            if change.get("field") == "messages" and isinstance(value, dict):
                yield value


def _dicts(found: Any) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _add_status(found: Heard, status: dict[str, Any]) -> None:
    kinds = _kinds(status.get("status"), _dicts(status.get("errors")))
    member = member_of_delivery(status.get("biz_opaque_callback_data"))
    if not kinds:
        found.ignored_count += 1
    elif member is None:
        found.unknown_count += 1
    else:
        time_ms = _time_ms(status.get("timestamp"))
        found.told += [Told(member, kind, time_ms) for kind in kinds]


def _kinds(status: object, errors: list[dict[str, Any]]) -> tuple[FeedbackKind, ...]:
    if status == "sent":
        return (FeedbackKind.RESOLVED_SENT,)
    if status == "delivered":
        return (FeedbackKind.DELIVERED,)
    if status == "read":
        return (FeedbackKind.DELIVERED, FeedbackKind.OPENED)
    if status != "failed":
        return ()
    codes = {code for error in errors if isinstance(code := error.get("code"), int)}
    if codes & BAD_NUMBER_CODES:
        return (FeedbackKind.HARD_BOUNCED,)
    if OPTED_OUT in codes:
        return (FeedbackKind.SOFT_BOUNCED, FeedbackKind.UNSUBSCRIBED)
    return (FeedbackKind.SOFT_BOUNCED,)


def _add_message(found: Heard, message: dict[str, Any]) -> None:
    phone, text = phone_of(f"+{message.get('from')}"), _text(message)
    if phone and text:
        time_ms = _time_ms(message.get("timestamp"))
        given = message.get("id")
        known_by = given[:ID_CHARS_MAX] if isinstance(given, str) else ""
        text = text[:TEXT_CHARS_MAX]
        found.messages.append(Message(phone, text, Medium.WHATSAPP, time_ms, known_by))
    else:
        found.ignored_count += 1


def _text(message: dict[str, Any]) -> str:
    """Return what was written, or what stands on the button that was pressed; "" for neither."""
    pressed = message.get("interactive")
    reply = pressed.get("button_reply") if isinstance(pressed, dict) else None
    parts = ((message.get("text"), "body"), (message.get("button"), "text"), (reply, "title"))
    for part, name in parts:
        if isinstance(part, dict) and isinstance(part.get(name), str):
            return str(part[name])
    return ""


def _time_ms(text: object) -> int:
    """Return an instant told in seconds, as text or number; 0 for what is none."""
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 14:
        text = int(text)
    if isinstance(text, int) and 0 < text < _TIME_MAX_S:
        return text * SECOND_MS
    return 0
