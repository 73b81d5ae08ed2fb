"""What the generated functions may call, by name; nothing else is reachable from a condition.

Decides: the closed table of names, and the values of constants that a tree can only spell.
Never: what a name does.
"""

from __future__ import annotations

from typing import Any

from core.errors import ExpressionInvalid
from core.rules import cel_convert, cel_numbers, cel_times, cel_values
from core.rules.cel_types import NANOS_PER_SECOND, Duration, Timestamp, TypeName, Uint
from core.rules.tree import FAILING, Node

_HELPERS = (
    "double_div", "dyn_eq", "dyn_ne", "select", "has_key", "make_map", "all_of", "any_of", "exists",
    "for_all", "EvaluationError",
)  # fmt: skip

_OWN: dict[str, Any] = {
    **cel_convert.CONVERSIONS,
    **cel_times.GETTERS,
    "matches": cel_convert.matches,
    "time_of": cel_times.time_of,
    "date_of": cel_times.date_of,
}
_KNOWN: dict[str, Any] = {**vars(cel_numbers), **vars(cel_values), **_OWN}

RUNTIME: dict[str, Any] = {name: _KNOWN[name] for name in (*_OWN, *FAILING, *_HELPERS)}
"""Name in a generated function -> what it is."""


def literal(node: Node) -> Any:
    """Return the value of a constant that JSON has no form for."""
    match node:
        case ("uint", number):
            return Uint(number)
        case ("bytes", digits):
            return bytes.fromhex(digits)
        case ("timestamp" | "duration" as kind, seconds, nanos):
            made = Timestamp if kind == "timestamp" else Duration
            return made(seconds * NANOS_PER_SECOND + nanos)
        case ("type", name):
            return TypeName(name)
    raise ExpressionInvalid(f"not a constant: {node!r:.80}")
