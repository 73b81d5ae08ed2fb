"""Whether draws look as they should: Pearson's chi-square test against the shares.

Decides: what is counted, and how likely a deviation at least as large is by chance alone.
Never: where draws come from.

Of each order only one draw is counted: its service and product requests share it, and what is not
independent must not count twice.

Source: for k degrees of freedom the tail of chi-square is Q(k/2, x/2), the regularised upper incomplete
gamma function, with Q(1/2, y) = erfc(sqrt(y)), Q(1, y) = exp(-y) and
Q(a + 1, y) = Q(a, y) + y**a * exp(-y) / gamma(a + 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from core.engine.diversion import BUCKETS, Share


class Fit(msgspec.Struct, frozen=True):
    """How counts fit their shares."""

    count: int
    expected: tuple[float, ...]
    """In the order of the shares."""
    statistic: float
    degrees: int
    """0: there is nothing to compare."""
    p_value: float
    """How likely it is to be off at least as far by chance."""


def fit(counts: Mapping[str, int], shares: Sequence[Share]) -> Fit:
    """Return how many draws fell to each platform, compared with what its share promises.

    Args:
        counts: platform -> draws; a platform without a share makes the fit impossible: p is 0.
    """
    count = sum(counts.values())
    wanted = [(platform, width) for platform, width in shares if width]
    expected = tuple(count * width / BUCKETS for _, width in shares)
    if any(counts[platform] for platform in counts.keys() - {name for name, _ in wanted}):
        return Fit(count, expected, math.inf, max(0, len(wanted) - 1), 0.0)
    statistic = sum(
        (counts.get(platform, 0) - count * width / BUCKETS) ** 2 / (count * width / BUCKETS)
        for platform, width in (wanted if count else ())
    )
    degrees = max(0, len(wanted) - 1)
    return Fit(count, expected, statistic, degrees, tail(statistic, degrees))


def tail(statistic: float, degrees: int) -> float:
    """Return the probability that chi-square of so many degrees of freedom is at least this large."""
    if degrees == 0 or statistic <= 0:
        return 1.0
    y = statistic / 2
    if degrees % 2:
        a, probability = 0.5, math.erfc(math.sqrt(y))
    else:
        a, probability = 1.0, math.exp(-y)
    while a < degrees / 2:
        probability += math.exp(a * math.log(y) - y - math.lgamma(a + 1))
        a += 1
    return min(1.0, probability)
