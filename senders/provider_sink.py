"""A small real HTTP server that answers as providers do and delivers nothing: for demo and tests.

Decides: what it answers: as the provider's documentation says, by default "yes"; a hook may decide
otherwise for each call, down to answers that are none.
Never: passes anything on.

    POST /2010-04-01/Accounts/{account}/Messages.json   SMS in Twilio's REST form
    POST /{version}/{number}/messages                   WhatsApp in Meta's Cloud API form
    POST anything else                                  a webhook as Standard Webhooks has it

    python -m senders.provider_sink --port 8025
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import enum
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import orjson

from core.errors import InvalidField
from senders.sms_text import size_of
from senders.webhook import key_of, signature

BODY_BYTES_MAX: Final = 1024 * 1024
HEAD_BYTES_MAX: Final = 64 * 1024
KEEP_MAX: Final = 100_000

_SMS_PATH: Final = re.compile(r"/2010-04-01/Accounts/([^/]+)/Messages\.json")
_WHATSAPP_PATH: Final = re.compile(r"/v[0-9]+\.[0-9]+/([0-9]+)/messages")
_E164: Final = re.compile(r"\+[1-9][0-9]{1,14}")


class Form(enum.Enum):
    """Whose API was called."""

    SMS = "sms"
    WHATSAPP = "whatsapp"
    WEBHOOK = "webhook"


class Manner(enum.Enum):
    """How an answer comes."""

    WHOLE = "whole"
    NEVER = "never"
    """Not at all; the connection stays open."""
    DROP = "drop"
    """Not at all; the connection is closed."""
    CUT = "cut"
    """The connection is closed before all that was promised has come."""
    RAW = "raw"
    """The body alone, whatever it is: no HTTP."""


class Reply(msgspec.Struct, frozen=True):
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    manner: Manner = Manner.WHOLE
    delay_ms: int = 0
    """Pause before it."""


class Call(msgspec.Struct, frozen=True):
    """One call as it arrived. Header names in lower case."""

    form: Form
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def told(self) -> dict[str, Any]:
        """The object of a JSON body; empty if it is something else."""
        with contextlib.suppress(orjson.JSONDecodeError):
            told = orjson.loads(self.body)
            return told if isinstance(told, dict) else {}
        return {}


Decide = Callable[[Call], Reply | None]
"""Returns the answer to a call; None: what the provider's documentation says."""


def reply_of(status: int, told: object, **headers: str) -> Reply:
    """Return an answer in JSON; a header Retry-After is given as `retry_after`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, orjson.dumps(told), {"content-type": "application/json", **named})


def sms_error(status: int, code: int, **headers: str) -> Reply:
    """Return an error in Twilio's form."""
    told = {
        "code": code, "message": "refused", "status": status,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
    }  # fmt: skip
    return reply_of(status, told, **headers)


def whatsapp_error(status: int, code: int, **headers: str) -> Reply:
    """Return an error in the Cloud API's form."""
    error = {"message": "refused", "type": "OAuthException", "code": code, "fbtrace_id": "A1"}
    return reply_of(status, {"error": error}, **headers)


class ProviderSink:
    """The server.

    Args:
        host: where to listen.
        port: 0 for any free one; `port` tells which.
        decide: how a call fares.
        sms_login: (account, token) to demand for SMS.
        whatsapp_token: to demand for WhatsApp.
        webhook_secret: to check signatures of webhooks by.
        calls_per_second: more are answered 429; 0: no limit.
        keep: how many calls to keep in `calls` and `accepted`, the oldest go first.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, decide: Decide = lambda _: None,
        sms_login: tuple[str, str] | None = None, whatsapp_token: str = "",
        webhook_secret: str = "", calls_per_second: int = 0, keep: int = 10_000,
    ) -> None:  # fmt: skip
        self.host = host
        self.port = port
        self.decide = decide
        self.sms_login = sms_login
        self.whatsapp_token = whatsapp_token
        self.webhook_secret = webhook_secret
        self.calls_per_second = calls_per_second
        self.calls: deque[Call] = deque(maxlen=min(keep, KEEP_MAX))
        self.accepted: deque[Call] = deque(maxlen=min(keep, KEEP_MAX))
        """Those that a provider would have acted on."""
        self.connections = 0
        self.busiest = 0
        """Calls under way at most."""
        self._under_way = 0
        self._window = (0.0, 0)
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Base of its addresses."""
        return f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(
            self._accepted, self.host, self.port, limit=HEAD_BYTES_MAX
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut all connections. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in tuple(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        if server is not None:
            await server.wait_closed()

    # One connection -----------------------------------------------------------------------------

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None, "a connection has a task"
        self._sessions.add(task)
        try:
            while await self._serve(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        except asyncio.CancelledError:
            # By `close`; nobody waits for this task but it.
            pass
        finally:
            self._sessions.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one call; False if the connection ends with it."""
        call = await _read(reader)
        self._under_way += 1
        self.busiest = max(self.busiest, self._under_way)
        try:
            return await self._answer(call, writer)
        finally:
            self._under_way -= 1

    async def _answer(self, call: Call, writer: asyncio.StreamWriter) -> bool:
        self.calls.append(call)
        decided = self.decide(call)
        reply = decided if decided is not None else self._documented(call)
        if 200 <= reply.status < 300:
            self.accepted.append(call)
        if reply.delay_ms:
            await asyncio.sleep(reply.delay_ms / 1_000)
        if reply.manner is Manner.NEVER:
            await asyncio.Event().wait()
        if reply.manner is Manner.DROP:
            return False
        if reply.manner is not Manner.RAW:
            promised = len(reply.body) + (reply.manner is Manner.CUT)
            headers = {**reply.headers, "content-length": str(promised)}
            lines = [f"HTTP/1.1 {reply.status} Told"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        writer.write(reply.body)
        await writer.drain()
        return reply.manner is Manner.WHOLE

    # What is documented -------------------------------------------------------------------------

    def _documented(self, call: Call) -> Reply:
        if self._is_too_many():
            if call.form is Form.SMS:
                return sms_error(429, 20429, retry_after="1")
            if call.form is Form.WHATSAPP:
                return whatsapp_error(400, 130429)
            return Reply(429, headers={"retry-after": "1"})
        by_form = {Form.SMS: self._sms, Form.WHATSAPP: self._whatsapp, Form.WEBHOOK: self._webhook}
        return by_form[call.form](call)

    def _is_too_many(self) -> bool:
        if not self.calls_per_second:
            return False
        now = asyncio.get_running_loop().time()
        since, count = self._window
        if now - since >= 1:
            since, count = now, 0
        self._window = (since, count + 1)
        return count >= self.calls_per_second

    def _sms(self, call: Call) -> Reply:
        account = _SMS_PATH.fullmatch(call.path)
        assert account is not None, "called by its path"
        if self.sms_login is not None:
            pair = base64.b64encode(":".join(self.sms_login).encode()).decode()
            if call.headers.get("authorization") != f"Basic {pair}":
                return sms_error(401, 20003)
            if account.group(1) != self.sms_login[0]:
                return sms_error(404, 20404)
        fields = call.fields
        if not _E164.fullmatch(fields.get("To", "")):
            return sms_error(400, 21211)
        if not fields.get("From") and not fields.get("MessagingServiceSid"):
            return sms_error(400, 21603)
        size = size_of(fields.get("Body", ""))
        if not size.segments:
            return sms_error(400, 21602)
        if size.segments > 10:
            return sms_error(400, 21617)
        told = {
            "sid": f"SM{_id_of(call, len(self.calls))}", "status": "queued", "error_code": None,
            "account_sid": account.group(1), "to": fields["To"], "from": fields.get("From"),
            "body": fields["Body"], "num_segments": str(size.segments), "direction": "outbound-api",
        }  # fmt: skip
        return reply_of(201, told)

    def _whatsapp(self, call: Call) -> Reply:
        bearer = f"Bearer {self.whatsapp_token}"
        if self.whatsapp_token and call.headers.get("authorization") != bearer:
            return whatsapp_error(401, 190)
        told = call.told
        template = told.get("template")
        if told.get("messaging_product") != "whatsapp" or not isinstance(template, dict):
            return whatsapp_error(400, 100)
        if not template.get("name") or not template.get("language", {}).get("code"):
            return whatsapp_error(404, 132001)
        to = str(told.get("to"))
        return reply_of(200, {
            "messaging_product": "whatsapp",
            "contacts": [{"input": to, "wa_id": to}],
            "messages": [
                {"id": f"wamid.{_id_of(call, len(self.calls))}", "message_status": "accepted"}
            ],
        })  # fmt: skip

    def _webhook(self, call: Call) -> Reply:
        if self.webhook_secret and not is_signed(call, self.webhook_secret):
            return Reply(401)
        return Reply(204)


def is_signed(call: Call, secret: str) -> bool:
    """Return whether a webhook carries the signature of its body under a secret."""
    headers = call.headers
    with contextlib.suppress(ValueError, InvalidField):
        wanted = signature(
            key_of(secret), headers.get("webhook-id", ""),
            int(headers.get("webhook-timestamp", "")), call.body,
        )  # fmt: skip
        return wanted in headers.get("webhook-signature", "").split(" ")
    return False


async def _read(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    if method != "POST":
        raise ValueError("only POST is answered")
    parted = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in parted}
    size = int(headers.get("content-length", "0"))
    if not 0 <= size <= BODY_BYTES_MAX:
        raise ValueError("the body is too large")
    body = await reader.readexactly(size)
    path = target.partition("?")[0]
    form = Form.WEBHOOK
    if _SMS_PATH.fullmatch(path):
        form = Form.SMS
    elif _WHATSAPP_PATH.fullmatch(path):
        form = Form.WHATSAPP
    return Call(form, path, headers, body)


def _id_of(call: Call, number: int) -> str:
    return blake2b(call.body + number.to_bytes(8, "big"), digest_size=16).hexdigest()


async def _serve(arguments: argparse.Namespace) -> None:
    sink = ProviderSink(arguments.host, arguments.port, keep=1_000)
    await sink.start()
    sys.stdout.write(f"listening on {sink.url}\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await sink.close()
    sys.stdout.write(f"accepted {len(sink.accepted)} of {len(sink.calls)} calls\n")


def main() -> None:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(
        prog="senders.provider_sink", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8025, help="0 for any free port")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
