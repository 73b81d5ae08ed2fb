"""TemplateService, the part on templates of the shop's own; see template_service.proto."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import grpc
from google.protobuf.empty_pb2 import Empty

from afterword.v1 import template_service_pb2 as pb2
from afterword.v1 import template_service_pb2_grpc
from control.conversion import checks, masks, names, pages, templates
from control.services.updates import caller, found, operation, update
from core.errors import NotFound
from core.registry.contents import ContentTemplate
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]

PATTERN = "templates/{template}"
PAGE_BYTES_MAX = 1024 * 1024
"""A page ends with the template that fills it: a client takes 4 MiB."""


class TemplateMethods(template_service_pb2_grpc.TemplateServiceServicer):
    """Manages own templates."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._reading = asyncio.Lock()
        """Held by the one template that is read at a time: more would take the time of messages."""

    async def CreateTemplate(
        self, request: pb2.CreateTemplateRequest, context: Context
    ) -> pb2.Template:
        """Add a template."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        template_id = checks.resource_id(request.template_id, "template_id")
        new = await self._read(request.template, who.account, template_id)
        created = await self._registry.create_template(
            new, op_id, request.validate_only, actor=who.actor
        )
        return templates.template_to_proto(created)

    async def UpdateTemplate(
        self, request: pb2.UpdateTemplateRequest, context: Context
    ) -> pb2.Template:
        """Change a template: a new revision."""
        op_id = operation(request, request.request_id)
        who = caller()
        name = request.template.name
        (template_id,) = names.ids(name, who.account, PATTERN, "template.name")

        def present() -> ContentTemplate:
            return found(self._registry.snapshot.template(who.account, template_id), name)

        async def write(before: ContentTemplate, etag: str) -> ContentTemplate:
            pb = masks.merged(
                templates.template_to_proto(before), request.template, request.update_mask,
                templates.OUTPUT_ONLY,
            )  # fmt: skip
            new = await self._read(pb, who.account, template_id)
            return await self._registry.update_template(
                new, etag, op_id, request.validate_only, actor=who.actor
            )

        etag = request.template.etag
        written = await update(self._registry, etag, present, lambda before: before, write)
        return templates.template_to_proto(written)

    async def DeleteTemplate(self, request: pb2.DeleteTemplateRequest, context: Context) -> Empty:
        """Delete a template."""
        op_id = operation(request, request.request_id)
        who = caller()
        (template_id,) = names.ids(request.name, who.account, PATTERN, "name")
        await self._registry.delete_template(
            who.account, template_id, request.etag, op_id, request.validate_only, actor=who.actor
        )
        return Empty()

    async def ListTemplateRevisions(
        self, request: pb2.ListTemplateRevisionsRequest, context: Context
    ) -> pb2.ListTemplateRevisionsResponse:
        """List the revisions that are kept, newest first."""
        checks.refuse_unknown_deeply(request)
        newest = self.own_template(request.name, 0, "name")
        revisions = self._registry.snapshot.template_revisions(newest)
        shown, token = _page(
            [templates.template_to_proto(one) for one in reversed(revisions)],
            lambda each: f"{2**31 - each.revision:010}",
            f"revisions {newest.name}",
            request,
        )
        return pb2.ListTemplateRevisionsResponse(templates=shown, next_page_token=token)

    async def _read(self, pb: pb2.Template, account: str, template_id: str) -> ContentTemplate:
        """Return a template that is right. A large one takes a second to read and try out, so that is
        done beside what sends messages."""
        async with self._reading:
            return await asyncio.to_thread(templates.template_from_proto, pb, account, template_id)

    def own_templates(
        self, request: pb2.ListTemplatesRequest
    ) -> tuple[Sequence[pb2.Template], str]:
        """Return a page of the own templates that a request asks for, by id."""
        account = caller().account
        names.parent_account(request.parent, account)
        wanted = [
            pb
            for pb in map(templates.template_to_proto, self._registry.snapshot.templates(account))
            if request.kind in (0, pb.kind)
            and (not request.family or request.family in pb.families)
        ]
        scope = f"templates {account} {request.kind} {request.family}"
        return _page(wanted, lambda each: each.name, scope, request)

    def own_template(self, name: str, revision: int, field: str) -> ContentTemplate:
        """Return an own template by its full name.

        Args:
            revision: 0 for the newest.
        """
        account = caller().account
        (template_id,) = names.ids(name, account, PATTERN, field)
        snapshot = self._registry.snapshot
        newest = found(snapshot.template(account, template_id), name)
        if not revision:
            return newest
        kept = snapshot.template_revision(account, template_id, revision)
        if kept is None:
            raise NotFound(
                f"{name} has no revision {revision} any more, or never had: ListTemplateRevisions "
                "lists those that are kept",
                field="revision",
            )
        return kept


class _Paged(Protocol):
    @property
    def page_size(self) -> int: ...

    @property
    def page_token(self) -> str: ...


def _page(
    found: Sequence[pb2.Template], key: Callable[[pb2.Template], str], scope: str, request: _Paged
) -> tuple[Sequence[pb2.Template], str]:
    """Return one page, which ends with the template that fills it."""
    shown, token = pages.page(found, key, scope, request.page_size, request.page_token)
    size_bytes = 0
    for count, one in enumerate(shown, 1):
        size_bytes += one.ByteSize()
        if size_bytes >= PAGE_BYTES_MAX and count < len(shown):
            return shown[:count], pages.token(scope, key(one))
    return shown, token
