"""Text messages through a provider that speaks Twilio's REST form.

Decides: the request, and what each answer and error code means for a message.
Never: the wording, or whether somebody may be written to.

The form takes no idempotency key, so an unknown outcome is held: a second call would be a second
message, and a second charge.

Source: the provider's "Messages" resource (POST /2010-04-01/Accounts/{sid}/Messages.json, form fields
To, From or MessagingServiceSid, Body, StatusCallback; 201 with "sid", else {"code", "message",
"status"}) and its dictionary of error codes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, quote_plus, urlencode

from core.errors import RenderingFailed
from core.sending import Delivery, Letter
from senders.credentials import Credential
from senders.http_client import HttpAnswer
from senders.http_transport import TROUBLE_STATUSES, Request, Verdict, check_phone, retry_ms
from senders.sms_text import SEGMENTS_MAX, size_of

ENDPOINT: Final = "https://api.twilio.com"

BAD_NUMBER_CODES: Final = frozenset({21211, 21214, 21217, 21614, 30005})
"""The number is none, or none that takes text messages: its owner will not get the next one either."""

REFUSED_RECIPIENT_CODES: Final = frozenset({21408, 21610, 21612, 30003, 30004, 30006})
"""This recipient does not get it: opted out at the provider, region not allowed, not reachable."""

OVERLOAD_CODES: Final = frozenset({14107, 20429, 21611, 30001, 30022})
"""Too many at once, or the queue of the sender is full."""

TROUBLE_CODES: Final = frozenset({
    20003, 20005, 20404, 21212, 21603, 21606, 21659, 21660, 21701, 21702, 21703, 21704, 21705, 30002,
    90010,
})  # fmt: skip
"""Credentials, account or origin: nothing goes until somebody mends the sender."""

MESSAGE_PARAMETER: Final = "message"
"""Of the query of a status callback: our delivery id. The provider signs it with the address."""

_SID: Final = re.compile(r"[0-9A-Za-z]{1,64}")


def takes_answers_at(origin: str) -> bool:
    """Return whether messages from an origin can be answered: a number can, a name cannot."""
    return origin.startswith(("+", "MG"))


class TwilioSms:
    """Speaks to one account of the provider.

    Args:
        account: its account id.
        token: its secret.
        sender: a number in E.164, an alphanumeric sender, or the id of a messaging service ("MG...").
        text_of: makes the text of a letter, and is told whether answers reach the sender.
        status_callback: where the provider tells how it went; "" for nowhere.
        endpoint: base of its addresses.
    """

    holds_unknown = True

    def __init__(
        self, account: str, token: Credential, sender: str, *, text_of: Callable[[Letter, bool], str],
        status_callback: str = "", endpoint: str = ENDPOINT,
    ) -> None:  # fmt: skip
        self._takes_answers = takes_answers_at(sender)
        self._account = account
        self._token = token
        name = "MessagingServiceSid" if sender.startswith("MG") else "From"
        self._sender = urlencode({name: sender})
        self._text_of = text_of
        self._callback = status_callback
        self._url = f"{endpoint}/2010-04-01/Accounts/{quote(account, safe='')}/Messages.json"

    def render(self, letter: Letter) -> bytes:
        """Return the form.

        Raises:
            RenderingFailed: no phone number, no text, or one of too many segments.
        """
        check_phone(letter.address)
        text = self._text_of(letter, self._takes_answers)
        size = size_of(text)
        if not 1 <= size.segments <= SEGMENTS_MAX:
            raise RenderingFailed(f"a text message has 1 to {SEGMENTS_MAX} segments")
        if "\0" in text:
            raise RenderingFailed("a text message has no NUL")
        form = f"To={quote_plus(letter.address)}&{self._sender}&Body={quote_plus(text)}"
        if self._callback:
            query = urlencode({MESSAGE_PARAMETER: letter.delivery_id})
            form += f"&StatusCallback={quote_plus(f'{self._callback}?{query}')}"
        return form.encode("ascii")

    def request(self, letter: Letter, rendered: bytes) -> Request:
        """Return the call."""
        del letter
        pair = f"{self._account}:{self._token.read()}".encode()
        return Request(
            self._url,
            {
                "Authorization": "Basic " + base64.b64encode(pair).decode("ascii"),
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            rendered,
        )

    def meaning(self, answer: HttpAnswer, letter: Letter) -> Verdict:
        """Return what the answer says."""
        told = answer.told
        code = _code(told.get("code")) or _code(told.get("error_code"))
        detail = f"SMS: {answer.status} {code or ''}".rstrip()
        kind = Delivery.Kind
        is_success = 200 <= answer.status < 300
        sid = told.get("sid")
        if is_success and isinstance(sid, str) and _SID.fullmatch(sid):
            return Verdict(Delivery(kind.ACCEPTED, f"{detail} {sid}".strip(), 0, True))
        pause_ms = retry_ms(answer, letter)
        if is_success:
            # Neither yes nor no to what it has got.
            return Verdict(Delivery(kind.UNKNOWN, detail, pause_ms, was_handed_over=True))
        if code in BAD_NUMBER_CODES:
            return Verdict(Delivery(kind.REJECTED, detail, is_bad_address=True))
        if code in REFUSED_RECIPIENT_CODES:
            return Verdict(Delivery(kind.REJECTED, detail))
        if answer.status in TROUBLE_STATUSES or code in OVERLOAD_CODES | TROUBLE_CODES:
            return Verdict(Delivery(kind.DEFERRED, detail, pause_ms), is_trouble=True)
        if answer.status >= 500:
            return Verdict(Delivery(kind.UNKNOWN, detail, pause_ms, was_handed_over=True))
        return Verdict(Delivery(kind.FAILED, detail))


def _code(told: object) -> int:
    """Return an error code, 0 for none: some answers have it as a text."""
    if isinstance(told, str) and told.isascii() and told.isdigit() and len(told) < 10:
        return int(told)
    return told if isinstance(told, int) and 0 < told < 10**9 else 0
