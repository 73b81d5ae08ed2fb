"""SIGKILL of the daemon and of its server, again and again: nothing acknowledged is lost.

The check: every invitation that an acknowledgement has named ends as a mail in the outbox, whatever was
killed in between, and nothing is left pending. The outbox names its files by delivery id, so a second
hand-over after a crash writes the same file again.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from afterword.v1 import (
    channel_service_pb2,
    channel_service_pb2_grpc,
    event_pb2,
    event_service_pb2,
    event_service_pb2_grpc,
    invitation_service_pb2,
    invitation_service_pb2_grpc,
    rule_service_pb2,
    rule_service_pb2_grpc,
    types_pb2,
)

KILLS = 36
BATCH = 25
SECONDS_MAX = 240.0
CHANNEL = "accounts/default/channels/shop"


class Daemon:
    """`afterword serve` in a process of its own, with its embedded server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = f"unix:{folder}/api.sock"
        self.outbox = folder / "data" / "outbox"
        self._log = (folder / "daemon.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "control.cli.main", "serve",
                "--grpc-listen", self.target, "--http-listen", "",
                "--store-data-dir", str(self.folder / "data"), "--store-partitions", "8",
                "--no-life-default-caps",
            ],
            stdout=self._log,
            stderr=self._log,
        )  # fmt: skip

    def server_pid(self) -> int | None:
        """Return the process id of the store's server, a child of the daemon."""
        assert self.process is not None
        pid = self.process.pid
        with contextlib.suppress(OSError, ValueError):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                name = Path(f"/proc/{child}/comm").read_text().strip()
                if name.startswith(("valkey-server", "redis-server")):
                    return int(child)
        return None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        self._log.close()

    def told(self) -> str:
        return (self.folder / "daemon.log").read_text(errors="replace")[-4_000:]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    # A short path: a unix socket's may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="aw-crash-") as folder:
        daemon = Daemon(Path(folder))
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


def patiently(call: Callable[[], object], give_up: float) -> object:
    """Repeat a call while the daemon is away; every call here is idempotent."""
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            away = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            if error.code() not in away or time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def configure(channel: grpc.Channel, give_up: float) -> None:
    """Create a shop that writes one second after each checkout."""
    channels = channel_service_pb2_grpc.ChannelServiceStub(channel)
    rules = rule_service_pb2_grpc.RuleServiceStub(channel)
    shop = channel_service_pb2.Channel(
        display_name="Shop", time_zone="UTC", locale="en",
        email_sender=channel_service_pb2.EmailSender(address="shop@shop.example"),
    )  # fmt: skip
    patiently(
        lambda: channels.CreateChannel(
            channel_service_pb2.CreateChannelRequest(
                parent="accounts/default", channel_id="shop", channel=shop,
                request_id="2f1acc6c-c355-4d9c-8fa2-0f0a1c2e9f5b",
            ),
            wait_for_ready=True, timeout=30,
        ),
        give_up,
    )  # fmt: skip
    rule = rule_service_pb2.Rule(
        display_name="Thanks",
        family=rule_service_pb2.Rule.FAMILY_NOTIFICATION,
        purpose=types_pb2.PURPOSE_TRANSACTIONAL,
        trigger=rule_service_pb2.Trigger(event_type="checkout"),
        steps=[
            rule_service_pb2.Step(
                id="thanks",
                wait=rule_service_pb2.Wait(elapsed=Duration(seconds=1)),
                actions=[
                    rule_service_pb2.Action(
                        medium=types_pb2.MEDIUM_EMAIL,
                        subject="Thanks for {{order}}",
                        body="Thanks!",
                    )
                ],
            )
        ],
    )
    rules.CreateRule(
        rule_service_pb2.CreateRuleRequest(parent="accounts/default", rule_id="thanks", rule=rule)
    )
    rules.ActivateRule(
        rule_service_pb2.ActivateRuleRequest(name="accounts/default/rules/thanks", channel=CHANNEL)
    )


class Producer(threading.Thread):
    """Publishes until told to stop; remembers what was acknowledged, and nothing else."""

    def __init__(self, channel: grpc.Channel, give_up: float) -> None:
        super().__init__(daemon=True)
        self._events = event_service_pb2_grpc.EventServiceStub(channel)
        self._give_up = give_up
        self.stopping = threading.Event()
        self.acknowledged: set[str] = set()
        self.published = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._publish(range(self.published, self.published + BATCH))
                self.published += BATCH
        except BaseException as error:
            self.error = error

    def _publish(self, numbers: range) -> None:
        request = event_service_pb2.BatchPublishRequest(parent="accounts/default")
        for number in numbers:
            event = event_pb2.Event(
                id=f"e{number}", source="crash", type="checkout", channel=CHANNEL,
                contact=event_pb2.Contact(email=f"c{number}@shop.example"),
                order=event_pb2.Order(reference=f"o{number}"),
            )  # fmt: skip
            event.occur_time.GetCurrentTime()
            request.events.append(event)
        answer = patiently(lambda: self._events.BatchPublish(request, timeout=20), self._give_up)
        for result in answer.results:  # type: ignore[attr-defined]
            assert result.status.code == 0, result
            self.acknowledged.update(result.invitations)


@pytest.mark.integration
def test_sigkill_at_random_points_loses_nothing_that_was_acknowledged(daemon: Daemon) -> None:
    """A4, d8, pitfall:crash-between-send-and-state, pitfall:stuck-after-reconnect."""
    seed = int(os.environ.get("AFTERWORD_SEED", "20260301"))
    draw = random.Random(seed)
    give_up = time.monotonic() + SECONDS_MAX
    killed = {"daemon": 0, "server": 0}
    with grpc.insecure_channel(
        daemon.target, options=[("grpc.max_reconnect_backoff_ms", 200)]
    ) as channel:
        configure(channel, give_up)
        producer = Producer(channel, give_up)
        producer.start()
        while sum(killed.values()) < KILLS:
            assert producer.error is None, f"{producer.error}\n{daemon.told()}"
            time.sleep(draw.uniform(0.02, 0.6))
            server = daemon.server_pid()
            if server is not None and draw.random() < 0.5:
                os.kill(server, signal.SIGKILL)
                killed["server"] += 1
            else:
                daemon.kill()
                daemon.start()
                killed["daemon"] += 1
            if draw.random() < 0.8:
                # Let it come back, or every kill would hit the start.
                before = len(producer.acknowledged)
                while len(producer.acknowledged) == before:
                    assert time.monotonic() < give_up, daemon.told()
                    assert producer.error is None, f"{producer.error}\n{daemon.told()}"
                    time.sleep(0.02)
        producer.stopping.set()
        producer.join()
        assert producer.error is None, f"{producer.error}\n{daemon.told()}"

        wanted = {name.rsplit("/", 1)[1] for name in producer.acknowledged}
        missing = wanted
        while missing and time.monotonic() < give_up:
            time.sleep(0.2)
            missing = wanted - {path.stem for path in daemon.outbox.glob("*.eml")}
        assert not missing, f"seed {seed}: {len(missing)} of {len(wanted)} lost\n{daemon.told()}"
        assert len(wanted) == producer.published, "every event has its invitation"
        assert killed["daemon"] > 5 < killed["server"], killed
        nothing_waits(channel, give_up)


def nothing_waits(channel: grpc.Channel, give_up: float) -> None:
    """Assert that no invitation is left scheduled, once the leases of the dead have run out."""
    invitations = invitation_service_pb2_grpc.InvitationServiceStub(channel)
    while True:
        token, waiting = "", 0
        while True:
            page = invitations.ListInvitations(
                invitation_service_pb2.ListInvitationsRequest(
                    parent="accounts/default", page_size=1_000, page_token=token,
                    due=invitation_service_pb2.ListInvitationsRequest.ByDueTime(channel=CHANNEL),
                )
            )  # fmt: skip
            waiting += len(page.invitations)
            token = page.next_page_token
            if not token:
                break
        if not waiting:
            return
        assert time.monotonic() < give_up, f"{waiting} still wait"
        time.sleep(0.5)
