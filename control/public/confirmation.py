"""Confirming a consent over HTTP: POST of the page's form does it, GET only shows the page (g3).

Decides: what each request to a link of double opt-in is answered.
Never: asks who it is, sets a cookie or redirects; changes anything but on a POST of the form: scanners
of links look at every link, and some post.

    GET  /c/<token>              the page; whether the link still holds is not looked at
    POST /c/<token>  confirm=yes confirms; the page, telling that it is done
    POST /c/<token>              anything else: as GET

Invariants:
1. 200 to the form means that the consent is on record, as durably as the store keeps anything.
2. 410 means that nothing was done, and that this link never will do anything.
3. 503 means try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from control.public import page
from control.public.answer import HTML, RETRY, Answer, form_of
from control.public.request import Request
from control.public.words import page_language
from core.engine.consent_tokens import ConsentTicket
from core.engine.double_opt_in import DoubleOptIn
from core.engine.patience import patiently
from core.engine.unsubscribe import PATIENCE_MS
from core.errors import FailedPrecondition, StoreUnavailable
from core.stats import Stats

USER_AGENT_CHARS_MAX = 400
"""Kept of what a browser says of itself."""


class ConfirmPages:
    """Answers links of double opt-in.

    Args:
        may_write: asked before each confirmation; paces them.
        within_s: how long one may take before the client is told to come again.
    """

    def __init__(
        self, opt_in: DoubleOptIn, stats: Stats, may_write: Callable[[], bool], within_s: float
    ) -> None:
        self._opt_in = opt_in
        self._stats = stats
        self._may_write = may_write
        self._within_s = within_s

    async def answer(self, request: Request, token: str) -> Answer:
        """Answer a request for a token's page."""
        ticket = self._opt_in.read(token)
        accepted = request.headers.get("accept-language", "")
        language = page_language(ticket.language if ticket is not None else "", accepted)
        if ticket is None:
            self._stats.unsubscribe_tokens_refused += 1
            return Answer(HTTPStatus.NOT_FOUND, page.unknown(language), HTML, language)
        if request.method != "POST" or not _is_confirming(request):
            return self._page(ticket, language, is_done=False)
        try:
            is_done = await self._confirm(ticket, request)
        except FailedPrecondition:
            return Answer(HTTPStatus.GONE, page.over(language), HTML, language)
        if not is_done:
            text = page.away(language)
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, text, HTML, language, RETRY)
        return self._page(ticket, language, is_done=True)

    async def _confirm(self, ticket: ConsentTicket, request: Request) -> bool:
        """Confirm; False if the store stayed away or others come first.

        Raises:
            FailedPrecondition: the link does not hold any more.
        """
        if not self._may_write():
            return False
        told = request.headers.get("user-agent", "")[:USER_AGENT_CHARS_MAX]
        program = "".join(each if each.isprintable() else " " for each in told)
        # Not from where: behind a proxy that is the proxy, and a header can say anything.
        call = partial(self._opt_in.confirm, ticket, user_agent=program)
        try:
            async with asyncio.timeout(self._within_s):
                await patiently(call, self._stats, PATIENCE_MS)
        except (StoreUnavailable, TimeoutError):
            return False
        self._stats.consents_confirmed += 1
        return True

    def _page(self, ticket: ConsentTicket, language: str, *, is_done: bool) -> Answer:
        sender = self._opt_in.sender(ticket)
        shop = (sender.display_name or sender.id) if sender is not None else ""
        text = page.confirmation(language, ticket.purpose, ticket.medium, shop, is_done=is_done)
        return Answer(HTTPStatus.OK, text, HTML, language)


def _is_confirming(request: Request) -> bool:
    """Return whether a POST is that of the page's form."""
    return form_of(request).get(page.CONFIRM_FIELD) == [page.CONFIRM_VALUE]
