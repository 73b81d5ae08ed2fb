"""What goes out: rendering and SMTP, each against the usual way, measured in the same run.

Run: `AFTERWORD_BENCH_N=20_000 python -m pytest bench/bench_senders.py -s`
Smoke: `AFTERWORD_BENCH_N=100 python -m pytest bench/bench_senders.py --benchmark-disable`

Units: messages a second. Rendering is per core. SMTP is client and server on this machine, the
server (`senders.smtp_sink`) in a process of its own, over loopback TCP, with equal connections on
both sides; message sizes are printed.

The usual way is an `email.message.EmailMessage` for each message, sent by aiosmtplib over lasting
connections. Rounds of both sides take turns, and the ratio is that of the medians.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any

import aiosmtplib
import pytest
import uvloop

from core.model import Contact, Event, Family, Item, Medium, Order
from core.registry.resources import Channel
from core.registry.rule_parts import EmailSender
from core.sending import Delivery, Letter
from senders import details, mime, pages, templates
from senders.smtp import SmtpTransport

LETTER_COUNT = int(os.environ.get("AFTERWORD_BENCH_N", "1_000"))
USUAL_SHARE = 10
"""The usual way gets one letter in ten: it is slower, and its rate does not depend on the number."""

ROUNDS = 5
CONNECTIONS = 4
PIPELINE = 16
SENDER = EmailSender("hallo@kaesehaus.example", "Käsehaus", "antwort@kaesehaus.example")
CHANNEL = Channel(
    account="acme", id="shop-de", display_name="Käsehaus", time_zone="Europe/Berlin",
    locale="de-DE", email_sender=SENDER,
)  # fmt: skip

SINK = """
import asyncio, sys, uvloop
from senders.smtp_sink import SmtpSink
async def serve():
    sink = SmtpSink()
    await sink.start()
    print(sink.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await sink.close()
asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve())
"""


def make_letters(count: int) -> list[Letter]:
    names = ("Anna", "Jürgen", "Łucja", "Noël", "Ines")
    return [
        Letter(
            delivery_id=f"{number:032x}",
            medium=Medium.EMAIL,
            address=f"customer{number}@example.com",
            family=Family.SERVICE_REVIEW if number % 2 else Family.PRODUCT_REVIEW,
            is_follow_up=number % 3 == 0,
            locale=("de-DE", "en", "pl", "fr-FR", "es")[number % 5],
            subject="",
            body=Event(
                id=f"e{number}",
                source="shop",
                type="checkout",
                channel="shop-de",
                occur_ms=1_760_000_000_000,
                contact=Contact(first_name=names[number % 5], last_name="Kowalska"),
                order=Order(
                    reference=f"{100_000 + number}",
                    items=[Item(name="Gouda, mittelalt"), Item(name="Brie de Meaux")],
                ),
            ),
            channel=CHANNEL,
            attempts=0,
            send_ms=1_760_000_000_000 + number,
        )
        for number in range(count)
    ]


def email_message(letter: Letter) -> EmailMessage:
    """Build the same message the usual way."""
    values = templates.variables(letter)
    language = templates.language_for(letter.locale, CHANNEL.locale)
    template = templates.template_of(letter)
    values |= details.values_of(letter, template.shows, language)
    known = frozenset(name for name, value in values.items() if value)
    body = pages.body_of(pages.content_of(letter, template, language), language, known)
    message = EmailMessage(policy=SMTP)
    message["From"] = f"{SENDER.display_name} <{SENDER.address}>"
    message["Reply-To"] = SENDER.reply_to
    contact = letter.event.contact
    message["To"] = f"{contact.first_name} {contact.last_name} <{letter.address}>"
    message["Subject"] = templates.subject_of(letter, language, values)
    message["Date"] = formatdate(letter.send_ms / 1_000)
    message["Message-ID"] = f"<{letter.delivery_id}@kaesehaus.example>"
    message["Auto-Submitted"] = "auto-generated"
    text, page = list(body.text), list(body.html)
    text[1::2] = [values[name] for name in text[1::2]]
    page[1::2] = [values[name] for name in page[1::2]]
    message.set_content("".join(text))
    message.add_alternative("".join(page), subtype="html")
    return message


def rate(work: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def compare(
    ours: Callable[[], object], our_count: int, usual: Callable[[], object], usual_count: int
) -> tuple[float, float]:
    """Return the median rates of both, taken in turns after one round to warm up."""
    ours()
    usual()
    rounds = [(rate(ours, our_count), rate(usual, usual_count)) for _ in range(ROUNDS)]
    return statistics.median(r[0] for r in rounds), statistics.median(r[1] for r in rounds)


def report(name: str, ours: float, usual: float, message_bytes: int) -> str:
    line = f"{name}: {ours:,.0f}/s against {usual:,.0f}/s, {ours / usual:.1f} times"
    sys.stdout.write(f"\n{line} ({message_bytes} bytes a message)\n")
    return line


# --- rendering ------------------------------------------------------------------------------------


def render_all(letters: list[Letter]) -> int:
    render = mime.render
    return sum(len(render(letter)) for letter in letters)


def build_all(letters: list[Letter]) -> int:
    return sum(len(email_message(letter).as_bytes()) for letter in letters)


def test_rendering(benchmark: Any) -> None:
    letters = make_letters(LETTER_COUNT)
    few = letters[: max(LETTER_COUNT // USUAL_SHARE, 1)]
    benchmark(render_all, letters)
    ours, usual = compare(
        lambda: render_all(letters), len(letters), lambda: build_all(few), len(few)
    )
    size_bytes = render_all(letters) // len(letters)
    benchmark.extra_info["messages_per_second"] = ours
    benchmark.extra_info["ratio"] = ours / usual
    report("rendering", ours, usual, size_bytes)
    assert ours > usual


# --- SMTP -----------------------------------------------------------------------------------------


@pytest.fixture
def sink_port() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", SINK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()


Render = Callable[[Letter], bytes]


async def send_ours(transport: SmtpTransport, render: Render, letters: list[Letter]) -> None:
    """Render and send in two batches at a time, together no more than there are places."""
    step = CONNECTIONS * PIPELINE // 2

    async def worker(part: list[Letter]) -> None:
        for start in range(0, len(part), step):
            batch = [(letter, render(letter)) for letter in part[start : start + step]]
            for delivery in await transport.send(batch):
                assert delivery.kind is Delivery.Kind.ACCEPTED, delivery.detail

    await asyncio.gather(worker(letters[::2]), worker(letters[1::2]))


async def send_usual(
    clients: list[aiosmtplib.SMTP], render: Render | None, letters: list[Letter]
) -> None:
    async def worker(client: aiosmtplib.SMTP, part: list[Letter]) -> None:
        for letter in part:
            if render is None:
                await client.send_message(email_message(letter))
            else:
                await client.sendmail(SENDER.address, [letter.address], render(letter))

    await asyncio.gather(
        *[worker(client, letters[n :: len(clients)]) for n, client in enumerate(clients)]
    )


async def connect_usual(port: int) -> list[aiosmtplib.SMTP]:
    clients = [
        aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=60)
        for _ in range(CONNECTIONS)
    ]
    for client in clients:
        await client.connect()
    return clients


@pytest.mark.parametrize("is_ready", [False, True], ids=["rendered", "ready"])
def test_smtp(benchmark: Any, sink_port: int, is_ready: bool) -> None:
    """With rendering on both sides; and with our bytes, made before, on both sides."""
    letters = make_letters(LETTER_COUNT)
    ready = {letter.delivery_id: mime.render(letter) for letter in letters} if is_ready else {}
    render: Render | None = (lambda letter: ready[letter.delivery_id]) if is_ready else None
    few = letters[: max(LETTER_COUNT // USUAL_SHARE, CONNECTIONS)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        def run(work: Coroutine[Any, Any, Any]) -> Any:
            return runner.run(work)

        transport = SmtpTransport(
            "127.0.0.1", sink_port, connections=CONNECTIONS, pipeline=PIPELINE
        )
        clients = run(connect_usual(sink_port))
        benchmark(lambda: run(send_ours(transport, render or mime.render, letters)))
        ours, usual = compare(
            lambda: run(send_ours(transport, render or mime.render, letters)),
            len(letters),
            lambda: run(send_usual(clients, render, few)),
            len(few),
        )
        run(transport.close())
        for client in clients:
            run(client.quit())
    size_bytes = render_all(few) // len(few)
    benchmark.extra_info["messages_per_second"] = ours
    benchmark.extra_info["ratio"] = ours / usual
    report("SMTP alone" if is_ready else "rendering and SMTP", ours, usual, size_bytes)
    assert ours > usual
