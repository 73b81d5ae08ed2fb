"""From the text of a condition to the tree that rules are stored with.

Parsing and type checking are done by Google's own front end for CEL; what it has checked becomes the
neutral tree of `core.rules.tree`. What the engine does not support is refused here, by name and place,
when the rule is saved, and never later.

Decides: which conditions are taken, and what their authors are told.
Never: how a condition is evaluated; that is `core.rules.lowering`.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from cel.expr import checked_pb2, syntax_pb2
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError

from control import cel_schema, condition_warnings
from control.cel_errors import explain, refuse, too_deep
from core.bounds import EXPRESSION_CHARS_MAX, EXPRESSION_DEPTH_MAX
from core.model import REVIEW_FAMILIES, Family
from core.registry.rule_parts import Condition
from core.rules.fields import FIELDS, ROOTS
from core.rules.lowering import compile_predicate
from core.rules.tree import cost, depth

EXPRESSION_COST_MAX = 50_000
"""Most steps one evaluation may take (`core.rules.tree.cost`), about 2 ms: one loop over the items
and one over their tags with a short body fit, a loop over items inside one over items does not."""

SENTIMENT_WORDS = frozenset(
    {"rating", "ratings", "star", "stars", "score", "scores", "sentiment", "satisfaction"}
    | {"nps", "csat", "complaint", "complaints", "promoter", "detractor"}
)
"""Words that tell an attribute to be about how content somebody is (h8)."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


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
        lowerer = _Lowerer(source, checked, family)
        if (kind := lowerer.type_of(checked.expr)) != "bool":
            value = (
                "its type is known only when it runs" if kind == "dyn" else f"it is of type {kind}"
            )
            lowerer.refuse(
                checked.expr, f"a condition is a bool, but {value}; compare it, as in == true"
            )
        tree = lowerer.lower(checked.expr)
        if depth(tree) > EXPRESSION_DEPTH_MAX:
            raise too_deep()
        if cost(tree) > EXPRESSION_COST_MAX:
            refuse(
                f"the condition may take {cost(tree):,} steps; up to {EXPRESSION_COST_MAX:,} go: use "
                "fewer loops inside loops"
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


class _Lowerer:
    """Turns one checked expression into the neutral tree."""

    def __init__(self, source: str, checked: checked_pb2.CheckedExpr, family: Family) -> None:
        self._source = source
        self._types = checked.type_map
        self._references = checked.reference_map
        self._positions = checked.source_info.positions
        self._family = family
        self._loops: list[str] = []

    def lower(self, expr: syntax_pb2.Expr) -> list[Any]:
        """Return the tree of an expression."""
        if self._references[expr.id].HasField("value"):
            return self._constant(self._references[expr.id].value, expr)
        match expr.WhichOneof("expr_kind"):
            case "const_expr":
                return self._constant(expr.const_expr, expr)
            case "ident_expr":
                return self._variable(expr)
            case "select_expr":
                return self._select(expr)
            case "list_expr":
                return ["list", *(self._value(element) for element in expr.list_expr.elements)]
            case "call_expr":
                return self._call(expr)
            case "comprehension_expr":
                return self._loop(expr)
        if self.type_of(expr) == "map":
            self.refuse(expr, "a map literal is not supported")
        self.refuse(expr, "making a message is not supported; compare its fields")

    def test(self, expr: syntax_pb2.Expr) -> list[Any]:
        """Return the tree of an expression that has to be a bool, if only at run time."""
        tree = self._value(expr)
        return ["call", "dyn_bool", tree] if self.type_of(expr) == "dyn" else tree

    def type_of(self, expr: syntax_pb2.Expr) -> str:
        """Return the checked type, in a word."""
        return _type(self._types[expr.id])

    def refuse(self, expr: syntax_pb2.Expr, text: str) -> NoReturn:
        """Raise ExpressionInvalid with the place of an expression."""
        offset = self._positions[expr.id]
        before = self._source[:offset]
        line, start = before.count("\n") + 1, before.rfind("\n") + 1
        refuse(f"line {line}, column {offset - start + 1}: {text}")

    def _value(self, expr: syntax_pb2.Expr) -> list[Any]:
        """Return the tree of an expression that has to be a plain value, or a list of such."""
        kind = self.type_of(expr)
        tree = self.lower(expr)
        if kind in ("message", "list of messages"):
            self.refuse(
                expr, f"a {kind} as a value is not supported; use has(), or name its fields"
            )
        if kind == "map":
            self.refuse(expr, "a map as a value is not supported; name an entry of it")
        if kind not in _VALUE_TYPES:
            self.refuse(expr, f"a value of type {kind} is not supported yet")
        return tree

    def _constant(self, constant: syntax_pb2.Constant, expr: syntax_pb2.Expr) -> list[Any]:
        kind = str(constant.WhichOneof("constant_kind"))
        if kind not in _LITERALS:
            name = kind.removesuffix("_value").removesuffix("64")
            self.refuse(expr, f"a literal of type {name} is not supported yet")
        value = None if kind == "null_value" else getattr(constant, kind)
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(expr, "the number is too large; a double goes up to 1.8e308")
        return ["const", value]

    def _variable(self, expr: syntax_pb2.Expr) -> list[Any]:
        name = expr.ident_expr.name
        if name in self._loops:
            return ["field", len(self._loops) - 1 - self._loops[::-1].index(name)]
        if name not in ROOTS:
            self.refuse(expr, f"`{name}` as a value is not supported yet")
        return ["field", name]

    def _select(self, expr: syntax_pb2.Expr) -> list[Any]:
        select = expr.select_expr
        owner = self.lower(select.operand)
        if self.type_of(select.operand) != "message":
            return self._entry(expr, owner, select.field, is_test=select.test_only)
        if owner[0] != "field":
            self.refuse(expr, "a field of the result of an expression is not supported yet")
        message = self._types[select.operand.id].message_type.rpartition(".")[2]
        if (message, select.field) == ("Event", "attributes"):
            if select.test_only:
                self.refuse(
                    expr, "`has(event.attributes)` is not supported; ask for an entry of it"
                )
            return ["attribute"]
        self._check_field(expr, message, select.field)
        if select.test_only:
            return ["has", *owner[1:], select.field]
        return (
            ["field", select.field]
            if message == "Event" and select.field in ROOTS
            else [*owner, select.field]
        )

    def _check_field(self, expr: syntax_pb2.Expr, message: str, name: str) -> None:
        full = f"{message.lower()}.{name}"
        if name not in FIELDS.get(message, {}):
            why = _UNSUPPORTED_FIELDS.get(full, "times and dates are not supported yet")
            self.refuse(expr, f"`{full}` cannot be used in conditions: {why}")
        if full == "review.rating" and self._family in REVIEW_FAMILIES:
            self.refuse(expr, f"`{full}` {_NO_SENTIMENT}")

    def _entry(
        self, expr: syntax_pb2.Expr, owner: list[Any], key: str, *, is_test: bool = False
    ) -> list[Any]:
        """Return the tree for an entry of event.attributes."""
        if owner[0] != "attribute":
            self.refuse(expr, "an entry of the result of an expression is not supported yet")
        self._check_key(expr, key)
        return ["has_attribute" if is_test else "attribute", *owner[1:], key]

    def _check_key(self, expr: syntax_pb2.Expr, key: str) -> None:
        words = {word.lower() for word in _WORD.findall(key)}
        if self._family in REVIEW_FAMILIES and words & SENTIMENT_WORDS:
            self.refuse(expr, f"the attribute `{key:.80}` {_NO_SENTIMENT}")

    def _call(self, expr: syntax_pb2.Expr) -> list[Any]:
        call = expr.call_expr
        name = call.function
        parts = [call.target, *call.args] if call.HasField("target") else list(call.args)
        if name in _JUNCTIONS:
            return self._junction(_JUNCTIONS[name], parts)
        if name == "_?_:_":
            return ["call", "if", self.test(parts[0]), *map(self._value, parts[1:])]
        if name in ("@in", "_in_", "in"):
            return self._membership(*parts)
        if name == "_[_]":
            return self._index(expr, *parts)
        if name == "size" and len(parts) == 1:
            return self._size(parts[0])
        if name not in _OPERATORS:
            self.refuse(expr, f"the function `{name}` is not supported yet")
        trees = [self._value(part) for part in parts]
        return ["call", self._operator(expr, name, {self.type_of(part) for part in parts}), *trees]

    def _operator(self, expr: syntax_pb2.Expr, name: str, types: set[str]) -> str:
        """Return the operator for arguments of these types."""
        op = _OPERATORS[name]
        kind = next(iter(types)) if len(types) == 1 else "dyn"
        if name in _ARITHMETIC:
            if "list" in types:
                self.refuse(expr, "joining lists is not supported yet")
            return f"{kind}_{op}"
        return op if kind in _SCALARS else f"dyn_{op}"

    def _junction(self, op: str, parts: list[syntax_pb2.Expr]) -> list[Any]:
        tests: list[Any] = []
        for part in parts:
            tree = self.test(part)
            tests += tree[2:] if tree[:2] == ["call", op] else [tree]
        return ["call", op, *tests]

    def _membership(self, element: syntax_pb2.Expr, container: syntax_pb2.Expr) -> list[Any]:
        kind, within = self.type_of(element), self._types[container.id]
        value = self._value(element)
        if value[0] == "const" and isinstance(value[1], str):
            self._check_key(element, value[1])
        if self.type_of(container) == "map":
            return ["call", "dyn_in", value, self.lower(container)]
        is_static = kind in _SCALARS and kind == _type(within.list_type.elem_type)
        return ["call", "in" if is_static else "dyn_in", value, self._value(container)]

    def _index(
        self, expr: syntax_pb2.Expr, owner: syntax_pb2.Expr, index: syntax_pb2.Expr
    ) -> list[Any]:
        if self.type_of(owner) in ("list", "list of messages"):
            self.refuse(expr, "an index into a list is not supported yet; use exists() or all()")
        key = self._value(index)
        if key[0] != "const" or not isinstance(key[1], str):
            self.refuse(expr, "an index other than a literal string is not supported yet")
        return self._entry(expr, self.lower(owner), key[1])

    def _size(self, part: syntax_pb2.Expr) -> list[Any]:
        kind = self.type_of(part)
        is_counted = kind in ("map", "list of messages")
        tree = self.lower(part) if is_counted else self._value(part)
        return ["call", "dyn_size" if kind in ("dyn", "map") else "size", tree]

    def _loop(self, expr: syntax_pb2.Expr) -> list[Any]:
        loop = expr.comprehension_expr
        macro = _macro(loop)
        if macro not in ("exists", "all"):
            self.refuse(expr, f"the macro `{macro}` is not supported yet; use exists() or all()")
        elements = self.lower(loop.iter_range)
        if elements[0] not in ("field", "list"):
            self.refuse(expr, f"`{macro}` over event.attributes is not supported yet")
        self._loops.append(loop.iter_var)
        body = self.test(loop.loop_step.call_expr.args[1])
        self._loops.pop()
        return [macro, elements, body]


_JUNCTIONS = {"_&&_": "and", "_||_": "or"}
_ARITHMETIC = {
    "_+_": "add",
    "_-_": "sub",
    "_*_": "mul",
    "_/_": "div",
    "_%_": "mod",
    "-_": "neg",
}
_OPERATORS = {
    "_==_": "eq",
    "_!=_": "ne",
    "_<_": "lt",
    "_<=_": "le",
    "_>_": "gt",
    "_>=_": "ge",
    "!_": "not",
    "startsWith": "starts",
    "endsWith": "ends",
    "contains": "contains",
    **_ARITHMETIC,
}
_LITERALS = {"bool_value", "int64_value", "double_value", "string_value", "null_value"}
_SCALARS = {"bool", "int", "double", "string"}
_VALUE_TYPES = _SCALARS | {"dyn", "null", "list"}
_PRIMITIVES = {
    checked_pb2.Type.BOOL: "bool",
    checked_pb2.Type.INT64: "int",
    checked_pb2.Type.UINT64: "uint",
    checked_pb2.Type.DOUBLE: "double",
    checked_pb2.Type.STRING: "string",
    checked_pb2.Type.BYTES: "bytes",
}
_WELL_KNOWN = {
    checked_pb2.Type.ANY: "any",
    checked_pb2.Type.TIMESTAMP: "timestamp",
    checked_pb2.Type.DURATION: "duration",
}
_UNSUPPORTED_FIELDS = {
    "event.channel": "activate the rule on the channels it is meant for",
    "event.consents": "every message is checked against its recipient's consents anyway",
}
_NO_SENTIMENT = (
    "cannot be used in a rule that asks for reviews: everybody has to be asked alike, however content; "
    "use facts of the order such as its status, country or products"
)


def _type(checked_type: checked_pb2.Type) -> str:
    """Return a checked type in a word."""
    kind = str(checked_type.WhichOneof("type_kind"))
    if kind == "primitive":
        return _PRIMITIVES[checked_type.primitive]
    if kind == "well_known":
        return _WELL_KNOWN[checked_type.well_known]
    if kind == "list_type":
        is_plain = _type(checked_type.list_type.elem_type) in _VALUE_TYPES
        return "list" if is_plain else "list of messages"
    return kind.removesuffix("_type")


def _macro(loop: syntax_pb2.Expr.Comprehension) -> str:
    """Return the name of the macro that a loop was made of."""
    start = loop.accu_init
    step = loop.loop_step.call_expr
    if start.WhichOneof("expr_kind") == "const_expr":
        if start.const_expr.WhichOneof("constant_kind") == "bool_value":
            return "all" if step.function == "_&&_" else "exists"
        return "exists_one"
    if step.function == "_?_:_":
        kept = step.args[1].call_expr.args[1].list_expr.elements[0]
        return "filter" if kept.ident_expr.name == loop.iter_var else "map"
    return "map"
