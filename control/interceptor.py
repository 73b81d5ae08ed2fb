"""What happens around every call: who calls, whether the daemon serves, and how errors leave.

Decides: nothing of its own; it asks `control/auth.py` and `control/error_table.py`.

All four kinds of handlers are wrapped, and the check runs inside the wrapped behaviour, because only
there a call can be aborted with details. CancelledError is passed on: a handler that swallows it leaks
in grpc.aio.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from control import error_table
from control.auth import CALLER, OPEN_PREFIXES, Credentials
from control.error_table import NotServing
from core.errors import AfterwordError

Handler = Any
"""grpc.RpcMethodHandler; its attributes have no types."""


class Gate:
    """Whether calls are let in."""

    def __init__(self) -> None:
        self.is_open = False


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates, authorises and turns exceptions into statuses."""

    def __init__(self, credentials: Credentials, gate: Gate) -> None:
        self._credentials = credentials
        self._gate = gate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the handler of a method, wrapped."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(OPEN_PREFIXES):
            return handler
        authorization = ""
        for key, value in handler_call_details.invocation_metadata:
            if key == "authorization" and isinstance(value, str):
                authorization = value
        return self._wrapped(handler, method, authorization)

    def _wrapped(self, handler: Handler, method: str, authorization: str) -> Handler:
        wrap = {
            (False, False): (handler.unary_unary, grpc.unary_unary_rpc_method_handler),
            (False, True): (handler.unary_stream, grpc.unary_stream_rpc_method_handler),
            (True, False): (handler.stream_unary, grpc.stream_unary_rpc_method_handler),
            (True, True): (handler.stream_stream, grpc.stream_stream_rpc_method_handler),
        }
        behaviour, make = wrap[bool(handler.request_streaming), bool(handler.response_streaming)]
        around = self._generator if inspect.isasyncgenfunction(behaviour) else self._coroutine
        return make(
            around(behaviour, method, authorization),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _enter(self, method: str, authorization: str) -> None:
        # Before anything else is looked at: what a stranger sends is not worth a check (AIP-211).
        CALLER.set(self._credentials.authorize(method, authorization))
        if not self._gate.is_open:
            raise NotServing("the daemon is starting or about to stop; call again soon")

    def _coroutine(self, behaviour: Any, method: str, authorization: str) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                self._enter(method, authorization)
                return await behaviour(request, context)
            except Exception as error:
                await _leave(error, context, method)

        return call

    def _generator(self, behaviour: Any, method: str, authorization: str) -> Any:
        async def call(
            request: Any, context: grpc.aio.ServicerContext[Any, Any]
        ) -> AsyncIterator[Any]:
            try:
                self._enter(method, authorization)
                async for response in behaviour(request, context):
                    yield response
            except Exception as error:
                await _leave(error, context, method)

        return call


async def _leave(
    error: Exception, context: grpc.aio.ServicerContext[Any, Any], method: str
) -> None:
    """End a call that has failed."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    told = error_table.public(error)
    if isinstance(told, error_table.Internal) or not isinstance(error, AfterwordError):
        error_table.log_unexpected(error, method)
    await error_table.abort(context, told)
