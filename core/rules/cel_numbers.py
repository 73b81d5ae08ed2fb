"""Arithmetic of CEL on integers and doubles, where Python's is another.

Decides: overflow and division. Python's integers have no end, CEL's have 64 bits.
Never: which operator is meant; `core.rules.cel_values` finds that out where it shows only at run time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from core.rules.cel_convert import INT_MAX, INT_MIN, UINT_MAX
from core.rules.cel_types import EvaluationError, Uint


def _in_range(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvaluationError("integer overflow")


def int_add(a: int, b: int) -> int:
    """Return a + b."""
    return _in_range(a + b)


def int_sub(a: int, b: int) -> int:
    """Return a - b."""
    return _in_range(a - b)


def int_mul(a: int, b: int) -> int:
    """Return a * b."""
    return _in_range(a * b)


def int_neg(a: int) -> int:
    """Return -a."""
    return _in_range(-a)


def int_div(a: int, b: int) -> int:
    """Return a / b, rounded towards zero."""
    if b == 0:
        raise EvaluationError("division by zero")
    quotient = abs(a) // abs(b)
    return _in_range(quotient if (a < 0) == (b < 0) else -quotient)


def int_mod(a: int, b: int) -> int:
    """Return the rest of `int_div`; it has the sign of `a`."""
    if b == 0:
        raise EvaluationError("modulus by zero")
    if b == -1 and a == INT_MIN:
        raise EvaluationError("integer overflow")
    return abs(a) % abs(b) * (-1 if a < 0 else 1)


def double_div(a: float, b: float) -> float:
    """Return a / b by IEEE 754: dividing by zero gives an infinity or no number, not an error."""
    if b:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def unsigned(compute: Callable[[int, int], int]) -> Callable[[Uint, Uint], Uint]:
    """Return an operator of unsigned integers that keeps their range."""

    def uint_compute(a: Uint, b: Uint) -> Uint:
        try:
            number = compute(a, b)
        except ZeroDivisionError:
            raise EvaluationError("division by zero") from None
        if 0 <= number <= UINT_MAX:
            return Uint(number)
        raise EvaluationError("unsigned integer overflow")

    return uint_compute
