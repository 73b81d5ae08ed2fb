"""Who changed what: one entry for each document that a write has changed.

Decides: what an entry tells, and what of a document is left out of it.
Never: personal data beyond what documents hold, which is addresses of senders and carriers; whoever
adds entries by `Writer.audit` gives names of resources only, and those of contacts are keyed hashes.

An entry is written in the same step as the change (`core/registry/writer.py`), so neither is without
the other. Of conditions it keeps the text; the tree that was compiled from it is large and follows from
it. Numbers given away and the copies of former revisions are no changes that somebody asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from core.registry.drafts import Draft
from core.registry.operations import Call
from core.registry.store import AuditLines, Kind, LoggedAudit, RegistryStore

SCAN_MAX: Final = 5_000
"""Lines that one call looks at; a search that finds little goes on with the next page."""
PAGE_BYTES_MAX: Final = 1024 * 1024
"""A page ends with the entry that fills it: a client takes 4 MiB, and a rule may have 200 KB."""
_SCAN_STEP: Final = 100
_DERIVED: Final = frozenset({Kind.COUNTER, Kind.RULE_REVISION, Kind.TEMPLATE_REVISION})

_DOCUMENT: Final = msgspec.json.Decoder(dict[str, Any])


class AuditEntry(msgspec.Struct, frozen=True, array_like=True):
    """One change. Field order is the storage format: append only."""

    time_ms: int
    actor: str
    """Who asked; "" for the daemon itself."""
    method: str
    """What was asked: "update_rule"."""
    target: str
    """Full name of the resource that the call named: what was changed may lie below it, or beside."""
    resource: str
    """Full name of what was changed."""
    revision: int = 0
    """Of the registry, since the change; 0 for what is no configuration."""
    request_id: str = ""
    before: str = ""
    """The document as JSON; "" if there was none."""
    after: str = ""
    """The same after the change; "" if there is none any more. Of an import, its counts."""


class FoundEntry(msgspec.Struct, frozen=True):
    """An entry with the id that names it within its account."""

    id: str
    entry: AuditEntry


class AuditFilter(msgspec.Struct, frozen=True):
    """Which entries are wanted; what is left empty wants all."""

    resource_prefix: str = ""
    """Of the changed resource's full name, or of the one that the call named."""
    actor: str = ""
    start_ms: int = 0
    end_ms: int = 2**62
    """Changes before this."""

    def wants(self, entry: AuditEntry) -> bool:
        """Return whether an entry is one of those."""
        prefix = self.resource_prefix
        return (
            self.start_ms <= entry.time_ms < self.end_ms
            and self.actor in ("", entry.actor)
            and (entry.resource.startswith(prefix) or entry.target.startswith(prefix))
        )


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(AuditEntry)


def log_of(account: str, resource: str) -> str:
    """Return in which log changes of a resource are: contacts and their invitations have one of their
    own, so that a busy shop's consents do not push out who changed its rules."""
    own = (f"accounts/{account}/contacts", f"accounts/{account}/invitations")
    return f"{account}/contacts" if resource.startswith(own) else account


def lines(log: str, *entries: AuditEntry) -> AuditLines:
    """Return entries as the store keeps them."""
    return AuditLines(log, tuple(_ENCODER.encode(entry) for entry in entries))


def lines_of(asked: Call, draft: Draft) -> AuditLines:
    """Return an entry for each document that a draft changes, in the order of its first change."""
    documents: Mapping[str, Mapping[str, bytes]] = draft.base.state.documents
    changed = {
        (change.kind, change.key): change.value
        for change in draft.changes
        if change.kind not in _DERIVED
    }
    entries = []
    for (kind, key), value in changed.items():
        before, after = _told(documents[kind].get(key)), _told(value)
        if before != after:
            entries.append(
                AuditEntry(
                    draft.now_ms, asked.actor, asked.method, asked.name, key, draft.revision,
                    asked.op_id, before, after,
                )
            )  # fmt: skip
    return lines(asked.account, *entries)


def _told(document: bytes | None) -> str:
    if not document:
        return ""
    return msgspec.json.encode(_without_trees(_DOCUMENT.decode(document))).decode()


def _without_trees(value: Any) -> Any:
    """Return a part of a document without the compiled trees of its conditions."""
    if isinstance(value, list):
        return [_without_trees(each) for each in value]
    if not isinstance(value, dict):
        return value
    is_condition = "source" in value
    return {
        key: _without_trees(each)
        for key, each in value.items()
        if not (is_condition and key == "tree")
    }


async def search(
    store: RegistryStore, account: str, wanted: AuditFilter, before: str, limit: int
) -> tuple[list[FoundEntry], str]:
    """Return entries of an account, newest first, and the id to go on before, "" at the end.

    Those about contacts and invitations are found only by a prefix that says so.

    Bounded work: a page may have fewer than `limit` entries, even none, and a next one.

    Raises:
        ValueError: `before` has not the form of an id.
    """
    found: list[FoundEntry] = []
    log, size_bytes = log_of(account, wanted.resource_prefix), 0
    for _ in range(0, SCAN_MAX, _SCAN_STEP):
        logged: list[LoggedAudit] = await store.audit(log, before, _SCAN_STEP)
        for one in logged:
            before = one.id
            entry = _DECODER.decode(one.line)
            if wanted.wants(entry):
                found.append(FoundEntry(one.id, entry))
                size_bytes += len(one.line)
                if len(found) == limit or size_bytes >= PAGE_BYTES_MAX:
                    return found, before
        if len(logged) < _SCAN_STEP:
            return found, ""
    return found, before
