"""The registry's documents, decoded.

Decides: which type each kind of document holds, and that a document which has not changed is not
decoded again.
Never: indexes over them (`core/registry/snapshot.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from core.registry.blocks import Block
from core.registry.breakers import Breaker
from core.registry.contents import ContentTemplate
from core.registry.resources import (
    Account,
    Activation,
    Cap,
    Carrier,
    Channel,
    EventType,
    Platform,
    Rule,
)
from core.registry.senders import Sender
from core.registry.store import Kind, RegistryState

ValueT = TypeVar("ValueT")


class Table(Generic[ValueT]):
    """The documents of one kind by key, raw and decoded."""

    __slots__ = ("_by_account", "raw", "values")

    def __init__(self, raw: Mapping[str, bytes], values: Mapping[str, ValueT]) -> None:
        self.raw = raw
        self.values = values
        self._by_account: dict[str, tuple[ValueT, ...]] | None = None

    def of_account(self, account: str) -> tuple[ValueT, ...]:
        """Return the resources of an account by id.

        Cost: O(1); the first time O(n log n) in all resources of the kind.
        """
        if self._by_account is None:
            grouped: dict[str, list[ValueT]] = {}
            # Full names sort by account, then by id, because all of a kind are built alike.
            for name in sorted(self.values):
                grouped.setdefault(name.split("/", 2)[1], []).append(self.values[name])
            self._by_account = {key: tuple(listed) for key, listed in grouped.items()}
        return self._by_account.get(account, ())


def decoded(
    decoder: msgspec.json.Decoder[ValueT],
    raw: Mapping[str, bytes],
    before: Table[ValueT] | None,
) -> Table[ValueT]:
    """Return the table of documents, taking over from the one before what has not changed.

    Cost: nothing if the mapping is the same object as before; else a comparison for each document,
    and a decoding for each that is new.
    """
    if before is None:
        return Table(raw, {key: decoder.decode(value) for key, value in raw.items()})
    if before.raw is raw:
        return before
    old_raw, old = before.raw, before.values
    return Table(
        raw,
        {
            key: old[key] if old_raw.get(key) == value else decoder.decode(value)
            for key, value in raw.items()
        },
    )


_ACCOUNT = msgspec.json.Decoder(Account)
_EVENT_TYPE = msgspec.json.Decoder(EventType)
_CHANNEL = msgspec.json.Decoder(Channel)
_CAP = msgspec.json.Decoder(Cap)
_CARRIER = msgspec.json.Decoder(Carrier)
_BLOCK = msgspec.json.Decoder(Block)
_PLATFORM = msgspec.json.Decoder(Platform)
_SENDER = msgspec.json.Decoder(Sender)
_TEMPLATE = msgspec.json.Decoder(ContentTemplate)
_RULE = msgspec.json.Decoder(Rule)
_ACTIVATION = msgspec.json.Decoder(Activation)
_BREAKER = msgspec.json.Decoder(Breaker)
_COUNTER = msgspec.json.Decoder(int)


class Documents(msgspec.Struct, frozen=True):
    """All documents of one state. Resources and activations are keyed by full name."""

    accounts: Table[Account]
    event_types: Table[EventType]
    channels: Table[Channel]
    caps: Table[Cap]
    carriers: Table[Carrier]
    blocks: Table[Block]
    platforms: Table[Platform]
    senders: Table[Sender]
    templates: Table[ContentTemplate]
    template_revisions: Table[ContentTemplate]
    rules: Table[Rule]
    rule_revisions: Table[Rule]
    activations: Table[Activation]
    breakers: Table[Breaker]
    counters: Table[int]


def decode(state: RegistryState, before: Documents | None) -> Documents:
    """Return the documents of a state, taking over from those before what has not changed."""
    raw, old = state.documents, before
    return Documents(
        accounts=decoded(_ACCOUNT, raw[Kind.ACCOUNT], old.accounts if old else None),
        event_types=decoded(_EVENT_TYPE, raw[Kind.EVENT_TYPE], old.event_types if old else None),
        channels=decoded(_CHANNEL, raw[Kind.CHANNEL], old.channels if old else None),
        caps=decoded(_CAP, raw[Kind.CAP], old.caps if old else None),
        carriers=decoded(_CARRIER, raw[Kind.CARRIER], old.carriers if old else None),
        blocks=decoded(_BLOCK, raw[Kind.BLOCK], old.blocks if old else None),
        platforms=decoded(_PLATFORM, raw[Kind.PLATFORM], old.platforms if old else None),
        senders=decoded(_SENDER, raw[Kind.SENDER], old.senders if old else None),
        templates=decoded(_TEMPLATE, raw[Kind.TEMPLATE], old.templates if old else None),
        template_revisions=decoded(
            _TEMPLATE, raw[Kind.TEMPLATE_REVISION], old.template_revisions if old else None
        ),
        rules=decoded(_RULE, raw[Kind.RULE], old.rules if old else None),
        rule_revisions=decoded(_RULE, raw[Kind.RULE_REVISION], old.rule_revisions if old else None),
        activations=decoded(_ACTIVATION, raw[Kind.ACTIVATION], old.activations if old else None),
        breakers=decoded(_BREAKER, raw[Kind.BREAKER], old.breakers if old else None),
        counters=decoded(_COUNTER, raw[Kind.COUNTER], old.counters if old else None),
    )


def account_name(account: str) -> str:
    """Return the full name of an account."""
    return f"accounts/{account}"


def event_type_name(account: str, event_type: str) -> str:
    """Return the full name of an event type."""
    return f"accounts/{account}/eventTypes/{event_type}"


def channel_name(account: str, channel: str) -> str:
    """Return the full name of a channel."""
    return f"accounts/{account}/channels/{channel}"


def cap_name(account: str, cap: str) -> str:
    """Return the full name of a cap."""
    return f"accounts/{account}/caps/{cap}"


def carrier_name(account: str, carrier: str) -> str:
    """Return the full name of a carrier."""
    return f"accounts/{account}/carriers/{carrier}"


def block_name(account: str, block: str) -> str:
    """Return the full name of a block."""
    return f"accounts/{account}/blocks/{block}"


def platform_name(account: str, platform: str) -> str:
    """Return the full name of a platform."""
    return f"accounts/{account}/platforms/{platform}"


def sender_name(account: str, sender: str) -> str:
    """Return the full name of a sender."""
    return f"accounts/{account}/senders/{sender}"


def template_name(account: str, template: str) -> str:
    """Return the full name of a template."""
    return f"accounts/{account}/templates/{template}"


def rule_name(account: str, rule: str) -> str:
    """Return the full name of a rule."""
    return f"accounts/{account}/rules/{rule}"


def activation_name(account: str, channel: str, rule: str) -> str:
    """Return the full name of a rule's activation on a channel."""
    return f"accounts/{account}/channels/{channel}/activations/{rule}"


def revision_key(number: int, revision: int) -> str:
    """Return the key of an earlier revision of a rule or template."""
    return f"{number}/{revision}"


CHANNEL_COUNTER = "channel"
CAP_COUNTER = "cap"
CARRIER_COUNTER = "carrier"
BLOCK_COUNTER = "block"
PLATFORM_COUNTER = "platform"
SENDER_COUNTER = "sender"
TEMPLATE_COUNTER = "template"
RULE_COUNTER = "rule"


def event_type_counter(account: str) -> str:
    """Return the counter of an account's event types.

    By account, unlike the others: tombstones name event types in two bytes, always within one
    account, and every account starts with seventeen.
    """
    return f"event_type/{account}"
