"""The shapes that an explanation is made of, and which gate each reason belongs to.

Decides: the gates and their order (R10), and the gate that a reason comes from.
Never: what is told of one invitation (`explain_gates.py`, `explain_now.py`).

Units: every `*_ms` is epoch milliseconds, or a span where the name says so; 0 for none.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from core.engine.reader import InvitationView
from core.model import Disposition, Reason
from core.records import NO_KEY


class Gate(enum.IntEnum):
    """What is decided about an invitation, in the order in which it is told. Numbers as in the API."""

    UNSPECIFIED = 0
    EVENT = 1
    RULE = 2
    TIME = 3
    STATE = 4
    STOPS = 5
    ONCE = 6
    EXPIRY = 7
    ADDRESS = 8
    MEDIUM = 9
    FEATURES = 10
    ENTITLEMENT = 11
    SUPPRESSION = 12
    CONSENT = 13
    CONDITION = 14
    HOURS = 15
    CAPS = 16
    VOLUME = 17
    DIVERSION = 18
    CONTENT = 19
    CLAIM = 20
    ATTEMPTS = 21
    OUTCOME = 22
    FEEDBACK = 23


STAGES: Final = {
    Gate.EVENT: "accept", Gate.RULE: "rule", Gate.TIME: "plan", Gate.STATE: "state",
    Gate.STOPS: "stops", Gate.ONCE: "once", Gate.EXPIRY: "expiry", Gate.ADDRESS: "address",
    Gate.MEDIUM: "medium", Gate.FEATURES: "features", Gate.ENTITLEMENT: "entitlement",
    Gate.SUPPRESSION: "suppression", Gate.CONSENT: "consent", Gate.CONDITION: "condition",
    Gate.HOURS: "hours", Gate.CAPS: "cap", Gate.VOLUME: "volume", Gate.DIVERSION: "diversion",
    Gate.CONTENT: "content", Gate.CLAIM: "claim", Gate.ATTEMPTS: "attempts", Gate.OUTCOME: "send",
    Gate.FEEDBACK: "feedback",
}  # fmt: skip
"""The word for each gate."""

DUE_GATES: Final = tuple(gate for gate in Gate if Gate.STATE <= gate <= Gate.CONTENT)
"""What is asked when an invitation falls due, in the order of R10."""

BIRTH_GATES: Final = frozenset({
    Gate.STOPS, Gate.ONCE, Gate.EXPIRY, Gate.SUPPRESSION, Gate.CONSENT, Gate.HOURS,
})  # fmt: skip
"""What is asked already when it is planned."""

GATE_OF: Final = {
    Reason.NONE: Gate.OUTCOME,
    Reason.NO_CONSENT: Gate.CONSENT,
    Reason.CONSENT_WITHDRAWN: Gate.CONSENT,
    Reason.UNSUBSCRIBED: Gate.SUPPRESSION,
    Reason.SUPPRESSED: Gate.SUPPRESSION,
    Reason.CAPPED: Gate.CAPS,
    Reason.REPLACED: Gate.CAPS,
    Reason.UNIDENTIFIED: Gate.ADDRESS,
    Reason.NO_RECIPIENT: Gate.ADDRESS,
    Reason.MEDIUM_NOT_CONFIGURED: Gate.MEDIUM,
    Reason.FEATURE_OFF: Gate.FEATURES,
    Reason.ENTITLEMENT: Gate.ENTITLEMENT,
    Reason.CONDITION_FALSE: Gate.CONDITION,
    Reason.PRODUCT_ALREADY_ASKED: Gate.CAPS,
    Reason.QUIET_HOURS: Gate.HOURS,
    Reason.DUPLICATE: Gate.ONCE,
    Reason.BY_CLIENT: Gate.STOPS,
    Reason.RULE_INACTIVE: Gate.STATE,
    Reason.RULE_STOPPED: Gate.STATE,
    Reason.RULE_DELETED: Gate.STATE,
    Reason.EVENT_TYPE_INACTIVE: Gate.STATE,
    Reason.STEP_OFF: Gate.STATE,
    Reason.ORDER_CANCELLED: Gate.STOPS,
    Reason.RETURNED: Gate.STOPS,
    Reason.PURCHASED: Gate.STOPS,
    Reason.REVIEWED: Gate.STOPS,
    Reason.PARENT_NOT_DELIVERED: Gate.STOPS,
    Reason.CONDITION_CHANGED: Gate.STOPS,
    Reason.ERASED: Gate.STOPS,
    Reason.NO_SLOT: Gate.HOURS,
    Reason.TOO_LATE: Gate.EXPIRY,
    Reason.LATE_EVENT: Gate.EXPIRY,
    Reason.PROVIDER_ERROR: Gate.OUTCOME,
    Reason.INVALID_RECIPIENT: Gate.OUTCOME,
    Reason.TEMPORARY_RECIPIENT_ERROR: Gate.OUTCOME,
    Reason.RENDERING_ERROR: Gate.CONTENT,
    Reason.INVALID_TEMPLATE: Gate.CONTENT,
    Reason.OUTCOME_UNKNOWN: Gate.OUTCOME,
    Reason.INTERNAL_ERROR: Gate.OUTCOME,
    Reason.CONTACT_FULL: Gate.ONCE,
}
"""Reason -> the gate that gives it. NO_SLOT is given by caps too."""


class Verdict(enum.IntEnum):
    """How a gate answered. Numbers as in the API."""

    UNSPECIFIED = 0
    PASSED = 1
    REFUSED = 2
    WAITS = 3
    """Not now, but later."""
    NOT_ASKED = 4
    """Another gate had decided before, or it was not its turn yet."""


class ConsentSeen(msgspec.Struct, frozen=True):
    """One entry of the consent table that speaks about an invitation."""

    scope: int
    purpose: int
    medium: int
    status: int
    scope_key: bytes
    time_ms: int
    expire_ms: int = 0
    number: int = 0
    """Of the line in the contact's consent log; 0 if there is none."""
    write_ms: int = 0
    decided: bool = False
    """The one that decided."""


class LedgerEntry(msgspec.Struct, frozen=True):
    """A send that a cap counted."""

    time_ms: int
    member: bytes = b""
    """The invitation, if it is still known."""
    order_reference: str = ""
    """The order, where the cap counts orders."""


class CapSeen(msgspec.Struct, frozen=True):
    """A cap as it stood at a moment."""

    name: str
    """Full name; "" if the cap is gone."""
    limit: int
    window_ms: int
    entries: tuple[LedgerEntry, ...]
    """What it counted then, without the invitation's own unit."""
    free_ms: int = 0
    """When there is room again; 0: there was room, or there never will be."""
    is_full: bool = False


class TimeSeen(msgspec.Struct, frozen=True):
    """How a due time came about."""

    zone: str
    zone_source: str
    base_ms: int
    """From when on it was counted; 0 for what was made by hand."""
    first_due_ms: int
    due_ms: int
    expire_ms: int
    wait: str = ""
    """The wait of the step, in words."""
    moved_from_ms: int = 0
    """From when closed hours had moved it; 0 if they had not, or it is not known any more."""


class Decision(msgspec.Struct):
    """One line of the story."""

    stage: str
    text: str
    time_ms: int
    passed: bool
    gate: Gate = Gate.UNSPECIFIED
    verdict: Verdict = Verdict.UNSPECIFIED
    values: tuple[tuple[str, str], ...] = ()
    """(name, value) of what was looked at."""
    consents: tuple[ConsentSeen, ...] = ()
    caps: tuple[CapSeen, ...] = ()
    time: TimeSeen | None = None
    member: bytes = b""
    """Which invitation; empty for what is about an event."""


def told(gate: Gate, text: str, time_ms: int, verdict: Verdict = Verdict.PASSED) -> Decision:
    """Return a line about a gate."""
    passed = verdict not in (Verdict.REFUSED, Verdict.WAITS)
    return Decision(STAGES[gate], text, time_ms, passed, gate, verdict)


def answered(line: Decision, verdict: Verdict) -> Decision:
    """Return a line with another verdict."""
    passed = verdict not in (Verdict.REFUSED, Verdict.WAITS)
    return msgspec.structs.replace(line, verdict=verdict, passed=passed)


class Explanation(msgspec.Struct):
    """The whole story."""

    summary: str
    decisions: list[Decision]
    invitations: list[InvitationView]
    disposition: int = Disposition.UNSPECIFIED
    now: list[Decision] = []
    """What would happen this moment."""
    contact_key: bytes = NO_KEY
    channel_names: Mapping[int, str] = {}
    """Number -> full name of the account's channels, for scopes of consents."""


assert GATE_OF.keys() == set(Reason)
assert STAGES.keys() == set(Gate) - {Gate.UNSPECIFIED}
