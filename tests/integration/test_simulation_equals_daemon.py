"""What `afterword simulate` says is what a daemon does: the same file, the same events, line by line.

The daemon is a real one: its store on disk, gRPC over loopback, configured with `afterword apply`. Only
its clock is moved by hand, and its store is given the simulator's secret, so that even ids agree.
"""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from afterword.v1 import (
    consent_service_pb2,
    event_pb2,
    event_service_pb2,
    event_service_pb2_grpc,
    invitation_service_pb2,
    invitation_service_pb2_grpc,
    types_pb2,
)
from control.cli.main import main
from control.daemon import Daemon
from control.demo import cdnow, story
from control.embedded_server import EmbeddedServer
from control.settings import Fsync
from control.simulation.postbox import AcceptingPostbox
from control.simulation.world import SECRET
from core.bounds import HOUR_MS
from core.clock import ManualClock
from core.model import Medium
from core.redis_keys import store_meta
from core.redis_link import RedisLink
from tests.control.kit import settings_for

pytestmark = pytest.mark.integration

ORDERS = 90
PARENT = "accounts/default"
CONFIG = Path(__file__).parents[2] / "docs" / "examples" / "shop.yaml"
EXTRA_RULE = """
  - id: thanks
    display_name: Thanks
    family: FAMILY_NOTIFICATION
    purpose: PURPOSE_TRANSACTIONAL
    trigger: {event_type: checkout}
    condition: {expression: 'order.total.units < 30'}
    priority: 7
    steps:
      - id: thanks
        wait: {elapsed: 5400s}
        actions: [{medium: MEDIUM_EMAIL, subject: Thanks, body: "Thank you for order {{order}}."}]
      - id: text
        wait: {elapsed: 600s, base: BASE_PREVIOUS_STEP_SENT}
        actions: [{medium: MEDIUM_EMAIL, subject: Again, body: "And again."}]

activations:
  - {rule: thanks, channel: new-york}
"""


def config_text() -> str:
    """Return the example, with a fourth rule and consents of customers of the sample."""
    text = CONFIG.read_text(encoding="utf-8").replace("activations:", EXTRA_RULE.rstrip(), 1)
    for customer, state in (("0004", "GRANTED"), ("0018", "WITHDRAWN")):
        text += (
            f"  - {{contact: {{email: c{customer}@shop.example}}, purpose: PURPOSE_MARKETING, "
            f"medium: MEDIUM_EMAIL, state: STATE_{state}, collection_point: shop}}\n"
        )
    return text


def events() -> list[event_pb2.Event]:
    """Return a part of the sample, in order, with marketing consents, cancellations and a mistake."""
    found = [happening.event for happening in story.tell(cdnow.load(ORDERS))]
    for index, event in enumerate(found):
        if event.type == "checkout" and index % 3 == 0:
            event.consents.add(
                purpose=types_pb2.PURPOSE_MARKETING, medium=types_pb2.MEDIUM_EMAIL, given=True
            )
    cancelled = event_pb2.Event(
        id="cancelled", type="order_cancelled", channel=found[20].channel, order=found[20].order,
        contact=found[20].contact,
    )  # fmt: skip
    cancelled.occur_time.FromMilliseconds(found[20].occur_time.ToMilliseconds() + HOUR_MS)
    unknown = event_pb2.Event()
    unknown.CopyFrom(found[10])
    unknown.id, unknown.type = "unknown", "no_such_type"
    again = event_pb2.Event()
    again.CopyFrom(found[15])
    found += [cancelled, unknown, again]
    return sorted(found, key=lambda event: event.occur_time.ToMilliseconds())


@asynccontextmanager
async def daemon_with_secret(folder: Path, start_ms: int) -> AsyncIterator[Daemon]:
    """Run a daemon whose store has the simulator's secret."""
    settings = settings_for(folder)
    server = EmbeddedServer(Path(settings.store.data_dir), fsync=Fsync.EVERYSEC)
    await server.start()
    link = RedisLink(server.socket_path, ())
    await link.call("HSET", store_meta(), b"secret", SECRET)
    await link.close()
    await server.stop()
    daemon = Daemon(settings, clock=ManualClock(start_ms), postbox=AcceptingPostbox(Medium))
    await daemon.start()
    try:
        assert daemon.engine.store.meta.secret == SECRET
        yield daemon
    finally:
        await daemon.stop()


async def told(daemon: Daemon, happened: list[event_pb2.Event], until_ms: int) -> list[Any]:
    """Publish each event at its time, then return every invitation as the API shows it."""
    async with grpc.aio.insecure_channel(daemon.grpc_address) as channel:
        stub = event_service_pb2_grpc.EventServiceStub(channel)
        for event in happened:
            time_ms = event.occur_time.ToMilliseconds()
            if time_ms > until_ms:
                break
            await daemon.engine.advance_to(time_ms)
            try:
                await stub.Publish(event_service_pb2.PublishRequest(event=event))
            except grpc.aio.AioRpcError as error:
                assert event.id == "unknown", error  # noqa: PT017
        await daemon.engine.advance_to(until_ms)
        reader = invitation_service_pb2_grpc.InvitationServiceStub(channel)
        found: dict[str, Any] = {}
        for email in sorted({event.contact.email for event in happened}):
            request = invitation_service_pb2.ListInvitationsRequest(
                parent=PARENT,
                contact=consent_service_pb2.ContactSelector(contact=event_pb2.Contact(email=email)),
                page_size=1_000,
            )
            listed = await reader.ListInvitations(request)
            assert not listed.next_page_token
            found.update((one.name, one) for one in listed.invitations)
        return list(found.values())


def line_of(one: invitation_service_pb2.Invitation) -> dict[str, Any]:
    """Return an invitation of the API in the words of the simulator."""
    state = one.State.Name(one.state).removeprefix("STATE_")
    reason = one.Reason.Name(one.reason).removeprefix("REASON_")
    line: dict[str, Any] = {
        "invitation": one.name.rpartition("/")[2],
        "rule": one.rule.rpartition("/")[2],
        "step": one.step,
        "channel": one.channel.rpartition("/")[2],
        "contact": one.contact.rpartition("/")[2],
        "medium": types_pb2.Medium.Name(one.medium).removeprefix("MEDIUM_"),
        "planned_time": one.first_due_time.ToJsonString(),
        "settle_time": one.settle_time.ToJsonString() if one.HasField("settle_time") else None,
        "state": state,
        "reason": "" if reason == "UNSPECIFIED" or state == "SCHEDULED" else reason,
        "platform": "own",
    }
    if state == "SCHEDULED":
        line["due_time"] = one.due_time.ToJsonString()
    return line


def ms(text: str) -> int:
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1_000)


@pytest.mark.parametrize("until", [None, "1997-01-20T15:00:00Z"], ids=["to the end", "part of it"])
async def test_the_simulator_and_a_daemon_agree_line_by_line(
    tmp_path: Path, until: str | None
) -> None:
    happened = events()
    config, file, out = (tmp_path / name for name in ("shop.yaml", "events.jsonl", "out.jsonl"))
    config.write_text(config_text(), encoding="utf-8")
    file.write_text(
        "".join(f"{json_format.MessageToJson(event, indent=None)}\n" for event in happened),
        encoding="utf-8",
    )
    command = ["simulate", "--config", str(config), "--events", str(file), "--out", str(out)]
    # In a thread, because the command runs a loop of its own. 1: one event is refused.
    code = await asyncio.to_thread(main, [*command, *(["--until", until] if until else [])])
    assert code == 1
    simulated = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    start_ms = happened[0].occur_time.ToMilliseconds()
    end_ms = ms(until) if until else max(ms(line["settle_time"]) for line in simulated)
    async with daemon_with_secret(tmp_path, start_ms) as daemon:
        apply = ["apply", "-f", str(config), "--yes", "--address", daemon.grpc_address]
        assert await asyncio.to_thread(main, apply) == 0
        real = [line_of(one) for one in await told(daemon, happened, end_ms)]
    ended = [line for line in real if line["settle_time"]]
    waiting = [line for line in real if not line["settle_time"]]
    ended.sort(key=lambda line: (ms(line["settle_time"]), line["invitation"]))
    waiting.sort(key=lambda line: (ms(line["due_time"]), line["invitation"]))

    assert simulated == ended + waiting
    assert bool(waiting) == bool(until)
    kinds = {(line["state"], line["reason"]) for line in simulated}
    assert {("SENT", ""), ("SKIPPED", "NO_CONSENT")} <= kinds, "the example shows something"
    rules = {line["rule"] for line in simulated}
    assert rules == {"ask", "ask-about-products", "come-back", "thanks"}, "so does its part"
