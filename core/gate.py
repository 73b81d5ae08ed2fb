"""The gate's questions and answers: what a claim asks of the store for each due entry, and what it is
told.

Decides: the shapes only. How the gate decides: `core/antispam/` (kernels),
`core/timing_wheel/memory_gate.py` (the specification) and `core/timing_wheel/lua/claim.lua` (the same,
atomic beside the data).
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class Lane(enum.IntEnum):
    """Where a waiting entry is indexed. FAR is a slot; the others have one fixed key each."""

    FAR = 0
    NEAR = 1
    DEFERRED = 2
    PARKED = 3
    """Held until an operator lets it go; due here means expired (E18)."""
    TIMERS = 4
    """Timers, which are no invitations (R7)."""


class Source(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where a wheel entry is indexed: a lane, and for FAR the slot number."""

    lane: int
    slot: int = 0


FIXED_LANES: Final = tuple(Source(lane) for lane in Lane if lane != Lane.FAR)


class CapRule(msgspec.Struct, frozen=True, gc=False):
    """One cap as the gate applies it (R23-R28)."""

    ledger: bytes
    """4 bytes: hash of the cap's number and of what it is counted per."""
    limit: int
    window_ms: int
    is_order_unit: bool
    """The unit is an order: all its messages are one stamp."""
    is_skip: bool
    """On cap: skip; else defer to the exact freed moment."""
    longest_deferral_ms: int
    """0: only the invitation's expiry bounds it."""
    is_counted: bool = True
    is_checked: bool = True
    """A message may be exempt from a cap and still be counted, or the reverse (R24)."""
    is_replace: bool = False
    """On cap: of all that waits for this cap only the best stays, the others end REPLACED (R28)."""
    looks_again: bool = False
    """On cap: change nothing and answer LOOK_AGAIN; what the message says depends on this cap."""


class ClaimAction(enum.IntEnum):
    """What the daemon asks of the gate for one entry."""

    GATE = 0
    """Check everything and take it."""
    END = 1
    """The registry already says no: end it with this state and reason."""
    DEFER = 2
    """A window or quiet hours say later: move it to `due_ms` with this wait reason."""
    PARK = 3
    """Hold it until it is moved or expires (E18), with this wait reason; 0: its rule is frozen."""


class ClaimItem(msgspec.Struct, frozen=True, gc=False):
    """One due entry and how to decide on it."""

    member: bytes
    source: Source
    action: int = ClaimAction.GATE
    needs_consent: bool = True
    caps: tuple[CapRule, ...] = ()
    state: int = 0
    reason: int = 0
    due_ms: int = 0
    wait: int = 0
    heeds_suppression: bool = True
    """False for what does not go to the contact (R49)."""
    forwards_data: bool = False
    """It leads to a third party: without consent to DATA_FORWARDING over this medium, LOOK_AGAIN
    (R47)."""
    fell_back: bool = False
    """It was meant for another platform and stays on the own one: remembered of it, when claimed."""


class ClaimCode(enum.IntEnum):
    """What became of a claim item."""

    CLAIMED = 0
    GONE = 1
    """Not waiting any more: cancelled, taken or unknown. Its index entry is dropped."""
    ENDED = 2
    DEFERRED = 3
    NOT_DUE = 4
    """The store says it is due later than now: look again at `due_ms`."""
    PARKED = 5
    """Held in the parking lane."""
    LOOK_AGAIN = 6
    """What it was judged by is not so any more: nothing changed, its index entry neither; judge it
    anew."""


class ClaimAnswer(msgspec.Struct, frozen=True, gc=False):
    """Verdict on one claim item, in the order asked."""

    code: int
    state: int = 0
    reason: int = 0
    due_ms: int = 0
    attempts: int = 0
