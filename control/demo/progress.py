"""How far the demo is: a live panel on a terminal, a line every few seconds elsewhere, or nothing.

Decides: when there is something to show. Counting costs the daemon a round trip, so it is asked only
then.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from control.demo.figures import Count
from control.demo.replay import Told
from control.demo.report import reason_text
from core.clock import monotonic_ns

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

LIVE_PAUSE_S: Final = 0.2
LINE_PAUSE_S: Final = 2.0
_NS: Final = 1_000_000_000


class Progress:
    """Shows how far it is; `update` may be called as often as one likes.

    Args:
        told: what the client has heard so far.
        count: asks for the counters.
        is_quiet: shows nothing.
    """

    def __init__(
        self, told: Told, count: Callable[[], Awaitable[Count]], *, is_quiet: bool
    ) -> None:
        self._told = told
        self._count = count
        self._is_quiet = is_quiet
        self._is_live = not is_quiet and sys.stdout.isatty()
        self._live: Live | None = None
        self._began_ns = monotonic_ns()
        self._shown_ns = self._began_ns

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the panel on the terminal while the block runs."""
        if not self._is_live:
            yield
            return
        from rich.live import Live

        with Live(transient=True, auto_refresh=False) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    async def update(self) -> None:
        """Show how it stands, unless that was done a moment ago."""
        pause_s = LIVE_PAUSE_S if self._is_live else LINE_PAUSE_S
        now_ns = monotonic_ns()
        if self._is_quiet or now_ns - self._shown_ns < pause_s * _NS:
            return
        self._shown_ns = now_ns
        count = await self._count()
        rows = self._rows(count, (now_ns - self._began_ns) / _NS)
        if self._live is not None:
            self._live.update(_panel(rows), refresh=True)
        else:
            print("  ".join(f"{name} {value}" for name, value in rows), flush=True)

    def _rows(self, count: Count, seconds: float) -> list[tuple[str, str]]:
        day = datetime.datetime.fromtimestamp(self._told.time_ms / 1_000, datetime.UTC)
        rows = [
            ("virtual date", day.strftime("%Y-%m-%d")),
            ("events in", f"{self._told.accepted:,}"),
            ("pending", f"{count.pending:,}"),
            ("sent", f"{count.sent:,}"),
        ]
        rows += [(reason_text(name), f"{n:,}") for name, n in count.not_sent.items()]
        return [*rows, ("events/s", f"{self._told.accepted / seconds:,.0f}")]


def _panel(rows: list[tuple[str, str]]) -> Table:
    from rich.table import Table

    table = Table(title="Afterword: a shop's eighteen months", show_header=False)
    table.add_column(min_width=24)
    table.add_column(justify="right", min_width=12)
    for name, value in rows:
        table.add_row(name, value)
    return table
