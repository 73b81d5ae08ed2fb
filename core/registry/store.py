"""The port of the registry's storage, and the shape of what it holds.

Decides: the kinds of documents, the atomic write, and what a store must survive.
Never: what a document means (`core/registry/resources.py`) or which changes are allowed
(`core/registry/drafts.py`).

A registry is one number, its revision, and JSON documents by (kind, key). Every write raises the
revision by one; whoever wants to write says which revision it has read, and is refused if another
was faster. `memory_store.py` is the specification in Python, `redis_store.py` the durable one.

Invariants:
    1. The revision only rises, by one with each write, and names exactly one content.
    2. A write is seen whole or not at all, its remembered answer included.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from core.bounds import DAY_MS

OPERATION_RETENTION_MS = DAY_MS
"""How long the first answer of a request id is kept: the API promises 24 hours."""


class Kind(enum.StrEnum):
    """The kinds of documents. The text is part of stored keys: never change one."""

    ACCOUNT = "account"
    EVENT_TYPE = "event_type"
    CHANNEL = "channel"
    CAP = "cap"
    CARRIER = "carrier"
    RULE = "rule"
    """The newest revision of each rule, deleted ones included."""
    RULE_REVISION = "rule_revision"
    """The revisions before the newest."""
    ACTIVATION = "activation"
    COUNTER = "counter"
    """The last number given to a resource, by counter."""
    HISTORY = "history"
    """Who wrote what and when; a ring of the newest writes."""


class Change(msgspec.Struct, frozen=True):
    """One document written, or removed if `value` is None."""

    kind: Kind
    key: str
    value: bytes | None


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
        self, expected_revision: int, changes: Sequence[Change], op_id: str, op_result: bytes
    ) -> int:
        """Apply all changes in one atomic step, in order, if nobody has written in between.

        Args:
            expected_revision: the revision from which the changes were computed.
            changes: at least one; a later one wins over an earlier one with the same kind and key.
            op_id: names the operation, "" for one that need not be recognised.
            op_result: kept under `op_id` for `OPERATION_RETENTION_MS`.

        Returns:
            The new revision, `expected_revision + 1`.

        Raises:
            Conflict: the revision is another one, or an operation with this id was written before
                (so a repetition after a lost answer never applies twice); nothing changed. Load
                again, look for the operation, and compute the changes anew.
        """

    async def find_op(self, op_id: str) -> bytes | None:
        """Return the result kept with an operation id, None if there is none (any more)."""

    async def close(self) -> None:
        """Release connections. Idempotent."""
