"""One mail of the demo as it came over SMTP, made ready to be read on a terminal.

Decides: what of it is shown: who, to whom, about what, and its plain part with its links cut short.
"""

from __future__ import annotations

import email
import email.policy
import re
import textwrap
from collections.abc import Iterator
from typing import Final

import msgspec

from control.demo.configuration import PUBLIC_URL

FRAME_CHARS: Final = 96
_TEXT_CHARS: Final = FRAME_CHARS - 4
_LINK: Final = re.compile(rf"({re.escape(PUBLIC_URL)}/\w+/)[^\s>]+")
"""What follows is a token: long, and another one with every store."""


class ShownMail(msgspec.Struct, frozen=True):
    """What a person wants to see of a mail."""

    order: str
    headers: tuple[str, ...]
    text: str
    """Its plain part."""
    html_bytes: int


def read(order: str, content: str) -> tuple[ShownMail, str]:
    """Return a mail to be shown, and its HTML part.

    Args:
        content: as it came over SMTP.
    """
    mail = email.message_from_string(content, policy=email.policy.default)
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None, "every mail of ours has a plain part"
    assert html is not None, "every mail of ours has an HTML part"
    text, page = (part.get_content().replace("\r\n", "\n") for part in (plain, html))
    headers = tuple(f"{name}: {mail[name]}" for name in ("From", "To", "Date", "Subject"))
    return ShownMail(order, headers, _cut(text).strip(), len(page.encode())), page


def _cut(text: str) -> str:
    """Return a text whose links end where their tokens begin."""
    return _LINK.sub(r"\1...", text)


def framed(mail: ShownMail) -> Iterator[str]:
    """Yield the mail in a frame, line by line."""
    rule = f"+{'-' * (FRAME_CHARS - 2)}+"
    for lines in (mail.headers, mail.text.split("\n")):
        yield rule
        for line in lines:
            for part in textwrap.wrap(line, _TEXT_CHARS) or [""]:
                yield f"| {part:<{_TEXT_CHARS}} |"
    yield rule
