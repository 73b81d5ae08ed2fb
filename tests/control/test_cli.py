"""The command line against a daemon that runs, as a person would use it in the first hour."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf import json_format

from afterword.v1 import channel_service_pb2, invitation_service_pb2, rule_service_pb2
from control.cli.files import changed_fields
from control.cli.main import build_parser, main
from control.cli.parsers import DEFAULT_ADDRESS
from control.cli.values import instant, length, length_text, money, time_of_day
from control.settings import Grpc

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30
SEND_TIMEOUT_S = 20


class Daemon(NamedTuple):
    address: str
    outbox: Path


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Done]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Daemon]:
    """Run `afterword serve` as it is run by hand, and stop it as Ctrl-C does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AFTERWORD_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    # The daemon must not mind what is meant for clients.
    environment["AFTERWORD_ADDRESS"] = address
    command = [
        sys.executable, "-P", "-m", "control.cli.main", "serve", "--grpc-listen", address,
        "--http-listen", "", "--store-fsync", "everysec",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=folder, env=environment)
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(START_TIMEOUT_S)
        yield Daemon(address, folder / "afterword-data" / "outbox")
        process.send_signal(signal.SIGINT)
        assert process.wait(START_TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with served(tmp_path_factory.mktemp("daemon")) as running:
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return what runs one command."""

    def main_as_called(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return main_as_called


@pytest.fixture
def cli(run: Cli, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return what runs one command against the daemon."""
    monkeypatch.setenv("AFTERWORD_ADDRESS", daemon.address)
    return run


@pytest.fixture
def shop(cli: Cli) -> str:
    """Return a channel on which a rule sends at once."""
    if cli("channels", "get", "shop").code:
        assert not cli(
            "channels", "create", "shop", "--time-zone", "Europe/Madrid", "--locale", "es_ES",
            "--sender", "hola@shop.example",
        ).code  # fmt: skip
        assert not cli("rules", "create", "at-once", "--event", "checkout", "--after", "0").code
        assert not cli("rules", "activate", "at-once", "--channel", "shop").code
    return "shop"


def until(condition: Callable[[], bool]) -> None:
    """Wait for a daemon that works in real seconds."""
    deadline = time.monotonic() + SEND_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


# --- the first hour ----------------------------------------------------------------------------


def test_the_first_hour_by_hand(cli: Cli, daemon: Daemon) -> None:
    """A1, A2, A12, A14."""
    made = cli(
        "channels", "create", "madrid", "--time-zone", "Europe/Madrid", "--locale", "es_ES",
        "--sender", "hola@shop.example", "--sender-name", "La Tienda",
    )  # fmt: skip
    assert made.code == 0
    assert "accounts/default/channels/madrid" in made.out
    made = cli(
        "rules", "create", "ask", "--event", "checkout", "--after", "0",
        "--subject", "How was your order {{order}}?",
        "--reminder-after", "5d", "--reminder-at", "10:00",
    )  # fmt: skip
    assert made.code == 0
    assert "no channel yet" in made.out
    switched = cli("rules", "activate", "ask", "--channel", "madrid")
    assert switched.code == 0
    assert "is active on accounts/default/channels/madrid" in switched.out

    sent = cli(
        "events", "publish", "checkout", "--channel", "madrid", "--id", "4711-ordered",
        "--email", "ann@shop.example", "--order", "4711", "--total", "49.90 EUR",
        "--consent", "review",
    )  # fmt: skip
    assert sent.code == 0
    assert re.match(r"event +planned\n", sent.out)
    until(lambda: bool(list(daemon.outbox.glob("*.eml"))))
    mail = next(daemon.outbox.glob("*.eml")).read_text("ascii")
    assert "Subject: How was your order 4711?" in mail
    assert "ann@shop.example" in mail

    listed = cli("invitations", "list", "--order", "4711", "--channel", "madrid")
    assert listed.code == 0
    assert "sent" in listed.out
    assert "reminder" in listed.out

    not_sent = cli(
        "events", "publish", "checkout", "--channel", "madrid", "--id", "4712-ordered",
        "--email", "bob@shop.example", "--order", "4712",
    )  # fmt: skip
    assert not_sent.code == 0
    told = cli("explain", "--event", "4712-ordered")
    assert told.code == 0
    assert "NO_CONSENT" in told.out.splitlines()[0]
    assert "consent" in told.out


def test_complaints_hold_a_channel_back(cli: Cli, daemon: Daemon, shop: str) -> None:
    """g6, g10, R48: feedback, the breaker that it trips, and what lets go."""
    made = cli(
        "channels", "create", "touchy", "--time-zone", "Europe/Madrid", "--locale", "es_ES",
        "--sender", "hola@shop.example", "--complaint-threshold", "0.5", "--complaint-min", "1",
    )  # fmt: skip
    assert "hold back from 50.00% in 7 days on, but not fewer than 1" in made.out
    assert not cli("rules", "create", "ask-now", "--event", "checkout", "--after", "0").code
    assert not cli("rules", "activate", "ask-now", "--channel", "touchy").code

    def ask(who: str) -> str:
        published = cli(
            "events", "publish", "checkout", "--channel", "touchy", "--id", f"touchy-{who}",
            "--email", f"{who}@shop.example", "--order", f"touchy-{who}", "--consent", "review",
            "--json",
        )  # fmt: skip
        return str(published.json["result"]["invitations"][0].rpartition("/")[2])

    gus = ask("gus")
    early = cli("invitations", "feedback", ask("never") + "00", "opened")
    assert (early.code, early.out) == (1, "")
    assert "does not exist" in early.err
    until(lambda: cli("invitations", "get", gus, "--json").json["state"] == "STATE_SENT")
    told = cli("invitations", "feedback", gus, "complained")
    assert (told.code, told.out.splitlines()[0]) == (0, f"{gus} is sent")
    assert "told before" in cli("invitations", "feedback", gus, "complained").out
    assert "complained" in cli("invitations", "get", gus).out
    assert "ResetComplaintBreaker" in cli("channels", "get", "touchy").out
    hal = ask("hal")
    until(lambda: "waits: complaints" in cli("invitations", "get", hal).out)
    reset = cli("channels", "reset-breaker", "touchy", "--medium", "email")
    assert reset.code == 0
    assert "held back" not in reset.out
    until(lambda: cli("invitations", "get", hal, "--json").json["state"] == "STATE_SENT")
    assert cli("invitations", "resolve", hal, "sent").code == 0
    assert cli("invitations", "resolve", hal, "not-delivered").code == 1
    off = cli("channels", "update", "touchy", "--complaint-breaker", "off")
    assert "hold nothing back" in off.out


def test_a_withdrawal_ends_what_waits(cli: Cli, shop: str) -> None:
    """A8, R19."""
    assert not cli("rules", "create", "later", "--event", "delivery", "--after", "7d").code
    assert not cli("rules", "activate", "later", "--channel", shop).code
    published = cli(
        "events", "publish", "delivery", "--channel", shop, "--id", "d1",
        "--email", "cyd@shop.example", "--order", "d1", "--consent", "review", "--json",
    )  # fmt: skip
    name = published.json["result"]["invitations"][0]
    granted = cli("consents", "grant", "cyd@shop.example", "--collection-point", "by phone")
    assert granted.code == 0
    withdrawn = cli("consents", "withdraw", "cyd@shop.example")
    assert withdrawn.code == 0
    assert name in withdrawn.out
    assert "withdrawn" in cli("consents", "list", "cyd@shop.example").out
    assert "unsubscribed" in cli("invitations", "get", name).out


def test_a_person_is_shown_exported_and_erased(cli: Cli) -> None:
    """Art. 15 and 17, R22."""
    granted = cli("consents", "grant", "nora@shop.example", "--collection-point", "by phone")
    assert granted.code == 0, granted.err
    shown = cli("contacts", "show", "nora@shop.example")
    assert shown.code == 0, shown.err
    assert re.search(r"consents +1", shown.out)
    told = cli("contacts", "export", "nora@shop.example").json
    assert told["consents"][0]["collectionPoint"] == "by phone"
    tried = cli("contacts", "erase", "nora@shop.example", "--validate-only")
    assert tried.code == 0
    assert "by phone" in cli("contacts", "export", "nora@shop.example").out
    erased = cli("contacts", "erase", "nora@shop.example")
    assert erased.code == 0, erased.err
    assert re.search(r"erased +20", erased.out)
    left = cli("contacts", "export", "nora@shop.example")
    assert "by phone" not in left.out
    assert {one["kind"] for one in left.json["suppressions"]} == {"KIND_ERASED"}
    assert "erased: review" in cli("contacts", "show", "nora@shop.example").out
    unknown = cli("contacts", "show", "nobody@shop.example")
    assert unknown.code == 1
    assert "nothing is known" in unknown.err


def test_what_waits_can_be_listed_cancelled_and_explained(cli: Cli, shop: str) -> None:
    published = cli(
        "events", "publish", "checkout", "--channel", shop, "--id", "w1", "--order", "w1",
        "--email", "dan@shop.example", "--consent", "review", "--send-at", "now+2d", "--json",
    )  # fmt: skip
    name = published.json["result"]["invitations"][0]
    short = name.rpartition("/")[2]
    assert short in cli("invitations", "list", "--channel", shop, "--to", "now+3d").out
    assert short not in cli("invitations", "list", "--channel", shop, "--to", "now+1d").out
    assert short in cli("invitations", "list", "--contact", "dan@shop.example").out
    cancelled = cli("invitations", "cancel", short)
    assert cancelled.code == 0
    assert "by-client" in cancelled.out
    assert "BY_CLIENT" in cli("invitations", "explain", short).out


def test_an_invitation_is_made_cancelled_reinstated_and_sent_by_hand(cli: Cli, shop: str) -> None:
    """A3, R44, R45."""
    command = (
        "invitations", "create", "--channel", shop, "--review", "service", "--order", "h1",
        "--email", "eve@shop.example", "--consent", "review", "--due", "now+2d", "--id", "h1",
    )  # fmt: skip
    checked = cli(*command, "--validate-only")
    assert checked.code == 0
    assert "made by hand" in checked.out
    made = cli(*command, "--json")
    short = made.json["name"].rpartition("/")[2]
    assert made.json["mode"] == "MODE_MANUAL"
    assert cli("invitations", "cancel", short).code == 0
    back = cli("invitations", "reinstate", short, "--json").json
    assert (back["state"], back["generation"]) == ("STATE_SCHEDULED", 1)
    assert cli("invitations", "send-now", back["name"]).code == 0
    refused = cli("invitations", "send-now", short)
    assert refused.code == 1
    assert "CANCELLED (BY_CLIENT)" in refused.err
    free = cli("invitations", "create", "--channel", shop, "--purpose", "marketing", "--order", "h2",
               "--email", "eve@shop.example", "--subject", "News")  # fmt: skip
    assert free.code != 0
    assert "body" in free.err


def test_the_readme_runs_as_written(
    run: Cli, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ afterword ((?:.*\\\n)*.*)\n(.*)$", text, re.MULTILINE)
    assert len(commands) >= 6
    with served(tmp_path_factory.mktemp("readme")) as daemon:
        monkeypatch.setenv("AFTERWORD_ADDRESS", daemon.address)
        for command, answer in commands:
            done = run(*shlex.split(command.replace("\\\n", "")))
            is_mistake = answer.startswith("afterword: ")
            assert done.code == is_mistake, (command, done.err)
            assert not is_mistake or done.err == f"{answer}\n"
        until(lambda: len(list(daemon.outbox.glob("*.eml"))) == 1)
        (python,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert DEFAULT_ADDRESS in python
        exec(compile(python.replace(DEFAULT_ADDRESS, daemon.address), "README.md", "exec"), {})
        until(lambda: len(list(daemon.outbox.glob("*.eml"))) == 2)


# --- programs read it too ------------------------------------------------------------------------


def test_json_is_proto_json_everywhere(cli: Cli, shop: str) -> None:
    got = cli("channels", "get", shop, "--json")
    channel = json_format.ParseDict(got.json, channel_service_pb2.Channel())
    assert channel.time_zone == "Europe/Madrid"
    # Options that all commands have may stand anywhere.
    assert cli("--json", "channels", "get", shop).json == got.json
    lists = {
        ("channels", "list"): channel_service_pb2.ListChannelsResponse(),
        ("caps", "list"): channel_service_pb2.ListCapsResponse(),
        ("rules", "list"): rule_service_pb2.ListRulesResponse(),
        ("invitations", "list", "--channel", shop): (
            invitation_service_pb2.ListInvitationsResponse()
        ),
    }
    for command, answer in lists.items():
        json_format.ParseDict(cli(*command, "--json").json, answer)
    assert any(
        event_type["name"] == "accounts/default/eventTypes/checkout"
        for event_type in cli("event-types", "list", "--json").json["eventTypes"]
    )


def test_what_json_shows_can_be_written_back(cli: Cli, shop: str, tmp_path: Path) -> None:
    del shop
    shown = cli("rules", "get", "at-once", "--json")
    rule = {k: shown.json[k] for k in ("displayName", "family", "trigger", "steps")}
    rule["steps"].append(
        {
            "id": "reminder",
            "wait": {"days": 5, "timeOfDay": {"hours": 10}, "base": "BASE_PREVIOUS_STEP_SENT"},
            "actions": [{"medium": "MEDIUM_EMAIL"}],
        }
    )
    path = tmp_path / "rule.json"
    path.write_text(json.dumps(rule), encoding="utf-8")
    made = cli("rules", "create", "from-file", "--file", str(path))
    assert made.code == 0
    assert "email 5d after the one before at 10:00" in made.out
    assert cli("rules", "create", "from-stdin", "--file", "-", stdin=path.read_text()).code == 0


def test_a_rule_is_changed_in_part(cli: Cli) -> None:
    """C7."""
    assert not cli(
        "rules", "create", "changing", "--event", "delivery", "--after", "7d", "--at", "10:00",
        "--reminder-after", "5d", "--condition", "order.total.units >= 100",
    ).code  # fmt: skip
    changed = cli("rules", "update", "changing", "--after", "14d", "--disable-step", "reminder")
    assert changed.code == 0
    assert "invitation: email 14d after the event at 10:00" in changed.out
    assert "(switched off)" in changed.out
    assert "order.total.units >= 100" in changed.out
    assert "condition" not in cli("rules", "update", "changing", "--condition", "").out
    assert cli("rules", "update", "changing").code == 2
    assert cli("rules", "delete", "changing").code == 0
    assert cli("rules", "get", "changing").code == 1


def test_channels_caps_and_event_types_are_changed_in_part(cli: Cli) -> None:
    """A10, A32."""
    assert not cli(
        "channels", "create", "lodz", "--time-zone", "Europe/Warsaw", "--locale", "pl_PL"
    ).code
    renamed = cli("channels", "update", "lodz", "--display-name", "Łódź", "--json").json
    assert (renamed["displayName"], renamed["locale"]) == ("Łódź", "pl_PL")
    assert cli("channels", "delete", "accounts/default/channels/lodz").code == 0

    made = cli(
        "caps", "create", "weekly", "--limit", "2", "--window", "7d", "--purpose", "review",
        "--steps", "first", "--unit", "order", "--on-cap", "defer",
    )  # fmt: skip
    assert made.code == 0
    assert "2 orders in 7d, per contact and account" in made.out
    assert cli("caps", "update", "weekly", "--limit", "3", "--json").json["limit"] == 3
    assert "weekly" in cli("caps", "list").out
    assert cli("caps", "delete", "weekly").code == 0

    everybody = cli(
        "caps", "create", "all", "--subject", "all-contacts", "--limit", "100000", "--window", "1h"
    )
    assert "100,000 messages in 1h, per account, all contacts together" in everybody.out
    rule = ("rules", "create", "capped", "--event", "checkout", "--after", "0", "--subject", "Hi")
    told = cli(*rule, "--exempt-from-cap", "all", "--on-cap", "skip")
    assert "(exempt from all) (over a limit: skip)" in told.out
    refused = cli("caps", "delete", "all")
    assert refused.code == 1
    assert "rules/capped (step 'invitation')" in refused.err
    assert cli("rules", "update", "capped", "--exempt-from-cap", "none").code == 0
    assert cli("rules", "update", "capped", "--caps-of-step", "no", "--on-cap", "skip").code == 2
    assert cli("rules", "delete", "capped").code == 0
    assert cli("caps", "delete", "all").code == 0

    assert cli("event-types", "create", "gift_wrapped").code == 0
    switched = cli("event-types", "update", "gift_wrapped", "--no-active")
    assert re.search(r"^active +no$", switched.out, re.MULTILINE)


def test_every_kind_of_trigger_can_be_written(cli: Cli) -> None:
    """D9, D12, D13, D5: and is read back as a phrase."""
    more = ("--family", "automation", "--purpose", "marketing", "--after", "1h")
    for rule_id, options, phrase in (
        ("thrice", ["--purchases", "3", "--within-months", "2"], "3 purchases in 2 months"),
        ("welcome", ["--purchases", "1", "--once-per", "contact"], "first purchase"),
        ("gone", ["--dormant-after", "180d"], "no purchase for 180d"),
        ("unseen", ["--dormant-after", "9d", "--dormant-event", "store_visit"], "no store_visit"),
        ("cart", ["--debounce", "cart_updated", "--quiet-for", "90m"], "1h30m after the last"),
    ):
        made = cli("rules", "create", rule_id, *options, *more)
        assert made.code == 0, made.err
        assert re.search(rf"^event +{phrase}", made.out, re.MULTILINE), made.out
    assert "once per  " in cli("rules", "get", "welcome").out
    assert "no purchase ends what waits" in cli("rules", "get", "cart").out
    stopped = cli(
        "rules", "update", "cart", "--stop", "order_created:contact", "--stop", "return:cart"
    )
    assert "order_created by contact, return by cart" in stopped.out
    assert "warning" not in stopped.out
    emptied = cli("rules", "update", "cart", "--stop", "none", "--json").json
    assert emptied["stopWhen"] == {}
    changed = cli("rules", "update", "cart", "--event", "checkout", "--json").json
    assert changed["trigger"] == {"eventType": "checkout"}


def test_a_message_can_be_written_in_all_its_parts(cli: Cli) -> None:
    """D2, A19, B13, B22, B31, B36, C11, C17."""
    made = cli(
        "rules", "create", "parts", "--family", "notification", "--purpose", "operational",
        "--event", "shipment_delayed", "--after", "2d", "--at", "09:00", "--span-days", "3",
        "--base", "activation-date", "--recipient", "carrier", "--subject", "Late: {{order}}",
        "--preheader", "Where is it?", "--body", "Please tell us.", "--sender", "ops@shop.example",
        "--sender-name", "Ops", "--require-feature", "carriers", "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    (step,) = made.json["steps"]
    assert (step["wait"]["spanDays"], step["wait"]["base"]) == (3, "BASE_ACTIVATION_DATE")
    (action,) = step["actions"]
    assert action["sender"] == {"address": "ops@shop.example", "displayName": "Ops"}
    assert (action["preheader"], action["body"]) == ("Where is it?", "Please tell us.")
    told = cli("rules", "get", "parts").out
    assert "email to the carrier 2d after the activation date at 09:00 spread over 3 days" in told
    assert re.search(r"^needs +carriers$", told, re.MULTILINE)
    made = cli(
        "rules", "create", "products", "--family", "product-review", "--event", "checkout",
        "--after", "9d", "--questionnaire", "extended", "--comment-required",
        "--product-timing", "same-as-service",
    )  # fmt: skip
    assert "questionnaire extended, only with a text, in one message with the service" in made.out


def test_a_rule_in_yaml_is_saved_and_activated_in_one_write(
    cli: Cli, shop: str, tmp_path: Path
) -> None:
    """B24, R34: what flags cannot say stands in a file."""
    path = tmp_path / "rule.yaml"
    path.write_text(
        """
family: FAMILY_NOTIFICATION
purpose: PURPOSE_TRANSACTIONAL
trigger: {event_type: delivery}
steps:
  - id: one
    wait: {days: 7}
    condition: {expression: 'order.status != "x" && has(order.status)'}
    wait_overrides:
      - condition: {expression: 'contact.country == "PL"'}
        wait: {elapsed: 3600s}
    actions:
      - {medium: MEDIUM_EMAIL, subject: Hello, body: Hello}
""",
        encoding="utf-8",
    )
    made = cli("rules", "create", "yaml", "--file", str(path), "--activate-on", shop)
    assert made.code == 0, made.err
    assert "(1 other wait for some) if order.status" in made.out
    assert re.search(rf"^active on +accounts/default/channels/{shop}$", made.out, re.MULTILINE)
    path.write_text(path.read_text(encoding="utf-8").replace("days: 7", "days: 200"), "utf-8")
    wrong = cli("rules", "update", "yaml", "--file", str(path))
    assert (wrong.code, wrong.err.count("\n")) == (1, 1)
    assert wrong.err.startswith("afterword: rule.steps[0].wait.days ")
    path.write_text("steps: [\n", encoding="utf-8")
    wrong = cli("rules", "update", "yaml", "--file", str(path))
    assert (wrong.code, "line 2" in wrong.err) == (2, True)


def test_rules_are_paused_frozen_stopped_and_resumed(cli: Cli, shop: str) -> None:
    """D16, D17, D20."""
    assert not cli(
        "rules", "create", "verbs", "--family", "notification", "--purpose", "transactional",
        "--event", "delivery", "--after", "1d", "--subject", "S", "--body", "B",
        "--activate-on", shop,
    ).code  # fmt: skip
    for verb, state in (
        ("pause", "paused"), ("freeze", "frozen"), ("resume", "active"), ("stop", "stopped"),
        ("resume", "active"),
    ):  # fmt: skip
        done = cli("rules", verb, "verbs", "--channel", shop)
        assert done.code == 0, done.err
        assert (
            done.out
            == f"accounts/default/rules/verbs is {state} on accounts/default/channels/{shop}\n"
        )
    assert "is paused on" in cli("rules", "pause", "verbs", "--validate-only").out
    assert re.search(r"^active on .*shop$", cli("rules", "get", "verbs").out, re.MULTILINE)


def test_rules_are_duplicated_copied_and_read_in_old_revisions(cli: Cli, shop: str) -> None:
    """B11, B23, D18."""
    assert not cli("rules", "create", "origin", "--event", "picked_up", "--after", "7d").code
    made = cli("rules", "duplicate", "origin", "origin-2", "--display-name", "Second")
    assert (made.code, "Second" in made.out, "no channel yet" in made.out) == (0, True, True)
    copied = cli("rules", "copy", "origin", "--channel", shop)
    assert copied.code == 0, copied.err
    first, second = copied.out.splitlines()
    assert first.endswith(" made")
    assert second.endswith(f" is active on accounts/default/channels/{shop}")
    assert cli("rules", "copy", "origin", "--channel", shop).out == "every channel has it already\n"
    assert not cli("rules", "update", "origin", "--after", "8d").code
    again = cli("rules", "copy", "origin", "--channel", shop)
    assert "brought to the same content" in again.out
    old = cli("rules", "revision", "origin", "1")
    assert "email 7d after the event" in old.out
    assert cli("rules", "revision", "origin", "9").err.startswith("afterword: revision must be")


def test_an_edit_holds_for_what_waits_and_outcomes_are_counted(cli: Cli, shop: str) -> None:
    """B37, R40."""
    assert not cli(
        "rules", "create", "edited", "--event", "order_updated", "--after", "7d",
        "--activate-on", shop,
    ).code  # fmt: skip
    assert not cli(
        "events", "publish", "order_updated", "--channel", shop, "--id", "edit-1", "--order", "e1",
        "--email", "eve@shop.example", "--consent", "review",
    ).code  # fmt: skip
    preview = cli(
        "rules", "update", "edited", "--after", "9d", "--apply-to", "pending", "--validate-only"
    )
    assert "1 moved, 0 cancelled, 0 as before" in preview.out
    assert "what waits" not in cli("rules", "get", "edited").out
    done = cli("rules", "update", "edited", "--after", "9d", "--apply-to", "pending")
    assert "1 moved, 0 cancelled, 0 as before" in done.out
    assert "what waits" not in cli("rules", "update", "edited", "--after", "8d").out
    stats = cli("rules", "stats", "edited")
    assert re.search(r"^reviewed +0 \(0\.0%\)$", stats.out, re.MULTILINE)


def test_automations_are_listed_shown_and_taken(cli: Cli, shop: str) -> None:
    """D2, D4, D15."""
    listed = cli("automations", "list")
    assert listed.out.count("\n") >= 10
    assert "abandoned-cart" in listed.out
    assert "abandoned-cart" not in cli("automations", "list", "--category", "loyalty").out
    shown = cli("automations", "show", "abandoned-cart")
    assert re.search(r"^event +1h after the last cart_updated$", shown.out, re.MULTILINE)
    assert re.search(r"^wait .* 1h$", shown.out, re.MULTILINE)
    made = cli(
        "automations", "create", "abandoned-cart", "--id", "carts", "--set", "wait=90m",
        "--set", "subject=Still thinking?", "--activate-on", shop,
    )  # fmt: skip
    assert made.code == 0, made.err
    assert "1h30m after the last cart_updated" in made.out
    assert re.search(r"^made from +automations/abandoned-cart$", made.out, re.MULTILINE)
    wrong = cli("automations", "create", "abandoned-cart", "--set", "colour=red")
    assert wrong.code == 1
    assert "wait, sender" in wrong.err


def test_carriers_and_the_account(cli: Cli) -> None:
    """B26, C17."""
    made = cli("carriers", "create", "dhl", "--email", "claims@carrier.example")
    assert (made.code, "claims@carrier.example" in made.out) == (0, True)
    assert "+4930123456" in cli("carriers", "update", "dhl", "--phone", "+4930123456").out
    assert "claims@carrier.example" in cli("carriers", "list").out
    assert cli("carriers", "get", "dhl", "--json").json["phone"] == "+4930123456"
    assert cli("carriers", "delete", "dhl").code == 0
    assert cli("carriers", "get", "dhl").code == 1

    everything = cli("account", "show").out
    assert "product-reviews, notifications, automations" in everything
    some = cli("account", "set", "--entitlement", "automations")
    assert re.search(r"^entitlements +automations$", some.out, re.MULTILINE)
    none = cli("account", "set", "--entitlement", "none")
    assert re.search(r"^entitlements +none$", none.out, re.MULTILINE)
    words = ("product-reviews", "notifications", "automations")
    restored = cli("account", "set", *(f"--entitlement={word}" for word in words))
    assert restored.out == everything


def test_carts_and_parcels_of_a_visit_can_be_told(cli: Cli, shop: str) -> None:
    """C5, D5, D21: by options, without a file; nobody needs to be known yet."""
    told = ("--channel", shop, "--session", "visit-1", "--cart", "cart-1", "--carrier", "dhl")
    published = cli("events", "publish", "cart_updated", "--id", "cart-1-filled", *told)
    assert published.code == 0, published.err
    assert "contact" in published.out
    nobody = cli("events", "publish", "cart_updated", "--channel", shop, "--id", "nobody")
    assert (nobody.code, "session_id" in nobody.err) == (1, True)
    story = cli("explain", "--event", "cart-1-filled").out
    assert "it told of no contact" in story


def test_a_field_to_blame_is_named_once(cli: Cli, shop: str) -> None:
    """D22: also where the sentence names the rule before it."""
    cli(
        "rules", "create", "bare", "--family", "automation", "--purpose", "marketing",
        "--event", "checkout", "--after", "1h",
    )  # fmt: skip
    refused = cli("rules", "activate", "bare", "--channel", shop)
    assert refused.code == 1
    assert refused.err.count("rule.steps[0].actions[0].subject") == 1
    assert "needs a subject, or a template" in refused.err


def test_show_and_get_are_the_same(cli: Cli) -> None:
    for noun in (("templates", "plain"), ("automations", "abandoned-cart"), ("account",)):
        shown, got = (cli(noun[0], verb, *noun[1:]) for verb in ("show", "get"))
        assert (got.code, got.out) == (0, shown.out)


def test_channels_have_hours_holidays_and_switches(cli: Cli, tmp_path: Path) -> None:
    """d3, R36, R37, R43, B9."""
    made = cli(
        "channels", "create", "hours", "--time-zone", "Europe/Berlin", "--locale", "de_DE",
        "--open", "sms=mon-fri,sun 09:00-18:00", "--quiet", "whatsapp=20:00-09:00",
        "--closed-on-holidays", "sms", "--skip-when-closed", "whatsapp", "--country", "DE",
        "--region", "BY", "--closed-date", "2026-12-24", "--product-exclusivity", "per-event-type",
        "--no-checkout-is-paid", "--history-scope", "account", "--status", "bezahlt=paid",
        "--feature", "product-comments", "--reviews-off", "delivery",
    )  # fmt: skip
    assert made.code == 0, made.err
    for line in (
        "sms: only mon,tue,wed,thu,fri,sun 09:00-18:00; not on holidays",
        "whatsapp: not 20:00-09:00; not sent when closed",
        "DE-BY", "2026-12-24", "one for each event type", "is no purchase yet",
        "purchases on all channels count together", "bezahlt means paid", "product-comments",
    ):  # fmt: skip
        assert line in made.out
    changed = cli("channels", "update", "hours", "--default-hours", "--feature", "none", "--json")
    assert {"hours", "features"}.isdisjoint(changed.json)
    assert changed.json["country"] == "DE"
    path = tmp_path / "channel.yaml"
    path.write_text("display_name: From a file\nfeatures: [a, b]\n", encoding="utf-8")
    changed = cli("channels", "update", "hours", "--file", str(path), "--country", "FR", "--json")
    assert changed.json["features"] == ["a", "b"]
    assert (changed.json["displayName"], changed.json["country"]) == ("From a file", "FR")
    assert changed.json["timeZone"] == "Europe/Berlin"


def test_channels_have_a_look_of_their_own(cli: Cli) -> None:
    made = cli(
        "channels", "create", "looks", "--time-zone", "Europe/Berlin", "--locale", "de_DE",
        "--logo-url", "https://shop.example/logo.png", "--accent-color", "#2b5fd9",
        "--shop-url", "https://shop.example/", "--support-email", "hilfe@shop.example",
        "--imprint", "Shop GmbH", "--imprint", "Marktstr. 7, Berlin",
    )  # fmt: skip
    assert made.code == 0, made.err
    for line in ("https://shop.example/logo.png", "#2b5fd9", "hilfe@shop.example", "Shop GmbH"):
        assert line in made.out
    changed = cli("channels", "update", "looks", "--imprint", "none", "--logo-url", "", "--json")
    assert changed.json["branding"] == {
        "accentColor": "#2b5fd9",
        "shopUrl": "https://shop.example/",
        "supportEmail": "hilfe@shop.example",
    }
    wrong = cli("channels", "update", "looks", "--accent-color", "red")
    assert wrong.code != 0
    assert "channel.branding.accent_color" in wrong.err
    assert "#2b5fd9" in wrong.err


# --- files of events -----------------------------------------------------------------------------


def line(number: int, **more: Any) -> str:
    event = {
        "id": f"f{number}",
        "source": "file",
        "type": "checkout",
        "channel": "shop",
        "occurTime": "2026-01-01T00:00:00Z",
        "contact": {"email": f"f{number}@shop.example"},
        "order": {"reference": f"f{number}"},
    }
    return json.dumps({**event, "occurTime": now_text(), **more})


def now_text() -> str:
    return instant("now-1d").ToJsonString()


def test_a_file_of_events_is_published_in_batches(cli: Cli, shop: str, tmp_path: Path) -> None:
    del shop
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(line(number) for number in range(1_200)) + "\n", encoding="utf-8")
    done = cli("events", "publish", "--file", str(path), "--json")
    assert done.code == 0
    assert done.json == {"accepted": 1_200, "refused": 0, "unreadable": 0, "batches": 3}
    again = cli("events", "publish", "--file", str(path))
    assert (again.code, again.out) == (0, "1,200 events accepted\n")


def test_bad_lines_are_named_and_the_others_go_through(cli: Cli, shop: str) -> None:
    del shop
    lines = [line(9_001), "not JSON", "", line(9_002, type="unheard_of"), line(9_003)]
    done = cli("events", "publish", "--file", "-", stdin="\n".join(lines))
    assert done.code == 1
    assert done.out == "2 events accepted, 2 refused\n"
    problems = done.err.splitlines()
    assert problems[0].startswith("afterword: line 2: not an event")
    assert problems[1].startswith("afterword: line 4: ")
    assert len(problems) == 2


def test_the_past_is_imported_and_nothing_is_sent(
    cli: Cli, shop: str, daemon: Daemon, tmp_path: Path
) -> None:
    """D9, pitfall: re-import triggers the welcome flow."""
    path = tmp_path / "past.jsonl"
    lines = [line(number) for number in range(20_000, 20_600)]
    path.write_text("\n".join([*lines, "not JSON", line(1, channel="no")]), encoding="utf-8")
    checked = cli("events", "import", str(path), "--validate-only")
    assert checked.out == "600 events can be imported, 2 refused\n"
    done = cli("events", "import", str(path), "--json")
    assert done.code == 1
    assert done.json == {"accepted": 600, "refused": 1, "unreadable": 1, "batches": 2}
    assert done.err.startswith("afterword: line 601: not an event")
    assert "afterword: line 602: " in done.err
    path.write_text("\n".join(lines), encoding="utf-8")
    assert cli("events", "publish", "--file", str(path)).out == "600 events accepted\n"
    listed = cli("invitations", "list", "--channel", shop, "--order", "f20000", "--json")
    assert listed.json == {}


# --- what goes wrong -----------------------------------------------------------------------------


def test_the_field_to_blame_is_named_in_one_line(cli: Cli, shop: str) -> None:
    wrong = cli("channels", "create", "x", "--time-zone", "Europe/Madird", "--locale", "es_ES")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.count("\n") == 1
    assert wrong.err.startswith("afterword: channel.time_zone ")

    wrong = cli("rules", "create", "x", "--event", "checkout", "--after", "7d",
                "--condition", "order.nonsense > 1")  # fmt: skip
    assert wrong.code == 1
    assert wrong.err.startswith("afterword: rule.condition")

    wrong = cli("events", "publish", "delivery", "--channel", shop, "--email", "a@shop.example")
    assert wrong.code == 1
    assert wrong.err.startswith("afterword: event.id")

    wrong = cli("consents", "grant", "a@shop.example")
    assert wrong.code == 1
    assert wrong.err.startswith("afterword: collection_point")


def test_what_does_not_exist_is_said(cli: Cli) -> None:
    for command in (
        ("channels", "get", "nowhere"),
        ("rules", "activate", "nothing", "--channel", "nowhere"),
        ("explain", "--event", "never"),
    ):
        missing = cli(*command)
        assert missing.code == 1
        assert missing.err.startswith("afterword: ")
        assert missing.err.count("\n") == 1


def test_validate_only_changes_nothing(cli: Cli) -> None:
    checked = cli(
        "channels", "create", "dry", "--time-zone", "UTC", "--locale", "en_US", "--validate-only"
    )
    assert checked.code == 0
    assert cli("channels", "get", "dry").code == 1


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["rules", "create", "x", "--after", "7d"], "--event is missing"),
        (["rules", "create", "x", "--event", "checkout"], "--after is missing"),
        (["rules", "create", "x", "--event", "e", "--after", "7x"], "7x"),
        (["rules", "create", "x", "--event", "e", "--after", "36h", "--at", "10:00"], "whole days"),
        (["rules", "create", "x", "--file", "nowhere.json"], "nowhere.json"),
        (["rules", "create", "x", "--event", "e", "--purchases", "3", "--after", "0"], "one of"),
        (["rules", "create", "x", "--event", "e", "--after", "0", "--stop", "e:x"], "TYPE:KEY"),
        (["rules", "copy", "x"], "--all-channels"),
        (["rules", "copy", "x", "--channel", "y", "--all-channels"], "--all-channels"),
        (["automations", "create", "x", "--set", "x"], "NAME=VALUE"),
        (["channels", "update", "x"], "nothing to change"),
        (["channels", "update", "x", "--quiet", "sms=night"], "--quiet"),
        (["channels", "update", "x", "--quiet", "fax=20:00-09:00"], "fax"),
        (["channels", "update", "x", "--open", "sms=mon-fun 20:00-09:00"], "mon-fun"),
        (["channels", "update", "x", "--open", "sms=09:00-25:00"], "25:00"),
        (["channels", "update", "x", "--status", "paid"], "STATUS=MEANING"),
        (["channels", "update", "x", "--feature", "a", "--feature", "none"], "none stands alone"),
        (["channels", "update", "x", "--closed-date", "soon"], "--closed-date"),
        (["carriers", "update", "x"], "nothing to change"),
        (["account", "set"], "--entitlement"),
        (["account", "set", "--entitlement", "moon"], "moon"),
        (["events", "import", "nowhere.jsonl"], "nowhere.jsonl"),
        (["serve", "--automations-dir", "nowhere", "--grpc-listen", "127.0.0.1:0"], "nowhere"),
        (["events", "publish"], "which event"),
        (["events", "publish", "checkout", "--attribute", "x"], "NAME=VALUE"),
        (["events", "publish", "--file", "nowhere.jsonl"], "nowhere.jsonl"),
        (["invitations", "list"], "whose"),
        (["explain"], "--event"),
        (["nonsense"], "nonsense"),
        ([], "COMMAND"),
        (["serve", "--store-partitions", "3"], "store.partitions"),
        (["demo", "--orders", "0"], "0"),
    ],
)
def test_a_wrong_command_line_is_code_2(cli: Cli, command: list[str], complaint: str) -> None:
    done = cli(*command)
    assert (done.code, done.out) == (2, "")
    assert complaint in done.err.splitlines()[-1]


def test_without_a_daemon_the_way_to_start_one_is_told(cli: Cli) -> None:
    done = cli("channels", "list", "--address", "127.0.0.1:1")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "afterword: nothing answers at 127.0.0.1:1; start the daemon with: make run\n"
    )


# --- help and words ------------------------------------------------------------------------------


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


@pytest.mark.parametrize("parser", list(parsers(build_parser())), ids=lambda parser: parser.prog)
def test_every_command_and_option_is_explained(parser: argparse.ArgumentParser) -> None:
    assert parser.description
    assert parser.format_help()
    for action in parser._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action.option_strings


def test_the_default_address_is_that_of_the_daemon() -> None:
    assert Grpc().listen == DEFAULT_ADDRESS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("30s", 30), ("90m", 5_400), ("36h", 129_600), ("7d", 604_800), ("1d12h", 129_600)],
)
def test_lengths_of_time_read_as_written(text: str, seconds: int) -> None:
    assert length(text) == seconds
    assert length(length_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "7", "7 d", "-7d", "d", "1h2d", "1.5h"])
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        length(text)


@pytest.mark.parametrize("text", ["10", "25:00", "10:00+02:00", "ten"])
def test_other_times_of_day_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        time_of_day(text)


def test_instants_and_amounts_read_as_written() -> None:
    assert instant("2026-05-01").ToJsonString() == "2026-05-01T00:00:00Z"
    assert instant("2026-05-01T10:00:00+02:00").ToJsonString() == "2026-05-01T08:00:00Z"
    assert instant("now+1d").seconds - instant("now-1d").seconds in (172_800, 172_801)
    amount = money("-49.90 eur")
    assert (amount.currency_code, amount.units, amount.nanos) == ("EUR", -49, -900_000_000)
    for text in ("49.90", "EUR 49", "1,000 EUR"):
        with pytest.raises(argparse.ArgumentTypeError):
            money(text)


def test_changed_fields_tell_unset_from_empty() -> None:
    before = rule_service_pb2.Rule(display_name="x")
    after = rule_service_pb2.Rule(display_name="x", stop_when=rule_service_pb2.StopWhen())
    assert changed_fields(before, before) == []
    assert changed_fields(before, after) == ["stop_when"]
