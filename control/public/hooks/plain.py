"""A plain form of feedback, for whoever relays what a mail provider says (SES, Postmark, Mailgun, ...).

Decides: the form, and that its signature is that of Standard Webhooks, as of the calls we make
ourselves (`senders/webhook.py`).

    webhook-id          1 to 256 characters
    webhook-timestamp   epoch seconds, within five minutes of ours
    webhook-signature   "v1,<base64 of HMAC-SHA256(key, id.timestamp.body)>", several with blanks between

    {"feedback": [{"delivery_id": "0f..", "kind": "hard_bounced", "occur_time": "2026-03-01T09:00:00Z"}]}

`message_id` may stand in place of `delivery_id`: the Message-ID of the e-mail, with its brackets or
without. `kind` is one of KINDS.
Never: takes a part of a call: what is wrong anywhere in it refuses all of it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from control.public.hooks.heard import ITEMS_MAX, Garbage, Heard, member_of_delivery
from core.bounds import MINUTE_MS, SECOND_MS
from core.contact_ports import FeedbackKind
from core.engine.feedback import Told
from senders.webhook import key_of, signature

WINDOW_MS: Final = 5 * MINUTE_MS
"""How far the time of a call may lie from ours."""
ID_CHARS_MAX: Final = 256
SIGNATURES_MAX: Final = 8
TIME_MIN_MS: Final = 1

KINDS: Final[Mapping[str, FeedbackKind]] = {
    kind.name.lower(): kind
    for kind in FeedbackKind
    if kind
    not in (FeedbackKind.UNSPECIFIED, FeedbackKind.RESOLVED_SENT, FeedbackKind.RESOLVED_NOT_SENT)
}


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    delivery_id: str = ""
    message_id: str = ""
    occur_time: datetime | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    feedback: list[_Item]


_decoder = msgspec.json.Decoder(_Body)


def is_signed(headers: Mapping[str, str], body: bytes, secret: str, now_ms: int) -> bool:
    """Return whether a call was signed with this secret, just now.

    Raises:
        InvalidField: the secret is none.
    """
    call_id, time = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    key = key_of(secret)
    if not 1 <= len(call_id) <= ID_CHARS_MAX or not (time.isascii() and time.isdigit()):
        return False
    if len(time) > 12 or abs(int(time) * SECOND_MS - now_ms) > WINDOW_MS:
        return False
    # The text of the time is signed, and an honest one has no leading zeros.
    wanted = signature(key, call_id, int(time), body).encode()
    given = headers.get("webhook-signature", "").split(" ")[:SIGNATURES_MAX]
    is_right = False
    for each in given:
        is_right |= hmac.compare_digest(wanted, each.encode("latin-1", "replace"))
    return is_right


def heard(body: bytes) -> Heard:
    """Return what a call says.

    Raises:
        Garbage: naming what is wrong.
    """
    try:
        told = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Garbage(f"the body must be as docs/HOOKS.md says: {error}"[:300]) from None
    if not 1 <= len(told.feedback) <= ITEMS_MAX:
        raise Garbage(f"feedback must have 1 to {ITEMS_MAX:,} items")
    found = Heard()
    for index, item in enumerate(told.feedback):
        kind = KINDS.get(item.kind)
        if kind is None:
            raise Garbage(f"feedback[{index}].kind must be one of: {', '.join(KINDS)}")
        if bool(item.delivery_id) == bool(item.message_id):
            raise Garbage(f"feedback[{index}] must have a delivery_id, or a message_id instead")
        local = item.message_id.strip().removeprefix("<").partition("@")[0]
        member = member_of_delivery(item.delivery_id or local)
        if member is None:
            found.unknown_count += 1
            continue
        found.told.append(Told(member, kind, _time_ms(item.occur_time, index)))
    return found


def _time_ms(time: datetime | None, index: int) -> int:
    if time is None:
        return 0
    if time.tzinfo is None or time.year < 1971:
        raise Garbage(f"feedback[{index}].occur_time must be like 2026-03-01T09:00:00Z")
    return max(int(time.timestamp() * SECOND_MS), TIME_MIN_MS)
