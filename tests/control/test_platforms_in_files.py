"""Review platforms in a configuration file: applied, simulated, and taken away again (A29)."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from afterword.v1 import channel_service_pb2, event_service_pb2, simulation_service_pb2
from afterword.v1 import platform_service_pb2 as pb2
from afterword.v1 import simulation_service_pb2_grpc as simulation_grpc
from control.cli.main import main
from tests.control.kit import PARENT, Shop, event_pb

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

FILE = """
platforms:
  - id: elsewhere
    kind: KIND_CUSTOM
    review_types: [REVIEW_TYPE_SERVICE]
    review_url: https://reviews.example/shop
    needs_data_forwarding: false
channels:
  - id: sevilla
    display_name: Sevilla
    time_zone: Europe/Madrid
    locale: es_ES
    email_sender: {address: hola@shop.example}
    consent_mode: CONSENT_MODE_SHOP_ATTESTS
    diversion: {weights: [{platform: accounts/default/platforms/elsewhere, percent: 50}]}
rules:
  - id: ask-in-sevilla
    display_name: Ask
    family: FAMILY_SERVICE_REVIEW
    trigger: {event_type: checkout}
    steps: [{id: invitation, wait: {days: 7}, actions: [{medium: MEDIUM_EMAIL}]}]
activations:
  - {rule: ask-in-sevilla, channel: sevilla}
"""


async def test_a29_platforms_are_applied_simulated_and_pruned(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A29: applying again changes nothing, the salt included; a simulation of what the daemon has draws
    for the same platforms, the same every time."""

    async def apply(text: str, *options: str) -> str:
        file = tmp_path / "shop.yaml"
        file.write_text(text, encoding="utf-8")
        command = ["apply", "-f", str(file), "--yes", "--address", shop.daemon.grpc_address]
        code = await asyncio.to_thread(main, [*command, *options])
        told = capsys.readouterr()
        assert code == 0, told
        return told.out + told.err

    await apply(FILE)
    name = f"{PARENT}/channels/sevilla"
    channel = await shop.channels.GetChannel(channel_service_pb2.GetChannelRequest(name=name))
    assert len(channel.diversion_salt) == 32
    assert "nothing to change" in await apply(FILE)
    again = await shop.channels.GetChannel(channel_service_pb2.GetChannelRequest(name=name))
    assert again == channel

    stub = simulation_grpc.SimulationServiceStub(shop.channel)
    request = simulation_service_pb2.SimulateRequest(
        parent=PARENT, use_current_configuration=True,
        events=[event_pb(name) for _ in range(40)],
    )  # fmt: skip
    answers = []
    for _ in range(2):
        parts = [part async for part in stub.Simulate(request)]
        answers.append([one.platform for part in parts for one in part.outcomes])
    assert answers[0] == answers[1]
    counts = Counter(answers[0])
    assert set(counts) == {"own", "elsewhere"}
    assert sum(counts.values()) == 40

    await apply(FILE[FILE.index("channels:") :].replace(_diversion(), ""), "--prune")
    listed = await shop.platforms.ListPlatforms(pb2.ListPlatformsRequest(parent=PARENT))
    assert not listed.platforms
    published = await shop.events.Publish(event_service_pb2.PublishRequest(event=event_pb(name)))
    assert published.result.invitations


def _diversion() -> str:
    return next(line + "\n" for line in FILE.splitlines() if "diversion:" in line)
