"""What is allowed in a condition, but probably not meant (R42, h8).

Decides: three warnings. A test that an event passes because it does not tell something; an amount
compared without looking at the currency; the worth of an order deciding who is asked for a review.
Never: whether a condition is valid.

A test is warned about only if missing data would pass it: `order.status != "test"` is true without an
order, `order.status == "paid"` is not. So a warning is always worth reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from core.errors import ExpressionInvalid
from core.model import REVIEW_FAMILIES, Contact, Event, Family
from core.rules.cel_values import EvaluationError
from core.rules.fields import expand, read
from core.rules.lowering import compile_predicate
from core.rules.tree import Tree

Path = tuple[str | int, ...]
"""From the event, or from the variable of a loop, with virtual fields replaced."""

Facts = frozenset[Path]
"""What is known to be set where a test counts."""

NOTHING_TOLD = Event(id="", source="", type="", channel="", occur_ms=0, contact=Contact())
ALWAYS_TOLD = frozenset({("id",), ("source",), ("type",)})
MONEY_NUMBERS = frozenset({"amount", "units", "nanos"})

_WORTH = (
    "the worth of an order decides here who is asked for a review; rules on reviews want everybody "
    "asked alike, and see this as a grey zone"
)


def warnings(tree: Tree, family: Family) -> list[str]:
    """Return the warnings for a condition, each once, in the order of the text."""
    found = list(_visit(tree, frozenset(), True))
    if family in REVIEW_FAMILIES and any(_is_money(leaf) for leaf in _fields(tree)):
        found.append(_WORTH)
    return list(dict.fromkeys(found))


def _visit(node: Tree, facts: Facts, wanted: bool) -> Iterator[str]:
    """Yield the warnings of a test.

    Args:
        node: the test.
        facts: what is known to be set wherever its result counts.
        wanted: the result that lets an event pass.
    """
    match node:
        case ["call", "and" | "or" as op, *parts]:
            for part in parts:
                others = (_facts(other, op == "and") for other in parts if other is not part)
                yield from _visit(part, facts.union(*others), wanted)
        case ["call", "not" | "dyn_not", part]:
            yield from _visit(part, facts, not wanted)
        case ["call", "if", test, then, otherwise]:
            yield from _visit(test, facts, wanted)
            yield from _visit(then, facts | _facts(test, True), wanted)
            yield from _visit(otherwise, facts | _facts(test, False), wanted)
        case ["exists" | "all", _, body]:
            yield from _missing(node, facts, wanted)
            yield from (text for text in _visit(body, facts, wanted) if "currency" in text)
        case _:
            yield from _missing(node, facts, wanted)
            yield from _mixed_currencies(node, facts)


def _missing(test: Tree, facts: Facts, wanted: bool) -> Iterator[str]:
    if test[0] == "has" or _default_result(test) is not wanted:
        return
    for leaf in _fields(test):
        if leaf[0] == "has" or not isinstance(leaf[1], str):
            continue
        path = _path(leaf)
        if path in facts or path[:-1] in facts or path in ALWAYS_TOLD:
            continue
        name = ".".join(leaf[1:])
        default = json.dumps(read(NOTHING_TOLD, tuple(map(str, path))))
        yield (
            f"{name} may be unset; it then reads as {default}, which passes the test: write "
            f"has({name}) && ... if it should not"
        )


def _mixed_currencies(test: Tree, facts: Facts) -> Iterator[str]:
    for leaf in _fields(test):
        if _is_money(leaf) and (*_path(leaf)[:-1], "currency_code") not in facts:
            name = ".".join(map(str, leaf[1:])) if isinstance(leaf[1], str) else leaf[-1]
            yield (
                f"{name} is compared without a look at the currency: write "
                'currency == "EUR" && ..., or whatever the amount is meant in'
            )


def _facts(node: Tree, value: bool) -> Facts:
    """Return what is set if a test comes out as `value`."""
    match node:
        case ["call", "and" | "or" as op, *parts] if (op == "and") is value:
            return frozenset().union(*(_facts(part, value) for part in parts))
        case ["call", "not", part]:
            return _facts(part, not value)
        case ["has", *_] if value:
            return _with_owners(_path(node))
        case ["call", *_]:
            leaves = list(_fields(node))
            if len(leaves) == 1 and _default_result(node) is (not value):
                return _with_owners(_path(leaves[0]))
    return frozenset()


def _default_result(test: Tree) -> bool | None:
    """Return how a test comes out if nothing is told; None if that cannot be said."""
    leaves = list(_fields(test))
    if not leaves or any(part[0] in ("attribute", "has_attribute") for part in _leaves(test)):
        return None
    if any(isinstance(leaf[1], int) for leaf in leaves) and test[0] == "call":
        return {"eq": False, "in": False, "ne": True}.get(test[1])
    try:
        return compile_predicate(test)(NOTHING_TOLD)
    except (EvaluationError, ExpressionInvalid):  # the variable of a loop around it
        return None


def _path(leaf: Tree) -> Path:
    _, root, *names = leaf
    if isinstance(root, int):
        return (root, *names)
    return expand(root, tuple(names), is_presence=leaf[0] == "has")


def _with_owners(path: Path) -> Facts:
    return frozenset(path[:end] for end in range(1, len(path) + 1))


def _is_money(leaf: Tree) -> bool:
    return leaf[0] == "field" and leaf[-1] in MONEY_NUMBERS


def _fields(tree: Tree) -> Iterator[Tree]:
    return (leaf for leaf in _leaves(tree) if leaf[0] in ("field", "has"))


def _leaves(tree: Tree) -> Iterator[Tree]:
    """Yield what a tree reads."""
    if tree[0] in ("field", "has", "attribute", "has_attribute"):
        yield tree
        return
    for part in tree[1:]:
        if isinstance(part, list | tuple):
            yield from _leaves(part)
