"""Slot arithmetic of the hierarchical timing wheel: where an instant lives, and who is next.

Decides: the level and slot of an instant as seen from wheel time, where a slot starts, and which
occupied slot comes next.
Never: holds an entry, moves one, or knows what the time is.

A wheel is a positional number system. Write an instant in base 64: each digit is a slot number,
each place a level. Seen from wheel time, an instant lives at the highest place in which the two
numbers differ, in the slot that its digit names there. The instants that agree with wheel time in
all higher places are exactly those of the current rotation, so a slot never mixes two rotations,
and within one rotation a greater slot number is always later.

    place       7      6      5      4      3      2      1      0
    wheel time  0      25     21     40     3      10     63     5
    due         0      25     21     40     7      2      0      0
                                            ^ level 3, slot 7

Shape: what one slot and one rotation of each level span.

    level   one slot            one rotation (64 slots)
    0       1 ms                64 ms
    1       64 ms               4.1 s
    2       4.1 s               4.4 min
    3       4.4 min             4.7 h
    4       4.7 h               12.4 days
    5       12.4 days           2.2 years
    6       2.2 years           139 years
    7       139 years           8,925 years

Seven levels span the horizon (940 days). The eighth is there because rotations are aligned to the
epoch: in May 2109 (2**42 ms) the sixth place carries into the seventh, and an instant just beyond
that carry differs in the eighth place, however near it is. Eight levels hold every instant that six
bytes can express, which is how due times are packed elsewhere, so there is no overflow list.

Units: epoch milliseconds; one tick is one millisecond.
Source: Varghese & Lauck, Hashed and Hierarchical Timing Wheels, IEEE/ACM Transactions on
Networking 5(6), 1997, scheme 7. Finding the level by exclusive or is a refinement of later
implementations; the paper keeps one cursor per level instead.
"""

from __future__ import annotations

from core.bounds import HORIZON_MS

SLOT_BITS = 6
SLOT_COUNT = 1 << SLOT_BITS
"""Slots of a level: one base-64 digit. Their occupancy fits one machine word."""

SLOT_MASK = SLOT_COUNT - 1
LEVEL_COUNT = 8

DUE_END_MS = 1 << (SLOT_BITS * LEVEL_COUNT)
"""First instant that no level holds: 2**48 ms, the year 10889."""

LEVEL_BY_BIT_LENGTH = tuple(
    max(0, bit_length - 1) // SLOT_BITS for bit_length in range(SLOT_BITS * LEVEL_COUNT + 1)
)
"""Level of the highest differing bit, by `(elapsed_ms ^ due_ms).bit_length()`; 0 if they agree."""

assert SLOT_BITS * LEVEL_COUNT == 48, "due times are packed in six bytes"
assert HORIZON_MS < 1 << (SLOT_BITS * (LEVEL_COUNT - 1)), "the top level is for the carry alone"


def level_for(elapsed_ms: int, due_ms: int) -> int:
    """Return the finest level whose current rotation contains `due_ms`.

    Args:
        elapsed_ms: wheel time; epoch ms in [0, DUE_END_MS).
        due_ms: when the entry fires; epoch ms in [elapsed_ms, DUE_END_MS).

    Returns:
        Level in [0, LEVEL_COUNT); 0 is the finest.

    Cost: O(1); no loop over levels.
    Source: Varghese & Lauck 1997, section VI, scheme 7.
    """
    return LEVEL_BY_BIT_LENGTH[(elapsed_ms ^ due_ms).bit_length()]


def slot_for(level: int, due_ms: int) -> int:
    """Return the slot of an instant at a level: one base-64 digit of it.

    Args:
        level: in [0, LEVEL_COUNT).
        due_ms: epoch ms in [0, DUE_END_MS).

    Returns:
        Slot in [0, SLOT_COUNT).

    Cost: O(1).
    """
    return due_ms >> (SLOT_BITS * level) & SLOT_MASK


def slot_span_ms(level: int) -> int:
    """Return how many milliseconds one slot of a level covers; 1 at the finest."""
    return 1 << (SLOT_BITS * level)


def slot_start_ms(elapsed_ms: int, level: int, slot: int) -> int:
    """Return the first instant of a slot in the rotation that contains `elapsed_ms`.

    Args:
        elapsed_ms: any instant of the rotation; epoch ms.
        level: in [0, LEVEL_COUNT).
        slot: in [0, SLOT_COUNT).

    Returns:
        Epoch ms, a multiple of the span of the slot. May lie before `elapsed_ms`.

    Cost: O(1).
    """
    shift = SLOT_BITS * level
    rotation = elapsed_ms >> (shift + SLOT_BITS)
    return (rotation << SLOT_BITS | slot) << shift


def next_occupied(occupied: int, position: int) -> int:
    """Return the first occupied slot of a level at or after a position.

    There is no wrapping: slots before the position belong to the past of this rotation.

    Args:
        occupied: bit i is set if slot i holds entries.
        position: in [0, SLOT_COUNT].

    Returns:
        Slot in [position, SLOT_COUNT); SLOT_COUNT if there is none.

    Cost: O(1): drop the bits below the position, isolate the lowest that is left (x & -x), count
    the zeros under it. 0b101000 from 4: shifted 0b10, isolated 0b10, one zero, so slot 5.
    """
    ahead = occupied >> position
    if not ahead:
        return SLOT_COUNT
    return position + (ahead & -ahead).bit_length() - 1
