"""One ImportConsents: batches in, answers out, in order.

Decides: which items go together: those about one contact are one write, in their order, and contacts
of different partitions are written at the same time.

A batch is answered before the next is read, so a client that sends more is held back by flow control.
An item that cannot be read is answered for itself; what is repeated after a break is harmless.

The audit log gets one entry for the stream, with its counts, however it ends; each line has its own in
the consent log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import grpc
import msgspec

from afterword.v1 import consent_service_pb2 as pb2
from control import error_table
from control.auth import Caller
from control.conversion import checks, consents, names
from core import bounds
from core.clock import Clock
from core.contact_ports import ConsentLine
from core.engine.consent_documents import SOURCE_IMPORT, granted_as
from core.engine.consents import ConsentBook
from core.engine.reach import Whom
from core.errors import AfterwordError, InvalidField, OutOfRange
from core.model import ConsentStatus, Suppression
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]
WRITES_AT_ONCE = 64


class _Lines(msgspec.Struct):
    """What a batch says of one contact, as it names them."""

    whom: Whom
    lines: list[ConsentLine] = []
    indices: list[int] = []


class ConsentImport:
    """The server's side of one stream."""

    def __init__(
        self, book: ConsentBook, registry: Registry, clock: Clock, who: Caller, context: Context
    ) -> None:
        self._book = book
        self._registry = registry
        self._clock = clock
        self._who = who
        self._context = context
        self._room = asyncio.Semaphore(WRITES_AT_ONCE)
        self._counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Serve the stream until the client has said everything."""
        try:
            while True:
                request = await self._context.read()
                if not isinstance(request, pb2.ImportConsentsRequest):
                    return
                await self._context.write(await self._answer(request))
        finally:
            if self._counts:
                await self._audit()

    async def _audit(self) -> None:
        """Note that there was an import, also one that broke off."""
        account = self._who.account
        await self._registry.audit(
            account, self._who.actor, "import_consents", f"{names.account_name(account)}/contacts",
            after=msgspec.json.encode(dict(sorted(self._counts.items()))).decode(),
        )  # fmt: skip

    async def _answer(self, request: pb2.ImportConsentsRequest) -> pb2.ImportConsentsResponse:
        names.parent_account(request.parent, self._who.account)
        if not 1 <= len(request.items) <= bounds.CONSENT_BATCH_MAX:
            raise OutOfRange(
                f"items must have 1 to {bounds.CONSENT_BATCH_MAX:,} entries; nothing of this batch "
                "was done",
                field="items",
            )
        results = [pb2.ImportConsentsResponse.Result(index=at) for at in range(len(request.items))]
        contacts: dict[bytes, _Lines] = {}
        for index, item in enumerate(request.items):
            try:
                whom, line = self._line(item, index)
            except AfterwordError as error:
                results[index].status.CopyFrom(error_table.status_of(error_table.public(error)))
                continue
            results[index].confirmed = line.status == ConsentStatus.CONFIRMED
            known = contacts.setdefault(msgspec.msgpack.encode(whom), _Lines(whom))
            known.lines.append(line)
            known.indices.append(index)
        if not request.validate_only:
            await asyncio.gather(*[self._write(each, results) for each in contacts.values()])
            self._counts.update(
                "refused" if result.status.code else f"{item.WhichOneof('item')}s"
                for item, result in zip(request.items, results, strict=True)
            )
        return pb2.ImportConsentsResponse(results=results)

    def _line(self, item: pb2.ImportConsentsRequest.Item, index: int) -> tuple[Whom, ConsentLine]:
        """Return whom an item is about, and what it writes."""
        field = f"items[{index}]"
        checks.refuse_unknown_deeply(item, field)
        kind = item.WhichOneof("item")
        if kind is None:
            checks.missing(field, "a grant, a withdrawal or a suppression")
        account, actor, now_ms = self._who.account, self._who.actor, self._clock.now_ms()
        request = getattr(item, kind)
        try:
            if request.parent:
                names.parent_account(request.parent, account)
            if request.validate_only:
                raise InvalidField(
                    "validate_only is for the whole batch: set it there", field="validate_only"
                )
            whom = consents.whom_of(request.contact, account)
            if kind == "grant":
                said, expire_ms = consents.grant_from_proto(
                    request, account, actor, SOURCE_IMPORT, now_ms, is_import=True
                )
                is_proven = bool(said.document.collection_point and said.time_ms)
                status: int = granted_as(said.document.legal_basis, is_proven=is_proven)
                return whom, self._book.line(account, status, said, expire_ms)
            if kind == "withdrawal":
                said = consents.withdrawal_from_proto(
                    request, account, actor, SOURCE_IMPORT, now_ms
                )
                return whom, self._book.line(account, ConsentStatus.WITHDRAWN, said)
            said, status = consents.suppression_from_proto(
                request, account, actor, SOURCE_IMPORT, now_ms, Suppression.IMPORTED
            )
            return whom, self._book.line(account, status, said)
        except AfterwordError as error:
            if error.field:
                error.field = f"{field}.{kind}.{error.field}"
            raise

    async def _write(self, said: _Lines, results: list[pb2.ImportConsentsResponse.Result]) -> None:
        async with self._room:
            try:
                written = await self._book.write(self._who.account, said.whom, said.lines)
            except AfterwordError as error:
                status = error_table.status_of(error_table.public(error))
                for index in said.indices:
                    results[index].status.CopyFrom(status)
                    results[index].confirmed = False
                return
            results[said.indices[0]].ended_count = len(written.ended)
