"""The daemon, put together: the only place that constructs adapters.

Decides: the order in which things start and stop.

    start   HTTP (alive, not ready) -> server of the store -> store -> registry -> accounts -> engine
            -> unsubscribe links -> gRPC -> health SERVING
    stop    health NOT_SERVING -> go_away on streams, new calls refused -> calls under way end ->
            engine drains -> claims are kept or given back -> everything closes in reverse

Start and stop may be called twice; stop also after a start that failed.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from afterword.v1 import (
    audit_service_pb2_grpc,
    channel_service_pb2_grpc,
    consent_service_pb2_grpc,
    contact_service_pb2_grpc,
    event_service_pb2_grpc,
    invitation_service_pb2_grpc,
    platform_service_pb2_grpc,
    review_service_pb2_grpc,
    rule_service_pb2_grpc,
    sender_service_pb2_grpc,
    simulation_service_pb2_grpc,
    template_service_pb2_grpc,
)
from control import external_server
from control.auth import Credentials
from control.automations.catalogue import Automations
from control.cel_frontend import ConditionFrontend
from control.embedded_server import EmbeddedServer
from control.http import HttpServer
from control.log_rewriter import LogRewriter
from control.metrics import CONTENT_TYPE, Metrics
from control.pace import Pace
from control.public.clicks import ReviewClicks
from control.public.hooks.desk import BODY_BYTES_MAX as HOOK_BYTES_MAX
from control.public.hooks.desk import PATH as HOOK_PATH
from control.public.hooks.desk import HookDesk
from control.public.links import confirm_link
from control.public.server import PublicServer
from control.server import GrpcServer
from control.services.audit_service import AuditService
from control.services.channel_service import ChannelService
from control.services.consent_service import ConsentService
from control.services.contact_service import ContactService
from control.services.event_service import EventService
from control.services.invitation_service import InvitationService
from control.services.platform_service import PlatformService
from control.services.publishing import Publisher
from control.services.review_service import ReviewService
from control.services.rule_service import RuleService
from control.services.sender_service import SenderService
from control.services.simulation_service import SimulationService
from control.services.template_service import TemplateService
from control.settings import Fsync, Settings
from control.transports import make_postbox, secrets_of
from core.clock import Clock, SystemClock
from core.engine.engine import Engine
from core.engine.review_desk import PATH as REVIEW_PATH
from core.engine.unsubscribe import Choice, Unsubscriber
from core.engine.unsubscribe_tokens import UnsubscribeTokens
from core.model import Medium
from core.ports import Durability
from core.redis_link import RedisLink
from core.registry.redis_store import RedisRegistryStore
from core.registry.registry import Registry
from core.rules import public_holidays
from core.sending import Postbox as PostboxPort
from core.timing_wheel.redis_store import SCRIPTS, RedisStore

_LOG = logging.getLogger(__name__)

CLICKS_PER_SECOND, CLICKS_AT_ONCE = 500, 1_000
"""Clicks on review links that are noted; others lead on all the same."""

LINKS = 16
"""Connections to the store: what one fsync of the server covers grows with them."""


class Daemon:
    """One process of Afterword.

    Args:
        clock: the machine's if not given; one that is moved by hand makes a virtual daemon, which
            fires only in `engine.advance_to`.
        postbox: made from the settings if not given; closed with the daemon in any case.
    """

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, postbox: PostboxPort | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.grpc_address = ""
        """Where the API listens, once it does."""
        self.http_address = ""
        """Where metrics are, once they are; "" if switched off."""
        self.unsubscribe_address = ""
        """Where unsubscribe links are answered, once they are; "" if they are not."""
        self.failed = asyncio.Event()
        """Set when the engine ended by itself, which it never should."""
        self.engine: Engine
        self.registry: Registry
        self.embedded: EmbeddedServer | None = None
        self._conditions: ConditionFrontend
        self._automations: Automations
        self._postbox = postbox
        self._server: GrpcServer | None = None
        self._events: EventService | None = None
        self._loop: asyncio.Task[None] | None = None
        self._prepared: asyncio.Task[None] | None = None
        self._stack: AsyncExitStack | None = None

    # Life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything; calls are served when this returns. Idempotent.

        Raises:
            InvalidField: the settings do not fit this machine.
            FailedPrecondition: the store cannot be used as it is.
            StoreUnavailable: the store cannot be reached.
        """
        if self._stack is not None:
            return
        self.settings.validate()
        credentials = Credentials.load(self.settings.auth.tokens_file)
        self._conditions = ConditionFrontend()
        self._automations = Automations.load(self.settings.automations.dir, self._conditions)
        self._stack = AsyncExitStack()
        try:
            await self._start(self._stack, credentials)
        except BaseException:
            await self.stop()
            raise

    async def _start(self, stack: AsyncExitStack, credentials: Credentials) -> None:
        http = await self._open_http(stack)
        store, registry_store = await self._open_stores(stack)
        self.registry = await Registry.open(registry_store, self.clock)
        self.registry.on_bite.append(store.require_registry)
        for account in credentials.accounts:
            await self.registry.ensure_account(account, self.settings.life.default_caps)
        tokens = UnsubscribeTokens((store.meta.secret,))
        postbox = self._postbox or make_postbox(self.settings, tokens, self.registry)
        self.registry.default_media = frozenset(each for each in Medium if postbox.supports(each))
        stack.push_async_callback(postbox.close)
        # An embedded server lies behind a file lock: nobody else can be alive on it (E12).
        self.engine = Engine(
            store, self.registry, postbox, self.clock, is_exclusive=self.embedded is not None
        )
        if self.embedded is not None:
            rewriter = LogRewriter(self.embedded.folder, self.embedded.socket_path)
            rewriter.start()
            stack.push_async_callback(rewriter.stop)
            self.engine.eraser.on_erase.append(rewriter.note)
        stack.push_async_callback(self.engine.stop)
        await self.engine.start()
        self.engine.opt_in.link_of = partial(confirm_link, self.settings.public.url)
        self.engine.reviews.base = self.settings.public.url
        await self._open_unsubscribe(stack, tokens)
        if http is not None:
            metrics = Metrics(
                self.engine.stats,
                store,
                version(),
                self._restarts,
                lambda: self.registry.snapshot.breakers,
                self.engine.dispatcher.places.states,
            )
            http.scrape, http.content_type = metrics.scrape, CONTENT_TYPE
        if not self.clock.is_virtual:
            self._loop = asyncio.create_task(self.engine.run())
            self._loop.add_done_callback(self._engine_ended)
        self._server = GrpcServer(
            self.settings.grpc, credentials, self._registers(store.durability)
        )
        await self._server.start()
        self.grpc_address = self._server.address
        # A second of work, which the first message that asks for a holiday must not wait for.
        self._prepared = asyncio.create_task(asyncio.to_thread(public_holidays.prepare))

    async def stop(self) -> None:
        """Stop everything, what is under way first. Idempotent."""
        stack, self._stack = self._stack, None
        if stack is None:
            return
        drain_ms = self.settings.life.drain_ms
        try:
            if self._server is not None:
                await self._server.refuse_new()
                if self._events is not None:
                    self._events.drain()
                await self._server.stop(drain_ms)
            if self._events is not None:
                await self._events.settle()
            if self._loop is not None:
                await self.engine.drain(drain_ms)
                await asyncio.gather(self._loop, return_exceptions=True)
        finally:
            self._server = self._events = self._loop = None
            await stack.aclose()

    @property
    def is_ready(self) -> bool:
        """True while calls are served and the store is there."""
        return (
            self._server is not None
            and self._server.gate.is_open
            and (self.embedded is None or self.embedded.is_ready)
        )

    def _engine_ended(self, task: asyncio.Task[None]) -> None:
        if self._stack is None:
            return
        error = None if task.cancelled() else task.exception()
        told = type(error).__name__ if error is not None else "no error"
        _LOG.critical("the engine has ended by itself: %s", told)
        self.failed.set()

    def _restarts(self) -> int:
        return 0 if self.embedded is None else self.embedded.restarts

    # Parts ------------------------------------------------------------------------------------

    async def _open_http(self, stack: AsyncExitStack) -> HttpServer | None:
        if not self.settings.http.listen:
            return None
        http = HttpServer(self.settings.http.listen, lambda: self.is_ready)
        await http.start()
        stack.push_async_callback(http.stop)
        self.http_address = http.address
        return http

    async def _open_unsubscribe(self, stack: AsyncExitStack, tokens: UnsubscribeTokens) -> None:
        url, listen = self.settings.public.url, self.settings.unsubscribe.listen
        if not url or not listen:
            return
        engine = self.engine
        unsubscriber = Unsubscriber(tokens, engine.consents, self.registry, engine.stats)
        scope = Choice(self.settings.unsubscribe.scope.value)
        hooks = HookDesk(
            url,
            self.registry,
            secrets_of(self.settings),
            engine.feedback,
            engine.inbox,
            engine.stats,
        )
        pace = Pace(CLICKS_PER_SECOND, CLICKS_AT_ONCE, time.monotonic)
        clicks = ReviewClicks(engine.reviews, engine.stats, pace.take)
        server = PublicServer(
            listen, url, unsubscriber, default=scope, opt_in=engine.opt_in,
            routes={REVIEW_PATH: clicks.answer, HOOK_PATH: hooks.answer},
            body_bytes_max={HOOK_PATH: HOOK_BYTES_MAX},
        )  # fmt: skip
        await server.start()
        stack.push_async_callback(server.stop)
        self.unsubscribe_address = server.address

    async def _open_stores(self, stack: AsyncExitStack) -> tuple[RedisStore, RedisRegistryStore]:
        options = self.settings.store
        if options.redis_url:
            address = external_server.parse_url(options.redis_url)
            url = options.redis_url
            links = [
                RedisLink(
                    address.where, tuple(SCRIPTS.values()), username=address.username,
                    password=address.password,
                )
                for _ in range(LINKS)
            ]  # fmt: skip
            stack.push_async_callback(_close_all, links)
            durability = await external_server.examine(links[0])
        else:
            self.embedded = EmbeddedServer(
                Path(options.data_dir), binary=options.redis_server, fsync=options.fsync
            )
            await self.embedded.start()
            stack.push_async_callback(self.embedded.stop)
            url = f"unix://{self.embedded.socket_path}"
            path = self.embedded.socket_path
            links = [RedisLink(path, tuple(SCRIPTS.values())) for _ in range(LINKS)]
            stack.push_async_callback(_close_all, links)
            is_synced = options.fsync is Fsync.ALWAYS
            durability = Durability.FSYNCED if is_synced else Durability.MEMORY
        store = await RedisStore.open(
            links,
            partition_count=options.partitions,
            slot_width_ms=options.slot_width_ms,
            is_virtual=self.clock.is_virtual,
            durability=durability,
        )
        registry_store = RedisRegistryStore.connect(url)
        stack.push_async_callback(registry_store.close)
        return store, registry_store

    def _registers(self, durability: Durability) -> list[partial[None]]:
        """Return what adds each service to a server."""
        engine, registry, clock = self.engine, self.registry, self.clock
        publisher = Publisher(engine.acceptor, clock, engine.stats)
        self._events = EventService(publisher, registry, durability)
        rules = RuleService(
            registry, self._conditions, self._automations, engine.pending, engine.rule_counts
        )
        invitations = InvitationService(
            engine.reader, engine.explainer, engine.by_hand, engine.second_thoughts,
            engine.dead_letters, registry, engine.feedback, engine.identity, clock,
        )  # fmt: skip
        return [
            partial(event_service_pb2_grpc.add_EventServiceServicer_to_server, self._events),
            partial(
                channel_service_pb2_grpc.add_ChannelServiceServicer_to_server,
                ChannelService(registry, engine.breaker),
            ),
            partial(rule_service_pb2_grpc.add_RuleServiceServicer_to_server, rules),
            partial(
                consent_service_pb2_grpc.add_ConsentServiceServicer_to_server,
                ConsentService(engine.consents, engine.opt_in, engine.inbox, registry, clock),
            ),
            partial(
                contact_service_pb2_grpc.add_ContactServiceServicer_to_server,
                ContactService(engine.dossiers, engine.eraser, engine.reader, registry, clock),
            ),
            partial(
                invitation_service_pb2_grpc.add_InvitationServiceServicer_to_server, invitations
            ),
            partial(
                platform_service_pb2_grpc.add_PlatformServiceServicer_to_server,
                PlatformService(registry, engine.diversion_audit),
            ),
            partial(
                review_service_pb2_grpc.add_ReviewServiceServicer_to_server,
                ReviewService(engine.reviews),
            ),
            partial(
                sender_service_pb2_grpc.add_SenderServiceServicer_to_server,
                SenderService(registry, allow_private=self.settings.allow.private_endpoints),
            ),
            partial(
                simulation_service_pb2_grpc.add_SimulationServiceServicer_to_server,
                SimulationService(registry),
            ),
            partial(
                audit_service_pb2_grpc.add_AuditServiceServicer_to_server, AuditService(registry)
            ),
            partial(
                template_service_pb2_grpc.add_TemplateServiceServicer_to_server,
                TemplateService(registry, clock, self.settings.public.url, engine.reader),
            ),
        ]


async def _close_all(links: Sequence[RedisLink]) -> None:
    for link in links:
        await link.close()


def version() -> str:
    """Return the version of Afterword, "unknown" where it is not installed."""
    try:
        return importlib.metadata.version("afterword")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
