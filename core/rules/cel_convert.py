"""Conversions between the types of CEL, and regular expressions.

Decides: which texts are numbers and bools, how numbers are written, how a pattern is searched for.
Never: times; those are `core.rules.cel_times`.

Cost: a pattern is compiled once, kept for `PATTERNS_KEPT` others, and searched in time linear in the
text (RE2), whatever the pattern.

Source: the CEL language definition; where that leaves a choice, as the C++ runtime makes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import re2

from core.rules.cel_times import duration, duration_text, timestamp, timestamp_text
from core.rules.cel_types import (
    NANOS_PER_SECOND,
    Duration,
    EvaluationError,
    Timestamp,
    Uint,
    no_overload,
    type_of,
)

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1

PATTERN_CHARS_MAX: Final = 256
PATTERN_REPEATS_MAX: Final = 64
"""What the counted repetitions of a pattern, `{8}`, come to. RE2 is linear in the text, but where a
pattern keeps it from using its automaton each character costs as much as the pattern is long."""

PATTERNS_KEPT: Final = 512
PATTERN_BYTES_MAX: Final = 1 << 20
"""Memory that one compiled pattern may take."""

_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}", re.ASCII)
_INT = re.compile(r"[+-]?\d+", re.ASCII)
_SPACES = " \t\n\v\f\r"
_BOOLS = {
    **dict.fromkeys(("1", "t", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "false", "FALSE", "False"), False),
}


def to_int(value: Any) -> int:
    """Return an int: from a number, rounded towards zero, a text, or the seconds of an instant."""
    kind = type(value)
    if kind is float:
        # The ends of the range are not doubles; those next to them are out of it.
        if not -(2.0**63) < value < 2.0**63:
            raise EvaluationError("double out of range for an int")
        return int(value)
    if kind is Timestamp:
        return int(value.nanos // NANOS_PER_SECOND)
    if kind in (int, Uint, str, bool):
        number = _whole(value, "int") if kind is str else int(value)
        if INT_MIN <= number <= INT_MAX:
            return number
        raise EvaluationError("number out of range for an int")
    raise no_overload("int", value)


def to_uint(value: Any) -> Uint:
    """Return a uint, from a number or a text."""
    kind = type(value)
    if kind is float:
        if not 0.0 <= value < 2.0**64:
            raise EvaluationError("double out of range for a uint")
        return Uint(value)
    if kind in (int, Uint, str):
        number = _whole(value, "uint") if kind is str else int(value)
        if 0 <= number <= UINT_MAX:
            return Uint(number)
        raise EvaluationError("number out of range for a uint")
    raise no_overload("uint", value)


def _whole(text: str, name: str) -> int:
    text = text.strip(_SPACES)
    if _INT.fullmatch(text) is None or len(text) > 40:
        raise EvaluationError(f"no {name}: {text!r:.80}")
    return int(text)


def to_double(value: Any) -> float:
    """Return a double, from a number or a text."""
    kind = type(value)
    if kind in (int, Uint, float):
        return float(value)
    if kind is not str:
        raise no_overload("double", value)
    try:
        if not value.isascii() or "_" in value:
            raise ValueError
        return float.fromhex(value) if "x" in value.lower() else float(value)
    except (ValueError, OverflowError):
        raise EvaluationError(f"no double: {value!r:.80}") from None


def to_bool(value: Any) -> bool:
    """Return a bool, from itself or a text."""
    if type(value) is bool:
        return value
    if type(value) is not str:
        raise no_overload("bool", value)
    if value not in _BOOLS:
        raise EvaluationError(f"no bool: {value!r:.80}")
    return _BOOLS[value]


def to_bytes(value: Any) -> bytes:
    """Return bytes: a text in UTF-8."""
    if type(value) is bytes:
        return value
    if type(value) is str:
        return value.encode()
    raise no_overload("bytes", value)


def to_string(value: Any) -> str:
    """Return a text."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return _double_text(value)
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise EvaluationError("bytes that are no UTF-8 text") from None
        case Timestamp():
            return timestamp_text(value)
        case Duration():
            return duration_text(value)
    raise no_overload("string", value)


def _double_text(value: float) -> str:
    """Return the shortest digits that read back as the same double, with an exponent from 1e6 on."""
    if not math.isfinite(value):
        return str(value)
    text = repr(value)
    digits = len(text.replace("-", "").replace(".", "").partition("e")[0].strip("0")) or 1
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    if -4 <= int(exponent) < 6:
        return text.removesuffix(".0") if "e" not in text else f"{value:.{digits - 1}g}"
    return f"{mantissa}e{exponent}"


@lru_cache(maxsize=PATTERNS_KEPT)
def search(pattern: str) -> Callable[[bytes], Any]:
    """Return a search for a pattern: something if a text in UTF-8 has it, else None.

    Raises:
        EvaluationError: RE2 does not take the pattern, or it exceeds a bound.
    """
    if len(pattern) > PATTERN_CHARS_MAX:
        raise EvaluationError(f"a pattern of more than {PATTERN_CHARS_MAX} characters")
    if _repeats(pattern) > PATTERN_REPEATS_MAX:
        raise EvaluationError(f"a pattern that counts beyond {PATTERN_REPEATS_MAX} in all")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_BYTES_MAX
    try:
        found: Callable[[bytes], Any] = re2.compile(pattern.encode(), options).search
    except re2.error as error:
        [reason] = error.args
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise EvaluationError(f"not a regular expression: {text:.200}") from None
    return found


def _repeats(pattern: str) -> int:
    """Return a bound on what counted repetitions make of a pattern: nested ones multiply."""
    counts = [max(int(low[:4]), int((high or "0")[:4])) for low, high in _COUNT.findall(pattern)]
    return math.prod(counts) if "){" in pattern else sum(counts)


def matches(text: Any, pattern: Any) -> bool:
    """Return whether a text has a pattern somewhere."""
    if type(text) is not str or type(pattern) is not str:
        raise no_overload("matches", text, pattern)
    return search(pattern)(text.encode()) is not None


CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": to_int,
    "uint": to_uint,
    "double": to_double,
    "bool": to_bool,
    "bytes": to_bytes,
    "string": to_string,
    "timestamp": timestamp,
    "duration": duration,
    "type": type_of,
}
"""By the name that conditions use."""
