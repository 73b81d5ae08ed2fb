"""Review links over HTTP: a click is noted, and leads on to where the review is written (R47).

    GET  /r/<token>               a page that leads on at once, to the shop's page or the platform's
    HEAD /r/<token>               the same
    POST /r/<token>  clicked=yes  from the script of that page: somebody sees it, so the click is noted
    POST /r/<token>               anything else: as GET

Decides: what counts as a click. A GET does not: programs that look for bad links make one of every link
in every message, and on a platform that reports no reviews each would cost its request the reminder.
Never: leads where anything but the configuration says: of the request, only a token that was made here
goes on (no open redirect). Asks who it is, or sets a cookie.

A link leads on without the click being noted: while the store is away, if there are too many, and for
browsers without scripts. Then the click is lost, not the review.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from control.public import page
from control.public.answer import HTML, RETRY, Answer, form_of, plain
from control.public.request import Request
from control.public.words import page_language
from core.engine.patience import patiently
from core.engine.review_desk import ReviewDesk
from core.engine.review_tokens import ReviewTicket
from core.errors import StoreUnavailable
from core.stats import Stats

NOTE_S: Final = 3
PATIENCE_MS: Final = 1_000

_AHEAD: Final = ("purpose", "sec-purpose", "x-purpose", "x-moz")
"""Headers by which browsers say that nobody has clicked yet."""


class ReviewClicks:
    """Follows review links.

    Args:
        may_write: asked before each click is noted; paces them.
    """

    def __init__(self, reviews: ReviewDesk, stats: Stats, may_write: Callable[[], bool]) -> None:
        self._reviews = reviews
        self._stats = stats
        self._may_write = may_write

    async def answer(self, request: Request, token: str) -> Answer:
        """Answer a request for a token."""
        language = page_language("", request.headers.get("accept-language", ""))
        ticket = self._reviews.read(token)
        if ticket is None:
            self._stats.review_tokens_refused += 1
            return Answer(HTTPStatus.NOT_FOUND, page.no_page(language), HTML, language)
        try:
            target = await self._reviews.target(ticket, token)
        except StoreUnavailable:
            text = page.away(language)
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, text, HTML, language, RETRY)
        if not target:
            return Answer(HTTPStatus.GONE, page.no_page(language), HTML, language)
        if request.method != "POST" or not _is_click(request):
            return Answer(HTTPStatus.OK, page.onward(language, target), HTML, language)
        if not await self._note(ticket):
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, RETRY)
        return Answer(HTTPStatus.OK, "noted\n")

    async def _note(self, ticket: ReviewTicket) -> bool:
        if not self._may_write():
            return False
        try:
            async with asyncio.timeout(NOTE_S):
                await patiently(lambda: self._reviews.click(ticket), self._stats, PATIENCE_MS)
        except (StoreUnavailable, TimeoutError):
            return False
        self._stats.review_clicks += 1
        return True


def _is_click(request: Request) -> bool:
    """Return whether a POST is what the page tells once somebody sees it."""
    is_told = form_of(request).get(page.CLICK_FIELD) == [page.CLICK_VALUE]
    return is_told and not is_ahead(request.headers)


def is_ahead(headers: Mapping[str, str]) -> bool:
    """Return whether a browser fetches ahead of a click."""
    told = " ".join(headers.get(name, "").lower() for name in _AHEAD)
    return "prefetch" in told or "preview" in told or "prerender" in told
