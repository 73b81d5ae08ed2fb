"""Hooks: calls by which providers tell what became of messages, and what people wrote back.

    POST /hooks/<account>/<sender>/twilio      status callbacks, messages that came in
    GET  /hooks/<account>/<sender>/whatsapp    the handshake
    POST /hooks/<account>/<sender>/whatsapp    statuses, messages that came in
    POST /hooks/<account>/<name>/email         the plain form, from whatever knows of e-mails

Decides: whose secret must have signed a call, and what it is answered; that feedback moves states and
suppresses (g10, R48), and stop words unsubscribe (g7).
Never: does anything for a call that is not signed, or tells a stranger more than that.

    200   taken, what is said of messages that are none of ours included: it would be said for ever
    400   signed, and not to be understood        401   not signed
    404   no such hook                            413   the body is too long
    503   come again: the store is away, the message is still being handed over, or too much at once

Invariants:
1. 200 means that what it says is on record, as durably as the store keeps anything.
2. What is said again changes nothing, whatever was said between: feedback is known by its message and
   kind, a stop word by the id of what came in. Only where a form has neither id nor time, as Twilio's
   without MessageSid, a stop word that is repeated unsubscribes again.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

import orjson

from control.pace import Pace
from control.public.answer import RETRY, TEXT, Answer
from control.public.answer import plain as plain_answer
from control.public.hooks import plain, twilio, whatsapp
from control.public.hooks.heard import Garbage, Heard, Message
from control.public.request import Request
from core.bounds import MINUTE_MS
from core.clock import Clock, SystemClock
from core.engine.feedback import FeedbackBook, Outcome, Told
from core.engine.patience import patiently
from core.engine.stop_words import Inbox
from core.errors import AfterwordError, Conflict, InvalidField, NotFound, StoreUnavailable
from core.registry.registry import Registry
from core.registry.senders import Sender, SenderKind
from core.stats import Stats
from senders.credentials import SecretMissing, Secrets

_LOG = logging.getLogger(__name__)

PATH: Final = "/hooks/"
BODY_BYTES_MAX: Final = 256 * 1024
CALLS_PER_SECOND: Final = 200
CALLS_AT_ONCE: Final = 400
UNDER_WAY_MAX: Final = 64
WORK_S: Final = 12
PATIENCE_MS: Final = 3_000
EARLY_PAUSES_S: Final = (0.1, 0.3, 0.6, 1.0, 2.0)
"""How long a call is held whose message is still being handed over: providers are quick."""
QUERY_FIELDS_MAX: Final = 32
TOLD_EVERY_MS: Final = MINUTE_MS
"""How often the log says that a hook has no secret: anybody can call any hook."""

_PLACE: Final = re.compile(r"([a-z][a-z0-9-]{0,62})/([a-z][a-z0-9-]{0,62})/([a-z]{1,16})")
_XML: Final = "text/xml; charset=utf-8"
_JSON: Final = "application/json"
_KINDS: Final[Mapping[str, SenderKind]] = {
    "twilio": SenderKind.SMS_TWILIO,
    "whatsapp": SenderKind.WHATSAPP_CLOUD,
}
EMAIL: Final = "email"


def hook_url(public_url: str, account: str, name: str, form: str) -> str:
    """Return where a provider calls, "" where nobody can reach us."""
    return f"{public_url.rstrip('/')}{PATH}{account}/{name}/{form}" if public_url else ""


class _Forged(Exception):
    """It is not signed as it must be."""


class _Early(Exception):
    """It is about a message that is still being handed over."""


class HookDesk:
    """Answers hooks.

    Args:
        public_url: where providers reach us, which is what some sign.
        clock: the wall's, for the times of signatures.
        pace: of calls that are signed.
        work_s: how long one may take before the provider is told to come again.
        early_pauses_s: after which a call is tried again whose message is still being handed over.
    """

    def __init__(
        self, public_url: str, registry: Registry, secrets: Secrets, feedback: FeedbackBook,
        inbox: Inbox, stats: Stats, *, clock: Clock | None = None, pace: Pace | None = None,
        work_s: float = WORK_S, early_pauses_s: Sequence[float] = EARLY_PAUSES_S,
    ) -> None:  # fmt: skip
        self._public_url = public_url.rstrip("/")
        self._registry = registry
        self._secrets = secrets
        self._feedback = feedback
        self._inbox = inbox
        self._stats = stats
        self._clock = clock or SystemClock()
        self._pace = pace or Pace(CALLS_PER_SECOND, CALLS_AT_ONCE, time.monotonic)
        self._work_s = work_s
        self._early_pauses_s = early_pauses_s
        self._under_way = 0
        self._told_ms = -TOLD_EVERY_MS

    async def answer(self, request: Request, rest: str) -> Answer:
        """Answer a call to what stands behind `PATH`."""
        found = _PLACE.fullmatch(rest)
        if found is None:
            return plain_answer(HTTPStatus.NOT_FOUND)
        account, name, form = found.groups()
        sender = self._registry.snapshot.sender(account, name)
        is_known = form == EMAIL or (
            sender is not None and form in _KINDS and sender.kind is _KINDS[form]
        )
        if not is_known:
            return plain_answer(HTTPStatus.NOT_FOUND)
        if request.is_cut:
            return self._refused(form, "garbage", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if request.method != "POST" and not (form == "whatsapp" and request.method == "GET"):
            allowed = "GET, POST" if form == "whatsapp" else "POST"
            return plain_answer(HTTPStatus.METHOD_NOT_ALLOWED, f"Allow: {allowed}\r\n")
        try:
            if request.method == "GET":
                return self._handshake(account, name, request)
            heard = self._heard(account, name, form, sender, request, rest)
        except Garbage as error:
            self._count(form, "garbage")
            return Answer(HTTPStatus.BAD_REQUEST, f"{error}\n")
        except _Forged:
            return self._refused(form, "forged", HTTPStatus.UNAUTHORIZED)
        except (SecretMissing, InvalidField) as error:
            self._tell(account, name, error)
            return self._refused(form, "forged", HTTPStatus.UNAUTHORIZED)
        return await self._taken(account, form, heard)

    def _tell(self, account: str, name: str, error: Exception) -> None:
        """Tell the log, and it alone: a stranger does not learn whether there is a secret, and fills no
        disk with what is not there."""
        now_ms = self._clock.now_ms()
        if not 0 <= now_ms - self._told_ms < TOLD_EVERY_MS:
            self._told_ms = now_ms
            _LOG.warning("the hook %s of account %s cannot be checked: %s", name, account, error)

    def _count(self, form: str, what: str, count: int = 1) -> None:
        if count:
            self._stats.hook_items[form, what] += count

    def _refused(self, form: str, what: str, status: HTTPStatus) -> Answer:
        self._count(form, what)
        return plain_answer(status, RETRY if status == HTTPStatus.SERVICE_UNAVAILABLE else "")

    # Reading --------------------------------------------------------------------------------------

    def _secret(self, account: str, name: str) -> str:
        """Return the secret of a hook that is not a sender's own."""
        try:
            return self._secrets.credential(account, f"secret:{name}").read()
        except InvalidField:
            raise SecretMissing(f"secret:{name} cannot be: the name is too long") from None

    def _handshake(self, account: str, name: str, request: Request) -> Answer:
        token = self._secret(account, f"hook-{name}-verify")
        challenge = whatsapp.challenge_of(_query(request), token)
        if not challenge:
            return self._refused("whatsapp", "forged", HTTPStatus.FORBIDDEN)
        return Answer(HTTPStatus.OK, challenge, TEXT)

    def _heard(
        self, account: str, name: str, form: str, sender: Sender | None, request: Request, rest: str
    ) -> Heard:
        """Return what a call says, once its signature was found right."""
        headers, body = request.headers, request.body
        if form == EMAIL:
            secret = self._secret(account, f"hook-{name}")
            if not plain.is_signed(headers, body, secret, self._clock.now_ms()):
                raise _Forged
            return plain.heard(body)
        assert sender is not None, "asked before"
        if form == "whatsapp":
            signature = headers.get("x-hub-signature-256", "")
            if not whatsapp.is_signed(body, signature, self._secret(account, f"hook-{name}")):
                raise _Forged
            return whatsapp.heard(body, sender.origin)
        token = self._secrets.credential(account, sender.credential).read()
        fields = twilio.fields_of(body)
        url = f"{self._public_url}{PATH}{rest}" + (f"?{request.query}" if request.query else "")
        if not twilio.is_signed(url, fields, headers.get("x-twilio-signature", ""), token):
            raise _Forged
        return twilio.heard(_query(request), fields)

    # Doing ----------------------------------------------------------------------------------------

    async def _taken(self, account: str, form: str, heard: Heard) -> Answer:
        if self._under_way >= UNDER_WAY_MAX or not self._pace.take():
            return self._refused(form, "put_off", HTTPStatus.SERVICE_UNAVAILABLE)
        self._under_way += 1
        try:
            async with asyncio.timeout(self._work_s):
                done = await self._record(account, form, heard)
        except (StoreUnavailable, TimeoutError, _Early):
            return self._refused(form, "put_off", HTTPStatus.SERVICE_UNAVAILABLE)
        finally:
            self._under_way -= 1
        for what, count in done.items():
            self._count(form, what, count)
        if form == EMAIL:
            return Answer(HTTPStatus.OK, orjson.dumps(done).decode() + "\n", _JSON)
        if form == "twilio":
            return Answer(HTTPStatus.OK, twilio.EMPTY_ANSWER, _XML)
        return Answer(HTTPStatus.OK, "ok\n")

    async def _record(self, account: str, form: str, heard: Heard) -> dict[str, int]:
        """Take in what was said; return what became of it.

        Raises:
            StoreUnavailable, _Early: say all of it again.
        """
        done = {
            "taken": 0, "again": 0, "unknown": heard.unknown_count, "ignored": heard.ignored_count
        }  # fmt: skip
        for message in heard.messages:
            done["taken" if await self._receive(account, message) else "ignored"] += 1
        left = list(heard.told)
        for pause_s in (*self._early_pauses_s, None):
            if not left:
                break
            call = partial(self._feedback.record, account, left, actor=f"hook:{form}")
            outcomes = await patiently(call, self._stats, PATIENCE_MS)
            early: list[Told] = []
            for one, outcome in zip(left, outcomes, strict=True):
                if isinstance(outcome.error, Conflict):
                    early.append(one)
                else:
                    done[_what(outcome)] += 1
            left = early
            if left and pause_s is None:
                raise _Early
            if left:
                await asyncio.sleep(pause_s or 0)
        return done

    async def _receive(self, account: str, message: Message) -> bool:
        """Take a message; return whether it was a stop word."""
        call = partial(
            self._inbox.receive, account, message.phone, message.text, int(message.medium), "",
            message.time_ms, message_id=message.id,
        )  # fmt: skip
        return bool((await patiently(call, self._stats, PATIENCE_MS)).word)


def _what(outcome: Outcome) -> str:
    error: AfterwordError | None = outcome.error
    if error is None:
        return "taken" if outcome.is_new else "again"
    return "unknown" if isinstance(error, NotFound) else "ignored"


def _query(request: Request) -> dict[str, str]:
    try:
        return dict(parse_qsl(request.query, max_num_fields=QUERY_FIELDS_MAX))
    except ValueError:
        raise Garbage(f"the query has at most {QUERY_FIELDS_MAX} fields") from None
