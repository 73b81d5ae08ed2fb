"""What the operators of CEL do with values, where Python's do something else.

Decides: overflow, division, equality and order across types, selection in maps, and how errors pass
through `&&`, `||`, `exists` and `all`.
Never: when they are called; `core.rules.lowering` uses Python's own operators wherever the checked
types make them do the same.

Values: bool, int (64 bits), float, str, None, and lists and dictionaries of them as `attributes` holds
them. A number in `attributes` is a double, whatever the decoder made of it.

Source: the CEL language definition, checked against the C++ runtime by
tests/property/test_conditions_against_cel.py.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

INT_MIN, INT_MAX = -(2**63), 2**63 - 1


class EvaluationError(Exception):
    """A condition ended in an error: it counts as false and is reported (R42)."""


# --- 64-bit integers and doubles ----------------------------------------------------------------


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


# --- values whose type is known only now --------------------------------------------------------


def select(value: Any, key: str) -> Any:
    """Return an entry of a map."""
    if type(value) is not dict:
        raise EvaluationError(f"selecting {key!r:.80} from something that is no map")
    try:
        entry = value[key]
    except KeyError:
        raise EvaluationError(f"no such key: {key!r:.80}") from None
    return float(entry) if type(entry) is int else entry


def has_key(value: Any, key: str) -> bool:
    """Return whether a map has an entry."""
    if type(value) is not dict:
        raise EvaluationError(f"selecting {key!r:.80} from something that is no map")
    return key in value


def dyn_bool(value: Any) -> bool:
    """Return a value where only a bool will do."""
    if value is True or value is False:
        return bool(value)
    raise EvaluationError(f"{_type(value)} where a bool is needed")


def dyn_not(value: Any) -> bool:
    """Return the opposite of a bool."""
    return not dyn_bool(value)


def dyn_eq(a: Any, b: Any) -> bool:
    """Return whether two values of any types are equal; numbers are compared as numbers."""
    if type(a) is bool or type(b) is bool:
        return a is b
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(dyn_eq, a, b))
    if type(a) is dict and type(b) is dict:
        return a.keys() == b.keys() and all(dyn_eq(a[key], b[key]) for key in a)
    return bool(a == b)


def dyn_ne(a: Any, b: Any) -> bool:
    """Return whether two values differ."""
    return not dyn_eq(a, b)


def _ordered(compare: Callable[[Any, Any], bool], sign: str) -> Callable[[Any, Any], bool]:
    def dyn_compare(a: Any, b: Any) -> bool:
        if _comparable(a) is None or _comparable(a) is not _comparable(b):
            raise _no_overload(sign, a, b)
        return compare(a, b)

    return dyn_compare


def _comparable(value: Any) -> type | None:
    """Return a type such that values of the same one have an order."""
    kind = type(value)
    if kind is int:
        return float
    return kind if kind in (float, str, bool) else None


dyn_lt = _ordered(operator.lt, "<")
dyn_le = _ordered(operator.le, "<=")
dyn_gt = _ordered(operator.gt, ">")
dyn_ge = _ordered(operator.ge, ">=")


def _arithmetic(
    ints: Callable[[int, int], int],
    doubles: Callable[[float, float], float],
    sign: str,
    joined: tuple[type, ...] = (),
) -> Callable[[Any, Any], Any]:
    def dyn_compute(a: Any, b: Any) -> Any:
        kind = type(a)
        if kind is type(b):
            if kind is float:
                return doubles(a, b)
            if kind is int:
                return ints(a, b)
            if kind in joined:
                return a + b
        raise _no_overload(sign, a, b)

    return dyn_compute


dyn_add = _arithmetic(int_add, operator.add, "+", joined=(str, list, tuple))
dyn_sub = _arithmetic(int_sub, operator.sub, "-")
dyn_mul = _arithmetic(int_mul, operator.mul, "*")
dyn_div = _arithmetic(int_div, double_div, "/")


def _no_modulus(a: float, b: float) -> float:
    raise _no_overload("%", a, b)


dyn_mod = _arithmetic(int_mod, _no_modulus, "%")


def dyn_neg(value: Any) -> Any:
    """Return the negative of a number."""
    if type(value) is float:
        return -value
    if type(value) is int:
        return int_neg(value)
    raise EvaluationError(f"no minus for {_type(value)}")


def dyn_in(value: Any, container: Any) -> bool:
    """Return whether a list has an element, or a map a key."""
    if isinstance(container, list | tuple | dict):
        return any(dyn_eq(value, element) for element in container)
    raise _no_overload("in", value, container)


def dyn_size(value: Any) -> int:
    """Return how many characters, elements or entries there are."""
    if isinstance(value, str | list | tuple | dict):
        return len(value)
    raise EvaluationError(f"no size of {_type(value)}")


def _texts(test: Callable[[str, str], bool], name: str) -> Callable[[Any, Any], bool]:
    def dyn_test(text: Any, part: Any) -> bool:
        if type(text) is str and type(part) is str:
            return test(text, part)
        raise _no_overload(name, text, part)

    return dyn_test


dyn_starts = _texts(str.startswith, "startsWith")
dyn_ends = _texts(str.endswith, "endsWith")
dyn_contains = _texts(operator.contains, "contains")


# --- errors among alternatives ------------------------------------------------------------------


def all_of(*tests: Callable[[], bool]) -> bool:
    """Return a conjunction in which a false test outweighs any error."""
    return for_all(tests, lambda test: test())


def any_of(*tests: Callable[[], bool]) -> bool:
    """Return a disjunction in which a true test outweighs any error."""
    return exists(tests, lambda test: test())


def for_all(elements: Iterable[Any], test: Callable[[Any], bool]) -> bool:
    """Return whether no element fails; one that does outweighs any error."""
    error: EvaluationError | None = None
    for element in elements:
        try:
            if not test(element):
                return False
        except EvaluationError as failure:
            error = error or failure
    if error is not None:
        raise error
    return True


def exists(elements: Iterable[Any], test: Callable[[Any], bool]) -> bool:
    """Return whether any element passes; one that does outweighs any error."""
    return not for_all(elements, lambda element: not test(element))


def _type(value: Any) -> str:
    names = {bool: "a bool", int: "an int", float: "a double", str: "a string", dict: "a map"}
    return names.get(type(value), "null" if value is None else "a list")


def _no_overload(name: str, a: Any, b: Any) -> EvaluationError:
    return EvaluationError(f"no {name} for {_type(a)} and {_type(b)}")
