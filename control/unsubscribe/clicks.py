"""Review links over HTTP: a click is noted, and leads on to where the review is written (R47).

    GET  /r/<token>    302 to the shop's page or the platform's, which the configuration names
    HEAD /r/<token>    the same, and nothing is noted; nor for a browser that fetches ahead

Decides: what counts as a click.
Never: leads where anything but the configuration says: of the request, only a token that was made here
goes on (no open redirect). Asks who it is, or sets a cookie.

A link leads on even while the store is away; then the click is lost, not the review.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from control.unsubscribe import page
from control.unsubscribe.answer import HTML, RETRY, Answer, plain
from control.unsubscribe.request import Request
from control.unsubscribe.words import page_language
from core.engine.patience import patiently
from core.engine.review_desk import ReviewDesk
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
        if request.method == "POST":
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, "Allow: GET, HEAD\r\n")
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
        if request.method == "GET" and not is_ahead(request.headers) and self._may_write():
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(NOTE_S):
                    await patiently(lambda: self._reviews.click(ticket), self._stats, PATIENCE_MS)
                self._stats.review_clicks += 1
        return Answer(HTTPStatus.FOUND, "", header=f"Location: {target}\r\n")


def is_ahead(headers: Mapping[str, str]) -> bool:
    """Return whether a browser fetches ahead of a click."""
    told = " ".join(headers.get(name, "").lower() for name in _AHEAD)
    return "prefetch" in told or "preview" in told or "prerender" in told
