"""E-mail through an SMTP relay: a few lasting sessions, fed from one queue.

Decides: which session takes a letter, when to connect again, when a letter has waited too long.
Never: what stands in a message (`senders/mime.py`) or in a session (`senders/smtp_connection.py`).

Invariants:
1. `send` answers within the timeout. A letter is not begun after half of it, so that its content
   has the other half to be acknowledged.
2. While the server is down one session at a time knocks, with growing pauses; between them `free`
   is 0, so nothing is claimed for it.

An unknown outcome may be tried again: the Message-ID is stable, and many receivers drop the second copy.
A deployment that prefers a lost message to a double one sets `holds_unknown`.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import re
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, lru_cache
from typing import cast

from core.bounds import CLAIM_LEASE_MS, LEASE_MARGIN_MS, SECOND_MS
from core.errors import InvalidField, RenderingFailed
from core.sending import Delivery, Letter
from senders import backoff, mime
from senders.credentials import SecretMissing
from senders.smtp_connection import Batch, Job, Refused, SmtpConnection, SmtpServer, Tls

TIMEOUT_DEFAULT_MS = 30 * SECOND_MS
TIMEOUT_MAX_MS = 50 * SECOND_MS
"""RFC 5321 4.5.3.2 would wait ten minutes for the last answer; the lease of a claim is one."""

CONNECTIONS_MAX = 256
PIPELINE_MAX = 256
TICKS_PER_TIMEOUT = 16
"""How often letters under way are looked at: a timeout is late by no more than this part of it."""

QUIT_MS = 1 * SECOND_MS
"""How long `close` waits for the sockets after the last letter."""

assert (
    TIMEOUT_MAX_MS * (TICKS_PER_TIMEOUT + 1) // TICKS_PER_TIMEOUT < CLAIM_LEASE_MS - LEASE_MARGIN_MS
)

_HELO_NAME = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")
_ALIVE = frozenset({Delivery.Kind.ACCEPTED, Delivery.Kind.REJECTED, Delivery.Kind.FAILED})

ADDRESSES_MAX = 4
"""Of a name, tried one after the other."""

AddressesOf = Callable[[str], Awaitable[Sequence[str]]]


class SmtpTransport:
    """Hands e-mails to one SMTP server.

    Args:
        host: the relay.
        port: 25, 587 with STARTTLS, 465 with implicit TLS.
        connections: sessions kept at most.
        pipeline: letters claimed ahead for each session.
        timeout_ms: the most that `send` takes.
        helo_name: how this machine names itself; a relay that checks wants its DNS name.
        tls: protection of the session; with STARTTLS a server that offers none gets no letter.
        context: for TLS; by default the system's authorities are trusted and names checked.
        user: for AUTH PLAIN; "" for none. Only with TLS.
        password: belongs to `user`; or what returns it, asked for every session.
        addresses_of: returns the IP addresses to try for the host's name, or raises `Refused`; left
            out, all that the system finds.
        render: makes the message of a letter.
        holds_unknown: True to have unknown outcomes held instead of tried again.

    Raises:
        InvalidField: an argument is out of its bounds.
    """

    def __init__(
        self, host: str, port: int, *, connections: int = 4, pipeline: int = 16,
        timeout_ms: int = TIMEOUT_DEFAULT_MS, helo_name: str = "localhost", tls: Tls = Tls.NONE,
        context: ssl.SSLContext | None = None, user: str = "",
        password: str | Callable[[], str] = "", addresses_of: AddressesOf | None = None,
        render: Callable[[Letter], bytes] = mime.render, holds_unknown: bool = False,
    ) -> None:  # fmt: skip
        _check("connections", connections, CONNECTIONS_MAX)
        _check("pipeline", pipeline, PIPELINE_MAX)
        _check("timeout_ms", timeout_ms, TIMEOUT_MAX_MS)
        if not is_helo_name(helo_name):
            raise InvalidField("a host name or address literal", field="helo_name")
        if user and tls is Tls.NONE:
            raise InvalidField("a password is only sent under TLS", field="user")
        if tls is not Tls.NONE and context is None:
            context = _system_context()
        self.holds_unknown = holds_unknown
        self._server = SmtpServer(host, port, helo_name, tls, context, user, password)
        self._addresses_of = addresses_of
        self._connections_max = connections
        self._pipeline = pipeline
        self._timeout_s = timeout_ms / 1_000
        self._render = render
        self._queue: deque[Job] = deque()
        self._batches: set[asyncio.Future[None]] = set()
        self._unsettled = 0
        self._connections: list[SmtpConnection] = []
        self._dialing: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._failure_detail = ""
        self._connect_from = 0.0
        self._jitter_key = os.urandom(8)
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    # Transport -----------------------------------------------------------------------------

    def free(self) -> int:
        """Return the places in the queue of the sessions that are open or may be opened now."""
        if self._is_closed:
            return 0
        usable = len(self._connections) + len(self._dialing) + self._openable()
        return max(usable * self._pipeline - self._unsettled, 0)

    def prepare(self, letter: Letter) -> bytes:
        """Render.

        Raises:
            RenderingFailed: the message says why.
        """
        return self._render(letter)

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        """Hand over; answers within the timeout. More than `free()` letters wait in the queue."""
        if self._is_closed:
            return [Delivery(Delivery.Kind.DEFERRED, "closing") for _ in letters]
        now = asyncio.get_running_loop().time()
        batch = Batch()
        jobs = [self._job(letter, message, batch, now) for letter, message in letters]
        waiting = [job for job in jobs if job.delivery is None]
        if waiting:
            batch.unsettled = len(waiting)
            self._unsettled += len(waiting)
            self._queue += waiting
            self._batches.add(batch.is_done)
            batch.is_done.add_done_callback(self._batches.discard)
            self._pump()
            self._arm()
            try:
                await batch.is_done
            except asyncio.CancelledError:
                self._forget(waiting)
                raise
        return [job.delivery for job in jobs if job.delivery is not None]

    async def close(self) -> None:
        """Finish the letters under way, at most for their timeout, then close the sessions."""
        self._is_closed = True
        if self._batches:
            await asyncio.wait(tuple(self._batches))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in tuple(self._dialing):
            task.cancel()
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.quit()
        if connections:
            await asyncio.wait([c.ended for c in connections], timeout=QUIT_MS / 1_000)
        for connection in connections:
            connection.abort("closing")

    def _job(self, letter: Letter, message: bytes, batch: Batch, now: float) -> Job:
        job = Job(letter, batch, now, self._timeout_s)
        try:
            sender = letter.sender or letter.channel.email_sender
            if sender is None:
                raise RenderingFailed("the channel has no e-mail sender")
            to = mime.ascii_address(letter.address).encode()
            job.opening = (_mail_line(sender.address), b"RCPT TO:<%b>\r\n" % to)
            job.content = _content(message)
        except RenderingFailed as error:
            job.delivery = Delivery(Delivery.Kind.FAILED, error.message)
        return job

    def _forget(self, jobs: list[Job]) -> None:
        """Let go of letters nobody waits for any more; those begun run on to their end."""
        begun = {id(job) for job in jobs} - {id(job) for job in self._queue}
        for job in jobs:
            if job.delivery is None and id(job) not in begun:
                self.settle(job, Delivery(Delivery.Kind.DEFERRED, "cancelled"))

    # Pool ----------------------------------------------------------------------------------

    def take(self) -> Job | None:
        """Return the next letter of the queue."""
        while self._queue:
            job = self._queue.popleft()
            if job.delivery is None:
                return job
        return None

    def settle(self, job: Job, delivery: Delivery) -> None:
        """Note the fate of a letter and wake the `send` that waits for its last one."""
        assert job.delivery is None
        job.delivery = delivery
        self._unsettled -= 1
        if self._failures and delivery.kind in _ALIVE:
            self._failures = 0
        batch = job.batch
        batch.unsettled -= 1
        if not batch.unsettled and not batch.is_done.done():
            batch.is_done.set_result(None)

    def ended(self, connection: SmtpConnection, is_failure: bool) -> None:
        """Take a session out, and open another if there is work for it."""
        if connection in self._connections:
            self._connections.remove(connection)
        if is_failure:
            self._fail("connection lost")
        self._pump()

    # Sessions ------------------------------------------------------------------------------

    def _openable(self) -> int:
        """Return how many sessions may be opened now: one at a time while the server is down."""
        room = self._connections_max - len(self._connections) - len(self._dialing)
        if not self._failures:
            return room
        is_pause = asyncio.get_running_loop().time() < self._connect_from
        return 0 if is_pause or self._dialing else min(room, 1)

    def _pump(self) -> None:
        """Give the queue to idle sessions, open more for the rest, defer it if there are none."""
        for connection in tuple(self._connections):
            if not self._queue:
                return
            if connection.is_idle:
                connection.begin()
        wanted = len(self._queue) - len(self._dialing)
        for _ in range(min(self._openable(), wanted)):
            self._dialing.add(asyncio.get_running_loop().create_task(self._connect()))
        if self._queue and not self._connections and not self._dialing:
            self._defer_queue()

    async def _connect(self) -> None:
        connection: SmtpConnection | None = None
        try:
            async with asyncio.timeout(self._timeout_s / 2):
                connection = await self._reach()
                await connection.open(self._server)
            self._connections.append(connection)
        except (OSError, UnicodeError, Refused, SecretMissing) as error:
            self._fail(_told(error))
            if connection is not None:
                connection.abort("")
        except asyncio.CancelledError:
            if connection is not None:
                connection.abort("")
            raise
        finally:
            self._dialing.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        self._pump()

    async def _reach(self) -> SmtpConnection:
        """Return a session by the first address that takes a connection, all having equal time.

        Raises:
            OSError: none does.
        """
        loop, server = asyncio.get_running_loop(), self._server
        context = server.context if server.tls is Tls.IMPLICIT else None
        hosts: Sequence[str] = (server.host,)
        if self._addresses_of is not None:
            hosts = (await self._addresses_of(server.host))[:ADDRESSES_MAX]
        failed = OSError()
        for host in hosts:
            try:
                async with asyncio.timeout(self._timeout_s / 2 / len(hosts)):
                    _, session = await loop.create_connection(
                        lambda: SmtpConnection(self), host, server.port, ssl=context,
                        server_hostname=server.host if context is not None else None,
                    )  # fmt: skip
                return session
            except OSError as error:
                failed = error
        raise failed

    def _fail(self, detail: str) -> None:
        """Leave the server alone for a while; sessions that end together are one failure."""
        now = asyncio.get_running_loop().time()
        if self._failures and now < self._connect_from:
            return
        self._connect_from = now + backoff.reconnect_ms(self._failures, self._jitter_key) / 1_000
        self._failures += 1
        self._failure_detail = detail

    def _defer_queue(self) -> None:
        pause_s = self._connect_from - asyncio.get_running_loop().time()
        while (job := self.take()) is not None:
            # Spread, or all that waited would come back in the same instant.
            spread_ms = backoff.reconnect_ms(self._failures, job.letter.delivery_id.encode())
            # A letter has twelve attempts, and an outage of minutes must not use them up.
            own_ms = job.retry_after_ms if job.letter.attempts else 0
            after_ms = max(math.ceil(pause_s * 1_000), spread_ms, own_ms)
            self.settle(job, Delivery(Delivery.Kind.DEFERRED, self._failure_detail, after_ms))

    # Timeouts ------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is None and self._unsettled:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._timeout_s / TICKS_PER_TIMEOUT, self._tick)

    def _tick(self) -> None:
        """Look for letters out of time. Runs only while there are letters."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for connection in tuple(self._connections):
            connection.expire(now)
        while self._queue and (self._queue[0].delivery or self._queue[0].begin_by <= now):
            job = self._queue.popleft()
            if job.delivery is None:
                kind, after_ms = Delivery.Kind.DEFERRED, job.retry_after_ms
                self.settle(job, Delivery(kind, "not begun in time", after_ms))
        self._arm()


def is_helo_name(name: str) -> bool:
    """Return whether a name can be said after EHLO."""
    return _HELO_NAME.fullmatch(name) is not None


def _check(field: str, value: int, longest: int) -> None:
    if not 1 <= value <= longest:
        raise InvalidField(f"between 1 and {longest}", field=field)


@cache
def _system_context() -> ssl.SSLContext:
    """Return what trusts the system's authorities; shared, because it takes a megabyte and 40 ms."""
    return ssl.create_default_context()


@lru_cache(maxsize=1024)
def _mail_line(sender_address: str) -> bytes:
    return b"MAIL FROM:<%b>\r\n" % mime.ascii_address(sender_address).encode()


def _content(message: bytes) -> bytes:
    """Return the message dot-stuffed and ended (RFC 5321 4.5.2).

    A bare CR or LF is where servers disagree on what ends a message, so none is let through.
    """
    ends = message.count(b"\r\n")
    if message.count(b"\r") != ends or message.count(b"\n") != ends or not message.isascii():
        raise RenderingFailed("the message is not 7-bit with CRLF line ends")
    if b"\r\n." in message:
        message = message.replace(b"\r\n.", b"\r\n..")
    if message.startswith(b"."):
        message = b"." + message
    return message + (b".\r\n" if message.endswith(b"\r\n") else b"\r\n.\r\n")


def _told(error: Exception) -> str:
    """Return why a session could not be opened, without addresses or machine names."""
    if isinstance(error, Refused | SecretMissing):
        return str(error)
    if isinstance(error, TimeoutError):
        return "connect: timed out"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or type(error).__name__}"
    number = error.errno if isinstance(error, OSError) else None
    return f"connect: {errno.errorcode.get(number or 0, type(error).__name__)}"
