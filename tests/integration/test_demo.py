"""The demo keeps its promises: the same figures every time, and those a plain model predicts."""

from __future__ import annotations

import datetime
import heapq
import tempfile
import zoneinfo
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from control.demo import cdnow, story
from control.demo.cdnow import Purchase
from control.demo.figures import Count, find_problems
from control.demo.run import run_demo
from control.demo.sink import Mail, SinkProcess

pytestmark = pytest.mark.integration

ORDERS = 600
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return the figures of two runs."""
    folder = tmp_path_factory.mktemp("demo")
    figures = []
    for number in range(2):
        path = folder / f"{number}.json"
        assert run_demo(orders=ORDERS, json_path=path, quiet=True) == 0
        figures.append(msgspec.json.decode(path.read_bytes()))
    return figures


def test_the_figures_are_the_same_every_time(runs: list[dict[str, Any]]) -> None:
    first, second = ({**run, "wall_seconds": None} for run in runs)
    assert first == second


def test_the_books_balance_and_every_mail_arrived_once(runs: list[dict[str, Any]]) -> None:
    """R6."""
    figures = runs[0]
    assert figures["problems"] == []
    assert figures["orders"] == ORDERS
    assert figures["events_accepted"] == figures["events_published"]
    assert figures["pending"] == figures["imbalance"] == 0
    assert figures["sent"] == figures["invitations_sent"] + figures["reminders_sent"]
    assert figures["mails_received"] == figures["message_ids"] == figures["sent"]
    ended = figures["sent"] + sum(figures["not_sent"].values())
    assert figures["invitations_planned"] == ended


def test_every_figure_is_what_a_plain_model_predicts(runs: list[dict[str, Any]]) -> None:
    """A2, A19, A31, B20, R27, R30."""
    figures, model = runs[0], Model()
    model.run(cdnow.load(ORDERS))
    assert {
        "invitations_sent": figures["invitations_sent"],
        "reminders_sent": figures["reminders_sent"],
        "deferrals_by_cap": figures["deferrals_by_cap"],
        **figures["not_sent"],
    } == dict(model.counts)


def test_three_orders_are_explained(runs: list[dict[str, Any]]) -> None:
    sent, skipped, deferred = runs[0]["examples"]
    assert sent["summary"].startswith("sent")
    assert "NO_CONSENT" in skipped["summary"]
    assert any(line["stage"] == "consent" and not line["passed"] for line in skipped["decisions"])
    assert any(line["stage"] == "cap" and not line["passed"] for line in deferred["decisions"])


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not pytest's own folder: its path is too long for a socket.
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.chdir(folder)
        assert run_demo(orders=3, json_path=None, quiet=True) == 0
        assert list(Path(folder).iterdir()) == []
        monkeypatch.undo()


def test_a_lost_mail_is_a_problem_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish = SinkProcess.finish

    async def lose_one(sink: SinkProcess) -> Mail:
        mail = await finish(sink)
        return msgspec.structs.replace(mail, received=mail.received - 1)

    monkeypatch.setattr(SinkProcess, "finish", lose_one)
    assert run_demo(orders=3, json_path=None, quiet=True) == 1
    assert "PROBLEM: 5 sent, but 4 received" in capsys.readouterr().out


def test_whatever_does_not_agree_is_a_problem() -> None:
    good = Count(planned=3, scheduled=0, in_flight=0, ended={(3, 0): 2, (6, 1): 1}, events={})
    mail = Mail(received=2, message_ids=2)
    assert find_problems(3, 3, [], good, mail) == ()
    pending = msgspec.structs.replace(good, planned=4, scheduled=1)
    assert find_problems(3, 3, [], pending, mail) == ("1 invitations are still pending",)
    lost = msgspec.structs.replace(good, planned=4)
    assert find_problems(3, 3, [], lost, mail) == ("the books differ by 1",)
    twice = Mail(received=2, message_ids=1)
    assert find_problems(3, 3, [], good, twice) == ("2 mails have 1 different Message-IDs",)
    assert find_problems(3, 2, ["e1: no"], good, mail) == ("2 of 3 events were accepted", "e1: no")


# --- the model ----------------------------------------------------------------------------------


class Model:
    """The demo's rule and cap in fifty lines: one heap per customer, no daemon, no store."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def run(self, purchases: list[Purchase]) -> None:
        by_customer: dict[str, list[Purchase]] = {}
        for purchase in purchases:
            by_customer.setdefault(purchase.customer, []).append(purchase)
        for customer, orders in by_customer.items():
            if story.has_consented(customer):
                self._customer(orders)
            else:
                self.counts["SKIPPED NO_CONSENT"] += len(orders)

    def _customer(self, orders: list[Purchase]) -> None:
        zone = zoneinfo.ZoneInfo(story.shop_of(orders[0].customer).time_zone)
        orders = sorted(orders, key=story.order_time)
        agenda: list[tuple[int, int, int, str]] = []
        """(when, 1 for what is told at a day's end, rank of the order, what)."""
        first_due: dict[int, int] = {}
        for rank, order in enumerate(orders):
            first_due[rank] = ten_o_clock(story.order_time(order).date(), 7, zone)
            agenda.append((first_due[rank], 0, rank, "invitation"))
            if (written := story.review_time(order)) is not None:
                told_ms = (int(written.timestamp() * 1_000) // DAY_MS + 1) * DAY_MS
                agenda.append((told_ms, 1, rank, "review"))
        heapq.heapify(agenda)
        reviewed: set[int] = set()
        stamp_ms = -(10**15)
        while agenda:
            now_ms, _, rank, what = heapq.heappop(agenda)
            if what == "review":
                reviewed.add(rank)
            elif rank in reviewed:
                self.counts["CANCELLED REVIEWED"] += 1
            elif what == "reminder":
                self.counts["reminders_sent"] += 1
            elif now_ms - stamp_ms >= 14 * DAY_MS:
                self.counts["invitations_sent"] += 1
                stamp_ms = now_ms
                sent_day = datetime.datetime.fromtimestamp(now_ms / 1_000, zone).date()
                heapq.heappush(agenda, (ten_o_clock(sent_day, 5, zone), 0, rank, "reminder"))
            elif stamp_ms + 14 * DAY_MS >= first_due[rank] + 30 * DAY_MS:
                self.counts["EXPIRED NO_SLOT"] += 1
            else:
                self.counts["deferrals_by_cap"] += 1
                heapq.heappush(agenda, (stamp_ms + 14 * DAY_MS, 0, rank, what))


def ten_o_clock(day: datetime.date, days_later: int, zone: zoneinfo.ZoneInfo) -> int:
    """Return 10:00 local time so many days later, epoch ms."""
    day += datetime.timedelta(days=days_later)
    return int(datetime.datetime.combine(day, datetime.time(10), zone).timestamp() * 1_000)
