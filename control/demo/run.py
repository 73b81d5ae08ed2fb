"""The demo: a daemon in this process on a virtual clock, a client, a mail server; and their books.

Decides: how the parts are put together, and the exit code.

Everything is real but the time: the embedded store on disk, gRPC over loopback, SMTP to another
process. All files are in a temporary folder that is removed in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import grpc
import msgspec
import uvloop

from control.daemon import Daemon
from control.demo import cdnow, report, story
from control.demo.cdnow import Purchase
from control.demo.examples import Example, explain
from control.demo.figures import (
    Count,
    Figures,
    add_up,
    dispositions,
    find_problems,
    imbalance_of,
)
from control.demo.progress import Progress
from control.demo.replay import DAY_MS, Told, set_up, tell_story
from control.demo.sink import Mail, SinkProcess
from control.settings import Fsync, Grpc, Http, Life, Settings, StoreOptions
from core.clock import ManualClock, monotonic_ns
from core.model import Medium
from senders.postbox import Postbox
from senders.smtp import SmtpTransport

REST_DAYS_MAX: Final = 120
"""After the last event everything must have ended by then: 7 + 30 days, 5 + 7 for a reminder."""

SMTP_CONNECTIONS: Final = 4
PARTITIONS: Final = 8


def run_demo(*, orders: int | None, json_path: Path | None, quiet: bool) -> int:
    """Run it, print the report, write the JSON; return 0 if the books agree, else 1."""
    began_ns = monotonic_ns()
    purchases = cdnow.load(orders)
    with (
        tempfile.TemporaryDirectory(prefix="afterword-demo-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            figures = runner.run(_demo(purchases, Path(folder), is_quiet=quiet))
        except asyncio.CancelledError:
            return 1
    seconds = round((monotonic_ns() - began_ns) / 1e9, 2)
    figures = msgspec.structs.replace(figures, wall_seconds=seconds)
    print(report.text(figures), flush=True)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    return 1 if figures.problems else 0


async def _demo(purchases: Sequence[Purchase], folder: Path, *, is_quiet: bool) -> Figures:
    _tidy_up_when_terminated()
    happenings = story.tell(purchases)
    told = Told(time_ms=happenings[0].time_ms // DAY_MS * DAY_MS)
    async with SinkProcess() as sink, AsyncExitStack() as stack:
        smtp = SmtpTransport("127.0.0.1", sink.port, connections=SMTP_CONNECTIONS)
        daemon = Daemon(
            _settings(folder),
            clock=ManualClock(told.time_ms),
            postbox=Postbox({Medium.EMAIL: smtp}),
        )
        # The daemon closes the postbox it was given.
        stack.push_async_callback(daemon.stop)
        await daemon.start()
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(daemon.grpc_address))
        progress = Progress(told, lambda: _count(daemon), is_quiet=is_quiet)
        await set_up(channel)
        with progress.shown():
            await tell_story(channel, happenings, daemon.engine.advance_to, told, progress.update)
            await _let_everything_end(daemon, told, progress)
        examples = await explain(channel, purchases, told.invitation_of_line)
        count = await _count(daemon)
        deferrals = daemon.engine.stats.deferred_by_cap
        await stack.aclose()
        mail = await sink.finish()
    return _figures(purchases, happenings, told, count, deferrals, mail, examples)


def _tidy_up_when_terminated() -> None:
    """End on SIGTERM as on Ctrl-C: by cancelling, so that servers and files go."""
    task = asyncio.current_task()
    assert task is not None
    # Only the main thread may; elsewhere nobody sends signals.
    with contextlib.suppress(RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _settings(folder: Path) -> Settings:
    """Return an embedded server in the folder, a free port, no metrics and no default caps.

    Few partitions and wide slots, as a shop of a dozen orders a day would have them. The server
    writes to disk every second instead of before each answer: nothing of it outlives the demo.
    """
    return Settings(
        grpc=Grpc(listen="127.0.0.1:0"),
        http=Http(listen=""),
        store=StoreOptions(
            data_dir=str(folder / "data"),
            fsync=Fsync.EVERYSEC,
            partitions=PARTITIONS,
            slot_width_ms=DAY_MS,
        ),
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
    told: Told,
    count: Count,
    deferrals: int,
    mail: Mail,
    examples: Sequence[Example],
) -> Figures:
    return Figures(
        orders=len(purchases),
        customers=len({purchase.customer for purchase in purchases}),
        reviews=len(happenings) - len(purchases),
        events_published=len(happenings),
        events_accepted=told.accepted,
        events_by_disposition=dispositions(count),
        invitations_planned=count.planned,
        invitations_sent=mail.received - mail.reminders,
        reminders_sent=mail.reminders,
        not_sent=count.not_sent,
        deferrals_by_cap=deferrals,
        pending=count.pending,
        imbalance=imbalance_of(count),
        sent=count.sent,
        mails_received=mail.received,
        message_ids=mail.message_ids,
        first_day=str(min(purchase.day for purchase in purchases)),
        last_day=str(max(purchase.day for purchase in purchases)),
        examples=tuple(examples),
        wall_seconds=0.0,
        problems=find_problems(len(happenings), told.accepted, told.refused, count, mail),
    )
