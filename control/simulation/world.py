"""A daemon without doors: the real engine, registry and services on stores in memory.

Decides: how the parts are put together for a simulation. It is configured and told of events by the
same service code that answers gRPC, called directly.
Never: touches a disk, a socket or the machine's clock for anything but leases.

Keys of contacts hang on the store's secret, which is the same in every simulation: the same input
gives the same ids.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from google.protobuf.message import Message

from control.auth import CALLER, Caller, Role
from control.automations.catalogue import Automations
from control.cel_frontend import ConditionFrontend
from control.services.channel_service import ChannelService
from control.services.consent_service import ConsentService
from control.services.event_service import EventService
from control.services.platform_service import PlatformService
from control.services.publishing import Publisher
from control.services.rule_service import RuleService
from control.services.sender_service import SenderService
from control.services.template_service import TemplateService
from control.simulation.kinds import Unserved
from control.simulation.postbox import AcceptingPostbox
from core.bounds import DAY_MS
from core.clock import ManualClock
from core.engine.engine import Engine
from core.model import Medium
from core.registry.memory_store import MemoryRegistryStore
from core.registry.registry import Registry
from core.sending import Postbox
from core.timing_wheel.memory_store import MemoryStore

ACTOR: Final = "simulation"
SECRET: Final = bytes(32)
PARTITIONS: Final = 1
"""Nobody shares the work, and nothing of an outcome hangs on how many there are."""


class World:
    """One account, simulated. Open it with `open_world`."""

    def __init__(
        self, account: str, engine: Engine, registry: Registry, clock: ManualClock
    ) -> None:
        self.account = account
        self.engine = engine
        self.registry = registry
        self.clock = clock
        self.publisher = Publisher(engine.acceptor, clock, engine.stats)
        self._caller = Caller(account, ACTOR, frozenset(Role))
        conditions = ConditionFrontend()
        self._services: dict[str, Any] = {
            "EventService": EventService(self.publisher, registry, engine.store.durability),
            "ChannelService": ChannelService(registry, engine.breaker),
            "PlatformService": PlatformService(registry),
            # Nothing is called here; the daemon says where it may call.
            "SenderService": SenderService(registry, allow_private=True),
            "TemplateService": TemplateService(registry, clock),
            "RuleService": RuleService(registry, conditions, Automations((), conditions)),
            "ConsentService": ConsentService(
                engine.consents, engine.opt_in, engine.inbox, registry, clock
            ),
        }  # fmt: skip

    async def call(self, method: str, request: Message) -> Any:
        """Call a method as a client with every role would; see `kinds.ApiCall`."""
        service_name, _, name = method.partition("/")
        service = self._services.get(service_name)
        handler = getattr(service, name, None)
        # What a service does not override is the stub of the generated class.
        if handler is None or handler.__func__.__module__.endswith("_pb2_grpc"):
            raise Unserved(f"{method} is not served here")
        token = CALLER.set(self._caller)
        try:
            return await handler(request, None)
        finally:
            CALLER.reset(token)


@contextlib.asynccontextmanager
async def open_world(
    account: str, now_ms: int, postbox: Postbox | None = None
) -> AsyncIterator[World]:
    """Open a world that knows the account and the shipped event types, and has no caps (R24).

    Args:
        now_ms: where its clock stands.
        postbox: takes every letter that the channel can send, if not given.
    """
    clock = ManualClock(now_ms)
    store = MemoryStore.create(PARTITIONS, DAY_MS, secret=SECRET)
    registry = await Registry.open(MemoryRegistryStore(), clock)
    registry.on_bite.append(store.require_registry)
    await registry.ensure_account(account, default_caps=False)
    postbox = postbox or AcceptingPostbox((Medium.EMAIL,))
    registry.default_media = frozenset(each for each in Medium if postbox.supports(each))
    engine = Engine(store, registry, postbox, clock)
    await engine.start()
    try:
        yield World(account, engine, registry, clock)
    finally:
        await engine.stop()
