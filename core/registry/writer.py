"""The newest snapshot, and how a change becomes the next revision.

Decides: that a change happens once, whoever else writes at the same time; and that changes which must
bite at once have done so before the caller hears of them (R13).
Never: which changes there are (`registry.py`, `resource_calls.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Self

import msgspec

from core.clock import Clock
from core.errors import Conflict
from core.model import Medium
from core.registry import audit
from core.registry.audit import AuditEntry, AuditFilter, FoundEntry
from core.registry.drafts import Draft
from core.registry.matchers import MatcherFactory, default_matcher
from core.registry.operations import AnswerT, Call, replayed, result_of
from core.registry.snapshot import Snapshot
from core.registry.store import RegistryState, RegistryStore

WRITE_ATTEMPTS_MAX: Final = 64
"""Each lost attempt means that somebody else has won, so losing so often means a storm of writes."""

OnBite = Callable[[int], Awaitable[None]]


class Writer:
    """What reads and writes the registry's store; `Registry` is made of it."""

    def __init__(
        self,
        store: RegistryStore,
        clock: Clock,
        snapshot: Snapshot,
        matcher_factory: MatcherFactory,
    ) -> None:
        """Use `open` instead."""
        self.on_bite: list[OnBite] = []
        self._store = store
        self._clock = clock
        self._snapshot = snapshot
        self._matcher_factory = matcher_factory
        # One write or load of this process at a time: writers here need not lose against each other,
        # and a revision read from the store can be compared with the snapshot.
        self._lock = asyncio.Lock()

    @classmethod
    async def open(
        cls, store: RegistryStore, clock: Clock, matcher_factory: MatcherFactory = default_matcher
    ) -> Self:
        """Return a registry that has loaded what the store holds."""
        snapshot = Snapshot(await store.load(), None, matcher_factory)
        return cls(store, clock, snapshot, matcher_factory)

    @property
    def default_media(self) -> frozenset[Medium]:
        """Media over which channels can send that name no sender for them: all, unless told."""
        return self._snapshot.default_media

    @default_media.setter
    def default_media(self, media: frozenset[Medium]) -> None:
        self._snapshot.default_media = media

    @property
    def snapshot(self) -> Snapshot:
        """The newest revision that this process has seen. Take it once per batch."""
        return self._snapshot

    async def refresh(self) -> bool:
        """Load what others have written; return whether there was anything.

        Cost: one round trip if there was not, else all documents once.
        """
        async with self._lock:
            return await self._refresh()

    async def _refresh(self) -> bool:
        # Not only if newer: a server restored from an older copy is the truth all the same.
        if await self._store.revision() == self._snapshot.revision:
            return False
        self._install(await self._store.load())
        return True

    def _install(self, state: RegistryState) -> None:
        self._snapshot = Snapshot(state, self._snapshot, self._matcher_factory)

    async def _write(
        self,
        asked: Call,
        decoder: msgspec.json.Decoder[AnswerT],
        edit: Callable[[Draft], AnswerT],
    ) -> AnswerT:
        """Carry out an edit once, on the newest snapshot, and let it bite.

        Cost: three round trips (revision, operation, write), plus a load and another round for each
        writer elsewhere that was faster.
        """
        async with self._lock:
            answer, bite_revision = await self._compare_and_set(asked, decoder, edit)
        if bite_revision is not None:
            for bite in self.on_bite:
                await bite(bite_revision)
        return answer

    async def _compare_and_set(
        self,
        asked: Call,
        decoder: msgspec.json.Decoder[AnswerT],
        edit: Callable[[Draft], AnswerT],
    ) -> tuple[AnswerT, int | None]:
        """Return the answer, and the revision that must bite, if any."""
        operation_key = f"{asked.account}:{asked.op_id}" if asked.op_id else ""
        for _ in range(WRITE_ATTEMPTS_MAX):
            await self._refresh()
            # Looked for after the snapshot is read: what is written later makes the write conflict.
            if operation_key and not asked.validate_only:
                kept = await self._store.find_op(operation_key)
                if kept is not None:
                    return replayed(asked, decoder, kept)
            draft = Draft(self._snapshot, self._clock.now_ms(), asked.actor)
            answer = edit(draft)
            if asked.validate_only:
                return answer, None
            if not draft.changes and not operation_key:
                return answer, self._snapshot.revision if draft.bites else None
            result = result_of(asked, draft, answer)
            try:
                await self._store.write(
                    self._snapshot.revision, draft.changes, operation_key, result,
                    audit.lines_of(asked, draft),
                )  # fmt: skip
            except Conflict:
                continue
            self._install(self._snapshot.state.after(draft.changes))
            return answer, draft.revision if draft.bites else None
        raise Conflict("too many others are writing; try again")

    # Audit log ----------------------------------------------------------------------------------

    async def audit(
        self, account: str, actor: str, method: str, resource: str, request_id: str = "",
        after: str = "",
    ) -> None:  # fmt: skip
        """Note that somebody has done what is no configuration: erased, suppressed, granted.

        Args:
            account: id of the account.
            actor: who asked.
            method: what was asked, "erase_contact".
            resource: full name of what it was done to; nothing a person could be known by.
            request_id: of the request, if it had one.
            after: what came of it, as JSON, where the name alone does not tell.
        """
        now_ms = self._clock.now_ms()
        entry = AuditEntry(
            now_ms, actor, method, resource, resource, request_id=request_id, after=after
        )
        await self._store.append_audit(audit.lines(audit.log_of(account, resource), entry))

    async def audit_entries(
        self, account: str, wanted: AuditFilter, before: str, limit: int
    ) -> tuple[list[FoundEntry], str]:
        """Return who changed what, newest first; see `core.registry.audit.search`."""
        return await audit.search(self._store, account, wanted, before, limit)
