"""WhatsApp messages through the Cloud API form: approved templates, text inside the service window.

Decides: the request, and what each error code means for a message.
Never: which template says what; a message names one, its language and its parameters.

Outside the 24 hours after the recipient last wrote, only approved templates may be sent (g9); this
sender sends nothing else. The form takes no idempotency key, so an unknown outcome is held.

131049 is the limit on marketing messages that one person gets from all businesses together: it cannot
be foreseen, an early retry counts against the sender, so its pauses start at hours and grow.

Source: the "messages" endpoint of the Cloud API (POST /{version}/{phone number id}/messages) and its
list of error codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import orjson

from core.bounds import HOUR_MS
from core.errors import RenderingFailed
from core.sending import Delivery, Letter
from senders import backoff
from senders.credentials import Credential
from senders.http_client import HttpAnswer
from senders.http_transport import TROUBLE_STATUSES, Request, Verdict, check_phone, retry_ms

ENDPOINT: Final = "https://graph.facebook.com"
VERSION: Final = "v23.0"
PARAMETER_CHARS_MAX: Final = 1_024

PERSON_LIMIT_CODE: Final = 131049
PERSON_LIMIT_FIRST_MS: Final = 12 * HOUR_MS
PERSON_LIMIT_LONGEST_MS: Final = 96 * HOUR_MS

OVERLOAD_CODES: Final = frozenset({4, 80007, 130429, 131048, 133016})
"""Too many calls, or the sender's spam limit."""

TROUBLE_CODES: Final = frozenset({
    0, 3, 10, 33, 190, *range(200, 300), 368, 131005, 131031, 131042, 131045, 133010,
})  # fmt: skip
"""Credentials, permissions, billing or registration of the account: nothing goes until it is mended."""

NO_NUMBER: Final = (100, 33)
"""Code and subcode: the sending number is not there, or the token may not use it."""

PASSING_CODES: Final = frozenset({1, 2, 131000, 131016, 131056, 131057, 133004})
"""The provider is not well at the moment, or this recipient has got too many just now."""

BAD_NUMBER_CODES: Final = frozenset({131021, 131026})
"""The number is not on WhatsApp, or is the sender's own."""

REFUSED_RECIPIENT_CODES: Final = frozenset({131050, 131051, 130472, 130497, 131030})
"""This person takes no marketing, is in an experiment, in a country not served, or not allowed."""

TEMPLATE_CODES: Final = frozenset({
    132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132018, 132068, 132069,
})  # fmt: skip
"""The template is missing, paused, not approved or called with other parameters."""


class TemplateCall(msgspec.Struct, frozen=True):
    """An approved template and what fills it."""

    name: str
    language: str
    """As the provider has it: "en", "pt_BR"."""
    parameters: tuple[str, ...] = ()
    """Of the body, in order."""


class WhatsApp:
    """Speaks for one phone number of the provider's.

    Args:
        phone_number_id: the provider's id of the sending number.
        token: access token.
        template_of: makes the template call of a letter.
    """

    holds_unknown = True

    def __init__(
        self, phone_number_id: str, token: Credential, *,
        template_of: Callable[[Letter], TemplateCall], endpoint: str = ENDPOINT,
        version: str = VERSION,
    ) -> None:  # fmt: skip
        self._url = f"{endpoint}/{version}/{phone_number_id}/messages"
        self._token = token
        self._template_of = template_of

    def render(self, letter: Letter) -> bytes:
        """Return the call's JSON.

        Raises:
            RenderingFailed: no phone number, or a parameter that the provider refuses.
        """
        check_phone(letter.address)
        called = self._template_of(letter)
        body: dict[str, Any] = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": letter.address[1:],
            "type": "template",
            "template": {"name": called.name, "language": {"code": called.language}},
            "biz_opaque_callback_data": letter.delivery_id,
        }
        if called.parameters:
            told = [{"type": "text", "text": parameter_of(text)} for text in called.parameters]
            body["template"]["components"] = [{"type": "body", "parameters": told}]
        try:
            return orjson.dumps(body)
        except orjson.JSONEncodeError:
            raise RenderingFailed("a value cannot stand in JSON") from None

    def request(self, letter: Letter, rendered: bytes) -> Request:
        """Return the call."""
        del letter
        headers = {
            "Authorization": f"Bearer {self._token.read()}",
            "Content-Type": "application/json",
        }
        return Request(self._url, headers, rendered)

    def meaning(self, answer: HttpAnswer, letter: Letter) -> Verdict:
        """Return what the answer says."""
        told = answer.told
        error = told.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        code = code if isinstance(code, int) and 0 <= code < 10**9 else -1
        if isinstance(error, dict) and (code, error.get("error_subcode")) == NO_NUMBER:
            code = NO_NUMBER[1]
        detail = f"WhatsApp: {answer.status}" + (f" {code}" if code >= 0 else "")
        return _verdict(answer, told, code, detail, letter)


def _verdict(
    answer: HttpAnswer, told: dict[str, Any], code: int, detail: str, letter: Letter
) -> Verdict:
    kind = Delivery.Kind
    is_success = 200 <= answer.status < 300
    sent = told.get("messages")
    if is_success and isinstance(sent, list) and sent:
        return Verdict(Delivery(kind.ACCEPTED, detail, was_handed_over=True))
    pause_ms = retry_ms(answer, letter)
    if is_success:
        return Verdict(Delivery(kind.UNKNOWN, detail, pause_ms, was_handed_over=True))
    if code == PERSON_LIMIT_CODE:
        key = letter.delivery_id.encode()
        pause_ms = backoff.backoff_ms(
            letter.attempts, key, 2 * PERSON_LIMIT_FIRST_MS, PERSON_LIMIT_LONGEST_MS
        )
        return Verdict(Delivery(kind.DEFERRED, detail, pause_ms))
    if code in BAD_NUMBER_CODES:
        return Verdict(Delivery(kind.REJECTED, detail, is_bad_address=True))
    if code in REFUSED_RECIPIENT_CODES:
        return Verdict(Delivery(kind.REJECTED, detail))
    if code in TEMPLATE_CODES:
        return Verdict(Delivery(kind.FAILED, detail))
    if code in PASSING_CODES:
        return Verdict(Delivery(kind.DEFERRED, detail, pause_ms))
    if code in OVERLOAD_CODES | TROUBLE_CODES or answer.status in TROUBLE_STATUSES:
        return Verdict(Delivery(kind.DEFERRED, detail, pause_ms), is_trouble=True)
    if answer.status >= 500:
        return Verdict(Delivery(kind.UNKNOWN, detail, pause_ms, was_handed_over=True))
    return Verdict(Delivery(kind.FAILED, detail))


def parameter_of(text: str) -> str:
    """Return a parameter as the provider takes it: one line, no runs of blanks, bounded, not empty.

    Raises:
        RenderingFailed: it is empty or too long.
    """
    line = " ".join(text.split())
    if not line:
        raise RenderingFailed("a parameter of the template is empty")
    if len(line) > PARAMETER_CHARS_MAX:
        raise RenderingFailed(f"a parameter has at most {PARAMETER_CHARS_MAX} characters")
    return line
