"""A client's hands on a daemon: stubs of every service, and requests that are right.

Tests change one thing of a request that is right, and see that one thing refused.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from afterword import errors
from afterword.v1 import (
    audit_service_pb2_grpc,
    channel_service_pb2,
    channel_service_pb2_grpc,
    consent_service_pb2_grpc,
    contact_service_pb2_grpc,
    event_pb2,
    event_service_pb2_grpc,
    invitation_service_pb2_grpc,
    platform_service_pb2_grpc,
    rule_service_pb2,
    rule_service_pb2_grpc,
    sender_service_pb2_grpc,
    types_pb2,
)
from control.daemon import Daemon
from control.settings import Auth, Fsync, Grpc, Http, Life, Settings, StoreOptions
from core.bounds import DAY_MS
from core.clock import ManualClock
from core.model import Medium
from core.sending import Delivery, Letter
from senders.postbox import Postbox

PARENT = "accounts/default"
NOW_MS = 20_000 * DAY_MS + 10 * 3_600_000
"""2024-10-04 10:00 UTC."""
DAY_S = 86_400
_numbers = itertools.count(1)


def unique(word: str) -> str:
    """Return an id that no other test of this process has."""
    return f"{word}-{next(_numbers)}"


class Outbox:
    """A transport that keeps what it is given."""

    holds_unknown = False

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.answer = Delivery(Delivery.Kind.ACCEPTED)
        """What it says of every letter."""

    def free(self) -> int:
        return 1_000

    def prepare(self, letter: Letter) -> bytes:
        return b"text"

    async def send(self, letters: list[tuple[Letter, bytes]]) -> list[Delivery]:
        self.letters += [letter for letter, _ in letters]
        return [self.answer for _ in letters]

    async def close(self) -> None:
        pass


def settings_for(folder: Path, **auth: str) -> Settings:
    return Settings(
        grpc=Grpc(listen="127.0.0.1:0", reflection=True),
        http=Http(listen="127.0.0.1:0"),
        # Nothing here asks what survives a crash of the machine.
        store=StoreOptions(data_dir=str(folder / "data"), partitions=4, fsync=Fsync.EVERYSEC),
        auth=Auth(**auth),
        life=Life(default_caps=False, drain_ms=2_000),
    )


class Client:
    """Stubs of every service, with one credential."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.events = event_service_pb2_grpc.EventServiceStub(channel)
        self.channels = channel_service_pb2_grpc.ChannelServiceStub(channel)
        self.rules = rule_service_pb2_grpc.RuleServiceStub(channel)
        self.consents = consent_service_pb2_grpc.ConsentServiceStub(channel)
        self.contacts = contact_service_pb2_grpc.ContactServiceStub(channel)
        self.invitations = invitation_service_pb2_grpc.InvitationServiceStub(channel)
        self.platforms = platform_service_pb2_grpc.PlatformServiceStub(channel)
        self.senders = sender_service_pb2_grpc.SenderServiceStub(channel)
        self.audit = audit_service_pb2_grpc.AuditServiceStub(channel)

    async def create_channel(self, channel_id: str = "", **fields: Any) -> str:
        """Create a channel that can send e-mail and whose customers have consented; its name."""
        created = await self.channels.CreateChannel(
            channel_service_pb2.CreateChannelRequest(
                parent=PARENT,
                channel_id=channel_id or unique("shop"),
                channel=channel_pb(**fields),
            )
        )
        return str(created.name)

    async def create_rule(self, channel: str = "", rule_id: str = "", **fields: Any) -> str:
        """Create a rule, active on the channel if one is given; its name."""
        created = await self.rules.CreateRule(
            rule_service_pb2.CreateRuleRequest(
                parent=PARENT, rule_id=rule_id or unique("rule"), rule=rule_pb(**fields)
            )
        )
        if channel:
            await self.rules.ActivateRule(
                rule_service_pb2.ActivateRuleRequest(name=created.name, channel=channel)
            )
        return str(created.name)


class Shop(Client):
    """A daemon under a clock that is moved by hand, and a client of it."""

    def __init__(
        self, channel: grpc.aio.Channel, daemon: Daemon, clock: ManualClock, outbox: Outbox
    ) -> None:
        super().__init__(channel)
        self.daemon = daemon
        self.clock = clock
        self.outbox = outbox


@contextlib.asynccontextmanager
async def open_shop(folder: Path, settings: Settings | None = None) -> AsyncIterator[Shop]:
    clock, outbox = ManualClock(NOW_MS), Outbox()
    daemon = Daemon(
        settings or settings_for(folder), clock=clock, postbox=Postbox({Medium.EMAIL: outbox})
    )
    await daemon.start()
    try:
        async with grpc.aio.insecure_channel(daemon.grpc_address) as channel:
            yield Shop(channel, daemon, clock, outbox)
    finally:
        await daemon.stop()


# --- requests that are right ----------------------------------------------------------------------


def channel_pb(**fields: Any) -> channel_service_pb2.Channel:
    given: dict[str, Any] = {
        "display_name": "Shop",
        "time_zone": "Europe/Madrid",
        "locale": "es_ES",
        "email_sender": channel_service_pb2.EmailSender(address="hello@shop.example"),
        "consent_mode": channel_service_pb2.Channel.CONSENT_MODE_SHOP_ATTESTS,
    }
    return channel_service_pb2.Channel(**{**given, **fields})


def rule_pb(**fields: Any) -> rule_service_pb2.Rule:
    given: dict[str, Any] = {
        "display_name": "Ask for a review",
        "family": rule_service_pb2.Rule.FAMILY_SERVICE_REVIEW,
        "trigger": rule_service_pb2.Trigger(event_type="checkout"),
        "steps": [step_pb()],
    }
    return rule_service_pb2.Rule(**{**given, **fields})


def step_pb(step_id: str = "first", days: int = 7, **fields: Any) -> rule_service_pb2.Step:
    given: dict[str, Any] = {
        "wait": rule_service_pb2.Wait(days=days),
        "actions": [rule_service_pb2.Action(medium=types_pb2.MEDIUM_EMAIL)],
    }
    return rule_service_pb2.Step(id=step_id, **{**given, **fields})


def cap_pb(**fields: Any) -> channel_service_pb2.Cap:
    cap = channel_service_pb2.Cap(scope=channel_service_pb2.Cap.SCOPE_ACCOUNT, limit=1)
    cap.window.seconds = DAY_S
    cap.MergeFrom(channel_service_pb2.Cap(**fields))
    return cap


def event_pb(channel: str, **fields: Any) -> event_pb2.Event:
    name = unique("event")
    given: dict[str, Any] = {
        "id": name,
        "type": "checkout",
        "channel": channel,
        "contact": event_pb2.Contact(email=f"{name}@example.com"),
        "order": event_pb2.Order(reference=name),
    }
    event = event_pb2.Event(**{**given, **fields})
    if not event.HasField("occur_time"):
        event.occur_time.seconds = NOW_MS // 1_000
    return event


def with_unknown_field(message: Message, path: str = "") -> Any:
    """Return the message with a field 1000 that nobody knows, below a path."""
    copy = type(message).FromString(message.SerializeToString())
    target: Any = copy
    for name in filter(None, path.split(".")):
        target = getattr(target, name)
    # Tag of field 1000 with wire type 0, then the value 1.
    target.MergeFromString(bytes((0xC0, 0x3E, 0x01)))
    return copy


# --- errors ---------------------------------------------------------------------------------------


class Refusal:
    """What `refused` has caught."""

    problem: errors.ErrorDetails

    @property
    def field(self) -> str:
        violations = self.problem.field_violations
        return violations[0].field if violations else ""

    @property
    def reason(self) -> str:
        return self.problem.reason

    @property
    def code(self) -> grpc.StatusCode:
        return self.problem.code

    def __repr__(self) -> str:
        return repr(self.problem)


@contextlib.contextmanager
def refused() -> Any:
    """Catch the refusal of one call."""
    refusal = Refusal()
    try:
        yield refusal
    except grpc.aio.AioRpcError as error:
        refusal.problem = errors.details(error)
    else:
        raise AssertionError("the call was not refused")
