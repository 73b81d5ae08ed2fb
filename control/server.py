"""The gRPC server: options, health, reflection, a graceful end.

Decides: how connections behave. What calls mean is in `control/services/`.

Source: grpc.io guides on keepalive and health checking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_health.v1._async import HealthServicer  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from control.auth import Credentials
from control.interceptor import CallInterceptor, Gate
from control.settings import Grpc
from core import bounds
from core.errors import InvalidField

CALLS_MAX: Final = 1_024
"""Calls under way, streams included; more are refused with RESOURCE_EXHAUSTED."""
METADATA_BYTES_MAX: Final = 16 * 1024
KEEPALIVE_MS: Final = 60_000
KEEPALIVE_TIMEOUT_MS: Final = 20_000
PING_INTERVAL_MIN_MS: Final = 30_000
CONNECTION_AGE_MAX_MS: Final = 30 * bounds.MINUTE_MS
"""So that connections find a new balance after daemons have come or gone."""
CONNECTION_AGE_GRACE_MS: Final = 5 * bounds.MINUTE_MS

OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # A second daemon on the same address must fail, not share its calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", bounds.MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MIN_MS),
    ("grpc.max_connection_age_ms", CONNECTION_AGE_MAX_MS),
    ("grpc.max_connection_age_grace_ms", CONNECTION_AGE_GRACE_MS),
)

SERVICES: Final = (
    "afterword.v1.EventService",
    "afterword.v1.ChannelService",
    "afterword.v1.RuleService",
    "afterword.v1.ConsentService",
    "afterword.v1.ContactService",
    "afterword.v1.InvitationService",
    "afterword.v1.PlatformService",
    "afterword.v1.SenderService",
    "afterword.v1.ReviewService",
    "afterword.v1.SimulationService",
    "afterword.v1.AuditService",
)

Register = Callable[[grpc.aio.Server], None]
"""Adds one service to a server."""


class GrpcServer:
    """The server of one daemon.

    Args:
        registers: one for each service.
    """

    def __init__(
        self, settings: Grpc, credentials: Credentials, registers: Iterable[Register]
    ) -> None:
        self.address = ""
        """Where it listens, once it does."""
        self.gate = Gate()
        self._settings = settings
        self._health = HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[CallInterceptor(credentials, self.gate)],
            options=OPTIONS,
            maximum_concurrent_rpcs=CALLS_MAX,
        )
        for register in registers:
            register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (*SERVICES, "grpc.health.v1.Health", reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    async def start(self) -> None:
        """Listen and serve.

        Raises:
            InvalidField: the address is taken, or a certificate cannot be read.
        """
        listen = self._settings.listen
        try:
            if self._settings.tls_cert_file:
                port = self._server.add_secure_port(listen, self._credentials())
            else:
                port = self._server.add_insecure_port(listen)
        except RuntimeError:
            # Its text is gRPC's own trace; what an operator can do about it is this.
            raise InvalidField(
                f"cannot listen on {listen}: is another daemon there?", field="grpc.listen"
            ) from None
        if listen.startswith("unix:"):
            self.address = listen
        else:
            host = listen.rpartition(":")[0]
            self.address = f"{host}:{port}"
        await self._server.start()
        self.gate.is_open = True
        await self._tell_health(health_pb2.HealthCheckResponse.SERVING)

    def _credentials(self) -> grpc.ServerCredentials:
        try:
            key = Path(self._settings.tls_key_file).read_bytes()
            chain = Path(self._settings.tls_cert_file).read_bytes()
        except OSError as error:
            raise InvalidField(
                f"cannot read {error.filename}: {error.strerror}", field="grpc.tls_cert_file"
            ) from None
        return grpc.ssl_server_credentials([(key, chain)])

    async def refuse_new(self) -> None:
        """Say NOT_SERVING to who asks, and to new calls. Idempotent."""
        self.gate.is_open = False
        await self._tell_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace_ms: int) -> None:
        """Let calls under way end for a while, then end them. Idempotent."""
        await self._server.stop(grace_ms / 1_000)

    async def _tell_health(self, status: Any) -> None:
        for service in ("", *SERVICES):
            await self._health.set(service, status)
