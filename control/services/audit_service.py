"""AuditService: see audit_service.proto for the contract."""

from __future__ import annotations

from typing import Any

import grpc

from afterword.v1 import audit_service_pb2 as pb2
from afterword.v1 import audit_service_pb2_grpc
from control.conversion import checks, names, pages, times
from control.services.updates import caller
from core.errors import InvalidField
from core.registry.audit import AuditFilter, FoundEntry
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]

_NO_END_MS = 2**62


class AuditService(audit_service_pb2_grpc.AuditServiceServicer):
    """Tells who changed what."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def ListAuditEntries(
        self, request: pb2.ListAuditEntriesRequest, context: Context
    ) -> pb2.ListAuditEntriesResponse:
        """List changes, newest first."""
        checks.refuse_unknown_deeply(request)
        account = caller().account
        names.parent_account(request.parent, account)
        wanted = _filter(request, account)
        scope = f"audit {wanted.resource_prefix} {wanted.actor} {wanted.start_ms} {wanted.end_ms}"
        size, before = pages.size(request.page_size), pages.after(request.page_token, scope)
        try:
            found, last = await self._registry.audit_entries(account, wanted, before, size)
        except ValueError:
            raise InvalidField(
                "page_token must be the next_page_token of the page before", field="page_token"
            ) from None
        return pb2.ListAuditEntriesResponse(
            entries=[entry_to_proto(account, each) for each in found],
            next_page_token=pages.token(scope, last),
        )


def _filter(request: pb2.ListAuditEntriesRequest, account: str) -> AuditFilter:
    prefix, own = request.resource_prefix, names.account_name(account)
    if prefix and not (prefix == own or prefix.startswith(f"{own}/")):
        raise InvalidField(
            f'resource_prefix must begin with "{own}/", or be left out', field="resource_prefix"
        )
    start_ms, end_ms = 0, _NO_END_MS
    if request.HasField("start_time"):
        start_ms = times.instant_ms(request.start_time, "start_time")
    if request.HasField("end_time"):
        end_ms = times.instant_ms(request.end_time, "end_time")
    if end_ms <= start_ms:
        raise InvalidField("end_time must be later than start_time", field="end_time")
    return AuditFilter(prefix, request.actor, start_ms, end_ms)


def entry_to_proto(account: str, found: FoundEntry) -> pb2.AuditEntry:
    """Return one change as clients see it."""
    entry = found.entry
    return pb2.AuditEntry(
        name=f"accounts/{account}/auditEntries/{found.id}",
        change_time=times.timestamp(entry.time_ms),
        actor=entry.actor,
        method=entry.method,
        resource=entry.resource,
        target=entry.target,
        revision=entry.revision,
        before_json=entry.before,
        after_json=entry.after,
        request_id=entry.request_id,
    )
