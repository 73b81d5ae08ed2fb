"""From the text of a condition to the tree that rules are stored with.

Parsing and type checking are done by Google's own front end for CEL; what it has checked becomes the
neutral tree of `core.rules.tree`. What the engine does not support is refused here, by name and place,
when the rule is saved, and never later.

Decides: which conditions are taken, and what their authors are told.
Never: how a condition is evaluated; that is `core.rules.lowering`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cel.expr import checked_pb2
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError

from control import cel_schema, condition_warnings
from control.cel_errors import explain, refuse, too_deep
from control.cel_lowerer import Lowerer
from control.cel_sentiment import guard
from core.bounds import EXPRESSION_CHARS_MAX, EXPRESSION_COST_MAX, EXPRESSION_DEPTH_MAX
from core.model import REVIEW_FAMILIES, Family
from core.registry.rule_parts import Condition
from core.rules.cel_convert import CONVERSIONS, search
from core.rules.cel_cost import cost
from core.rules.cel_times import GETTERS
from core.rules.cel_types import EvaluationError, Timestamp
from core.rules.lowering import compile_predicate
from core.rules.tree import depth


class ConditionFrontend:
    """Checks conditions; one is enough for a process, and it keeps no state between calls."""

    def __init__(self) -> None:
        self.pool = cel_schema.make_pool()
        self._environment = cel_schema.make_environment(self.pool)

    def compile(self, source: str, family: Family) -> Condition:
        """Return the checked condition.

        Args:
            source: CEL over event, contact, order, shipment, cart and review.
            family: of the rule; review families may not look at ratings (h8).

        Raises:
            ExpressionInvalid: it does not parse, does not type-check, is no bool, uses what is not
                supported, or exceeds a bound. The message has line, column and what would be right.
        """
        if len(source) > EXPRESSION_CHARS_MAX:
            refuse(
                f"the condition has {len(source):,} characters; up to {EXPRESSION_CHARS_MAX:,} go"
            )
        checked = self._check(source)
        lowerer = Lowerer(source, checked)
        tree = _test(lowerer, checked)
        for part, text in _failing(tree):
            lowerer.refuse_part(part, text)
        if family in REVIEW_FAMILIES:
            tree, wrong = guard(tree)
            for part, text in wrong:
                lowerer.refuse_part(part, text)
        if depth(tree) > EXPRESSION_DEPTH_MAX:
            raise too_deep()
        if cost(tree) > EXPRESSION_COST_MAX:
            refuse(
                f"the condition may take {cost(tree):,} steps; up to {EXPRESSION_COST_MAX:,} go: use "
                "fewer loops inside loops, and shorter texts in them"
            )
        compile_predicate(tree)
        return Condition(source=source, tree=tree)

    def warnings(self, condition: Condition, family: Family) -> list[str]:
        """Return what is allowed but probably not meant (R42, h8), for `Rule.warnings`."""
        return condition_warnings.warnings(condition.tree, family)

    def _check(self, source: str) -> checked_pb2.CheckedExpr:
        checked = checked_pb2.CheckedExpr()
        try:
            serialized = self._environment.compile(source).serialize()
            any_pb2.Any.FromString(serialized).Unpack(checked)
        except RuntimeError as error:
            raise explain(source, str(error)) from None
        except DecodeError:
            raise too_deep() from None
        return checked


def _test(lowerer: Lowerer, checked: checked_pb2.CheckedExpr) -> list[Any]:
    """Return the tree of a condition, which has to be a bool."""
    root = checked.expr
    if checked.type_map[root.id].primitive == checked_pb2.Type.BOOL:
        return lowerer.test(root)
    kind = lowerer.lower(root).kind.name
    value = "its type is known only when it runs" if kind == "dyn" else f"it is of type {kind}"
    lowerer.refuse(root, f"a condition is a bool, but {value}; compare it, as in == true")


def _failing(tree: list[Any]) -> Iterator[tuple[list[Any], str]]:
    """Yield the parts of a condition that cannot but end in an error, with the reason."""
    try:
        match tree:
            case ["call", "matches", _, ["const", str() as pattern]]:
                search(pattern)
            case ["call", name, ["const", value]] if name in CONVERSIONS:
                CONVERSIONS[name](value)
            case ["call", name, _, ["const", zone]] if name in GETTERS:
                GETTERS[name](Timestamp(0), zone)
    except EvaluationError as error:
        yield tree, str(error)
    for part in tree[1:]:
        if isinstance(part, list):
            yield from _failing(part)
