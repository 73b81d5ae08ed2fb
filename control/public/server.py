"""What people and providers reach over HTTP: unsubscribing, where POST does it and GET only shows a page
(RFC 8058), confirming a consent (`control/public/confirmation.py`), and the routes given.

Decides: what each request is answered, and how many withdrawals a second there may be.
Never: asks who it is or sets a cookie; changes anything on GET or HEAD, which scanners of links send;
serves any other page, so that it may face the internet, where the metrics may not.

    POST /u/<token>                  one-click, whatever the body: the default; text/plain
    POST /u/<token>  scope=...       from the page, with a choice; the page, telling what was done
    GET  /u/<token>                  the page
    any  /c/<token>                  see `confirmation.py`
    any  /r/<token>                  see `clicks.py`
    any  /hooks/...                  see `control/public/hooks/desk.py`

Invariants:
1. 200 to a POST means that the withdrawal is on record, as durably as the store keeps anything.
2. 503 means try again; what was done by then is not undone, and doing it again is harmless.
3. A connection takes at most READ_S + WITHDRAW_S + WRITE_S; a hook may take two seconds more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from control.listener import Listener
from control.pace import Pace
from control.public import page
from control.public.answer import HTML, RETRY, Answer, Route, form_of, plain, wire
from control.public.confirmation import ConfirmPages
from control.public.links import CONFIRM_PATH, PATH, base_path
from control.public.request import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    BadRequest,
    Request,
    read_request,
)
from control.public.words import page_language
from core.engine.double_opt_in import DoubleOptIn
from core.engine.unsubscribe import Choice, Unsubscriber, Way
from core.engine.unsubscribe_tokens import Ticket
from core.errors import StoreUnavailable

_LOG = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 256
READ_S: Final = 10
WITHDRAW_S: Final = 10
WRITE_S: Final = 10
GRACE_S: Final = 3
WITHDRAWALS_PER_SECOND: Final = 200
WITHDRAWALS_AT_ONCE: Final = 400


class PublicServer:
    """Answers the links in messages.

    Args:
        listen: host:port.
        public_url: where people reach it; a proxy may strip its path or leave it.
        default: what a POST without a choice means, and what the page offers first.
        read_s: how long a client may take to send its request.
        withdraw_s: how long a withdrawal may take before the client is told to come again.
        pace: of withdrawals and confirmations; the default if not given.
        opt_in: confirms consents; their links are unknown if not given.
        routes: what else is answered, by prefix of the path.
        body_bytes_max: how much of a body is kept, by prefix; the default where it is not told.
    """

    def __init__(
        self, listen: str, public_url: str, unsubscriber: Unsubscriber, *,
        default: Choice = Choice.ACCOUNT, read_s: float = READ_S, withdraw_s: float = WITHDRAW_S,
        pace: Pace | None = None, opt_in: DoubleOptIn | None = None,
        routes: Mapping[str, Route] | None = None, body_bytes_max: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self._routes = routes or {}
        self._body_bytes_max = body_bytes_max or {}
        self._unsubscriber = unsubscriber
        self._base = base_path(public_url)
        self._default = default
        self._read_s = read_s
        self._withdraw_s = withdraw_s
        self._pace = pace or Pace(WITHDRAWALS_PER_SECOND, WITHDRAWALS_AT_ONCE, time.monotonic)
        self._confirm: ConfirmPages | None = None
        if opt_in is not None:
            self._confirm = ConfirmPages(opt_in, unsubscriber.stats, self._pace.take, withdraw_s)
        self._listener = Listener(
            listen, "unsubscribe.listen", self._serve, connections_max=CONNECTIONS_MAX,
            buffer_bytes=HEAD_BYTES_MAX, grace_s=GRACE_S,
        )  # fmt: skip

    @property
    def address(self) -> str:
        """Where it listens, once it does."""
        return self._listener.address

    async def start(self) -> None:
        """Listen.

        Raises:
            InvalidField: the address is taken.
        """
        await self._listener.start()

    async def stop(self) -> None:
        """Stop listening, answer what was asked, hang up. Idempotent."""
        await self._listener.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        has_body = True
        try:
            async with asyncio.timeout(self._read_s):
                request = await read_request(reader, writer, self._bytes_max)
            has_body = request.method != "HEAD"
            answer = await self._answer(request)
        except TimeoutError:
            answer = plain(HTTPStatus.REQUEST_TIMEOUT)
        except BadRequest:
            answer = plain(HTTPStatus.BAD_REQUEST)
        except asyncio.LimitOverrunError:
            answer = plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except (asyncio.IncompleteReadError, OSError):
            raise
        except Exception as error:
            # Its text might name somebody.
            _LOG.error("a request from outside broke: %s", type(error).__name__)
            answer = plain(HTTPStatus.INTERNAL_SERVER_ERROR)
        async with asyncio.timeout(WRITE_S):
            writer.write(wire(answer, has_body=has_body))
            await writer.drain()

    async def _answer(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD", "POST"):
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, "Allow: GET, HEAD, POST\r\n")
        path = self._path(request.path)
        for prefix, route in self._routes.items():
            if path.startswith(prefix):
                return await route(request, path.removeprefix(prefix))
        if self._confirm is not None and path.startswith(CONFIRM_PATH):
            return await self._confirm.answer(request, path.removeprefix(CONFIRM_PATH))
        if not path.startswith(PATH):
            return plain(HTTPStatus.NOT_FOUND)
        ticket = self._unsubscriber.read(path.removeprefix(PATH))
        accepted = request.headers.get("accept-language", "")
        language = page_language(ticket.language if ticket is not None else "", accepted)
        if ticket is None:
            return Answer(HTTPStatus.NOT_FOUND, page.unknown(language), HTML, language)
        if request.method != "POST":
            return self._page(ticket, language, None)
        return await self._withdraw(ticket, language, _choice(request, self._default))

    def _path(self, path: str) -> str:
        """Return a path without what stands before all of ours where people reach us."""
        prefixes = (PATH, CONFIRM_PATH, *self._routes)
        is_ours = self._base and path.startswith(tuple(self._base + each for each in prefixes))
        return path.removeprefix(self._base) if is_ours else path

    def _bytes_max(self, path: str) -> int:
        path = self._path(path)
        found = (most for prefix, most in self._body_bytes_max.items() if path.startswith(prefix))
        return next(found, BODY_BYTES_MAX)

    async def _withdraw(self, ticket: Ticket, language: str, chosen: Choice | None) -> Answer:
        """Withdraw, and tell it in the form that the client understands: None means one-click."""
        done: Choice | None = None
        if self._pace.take():
            way = Way.ONE_CLICK if chosen is None else Way.PAGE
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(self._withdraw_s):
                    done = await self._unsubscriber.withdraw(ticket, chosen or self._default, way)
        if done is None:
            if chosen is None:
                return plain(HTTPStatus.SERVICE_UNAVAILABLE, RETRY)
            text = page.away(language)
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, text, HTML, language, RETRY)
        if chosen is None:
            return Answer(HTTPStatus.OK, "unsubscribed\n")
        return self._page(ticket, language, done)

    def _page(self, ticket: Ticket, language: str, done: Choice | None) -> Answer:
        channel = self._unsubscriber.channel(ticket)
        shop = (channel.display_name or channel.id) if channel is not None else ""
        text = page.question(language, ticket.purpose, ticket.medium, shop, self._default, done)
        return Answer(HTTPStatus.OK, text, HTML, language)


def _choice(request: Request, default: Choice) -> Choice | None:
    """Return what was chosen on the page, None for a POST that does not come from there.

    A mail program's POST (RFC 8058 3.2) is a form, a multipart form or nothing at all; only a plain
    form can be the page's. A choice that does not exist is none.
    """
    fields = form_of(request)
    if "List-Unsubscribe" in fields or page.FIELD not in fields:
        return None
    return page.CHOICES.get(fields[page.FIELD][0], default)
