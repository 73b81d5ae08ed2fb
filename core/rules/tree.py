"""The neutral tree of a condition: what the CEL front end makes and the lowering reads.

Decides: the shape of the tree, which operators there are.
Never: what an operator means (`core.rules.cel_values`), how it is written (`core.rules.lowering`), or
what it costs (`core.rules.cel_cost`).

The tree is nested lists, fit for JSON:

    ["const", v]                      a bool, int, double, string or null
    ["uint", n] ["bytes", hex]        constants that JSON has no form for
    ["timestamp", seconds, nanos]     also "duration"
    ["type", name]                    a type, for comparison with type(...)
    ["field", root, name, ...]        a field; the root is a variable, or the number of an enclosing
                                      loop, 0 for the outermost
    ["has", root, name, ...]          whether it is set
    ["attribute", key, ...]           an entry of event.attributes; without a key the whole map
    ["has_attribute", key, ...]       whether it is there
    ["select", value, name]           an entry of any map, or a field of any message
    ["has_select", value, name]       whether it is there
    ["list", element, ...]            a list
    ["map", key, value, ...]          a map
    ["call", op, argument, ...]       see `OPERATORS` and `FAILING`
    ["exists", range, body]           some element of the range passes; also "all", "exists_one"
    ["filter", range, body]           the elements that pass
    ["transform", range, body]        the values of the body: the macro map

    order.status == "paid"   ->   ["call", "eq", ["field", "order", "status"], ["const", "paid"]]

A range is a field that is a list, a list, a filter, a transform, or the call "elements" of any value;
"list_elements" does not take maps.
It is stored with the rule, so that a daemon compiles rules without the front end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.errors import ExpressionInvalid
from core.rules.cel_convert import CONVERSIONS, UINT_MAX
from core.rules.cel_times import GETTERS
from core.rules.cel_types import TYPE_NAMES

Tree = Sequence[Any]
Node = tuple[Any, ...]
"""A tree as tuples; constants carry their type, because 1, 1.0 and true are one key to Python."""

OPERATORS: dict[str, str] = {
    "and": "", "or": "",
    "not": "(not {0})", "if": "({1} if {0} else {2})",
    "eq": "({0} == {1})", "ne": "({0} != {1})", "lt": "({0} < {1})", "le": "({0} <= {1})",
    "gt": "({0} > {1})", "ge": "({0} >= {1})", "in": "({0} in {1})",
    "size": "len({0})", "starts": "{0}.startswith({1})", "ends": "{0}.endswith({1})",
    "contains": "({1} in {0})", "search": "({1}({0}.encode()) is not None)", "string_add": "({0} + {1})",
    "double_add": "({0} + {1})", "double_sub": "({0} - {1})", "double_mul": "({0} * {1})",
    "double_neg": "(-{0})", "double_div": "double_div({0}, {1})",
    "dyn_eq": "dyn_eq({0}, {1})", "dyn_ne": "dyn_ne({0}, {1})",
}  # fmt: skip
"""Operators that cannot fail, as Python. "search" looks for a pattern that is a constant."""

FAILING = (
    "int_add", "int_sub", "int_mul", "int_div", "int_mod", "int_neg",
    "dyn_bool", "dyn_not", "dyn_lt", "dyn_le", "dyn_gt", "dyn_ge", "dyn_add", "dyn_sub", "dyn_mul",
    "dyn_div", "dyn_mod", "dyn_neg", "dyn_in", "dyn_size", "dyn_starts", "dyn_ends", "dyn_contains",
    "matches", "index", "elements", "list_elements", *CONVERSIONS, *GETTERS,
)  # fmt: skip
"""Operators that may: functions of `cel_values`, `cel_convert` and `cel_times`."""

LOOPS = ("exists", "all", "exists_one", "filter", "transform")

_UNARY = {
    "not", "size", "double_neg", "int_neg", "dyn_bool", "dyn_not", "dyn_neg", "dyn_size",
    "elements", "list_elements", *CONVERSIONS,
}  # fmt: skip
_INT = range(-(2**63), 2**63)


def depth(tree: Tree) -> int:
    """Return how deeply a condition is nested."""
    return 1 + max(
        (depth(child) for child in tree[1:] if isinstance(child, list | tuple)), default=0
    )


def freeze(tree: Tree) -> Node:
    """Return a tree as a key; checks its shape.

    Raises:
        ExpressionInvalid: it is not as documented above.
    """
    match tree:
        case ["const", bool() | int() | float() | str() | None as value]:
            return ("const", type(value).__name__, repr(value), value)
        case ["field" | "has" as kind, root, *names] if type(root) in (str, int):
            if all(type(name) is str for name in names) and (names or kind == "field"):
                return tuple(tree)
        case ["attribute" | "has_attribute" as kind, *keys]:
            if all(type(key) is str for key in keys) and (keys or kind == "attribute"):
                return tuple(tree)
        case ["select" | "has_select", value, str() as name]:
            return (tree[0], freeze(value), name)
        case ["list" | "map", *parts] if tree[0] == "list" or len(parts) % 2 == 0:
            return (tree[0], *map(freeze, parts))
        case [kind, source, body] if kind in LOOPS:
            return (kind, freeze(source), freeze(body))
        case ["call", str() as op, *arguments] if len(arguments) in _arities(op):
            return ("call", op, *map(freeze, arguments))
        case _ if _is_literal(tree):
            return tuple(tree)
    raise ExpressionInvalid(f"not a part of a condition: {tree!r:.120}")


def _is_literal(tree: Tree) -> bool:
    match tree:
        case ["uint", int() as number]:
            return 0 <= number <= UINT_MAX
        case ["bytes", str() as digits]:
            return len(digits) % 2 == 0 and not set(digits) - set("0123456789abcdef")
        case ["timestamp" | "duration", int() as seconds, int() as nanos]:
            return seconds in _INT and 0 <= nanos < 10**9
        case ["type", str() as name]:
            return name in TYPE_NAMES
    return False


def _arities(op: str) -> range | tuple[int, ...]:
    if op in ("and", "or"):
        return range(1, 10_000)
    if op in GETTERS:
        return (1, 2)
    if op == "if":
        return (3,)
    if op not in OPERATORS and op not in FAILING:
        return ()
    return (1,) if op in _UNARY else (2,)


def children(node: Node) -> Iterator[Node]:
    """Yield the parts of a node that are nodes."""
    return (part for part in node[1:] if isinstance(part, tuple))


def may_fail(node: Node) -> bool:
    """Return whether a node can end in an error."""
    if node[0] in ("attribute", "has_attribute"):
        return len(node) > (1 if node[0] == "attribute" else 2)
    if node[0] in ("select", "has_select", "map"):
        return True
    return (node[0] == "call" and node[1] in FAILING) or any(map(may_fail, children(node)))


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all nodes below it."""
    yield node
    for child in children(node):
        yield from walk(child)
