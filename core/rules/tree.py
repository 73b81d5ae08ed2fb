"""The neutral tree of a condition: what the CEL front end makes and the lowering reads.

Decides: the shape of the tree, which operators there are, what a condition may cost.
Never: what an operator means (`core.rules.cel_values`) or how it is written (`core.rules.lowering`).

The tree is nested lists, fit for JSON:

    ["const", v]                      a bool, int, double, string or null
    ["field", root, name, ...]        a field; the root is a variable, or the number of an enclosing
                                      loop, 0 for the outermost
    ["has", root, name, ...]          whether it is set
    ["attribute", key, ...]           an entry of event.attributes; without a key the whole map
    ["has_attribute", key, ...]       whether it is there
    ["list", element, ...]            a list
    ["call", op, argument, ...]       see `OPERATORS`
    ["exists", range, body]           some element of the range passes; also "all"

    order.status == "paid"   ->   ["call", "eq", ["field", "order", "status"], ["const", "paid"]]

It is stored with the rule, so that a daemon compiles rules without the front end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.errors import ExpressionInvalid

Tree = Sequence[Any]
Node = tuple[Any, ...]
"""A tree as tuples; constants carry their type, because 1, 1.0 and true are one key to Python."""

LOOP_COST = {"items": 200, "tags": 32, "lines": 5}
"""Elements a loop is reckoned to see: the API's bounds on these lists."""

OPERATORS: dict[str, str] = {
    "and": "", "or": "",
    "not": "(not {0})", "if": "({1} if {0} else {2})",
    "eq": "({0} == {1})", "ne": "({0} != {1})", "lt": "({0} < {1})", "le": "({0} <= {1})",
    "gt": "({0} > {1})", "ge": "({0} >= {1})", "in": "({0} in {1})",
    "size": "len({0})", "starts": "{0}.startswith({1})", "ends": "{0}.endswith({1})",
    "contains": "({1} in {0})", "string_add": "({0} + {1})",
    "double_add": "({0} + {1})", "double_sub": "({0} - {1})", "double_mul": "({0} * {1})",
    "double_neg": "(-{0})", "double_div": "double_div({0}, {1})",
    "dyn_eq": "dyn_eq({0}, {1})", "dyn_ne": "dyn_ne({0}, {1})",
}  # fmt: skip
"""Operators that cannot fail, as Python."""

FAILING = (
    "int_add", "int_sub", "int_mul", "int_div", "int_mod", "int_neg",
    "dyn_bool", "dyn_not", "dyn_lt", "dyn_le", "dyn_gt", "dyn_ge", "dyn_add", "dyn_sub", "dyn_mul",
    "dyn_div", "dyn_mod", "dyn_neg", "dyn_in", "dyn_size", "dyn_starts", "dyn_ends", "dyn_contains",
)  # fmt: skip
"""Operators that may: functions of `cel_values`."""

_UNARY = {"not", "size", "double_neg", "int_neg", "dyn_bool", "dyn_not", "dyn_neg", "dyn_size"}


def cost(tree: Tree) -> int:
    """Return a bound on the steps that evaluating a condition can take."""
    children = sum(cost(child) for child in tree[1:] if isinstance(child, list | tuple))
    if tree[0] in ("exists", "all"):
        return cost(tree[1]) + _loop_cost(tree[1]) * cost(tree[2])
    if tree[0] == "call" and tree[1] in ("string_add", "dyn_add"):
        return 200 + children
    return 1 + children


def depth(tree: Tree) -> int:
    """Return how deeply a condition is nested."""
    return 1 + max(
        (depth(child) for child in tree[1:] if isinstance(child, list | tuple)), default=0
    )


def _loop_cost(source: Tree) -> int:
    return (
        len(source) if source[0] == "list" else LOOP_COST.get(source[-1], max(LOOP_COST.values()))
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
        case ["list", *elements]:
            return ("list", *map(freeze, elements))
        case ["exists" | "all", source, body]:
            return (tree[0], freeze(source), freeze(body))
        case ["call", str() as op, *arguments] if op in OPERATORS or op in FAILING:
            wanted = 1 if op in _UNARY else 3 if op == "if" else 2
            if len(arguments) == wanted or (op in ("and", "or") and arguments):
                return ("call", op, *map(freeze, arguments))
    raise ExpressionInvalid(f"not a part of a condition: {tree!r:.120}")


def children(node: Node) -> Iterator[Node]:
    """Yield the parts of a node that are nodes."""
    return (part for part in node[1:] if isinstance(part, tuple))


def may_fail(node: Node) -> bool:
    """Return whether a node can end in an error."""
    if node[0] in ("attribute", "has_attribute"):
        return len(node) > (1 if node[0] == "attribute" else 2)
    return (node[0] == "call" and node[1] in FAILING) or any(map(may_fail, children(node)))


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all nodes below it."""
    yield node
    for child in children(node):
        yield from walk(child)
