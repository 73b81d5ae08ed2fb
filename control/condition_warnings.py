"""What is allowed in a condition, but probably not meant (R42, h8).

Decides: three warnings. A comparison with an optional field that nothing guards; an amount compared
without looking at the currency; the worth of an order deciding who is asked for a review.
Never: whether a condition is valid.

A comparison is left alone where it settles the matter itself: `order.status == "paid"` fails without an
order, whatever else is told, and `has()` would add nothing. So one is warned about if the event can pass
it *because* the field is unset: `order.status != "test"`, `order.amount < 50.0`, and beside other fields
`shipment.delivery_time > shipment.promised_time`, which a parcel without a promise passes. That is found
by trying: the field at its default, and each other one at its default and at some value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

from core.errors import ExpressionInvalid
from core.model import REVIEW_FAMILIES, Contact, Event, Family
from core.rules.cel_times import timestamp_text
from core.rules.cel_types import EvaluationError, Map, Timestamp
from core.rules.fields import FIELDS, ROOTS, Field, Kind, expand, expand_from, resolve
from core.rules.lowering import Predicate, compile_predicate
from core.rules.tree import LOOPS, Tree

Path = tuple[str | int, ...]
"""From the event, or from the variable of a loop, with virtual fields replaced."""

Facts = frozenset[Path]
"""What is known to be set where a test counts."""

Scope = tuple[tuple[str, str], ...]
"""Of each enclosing loop: the message of its elements, "" for plain ones, and what it goes over."""

ALWAYS_TOLD = frozenset({("id",), ("source",), ("type",), ("occur_time",)})
MONEY_NUMBERS = frozenset({"amount", "units", "nanos"})
OTHERS_MAX = 3
"""Fields beside the one in question that are tried; with more nothing is said."""

_DEFAULTS: dict[Kind, tuple[Any, ...]] = {
    Kind.STRING: ("", "x"),
    Kind.INT: (0, 1),
    Kind.DOUBLE: (0.0, 1.0),
    Kind.BOOL: (False, True),
    Kind.TIMESTAMP: (Timestamp(0), Timestamp(2**60)),
    Kind.STRINGS: ((), ("x",)),
    Kind.MESSAGES: ((),),
}
"""By kind: what an unset field reads as, some other value; lists of messages are tried empty."""

_ATTRIBUTE_VALUES = ("x", 1.0, True)

_WORTH = (
    "the worth of an order decides here who is asked for a review; rules on reviews want everybody "
    "asked alike, and see this as a grey zone"
)


def warnings(tree: Tree, family: Family) -> list[str]:
    """Return the warnings for a condition, each once, in the order of the text."""
    found = list(_visit(tree, frozenset(), True, ()))
    if family in REVIEW_FAMILIES and _reads_money(tree):
        found.append(_WORTH)
    return list(dict.fromkeys(found))


def _visit(node: Tree, facts: Facts, wanted: bool, scope: Scope) -> Iterator[str]:
    """Yield the warnings of a test.

    Args:
        node: the test.
        facts: what is known to be set wherever its result counts.
        wanted: the result that lets an event pass.
        scope: the loops around it.
    """
    match node:
        case ["call", "and" | "or" as op, *parts]:
            told = [_facts(part, op == "and", scope) for part in parts]
            for index, part in enumerate(parts):
                others = facts.union(*told[:index], *told[index + 1 :])
                yield from _visit(part, others, wanted, scope)
        case ["call", "not" | "dyn_not", part]:
            yield from _visit(part, facts, not wanted, scope)
        case ["call", "dyn_bool", part]:
            yield from _visit(part, facts, wanted, scope)
        case ["call", "if", test, then, otherwise]:
            yield from _visit(test, facts, wanted, scope)
            yield from _visit(then, facts | _facts(test, True, scope), wanted, scope)
            yield from _visit(otherwise, facts | _facts(test, False, scope), wanted, scope)
        case ["exists" | "all" as kind, source, body]:
            # Without elements the body does not count, and `all` passes.
            yield from _missing([kind, source, ["const", kind == "all"]], facts, wanted, scope)
            yield from _visit(body, facts, wanted, (*scope, _elements(source)))
        case _:
            yield from _missing(node, facts, wanted, scope)
            yield from _mixed_currencies(node, facts)


def _missing(test: Tree, facts: Facts, wanted: bool, scope: Scope) -> Iterator[str]:
    if test[0] == "has":
        return
    for leaf in _leaves(test):
        field = _field(leaf, scope)
        if field is None or leaf[0] != "field":
            continue
        path = _path(leaf, scope)
        if path in facts or path[:-1] in facts or path in ALWAYS_TOLD:
            continue
        results = _results(test, leaf, scope)
        if wanted not in results:
            continue
        name = ".".join(leaf[1:]) if isinstance(leaf[1], str) else f"{scope[leaf[1]][1]}.{leaf[-1]}"
        asked = name if isinstance(leaf[1], str) else f"i.{leaf[-1]}"
        yield (
            f"{name} may be unset; it then reads as {_text(_DEFAULTS[field.kind][0])}, which "
            f"{'passes' if results == {wanted} else 'can pass'} the test: write has({asked}) && ... "
            "if it should not"
        )


def _mixed_currencies(test: Tree, facts: Facts) -> Iterator[str]:
    for leaf in _fields(test):
        if _is_money(leaf) and (*_path(leaf, ())[:-1], "currency_code") not in facts:
            name = ".".join(map(str, leaf[1:])) if isinstance(leaf[1], str) else leaf[-1]
            yield (
                f"{name} is compared without a look at the currency: write "
                'currency == "EUR" && ..., or whatever the amount is meant in'
            )


def _facts(node: Tree, value: bool, scope: Scope) -> Facts:
    """Return what is set if a test comes out as `value`."""
    match node:
        case ["call", "and" | "or" as op, *parts] if (op == "and") is value:
            return frozenset().union(*(_facts(part, value, scope) for part in parts))
        case ["call", "not" | "dyn_not", part]:
            return _facts(part, not value, scope)
        case ["has", *_] if value:
            return _with_owners(_path(node, scope))
        case ["exists" | "all" as kind, source, _] if (kind == "exists") is value:
            return _with_owners(_path(source, scope)) if source[0] == "field" else frozenset()
        case ["call", *_]:
            leaves = [leaf for leaf in _fields(node) if _field(leaf, scope)]
            told = [leaf for leaf in leaves if value not in _results(node, leaf, scope)]
            return frozenset().union(*(_with_owners(_path(leaf, scope)) for leaf in told))
    return frozenset()


# --- trying -------------------------------------------------------------------------------------


def _results(test: Tree, unset: Tree, scope: Scope) -> set[bool]:
    """Return how a test can come out if a field is unset; an error is no result.

    None where that cannot be tried; both with too many fields beside it.
    """
    tried: dict[str, tuple[Any, ...]] = {}
    for leaf in _leaves(test):
        field = _field(leaf, scope)
        if leaf[0] in ("attribute", "has_attribute"):
            tried[json.dumps(leaf)] = _ATTRIBUTE_VALUES
        elif field is not None:
            values = _DEFAULTS[field.kind]
            tried[json.dumps(leaf)] = values[:1] if leaf == unset else values
        elif not _is_own(leaf, scope):
            return set()
    if len(tried) > OTHERS_MAX + 1:
        return {True, False}
    predicate = _compiled(_replaced(test, {name: str(n) for n, name in enumerate(tried)}))
    results = set()
    for values in product(*tried.values()):
        told = Map({str(number): value for number, value in enumerate(values)})
        try:
            results.add(bool(predicate(Event("", "", "", "", 0, Contact(), attributes=told))))
        except EvaluationError:
            continue
    return results


def _compiled(tree: Tree) -> Predicate:
    try:
        return compile_predicate(tree)
    except ExpressionInvalid:  # what is left of it cannot be tried

        def fails(_: Event) -> bool:
            raise EvaluationError

        return fails


def _replaced(tree: Tree, numbers: dict[str, str]) -> list[Any]:
    """Return a test in which every leaf is an attribute; lists of messages and their loops are empty."""
    if tree[0] in _LEAVES:
        if tree[-1] in _LISTS:
            return ["list"]
        number = numbers.get(json.dumps(tree))
        return list(tree) if number is None else ["attribute", number]
    if tree[0] in LOOPS:
        source = _replaced(tree[1], numbers)
        if source == ["list"]:
            return ["list"] if tree[0] in ("filter", "transform") else ["const", tree[0] == "all"]
        source = ["call", "elements", source] if source[0] == "attribute" else source
        return [tree[0], source, _replaced(tree[2], numbers)]
    return [_replaced(part, numbers) if isinstance(part, list) else part for part in tree]


# --- leaves -------------------------------------------------------------------------------------

_LEAVES = ("field", "has", "attribute", "has_attribute")
_LISTS = ("items", "consents")


def _field(leaf: Tree, scope: Scope) -> Field | None:
    """Return the field of the table that a leaf reads, if it can be told what it is unset."""
    if leaf[0] not in ("field", "has") or len(leaf) < 3:
        return None
    _, root, *names = leaf
    if isinstance(root, int):
        message = scope[root][0] if root < len(scope) else ""
    else:
        message = "Event" if root == "event" or root in ROOTS else ""
        names = names if root == "event" else [root, *names]
    if message not in FIELDS:
        return None
    field = resolve(message, tuple(names))[-1]
    return field if field.kind in _DEFAULTS else None


def _is_own(leaf: Tree, scope: Scope) -> bool:
    """Return whether a leaf reads the variable of a loop inside the test."""
    return leaf[0] == "field" and isinstance(leaf[1], int) and leaf[1] >= len(scope)


def _elements(source: Tree) -> tuple[str, str]:
    """Return the message of a range's elements and its name."""
    while source[0] == "filter":
        source = source[1]
    if source[0] != "field" or not isinstance(source[1], str):
        return "", ""
    field = resolve("Event", expand(source[1], tuple(source[2:])))[-1]
    return field.message, ".".join(source[1:])


def _path(leaf: Tree, scope: Scope) -> Path:
    _, root, *names = leaf
    is_presence = leaf[0] == "has"
    if isinstance(root, str):
        return expand(root, tuple(names), is_presence=is_presence)
    message = scope[root][0] if root < len(scope) else ""
    return (
        root,
        *(expand_from(message, tuple(names), is_presence) if message and names else names),
    )


def _with_owners(path: Path) -> Facts:
    return frozenset(path[:end] for end in range(1, len(path) + 1))


def _text(value: Any) -> str:
    return timestamp_text(value) if isinstance(value, Timestamp) else json.dumps(value)


def _reads_money(tree: Tree) -> bool:
    if tree[0] in ("field", "select") and tree[-1] in MONEY_NUMBERS:
        return True
    return any(_reads_money(part) for part in tree[1:] if isinstance(part, list | tuple))


def _is_money(leaf: Tree) -> bool:
    return leaf[0] == "field" and leaf[-1] in MONEY_NUMBERS


def _fields(tree: Tree) -> Iterator[Tree]:
    return (leaf for leaf in _leaves(tree) if leaf[0] in ("field", "has"))


def _leaves(tree: Tree) -> Iterator[Tree]:
    """Yield what a tree reads."""
    if tree[0] in _LEAVES:
        yield tree
        return
    for part in tree[1:]:
        if isinstance(part, list | tuple):
            yield from _leaves(part)
