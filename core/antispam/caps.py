"""Frequency caps: does this send fit, and if not, what then?

Decides: pass, skip, defer until an exact instant, or expire, over all caps of one invitation at
once (R24, R28); and which stamps a send leaves behind.
Never: which caps apply to an invitation, nor windows of the day and quiet hours.

A contact's record holds stamps (ledger, tag, time). The ledger names the cap and what it is counted
per; the tag names the unit that was counted: one message, or one order where the cap counts orders,
so that the service mail, the product mail and the reminder of one order are one stamp (R23).

Invariants:
    1. A stamp of the invitation's own unit never stands in its way (E9): an entry that was taken,
       lost and taken back passes by its own reservation.
    2. Inside the window a unit is stamped once, at its first send; the time is never rewritten
       (R25).
    3. If every checked cap is also counted, no window of a cap ever holds more than `limit` stamps.

Worked example: limit 1 order in 14 days, order A stamped on day 0. A's second mail on day 3 passes
(own unit) and leaves no new stamp. Order B on day 3 is deferred to day 14, to the millisecond.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from core.antispam.windows import Blocked, freed_ms, is_counting
from core.bounds import CAP_WINDOW_MAX_MS, CONTACT_STAMPS_MAX
from core.gate import CapRule
from core.records import NO_KEY, Stamp


class Verdict(enum.IntEnum):
    """What the caps say about one send."""

    PASS = 0
    SKIP = 1
    DEFER = 2
    EXPIRE = 3
    """There is a free slot, but it comes too late."""
    LOOK_AGAIN = 4
    """What the message says depends on a cap that is full: it is to be judged anew."""


class Decision(msgspec.Struct, frozen=True):
    """The verdict, and what decided it.

    `until_ms` is the freed instant (epoch ms) for DEFER and EXPIRE, else None. `ledger` is that of
    the cap which decided: for SKIP and LOOK_AGAIN the first that does so, else the one that is freed
    last; `is_replace` is what that one says.
    """

    verdict: Verdict
    until_ms: int | None = None
    ledger: bytes = b""
    is_replace: bool = False


PASSED = Decision(Verdict.PASS)


def invitation_tag(sequence: int) -> bytes:
    """Return the tag of one invitation: two zero bytes and its sequence, big-endian."""
    return bytes(2) + sequence.to_bytes(6, "big")


def unit_tag(cap: CapRule, own_tag: bytes, order_key: bytes) -> bytes:
    """Return the unit the cap counts: the order, if it counts orders, else the invitation.

    An invitation without an order is its own unit.
    """
    return order_key if cap.is_order_unit and order_key != NO_KEY else own_tag


def check(
    stamps: Sequence[Stamp],
    caps: Sequence[CapRule],
    own_tag: bytes,
    order_key: bytes,
    now_ms: int,
    expire_ms: int,
) -> Decision:
    """Return whether a send now fits into every cap.

    Args:
        stamps: the contact's stamps, all ledgers, in any order.
        caps: the caps of this invitation, in any order; those with `is_checked` off are passed by.
        own_tag: `invitation_tag` of the invitation.
        order_key: its order, `NO_KEY` for none.
        now_ms: instant of the send, epoch ms.
        expire_ms: the invitation's expiry, epoch ms; it may not be deferred to or beyond it.

    Returns:
        LOOK_AGAIN or SKIP if any full cap looks again, or skips, or has the limit 0: what the first
        of them says. Else DEFER to the latest freed instant of all full caps (R28), or EXPIRE if
        that is at or after `expire_ms`, or later than the shortest `longest_deferral_ms` of the full
        caps allows (R30); PASS if none is full.

    Cost: O(caps * stamps).
    Source: R23-R25, R28, R30, E9.
    """
    until_ms: int | None = None
    decisive: CapRule | None = None
    latest_ms = expire_ms - 1
    for cap in caps:
        if not cap.is_checked:
            continue
        tag = unit_tag(cap, own_tag, order_key)
        others = [s.time_ms for s in stamps if s.ledger == cap.ledger and s.tag != tag]
        cap_freed_ms = freed_ms(others, cap.limit, cap.window_ms, now_ms)
        if cap_freed_ms is None:
            continue
        if cap.looks_again:
            return Decision(Verdict.LOOK_AGAIN, ledger=cap.ledger)
        if cap.is_skip or isinstance(cap_freed_ms, Blocked):
            return Decision(Verdict.SKIP, ledger=cap.ledger)
        if cap.longest_deferral_ms > 0:
            latest_ms = min(latest_ms, now_ms + cap.longest_deferral_ms)
        if until_ms is None or cap_freed_ms > until_ms:
            until_ms, decisive = cap_freed_ms, cap
    if until_ms is None or decisive is None:
        return PASSED
    verdict = Verdict.DEFER if until_ms <= latest_ms else Verdict.EXPIRE
    return Decision(verdict, until_ms, decisive.ledger, decisive.is_replace)


def reserve(
    stamps: Sequence[Stamp],
    caps: Sequence[CapRule],
    own_tag: bytes,
    order_key: bytes,
    now_ms: int,
) -> list[Stamp]:
    """Return the stamps after a send now: one more for each counted cap (invariant 2).

    Stamps that no window can reach any more are left out; where there are more than a record keeps,
    also those of these caps that their present windows do not reach, so that a busy ledger does not
    push out the stamps of a slow one. Arguments as in `check`; caps with `is_counted` off leave no
    stamp.

    Cost: O(caps * stamps), one new list.
    """
    kept = [stamp for stamp in stamps if is_counting(stamp.time_ms, CAP_WINDOW_MAX_MS, now_ms)]
    for cap in caps:
        if not cap.is_counted:
            continue
        tag = unit_tag(cap, own_tag, order_key)
        if not any(
            stamp.ledger == cap.ledger
            and stamp.tag == tag
            and is_counting(stamp.time_ms, cap.window_ms, now_ms)
            for stamp in kept
        ):
            kept.append(Stamp(cap.ledger, tag, now_ms))
    if len(kept) <= CONTACT_STAMPS_MAX:
        return kept
    windows = {cap.ledger: cap.window_ms for cap in caps}
    return [
        stamp
        for stamp in kept
        if is_counting(stamp.time_ms, windows.get(stamp.ledger, CAP_WINDOW_MAX_MS), now_ms)
    ]
