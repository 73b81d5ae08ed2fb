"""Changes to accounts, event types, channels and carriers.

Decides: which are allowed, and all that one brings about elsewhere.
Never: reads or writes a store, asks the time, or checks what a request can be checked for by itself
(`control/` does, before). How edits work: `core/registry/drafts.py`.
"""

from __future__ import annotations

from msgspec.structs import replace

from core.bounds import (
    CARRIERS_PER_ACCOUNT_MAX,
    CHANNELS_PER_ACCOUNT_MAX,
    DAY_MS,
)
from core.errors import FailedPrecondition, InvalidField
from core.model import Medium, Purpose
from core.registry import breaker_edits
from core.registry.catalogue import HOLDING, STANDING, Catalogue, Slot, slot_of
from core.registry.documents import (
    CAP_COUNTER,
    CARRIER_COUNTER,
    CHANNEL_COUNTER,
    account_name,
    carrier_name,
    channel_name,
    event_type_counter,
    event_type_name,
    rule_name,
)
from core.registry.drafts import (
    EVENT_TYPE_NUMBER_MAX,
    FOUR_BYTES_MAX,
    TWO_BYTES_MAX,
    Draft,
    check_count,
    check_etag,
    edited,
    found,
    names,
    put_edited,
    require_account,
    require_free,
)
from core.registry.platform_edits import diverted
from core.registry.readiness import check_sender
from core.registry.resources import (
    SHIPPED_EVENT_TYPES,
    Account,
    Cap,
    CapScope,
    CapSteps,
    CapUnit,
    Carrier,
    Channel,
    EventType,
    Rule,
)
from core.registry.rule_parts import OnCap
from core.registry.sender_calls import check_senders
from core.registry.store import Kind

# --- accounts -----------------------------------------------------------------------------------


def default_caps(account: str) -> list[Cap]:
    """Return the caps of a new account: ordinary resources, free to be changed or deleted (h7)."""
    return [
        Cap(
            account=account,
            id="review-requests",
            display_name="One review request in 14 days",
            scope=CapScope.ACCOUNT,
            purposes=[Purpose.REVIEW],
            steps=CapSteps.FIRST,
            unit=CapUnit.ORDER,
            limit=1,
            window_ms=14 * DAY_MS,
            on_cap=OnCap.DEFER,
        ),
        Cap(
            account=account,
            id="messages",
            display_name="Five messages in 30 days",
            scope=CapScope.ACCOUNT,
            unit=CapUnit.MESSAGE,
            limit=5,
            window_ms=30 * DAY_MS,
        ),
        Cap(
            account=account,
            id="marketing-sms",
            display_name="One marketing SMS in 24 hours",
            scope=CapScope.ACCOUNT,
            purposes=[Purpose.MARKETING],
            media=[Medium.SMS],
            unit=CapUnit.MESSAGE,
            limit=1,
            window_ms=DAY_MS,
            on_cap=OnCap.SKIP,
        ),
    ]


def ensure_account(draft: Draft, account: str, with_default_caps: bool) -> Account:
    """Make an account exist, with all event types that Afterword ships.

    One that exists gets only the shipped types that are newer than itself; its caps are its own.
    """
    present = draft.base.account(account)
    for event_type in SHIPPED_EVENT_TYPES:
        if draft.base.event_type(account, event_type) is None:
            number = draft.next_number(event_type_counter(account), EVENT_TYPE_NUMBER_MAX)
            new = EventType(account=account, id=event_type, shipped=True)
            draft.create(Kind.EVENT_TYPE, new.name, new, number)
    if present is not None:
        return present
    for cap in default_caps(account) if with_default_caps else ():
        draft.create(Kind.CAP, cap.name, cap, draft.next_number(CAP_COUNTER, FOUR_BYTES_MAX))
    created = Account(id=account, create_ms=draft.now_ms, changed_revision=draft.revision)
    draft.put(Kind.ACCOUNT, account_name(account), created)
    return created


def update_account(draft: Draft, new: Account, etag: str) -> Account:
    """Change what an account has booked; what is not, is not sent from the next message on (B26)."""
    present = found(draft.base.account(new.id), new.name)
    check_etag(present, etag)
    draft.bites = True
    entitlements = tuple(sorted(set(new.entitlements)))
    if entitlements == present.entitlements:
        return present
    changed = replace(present, entitlements=entitlements, changed_revision=draft.revision)
    draft.put(Kind.ACCOUNT, account_name(new.id), changed)
    return changed


# --- event types --------------------------------------------------------------------------------


def create_event_type(draft: Draft, new: EventType) -> EventType:
    """Add an event type."""
    require_account(draft.base, new.account)
    require_free(draft.base.event_type(new.account, new.id), new.name)
    number = draft.next_number(event_type_counter(new.account), EVENT_TYPE_NUMBER_MAX)
    return draft.create(Kind.EVENT_TYPE, new.name, replace(new, shipped=False), number)


def update_event_type(draft: Draft, new: EventType, etag: str) -> EventType:
    """Change an event type; switching it bites at once, either way (A11, R13)."""
    present = found(draft.base.event_type(new.account, new.id), new.name)
    changed = edited(draft, present, replace(new, shipped=present.shipped), etag)
    if changed is not present:
        draft.bites = changed.active != present.active
        draft.put(Kind.EVENT_TYPE, changed.name, changed)
    return changed


def delete_event_type(draft: Draft, account: str, event_type: str, etag: str) -> None:
    """Remove an event type that no rule names."""
    name = event_type_name(account, event_type)
    present = found(draft.base.event_type(account, event_type), name)
    check_etag(present, etag)
    if present.shipped:
        raise FailedPrecondition(f"{name} is shipped with Afterword; switch it off instead")
    users = [rule.name for rule in draft.base.rules(account) if event_type in types_of(rule)]
    users += [
        channel.name
        for channel in draft.base.channels(account)
        if event_type in channel.review_event_types_off
    ]
    if users:
        raise FailedPrecondition(f"{name} is used by {names(users)}")
    draft.drop(Kind.EVENT_TYPE, name)
    draft.bites = True


def types_of(rule: Rule) -> dict[str, str]:
    """Return the event types that a rule names -> the field of the request that names them."""
    named = {rule.event_type: "rule.trigger.event_type"}
    if rule.dormant is not None:
        named[rule.dormant.event_type] = "rule.trigger.dormant.event_type"
    if rule.debounce is not None:
        named[rule.debounce.event_type] = "rule.trigger.debounce.event_type"
    for index, event_type in enumerate(rule.stop_when):
        named.setdefault(event_type, f"rule.stop_when.event_types[{index}]")
    for index, stop in enumerate(rule.stops):
        named.setdefault(stop.event_type, f"rule.stop_when.stops[{index}].event_type")
    # A rule with another trigger has no event type; a dormant one without is about purchases.
    named.pop("", None)
    return named


# --- channels -----------------------------------------------------------------------------------


def create_channel(draft: Draft, new: Channel) -> Channel:
    """Add a channel."""
    require_account(draft.base, new.account)
    require_free(draft.base.channel(new.account, new.id), new.name)
    check_count(draft.base.channels(new.account), CHANNELS_PER_ACCOUNT_MAX, "channels")
    _check_types_off(draft.base, new)
    check_senders(draft.base, new)
    number = draft.next_number(CHANNEL_COUNTER, TWO_BYTES_MAX)
    return draft.create(Kind.CHANNEL, new.name, diverted(draft, new, None), number)


def update_channel(draft: Draft, new: Channel, etag: str) -> Channel:
    """Change a channel; it keeps what its active rules need.

    What ends messages that fall due, bites: a feature, a switch over review requests, how many product
    rules go together, and what sends.
    """
    present = found(draft.base.channel(new.account, new.id), new.name)
    changed = edited(draft, present, diverted(draft, new, present), etag)
    if changed is present:
        return present
    _check_types_off(draft.base, changed)
    check_senders(draft.base, changed)
    for activation, rule in draft.on_channel(present):
        if activation.state in STANDING:
            check_sender(draft.base, rule, changed)
    _check_one_per_slot(draft, changed)
    draft.bites = (
        changed.features != present.features
        or changed.review_event_types_off != present.review_event_types_off
        or changed.product_exclusivity != present.product_exclusivity
        or changed.complaint_breaker != present.complaint_breaker
        or changed.senders != present.senders
    )
    draft.put(Kind.CHANNEL, changed.name, changed)
    return changed


def _check_types_off(base: Catalogue, channel: Channel) -> None:
    for index, event_type in enumerate(channel.review_event_types_off):
        if base.event_type(channel.account, event_type) is None:
            raise InvalidField(
                f"{event_type_name(channel.account, event_type)} does not exist",
                field=f"channel.review_event_types_off[{index}]",
            )


def _check_one_per_slot(draft: Draft, channel: Channel) -> None:
    """Refuse to make slots wider than what is active in them (R37)."""
    holders: dict[Slot, list[str]] = {}
    for activation, rule in draft.on_channel(channel):
        slot = slot_of(rule, channel)
        if slot is not None and activation.state in HOLDING:
            holders.setdefault(slot, []).append(rule.name)
    for rivals in holders.values():
        if len(rivals) > 1:
            raise FailedPrecondition(
                f"{names(rivals)} are active on {channel.name}, where one product rule could be for "
                "all event types; switch off all but one first",
                field="channel.product_exclusivity",
            )


def delete_channel(draft: Draft, account: str, channel: str, etag: str) -> None:
    """Remove a channel on which nothing is active, and with it how rules stood there."""
    name = channel_name(account, channel)
    present = found(draft.base.channel(account, channel), name)
    check_etag(present, etag)
    activations = draft.base.activations(account, channel)
    active = [rule_name(account, each.rule) for each in activations if each.state in STANDING]
    if active:
        raise FailedPrecondition(f"{names(active)} active on {name}; switch off first")
    # A later channel with this id is another one: no rule may seem to have been active there.
    for activation in activations:
        draft.drop(Kind.ACTIVATION, activation.name)
    breaker_edits.drop_all(draft, account, channel)
    draft.drop(Kind.CHANNEL, name)


# --- carriers -----------------------------------------------------------------------------------


def create_carrier(draft: Draft, new: Carrier) -> Carrier:
    """Add a carrier; what is due to it from now on has an address, so it bites (C5, C17)."""
    require_account(draft.base, new.account)
    require_free(draft.base.carrier(new.account, new.id), new.name)
    check_count(draft.base.carriers(new.account), CARRIERS_PER_ACCOUNT_MAX, "carriers")
    draft.bites = True
    number = draft.next_number(CARRIER_COUNTER, FOUR_BYTES_MAX)
    return draft.create(Kind.CARRIER, new.name, new, number)


def update_carrier(draft: Draft, new: Carrier, etag: str) -> Carrier:
    """Change a carrier; a new address holds for all that has not gone out."""
    present = found(draft.base.carrier(new.account, new.id), new.name)
    return put_edited(draft, Kind.CARRIER, new.name, present, new, etag)


def delete_carrier(draft: Draft, account: str, carrier: str, etag: str) -> None:
    """Remove a carrier; what is due to it later has no recipient (C17)."""
    name = carrier_name(account, carrier)
    check_etag(found(draft.base.carrier(account, carrier), name), etag)
    draft.drop(Kind.CARRIER, name)
    draft.bites = True
