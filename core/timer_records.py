"""What stands beside a contact record: timers, and facts that became known while something waited.

Decides: field order, widths and units, as `core/records.py` does for the record itself. The Lua twin is
`core/timing_wheel/lua/timers.lua`.

    fact   18 B + event   key, time, length of the event
    timer  42 B + event   id, rule, key, due, time, registry revision, length of the event

All integers are little-endian; times are epoch ms in six bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from core.records import unpack48

FACT_HEAD = struct.Struct("<8s6sI")
"""What became known of an order (or, under `NO_KEY`, of the contact) while an invitation waited: key,
time, length of the event that follows."""

TIMER = struct.Struct("<8sI8s6s6s6sI")
"""A timer: id, rule number, key of the run, due, time of the event that set it, registry revision,
length of the event that follows."""

assert FACT_HEAD.size == 18
assert TIMER.size == 42


def unpack_facts(raw: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield (key, time in epoch ms, event as msgpack) of each fact, oldest first."""
    at = 0
    while at < len(raw):
        key, time, size = FACT_HEAD.unpack_from(raw, at)
        at += FACT_HEAD.size
        yield key, unpack48(time), raw[at : at + size]
        at += size


def split_facts(raw: bytes) -> Iterator[bytes]:
    """Yield each fact whole, head and event, oldest first."""
    at = 0
    while at < len(raw):
        end = at + FACT_HEAD.size + FACT_HEAD.unpack_from(raw, at)[2]
        yield raw[at:end]
        at = end


class Timer(msgspec.Struct, frozen=True, gc=False):
    """Something that starts a run if nothing happens until it runs out (R7: no invitation yet)."""

    id: bytes
    """8 bytes: six that follow from rule and key, two of the channel's number, big-endian; behind the
    contact key they make the member under which it is indexed."""
    rule_number: int
    key: bytes
    """Key of the cart or order it watches; `NO_KEY` for the contact."""
    due_ms: int
    time_ms: int
    """When the event occurred that set it last."""
    revision: int
    """Registry revision under which it was set."""
    body: bytes
    """That event, as msgpack."""

    @property
    def channel_number(self) -> int:
        """The channel of the run that it starts."""
        return int.from_bytes(self.id[6:], "big")


def unpack_timers(raw: bytes) -> list[Timer]:
    """Return the timers of a contact in the order in which they were first set."""
    timers: list[Timer] = []
    at = 0
    while at < len(raw):
        f = TIMER.unpack_from(raw, at)
        at += TIMER.size + f[6]
        timers.append(
            Timer(
                f[0], f[1], f[2], unpack48(f[3]), unpack48(f[4]), unpack48(f[5]),
                raw[at - f[6] : at],
            )
        )  # fmt: skip
    return timers
