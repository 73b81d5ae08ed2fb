"""From a configured cap to the cap that the gate applies to one invitation.

Decides: whether a cap looks at a message, and the ledger in which it counts (R24, h6).
Never: whether a message fits (`core/antispam/caps.py`).

Source: R23-R28; semantics h6, h7.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from core.gate import CapRule
from core.model import Medium, Purpose
from core.registry.resources import Cap, CapScope, CapSteps, CapUnit, OnCap

LEDGER_BYTES = 4
UNCAPPED_PURPOSES = frozenset({Purpose.TRANSACTIONAL, Purpose.OPERATIONAL})
"""What a cap without purposes leaves alone (h6)."""

_LEDGER = struct.Struct("<IBI")


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
    raw = _LEDGER.pack(cap.number, cap.scope, scope_value)
    return hashlib.blake2b(raw, digest_size=LEDGER_BYTES).digest()


def scope_value(
    scope: CapScope, channel_number: int, rule_number: int, purpose: int, medium: int
) -> int:
    """Return what a cap of this scope is counted per, beside the contact.

    0 for the account, since a cap's number already belongs to one account.
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
        case CapScope.ACCOUNT:
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
        case CapScope.ACCOUNT:
            return (0,)


def cap_rule(cap: Cap, ledger: bytes, purpose: int) -> CapRule:
    """Return the cap as the gate applies it to a message with this purpose."""
    assert cap.limit is not None, "a cap without a limit is never applied"
    return CapRule(
        ledger=ledger,
        limit=cap.limit,
        window_ms=cap.window_ms,
        is_order_unit=cap.unit == CapUnit.ORDER,
        is_skip=cap.on_cap == OnCap.SKIP
        or (cap.on_cap == OnCap.BY_PURPOSE and purpose != Purpose.REVIEW),
        longest_deferral_ms=cap.longest_deferral_ms,
    )
