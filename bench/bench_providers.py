"""SMS, WhatsApp and webhooks: the whole of rendering, signing, calling and reading the answer.

Run: `AFTERWORD_BENCH_N=5_000 python -m bench.bench_providers`

Units: messages a second, with 32 calls under way; the stand-in is in a process of its own, over loopback
TCP. The yardstick of the same run is, for each form, the HTTP client alone: as many posts of the
same bytes to the same address over as many connections, answers thrown away.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import uvloop

from bench.bench_senders import CHANNEL
from core.model import Contact, Event, Family, Medium, Order, Purpose
from core.registry.senders import Sender, SenderKind
from core.sending import Delivery, Letter
from senders.credentials import Secrets, variable_of
from senders.http_client import Reach
from senders.making import TransportMaker

COUNT = int(os.environ.get("AFTERWORD_BENCH_N", "5000"))
PLACES = 32
SECRETS = {
    variable_of("acme", "token"): "token-of-a-bench",
    variable_of("acme", "hook"): "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
SINK = """
import asyncio, sys, uvloop
from senders.provider_sink import ProviderSink
async def serve():
    sink = ProviderSink(keep=1)
    await sink.start()
    print(sink.url, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await sink.close()
uvloop.run(serve())
"""


@contextmanager
def stand_in() -> Iterator[str]:
    """Run the stand-in; yield its address."""
    command = [sys.executable, "-c", SINK]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sink:
        assert sink.stdout is not None
        yield sink.stdout.readline().strip()
        sink.communicate()


def senders(url: str) -> dict[Medium, Sender]:
    """Return a sender of each kind."""
    return {
        Medium.SMS: Sender(
            account="acme", id="texts", kind=SenderKind.SMS_TWILIO, endpoint=url,
            provider_account="AC1", origin="+4930123456", credential="secret:token",
        ),
        Medium.WHATSAPP: Sender(
            account="acme", id="chats", kind=SenderKind.WHATSAPP_CLOUD, endpoint=url,
            origin="1010", credential="secret:token",
        ),
        Medium.WEBHOOK: Sender(
            account="acme", id="hooks", kind=SenderKind.WEBHOOK, endpoint=f"{url}/hook",
            credential="secret:hook",
        ),
    }  # fmt: skip


def letter(medium: Medium, number: int, url: str) -> Letter:
    """Return one message about a late parcel."""
    event = Event(
        id=f"e{number}", source="shop", type="shipment_delayed", channel="shop-de", occur_ms=0,
        contact=Contact(phone="+4915112345678", first_name="Anna"),
        order=Order(reference=f"{number}"),
    )  # fmt: skip
    return Letter(
        delivery_id=f"{number:032x}", medium=medium, family=Family.NOTIFICATION,
        address=f"{url}/hook" if medium is Medium.WEBHOOK else "+4915112345678",
        is_follow_up=False, locale="de-DE", subject="", body=event, channel=CHANNEL, attempts=0,
        send_ms=0, purpose=Purpose.TRANSACTIONAL, rule="late", step="one",
        template="parcel_late" if medium is Medium.WHATSAPP else "",
        parameters=("{{first_name}}", "{{order}}") if medium is Medium.WHATSAPP else (),
    )  # fmt: skip


async def through_transport(medium: Medium, url: str, count: int) -> float:
    """Return how many a second a transport sends, rendering included."""
    maker = TransportMaker(Secrets(environment=SECRETS), reach=Reach.ANY)
    transport = maker.make(senders(url)[medium])
    letters = [letter(medium, number, url) for number in range(count)]
    started = time.perf_counter()
    waiting = iter(letters)

    async def work() -> None:
        for one in waiting:
            (answer,) = await transport.send([(one, transport.prepare(one))])
            assert answer.kind is Delivery.Kind.ACCEPTED, answer.detail

    await asyncio.gather(*(work() for _ in range(PLACES)))
    took = time.perf_counter() - started
    await transport.close()
    return count / took


async def by_client_alone(medium: Medium, url: str, count: int) -> float:
    """Return how many posts a second the HTTP client makes by itself, of what a transport would post."""
    maker = TransportMaker(Secrets(environment=SECRETS), reach=Reach.ANY)
    provider, one = maker.provider(senders(url)[medium]), letter(medium, 0, url)
    call = provider.request(one, provider.render(one))
    waiting = iter(range(count))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=PLACES)) as session:

        async def work() -> None:
            for _ in waiting:
                async with session.post(call.url, data=call.body, headers=call.headers) as answer:
                    await answer.read()

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(PLACES)))
        return count / (time.perf_counter() - started)


def report(count: int = COUNT) -> dict[str, float]:
    """Measure and print; return messages a second by what."""
    found: dict[str, float] = {}
    print(
        f"\nproviders over HTTP, {count} each, {PLACES} at a time: a second, client alone, part of it"
    )
    with stand_in() as url:
        for medium in (Medium.SMS, Medium.WHATSAPP, Medium.WEBHOOK):
            alone = uvloop.run(by_client_alone(medium, url, count))
            found[medium.name] = rate = uvloop.run(through_transport(medium, url, count))
            print(f"{medium.name:14}{rate:>10,.0f}{alone:>10,.0f}{rate / alone:>8.2f}x")
    return found


def test_providers_smoke() -> None:
    """Every form is sent and accepted."""
    assert all(rate > 0 for rate in report(64).values())


if __name__ == "__main__":
    report()
