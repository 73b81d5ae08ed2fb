"""Runs the daemon in the foreground, from its start to a signal.

Decides: the event loop, what the signals mean, what is printed, and the exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Callable
from typing import TextIO

from control.addresses import is_loopback
from control.daemon import Daemon
from control.public.links import PATH
from control.settings import Settings
from control.transports import outbox_folder
from core.errors import AfterwordError, InvalidField

OK = 0
FAILED = 1
BAD_SETTINGS = 2

GC_THRESHOLDS = (10_000, 50, 50)

_LOG = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(settings: Settings, *, out: TextIO | None = None) -> int:
    """Run the daemon until SIGINT or SIGTERM; a second signal ends it at once.

    Returns:
        0 after a clean end, 1 if it failed, 2 if the settings are wrong.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, out or sys.stdout))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        # Slower, but everything works on the loop that Python brings.
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(settings: Settings, out: TextIO) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        if stopping.is_set():
            task.cancel()
        stopping.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    daemon = Daemon(settings)
    try:
        if not await _start(daemon, stopping):
            return OK
        spare_the_collector()
        for line in describe(daemon):
            print(line, file=out, flush=True)
        await _first(stopping, daemon.failed)
        _LOG.info("stopping")
        return FAILED if daemon.failed.is_set() else OK
    except InvalidField as error:
        print(f"afterword: {error}", file=sys.stderr)
        return BAD_SETTINGS
    except AfterwordError as error:
        print(f"afterword: {error}", file=sys.stderr)
        return FAILED
    except asyncio.CancelledError:
        return FAILED
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await daemon.stop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _start(daemon: Daemon, stopping: asyncio.Event) -> bool:
    """Start the daemon; False if a signal came first, for example while the data loads."""
    start = asyncio.create_task(daemon.start())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not start.done():
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        return False
    start.result()
    return True


async def _first(*events: asyncio.Event) -> None:
    """Wait for the first of some events."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def spare_the_collector() -> None:
    """Let the cycle collector look less often, and never at what lives as long as the process.

    A batch makes thousands of objects, none in cycles; looking through them again and again costs a
    tenth of the CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def describe(daemon: Daemon) -> list[str]:
    """Return where the daemon listens, and where data and mail go."""
    settings = daemon.settings
    secured = " (TLS)" if settings.grpc.tls_cert_file else ""
    lines = [f"gRPC      {daemon.grpc_address}{secured}"]
    if daemon.http_address:
        lines.append(f"metrics   http://{daemon.http_address}/metrics")
    if daemon.embedded is not None:
        fsync = settings.store.fsync.value
        lines.append(f"data      {daemon.embedded.data_dir} (fsync {fsync})")
    else:
        shown = next(line for line in settings.lines() if line.startswith("store.redis_url"))
        lines.append(f"data      {shown.partition(' = ')[2]}")
    if settings.public.url:
        where = daemon.unsubscribe_address or "answered elsewhere"
        lines.append(f"links     {settings.public.url.rstrip('/')}{PATH} ({where})")
    mail = settings.mail
    where = f"{mail.host}:{mail.port}" if mail.host else str(outbox_folder(settings).resolve())
    lines.append(f"mail      {where}")
    if not settings.auth.tokens_file:
        lines.append("access    everybody on this machine (no auth.tokens_file)")
    elif settings.grpc.tls_cert_file or is_loopback(settings.grpc.listen):
        lines.append(f"access    tokens in {settings.auth.tokens_file}")
    else:
        lines.append("access    tokens, without TLS: let a proxy add it, or set grpc.tls_cert_file")
    return lines
