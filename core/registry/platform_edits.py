"""Changes of review platforms, and of how a channel divides its requests among them.

Decides: which are allowed, what bites, and when a channel gets a salt.
Never: who is drawn (`core/engine/diversion.py`).

A salt follows from the channel's name, the revision and the time: nobody can choose it to
please, and whoever sees the registry's history can check it.
"""

from __future__ import annotations

from hashlib import blake2b

from msgspec.structs import replace

from core.bounds import PLATFORMS_PER_ACCOUNT_MAX
from core.errors import FailedPrecondition, InvalidField
from core.registry.diversion_parts import OWN_PLATFORM, Diversion
from core.registry.documents import PLATFORM_COUNTER, platform_name
from core.registry.drafts import (
    FOUR_BYTES_MAX,
    Draft,
    check_count,
    check_etag,
    found,
    names,
    put_edited,
    require_account,
    require_free,
)
from core.registry.resources import Channel, Platform
from core.registry.store import Kind

SALTS_MAX = 64
"""Salts of one channel; all are kept, because each checks what was drawn by it."""

# --- platforms ----------------------------------------------------------------------------------


def create_platform(draft: Draft, new: Platform) -> Platform:
    """Add a review platform; nothing leads there before a channel names it."""
    require_account(draft.base, new.account)
    if new.id == OWN_PLATFORM:
        raise InvalidField(
            f'"{OWN_PLATFORM}" is built in: it gets what the weights of a channel leave',
            field="platform_id",
        )
    require_free(draft.base.platform(new.account, new.id), new.name)
    check_count(draft.base.platforms(new.account), PLATFORMS_PER_ACCOUNT_MAX, "platforms")
    number = draft.next_number(PLATFORM_COUNTER, FOUR_BYTES_MAX)
    return draft.create(Kind.PLATFORM, new.name, new, number)


def update_platform(draft: Draft, new: Platform, etag: str) -> Platform:
    """Change a review platform; it holds for all that has not gone out, so it bites."""
    present = found(draft.base.platform(new.account, new.id), new.name)
    return put_edited(draft, Kind.PLATFORM, new.name, present, new, etag)


def delete_platform(draft: Draft, account: str, platform: str, etag: str) -> None:
    """Remove a review platform that no channel names; what waits for it stays on the own one."""
    name = platform_name(account, platform)
    check_etag(found(draft.base.platform(account, platform), name), etag)
    users = [
        channel.name
        for channel in draft.base.channels(account)
        if channel.diversion is not None
        and any(weight.platform == platform for weight in channel.diversion.weights)
    ]
    if users:
        raise FailedPrecondition(
            f"{name} gets review requests of {names(users)}; take it out of their diversion first"
        )
    draft.drop(Kind.PLATFORM, name)
    draft.bites = True


# --- what a channel gives them ------------------------------------------------------------------


def diverted(draft: Draft, new: Channel, present: Channel | None) -> Channel:
    """Return a channel as it will be, with the salts that it has and the one that it needs."""
    before = present.diversion if present is not None else None
    wanted = new.diversion or Diversion()
    for index, weight in enumerate(wanted.weights):
        if draft.base.platform(new.account, weight.platform) is None:
            raise InvalidField(
                f"{platform_name(new.account, weight.platform)} does not exist",
                field=f"channel.diversion.weights[{index}].platform",
            )
    salts = before.salts if before is not None else ()
    if wanted.renews_salt or (wanted.weights and not salts):
        if len(salts) >= SALTS_MAX:
            raise FailedPrecondition(
                f"a channel has at most {SALTS_MAX} salts", field="channel.diversion.renew_salt"
            )
        salts = (*salts, _new_salt(draft, new))
    if not wanted.weights and not salts:
        return replace(new, diversion=None)
    return replace(new, diversion=Diversion(wanted.weights, salts))


def _new_salt(draft: Draft, channel: Channel) -> str:
    text = f"{channel.name}\0{draft.revision}\0{draft.now_ms}"
    return blake2b(text.encode(), digest_size=16).hexdigest()
