"""Messages as signed HTTP calls to a server of the shop's.

Decides: the body, the signature and what each status means.
Never: follows a redirect or calls a private address (`senders/http_client.py`).

The receiver checks, in this order: the timestamp is within five minutes; the signature is that of
"{id}.{timestamp}.{body}" under the shared secret; the id is new. The id is stable over retries, so a
receiver that remembers ids gets each message once, and an unknown outcome may be tried again.

Source: the Standard Webhooks specification (headers webhook-id, webhook-timestamp, webhook-signature
"v1,<base64 of HMAC-SHA256>", secrets "whsec_<base64>").
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from typing import Any, Final

import orjson

from core.bounds import SECOND_MS
from core.clock import SystemClock
from core.errors import InvalidField, RenderingFailed
from core.sending import Delivery, Letter
from senders.credentials import Credential
from senders.http_client import HttpAnswer
from senders.http_transport import Request, Verdict, retry_ms

BODY_BYTES_MAX: Final = 256 * 1024
SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES_MIN: Final = 24

_WALL: Final = SystemClock()


def key_of(secret: str) -> bytes:
    """Return the key in a secret.

    Raises:
        InvalidField: it is no "whsec_" and base64 of at least 24 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < SECRET_BYTES_MIN:
        raise InvalidField(
            f'a webhook secret is "{SECRET_PREFIX}" and base64 of at least {SECRET_BYTES_MIN} bytes',
            field="secret",
        )
    return key


def signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of the header webhook-signature."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")


class Webhook:
    """Calls one address.

    Args:
        address: of the receiver; a letter's own is not looked at.
        secret: shared with the receiver.
        payload_of: makes what a letter says; must be JSON.
        now_ms: wall clock of signatures: receivers compare it with theirs.
        is_secure: only https is called.
    """

    holds_unknown = False

    def __init__(
        self, address: str, secret: Credential, *, payload_of: Callable[[Letter], dict[str, Any]],
        now_ms: Callable[[], int] = _WALL.now_ms, is_secure: bool = True,
    ) -> None:  # fmt: skip
        self._address = address
        self._secret = secret
        self._payload_of = payload_of
        self._now_ms = now_ms
        self._schemes = ("https://",) if is_secure else ("https://", "http://")

    def render(self, letter: Letter) -> bytes:
        """Return the body.

        Raises:
            RenderingFailed: the address is none that may be called, or the body is too large.
        """
        if not self._address.startswith(self._schemes):
            raise RenderingFailed("the address of a webhook begins with https://")
        try:
            body = orjson.dumps(self._payload_of(letter))
        except orjson.JSONEncodeError:
            raise RenderingFailed("a value cannot stand in JSON") from None
        if len(body) > BODY_BYTES_MAX:
            raise RenderingFailed(f"the body of a webhook has at most {BODY_BYTES_MAX} bytes")
        return body

    def request(self, letter: Letter, rendered: bytes) -> Request:
        """Return the call, signed now."""
        seconds = self._now_ms() // SECOND_MS
        signed = signature(key_of(self._secret.read()), letter.delivery_id, seconds, rendered)
        return Request(
            self._address,
            {
                "Content-Type": "application/json",
                "webhook-id": letter.delivery_id,
                "webhook-timestamp": str(seconds),
                "webhook-signature": signed,
            },
            rendered,
        )

    def meaning(self, answer: HttpAnswer, letter: Letter) -> Verdict:
        """Return what the status says. The trouble of one receiver is none of the others'."""
        kind, detail = Delivery.Kind, f"webhook: {answer.status}"
        if 200 <= answer.status < 300:
            return Verdict(Delivery(kind.ACCEPTED, detail, was_handed_over=True))
        pause_ms = retry_ms(answer, letter)
        if answer.status in (408, 409, 425, 429) or answer.status >= 500:
            return Verdict(Delivery(kind.DEFERRED, detail, pause_ms))
        # Redirects, 410 and all other refusals: the shop has to mend its set-up.
        return Verdict(Delivery(kind.FAILED, detail))
