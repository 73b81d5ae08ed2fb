"""A small real SMTP server that takes mail and delivers none: for the demo, the tests, the bench.

Decides: what it answers, by default "yes" and at once; a hook may decide otherwise per recipient.
Never: relays.

    python -m senders.smtp_sink --port 2525 --folder mail
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from senders.smtp_sink_session import (
    ACCEPT,
    MESSAGE_BYTES_MAX,
    Answer,
    Behaviour,
    SinkSession,
)

__all__ = ["ACCEPT", "Answer", "Behaviour", "SinkCounts", "SinkMessage", "SmtpSink"]

KEEP_MAX = 100_000


class SinkMessage(msgspec.Struct, frozen=True):
    """One message as it was taken, dots unstuffed."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class SinkCounts(msgspec.Struct):
    """What the sink has seen."""

    connections: int = 0
    messages: int = 0
    """Taken, answered or not."""
    refused: int = 0
    """Recipients refused."""
    content_bytes: int = 0


def accept_all(recipient: str) -> Answer:
    """Take everything at once."""
    del recipient
    return ACCEPT


class SmtpSink:
    """The server. All arguments are moods for tests, but the address and what is kept.

    Args:
        host: where to listen.
        port: 0 for any free one; `port` tells which.
        decide: how a message to this recipient fares.
        keep: how many messages to keep in `messages`, the oldest go first.
        folder: where to write every message, None for nowhere.
        greeting: first line of a session.
        offers_ehlo: False for a server of before 1995, which offers no PIPELINING either.
        offers_pipelining: False for one that takes a command at a time.
        messages_per_session: then 421.
        message_bytes_max: larger ones are refused after they were read.
        context: TLS certificate; None offers no TLS.
        is_tls_implicit: TLS from the first byte instead of STARTTLS.
        login: (user, password) to demand by AUTH PLAIN.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *,
        decide: Callable[[str], Answer] = accept_all, keep: int = 0, folder: Path | None = None,
        greeting: bytes = b"220 sink ESMTP", offers_ehlo: bool = True,
        offers_pipelining: bool = True, messages_per_session: int = sys.maxsize,
        message_bytes_max: int = MESSAGE_BYTES_MAX, context: ssl.SSLContext | None = None,
        is_tls_implicit: bool = False, login: tuple[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.host = host
        self.port = port
        self.decide = decide
        self.messages: deque[SinkMessage] = deque(maxlen=min(keep, KEEP_MAX))
        self.counts = SinkCounts()
        self.greeting = greeting
        self.offers_ehlo = offers_ehlo
        self.offers_pipelining = offers_pipelining
        self.messages_per_session = messages_per_session
        self.message_bytes_max = message_bytes_max
        self.context = context
        self.is_tls_implicit = is_tls_implicit
        self.login = login
        self.sessions: set[SinkSession] = set()
        self._folder = folder
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Listen."""
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._server = server = await asyncio.get_running_loop().create_server(
            self._session,
            self.host,
            self.port,
            ssl=self.context if self.is_tls_implicit else None,
        )
        self.port = server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut all sessions. May be called twice."""
        server, self._server = self._server, None
        for session in tuple(self.sessions):
            session.cut()
        if server is not None:
            server.close()
            await server.wait_closed()

    def refused(self) -> None:
        """Count a refused recipient."""
        self.counts.refused += 1

    def took(self, sender: str, recipients: tuple[str, ...], stuffed: bytes) -> None:
        """Count a message, and keep it if that is wanted."""
        self.counts.messages += 1
        self.counts.content_bytes += len(stuffed)
        if self.messages.maxlen == 0 and self._folder is None:
            return
        content = stuffed.replace(b"\r\n..", b"\r\n.")
        content = content[1:] if content.startswith(b"..") else content
        self.messages.append(SinkMessage(sender, recipients, content))
        if self._folder is not None:
            self._folder.joinpath(f"{self.counts.messages:08}.eml").write_bytes(content)

    def _session(self) -> SinkSession:
        self.counts.connections += 1
        return SinkSession(self)


async def _serve(arguments: argparse.Namespace) -> None:
    sink = SmtpSink(arguments.host, arguments.port, folder=arguments.folder)
    await sink.start()
    sys.stdout.write(f"listening on {sink.host}:{sink.port}\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await sink.close()
    sys.stdout.write(f"took {sink.counts.messages} messages\n")


def main() -> None:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="senders.smtp_sink", description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2525, help="0 for any free port")
    parser.add_argument("--folder", type=Path, help="write every message here")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments))


if __name__ == "__main__":
    main()
