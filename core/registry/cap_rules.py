"""From a configured cap to the cap that the gate applies to one invitation.

Decides: whether a cap looks at a message, what a step says about it, and the ledger in which it counts
(R24, R28, h6); whether an account's caps can be counted exactly.
Never: whether a message fits (`core/antispam/caps.py`).

A contact's record keeps `bounds.CONTACT_STAMPS_MAX` stamps. The limits of an account's caps, each times
the ledgers that one contact can have in it, must not sum up to more than `bounds.CAP_LIMITS_MAX`, so
that the stamps which its windows reach always fit. Beside them there is room for what only some contacts
have: several channels and rules under caps that count each for itself, and products asked about.

Source: R23-R29; semantics h6, h7.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

import msgspec

from core import bounds
from core.gate import CapRule
from core.model import CONSENT_PURPOSES, Medium, Purpose
from core.records import BY_HAND
from core.registry.resources import Cap, CapScope, CapSteps, CapSubject, CapUnit
from core.registry.rule_parts import OnCap, Step

LEDGER_BYTES = 4
UNCAPPED_PURPOSES = frozenset({Purpose.TRANSACTIONAL, Purpose.OPERATIONAL})
"""What a cap without purposes leaves alone (h6)."""

_LEDGER = struct.Struct("<IBI")
_ADDRESSED = frozenset(Medium) - {Medium.UNSPECIFIED}


class VolumeRule(msgspec.Struct, frozen=True):
    """A volume limit as it holds for a message (R29)."""

    ledger: bytes
    """9 bytes: the cap's number, its scope and what it is counted per; no other cap's."""
    limit: int
    window_ms: int


class MessageCaps(msgspec.Struct, frozen=True):
    """All caps that look at one message."""

    gate: tuple[CapRule, ...] = ()
    """What the claim decides on."""
    caps: tuple[Cap, ...] = ()
    """Where each of `gate` comes from."""
    address: tuple[CapRule, ...] = ()
    """Of these, those that also count per address: of a medium, or of chosen media (R4)."""
    products: tuple[Cap, ...] = ()
    """Those that leave products out; `product_rule` makes of each the rule for one product."""
    volumes: tuple[VolumeRule, ...] = ()
    is_blocked: bool = False
    """A volume limit of 0."""


def looks_at(cap: Cap, purpose: int, medium: int, is_follow_up: bool) -> bool:
    """Return whether the cap limits and counts such a message.

    A cap without a limit is no cap; a limit of 0 is one, and blocks everything.
    """
    if cap.limit is None:
        return False
    if purpose in UNCAPPED_PURPOSES if not cap.purposes else purpose not in cap.purposes:
        return False
    if cap.media and medium not in cap.media:
        return False
    return cap.steps == CapSteps.ALL or (cap.steps == CapSteps.FOLLOW_UP) == is_follow_up


def ledger_of(cap: Cap, scope_value: int) -> bytes:
    """Return the name of the ledger of a cap for one value of its scope.

    Four bytes are enough: they only have to differ among the ledgers of one contact.
    """
    return _short(volume_ledger_of(cap, scope_value))


def product_ledger_of(cap: Cap, product: str) -> bytes:
    """Return the same for a cap that counts each product for itself."""
    return _short(volume_ledger_of(cap, 0) + product.encode())


def volume_ledger_of(cap: Cap, scope_value: int) -> bytes:
    """Return the name of the ledger of a volume limit: it differs from that of every other."""
    return _LEDGER.pack(cap.number, cap.scope, scope_value)


def _short(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=LEDGER_BYTES).digest()


def scope_value(
    scope: CapScope, channel_number: int, rule_number: int, purpose: int, medium: int
) -> int:
    """Return what a cap of this scope is counted per, beside the contact.

    0 for the account, since a cap's number already belongs to one account; and for products, which
    have no number.
    """
    match scope:
        case CapScope.CHANNEL:
            return channel_number
        case CapScope.PURPOSE:
            return purpose
        case CapScope.RULE:
            return rule_number
        case CapScope.MEDIUM:
            return medium
        case CapScope.ACCOUNT | CapScope.PRODUCT:
            return 0


def scope_values(
    scope: CapScope, channel_numbers: Iterable[int], rule_numbers: Iterable[int]
) -> Iterable[int]:
    """Return every value that the scope can take in an account, to find a ledger's cap."""
    match scope:
        case CapScope.CHANNEL:
            return channel_numbers
        case CapScope.PURPOSE:
            return (purpose.value for purpose in Purpose)
        case CapScope.RULE:
            return rule_numbers
        case CapScope.MEDIUM:
            return (medium.value for medium in Medium)
        case CapScope.ACCOUNT | CapScope.PRODUCT:
            return (0,)


def cap_rule(
    cap: Cap, ledger: bytes, purpose: int, step: Step | None = None, is_by_hand: bool = False
) -> CapRule:
    """Return the cap as the gate applies it to a message with this purpose.

    Args:
        step: of the message: what it says goes over what the cap says (R28).
        is_by_hand: a full cap defers, whatever the purpose, unless it says otherwise itself (R45).
    """
    assert cap.limit is not None, "a cap without a limit is never applied"
    on_cap = cap.on_cap if step is None or step.on_cap == OnCap.BY_PURPOSE else step.on_cap
    if on_cap == OnCap.BY_PURPOSE:
        on_cap = OnCap.DEFER if is_by_hand or purpose == Purpose.REVIEW else OnCap.SKIP
    return CapRule(
        ledger=ledger,
        limit=cap.limit,
        window_ms=cap.window_ms,
        is_order_unit=cap.unit == CapUnit.ORDER,
        is_skip=on_cap == OnCap.SKIP,
        longest_deferral_ms=cap.longest_deferral_ms,
        is_counted=step is None or cap.id not in step.not_counted_by_caps,
        is_checked=step is None or cap.id not in step.exempt_from_caps,
        is_replace=on_cap == OnCap.REPLACE,
    )


def product_rule(cap: Cap, product: str, step: Step) -> CapRule:
    """Return the cap as the gate applies it to one product of a request: what has been asked about
    since it was judged is to be left out, so the gate asks for another look."""
    rule = cap_rule(cap, product_ledger_of(cap, product), Purpose.REVIEW, step)
    return msgspec.structs.replace(
        rule, is_order_unit=True, is_skip=False, is_replace=False, looks_again=True
    )


def caps_of(
    found: Iterable[Cap], channel_number: int, rule_number: int, purpose: int, medium: int,
    is_follow_up: bool, step: Step | None,
) -> MessageCaps:  # fmt: skip
    """Return the caps that look at a message, of those of its account, in the order given.

    Caps that count per rule do not look at what was made by hand (R45). What a step is exempt from and
    does not count in is left out; of volume limits, what it is exempt from.
    """
    gate: list[CapRule] = []
    caps: list[Cap] = []
    address: list[CapRule] = []
    products: list[Cap] = []
    volumes: list[VolumeRule] = []
    is_blocked = False
    for cap in found:
        if not looks_at(cap, purpose, medium, is_follow_up):
            continue
        if cap.scope == CapScope.RULE and rule_number == BY_HAND:
            continue
        assert cap.limit is not None, "what has no limit looks at nothing"
        value = scope_value(cap.scope, channel_number, rule_number, purpose, medium)
        is_exempt = step is not None and cap.id in step.exempt_from_caps
        if cap.subject == CapSubject.ALL_CONTACTS:
            if not is_exempt:
                is_blocked = is_blocked or cap.limit == 0
                volumes.append(VolumeRule(volume_ledger_of(cap, value), cap.limit, cap.window_ms))
            continue
        if is_exempt and step is not None and cap.id in step.not_counted_by_caps:
            continue
        if cap.scope == CapScope.PRODUCT:
            products.append(cap)
            continue
        rule = cap_rule(cap, ledger_of(cap, value), purpose, step, rule_number == BY_HAND)
        gate.append(rule)
        caps.append(cap)
        if cap.scope == CapScope.MEDIUM or cap.media:
            address.append(msgspec.structs.replace(rule, is_replace=False))
    return MessageCaps(
        tuple(gate), tuple(caps), tuple(address), tuple(products), tuple(volumes), is_blocked
    )


def said_of_caps(step: Step | None) -> tuple[object, ...]:
    """Return what a step says about caps; empty for one that says nothing."""
    if step is None or not (step.exempt_from_caps or step.not_counted_by_caps or step.on_cap):
        return ()
    return (*step.exempt_from_caps, None, *step.not_counted_by_caps, step.on_cap)


def ledgers_of_one(cap: Cap) -> int:
    """Return how many ledgers a contact has in a cap, as far as configuration says: one for each
    purpose or medium; of channels, rules and products one is reckoned with."""
    if cap.scope == CapScope.PURPOSE:
        return len(cap.purposes) or len(CONSENT_PURPOSES)
    if cap.scope == CapScope.MEDIUM:
        return len(cap.media) or len(_ADDRESSED)
    return 1


def stamps_needed(caps: Iterable[Cap]) -> int:
    """Return how many stamps of one contact the windows of an account's caps can hold at a time."""
    return sum(
        cap.limit * ledgers_of_one(cap)
        for cap in caps
        if cap.limit is not None and cap.subject == CapSubject.CONTACT
    )


assert bounds.CAP_LIMIT_MAX <= bounds.CAP_LIMITS_MAX <= bounds.CONTACT_STAMPS_MAX // 2
