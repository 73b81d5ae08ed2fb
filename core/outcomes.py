"""What ended on a day: one line of 32 bytes for each invitation, appended as it ends.

Decides: field order, widths and units, as `core/records.py` does for what lives longer.
"""

from __future__ import annotations

import struct

import msgspec

from core.model import Reason, State
from core.records import unpack48

OUTCOME = struct.Struct("<16sBBI6sB3s")

_STATE_AT = 16

assert OUTCOME.size == 32


class Outcome(msgspec.Struct, frozen=True):
    """One line of a day's outcomes: 32 bytes, appended when an invitation ends."""

    member: bytes
    state: State
    reason: Reason
    rule_number: int
    settle_ms: int
    attempts: int


def unpack_outcomes(raw: bytes, state: int = 0) -> list[Outcome]:
    """Return a day's outcomes in the order in which they were written; those of one state, if it is
    given."""
    if state:
        states, wanted = raw[_STATE_AT :: OUTCOME.size], state.to_bytes(1, "little")
        found, at = [], states.find(wanted)
        while at >= 0:
            found.append(raw[at * OUTCOME.size : (at + 1) * OUTCOME.size])
            at = states.find(wanted, at + 1)
        raw = b"".join(found)
    return [
        Outcome(f[0], State(f[1]), Reason(f[2]), f[3], unpack48(f[4]), f[5])
        for f in OUTCOME.iter_unpack(raw)
    ]
