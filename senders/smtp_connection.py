"""One SMTP session: a handshake, then letters, one transaction after the other.

Decides: what is written when, and what the fate of a letter is when the session breaks.
Never: which connection a letter takes, when to reconnect (`senders/smtp.py`).

With PIPELINING (RFC 2920) one packet carries the content of one letter and MAIL, RCPT and DATA of
the next, so a letter costs one round trip:

    client   MAIL 1, RCPT 1, DATA 1 |                    | content 1, MAIL 2, RCPT 2, DATA 2 |
    server                          | 250 1, 250 1, 354  |                                   | 250 ...

RFC 2920 goes no further, and neither do we: content sent before the 354 would be read as commands by
a server that refused it. Throughput beyond a round trip is had by connections, in parallel.

Invariants:
1. A letter is handed over from the moment its content and final dot are given to the socket, and
   not before; at most one letter of a session is in that state.
2. Every letter taken is settled exactly once, whatever happens to the session.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from core.sending import Delivery, Letter
from senders import backoff
from senders.smtp_reply import BrokenReply, Reply, ReplyReader, Stage, delivery_of


class Tls(enum.Enum):
    """How a session is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    """Asked for after EHLO; a server that does not offer it gets no letter."""
    IMPLICIT = "implicit"
    """From the first byte (RFC 8314)."""


class SmtpServer(msgspec.Struct, frozen=True):
    """Whom to talk to, and how."""

    host: str
    port: int
    helo_name: str
    tls: Tls = Tls.NONE
    context: ssl.SSLContext | None = None
    user: str = ""
    password: str | Callable[[], str] = ""
    """Or what returns it."""

    def __repr__(self) -> str:
        return f"SmtpServer({self.host!r}, {self.port})"


class Batch:
    """The letters of one `send`, which returns when the last is settled."""

    __slots__ = ("is_done", "unsettled")

    def __init__(self) -> None:
        self.unsettled = 0
        self.is_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Job:
    """One letter on its way through the transport. Instants are loop time in seconds."""

    __slots__ = ("batch", "begin_by", "content", "deadline", "delivery", "letter", "opening")

    def __init__(self, letter: Letter, batch: Batch, now: float, timeout_s: float) -> None:
        self.letter = letter
        self.batch = batch
        self.begin_by = now + timeout_s / 2
        self.deadline = now + timeout_s
        self.opening = (b"", b"")
        """The MAIL and RCPT lines."""
        self.content = b""
        """Dot-stuffed, with the final dot."""
        self.delivery: Delivery | None = None

    @property
    def retry_after_ms(self) -> int:
        """When to try again if the server puts it off."""
        return backoff.retry_ms(self.letter.attempts, self.letter.delivery_id)


class Pool(Protocol):
    """What a session needs of the transport it belongs to."""

    def take(self) -> Job | None:
        """Return the next letter to send, None if there is none."""

    def settle(self, job: Job, delivery: Delivery) -> None:
        """Note the fate of a letter."""

    def ended(self, connection: SmtpConnection, is_failure: bool) -> None:
        """A session that was ready is over; it is a failure if a letter suffered by it."""


class Refused(Exception):
    """The session cannot be opened; the text says at which stage, and names no address."""


class SmtpConnection(asyncio.Protocol):
    """One session. The handshake is a coroutine; letters pass without a task switch."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._reader = ReplyReader()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._early: deque[Reply] = deque()
        self._expected: deque[Stage] = deque()
        self._unsent: deque[tuple[Stage, bytes]] = deque()
        self._opening: Job | None = None
        self._refusal: tuple[Stage, Reply] | None = None
        self._closing: Job | None = None
        self._end_detail = ""
        self._is_pipelining = False
        self._is_goodbye = False
        self._last_deadline = 0.0
        self._is_ended = False
        self.is_ready = False
        self.ended = asyncio.get_running_loop().create_future()
        """Done when the socket is closed."""

    # Handshake -----------------------------------------------------------------------------

    async def open(self, server: SmtpServer) -> None:
        """Bring the session to where letters can be sent.

        Raises:
            Refused: the server does not want us, or not the way we insist on.
            OSError: the connection broke.
        """
        greeting = await self._reply()
        if not greeting.is_ok:
            raise Refused(greeting.told("greeting"))
        offers = await self._hello(server.helo_name)
        if server.tls is Tls.STARTTLS:
            await self._start_tls(server, offers)
            offers = await self._hello(server.helo_name)
        if server.user:
            mechanisms = next((x.split()[1:] for x in offers if x.startswith(b"AUTH ")), [])
            if b"PLAIN" not in mechanisms:
                raise Refused("AUTH: PLAIN is not offered")
            password = server.password if isinstance(server.password, str) else server.password()
            secret = b64encode(f"\0{server.user}\0{password}".encode())
            reply = await self._ask(b"AUTH PLAIN " + secret + b"\r\n")
            if not reply.is_ok:
                raise Refused(reply.told("AUTH"))
        self._is_pipelining = b"PIPELINING" in offers
        self.is_ready = True

    async def _hello(self, name: str) -> list[bytes]:
        """Return what the server offers, in capitals; a server without EHLO offers nothing."""
        reply = await self._ask(f"EHLO {name}\r\n".encode())
        if reply.is_ok:
            return [line.strip().upper() for line in reply.lines[1:]]
        if reply.code < 500:
            raise Refused(reply.told("EHLO"))
        reply = await self._ask(f"HELO {name}\r\n".encode())
        if not reply.is_ok:
            raise Refused(reply.told("HELO"))
        return []

    async def _start_tls(self, server: SmtpServer, offers: list[bytes]) -> None:
        if b"STARTTLS" not in offers:
            raise Refused("STARTTLS: not offered")
        reply = await self._ask(b"STARTTLS\r\n")
        if not reply.is_ok:
            raise Refused(reply.told("STARTTLS"))
        if self._early or not self._reader.is_empty:
            # Somebody in between wrote ahead, to be believed later as if encrypted (CVE-2011-0411).
            raise Refused("STARTTLS: the server spoke before the encryption")
        assert self._transport is not None and server.context is not None
        wrapped = await asyncio.get_running_loop().start_tls(
            self._transport, self, server.context, server_hostname=server.host
        )
        if wrapped is None:
            raise Refused("STARTTLS: connection lost")
        self._transport = wrapped

    async def _ask(self, command: bytes) -> Reply:
        if self._early:
            raise Refused("the server spoke out of turn")
        self._write(command)
        return await self._reply()

    async def _reply(self) -> Reply:
        if self._is_ended:
            raise Refused(self._end_detail)
        if self._early:
            return self._early.popleft()
        self._waiter = asyncio.get_running_loop().create_future()
        return await self._waiter

    # Letters -------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether a letter could be begun at once."""
        return self.is_ready and self._opening is None and not self._expected

    def begin(self, before: bytes = b"") -> None:
        """Write `before` and the opening of the next letter, if there is one."""
        if before and not self._is_pipelining:
            self._write(before)
            return
        job = self._pool.take()
        if job is None:
            if before:
                self._write(before)
            return
        self._opening = job
        self._last_deadline = job.deadline
        self._refusal = None
        mail, rcpt = job.opening
        if self._is_pipelining:
            self._expected += (Stage.MAIL, Stage.RCPT, Stage.DATA)
            self._write(b"%b%b%bDATA\r\n" % (before, mail, rcpt))
        else:
            self._unsent += ((Stage.RCPT, rcpt), (Stage.DATA, b"DATA\r\n"))
            self._expected.append(Stage.MAIL)
            self._write(mail)

    def expire(self, now: float) -> None:
        """End the session if an answer is owed beyond the letter's time; called now and then."""
        job = self._closing or self._opening
        deadline = self._last_deadline if job is None else job.deadline
        if self._expected and deadline <= now:
            self.abort("timed out")

    def abort(self, detail: str) -> None:
        """End the session at once; `detail` goes to the letters that suffer."""
        if self._transport is not None:
            self._transport.abort()
        self._end(detail)

    def quit(self) -> None:
        """Take leave and close, without waiting for the answer."""
        if self._transport is not None:
            self._write(b"QUIT\r\n")
            self._transport.close()
        self.is_ready = False

    def _on_reply(self, reply: Reply) -> None:
        if not self.is_ready:
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(reply)
            else:
                # The greeting may be here before anybody waits for it.
                self._early.append(reply)
            return
        if not self._expected:
            # Mostly 421: the server says good-bye to a session that was idle for too long.
            self.abort(reply.told("unasked"))
            return
        if reply.code == 421:
            self._on_goodbye(reply)
            return
        stage = self._expected.popleft()
        if stage is Stage.FINAL:
            self._on_final(reply)
        elif stage is Stage.DATA:
            self._on_data(reply)
        elif stage is Stage.RSET:
            if not reply.is_ok:
                self.abort(reply.told(stage.value))
            elif self._opening is None:
                self.begin()
        else:
            if not reply.is_ok and self._refusal is None:
                self._refusal = (stage, reply)
            if self._unsent and self._refusal is None:
                following, command = self._unsent.popleft()
                self._expected.append(following)
                self._write(command)
            elif self._unsent:
                self._refuse()

    def _on_data(self, reply: Reply) -> None:
        job = self._opening
        assert job is not None
        if reply.code != 354:
            self._refusal = self._refusal or (Stage.DATA, reply)
            self._refuse()
        elif self._refusal is None:
            self._opening, self._closing = None, job
            self._expected.append(Stage.FINAL)
            self.begin(job.content)
        else:
            # The server insists on content though it refused the only recipient (RFC 2920 3.1).
            self._settle_refusal()
            self._expected.append(Stage.FINAL)
            self.begin(b".\r\n")

    def _on_final(self, reply: Reply) -> None:
        job, self._closing = self._closing, None
        if job is not None:
            after_ms = 0 if reply.is_ok else job.retry_after_ms
            self._pool.settle(job, delivery_of(Stage.FINAL, reply, after_ms))
        if self._opening is None:
            self.begin()

    def _on_goodbye(self, reply: Reply) -> None:
        """421 answers whatever was asked, and nothing more will be: the content was not taken."""
        self._is_goodbye = True
        if self._closing is not None and self._expected[0] is Stage.FINAL:
            job, self._closing = self._closing, None
            self._pool.settle(job, delivery_of(Stage.FINAL, reply, job.retry_after_ms))
        self.abort(reply.told(self._expected[0].value))

    def _refuse(self) -> None:
        self._settle_refusal()
        self._unsent.clear()
        # MAIL may have been taken: the transaction must be closed before the next.
        self._expected.append(Stage.RSET)
        self.begin(b"RSET\r\n")

    def _settle_refusal(self) -> None:
        job, self._opening = self._opening, None
        assert job is not None and self._refusal is not None
        self._pool.settle(job, delivery_of(*self._refusal, job.retry_after_ms))

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def _end(self, detail: str) -> None:
        """Settle what is under way, once, and tell the pool. An idle session ends without a word."""
        if self._is_ended:
            return
        self._is_ended = True
        self._end_detail = detail
        was_ready, self.is_ready = self.is_ready, False
        closing, opening = self._closing, self._opening
        self._closing = self._opening = None
        is_failure = self._is_goodbye or closing is not None or opening is not None
        if closing is not None:
            kind, after_ms = Delivery.Kind.UNKNOWN, closing.retry_after_ms
            told = f"content: {detail}"
            self._pool.settle(closing, Delivery(kind, told, after_ms, was_handed_over=True))
        if opening is not None:
            kind, after_ms = Delivery.Kind.DEFERRED, opening.retry_after_ms
            self._pool.settle(opening, Delivery(kind, detail, after_ms))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Refused(detail))
        if was_ready:
            self._pool.ended(self, is_failure)

    # asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the socket."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Act on each reply; what comes after the end of the session is of no interest."""
        try:
            for reply in self._reader.feed(data):
                if self._is_ended:
                    return
                self._on_reply(reply)
        except BrokenReply as error:
            self.abort(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        """Settle what is under way."""
        self._end("connection lost")
        if not self.ended.done():
            self.ended.set_result(None)
