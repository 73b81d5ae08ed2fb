"""What the operators of CEL do with values, where Python's do something else.

Decides: equality and order across types, which types an operator takes, selection in lists and maps,
and how errors pass through `&&`, `||` and the loops.
Never: when they are called; `core.rules.lowering` uses Python's own operators wherever the checked
types make them do the same.

Values: as `core.rules.cel_types` documents them. Numbers of different types are compared as numbers; an
int beside a double as the double next to it, as the C++ runtime does.

Source: the CEL language definition, checked against the C++ runtime by
tests/property/test_conditions_against_cel.py and against its conformance suite.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from core.bounds import ATTRIBUTE_LOOP_MAX
from core.rules import cel_times, fields
from core.rules.cel_numbers import (
    double_div,
    int_add,
    int_div,
    int_mod,
    int_mul,
    int_neg,
    int_sub,
    unsigned,
)
from core.rules.cel_types import (
    Duration,
    Map,
    Timestamp,
    Uint,
    in_words,
    key_of,
    keys,
    no_overload,
    plain,
)
from core.rules.cel_types import EvaluationError as EvaluationError

# --- entries and elements -----------------------------------------------------------------------


def select(value: Any, key: str) -> Any:
    """Return an entry of a map, or a field of a message."""
    kind = type(value)
    if kind is not dict and kind is not Map:
        return fields.select(value, key)
    try:
        entry = value[key]
    except KeyError:
        raise EvaluationError(f"no such key: {key!r:.80}") from None
    return float(entry) if type(entry) is int and kind is dict else entry


def has_key(value: Any, key: str) -> bool:
    """Return whether a map has an entry, or a field of a message is set."""
    return key in value if isinstance(value, dict) else fields.has(value, key)


def index(value: Any, key: Any) -> Any:
    """Return an element of a list, or an entry of a map."""
    if isinstance(value, dict):
        if type(key) not in _KEYS:
            raise no_overload("index", value, key)
        entry = value.get(key_of(key), _ABSENT)
        if entry is _ABSENT:
            raise EvaluationError(f"no such key: {key!r:.80}")
        return plain(entry) if type(value) is dict else entry
    if not isinstance(value, list | tuple) or type(key) not in _NUMBERS or key != key // 1:
        raise no_overload("index", value, key)
    if not 0 <= key < len(value):
        raise EvaluationError(f"no element {int(key)} in a list of {len(value)}")
    element = value[int(key)]
    return plain(element) if type(value) is list else element


def make_map(*parts: Any) -> Map:
    """Return a map of keys and values in turns."""
    made = Map()
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        if type(key) not in _KEYS or type(key) is float:
            raise EvaluationError(f"{in_words(key)} as the key of a map")
        if key_of(key) in made:
            raise EvaluationError(f"the key {key!r:.80} comes twice in a map")
        made[key_of(key)] = value
    return made


def elements(value: Any) -> tuple[Any, ...]:
    """Return what a loop over a value sees: the elements of a list, the keys of a map."""
    kind = type(value)
    if kind is tuple:
        return tuple(value)
    if kind is not list and not isinstance(value, dict):
        raise EvaluationError(f"a loop over {in_words(value)}")
    if kind is not Map and len(value) > ATTRIBUTE_LOOP_MAX:
        raise EvaluationError(f"a loop over more than {ATTRIBUTE_LOOP_MAX:,} elements")
    return tuple(map(plain, value)) if kind is list else keys(value)


def list_elements(value: Any) -> tuple[Any, ...]:
    """Return the elements of a list; a map is an error."""
    if isinstance(value, dict):
        raise EvaluationError("a loop over the keys of a map, in a rule that asks for reviews")
    return elements(value)


_ABSENT = object()
_NUMBERS = frozenset({int, float, Uint})
_KEYS = _NUMBERS | {bool, str}
_PLAIN = _KEYS | {type(None)}


# --- values whose type is known only now --------------------------------------------------------


def dyn_bool(value: Any) -> bool:
    """Return a value where only a bool will do."""
    if value is True or value is False:
        return bool(value)
    raise EvaluationError(f"{in_words(value)} where a bool is needed")


def dyn_not(value: Any) -> bool:
    """Return the opposite of a bool."""
    return not dyn_bool(value)


def dyn_eq(a: Any, b: Any) -> bool:
    """Return whether two values of any types are equal; numbers are compared as numbers."""
    if type(a) in _NUMBERS and type(b) in _NUMBERS:
        return float(a) == float(b) if float in (type(a), type(b)) else bool(a == b)
    if type(a) is bool or type(b) is bool:
        return a is b
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(dyn_eq, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(dyn_eq(a[key], b[key]) for key in a)
    return bool(a == b)


def dyn_ne(a: Any, b: Any) -> bool:
    """Return whether two values differ."""
    return not dyn_eq(a, b)


def _ordered(compare: Callable[[Any, Any], bool], sign: str) -> Callable[[Any, Any], bool]:
    def dyn_compare(a: Any, b: Any) -> bool:
        if type(a) in _NUMBERS and type(b) in _NUMBERS:
            return compare(float(a), float(b)) if float in (type(a), type(b)) else compare(a, b)
        if type(a) is not type(b) or type(a) not in _IN_ORDER:
            raise no_overload(sign, a, b)
        return compare(a, b)

    return dyn_compare


_IN_ORDER = frozenset({str, bool, bytes, Timestamp, Duration})

dyn_lt = _ordered(operator.lt, "<")
dyn_le = _ordered(operator.le, "<=")
dyn_gt = _ordered(operator.gt, ">")
dyn_ge = _ordered(operator.ge, ">=")


def _joined(a: Any, b: Any) -> tuple[Any, ...]:
    return (*_elements(a), *_elements(b))


def _elements(value: Any) -> Iterator[Any]:
    return map(plain, value) if type(value) is list else iter(value)


_Overloads = dict[tuple[type, type], Callable[[Any, Any], Any]]


def _arithmetic(sign: str, overloads: _Overloads) -> Callable[[Any, Any], Any]:
    def dyn_compute(a: Any, b: Any) -> Any:
        compute = overloads.get((type(a), type(b)))
        if compute is None:
            raise no_overload(sign, a, b)
        return compute(a, b)

    return dyn_compute


dyn_add = _arithmetic(
    "+",
    {
        (float, float): operator.add, (int, int): int_add, (Uint, Uint): unsigned(operator.add),
        (str, str): operator.add, (bytes, bytes): operator.add,
        **{(a, b): _joined for a in (list, tuple) for b in (list, tuple)},
        (Timestamp, Duration): cel_times.later,
        (Duration, Timestamp): lambda a, b: cel_times.later(b, a),
        (Duration, Duration): cel_times.longer,
    },
)  # fmt: skip
dyn_sub = _arithmetic(
    "-",
    {
        (float, float): operator.sub, (int, int): int_sub, (Uint, Uint): unsigned(operator.sub),
        (Timestamp, Duration): cel_times.earlier, (Timestamp, Timestamp): cel_times.between,
        (Duration, Duration): cel_times.shorter,
    },
)  # fmt: skip
dyn_mul = _arithmetic(
    "*",
    {(float, float): operator.mul, (int, int): int_mul, (Uint, Uint): unsigned(operator.mul)},
)
dyn_div = _arithmetic(
    "/",
    {(float, float): double_div, (int, int): int_div, (Uint, Uint): unsigned(operator.floordiv)},
)
dyn_mod = _arithmetic("%", {(int, int): int_mod, (Uint, Uint): unsigned(operator.mod)})


def dyn_neg(value: Any) -> Any:
    """Return the negative of a number."""
    if type(value) is float:
        return -value
    if type(value) is int:
        return int_neg(value)
    raise EvaluationError(f"no minus for {in_words(value)}")


def dyn_in(value: Any, container: Any) -> bool:
    """Return whether a list has an element, or a map a key."""
    if isinstance(container, dict) and type(value) in _KEYS:
        return key_of(value) in container
    if type(container) is list and type(value) in _PLAIN:
        if len(container) > ATTRIBUTE_LOOP_MAX:
            raise EvaluationError(f"a look for a value among more than {ATTRIBUTE_LOOP_MAX:,}")
        if value not in container:  # to Python more is equal than to CEL, never less
            return False
    if isinstance(container, list | tuple):
        return any(dyn_eq(value, element) for element in container)
    raise no_overload("in", value, container)


def dyn_size(value: Any) -> int:
    """Return how many characters, bytes, elements or entries there are."""
    if isinstance(value, str | bytes | list | tuple | dict):
        return len(value)
    raise EvaluationError(f"no size of {in_words(value)}")


def _texts(test: Callable[[str, str], bool], name: str) -> Callable[[Any, Any], bool]:
    def dyn_test(text: Any, part: Any) -> bool:
        if type(text) is str and type(part) is str:
            return test(text, part)
        raise no_overload(name, text, part)

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
