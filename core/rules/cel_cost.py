"""What a condition may cost: a bound on the steps and on the size of what it makes.

Decides: the bound that a rule is refused by when it is saved.
Never: what is measured while a condition runs; nothing is.

A step is one operation on something short, about 40 ns. Work on texts, bytes and lists costs one step
more for every `STEP_SIZE` characters or elements; sizes are bounds too, from those of the API, and
grow with what a condition joins or makes of each element.

Shape: every part of a tree is reckoned once, bottom up, as a `Bound`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from core.bounds import ATTRIBUTE_LOOP_MAX, EVENT_BYTES_MAX
from core.rules.cel_times import GETTERS
from core.rules.tree import LOOPS, Tree

STEP_SIZE: Final = 512
PATTERN_STEPS: Final = 60
"""A search for a pattern: about 2.5 us. Then looking at a text takes `PATTERN_WEIGHT` times as long as
looking for one: mostly less, but more with a pattern that is made to be slow."""
PATTERN_WEIGHT: Final = 32
GETTER_STEPS: Final = 20
"""A part of a date, which needs the zone's clock."""
EQUAL_STEPS: Final = 4
"""Comparing two values whose types are looked at first."""
MEMBER_STEPS: Final = 200
"""Looking for a value in a list of attributes, which is done by Python itself."""

LIST_SIZES: Final = {"items": 200, "tags": 32, "lines": 5, "consents": 16}
"""The API's bounds on these lists."""

ATTRIBUTES_SIZE: Final = 16_384
"""Characters of all attributes together."""
ATTRIBUTES_VALUES: Final = ATTRIBUTES_SIZE // 4
"""Values in them; each takes four bytes or more."""

NUMBER_SIZE: Final = 40
"""Characters of a number, a time or a type as a text."""


class Bound(NamedTuple):
    """What a part of a condition may cost and how large its value may be."""

    steps: int
    size: int = 0
    """Characters, bytes, elements or entries."""
    total: int = 0
    """The same with those of elements and entries; the elements share it."""
    values: int = 0
    """Elements and entries at any depth."""

    @property
    def share(self) -> Bound:
        """What one element has of it, on an average over all."""
        count = max(self.size, 1)
        size = self.total // count + 1
        return Bound(1, size, size, self.values // count + 1)


def cost(tree: Tree) -> int:
    """Return a bound on the steps that evaluating a condition can take."""
    return _bound(tree, ()).steps


def _bound(tree: Tree, scope: tuple[Bound, ...]) -> Bound:
    """Return the bound of a part; `scope` has an element of each enclosing loop."""
    match tree:
        case ["const" | "bytes", str() as text]:
            return Bound(1, len(text), len(text))
        case ["field", root, *names]:
            return _field(root, names, scope)
        case ["attribute", *_]:
            return Bound(1, ATTRIBUTES_SIZE, ATTRIBUTES_SIZE, ATTRIBUTES_VALUES)
        case ["select" | "has_select", value, _]:
            inner = _bound(value, scope)
            return Bound(1 + inner.steps, inner.total, inner.total, inner.values)
        case ["list" | "map", *parts]:
            bounds = [_bound(part, scope) for part in parts]
            steps = 1 + sum(bound.steps for bound in bounds)
            total = sum(bound.total + 1 for bound in bounds)
            return Bound(steps, len(parts), total, sum(bound.values + 1 for bound in bounds))
        case ["call", op, *arguments]:
            return _call(op, [_bound(part, scope) for part in arguments])
        case [kind, source, body] if kind in LOOPS:
            return _loop(kind, _bound(source, scope), body, scope)
    return Bound(1)


def _field(root: str | int, names: list[str], scope: tuple[Bound, ...]) -> Bound:
    owner = Bound(1, EVENT_BYTES_MAX, EVENT_BYTES_MAX)
    if isinstance(root, int) and root < len(scope):
        owner = scope[root]
    if not names:
        return owner
    size = LIST_SIZES.get(names[-1])
    return owner._replace(size=size, values=size) if size else owner._replace(values=0)


def _loop(kind: str, source: Bound, body: Tree, scope: tuple[Bound, ...]) -> Bound:
    inner = _bound(body, (*scope, source.share))
    steps = source.steps + source.size * inner.steps
    if kind == "transform":
        total, values = inner.total + 1, inner.values + 1
        return Bound(steps, source.size, source.size * total, source.size * values)
    return source._replace(steps=steps) if kind == "filter" else Bound(steps)


def _call(op: str, arguments: list[Bound]) -> Bound:
    steps = 1 + sum(bound.steps for bound in arguments)
    size, total = sum(bound.size for bound in arguments), sum(bound.total for bound in arguments)
    values = sum(bound.values for bound in arguments)
    if op in _LONG:
        steps += total // STEP_SIZE
    match op:
        case "string_add" | "dyn_add" | "if":
            return Bound(steps, size, total, values)
        case "dyn_eq" | "dyn_ne":
            steps += min(bound.total for bound in arguments) // STEP_SIZE
            return Bound(steps + EQUAL_STEPS * min(bound.values for bound in arguments))
        case "dyn_in":
            container = arguments[1]
            is_told = container.size == ATTRIBUTES_SIZE
            count = min(container.size, container.values)
            return Bound(steps + (MEMBER_STEPS if is_told else EQUAL_STEPS * count))
        case "search" | "matches":
            return Bound(steps + PATTERN_STEPS + PATTERN_WEIGHT * total // STEP_SIZE)
        case "bytes":  # up to four for a character
            return Bound(steps, 4 * size, 4 * size)
        case "string":
            return Bound(steps, max(size, NUMBER_SIZE), max(size, NUMBER_SIZE))
        case "elements" | "list_elements":
            is_told = size == ATTRIBUTES_SIZE
            count = min(size, values, ATTRIBUTE_LOOP_MAX if is_told else size)
            return Bound(steps + count // 8, count, total, values)
        case "index":
            return Bound(steps, total, total, values)
    return Bound(steps + GETTER_STEPS if op in GETTERS else steps)


_LONG = frozenset(
    {"string_add", "dyn_add", "contains", "dyn_contains"}
    | {"bytes", "string", "double", "matches", "search"}
)
"""Operators that go through all of a value."""
