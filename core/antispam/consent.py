"""Consent: may this contact be written to, for this purpose, by this medium, about this order?

Decides: which entry of a contact's consent table counts (R17), and how a new entry joins the table.
Never: who asked, what the registry says, what happens to invitations that wait.

Two kinds of entries stand side by side. *Evidence* (GRANTED, DENIED, PENDING) says what was
answered once, somewhere: for one order, for one channel, or for the account. The most specific
evidence that covers the invitation decides. A *withdrawal* (WITHDRAWN) says stop: the newest one in
any scope that covers the invitation beats evidence which is older or of the same millisecond.

    account  GRANTED    10:00        order B: no evidence of its own, channel neither, so the
    order A  DENIED     11:00        account's counts: allowed. Order A: denied.
    channel  WITHDRAWN  12:00        From now on nothing in this channel, whatever the order,
    order C  GRANTED    12:01        but for order C, whose evidence is newer.

Invariants:
    1. At most one evidence and one withdrawal stand for the same
       (scope, scope key, purpose, medium).
    2. Without evidence the answer is no.
    3. `NO_KEY` names no order: an entry of scope ORDER with that key covers nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.model import ConsentScope, ConsentStatus, Reason
from core.records import NO_KEY, ConsentEntry


def channel_scope_key(channel_number: int) -> bytes:
    """Return the scope key of an entry that covers one channel: its number, little-endian."""
    return channel_number.to_bytes(8, "little")


def is_covering(scope: int, scope_key: bytes, channel_number: int, order_key: bytes) -> bool:
    """Return whether an entry of this scope speaks about that channel and order.

    Args:
        scope: a `ConsentScope`.
        scope_key: 8 bytes; zeros, the channel number little-endian, or the order key.
        channel_number: of the invitation.
        order_key: of the invitation; `NO_KEY` if it belongs to no order.

    Cost: O(1).
    """
    if scope == ConsentScope.ACCOUNT:
        return True
    if scope == ConsentScope.CHANNEL:
        return scope_key == channel_scope_key(channel_number)
    return order_key != NO_KEY and scope_key == order_key


def decide(
    entries: Sequence[ConsentEntry],
    channel_number: int,
    order_key: bytes,
    purpose: int,
    medium: int,
    *,
    is_pending_enough: bool = False,
) -> tuple[bool, Reason]:
    """Return whether the contact may be written to, and if not, why.

    Args:
        entries: the contact's consent table, in any order.
        channel_number: channel of the invitation.
        order_key: order of the invitation, `NO_KEY` for none.
        purpose: `Purpose` of the invitation; no purpose covers another (R16).
        medium: `Medium` of the invitation.
        is_pending_enough: True when an invitation is planned: a double opt-in that is still open
            is decided at due (R11). False at the claim: it is not a consent yet.

    Returns:
        (True, NONE), or (False, CONSENT_WITHDRAWN) where a withdrawal is the newest word, or
        (False, NO_CONSENT) where there is no evidence, a no, or an open double opt-in.

    Cost: O(entries); no allocation.
    Source: R17.
    """
    evidence: ConsentEntry | None = None
    withdrawal_ms: int | None = None
    for entry in entries:
        if entry.purpose != purpose or entry.medium != medium:
            continue
        if not is_covering(entry.scope, entry.scope_key, channel_number, order_key):
            continue
        if entry.status == ConsentStatus.WITHDRAWN:
            if withdrawal_ms is None or entry.time_ms > withdrawal_ms:
                withdrawal_ms = entry.time_ms
        elif evidence is None or entry.scope > evidence.scope:
            evidence = entry
    if withdrawal_ms is not None and (evidence is None or evidence.time_ms <= withdrawal_ms):
        return False, Reason.CONSENT_WITHDRAWN
    if evidence is None:
        return False, Reason.NO_CONSENT
    is_given = evidence.status == ConsentStatus.GRANTED
    is_open = evidence.status == ConsentStatus.PENDING and is_pending_enough
    return (True, Reason.NONE) if is_given or is_open else (False, Reason.NO_CONSENT)


def merge(entries: Sequence[ConsentEntry], entry: ConsentEntry) -> list[ConsentEntry]:
    """Return the table with `entry` in it (invariant 1).

    An entry of the same kind (evidence or withdrawal) for the same scope, scope key, purpose and
    medium is replaced, at its place, if the new one is newer or of the same millisecond; an older
    one is ignored. Anything else is appended.

    Cost: O(entries), one new list.
    """
    merged = list(entries)
    is_withdrawal = entry.status == ConsentStatus.WITHDRAWN
    for index, old in enumerate(merged):
        if (
            (old.status == ConsentStatus.WITHDRAWN) == is_withdrawal
            and old.scope == entry.scope
            and old.scope_key == entry.scope_key
            and old.purpose == entry.purpose
            and old.medium == entry.medium
        ):
            if entry.time_ms >= old.time_ms:
                merged[index] = entry
            return merged
    merged.append(entry)
    return merged
