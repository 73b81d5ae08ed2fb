"""Simulation: what a file may say, what happens when, and what comes out."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf import json_format, timestamp_pb2

from afterword.v1 import (
    event_pb2,
    invitation_service_pb2,
    simulation_service_pb2,
    simulation_service_pb2_grpc,
)
from control.cli.main import main
from control.demo import cdnow, story
from control.services import simulation_service
from control.simulation import event_file, event_json, outcomes, running
from control.simulation.config import ConfigFile
from control.simulation.simulator import Cancelled, Result
from core.clock import monotonic_ns
from core.errors import AfterwordError, FailedPrecondition, InvalidField, LimitExceeded
from tests.control.kit import PARENT, Shop, event_pb, refused

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SHOP = """
channels:
  - id: madrid
    display_name: Madrid
    time_zone: Europe/Madrid
    locale: es_ES
    email_sender: {address: hola@shop.example}
    consent_mode: CONSENT_MODE_SHOP_ATTESTS
rules:
  - id: ask
    display_name: Ask
    family: FAMILY_SERVICE_REVIEW
    trigger: {event_type: checkout}
    steps:
      - id: invitation
        wait: {days: 7, time_of_day: {hours: 10}}
        actions: [{medium: MEDIUM_EMAIL}]
activations:
  - {rule: ask, channel: madrid}
"""
CAP = """
caps:
  - {id: one, scope: SCOPE_ACCOUNT, limit: 1, window: 864000s, on_cap: ON_CAP_SKIP}
"""


def read(text: str) -> ConfigFile:
    return ConfigFile.read("shop.yaml", text.encode(), "default")


def order(number: int, time: str, email: str = "ana@shop.example", **more: Any) -> str:
    """Return a checkout as a line of a file."""
    return json.dumps({
        "id": f"order-{number}", "type": "checkout", "channel": "madrid", "occurTime": time,
        "contact": {"email": email}, "order": {"reference": str(number)}, **more,
    })  # fmt: skip


def simulated(text: str, *lines: str, until_ms: int | None = None) -> Result:
    config = read(text)
    events = event_file.read([line.encode() for line in lines], config.account)
    assert not events.problems
    return running.run(config.configuration, events.events, until_ms)


def brief(result: Result) -> list[tuple[str, str, str, str | None]]:
    return [(line.planned_time, line.state, line.reason, line.settle_time) for line in result.lines]


# --- the file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("time_zone: Europe", "time_zon: Europe", "shop.yaml:5: channels[0].time_zon: 'time_zon' is "
         "no field here; did you mean 'time_zone'?"),
        ("days: 7", "days: seven", "shop.yaml:16: rules[0].steps[0].wait.days: "),
        ("MEDIUM_EMAIL", "EMAIL", "shop.yaml:17: rules[0].steps[0].actions[0].medium: "),
        ("  - id: ask", "  - idd: ask", "shop.yaml:10: rules[0].idd: "),
        ("  - id: ask", "  - {}\n  - id: ask", "shop.yaml:10: rules[0]: a resource has either"),
        ("  - id: ask", "  - name: accounts/other/rules/ask", "shop.yaml:10: rules[0]: the name reads"),
        ("channels:", "channel:", "shop.yaml:2: channel: 'channel' is no field here; did you mean"),
        ("steps:", "steps: 3\n    stop:", "shop.yaml:14: rules[0].steps: this is a list"),
        ("Europe/Madrid", "Europe/Madrid\n    time_zone: x", "shop.yaml: line 6: the key 'time_zone' "
         "is there twice, first in line 5"),
        ("Europe/Madrid", "&zone Europe/Madrid", "shop.yaml: line 5: anchors"),
        ("Europe/Madrid", "*zone", "shop.yaml: line 5: aliases"),
        ("Europe/Madrid", "!!str Europe/Madrid", "shop.yaml: line 5: tags"),
        ("days: 7", "days: [7", "shop.yaml: line "),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_line_and_field(before: str, after: str, told: str) -> None:
    """D3."""
    assert before in SHOP
    with pytest.raises(InvalidField) as caught:
        read(SHOP.replace(before, after, 1))
    assert caught.value.message.startswith(told)


@pytest.mark.parametrize(
    ("before", "after", "line", "told"),
    [
        ("Europe/Madrid", "Mars/Olympus", 5, "channels[0] (accounts/default/channels/madrid): "
         "channel.time_zone must be the IANA name"),
        ("days: 7", "days: 700", 16, "rules[0] (accounts/default/rules/ask): rule.steps[0].wait.days"),
        ("event_type: checkout", "event_type: chekout", 13, "rules[0] (accounts/default/rules/ask): "),
        ("rule: ask,", "rule: aks,", 19, "accounts/default/rules/aks on "),
    ],
)  # fmt: skip
def test_what_the_api_refuses_is_told_with_its_line(
    before: str, after: str, line: int, told: str
) -> None:
    config = read(SHOP.replace(before, after, 1))
    with pytest.raises(AfterwordError) as caught:
        running.run(config.configuration, [])
    assert config.blame(caught.value).message.startswith(f"shop.yaml:{line}: {told}")


def test_two_rules_for_one_place_are_refused() -> None:
    """A25, R37: of two service rules for one event type only one can be active."""
    rule = SHOP[SHOP.index("  - id: ask") : SHOP.index("activations:")]
    text = SHOP.replace("activations:", rule.replace("ask", "also") + "activations:")
    text += "  - {rule: also, channel: madrid}\n"
    with pytest.raises(FailedPrecondition, match=r"activations\[0\]: .* would be SUPERSEDED"):
        running.run(read(text).configuration, [])


def test_text_that_looks_like_something_else_stays_text() -> None:
    text = SHOP.replace("display_name: Madrid", "display_name: 10:00").replace("es_ES", "no")
    channel = read(text).configuration.channels[0]
    assert (channel.display_name, channel.locale) == ("10:00", "no")


def test_both_spellings_of_a_field_are_taken_and_json_too() -> None:
    config = read(SHOP.replace("time_zone", "timeZone"))
    as_json = json.dumps({
        "channels": [{"name": "accounts/default/channels/madrid", "displayName": "Madrid"}]
    })  # fmt: skip
    assert config.configuration == read(SHOP).configuration
    assert read(as_json).configuration.channels[0].display_name == "Madrid"


def test_deep_and_large_files_are_refused_at_once() -> None:
    began_ns = monotonic_ns()
    with pytest.raises(InvalidField, match="levels"):
        read("[" * 1_000_000)
    with pytest.raises(LimitExceeded):
        read("a" * 5_000_000)
    assert monotonic_ns() - began_ns < 5_000_000_000


def test_of_the_shipped_caps_none_holds_unless_it_is_in_the_file() -> None:
    """R24: simulate uses only the caps in its config."""
    lines = [order(n, f"2026-03-0{n}T12:00:00Z") for n in range(1, 5)]
    assert [line.state for line in simulated(SHOP, *lines).lines] == ["SENT"] * 4
    states = [line.state for line in simulated(SHOP + CAP, *lines).lines]
    assert states == ["SENT", "SKIPPED", "SKIPPED", "SKIPPED"]


@pytest.mark.parametrize(
    "change",
    [
        {}, {"occurTime": "2026-03-01T08:00:00.123456Z"}, {"occurTime": "2026-03-01T08:00:00+02:00"},
        {"occurTime": "2026-03-01T24:00:00Z"}, {"occurTime": "2026-02-30T08:00:00Z"},
        {"occur_time": "2026-03-01T08:00:00Z"}, {"channel": 5}, {"channel": None}, {"locale": "é"},
        {"order": {"total": {"currencyCode": "EUR", "units": "49", "nanos": 5}}},
        {"order": {"total": {"units": 49}}}, {"order": {"total": {"units": "x"}}},
        {"order": {"total": {"nanos": 2**31}}}, {"order": {"items": [{"quantity": 2.0}, {}]}},
        {"order": {"items": {}}}, {"order": {"items": [{"tags": ["a", "b"]}]}}, {"order": 3},
        {"review": {"kind": "KIND_SERVICE", "rating": 4, "hasComment": True}},
        {"review": {"kind": 1}}, {"review": {"kind": "NO"}}, {"review": {"hasComment": 1}},
        {"attributes": {"a": [1, {"b": None}]}}, {"activationDate": {"year": 2026, "month": 3}},
        {"consents": [{"purpose": "PURPOSE_REVIEW", "evidenceTime": "1970-01-01T00:00:00Z"}]},
        {"unknown": 1}, {"shipment": {}}, {"contact": {"address": {"lines": ["a", 1]}}},
    ],
    ids=str,
)  # fmt: skip
def test_the_fast_parser_agrees_with_the_general_one(change: dict[str, Any]) -> None:
    line = json.dumps({**json.loads(order(1, "2026-03-01T08:00:00Z")), **change}).encode()
    try:
        general = json_format.Parse(line, event_pb2.Event())
    except json_format.ParseError as error:
        with pytest.raises(json_format.ParseError, match=re.escape(str(error))):
            event_json.parse(line)
    else:
        assert event_json.parse(line) == general


def test_the_fast_parser_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_json.json_format, "Parse", None)
    for happening in story.tell(cdnow.load(100)):
        line = json_format.MessageToJson(happening.event, indent=None).encode()
        assert event_json.parse(line) == happening.event


def test_a_key_that_comes_twice_is_refused() -> None:
    found = event_file.read([b'{"id": "1", "id": "2"}', b"{" * 100_000, b'"x"', b"\xff"], "default")
    assert [problem.number for problem in found.problems] == [1, 2, 3, 4]


# --- what happens when ----------------------------------------------------------------------------


def test_an_event_meets_the_rule_at_its_own_time() -> None:
    """A19: seven days later at 10:00 in the channel's zone, over the change to summer time."""
    result = simulated(SHOP, order(1, "2026-03-25T12:00:00.250Z"))
    at = "2026-04-01T08:00:00Z"
    assert brief(result) == [(at, "SENT", "", at)]
    assert result.dispositions == {"PLANNED": 1}


def test_the_order_of_the_lines_does_not_matter_but_within_one_instant() -> None:
    lines = [order(n, f"2026-03-0{n}T12:00:00Z") for n in range(1, 6)]
    assert simulated(SHOP + CAP, *lines).lines == simulated(SHOP + CAP, *reversed(lines)).lines


def test_the_same_input_gives_the_same_bytes() -> None:
    lines = [json_format.MessageToJson(h.event, indent=None) for h in story.tell(cdnow.load(150))]
    config = ConfigFile.read("shop.yaml", (EXAMPLES / "shop.yaml").read_bytes(), "default")
    texts = set()
    for _ in range(2):
        events = event_file.read([line.encode() for line in lines], "default")
        result = running.run(config.configuration, events.events)
        texts.add(b"".join(outcomes.json_line(line) for line in result.lines))
    assert len(texts) == 1
    assert len(texts.pop().splitlines()) > 300


def test_lines_are_in_order_and_have_exactly_these_fields() -> None:
    lines = [order(n, f"2026-03-0{n}T12:00:00Z", f"c{n}@shop.example") for n in (2, 1, 3)]
    result = simulated(SHOP, *lines)
    dumped = [json.loads(outcomes.json_line(line)) for line in result.lines]
    assert [*dumped[0]] == [
        "invitation", "rule", "step", "channel", "contact", "medium", "planned_time",
        "settle_time", "state", "reason", "platform",
    ]  # fmt: skip
    first = dumped[0]
    assert (first["rule"], first["medium"], first["platform"]) == ("ask", "EMAIL", "own")


def test_what_ends_at_one_instant_is_told_by_name() -> None:
    text = SHOP.replace("SHOP_ATTESTS", "REQUIRE_EVIDENCE")
    at = "2026-03-01T12:00:00Z"
    result = simulated(text, *(order(n, at, f"c{n}@shop.example") for n in range(12)))
    assert {(line.settle_time, line.reason) for line in result.lines} == {(at, "NO_CONSENT")}
    names = [line.invitation for line in result.lines]
    assert names == sorted(names)


def test_until_stops_the_clock_and_tells_what_waits() -> None:
    until_ms = 1_773_000_000_000  # 2026-03-08T20:00:00Z
    lines = [order(n, f"2026-03-0{n}T08:00:00Z", f"c{n}@shop.example") for n in (1, 5, 9)]
    result = simulated(SHOP, *lines, until_ms=until_ms)
    sent, waits = result.lines
    assert (sent.state, sent.settle_time) == ("SENT", "2026-03-08T09:00:00Z")
    assert (waits.state, waits.settle_time) == ("SCHEDULED", None)
    assert waits.due_time == waits.planned_time == "2026-03-12T09:00:00Z"
    assert (result.late_event_count, result.end_ms) == (1, until_ms)


def test_without_until_everything_ends() -> None:
    text = SHOP.replace("days: 7, time_of_day: {hours: 10}", "days: 180")
    result = simulated(text, order(1, "2026-03-01T08:00:00Z"))
    assert brief(result) == [("2026-08-28T08:00:00Z", "SENT", "", "2026-08-28T08:00:00Z")]


def test_a_withdrawal_in_the_file_holds_from_the_first_event() -> None:
    text = SHOP + (
        "consents:\n  - {contact: {email: ana@shop.example}, purpose: PURPOSE_REVIEW, "
        "medium: MEDIUM_EMAIL, state: STATE_WITHDRAWN}\n"
    )
    lines = [order(1, "2026-03-01T08:00:00Z"), order(2, "2026-03-01T08:00:00Z", "bo@shop.example")]
    result = simulated(text, *lines)
    assert sorted((line.state, line.reason) for line in result.lines) == [
        ("SENT", ""), ("SKIPPED", "CONSENT_WITHDRAWN"),
    ]  # fmt: skip


def test_a_grant_needs_no_box_at_the_checkout() -> None:
    text = SHOP.replace("SHOP_ATTESTS", "REQUIRE_EVIDENCE")
    grant = (
        "consents:\n  - {contact: {email: ana@shop.example}, purpose: PURPOSE_REVIEW, "
        "medium: MEDIUM_EMAIL, collection_point: till, channel: madrid}\n"
    )
    event = order(1, "2026-03-01T08:00:00Z")
    assert simulated(text, event).lines[0].reason == "NO_CONSENT"
    assert simulated(text + grant, event).lines[0].state == "SENT"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", None])
def test_impossible_times_are_refused_and_the_others_go_on(time: str | None) -> None:
    bad = json.loads(order(2, time or ""))
    if time is None:
        del bad["occurTime"]
    result = simulated(SHOP, json.dumps(bad), order(1, "2026-03-01T08:00:00Z"))
    assert [refusal.index for refusal in result.refusals] == [0]
    assert "occur_time" in result.refusals[0].error.message
    assert len(result.lines) == 1


def test_nothing_happens_without_events() -> None:
    result = simulated(SHOP)
    assert (result.lines, result.dispositions, result.event_count) == ([], {}, 0)


# --- the command ----------------------------------------------------------------------------------


def test_the_command_writes_lines_and_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events, out = tmp_path / "events.jsonl", tmp_path / "out.jsonl"
    good = order(1, "2026-03-01T08:00:00Z")
    unknown = json.loads(order(3, "2026-03-01T08:00:00Z")) | {"type": "no_such_type"}
    events.write_text(f"{good}\n\nnot json\n{json.dumps(unknown)}\n", encoding="utf-8")
    config = tmp_path / "shop.yaml"
    config.write_text(SHOP, encoding="utf-8")
    code = main(["simulate", "--config", str(config), "--events", str(events), "--out", str(out)])
    told = capsys.readouterr()
    assert code == 1
    assert told.out == ""
    assert [json.loads(line)["state"] for line in out.read_text().splitlines()] == ["SENT"]
    for words in ("3 events", "planned 1", "refused 1", "unreadable 1", "1 invitation", "sent 1"):
        assert words in re.sub(r" +", " ", told.err)
    assert f"{events}:3: not an event" in told.err
    assert f'{events}:4: "no_such_type" is no event type' in told.err


def test_the_command_tells_a_wrong_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text(SHOP.replace("Europe/Madrid", "Mars/Olympus"), encoding="utf-8")
    events = EXAMPLES / "events.jsonl"
    assert main(["simulate", "--config", str(config), "--events", str(events)]) == 1
    assert f"{config}:5: channels[0]" in capsys.readouterr().err
    assert main(["simulate", "--config", "missing.yaml", "--events", str(events)]) == 2


def test_the_example_in_the_documents_is_what_comes_out(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    root = EXAMPLES.parents[1]
    monkeypatch.chdir(root)
    document = (root / "docs" / "SIMULATION.md").read_text(encoding="utf-8")
    command = ["--config", "docs/examples/shop.yaml", "--events", "docs/examples/events.jsonl"]
    assert main(["simulate", *command]) == 0
    told = capsysbinary.readouterr()
    shown = [line for line in document.splitlines() if line.startswith('{"invitation"')]
    assert shown == told.out.decode().splitlines()
    assert re.sub(r"took [\d.]+ s", "", told.err.decode().strip()) in re.sub(
        r"took [\d.]+ s", "", document
    )


# --- the service ----------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stub(shop: Shop) -> simulation_service_pb2_grpc.SimulationServiceStub:
    return simulation_service_pb2_grpc.SimulationServiceStub(shop.channel)


async def ask(
    stub: simulation_service_pb2_grpc.SimulationServiceStub, **fields: Any
) -> tuple[list[simulation_service_pb2.SimulatedOutcome], simulation_service_pb2.SimulationSummary]:
    """Simulate over gRPC; return all outcomes and the summary."""
    request = simulation_service_pb2.SimulateRequest(parent=PARENT, **fields)
    found: list[simulation_service_pb2.SimulatedOutcome] = []
    parts = [part async for part in stub.Simulate(request)]
    assert [part.HasField("summary") for part in parts] == [False] * (len(parts) - 1) + [True]
    for part in parts:
        found += part.outcomes
    return found, parts[-1].summary


def checkouts(channel: str, count: int) -> list[event_pb2.Event]:
    return [event_pb(channel) for _ in range(count)]


@pytest.mark.integration
@pytest.mark.asyncio(loop_scope="module")
async def test_the_service_answers_like_the_command(
    stub: simulation_service_pb2_grpc.SimulationServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation_service, "OUTCOMES_IN_PART", 2)
    configuration = read(SHOP).configuration
    events = checkouts("accounts/default/channels/madrid", 5)
    events[3].type = "no_such_type"
    found, summary = await ask(stub, configuration=configuration, events=events)
    alone = await asyncio.to_thread(running.run, configuration, events)
    assert [one.invitation.rpartition("/")[2] for one in found] == [
        line.invitation for line in alone.lines
    ]
    sent = invitation_service_pb2.Invitation.STATE_SENT
    assert [(one.state, one.rule) for one in found] == [(sent, f"{PARENT}/rules/ask")] * 4
    assert found[0].settle_time.ToJsonString() == alone.lines[0].settle_time
    assert (summary.event_count, summary.refused_count) == (5, 1)
    assert [(one.index, one.status.code) for one in summary.refused] == [(3, 3)]
    assert [(one.state, one.count) for one in summary.outcomes] == [(sent, 4)]


@pytest.mark.integration
@pytest.mark.asyncio(loop_scope="module")
async def test_the_present_configuration_can_be_simulated_and_nothing_comes_of_it(
    shop: Shop, stub: simulation_service_pb2_grpc.SimulationServiceStub
) -> None:
    channel = await shop.create_channel()
    rule = await shop.create_rule(channel)
    partitions = range(shop.daemon.engine.store.meta.partition_count)
    before = await shop.daemon.engine.store.counters(partitions)
    revision = shop.daemon.registry.snapshot.revision
    until = timestamp_pb2.Timestamp()
    until.FromMilliseconds(shop.clock.now_ms() + 1_000)
    events = checkouts(channel, 2)
    found, _ = await ask(stub, use_current_configuration=True, events=events, until_time=until)
    assert {one.rule for one in found} == {rule}
    assert all(one.HasField("due_time") and not one.HasField("settle_time") for one in found)
    assert await shop.daemon.engine.store.counters(partitions) == before
    assert shop.daemon.registry.snapshot.revision == revision
    assert not shop.outbox.letters


@pytest.mark.integration
@pytest.mark.asyncio(loop_scope="module")
async def test_the_service_names_what_is_wrong(
    stub: simulation_service_pb2_grpc.SimulationServiceStub,
) -> None:
    configuration = read(SHOP).configuration
    configuration.rules[0].steps[0].wait.days = 700
    with refused() as refusal:
        await ask(stub, configuration=configuration)
    assert refusal.field == "configuration.rules[0].steps[0].wait.days"
    with refused() as refusal:
        await ask(stub, configuration=configuration, use_current_configuration=True)
    assert refusal.field == "configuration"
    configuration.rules[0].name = "ask"
    with refused() as refusal:
        await ask(stub, configuration=configuration)
    assert refusal.field == "configuration.rules[0].name"
    configuration.account = "other"
    with refused() as refusal:
        await ask(stub, configuration=configuration)
    assert refusal.field == "configuration.account"


@pytest.mark.integration
@pytest.mark.asyncio(loop_scope="module")
async def test_more_events_than_the_bound_are_refused(
    stub: simulation_service_pb2_grpc.SimulationServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation_service, "EVENTS_MAX", 3)
    with refused() as refusal:
        await ask(stub, use_current_configuration=True, events=checkouts("c", 4))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED",
    )  # fmt: skip


@pytest.mark.integration
@pytest.mark.asyncio(loop_scope="module")
async def test_the_daemon_answers_while_it_simulates_and_a_caller_may_leave(
    shop: Shop,
    stub: simulation_service_pb2_grpc.SimulationServiceStub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[str] = []
    real_run = running.run

    def watched(*arguments: Any) -> Result:
        try:
            return real_run(*arguments)
        except Cancelled:
            ends.append("cancelled")
            raise

    monkeypatch.setattr(running, "run", watched)
    configuration = read(SHOP).configuration
    events = checkouts("accounts/default/channels/madrid", 4_000)
    for index, event in enumerate(events):
        event.occur_time.seconds += index
    request = simulation_service_pb2.SimulateRequest(
        parent=PARENT, configuration=configuration, events=events
    )
    call = stub.Simulate(request)
    await asyncio.sleep(0)
    calls = 0
    while not call.done() and calls < 20:
        await shop.create_channel()
        calls += 1
    assert calls == 20, "20 channels take less time than 4,000 events"
    call.cancel()
    # The next one waits for its turn, which the thread gives up.
    found, _ = await ask(stub, configuration=configuration, events=checkouts("x", 1))
    assert (found, ends) == ([], ["cancelled"])


def test_a_simulation_ends_when_nobody_waits_for_it() -> None:
    config = read(SHOP)
    event = json_format.Parse(order(1, "2026-03-01T08:00:00Z"), event_pb2.Event())
    with pytest.raises(Cancelled):
        running.run(config.configuration, [event], None, lambda: True)


# --- how fast -------------------------------------------------------------------------------------


RUNS = 3
"""The best counts: what else the machine does is no matter of ours."""


@pytest.mark.slow
def test_the_whole_sample_with_three_rules_takes_less_than_ten_seconds(tmp_path: Path) -> None:
    """6,919 real orders, three rules, from files to file, in a process of its own."""
    events, out = tmp_path / "events.jsonl", tmp_path / "out.jsonl"
    lines = [json_format.MessageToJson(h.event, indent=None) for h in story.tell(cdnow.load())]
    events.write_text("\n".join(lines), encoding="utf-8")
    assert sum('"checkout"' in line for line in lines) == 6_919
    command = [
        sys.executable, "-m", "control.cli.main", "simulate", "--config",
        str(EXAMPLES / "shop.yaml"), "--events", str(events), "--out", str(out),
    ]  # fmt: skip
    seconds = []
    for _ in range(RUNS):
        began_ns = monotonic_ns()
        assert asyncio.run(_run(command)) == 0
        seconds.append((monotonic_ns() - began_ns) / 1e9)
    rules = {json.loads(line)["rule"] for line in out.read_text().splitlines()}
    assert rules == {"ask", "ask-about-products", "come-back"}
    assert min(seconds) < 10, seconds


async def _run(command: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(*command, cwd=EXAMPLES.parents[1])
    return await process.wait()
