"""Which rules an event sets off, and why.

Decides: the rules whose condition is true. A rule without a condition always passes.
Never: whether a rule is active, or what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from core.model import Event
from core.registry.resources import Rule
from core.rules import fields
from core.rules.cel_times import timestamp_text
from core.rules.cel_values import EvaluationError, has_key, select
from core.rules.lowering import compile_fused, compile_predicate
from core.rules.tree import Tree

ALWAYS: Tree = ["const", True]
"""The condition of a rule that has none."""


class Matcher:
    """The rules of one (channel, event type), compiled into one function.

    Matchers of equal conditions share the compiled function; making one again after a change that
    left the conditions alone costs next to nothing.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._is_unconditional = all(rule.condition is None for rule in self.rules)
        self._fused = compile_fused([_tree(rule) for rule in self.rules])

    def match(self, event: Event) -> tuple[list[Rule], list[Rule]]:
        """Return (rules that pass, rules whose condition ended in an error), in the given order.

        A condition that ends in an error counts as false (R42). Raises nothing.
        """
        if self._is_unconditional:
            return list(self.rules), []
        passed, errored = self._fused(event)
        rules = self.rules
        return [rules[index] for index in passed], [rules[index] for index in errored]


class Evaluation(NamedTuple):
    """How one condition came out, for Explain."""

    passed: bool
    error: str | None
    """Why it ended in an error; it then counts as false."""
    fields: dict[str, Any]
    """Every field the condition names -> its value; an instant as text, a list of messages as its
    length. A key of `event.attributes` that is not there is left out, and so is a whole message."""


def evaluate(rule: Rule, event: Event) -> Evaluation:
    """Return how a rule's condition comes out for an event, with what it looked at.

    The predicate is compiled from the same tree as the rule's part of `Matcher`, so the answer is
    the one that counted.
    """
    tree = _tree(rule)
    seen = {name: value for node in _leaves(tree) for name, value in _look(node, event)}
    try:
        return Evaluation(compile_predicate(tree)(event), None, seen)
    except EvaluationError as error:
        return Evaluation(False, str(error), seen)


def _tree(rule: Rule) -> Tree:
    return ALWAYS if rule.condition is None else rule.condition.tree


def _leaves(tree: Tree) -> Iterator[Tree]:
    if tree[0] in ("field", "has", "attribute", "has_attribute"):
        yield tree
        return
    for part in tree[1:]:
        if isinstance(part, list | tuple):
            yield from _leaves(part)


def _look(leaf: Tree, event: Event) -> Iterator[tuple[str, Any]]:
    """Yield name and value of what a leaf reads; nothing for the variable of a loop."""
    kind, *path = leaf
    if kind in ("attribute", "has_attribute"):
        yield from _look_up(kind, path, event)
    elif isinstance(path[0], str):
        root, *names = path
        from_event = fields.expand(root, tuple(names), is_presence=kind == "has")
        if kind == "has":
            yield f"has({'.'.join(path)})", fields.is_set(event, from_event)
            return
        kinds = [field.kind for field in fields.resolve("Event", from_event)]
        if not kinds or kinds[-1] is fields.Kind.MESSAGE:
            return
        value = fields.read(event, from_event)
        if kinds[-1] is fields.Kind.TIMESTAMP:
            value = timestamp_text(value)
        yield ".".join(path), len(value) if kinds[-1] is fields.Kind.MESSAGES else value


def _look_up(kind: str, keys: Sequence[str], event: Event) -> Iterator[tuple[str, Any]]:
    name = ".".join(("event.attributes", *keys))
    value: Any = event.attributes
    try:
        for key in keys[:-1] if kind == "has_attribute" else keys:
            value = select(value, key)
        if kind == "has_attribute":
            yield f"has({name})", has_key(value, keys[-1])
        else:
            yield name, value
    except EvaluationError:
        return
