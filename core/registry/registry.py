"""The registry: versioned configuration, read from memory, written with compare-and-set.

Decides: how a change becomes the next revision, once, whoever else writes at the same time; and that
changes which must bite at once have done so before the caller hears of them (R13).
Never: which changes are allowed (`edits.py`, `rule_edits.py`).

A write reads the newest snapshot, computes the changes, and writes them if the snapshot is still the
newest; else it begins again. So two activations of one slot at the same time leave one winner (A25).
Every write is noted with who did what and when.

Errors of every write, beside those of its edit: `StoreUnavailable` if the store or a callback did
not answer. The change may then have taken effect: repeat it with the same operation id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from core.clock import Clock
from core.errors import Conflict
from core.registry import edits, rule_edits
from core.registry.documents import (
    account_name,
    activation_name,
    cap_name,
    channel_name,
    event_type_name,
    rule_name,
)
from core.registry.drafts import Draft
from core.registry.operations import AnswerT, Call, call, note, replayed, result_of
from core.registry.resources import Account, Activation, Cap, Channel, EventType, Rule
from core.registry.snapshot import MatcherFactory, Snapshot, default_matcher
from core.registry.store import RegistryState, RegistryStore

WRITE_ATTEMPTS_MAX = 64
"""Each lost attempt means that somebody else has won, so losing so often means a storm of writes."""

OnBite = Callable[[int], Awaitable[None]]

_ACCOUNT: Final = msgspec.json.Decoder(Account)
_EVENT_TYPE: Final = msgspec.json.Decoder(EventType)
_CHANNEL: Final = msgspec.json.Decoder(Channel)
_CAP: Final = msgspec.json.Decoder(Cap)
_RULE: Final = msgspec.json.Decoder(Rule)
_ACTIVATION: Final = msgspec.json.Decoder(Activation)
_SWAP: Final = msgspec.json.Decoder(tuple[Activation, list[Activation]])
_NOTHING: Final = msgspec.json.Decoder(None)


class Registry:
    """The configuration of all accounts, as this process knows it.

    Arguments that all writes share: `actor` says who asks; `op_id`, if not empty, names the request
    within its account, and gives the first answer again for 24 hours; with `validate_only`
    everything is checked and answered, and nothing changed. `etag`, if not empty, must be that of
    the resource (else `RevisionConflict`).

    Attributes:
        on_bite: awaited, one after the other, with the new revision, before a write returns after
            which no daemon may claim with an older snapshot: a switched event type or step, a rule
            deleted, switched on or off, and every change of caps. Called again if such a write is
            repeated, so each must be idempotent.
    """

    def __init__(
        self,
        store: RegistryStore,
        clock: Clock,
        snapshot: Snapshot,
        matcher_factory: MatcherFactory,
    ) -> None:
        """Use `Registry.open` instead."""
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
    ) -> Registry:
        """Return a registry that has loaded what the store holds."""
        snapshot = Snapshot(await store.load(), None, matcher_factory)
        return cls(store, clock, snapshot, matcher_factory)

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

    # Accounts and event types ----------------------------------------------------------------

    async def ensure_account(
        self, account_id: str, default_caps: bool = True, *, actor: str = ""
    ) -> Account:
        """Make an account exist, with the shipped event types, and caps if it is new. Idempotent."""
        asked = call("ensure_account", account_name(account_id), account_id, actor)
        edit = partial(edits.ensure_account, account=account_id, with_default_caps=default_caps)
        return await self._write(asked, _ACCOUNT, edit)

    async def create_event_type(
        self, new: EventType, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> EventType:
        """Add an event type."""
        asked = call("create_event_type", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _EVENT_TYPE, partial(edits.create_event_type, new=new))

    async def update_event_type(
        self,
        new: EventType,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> EventType:
        """Change an event type; mostly its switch."""
        asked = call("update_event_type", new.name, new.account, actor, op_id, validate_only)
        edit = partial(edits.update_event_type, new=new, etag=etag)
        return await self._write(asked, _EVENT_TYPE, edit)

    async def delete_event_type(
        self,
        account_id: str,
        event_type_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove an event type which is not shipped and which no rule names."""
        name = event_type_name(account_id, event_type_id)
        asked = call("delete_event_type", name, account_id, actor, op_id, validate_only)
        edit = partial(
            edits.delete_event_type, account=account_id, event_type=event_type_id, etag=etag
        )
        await self._write(asked, _NOTHING, edit)

    # Channels ----------------------------------------------------------------------------------

    async def create_channel(
        self, new: Channel, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> Channel:
        """Add a channel."""
        asked = call("create_channel", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _CHANNEL, partial(edits.create_channel, new=new))

    async def update_channel(
        self,
        new: Channel,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> Channel:
        """Change a channel."""
        asked = call("update_channel", new.name, new.account, actor, op_id, validate_only)
        edit = partial(edits.update_channel, new=new, etag=etag)
        return await self._write(asked, _CHANNEL, edit)

    async def delete_channel(
        self,
        account_id: str,
        channel_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove a channel on which no rule is active."""
        name = channel_name(account_id, channel_id)
        asked = call("delete_channel", name, account_id, actor, op_id, validate_only)
        edit = partial(edits.delete_channel, account=account_id, channel=channel_id, etag=etag)
        await self._write(asked, _NOTHING, edit)

    # Caps ----------------------------------------------------------------------------------------

    async def create_cap(
        self, new: Cap, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> Cap:
        """Add a cap."""
        asked = call("create_cap", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _CAP, partial(edits.create_cap, new=new))

    async def update_cap(
        self,
        new: Cap,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> Cap:
        """Change a cap."""
        asked = call("update_cap", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _CAP, partial(edits.update_cap, new=new, etag=etag))

    async def delete_cap(
        self,
        account_id: str,
        cap_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Remove a cap."""
        name = cap_name(account_id, cap_id)
        asked = call("delete_cap", name, account_id, actor, op_id, validate_only)
        edit = partial(edits.delete_cap, account=account_id, cap=cap_id, etag=etag)
        await self._write(asked, _NOTHING, edit)

    # Rules ---------------------------------------------------------------------------------------

    async def create_rule(
        self, new: Rule, op_id: str = "", validate_only: bool = False, *, actor: str = ""
    ) -> Rule:
        """Add a rule, inactive everywhere."""
        asked = call("create_rule", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _RULE, partial(rule_edits.create_rule, new=new))

    async def update_rule(
        self,
        new: Rule,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> Rule:
        """Change a rule: a new revision."""
        asked = call("update_rule", new.name, new.account, actor, op_id, validate_only)
        return await self._write(asked, _RULE, partial(rule_edits.update_rule, new=new, etag=etag))

    async def delete_rule(
        self,
        account_id: str,
        rule_id: str,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> None:
        """Delete a rule, leaving a tombstone."""
        name = rule_name(account_id, rule_id)
        asked = call("delete_rule", name, account_id, actor, op_id, validate_only)
        edit = partial(rule_edits.delete_rule, account=account_id, rule=rule_id, etag=etag)
        await self._write(asked, _NOTHING, edit)

    async def activate(
        self,
        account_id: str,
        rule_id: str,
        channel_id: str,
        actor: str = "",
        op_id: str = "",
        validate_only: bool = False,
    ) -> tuple[Activation, list[Activation]]:
        """Switch a rule on for a channel; return how it stands, and what it has replaced."""
        name = activation_name(account_id, channel_id, rule_id)
        asked = call("activate", name, account_id, actor, op_id, validate_only)
        edit = partial(
            rule_edits.activate, account=account_id, rule_id=rule_id, channel_id=channel_id
        )
        return await self._write(asked, _SWAP, edit)

    async def deactivate(
        self,
        account_id: str,
        rule_id: str,
        channel_id: str,
        actor: str = "",
        op_id: str = "",
        validate_only: bool = False,
    ) -> Activation:
        """Switch a rule off for a channel."""
        name = activation_name(account_id, channel_id, rule_id)
        asked = call("deactivate", name, account_id, actor, op_id, validate_only)
        edit = partial(
            rule_edits.deactivate, account=account_id, rule_id=rule_id, channel_id=channel_id
        )
        return await self._write(asked, _ACTIVATION, edit)

    # The loop ------------------------------------------------------------------------------------

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
            changes = [*draft.changes, note(asked, draft)]
            result = result_of(asked, draft, answer)
            try:
                await self._store.write(self._snapshot.revision, changes, operation_key, result)
            except Conflict:
                continue
            self._install(self._snapshot.state.after(changes))
            return answer, draft.revision if draft.bites else None
        raise Conflict("too many others are writing; try again")
