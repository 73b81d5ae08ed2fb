"""What a link is answered with, and its bytes on the wire.

Decides: the forms of answers that all links share.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

import msgspec

from control.public import page
from control.public.request import Request

TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
FORM: Final = "application/x-www-form-urlencoded"
FIELDS_MAX: Final = 16
RETRY: Final = "Retry-After: 30\r\n"


Route = Callable[[Request, str], Awaitable["Answer"]]
"""Answers a request by what stands behind its prefix."""


class Answer(msgspec.Struct, frozen=True):
    """What is said to a request."""

    status: HTTPStatus
    body: str
    kind: str = TEXT
    language: str = ""
    header: str = ""
    """A further line."""


def form_of(request: Request) -> dict[str, list[str]]:
    """Return the fields of a plain form, {} of anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return {}
    try:
        text = request.body.decode("latin-1")
        return parse_qs(text, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        return {}


def plain(status: HTTPStatus, header: str = "") -> Answer:
    """Return an answer for programs."""
    return Answer(status, f"{status.phrase}\n", header=header)


def wire(answer: Answer, *, has_body: bool) -> bytes:
    """Return an answer as HTTP/1.1."""
    body = answer.body.encode()
    language = f"Content-Language: {answer.language}\r\n" if answer.language else ""
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.kind}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"{language}{answer.header}{page.HEADERS}"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + (body if has_body else b"")
