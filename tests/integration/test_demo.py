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

from control.cli.main import main
from control.demo import cdnow, story
from control.demo.cdnow import Purchase
from control.demo.figures import Count, find_problems
from control.demo.run import run_demo
from control.demo.shown_mail import ShownMail, framed
from control.demo.sink import Arrived, Mail, SinkProcess, Texts, count_texts
from core.model import Medium
from senders.provider_sink import Call, Form

pytestmark = pytest.mark.integration

ORDERS = 600
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return the figures of two runs."""
    folder = tmp_path_factory.mktemp("demo")
    figures = []
    for number in range(2):
        path, page = folder / f"{number}.json", folder / f"{number}.html"
        assert run_demo(orders=ORDERS, json_path=path, html_path=page, quiet=True) == 0
        figures.append({**msgspec.json.decode(path.read_bytes()), "page": page.read_text("utf-8")})
    return figures


def test_the_figures_are_the_same_every_time(runs: list[dict[str, Any]]) -> None:
    first, second = ({**run, "wall_seconds": None, "page": ""} for run in runs)
    assert first == second


def test_the_books_balance_and_every_message_arrived_once(runs: list[dict[str, Any]]) -> None:
    """R6, C14: over e-mail, SMS and WhatsApp alike."""
    figures = runs[0]
    assert figures["problems"] == []
    assert figures["orders"] == ORDERS
    assert figures["events_accepted"] == figures["events_published"]
    assert figures["pending"] == figures["imbalance"] == 0
    assert figures["mails_sent"] == figures["invitations_sent"] + figures["reminders_sent"]
    assert figures["mails_received"] == figures["message_ids"] == figures["mails_sent"]
    for medium in ("sms", "whatsapp"):
        sent = figures[f"{medium}_sent"]
        assert figures[f"{medium}_received"] == figures[f"{medium}_different"] == sent > 0
    texts = figures["sms_sent"] + figures["whatsapp_sent"]
    assert figures["sent"] == figures["mails_sent"] + texts
    assert texts == figures["parcels"]
    ended = figures["sent"] + sum(figures["not_sent"].values())
    assert figures["invitations_planned"] == ended


def test_every_figure_is_what_a_plain_model_predicts(runs: list[dict[str, Any]]) -> None:
    """A2, A19, A31, B20, R27, R30."""
    figures, model = runs[0], Model()
    model.run(cdnow.load(ORDERS))
    assert {
        "invitations_sent": figures["invitations_sent"],
        "reminders_sent": figures["reminders_sent"],
        "sms_sent": figures["sms_sent"],
        "whatsapp_sent": figures["whatsapp_sent"],
        "deferrals_by_cap": figures["deferrals_by_cap"],
        **figures["not_sent"],
    } == dict(model.counts)


def test_the_readme_shows_what_a_plain_model_predicts() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- demo-output -->")[2].partition("<!-- /demo-output -->")[0]
    rows = {row[:34].strip(): row[34:41].strip() for row in shown.splitlines()}
    model = Model()
    model.run(cdnow.load())
    for label, name in {
        "invitations sent": "invitations_sent",
        "reminders sent": "reminders_sent",
        "SMS sent": "sms_sent",
        "SMS received by the stand-in": "sms_sent",
        "WhatsApp messages sent": "whatsapp_sent",
        "WhatsApp received by the stand-in": "whatsapp_sent",
        "skipped: no consent": "SKIPPED NO_CONSENT",
        "cancelled: reviewed": "CANCELLED REVIEWED",
        "expired: no slot": "EXPIRED NO_SLOT",
        "deferred by the cap": "deferrals_by_cap",
    }.items():
        assert rows[label] == f"{model.counts[name]:,}", label
    for part in ("Why was it sent?", "not sent?", "sent later?", "What does it look like?"):
        assert part in shown


def test_three_orders_are_explained(runs: list[dict[str, Any]]) -> None:
    sent, skipped, deferred = runs[0]["examples"]
    assert sent["summary"].startswith("sent")
    assert "NO_CONSENT" in skipped["summary"]
    assert any(line["stage"] == "consent" and not line["passed"] for line in skipped["decisions"])
    assert any(line["stage"] == "cap" and not line["passed"] for line in deferred["decisions"])


def test_the_mail_that_is_shown_is_the_one_that_was_explained(runs: list[dict[str, Any]]) -> None:
    figures = runs[0]
    mail, sent = figures["mail"], figures["examples"][0]
    assert mail["order"] == sent["order"]
    assert mail["headers"][-1] == f"Subject: Order {sent['order']}: how was it?"
    assert f"pedido {sent['order']} en Discos Madrid" in mail["text"]
    assert "https://post.shop.example/r/...\n" in mail["text"]
    assert mail["text"].endswith("https://post.shop.example/u/...")
    assert figures["page"].lower().startswith("<!doctype html")
    assert f"pedido {sent['order']} en Discos Madrid" in figures["page"]
    assert len(figures["page"].encode()) == mail["html_bytes"]


def test_a_frame_holds_whatever_a_mail_says() -> None:
    mail = ShownMail(
        "1", ("Subject: x" + " y" * 100,), "a\n\n" + "word " * 50 + "\n" + "x" * 200, 1
    )
    lines = list(framed(mail))
    assert {len(line) for line in lines} == {len(lines[0])}
    assert "".join(lines).count("word") == 50
    assert "".join(lines).count("x") == 201


@pytest.mark.parametrize("flag", ["--json", "--html"])
def test_a_file_that_cannot_be_written_is_told_before_the_run(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none" / "file"
    assert main(["demo", flag, str(path)]) == 1
    assert capsys.readouterr().err == (
        f"afterword: {flag} {path}: there is no folder {path.parent}\n"
    )


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not pytest's own folder: its path is too long for a socket.
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.chdir(folder)
        assert run_demo(orders=3, json_path=None, html_path=None, quiet=True) == 0
        assert list(Path(folder).iterdir()) == []
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("lost", "problem"),
    [
        ("mail", "42 mails were sent, but 41 received"),
        ("sms", "1 SMS were sent, but 0 received"),
        ("whatsapp", "2 WhatsApp messages were sent, but 1 received"),
    ],
)
def test_a_lost_message_is_a_problem_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lost: str, problem: str
) -> None:
    finish = SinkProcess.finish

    async def lose_one(sink: SinkProcess) -> Arrived:
        arrived = await finish(sink)
        getattr(arrived, lost).received -= 1
        return arrived

    monkeypatch.setattr(SinkProcess, "finish", lose_one)
    assert run_demo(orders=26, json_path=None, html_path=None, quiet=True) == 1
    assert f"PROBLEM: {problem}" in capsys.readouterr().out


GOOD = Count(planned=6, scheduled=0, in_flight=0, ended={(3, 0): 5, (6, 1): 1}, events={})
SENT = {Medium.SMS: 1, Medium.WHATSAPP: 2}
ALL = Arrived(Mail(received=2, message_ids=2), Texts(1, 1), Texts(2, 2))


@pytest.mark.parametrize(
    ("count", "arrived", "problems"),
    [
        (GOOD, ALL, ()),
        (
            msgspec.structs.replace(GOOD, planned=7, scheduled=1), ALL,
            ("1 invitations are still pending",),
        ),
        (msgspec.structs.replace(GOOD, planned=7), ALL, ("the books differ by 1",)),
        (
            GOOD, msgspec.structs.replace(ALL, mail=Mail(received=2, message_ids=1)),
            ("of 2 mails 1 are different",),
        ),
        (
            GOOD, msgspec.structs.replace(ALL, sms=Texts(2, 1)),
            ("1 SMS were sent, but 2 received", "of 2 SMS 1 are different"),
        ),
        (
            GOOD, msgspec.structs.replace(ALL, whatsapp=Texts(1, 1)),
            ("2 WhatsApp messages were sent, but 1 received",),
        ),
    ],
)  # fmt: skip
def test_whatever_does_not_agree_is_a_problem(
    count: Count, arrived: Arrived, problems: tuple[str, ...]
) -> None:
    assert find_problems(6, 6, [], count, SENT, arrived) == problems


def test_an_event_that_was_refused_is_a_problem() -> None:
    found = find_problems(3, 2, ["e1: no"], GOOD, SENT, ALL)
    assert found == ("2 of 3 events were accepted", "e1: no")


def test_a_text_that_comes_twice_is_counted_twice_and_is_no_different_one() -> None:
    sms = Call(Form.SMS, "", {}, b"To=%2B1212&Body=on+its+way")
    whatsapp = [
        Call(Form.WHATSAPP, "", {}, msgspec.json.encode({"to": to, "template": {"name": "a"}}))
        for to in ("1", "2", "1")
    ]
    assert count_texts([sms, *whatsapp]) == (Texts(1, 1), Texts(3, 2))


# --- the model ----------------------------------------------------------------------------------


class Model:
    """The demo's rules and cap in fifty lines: one heap per customer, no daemon, no store."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def run(self, purchases: list[Purchase]) -> None:
        by_customer: dict[str, list[Purchase]] = {}
        for purchase in purchases:
            by_customer.setdefault(purchase.customer, []).append(purchase)
            if story.parcel_time(purchase) is not None:
                is_madrid = story.shop_of(purchase.customer).id == "madrid"
                self.counts["whatsapp_sent" if is_madrid else "sms_sent"] += 1
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
