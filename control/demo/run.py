"""The demo: a daemon in this process on a virtual clock, a client, servers to send to; and their books.

Decides: how the parts are put together, and the exit code.

Everything is real but the time: the embedded store on disk, gRPC over loopback, SMTP and HTTP to
another process. All files but those asked for are in a temporary folder that is removed in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import grpc
import msgspec
import uvloop

from control.daemon import Daemon
from control.demo import cdnow, report, shown_mail, story
from control.demo.cdnow import Purchase
from control.demo.configuration import PUBLIC_URL, sent_by_medium, set_up, write_secrets
from control.demo.examples import Example, explain, sure_to_be_asked
from control.demo.figures import (
    Count,
    Figures,
    add_up,
    dispositions,
    find_problems,
    imbalance_of,
    mails_of,
)
from control.demo.progress import Progress
from control.demo.replay import DAY_MS, Told, tell_story
from control.demo.shown_mail import ShownMail
from control.demo.sink import Arrived, SinkProcess
from control.settings import (
    Allow,
    Fsync,
    Grpc,
    Http,
    Life,
    Mail,
    Public,
    SecretOptions,
    Settings,
    StoreOptions,
    Unsubscribe,
)
from core.clock import ManualClock, monotonic_ns
from core.model import Medium, WaitReason

REST_DAYS_MAX: Final = 120
"""After the last event everything must have ended by then: 7 + 30 days, 5 + 7 for a reminder."""

SMTP_CONNECTIONS: Final = 4
PARTITIONS: Final = 8


class _Books(msgspec.Struct, frozen=True):
    """What the demo has in the end."""

    told: Told
    count: Count
    deferrals: int
    sent_by_medium: Mapping[int, int]
    arrived: Arrived
    examples: tuple[Example, ...]


def run_demo(
    *, orders: int | None, json_path: Path | None, html_path: Path | None, quiet: bool
) -> int:
    """Run it, print the report, write the files; return 0 if the books agree, else 1."""
    began_ns = monotonic_ns()
    purchases = cdnow.load(orders)
    happenings = story.tell(purchases)
    shown_order = sure_to_be_asked(purchases)
    with (
        tempfile.TemporaryDirectory(prefix="afterword-demo-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            books = runner.run(
                _demo(purchases, happenings, shown_order, Path(folder), is_quiet=quiet)
            )
        except asyncio.CancelledError:
            return 1
    mail, page = None, ""
    if books.arrived.kept:
        mail, page = shown_mail.read(shown_order, books.arrived.kept)
    seconds = round((monotonic_ns() - began_ns) / 1e9, 2)
    figures = _figures(purchases, happenings, books, mail, seconds)
    if html_path is not None and page:
        html_path.write_text(page, encoding="utf-8")
    print(report.text(figures, html_path), flush=True)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    return 1 if figures.problems else 0


async def _demo(
    purchases: Sequence[Purchase],
    happenings: Sequence[story.Happening],
    shown_order: str,
    folder: Path,
    *,
    is_quiet: bool,
) -> _Books:
    _tidy_up_when_terminated()
    told = Told(time_ms=happenings[0].time_ms // DAY_MS * DAY_MS)
    async with SinkProcess(shown_order) as sink, AsyncExitStack() as stack:
        settings = _settings(folder, sink.port)
        write_secrets(Path(settings.secrets.dir))
        daemon = Daemon(settings, clock=ManualClock(told.time_ms))
        stack.push_async_callback(daemon.stop)
        await daemon.start()
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(daemon.grpc_address))
        progress = Progress(told, lambda: _count(daemon), is_quiet=is_quiet)
        await set_up(channel, sink.provider_url)
        with progress.shown():
            await tell_story(channel, happenings, daemon.engine.advance_to, told, progress.update)
            await _let_everything_end(daemon, told, progress)
        examples = await explain(channel, purchases, told.invitation_of_line)
        sent = await sent_by_medium(channel)
        count = await _count(daemon)
        deferrals = daemon.engine.stats.deferred[WaitReason.CAPPED]
        await stack.aclose()
        arrived = await sink.finish()
    return _Books(told, count, deferrals, sent, arrived, tuple(examples))


def _tidy_up_when_terminated() -> None:
    """End on SIGTERM as on Ctrl-C: by cancelling, so that servers and files go."""
    task = asyncio.current_task()
    assert task is not None
    # Only the main thread may; elsewhere nobody sends signals.
    with contextlib.suppress(RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _settings(folder: Path, smtp_port: int) -> Settings:
    """Return an embedded server in the folder, a free port, no metrics and no default caps.

    Few partitions and wide slots, as a shop of a dozen orders a day would have them. The server
    writes to disk every second instead of before each answer: nothing of it outlives the demo.
    """
    return Settings(
        grpc=Grpc(listen="127.0.0.1:0"),
        http=Http(listen=""),
        public=Public(url=PUBLIC_URL),
        unsubscribe=Unsubscribe(listen=""),
        store=StoreOptions(
            data_dir=str(folder / "data"),
            fsync=Fsync.EVERYSEC,
            partitions=PARTITIONS,
            slot_width_ms=DAY_MS,
        ),
        mail=Mail(host="127.0.0.1", port=smtp_port, connections=SMTP_CONNECTIONS),
        secrets=SecretOptions(dir=str(folder / "secrets")),
        allow=Allow(private_endpoints=True),
        life=Life(default_caps=False),
    )


async def _count(daemon: Daemon) -> Count:
    store = daemon.engine.store
    return add_up((await store.counters(range(store.meta.partition_count))).values())


async def _let_everything_end(daemon: Daemon, told: Told, progress: Progress) -> None:
    """Move on, a day at a time, until nothing is pending."""
    for _ in range(REST_DAYS_MAX):
        if (await _count(daemon)).pending == 0:
            return
        told.time_ms += DAY_MS
        await daemon.engine.advance_to(told.time_ms)
        await progress.update()


def _figures(
    purchases: Sequence[Purchase],
    happenings: Sequence[story.Happening],
    books: _Books,
    shown: ShownMail | None,
    seconds: float,
) -> Figures:
    told, count, arrived, sent = books.told, books.count, books.arrived, books.sent_by_medium
    mail, published = arrived.mail, len(happenings)
    kinds = Counter(happening.event.type for happening in happenings)
    return Figures(
        orders=len(purchases),
        customers=len({purchase.customer for purchase in purchases}),
        reviews=kinds["review_submitted"],
        parcels=kinds["order_shipped"],
        events_published=published,
        events_accepted=told.accepted,
        events_by_disposition=dispositions(count),
        invitations_planned=count.planned,
        invitations_sent=mail.received - mail.reminders,
        reminders_sent=mail.reminders,
        sms_sent=sent[Medium.SMS],
        whatsapp_sent=sent[Medium.WHATSAPP],
        not_sent=count.not_sent,
        deferrals_by_cap=books.deferrals,
        pending=count.pending,
        imbalance=imbalance_of(count),
        sent=count.sent,
        mails_sent=mails_of(count, sent),
        mails_received=mail.received,
        message_ids=mail.message_ids,
        sms_received=arrived.sms.received,
        sms_different=arrived.sms.different,
        whatsapp_received=arrived.whatsapp.received,
        whatsapp_different=arrived.whatsapp.different,
        first_day=str(min(purchase.day for purchase in purchases)),
        last_day=str(max(purchase.day for purchase in purchases)),
        examples=books.examples,
        mail=shown,
        wall_seconds=seconds,
        problems=find_problems(published, told.accepted, told.refused, count, sent, arrived),
    )
