"""The other side of the demo: servers in a process of their own that count the messages they take.

Decides: how a message is told from another, by what stands in it; nothing is asked of the daemon.

    python -m control.demo.sink [ORDER]

prints two ports, of SMTP and of the SMS and WhatsApp stand-ins; at the end of its input prints what has
come as JSON, with the mail that asks about the order named.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable
from types import TracebackType
from typing import Final

import msgspec

from senders.provider_sink import KEEP_MAX, Call, Form, ProviderSink
from senders.smtp_sink import SmtpSink

START_TIMEOUT_S: Final = 20
INVITATION_SUBJECT: Final = "Order {{order}}: how was it?"
REMINDER_SUBJECT: Final = "Order {{order}}: one last question"
PROVIDER_ACCOUNT: Final = "ACdemo"
PROVIDER_TOKEN: Final = "not-a-secret"
"""What the stand-ins ask for."""

_REMINDER_END: Final = REMINDER_SUBJECT.rpartition("}}")[2].encode()


class Mail(msgspec.Struct):
    """What has arrived over SMTP."""

    received: int = 0
    reminders: int = 0
    """Of these; the others are first invitations."""
    message_ids: int = 0
    """Different Message-IDs: as many as mails, if none came twice."""
    recipients: int = 0
    """Different addresses."""


class Texts(msgspec.Struct):
    """What has arrived over SMS, or over WhatsApp."""

    received: int = 0
    different: int = 0
    """Different pairs of number and words: as many, if none came twice."""


class Arrived(msgspec.Struct):
    """Everything that has arrived."""

    mail: Mail
    sms: Texts
    whatsapp: Texts
    kept: str = ""
    """The mail that was to be kept, as it came; "" if it has not."""


class CountingSink(SmtpSink):
    """Takes every mail and keeps one at most, of the others only what it needs to count.

    Args:
        kept_order: the one about this order is kept; "" for none.
    """

    def __init__(self, kept_order: str = "") -> None:
        super().__init__()
        subject = INVITATION_SUBJECT.replace("{{order}}", kept_order)
        self._kept_subject = f"Subject: {subject}".encode()
        self._reminders = 0
        self._message_ids: set[bytes] = set()
        self._recipients: set[str] = set()
        self.kept = ""

    def took(self, sender: str, recipients: tuple[str, ...], stuffed: bytes) -> None:
        """Count one mail."""
        super().took(sender, recipients, stuffed)
        self._recipients.update(recipients)
        for line in stuffed.partition(b"\r\n\r\n")[0].split(b"\r\n"):
            if line.startswith(b"Message-ID:"):
                self._message_ids.add(line)
            elif line.startswith(b"Subject:"):
                self._reminders += line.endswith(_REMINDER_END)
                if line == self._kept_subject:
                    self.kept = stuffed.replace(b"\r\n..", b"\r\n.").decode("ascii")

    def mail(self) -> Mail:
        """Return the counts so far."""
        return Mail(
            received=self.counts.messages,
            reminders=self._reminders,
            message_ids=len(self._message_ids),
            recipients=len(self._recipients),
        )


def count_texts(calls: Iterable[Call]) -> tuple[Texts, Texts]:
    """Return what SMS and what WhatsApp messages there are."""
    sms: list[tuple[str, str]] = []
    whatsapp: list[tuple[str, str]] = []
    for call in calls:
        if call.form is Form.SMS:
            sms.append((call.fields["To"], call.fields["Body"]))
        else:
            whatsapp.append((call.told["to"], repr(call.told["template"])))
    return Texts(len(sms), len(set(sms))), Texts(len(whatsapp), len(set(whatsapp)))


async def serve(kept_order: str) -> None:
    """Serve until standard input ends, then print what has come."""
    sink = CountingSink(kept_order)
    provider = ProviderSink(
        sms_login=(PROVIDER_ACCOUNT, PROVIDER_TOKEN), whatsapp_token=PROVIDER_TOKEN, keep=KEEP_MAX
    )
    await sink.start()
    await provider.start()
    print(sink.port, provider.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await sink.close()
    await provider.close()
    arrived = Arrived(sink.mail(), *count_texts(provider.accepted), sink.kept)
    try:
        print(msgspec.json.encode(arrived).decode(), flush=True)
    except BrokenPipeError:
        # Whoever asked has gone; the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class SinkProcess:
    """Starts the sink and asks it in the end. An async context manager.

    Args:
        kept_order: whose mail is wanted; "" for none.
    """

    port: int
    """Of SMTP."""
    provider_url: str
    """Of the stand-ins."""

    def __init__(self, kept_order: str = "") -> None:
        self._kept_order = kept_order
        self._process: Process | None = None

    async def __aenter__(self) -> SinkProcess:
        # The child must find the same packages, wherever this process has them from.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "control.demo.sink", self._kept_order,
            stdin=PIPE, stdout=PIPE, env=environment,
        )  # fmt: skip
        assert process.stdout is not None
        first = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
        if not first:
            raise RuntimeError("the sink did not start; its error stands above")
        port, provider_port = first.split()
        self.port = int(port)
        self.provider_url = f"http://127.0.0.1:{int(provider_port)}"
        return self

    async def finish(self) -> Arrived:
        """Stop it and return what has come. Call it once, when no message is under way."""
        assert self._process is not None
        # Even no input must be given, or its end is not told.
        answer, _ = await self._process.communicate(b"")
        return msgspec.json.decode(answer, type=Arrived)

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
    asyncio.run(serve(sys.argv[1] if len(sys.argv) > 1 else ""))
