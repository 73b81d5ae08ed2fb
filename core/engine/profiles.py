"""How a contact is reached, and by what it was ever known.

Decides: what is kept of it, and when that is written anew. It is kept with the contact's timers, as one
that no rule has set and that starts nothing: newer replaces older, and it runs out when the aliases
would be forgotten. Beside what was told last it has the keys of every alias, for whoever must find all
that belongs to the contact.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core import bounds
from core.engine.identity import Identity
from core.engine.incoming import Incoming
from core.model import Contact, Disposition
from core.ports import Commit
from core.records import NO_KEY
from core.timer_records import Timer

NO_RULE = 2**32 - 1
"""Rule number of the timer that keeps how a contact is reached."""

ALIASES_MAX = 64
"""Aliases of a contact that are remembered; the oldest go first."""


class Profile(Contact, array_like=True):
    """What is kept. Field order is the storage format: append only."""

    alias_keys: tuple[bytes, ...] = ()
    """Oldest first."""


_profile = msgspec.msgpack.Decoder(Profile)
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def read(timer: Timer) -> Profile:
    """Return what a timer of `NO_RULE` keeps."""
    return _profile.decode(timer.body)


def commit_of(identity: Identity, incoming: Incoming, held: Timer | None) -> Commit:
    """Return what keeps what an event tells of its contact: what was told last, and every alias."""
    time_ms, told = incoming.event.occur_ms, incoming.event.contact
    aliases: tuple[bytes, ...] = ()
    if held is not None:
        before = read(held)
        aliases = before.alias_keys
        if held.time_ms > time_ms:
            time_ms, told = held.time_ms, before
    aliases = tuple(dict.fromkeys((*aliases, *incoming.alias_keys)))[-ALIASES_MAX:]
    timer = Timer(
        id=identity.timer_id(NO_RULE, NO_KEY, 0), rule_number=NO_RULE, key=NO_KEY,
        due_ms=time_ms + bounds.ORDER_GENERATION_MS, time_ms=time_ms, revision=0, body=b"",
    )  # fmt: skip
    return Commit(
        event_key=identity.adopted_key(incoming.event_key, incoming.contact_key),
        contact_key=incoming.contact_key,
        disposition=Disposition.NO_MATCH,
        body=_encode(Profile(**fields(told), alias_keys=aliases)),
        event_time_ms=time_ms,
        timers=(timer,),
        is_primary=False,
    )


def fields(contact: Contact) -> dict[str, Any]:
    """Return what a contact tells, by name."""
    return {name: getattr(contact, name) for name in Contact.__struct_fields__}


def is_kept(incoming: Incoming, held: Timer | None) -> bool:
    """Return whether what the event tells of its contact is known, and for a good while."""
    if held is None or held.time_ms <= incoming.event.occur_ms - bounds.ORDER_GENERATION_MS // 2:
        return False
    profile = read(held)
    is_new = held.time_ms <= incoming.event.occur_ms
    return set(incoming.alias_keys) <= set(profile.alias_keys) and not (
        is_new and fields(profile) != fields(incoming.event.contact)
    )
