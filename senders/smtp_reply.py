"""What an SMTP server said, and what that means for a letter.

Decides: how reply lines become replies, and how a reply becomes a `Delivery`.
Never: I/O; this page is pure.

Invariants:
1. Nothing the server wrote in prose gets into a `Delivery`: servers like to quote the recipient's
   address, in spellings we could not find and blot out. Stage, code and status tell what to do.
2. REJECTED is said of the recipient only, because it may bar the address for good; whatever speaks of
   the sender, the content, a policy or the session is FAILED or DEFERRED.

Source: RFC 5321 4.2 (replies), RFC 2034 and 3463 (enhanced status codes).
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from core.sending import Delivery

REPLY_BYTES_MAX = 64 * 1024
"""More without the end of a reply is no SMTP server."""

_STATUS = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}(?= |$)")

_SESSION_CODES = frozenset({503, 530, 534, 535, 538})
"""Bad sequence, authentication missing or refused: somebody must mend the set-up, the letter is fine."""

_RECIPIENT_CODES = frozenset({550, 551, 552, 553, 554, 521, 556})
"""At RCPT and without an enhanced status: the mailbox, or its domain, takes no mail."""

_SENDER_STATUSES = frozenset({"5.1.7", "5.1.8"})
"""In the class of address problems, but about the sender's."""

_RECIPIENT_CLASSES = ("5.1.", "5.2.")
"""Addressing and mailbox status (RFC 3463 3.2, 3.3)."""

_ADDRESS_CLASS = "5.1."
_DISABLED = "5.2.1"
"""About the address as such, not about this message: full mailboxes and sizes (5.2.2, 5.2.3) pass, and a
code without a status may be a policy in disguise."""


class Stage(enum.Enum):
    """Which command a reply answers. FINAL is the one after the content."""

    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    FINAL = "content"


class BrokenReply(Exception):
    """The other side does not speak SMTP."""


class Reply(NamedTuple):
    """One reply, its continuation lines included."""

    code: int
    lines: list[bytes]

    @property
    def status(self) -> str:
        """The enhanced status code, "" if there is none."""
        match = _STATUS.match(self.lines[-1])
        return match.group().decode() if match else ""

    @property
    def is_ok(self) -> bool:
        """Whether the command was carried out."""
        return 200 <= self.code < 300

    def told(self, stage: str) -> str:
        """Return the reply in one line without the server's prose."""
        return f"{stage}: {self.code} {self.status}".rstrip()


class ReplyReader:
    """Cuts a byte stream into replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._lines_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing but whole replies has come."""
        return not self._rest and not self._lines

    def feed(self, data: bytes) -> list[Reply]:
        """Take bytes, return the replies they complete.

        Raises:
            BrokenReply: not SMTP, or without end.
        """
        buffer = self._rest + data if self._rest else data
        *lines, self._rest = buffer.split(b"\n")
        replies = []
        for line in lines:
            code, mark = line[:3], line[3:4]
            if len(code) != 3 or not code.isdigit() or mark not in (b" ", b"-", b"\r", b""):
                raise BrokenReply("not an SMTP reply")
            self._lines.append(line[4:].rstrip(b"\r"))
            if mark == b"-":
                self._lines_bytes += len(line)
                continue
            replies.append(Reply(int(code), self._lines))
            self._lines = []
            self._lines_bytes = 0
        if len(self._rest) + self._lines_bytes > REPLY_BYTES_MAX:
            raise BrokenReply("a reply without end")
        return replies


def delivery_of(stage: Stage, reply: Reply, retry_after_ms: int) -> Delivery:
    """Return what the reply that decided over a letter means for it.

    Args:
        stage: what was answered; never RSET.
        reply: any refusal, or the acceptance of the content.
        retry_after_ms: span from now for a letter that may try again.
    """
    detail = reply.told(stage.value)
    if stage is Stage.FINAL and reply.is_ok:
        return Delivery(Delivery.Kind.ACCEPTED, detail, was_handed_over=True)
    if reply.code < 500 or reply.code > 599:
        if stage is Stage.FINAL and not 400 <= reply.code < 500:
            # Neither yes nor no to what it has got.
            return Delivery(Delivery.Kind.UNKNOWN, detail, retry_after_ms, was_handed_over=True)
        return Delivery(Delivery.Kind.DEFERRED, detail, retry_after_ms)
    if reply.code in _SESSION_CODES:
        return Delivery(Delivery.Kind.DEFERRED, detail, retry_after_ms)
    if _is_about_recipient(stage, reply):
        is_bad_address = reply.status.startswith(_ADDRESS_CLASS) or reply.status == _DISABLED
        return Delivery(Delivery.Kind.REJECTED, detail, is_bad_address=is_bad_address)
    return Delivery(Delivery.Kind.FAILED, detail)


def _is_about_recipient(stage: Stage, reply: Reply) -> bool:
    if stage is Stage.MAIL:
        return False
    status = reply.status
    if status:
        return status.startswith(_RECIPIENT_CLASSES) and status not in _SENDER_STATUSES
    return stage is Stage.RCPT and reply.code in _RECIPIENT_CODES
