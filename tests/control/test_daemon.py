"""The daemon as a whole: coming and going, its pages over HTTP, and mail that really leaves."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from msgspec.structs import replace

from afterword.v1 import event_service_pb2, invitation_service_pb2, rule_service_pb2
from control import serve
from control.daemon import Daemon
from control.server import SERVICES
from control.settings import Grpc
from core.clock import ManualClock, SystemClock
from core.errors import FailedPrecondition, InvalidField
from tests.control.kit import (
    NOW_MS,
    Client,
    Shop,
    event_pb,
    open_shop,
    refused,
    settings_for,
    step_pb,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def fetch(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"http://{address}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def page(shop: Shop, path: str, method: str = "GET") -> tuple[int, str]:
    return await asyncio.to_thread(fetch, shop.daemon.http_address, path, method)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path_factory.mktemp("shop")) as opened:
        yield opened


# --- HTTP -----------------------------------------------------------------------------------------


async def test_probes_and_strangers(shop: Shop) -> None:
    assert await page(shop, "/healthz") == (200, "ok\n")
    assert await page(shop, "/readyz?verbose=1") == (200, "ready\n")
    assert (await page(shop, "/healthz", "HEAD")) == (200, "")
    assert (await page(shop, "/../etc/passwd"))[0] == 404
    assert (await page(shop, "/metrics", "POST"))[0] == 405


@pytest.mark.parametrize("request_", [b"\r\n\r\n", b"GET\r\n\r\n", b"GET / SMTP\r\n\r\n"])
async def test_rubbish_over_http_is_answered(shop: Shop, request_: bytes) -> None:
    host, port = shop.daemon.http_address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_)
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_request_without_end_is_cut_off(shop: Shop) -> None:
    host, port = shop.daemon.http_address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
    assert await reader.read() == b""
    writer.close()


async def test_metrics_keep_the_law(shop: Shop) -> None:
    """R6."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    bad = event_pb(channel, type="")
    await shop.events.BatchPublish(
        event_service_pb2.BatchPublishRequest(
            parent="accounts/default", events=[event_pb(channel), event_pb(channel), bad]
        )
    )
    status, text = await page(shop, "/metrics")
    assert status == 200
    values = {
        match.group(1): float(match.group(2))
        for match in re.finditer(r"^(afterword_\S+) (\S+)$", text, re.MULTILINE)
    }
    planned = values["afterword_store_invitations_planned_total"]
    pending = sum(
        value for name, value in values.items() if name.startswith("afterword_invitations_pending")
    )
    ended = sum(
        value
        for name, value in values.items()
        if name.startswith("afterword_invitations_ended_total")
    )
    assert planned == pending + ended == 2
    assert values["afterword_invitations_imbalance"] == 0
    assert values["afterword_events_received_total"] == 3
    assert values["afterword_events_refused_total"] == 1
    assert values['afterword_store_events_total{disposition="planned"}'] == 2
    assert values["afterword_store_up"] == 1
    assert values['afterword_dispatch_lag_seconds_bucket{le="+Inf"}'] == 0
    assert 'afterword_build_info{durability="memory",partitions="4",version="' in text
    assert "example.com" not in text


# --- gRPC -----------------------------------------------------------------------------------------


async def test_reflection_names_every_service(shop: Shop) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(shop.channel)
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    )
    answer = await call.read()
    names = {service.name for service in answer.list_services_response.service}
    assert set(SERVICES) <= names
    call.cancel()


async def test_health_of_a_service_that_is_not_there(shop: Shop) -> None:
    stub = health_pb2_grpc.HealthStub(shop.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_draining_daemon_says_so(shop: Shop) -> None:
    server = shop.daemon._server
    assert server is not None
    await server.refuse_new()
    try:
        assert (await page(shop, "/readyz"))[0] == 503
        assert (await page(shop, "/healthz"))[0] == 200
        health = await health_pb2_grpc.HealthStub(shop.channel).Check(
            health_pb2.HealthCheckRequest()
        )
        assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
        with refused() as refusal:
            await shop.events.ListEventTypes(event_service_pb2.ListEventTypesRequest())
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.reason == "NOT_SERVING"
    finally:
        server.gate.is_open = True


async def test_a_bug_tells_nothing_of_its_inside(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError("maria@example.com")

    monkeypatch.setattr(shop.daemon.engine.reader, "get", broken)
    with refused() as refusal:
        await shop.invitations.GetInvitation(
            invitation_service_pb2.GetInvitationRequest(
                name=f"accounts/default/invitations/{'0' * 32}"
            )
        )
    assert refusal.code is grpc.StatusCode.INTERNAL
    assert (refusal.reason, refusal.problem.message) == ("INTERNAL", "internal error")
    assert "KeyError" in caplog.text
    assert "maria" not in caplog.text


# --- life -----------------------------------------------------------------------------------------


async def test_starting_and_stopping_twice_is_once(tmp_path: Path) -> None:
    daemon = Daemon(settings_for(tmp_path), clock=ManualClock(NOW_MS))
    await daemon.stop()
    await daemon.start()
    address = daemon.grpc_address
    await daemon.start()
    assert daemon.grpc_address == address
    await daemon.stop()
    await daemon.stop()
    await daemon.start()
    assert daemon.is_ready
    await daemon.stop()
    assert not daemon.is_ready


async def test_what_was_accepted_is_there_after_a_restart(tmp_path: Path) -> None:
    """A4, B3."""
    async with open_shop(tmp_path) as shop:
        channel = await shop.create_channel()
        await shop.create_rule(channel)
        event = event_pb(channel)
        first = await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    async with open_shop(tmp_path) as shop:
        again = await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
        assert again.result.disposition == event_service_pb2.EventResult.DISPOSITION_DUPLICATE
        assert again.result.invitations == first.result.invitations
        await shop.daemon.engine.advance_to(NOW_MS + 8 * 86_400_000)
        assert [letter.address for letter in shop.outbox.letters] == [event.contact.email]


async def test_a_second_daemon_is_refused(shop: Shop, tmp_path: Path) -> None:
    data = shop.daemon.settings.store
    second = Daemon(replace(settings_for(tmp_path), store=data), clock=ManualClock(NOW_MS))
    with pytest.raises(FailedPrecondition) as caught:
        await second.start()
    assert "another daemon" in str(caught.value)
    other = Daemon(
        replace(settings_for(tmp_path), grpc=Grpc(listen=shop.daemon.grpc_address)),
        clock=ManualClock(NOW_MS),
    )
    with pytest.raises(InvalidField) as refused_address:
        await other.start()
    assert refused_address.value.field == "grpc.listen"


async def test_a_virtual_store_is_not_opened_by_the_real_clock(tmp_path: Path) -> None:
    async with open_shop(tmp_path):
        pass
    with pytest.raises(FailedPrecondition):
        await Daemon(settings_for(tmp_path)).start()


async def test_strangers_are_not_listened_to_without_tokens(tmp_path: Path) -> None:
    settings = replace(settings_for(tmp_path), grpc=Grpc(listen="0.0.0.0:0"))
    with pytest.raises(InvalidField) as caught:
        await Daemon(settings).start()
    assert caught.value.field == "grpc.listen"


async def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    settings = replace(settings_for(tmp_path), grpc=Grpc(listen=f"unix:{path}"))
    async with open_shop(tmp_path, settings) as shop:
        assert shop.daemon.grpc_address == f"unix:{path}"
        assert await shop.create_channel()


async def test_a_crash_of_the_embedded_server_is_survived(tmp_path: Path) -> None:
    """pitfall:stuck-after-reconnect."""
    async with open_shop(tmp_path) as shop:
        channel = await shop.create_channel()
        await shop.create_rule(channel)
        embedded = shop.daemon.embedded
        assert embedded is not None
        for crash in range(1, 3):
            assert embedded.pid is not None
            os.kill(embedded.pid, signal.SIGKILL)
            # Sent while the server is away: the acceptor is patient.
            answer = await shop.events.Publish(
                event_service_pb2.PublishRequest(event=event_pb(channel))
            )
            assert len(answer.result.invitations) == 1
            assert embedded.restarts == crash


async def test_tls_is_spoken(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(  # noqa: ASYNC221
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj",
            "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    secured = Grpc(listen="localhost:0", tls_cert_file=str(cert), tls_key_file=str(key))
    settings = replace(settings_for(tmp_path), grpc=secured)
    async with open_shop(tmp_path, settings) as shop:
        trusted = grpc.ssl_channel_credentials(cert.read_bytes())
        async with grpc.aio.secure_channel(shop.daemon.grpc_address, trusted) as channel:
            assert await Client(channel).create_channel()
        with refused() as refusal:
            await shop.create_channel()
        assert refusal.code is grpc.StatusCode.UNAVAILABLE, "plain text is not answered"
    key.unlink()
    with pytest.raises(InvalidField) as caught:
        await Daemon(settings, clock=ManualClock(NOW_MS)).start()
    assert caught.value.field == "grpc.tls_cert_file"


@pytest.mark.integration
async def test_mail_leaves_by_the_real_clock(tmp_path: Path) -> None:
    """The whole way on the machine's clock: an event in, a file in the outbox a moment later."""
    daemon = Daemon(settings_for(tmp_path))
    await daemon.start()
    try:
        assert any(line.startswith("mail") for line in serve.describe(daemon))
        async with grpc.aio.insecure_channel(daemon.grpc_address) as channel:
            client = Client(channel)
            name = await client.create_channel()
            wait = rule_service_pb2.Wait(elapsed=Duration())
            await client.create_rule(name, steps=[step_pb(wait=wait)])
            event = event_pb(name)
            event.occur_time.FromMilliseconds(SystemClock().now_ms())
            await client.events.Publish(event_service_pb2.PublishRequest(event=event))
            outbox = tmp_path / "data" / "outbox"
            async with asyncio.timeout(10):
                # Files have no event to wait for.
                while not (found := list(outbox.glob("*.eml"))):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        assert event.contact.email.encode() in found[0].read_bytes()
    finally:
        await daemon.stop()
