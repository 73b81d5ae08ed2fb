"""Consent: may this contact be written to, for this purpose, by this medium, about this order?

Decides: which entry of a contact's consent table counts (R17, R18), and how a new entry joins it.
Never: who asked, what the registry says, what happens to invitations that wait.

Three kinds of entries stand side by side. *Evidence* (GRANTED, CONFIRMED, DENIED, PENDING, ASSUMED) says
what was answered once, somewhere: for one order, for one channel, or for the account. The most specific
evidence that covers the invitation decides, until it expires; of one place the newest. A *withdrawal*
(WITHDRAWN) says stop: the newest one in any scope that covers the invitation beats evidence which is
older or of the same millisecond, and whatever is only ASSUMED. A *suppression* (`Suppression`) stands in
front of both, for every purpose: only a confirmation of that very purpose and medium ends it, and some
not even that.

    account  GRANTED      10:00      order B: no evidence of its own, channel neither, so the
    order A  DENIED       11:00      account's counts: allowed. Order A: denied.
    channel  WITHDRAWN    12:00      From now on nothing in this channel, whatever the order,
    order C  GRANTED      12:01      but for order C, whose evidence is newer.
    account  UNSUBSCRIBED 13:00      Nothing at all, ticked boxes or not,
    account  CONFIRMED    14:00      until it is confirmed.

Invariants:
    1. For the same (scope, scope key, purpose, medium) stand at most one confirmation, one other
       answer, one that is assumed, one withdrawal and one of each suppression. A confirmation stays
       beside a newer answer: what it has ended stays ended.
    2. Without evidence the answer is no.
    3. `NO_KEY` names no order: an entry of scope ORDER with that key covers nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.model import (
    LASTING_SUPPRESSIONS,
    ConsentScope,
    ConsentStatus,
    Reason,
    Suppression,
)
from core.records import NO_KEY, ConsentEntry

ALLOWED = (True, Reason.NONE)
GIVEN = frozenset({ConsentStatus.GRANTED, ConsentStatus.CONFIRMED, ConsentStatus.ASSUMED})
_APART = frozenset({ConsentStatus.CONFIRMED, ConsentStatus.ASSUMED, ConsentStatus.PENDING})
"""Evidence that stands beside other evidence of the same place."""


def channel_scope_key(channel_number: int) -> bytes:
    """Return the scope key of an entry that covers one channel: its number, little-endian."""
    return channel_number.to_bytes(8, "little")


def is_suppression(status: int) -> bool:
    """Return whether a status is a `Suppression` instead of a `ConsentStatus`."""
    return status >= Suppression.UNSUBSCRIBED


def is_evidence(status: int) -> bool:
    """Return whether a status says what was answered: neither withdrawal nor suppression."""
    return status != ConsentStatus.WITHDRAWN and not is_suppression(status)


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


def covering(
    entry: ConsentEntry, channel_number: int, order_key: bytes, purpose: int, medium: int
) -> bool:
    """Return whether an entry speaks about such an invitation; 0 as purpose or medium is all.

    Cost: O(1).
    """
    return (
        entry.purpose in (0, purpose)
        and entry.medium in (0, medium)
        and is_covering(entry.scope, entry.scope_key, channel_number, order_key)
    )


def rank(evidence: ConsentEntry) -> tuple[int, bool, bool, int, bool]:
    """Return what decides between two evidences that cover the same invitation: the greater counts.

    The narrower scope, then the one that names its medium, then what was said before what is assumed,
    then the newer, then the confirmation.
    """
    return (
        evidence.scope, evidence.medium != 0, evidence.status != ConsentStatus.ASSUMED,
        evidence.time_ms, evidence.status == ConsentStatus.CONFIRMED,
    )  # fmt: skip


def decide(
    entries: Sequence[ConsentEntry],
    channel_number: int,
    order_key: bytes,
    purpose: int,
    medium: int,
    now_ms: int,
    *,
    is_pending_enough: bool = False,
) -> tuple[bool, Reason]:
    """Return whether there is consent to write to the contact, and if not, why.

    Args:
        entries: the contact's consent table, in any order; suppressions in it are passed by.
        channel_number: channel of the invitation.
        order_key: order of the invitation, `NO_KEY` for none.
        purpose: `Purpose` of the invitation; no purpose covers another (R16).
        medium: `Medium` of the invitation; an entry of medium 0 speaks about all.
        now_ms: evidence that has expired by then is none.
        is_pending_enough: True when an invitation is planned: a double opt-in that is still open
            is decided at due (R11). False at the claim: it is not a consent yet.

    Returns:
        (True, NONE), or (False, CONSENT_WITHDRAWN) where a withdrawal is the newest word, or
        (False, NO_CONSENT) where there is no evidence, a no, or an open double opt-in. That is a
        question, no answer: it takes no consent away.

    Cost: O(entries).
    Source: R17.
    """
    evidence = said = None
    withdrawal_ms = asked_ms = -1
    for entry in entries:
        if is_suppression(entry.status) or entry.purpose != purpose:
            continue
        if not covering(entry, channel_number, order_key, purpose, medium):
            continue
        if entry.status == ConsentStatus.WITHDRAWN:
            withdrawal_ms = max(withdrawal_ms, entry.time_ms)
        elif entry.expire_ms and now_ms >= entry.expire_ms:
            continue
        elif entry.status == ConsentStatus.PENDING:
            asked_ms = max(asked_ms, entry.time_ms)
        else:
            if evidence is None or rank(entry) > rank(evidence):
                evidence = entry
            if entry.status != ConsentStatus.ASSUMED and (said is None or rank(entry) > rank(said)):
                said = entry
    no_ms, reason = -1, Reason.NO_CONSENT
    if withdrawal_ms >= 0:
        evidence = said
    if withdrawal_ms >= 0 and (evidence is None or evidence.time_ms <= withdrawal_ms):
        no_ms, reason = withdrawal_ms, Reason.CONSENT_WITHDRAWN
    elif evidence is not None:
        if evidence.status in GIVEN:
            return ALLOWED
        no_ms = evidence.time_ms
    if asked_ms > no_ms:
        return ALLOWED if is_pending_enough else (False, Reason.NO_CONSENT)
    return False, reason


def suppression(
    entries: Sequence[ConsentEntry],
    channel_number: int,
    order_key: bytes,
    purpose: int,
    medium: int,
) -> Reason:
    """Return why the contact must not be written to at all: UNSUBSCRIBED, SUPPRESSED, or NONE.

    A suppression that covers the invitation stands; but one that is not lasting has ended if a
    confirmation that covers the invitation is newer. It stays ended when that expires: no consent is
    not a suppression. UNSUBSCRIBED goes before the others. Arguments as in `decide`.

    Cost: O(entries), twice; no allocation.
    Source: R10, R18, R22.
    """
    confirm_ms = -1
    for entry in entries:
        if (
            entry.status == ConsentStatus.CONFIRMED
            and entry.time_ms > confirm_ms
            and covering(entry, channel_number, order_key, purpose, medium)
        ):
            confirm_ms = entry.time_ms
    reason = Reason.NONE
    for entry in entries:
        if (
            not is_suppression(entry.status)
            or (entry.time_ms < confirm_ms and entry.status not in LASTING_SUPPRESSIONS)
            or not covering(entry, channel_number, order_key, purpose, medium)
        ):
            continue
        if entry.status == Suppression.UNSUBSCRIBED:
            return Reason.UNSUBSCRIBED
        reason = Reason.SUPPRESSED
    return reason


def refusal(
    entries: Sequence[ConsentEntry],
    channel_number: int,
    order_key: bytes,
    purpose: int,
    medium: int,
    now_ms: int,
    *,
    heeds_suppression: bool = True,
    needs_consent: bool = True,
    is_pending_enough: bool = False,
) -> Reason:
    """Return why not to write, or NONE: the suppression first, then the consent (R10).

    Arguments as in `decide` and `core.gate.ClaimItem`.

    Cost: O(entries).
    """
    if heeds_suppression:
        reason = suppression(entries, channel_number, order_key, purpose, medium)
        if reason is not Reason.NONE:
            return reason
    if not needs_consent:
        return Reason.NONE
    _, reason = decide(
        entries, channel_number, order_key, purpose, medium, now_ms,
        is_pending_enough=is_pending_enough,
    )  # fmt: skip
    return reason


def erase_ms(entries: Sequence[ConsentEntry]) -> int:
    """Return when the contact was erased last, -1 if never: what occurred up to then is refused (R22).

    Cost: O(entries).
    """
    return max((e.time_ms for e in entries if e.status == Suppression.ERASED), default=-1)


def as_last_word(entries: Sequence[ConsentEntry], entry: ConsentEntry, now_ms: int) -> ConsentEntry:
    """Return a no that is said now as the newest word: at the time of the newest evidence it is about,
    should that be later, because another daemon's clock is ahead. Anything else as it is.

    Cost: O(entries).
    """
    if is_evidence(entry.status) or entry.time_ms < now_ms:
        return entry
    newest_ms = max(
        (
            old.time_ms
            for old in entries
            if is_evidence(old.status)
            and entry.purpose in (0, old.purpose)
            and entry.medium in (0, old.medium)
        ),
        default=0,
    )
    if newest_ms <= entry.time_ms:
        return entry
    return msgspec.structs.replace(entry, time_ms=newest_ms)


def merge(entries: Sequence[ConsentEntry], entry: ConsentEntry) -> list[ConsentEntry]:
    """Return the table with `entry` in it (invariant 1).

    An entry of the same kind (confirmation, other answer, assumption, withdrawal, or the same
    suppression) for the same scope, scope key, purpose and medium is replaced, at its place, if the new
    one is newer or of the same millisecond; an older one is ignored. Anything else is appended; but
    LIFTED takes away all suppressions of its scope, scope key, purpose and medium, and is no entry
    itself.

    Cost: O(entries), one new list.
    """
    if entry.status == ConsentStatus.LIFTED:
        return [old for old in entries if not (is_suppression(old.status) and _is_twin(old, entry))]
    merged = list(entries)
    for index, old in enumerate(merged):
        if _kind(old.status) == _kind(entry.status) and _is_twin(old, entry):
            if entry.time_ms >= old.time_ms:
                merged[index] = entry
            return merged
    merged.append(entry)
    return merged


def _kind(status: int) -> int:
    """Return what may stand once: 0 for answers but a confirmation, else the status itself."""
    return 0 if is_evidence(status) and status not in _APART else status


def _is_twin(one: ConsentEntry, other: ConsentEntry) -> bool:
    return (
        one.scope == other.scope
        and one.scope_key == other.scope_key
        and one.purpose == other.purpose
        and one.medium == other.medium
    )
