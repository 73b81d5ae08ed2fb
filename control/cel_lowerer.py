"""From a checked expression to the neutral tree of `core.rules.tree`.

Decides: which operator of the tree an operator of CEL becomes, by what is certain of its arguments; what
no condition can say, which is refused here by name and place.
Never: what one family of rules may not say (`control.cel_sentiment`), or what anything costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from cel.expr import checked_pb2, syntax_pb2

from control.cel_errors import refuse
from control.cel_kinds import (
    BOOL,
    BY_NAME,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    MAP,
    NULL,
    NUMBERS,
    SCALARS,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    Kind,
    Typed,
    element_of,
    kind_of_field,
    list_of,
    message,
    result_of,
)
from core.rules.cel_convert import CONVERSIONS, search
from core.rules.cel_times import GETTERS
from core.rules.cel_types import NANOS_PER_SECOND, TYPE_NAMES, EvaluationError
from core.rules.fields import FIELDS, ROOTS

VARIABLES: dict[str, Typed] = {
    root: Typed(["field", root], message(root.capitalize()), True) for root in ROOTS
}
"""What a condition can name."""

EXACT_MAX = 2**53
"""Ints up to here are doubles without loss."""


class Lowerer:
    """Turns one checked expression into a tree."""

    def __init__(
        self,
        source: str,
        checked: checked_pb2.CheckedExpr,
        variables: Mapping[str, Typed] = VARIABLES,
    ) -> None:
        self._source = source
        self._types = checked.type_map
        self._references = checked.reference_map
        self._positions = checked.source_info.positions
        self._variables = variables
        self._loops: list[tuple[str, Typed]] = []
        self._places: dict[int, int] = {}
        """id() of a part of the tree -> id of the expression it was made of."""

    def test(self, expr: syntax_pb2.Expr) -> list[Any]:
        """Return the tree of an expression that has to be a bool, if only at run time."""
        typed = self.value(expr)
        return typed.tree if typed.kind == BOOL else self._keep(expr, call("dyn_bool", typed))

    def value(self, expr: syntax_pb2.Expr) -> Typed:
        """Return the tree of an expression."""
        typed = self.lower(expr)
        if typed.kind == message("Event"):
            self.refuse(expr, "the whole event as a value is not supported; name its fields")
        return typed

    def lower(self, expr: syntax_pb2.Expr) -> Typed:
        """Return the tree of an expression, which may be one of which fields are to be named."""
        typed = self._lower(expr)
        self._keep(expr, typed.tree)
        return typed

    def refuse(self, expr: syntax_pb2.Expr, text: str) -> NoReturn:
        """Raise ExpressionInvalid with the place of an expression."""
        self._refuse_at(expr.id, text)

    def refuse_part(self, tree: list[Any], text: str) -> NoReturn:
        """Raise ExpressionInvalid with the place of a part of the tree."""
        self._refuse_at(self._places.get(id(tree), 0), text)

    def _refuse_at(self, expr_id: int, text: str) -> NoReturn:
        offset = self._positions[expr_id]
        before = self._source[:offset]
        line, start = before.count("\n") + 1, before.rfind("\n") + 1
        refuse(f"line {line}, column {offset - start + 1}: {text}")

    def _keep(self, expr: syntax_pb2.Expr, tree: list[Any]) -> list[Any]:
        self._places[id(tree)] = expr.id
        return tree

    def _lower(self, expr: syntax_pb2.Expr) -> Typed:
        if expr.id in self._references and self._references[expr.id].HasField("value"):
            return self._constant(self._references[expr.id].value, expr)
        match expr.WhichOneof("expr_kind"):
            case "const_expr":
                return self._constant(expr.const_expr, expr)
            case "ident_expr":
                return self._variable(expr, expr.ident_expr.name)
            case "select_expr":
                return self._select(expr)
            case "list_expr":
                return self._list(expr)
            case "call_expr":
                return self._call(expr)
            case "comprehension_expr":
                return self._loop(expr)
        return self._map(expr)

    # --- constants and literals -----------------------------------------------------------------

    def _constant(self, constant: syntax_pb2.Constant, expr: syntax_pb2.Expr) -> Typed:
        name = str(constant.WhichOneof("constant_kind"))
        value: Any = getattr(constant, name)
        match name:
            case "null_value":
                return Typed(["const", None], NULL)
            case "uint64_value":
                return Typed(["uint", value], UINT)
            case "bytes_value":
                return Typed(["bytes", value.hex()], BYTES)
        if name not in _LITERALS:
            self.refuse(expr, f"a literal of type {name.removesuffix('_value')} is not supported")
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(expr, "the number is too large; a double goes up to 1.8e308")
        return Typed(["const", value], _LITERALS[name])

    def _list(self, expr: syntax_pb2.Expr) -> Typed:
        elements = [self.value(element) for element in expr.list_expr.elements]
        kind = list_of([element.kind for element in elements])
        return Typed(["list", *(element.tree for element in elements)], kind)

    def _map(self, expr: syntax_pb2.Expr) -> Typed:
        struct = expr.struct_expr
        if struct.message_name:
            name = struct.message_name
            self.refuse(expr, f"making a message, `{name}{{...}}`, is not supported")
        parts = [
            self.value(part).tree
            for entry in struct.entries
            for part in (entry.map_key, entry.value)
        ]
        return Typed(["map", *parts], MAP)

    # --- variables, fields, entries -------------------------------------------------------------

    def _variable(self, expr: syntax_pb2.Expr, name: str) -> Typed:
        if expr.id in self._references:
            name = self._references[expr.id].name or name
        is_global = name.startswith(".")
        name = name.removeprefix(".")
        inner = [] if is_global else [typed for known, typed in self._loops if known == name]
        found = inner[-1] if inner else self._variables.get(name)
        if found is not None:
            return found._replace(tree=list(found.tree))
        if name not in TYPE_NAMES:
            self.refuse(expr, f"the type `{name}` is not supported in conditions")
        return Typed(["type", name], TYPE)

    def _select(self, expr: syntax_pb2.Expr) -> Typed:
        select = expr.select_expr
        if expr.id in self._references:
            return self._variable(expr, self._references[expr.id].name)
        owner = self.lower(select.operand)
        name, is_test = select.field, select.test_only
        if owner.kind.name != "message":
            return self._entry(owner, name, is_test=is_test)
        self._check_field(expr, owner.kind.message, name)
        kind = BOOL if is_test else kind_of_field(owner.kind.message, name)
        if not owner.is_path:
            return Typed(["has_select" if is_test else "select", owner.tree, name], kind)
        if is_test:
            return Typed(["has", *owner.tree[1:], name], BOOL)
        if kind == MAP:
            return Typed(["attribute"], MAP)
        is_root = owner.tree == ["field", "event"] and name in ROOTS
        tree = ["field", name] if is_root else [*owner.tree, name]
        return Typed(tree, kind, kind.name == "message")

    def _check_field(self, expr: syntax_pb2.Expr, owner: str, name: str) -> None:
        if name not in FIELDS[owner]:
            full = f"{owner.lower()}.{name}"
            why = _UNSUPPORTED_FIELDS.get(full, f"its fields are {', '.join(FIELDS[owner])}")
            self.refuse(expr, f"`{full}` cannot be used in conditions: {why}")

    def _entry(self, owner: Typed, key: str, *, is_test: bool = False) -> Typed:
        """Return an entry of a map, or of what shows to be one at run time."""
        kind = BOOL if is_test else DYN
        if owner.tree[0] == "attribute":
            return Typed(["has_attribute" if is_test else "attribute", *owner.tree[1:], key], kind)
        return Typed(["has_select" if is_test else "select", owner.tree, key], kind)

    def _index(self, owner: Typed, key: Typed) -> Typed:
        if owner.tree[0] == "attribute" and key.kind == STRING and key.tree[0] == "const":
            return self._entry(owner, key.tree[1])
        is_list = owner.kind.name == "list" and key.kind in NUMBERS
        return Typed(call("index", owner, key), element_of(owner.kind) if is_list else DYN)

    # --- calls ----------------------------------------------------------------------------------

    def _call(self, expr: syntax_pb2.Expr) -> Typed:
        name = expr.call_expr.function
        parts = [expr.call_expr.target] if expr.call_expr.HasField("target") else []
        parts += expr.call_expr.args
        if name in _JUNCTIONS:
            return Typed(self._junction(_JUNCTIONS[name], parts), BOOL)
        if name == "_?_:_":
            return self._choice(parts)
        arguments = [self.value(part) for part in parts]
        kinds = [argument.kind for argument in arguments]
        if name in _COMPARISONS:
            return Typed(_comparison(_COMPARISONS[name], *arguments), BOOL)
        if name in _ARITHMETIC:
            return Typed(_arithmetic(name, arguments), result_of(name, kinds))
        if name in _TESTS:
            prefix = "" if all(kind == STRING for kind in kinds) else "dyn_"
            return Typed(call(prefix + _TESTS[name], *arguments), BOOL)
        match name:
            case "!_":
                return Typed(call("not" if kinds == [BOOL] else "dyn_not", *arguments), BOOL)
            case "@in" | "_in_" | "in":
                return Typed(_membership(*arguments), BOOL)
            case "_[_]":
                return self._index(*arguments)
            case "size":
                is_known = kinds[0] in (STRING, BYTES) or kinds[0].name == "list"
                return Typed(call("size" if is_known else "dyn_size", *arguments), INT)
            case "matches":
                return Typed(_matches(*arguments), BOOL)
            case "dyn":
                return Typed(list(arguments[0].tree), DYN)
        if name in GETTERS:
            return Typed(call(name, *arguments), INT)
        if name in CONVERSIONS:
            return _conversion(name, arguments[0])
        self.refuse(expr, f"the function `{name}` is not supported")

    def _junction(self, op: str, parts: list[syntax_pb2.Expr]) -> list[Any]:
        tests: list[Any] = []
        for part in parts:
            tree = self.test(part)
            tests += tree[2:] if tree[:2] == ["call", op] else [tree]
        return ["call", op, *tests]

    def _choice(self, parts: list[syntax_pb2.Expr]) -> Typed:
        test, then, otherwise = self.test(parts[0]), self.value(parts[1]), self.value(parts[2])
        kind = then.kind if then.kind == otherwise.kind else DYN
        return Typed(["call", "if", test, then.tree, otherwise.tree], kind)

    # --- loops ----------------------------------------------------------------------------------

    def _loop(self, expr: syntax_pb2.Expr) -> Typed:
        loop = expr.comprehension_expr
        source = self.value(loop.iter_range)
        elements = source.tree
        is_field = elements[0] == "field" and len(elements) > 2 and source.kind.name == "list"
        if not is_field and elements[0] not in ("list", "filter", "transform"):
            elements = self._keep(expr, call("elements", source))
        step = loop.loop_step.call_expr
        if step.function in _JUNCTIONS:
            macro = "all" if step.function == "_&&_" else "exists"
            body = self._body(loop.iter_var, elements, source.kind, step.args[1], is_test=True)
            return Typed([macro, elements, body.tree], BOOL)
        if step.function == "_?_:_":
            test = self._body(loop.iter_var, elements, source.kind, step.args[0], is_test=True)
            if loop.accu_init.HasField("const_expr"):
                return Typed(["exists_one", elements, test.tree], BOOL)
            elements = self._keep(expr, ["filter", elements, test.tree])
            step = step.args[1].call_expr
        [made] = step.args[1].list_expr.elements
        kind = Kind("list", element_of(source.kind))
        if made.ident_expr.name == loop.iter_var and elements[0] == "filter":
            return Typed(elements, kind)
        body = self._body(loop.iter_var, elements, source.kind, made)
        return Typed(["transform", elements, body.tree], Kind("list", body.kind))

    def _body(
        self,
        variable: str,
        elements: list[Any],
        kind: Kind,
        expr: syntax_pb2.Expr,
        *,
        is_test: bool = False,
    ) -> Typed:
        """Return what a loop does with each element, the variable standing for it."""
        start = elements
        while start[0] == "filter":
            start = start[1]
        element = element_of(kind)
        is_path = start[0] == "field" and element.name == "message"
        self._loops.append((variable, Typed(["field", len(self._loops)], element, is_path)))
        body = Typed(self.test(expr), BOOL) if is_test else self.value(expr)
        self._loops.pop()
        return body


def call(op: str, *arguments: Typed) -> list[Any]:
    """Return the tree of a call."""
    return ["call", op, *(argument.tree for argument in arguments)]


def _comparison(op: str, a: Typed, b: Typed) -> list[Any]:
    if a.kind == b.kind and a.kind in SCALARS:
        return call(op, a, b)
    for whole, other in ((a, b), (b, a)):
        is_constant = whole.kind == INT and whole.tree[0] == "const"
        if is_constant and other.kind == DOUBLE and abs(whole.tree[1]) <= EXACT_MAX:
            constant = Typed(["const", float(whole.tree[1])], DOUBLE)
            return call(op, constant, b) if whole is a else call(op, a, constant)
    return call(f"dyn_{op}", a, b)


def _arithmetic(name: str, arguments: list[Typed]) -> list[Any]:
    kind = arguments[0].kind
    is_one = all(argument.kind == kind for argument in arguments)
    is_own = kind in (INT, DOUBLE) or (kind == STRING and name == "_+_")
    return call(f"{kind.name if is_one and is_own else 'dyn'}_{_ARITHMETIC[name]}", *arguments)


def _membership(value: Typed, container: Typed) -> list[Any]:
    # Python's `in` takes a number that is no number for itself.
    is_plain = value.kind in SCALARS and value.kind != DOUBLE
    is_static = is_plain and value.kind == container.kind.element
    return call("in" if is_static else "dyn_in", value, container)


def _matches(text: Typed, pattern: Typed) -> list[Any]:
    if text.kind == STRING and pattern.kind == STRING and pattern.tree[0] == "const":
        try:
            search(pattern.tree[1])
        except EvaluationError:
            return call("matches", text, pattern)
        return call("search", text, pattern)
    return call("matches", text, pattern)


def _conversion(name: str, value: Typed) -> Typed:
    """Return a conversion; of a constant to a time, the time."""
    kind = BY_NAME[name]
    if value.kind == kind and kind != TYPE:
        return value
    if kind in (TIMESTAMP, DURATION) and value.tree[0] == "const":
        try:
            nanos = CONVERSIONS[name](value.tree[1]).nanos
        except EvaluationError:
            return Typed(call(name, value), kind)
        return Typed([name, *divmod(nanos, NANOS_PER_SECOND)], kind)
    return Typed(call(name, value), kind)


_JUNCTIONS = {"_&&_": "and", "_||_": "or"}
_COMPARISONS = {"_==_": "eq", "_!=_": "ne", "_<_": "lt", "_<=_": "le", "_>_": "gt", "_>=_": "ge"}
_ARITHMETIC = {
    "_+_": "add", "_-_": "sub", "_*_": "mul", "_/_": "div", "_%_": "mod", "-_": "neg",
}  # fmt: skip
_TESTS = {"startsWith": "starts", "endsWith": "ends", "contains": "contains"}
_LITERALS = {"bool_value": BOOL, "int64_value": INT, "double_value": DOUBLE, "string_value": STRING}
_UNSUPPORTED_FIELDS = {"event.channel": "activate the rule on the channels it is meant for"}
