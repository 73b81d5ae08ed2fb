"""The other side of the demo: an SMTP server in a process of its own that counts what it takes.

Decides: how a mail is told from another, by what stands in it; nothing is asked of the daemon.

    python -m control.demo.sink     prints its port; at the end of its input prints its counts as JSON
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from types import TracebackType

import msgspec

from senders.smtp_sink import SmtpSink

START_TIMEOUT_S = 20
INVITATION_SUBJECT = "Order {{order}}: how was it?"
REMINDER_SUBJECT = "Order {{order}}: one last question"
_REMINDER_END = REMINDER_SUBJECT.rpartition("}}")[2].encode()


class Mail(msgspec.Struct):
    """What has arrived."""

    received: int = 0
    reminders: int = 0
    """Of these; the others are first invitations."""
    message_ids: int = 0
    """Different Message-IDs: as many as mails, if none came twice."""
    recipients: int = 0
    """Different addresses."""


class CountingSink(SmtpSink):
    """Takes everything and keeps no mail, only what it needs to count."""

    def __init__(self) -> None:
        super().__init__()
        self._reminders = 0
        self._message_ids: set[bytes] = set()
        self._recipients: set[str] = set()

    def took(self, sender: str, recipients: tuple[str, ...], stuffed: bytes) -> None:
        """Count one mail."""
        super().took(sender, recipients, stuffed)
        self._recipients.update(recipients)
        for line in stuffed.partition(b"\r\n\r\n")[0].split(b"\r\n"):
            if line.startswith(b"Message-ID:"):
                self._message_ids.add(line)
            elif line.startswith(b"Subject:"):
                self._reminders += line.endswith(_REMINDER_END)

    def mail(self) -> Mail:
        """Return the counts so far."""
        return Mail(
            received=self.counts.messages,
            reminders=self._reminders,
            message_ids=len(self._message_ids),
            recipients=len(self._recipients),
        )


async def serve() -> None:
    """Serve until standard input ends, then print the counts."""
    sink = CountingSink()
    await sink.start()
    print(sink.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await sink.close()
    try:
        print(msgspec.json.encode(sink.mail()).decode(), flush=True)
    except BrokenPipeError:
        # Whoever asked has gone; the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class SinkProcess:
    """Starts the sink and asks it in the end. An async context manager."""

    port: int

    def __init__(self) -> None:
        self._process: Process | None = None

    async def __aenter__(self) -> SinkProcess:
        # The child must find the same packages, wherever this process has them from.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "control.demo.sink",
            stdin=PIPE, stdout=PIPE, env=environment,
        )  # fmt: skip
        assert process.stdout is not None
        first = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
        if not first:
            raise RuntimeError("the mail sink did not start; its error stands above")
        self.port = int(first)
        return self

    async def finish(self) -> Mail:
        """Stop it and return what it has counted. Call it once, when no mail is under way."""
        assert self._process is not None
        # Even no input must be given, or its end is not told.
        answer, _ = await self._process.communicate(b"")
        return msgspec.json.decode(answer, type=Mail)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


if __name__ == "__main__":
    asyncio.run(serve())
