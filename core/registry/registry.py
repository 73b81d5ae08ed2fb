"""The registry: versioned configuration, read from memory, written with compare-and-set.

Decides: what the calls on rules are called and answer; `resource_calls.py` has those on the rest.
Never: which changes are allowed (`rule_edits.py`, `activation_edits.py`, `copies.py`), or how a change
is written (`writer.py`).

A write reads the newest snapshot, computes the changes, and writes them if the snapshot is still the
newest; else it begins again. So two activations of one slot at the same time leave one winner (A25).
Every change is noted with who did what and when (`audit.py`).

Errors of every write, beside those of its edit: `StoreUnavailable` if the store or a callback did
not answer. The change may then have taken effect: repeat it with the same operation id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from core.model import ActivationState
from core.registry import activation_edits, copies, rule_edits
from core.registry.block_calls import BlockCalls
from core.registry.breaker_calls import BreakerCalls
from core.registry.copies import CopyChange
from core.registry.documents import activation_name, rule_name
from core.registry.drafts import Draft
from core.registry.operations import call
from core.registry.resource_calls import ResourceCalls
from core.registry.resources import Activation, Rule
from core.registry.sender_calls import SenderCalls
from core.registry.template_calls import TemplateCalls

_RULE: Final = msgspec.json.Decoder(Rule)
_COPIES: Final = msgspec.json.Decoder(list[CopyChange])
_ACTIVATION: Final = msgspec.json.Decoder(Activation)
_ACTIVATIONS: Final = msgspec.json.Decoder(list[Activation])
_SWAP: Final = msgspec.json.Decoder(tuple[Activation, list[Activation]])
_NOTHING: Final = msgspec.json.Decoder(None)


class Registry(ResourceCalls, BreakerCalls, BlockCalls, SenderCalls, TemplateCalls):
    """The configuration of all accounts, as this process knows it.

    Arguments that all writes share: `actor` says who asks; `op_id`, if not empty, names the request
    within its account, and gives the first answer again for 24 hours; with `validate_only`
    everything is checked and answered, and nothing changed. `etag`, if not empty, must be that of
    the resource (else `RevisionConflict`).

    Attributes:
        on_bite: awaited, one after the other, with the new revision, before a write returns after
            which no daemon may claim with an older snapshot: whatever switches a rule, a step, an
            event type, a feature or an entitlement, and every change of caps and carriers. Called
            again if such a write is repeated, so each must be idempotent.
    """

    # Rules ---------------------------------------------------------------------------------------

    async def create_rule(
        self,
        new: Rule,
        op_id: str = "",
        validate_only: bool = False,
        *,
        activate_on: Sequence[str] = (),
        actor: str = "",
    ) -> Rule:
        """Add a rule, inactive everywhere but on the channels given by id (B24)."""
        asked = call("create_rule", new.name, new.account, actor, op_id, validate_only)
        edit = partial(rule_edits.create_rule, new=new, activate_on=activate_on)
        return await self._write(asked, _RULE, edit)

    async def update_rule(
        self,
        new: Rule,
        etag: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        activate_on: Sequence[str] = (),
        actor: str = "",
    ) -> Rule:
        """Change a rule: a new revision; switch it on for the channels given by id (B24)."""
        asked = call("update_rule", new.name, new.account, actor, op_id, validate_only)
        edit = partial(rule_edits.update_rule, new=new, etag=etag, activate_on=activate_on)
        return await self._write(asked, _RULE, edit)

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

    async def duplicate_rule(
        self,
        account_id: str,
        rule_id: str,
        new_id: str,
        display_name: str = "",
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> Rule:
        """Add a rule like another, inactive everywhere; "" keeps its display name (D18)."""
        name = rule_name(account_id, new_id)
        asked = call("duplicate_rule", name, account_id, actor, op_id, validate_only)
        edit = partial(
            rule_edits.duplicate_rule,
            account=account_id,
            rule_id=rule_id,
            new_id=new_id,
            display_name=display_name,
        )
        return await self._write(asked, _RULE, edit)

    async def copy_rule(
        self,
        account_id: str,
        rule_id: str,
        channel_ids: Sequence[str] | None,
        op_id: str = "",
        validate_only: bool = False,
        *,
        actor: str = "",
    ) -> list[CopyChange]:
        """Give channels, or all if None, a rule of their own like this one, active there (R41)."""
        name = rule_name(account_id, rule_id)
        asked = call("copy_rule", name, account_id, actor, op_id, validate_only)
        edit = partial(
            copies.copy_rule, account=account_id, rule_id=rule_id, channel_ids=channel_ids
        )
        return await self._write(asked, _COPIES, edit)

    # Activation ----------------------------------------------------------------------------------

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
            activation_edits.activate, account=account_id, rule_id=rule_id, channel_id=channel_id
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
            activation_edits.deactivate, account=account_id, rule_id=rule_id, channel_id=channel_id
        )
        return await self._write(asked, _ACTIVATION, edit)

    async def pause_rule(
        self,
        account_id: str,
        rule_id: str,
        channel_id: str = "",
        actor: str = "",
        op_id: str = "",
        validate_only: bool = False,
    ) -> list[Activation]:
        """Start no new runs of a rule on a channel, or on all on which it is ACTIVE; return where."""
        place = _Place(account_id, rule_id, channel_id)
        asked = call("pause_rule", place.name, account_id, actor, op_id, validate_only)
        return await self._write(asked, _ACTIVATIONS, place.change_to(ActivationState.PAUSED))

    async def freeze_rule(
        self,
        account_id: str,
        rule_id: str,
        channel_id: str = "",
        actor: str = "",
        op_id: str = "",
        validate_only: bool = False,
    ) -> list[Activation]:
        """Let nothing of a rule start or go out until it is resumed; as `pause_rule`."""
        place = _Place(account_id, rule_id, channel_id)
        asked = call("freeze_rule", place.name, account_id, actor, op_id, validate_only)
        return await self._write(asked, _ACTIVATIONS, place.change_to(ActivationState.FROZEN))

    async def stop_rule(
        self,
        account_id: str,
        rule_id: str,
        channel_id: str = "",
        actor: str = "",
        op_id: str = "",
        validate_only: bool = False,
    ) -> list[Activation]:
        """End all runs of a rule for good; as `pause_rule`, wherever it ever was active."""
        place = _Place(account_id, rule_id, channel_id)
        asked = call("stop_rule", place.name, account_id, actor, op_id, validate_only)
        return await self._write(asked, _ACTIVATIONS, place.change_to(ActivationState.STOPPED))

    async def resume_rule(
        self,
        account_id: str,
        rule_id: str,
        channel_id: str = "",
        actor: str = "",
        op_id: str = "",
        validate_only: bool = False,
    ) -> list[Activation]:
        """Make a rule ACTIVE again where it was paused, frozen or stopped; as `pause_rule`."""
        place = _Place(account_id, rule_id, channel_id)
        asked = call("resume_rule", place.name, account_id, actor, op_id, validate_only)
        return await self._write(asked, _ACTIVATIONS, place.change_to(ActivationState.ACTIVE))


class _Place(NamedTuple):
    """A rule on one channel, or on all of its channels."""

    account: str
    rule: str
    channel: str

    @property
    def name(self) -> str:
        """Full name of what is changed."""
        if self.channel:
            return activation_name(self.account, self.channel, self.rule)
        return rule_name(self.account, self.rule)

    def change_to(self, state: ActivationState) -> Callable[[Draft], list[Activation]]:
        """Return the edit that leads there."""
        return partial(
            activation_edits.change_state,
            account=self.account,
            rule_id=self.rule,
            channel_id=self.channel,
            state=state,
        )
