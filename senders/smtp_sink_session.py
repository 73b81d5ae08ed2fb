"""One client of the sink: commands in, replies out.

Decides: the order of commands, the end of a message, the wording of replies.
Never: what happens to a message (`senders/smtp_sink.py`).

Strict where a lenient server would hide a client's mistake: commands out of order are refused, and
only CRLF ends a line. What a client may send is bounded everywhere.

Source: RFC 5321, 1870 (SIZE), 2034, 2920, 3207 (STARTTLS), 4954 (AUTH), 6152 (8BITMIME).
"""

from __future__ import annotations

import asyncio
import enum
import ssl
from base64 import b64decode
from typing import Protocol, cast

import msgspec

LINE_BYTES_MAX = 2_048
"""Of a command; RFC 5321 asks for 512 and extensions for more."""

MESSAGE_BYTES_MAX = 1024 * 1024
RECIPIENTS_MAX = 100


class Behaviour(enum.Enum):
    """What the sink does with the content of a message."""

    ANSWER = 1
    DROP_AT_DATA = 2
    """Closes the connection instead of asking for the content."""
    DROP_AFTER_CONTENT = 3
    """Takes the content, counts it, and closes without an answer."""
    SILENT = 4
    """Takes the content, counts it, and never says anything again."""


class Answer(msgspec.Struct, frozen=True):
    """How a message to one recipient fares. Replies are lines without CRLF."""

    rcpt: bytes = b"250 2.1.5 Ok"
    data: bytes = b"354 End data with <CR><LF>.<CR><LF>"
    final: bytes = b"250 2.0.0 Ok"
    delay_ms: int = 0
    """Pause before `final`."""
    behaviour: Behaviour = Behaviour.ANSWER


ACCEPT = Answer()


class Sink(Protocol):
    """What a session needs of its server."""

    greeting: bytes
    offers_ehlo: bool
    offers_pipelining: bool
    messages_per_session: int
    message_bytes_max: int
    context: ssl.SSLContext | None
    is_tls_implicit: bool
    login: tuple[str, str] | None
    sessions: set[SinkSession]

    def decide(self, recipient: str) -> Answer:
        """Return how a message to this recipient fares."""

    def took(self, sender: str, recipients: tuple[str, ...], stuffed: bytes) -> None:
        """Take a message."""

    def refused(self) -> None:
        """Count a refused recipient."""


class SinkSession(asyncio.Protocol):
    """One client."""

    _sender: str | None
    """Of the transaction under way; "" for a bounce, None for no transaction."""
    _recipients: list[str]
    _answer: Answer
    _is_content: bool
    _searched: int
    """No end of the content begins before this place of the buffer."""
    _skipped_bytes: int

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._replies: list[bytes] = []
        self._is_held = False
        self._is_greeted = False
        self._is_logged_in = sink.login is None
        self._is_encrypted = sink.is_tls_implicit
        self._messages = 0
        self._tls_task: asyncio.Task[None] | None = None
        self._reset()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast(asyncio.Transport, transport)
        self._sink.sessions.add(self)
        self._transport.write(self._sink.greeting + b"\r\n")
        if not self._sink.greeting.startswith(b"2"):
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the client."""
        self._sink.sessions.discard(self)
        self._is_held = True

    def data_received(self, data: bytes) -> None:
        """Answer what is complete, in one write."""
        self._buffer += data
        self._advance()

    def cut(self) -> None:
        """Close without a word."""
        self._is_held = True
        if self._transport is not None:
            self._transport.abort()

    # Commands ------------------------------------------------------------------------------

    def _advance(self) -> None:
        while not self._is_held and self._buffer:
            if self._is_content:
                if not self._read_content():
                    break
                continue
            end = self._buffer.find(b"\r\n")
            if end > LINE_BYTES_MAX or (end < 0 and len(self._buffer) > LINE_BYTES_MAX):
                self._say(b"500 5.5.6 Line too long")
                self._hang_up()
            if end < 0:
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            self._command(line)
        self._flush()

    def _command(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        verb = verb.upper()
        if verb == b"MAIL":
            self._mail(rest)
        elif verb == b"RCPT":
            self._rcpt(rest)
        elif verb == b"DATA":
            self._data()
        elif verb in (b"EHLO", b"HELO"):
            self._hello(verb)
        elif verb == b"RSET":
            self._reset()
            self._say(b"250 2.0.0 Ok")
        elif verb == b"NOOP":
            self._say(b"250 2.0.0 Ok")
        elif verb == b"QUIT":
            self._say(b"221 2.0.0 Bye")
            self._hang_up()
        elif verb == b"AUTH" and self._sink.login is not None:
            self._auth(rest)
        elif verb == b"STARTTLS" and self._sink.context is not None and not self._is_encrypted:
            self._start_tls()
        else:
            self._say(b"502 5.5.1 Command not implemented")

    def _hello(self, verb: bytes) -> None:
        if verb == b"EHLO" and not self._sink.offers_ehlo:
            self._say(b"502 5.5.1 Command not implemented")
            return
        self._reset()
        self._is_greeted = True
        lines = [b"sink"]
        if verb == b"EHLO":
            lines += [
                b"8BITMIME",
                b"ENHANCEDSTATUSCODES",
                b"SIZE %d" % self._sink.message_bytes_max,
            ]
            if self._sink.offers_pipelining:
                lines.append(b"PIPELINING")
            if self._sink.login is not None:
                lines.append(b"AUTH PLAIN")
            if self._sink.context is not None and not self._is_encrypted:
                lines.append(b"STARTTLS")
        self._say(*[b"250-" + line for line in lines[:-1]], b"250 " + lines[-1])

    def _mail(self, rest: bytes) -> None:
        path = _path(rest, b"FROM:")
        if self._messages >= self._sink.messages_per_session:
            self._say(b"421 4.7.0 Too many messages in this session")
            self._hang_up()
        elif not self._is_logged_in:
            self._say(b"530 5.7.0 Authentication required")
        elif not self._is_greeted or self._sender is not None:
            self._say(b"503 5.5.1 Bad sequence of commands")
        elif path is None:
            self._say(b"501 5.5.4 Syntax: MAIL FROM:<address>")
        else:
            self._sender = path
            self._say(b"250 2.1.0 Ok")

    def _rcpt(self, rest: bytes) -> None:
        path = _path(rest, b"TO:")
        if self._sender is None:
            self._say(b"503 5.5.1 Bad sequence of commands")
        elif not path:
            self._say(b"501 5.5.4 Syntax: RCPT TO:<address>")
        elif len(self._recipients) >= RECIPIENTS_MAX:
            self._say(b"452 4.5.3 Too many recipients")
        else:
            answer = self._sink.decide(path)
            if answer.rcpt.startswith(b"2"):
                self._recipients.append(path)
                self._answer = answer
            else:
                self._sink.refused()
            self._say(answer.rcpt)

    def _data(self) -> None:
        if self._sender is None:
            self._say(b"503 5.5.1 Bad sequence of commands")
        elif not self._recipients:
            self._say(b"554 5.5.1 No valid recipients")
        elif self._answer.behaviour is Behaviour.DROP_AT_DATA:
            self._flush()
            self.cut()
        else:
            self._is_content = self._answer.data.startswith(b"354")
            self._say(self._answer.data)

    def _auth(self, rest: bytes) -> None:
        try:
            mechanism, _, secret = rest.partition(b" ")
            given = b64decode(secret, validate=True).decode().split("\0")[1:]
        except ValueError:
            mechanism, given = b"", []
        if mechanism.upper() == b"PLAIN" and tuple(given) == self._sink.login:
            self._is_logged_in = True
            self._say(b"235 2.7.0 Ok")
        else:
            self._say(b"535 5.7.8 Authentication failed")

    # Content -------------------------------------------------------------------------------

    def _read_content(self) -> bool:
        """Take the content if its end is there; else keep no more of it than is allowed."""
        if not self._skipped_bytes and self._buffer.startswith(b".\r\n"):
            end, after = 0, 3
        else:
            end = self._buffer.find(b"\r\n.\r\n", self._searched) + 2
            after = end + 3
        if end == 1:
            if len(self._buffer) > self._sink.message_bytes_max:
                self._skipped_bytes += len(self._buffer) - 4
                del self._buffer[:-4]
            self._searched = max(0, len(self._buffer) - 4)
            return False
        content = bytes(self._buffer[:end])
        del self._buffer[:after]
        self._end_of_content(content)
        return True

    def _end_of_content(self, content: bytes) -> None:
        answer, size_bytes = self._answer, self._skipped_bytes + len(content)
        final = answer.final
        if size_bytes > self._sink.message_bytes_max:
            final = b"552 5.3.4 Message too big"
        elif final.startswith(b"2"):
            self._sink.took(self._sender or "", tuple(self._recipients), content)
        self._messages += 1
        self._reset()
        if answer.behaviour is Behaviour.DROP_AFTER_CONTENT:
            self._flush()
            self.cut()
        elif answer.behaviour is Behaviour.SILENT:
            self._is_held = True
        elif answer.delay_ms:
            self._is_held = True
            asyncio.get_running_loop().call_later(answer.delay_ms / 1_000, self._resume, final)
        else:
            self._say(final)

    def _resume(self, reply: bytes) -> None:
        if self in self._sink.sessions:
            self._is_held = False
            self._say(reply)
            self._advance()

    def _reset(self) -> None:
        self._sender = None
        self._recipients = []
        self._answer = ACCEPT
        self._is_content = False
        self._searched = 0
        self._skipped_bytes = 0

    # Wire ----------------------------------------------------------------------------------

    def _say(self, *lines: bytes) -> None:
        self._replies += lines

    def _flush(self) -> None:
        if self._replies and self._transport is not None:
            self._transport.write(b"\r\n".join(self._replies) + b"\r\n")
            self._replies.clear()

    def _hang_up(self) -> None:
        self._flush()
        self._is_held = True
        if self._transport is not None:
            self._transport.close()

    def _start_tls(self) -> None:
        self._say(b"220 2.0.0 Go ahead")
        self._flush()
        self._is_held = True
        self._buffer.clear()
        self._tls_task = asyncio.get_running_loop().create_task(self._encrypt())

    async def _encrypt(self) -> None:
        assert self._transport is not None and self._sink.context is not None
        try:
            wrapped = await asyncio.get_running_loop().start_tls(
                self._transport, self, self._sink.context, server_side=True
            )
        except OSError:
            self.cut()
            return
        if wrapped is not None:
            self._transport = wrapped
            self._is_encrypted, self._is_greeted, self._is_held = True, False, False
            self._advance()


def _path(rest: bytes, keyword: bytes) -> str | None:
    """Return the address between the brackets, None if the command is not well formed."""
    start, end = rest.find(b"<"), rest.rfind(b">")
    if rest[:start].strip().upper() != keyword or end < start:
        return None
    return rest[start + 1 : end].decode("utf-8", "replace")
