"""The port of the registry's storage, and the shape of what it holds.

Decides: the kinds of documents, the atomic write, and what a store must survive.
Never: what a document means (`core/registry/resources.py`) or which changes are allowed
(`core/registry/drafts.py`).

A registry is one number, its revision, and JSON documents by (kind, key). Every write raises the
revision by one; whoever wants to write says which revision it has read, and is refused if another
was faster. Beside it each account has an audit log: lines that only grow in number, until they are
too old or too many. `memory_store.py` is the specification in Python, `redis_store.py` the durable
one.

Invariants:
    1. The revision only rises, by one with each write, and names exactly one content.
    2. A write is seen whole or not at all, its remembered answer and its audit lines included.
    3. Ids of audit lines rise, in every account, with the order in which they were written.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from core.bounds import AUDIT_LINES_MAX, AUDIT_RETENTION_MS, DAY_MS

OPERATION_RETENTION_MS = DAY_MS
"""How long the first answer of a request id is kept: the API promises 24 hours."""


class Kind(enum.StrEnum):
    """The kinds of documents. The text is part of stored keys: never change one."""

    ACCOUNT = "account"
    EVENT_TYPE = "event_type"
    CHANNEL = "channel"
    CAP = "cap"
    CARRIER = "carrier"
    BLOCK = "block"
    PLATFORM = "platform"
    SENDER = "sender"
    RULE = "rule"
    """The newest revision of each rule, deleted ones included."""
    RULE_REVISION = "rule_revision"
    """The revisions before the newest."""
    ACTIVATION = "activation"
    TEMPLATE = "template"
    """The newest revision of each template that a shop has written."""
    TEMPLATE_REVISION = "template_revision"
    """The revisions before the newest."""
    BREAKER = "breaker"
    """How complaint breakers of channels stand, by medium."""
    COUNTER = "counter"
    """The last number given to a resource, by counter."""


class Change(msgspec.Struct, frozen=True):
    """One document written, or removed if `value` is None."""

    kind: Kind
    key: str
    value: bytes | None


class AuditLines(msgspec.Struct, frozen=True):
    """Lines for the audit log of one account, or of its contacts, in order (`core.registry.audit`)."""

    account: str = ""
    lines: tuple[bytes, ...] = ()


class LoggedAudit(msgspec.Struct, frozen=True):
    """A line as the log keeps it: `id` names it within its account."""

    id: str
    line: bytes


NO_AUDIT = AuditLines()


class RegistryState(msgspec.Struct, frozen=True):
    """All documents as of one revision. Treat the mappings as immutable.

    Shape: every kind is a key of `documents`, with an empty mapping if there are none.
    """

    revision: int
    documents: Mapping[str, Mapping[str, bytes]]

    def after(self, changes: Sequence[Change]) -> RegistryState:
        """Return the state one revision later; kinds that do not change keep their mapping.

        Cost: O(changes + documents of the kinds that change).
        """
        documents: dict[str, dict[str, bytes]] = {}
        for change in changes:
            table = documents.setdefault(change.kind, dict(self.documents[change.kind]))
            if change.value is None:
                table.pop(change.key, None)
            else:
                table[change.key] = change.value
        return RegistryState(self.revision + 1, {**self.documents, **documents})


EMPTY_STATE = RegistryState(0, {kind.value: {} for kind in Kind})
"""What a new store holds."""


class RegistryStore(Protocol):
    """Where the registry lives.

    Errors of every operation: `StoreUnavailable` if the answer did not arrive. A write may then
    have taken effect; `find_op` says whether, if it had an operation id.
    """

    async def load(self) -> RegistryState:
        """Return all documents as of one revision, the newest."""

    async def revision(self) -> int:
        """Return the newest revision; 0 if nothing was ever written. Cost: one round trip."""

    async def write(
        self,
        expected_revision: int,
        changes: Sequence[Change],
        op_id: str,
        op_result: bytes,
        audit: AuditLines = NO_AUDIT,
    ) -> int:
        """Apply all changes in one atomic step, in order, if nobody has written in between.

        Args:
            expected_revision: the revision from which the changes were computed.
            changes: a later one wins over an earlier one with the same kind and key; at least one,
                unless there is an operation to remember.
            op_id: names the operation, "" for one that need not be recognised.
            op_result: kept under `op_id` for `OPERATION_RETENTION_MS`.
            audit: appended to the log of an account.

        Returns:
            The new revision, `expected_revision + 1`.

        Raises:
            Conflict: the revision is another one, or an operation with this id was written before
                (so a repetition after a lost answer never applies twice); nothing changed. Load
                again, look for the operation, and compute the changes anew.
        """

    async def find_op(self, op_id: str) -> bytes | None:
        """Return the result kept with an operation id, None if there is none (any more)."""

    async def append_audit(self, audit: AuditLines) -> None:
        """Append lines to an account's log, beside any write. A repetition appends them again.

        The oldest lines go: those beyond the newest `AUDIT_LINES_MAX` of the account, and those
        older than `AUDIT_RETENTION_MS`. So they do at every write.
        """

    async def audit(self, account: str, before: str, limit: int) -> list[LoggedAudit]:
        """Return the newest lines of an account, newest first.

        Args:
            before: only those older than the line with this id; "" for all.
            limit: how many at most.

        Raises:
            ValueError: `before` has not the form of an id.
        """

    async def close(self) -> None:
        """Release connections. Idempotent."""


assert AUDIT_LINES_MAX > 0
assert AUDIT_RETENTION_MS > OPERATION_RETENTION_MS
