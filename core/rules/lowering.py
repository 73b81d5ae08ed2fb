"""Conditions become one Python function for all rules of a channel and event type.

Decides: what Python a checked condition turns into. Fields that several tests need are read once, and
tests that several rules share are made once.
Never: parse what a user wrote. The input is the tree of `core.rules.tree`, which the CEL front end made
from a checked expression.

    order.status == "paid"  ->  ["call", "eq", ["field", "order", "status"], ["const", "paid"]]
                            ->  if ((event.order or empty_Order).status == k0): passed.append(0)

Semantics: CEL's. A test that may end in an error is written behind those that cannot, which changes no
result, since in CEL a false operand of `&&` outweighs an error on either side; only where two or more
may fail are they called one by one.

Invariants:
1. Names in the source come from `core.rules.fields` and `core.rules.tree`; constants are bound, never
   written into it.
2. The function raises nothing: a condition that ends in an error is false and reported (R42).

Source: decision 6 of the architecture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import NoneType
from typing import Any

from core.errors import ExpressionInvalid
from core.model import Event
from core.rules.cel_convert import search
from core.rules.cel_functions import RUNTIME, literal
from core.rules.cel_values import EvaluationError
from core.rules.fields import (
    EMPTY,
    FORMS,
    ROOTS,
    Field,
    Kind,
    expand_from,
    resolve,
)
from core.rules.tree import LOOPS, OPERATORS, Node, Tree, children, freeze, may_fail, walk

Fused = Callable[[Event], tuple[list[int], list[int]]]
Predicate = Callable[[Event], bool]

SCAN_MAX = 8
"""Longer lists of constants become sets."""

COMPILED_MAX = 1_024
"""Compiled functions kept; beyond it the one unused the longest goes."""

_RANGES = (("call", "elements"), ("call", "list_elements"))
_LITERALS = ("uint", "bytes", "timestamp", "duration", "type")
_TEXTS = {"dyn_eq": ("==", "is"), "dyn_ne": ("!=", "is not")}
"""How Python compares with a constant text, and with a constant bool or null."""


def compile_fused(trees: Sequence[Tree]) -> Fused:
    """Return one function for many conditions.

    Args:
        trees: checked trees, in the order of the rules.

    Returns:
        A function from an event to (indexes that passed, indexes that ended in an error), each
        ascending. It raises nothing.

    Raises:
        ExpressionInvalid: a tree is not as `core.rules.tree` documents.

    Cost: to compile about 120 us a condition, once; to call 0.2 us, plus 30 to 100 ns for each test
    that has to be made and each field that several tests need.
    """
    return _compile_fused(tuple(freeze(tree) for tree in trees))


def compile_predicate(tree: Tree) -> Predicate:
    """Return a function for one condition; it raises `EvaluationError` where the condition errs."""
    return _compile_predicate(freeze(tree))


class _Builder:
    """Writes the source of one function and collects what it refers to."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.namespace: dict[str, Any] = dict(RUNTIME)
        self.namespace.update({f"empty_{name}": value for name, value in EMPTY.items()})
        self.prologue: list[str] = []
        self._constants: dict[Node, str] = {}
        self._tests: Counter[Node] = Counter()
        self._reads: Counter[tuple[Field, ...]] = Counter()
        self._locals: dict[Any, str] = {}
        self._test_count = 0
        self._scope: list[str] = []
        """Message of the element of each enclosing loop, "" for a plain value."""
        self._is_nested = False
        """Inside a function of its own, where an assignment would not reach the locals."""
        for node in nodes:
            self._count(node, 1)

    def _count(self, node: Node, weight: int) -> None:
        """Count tests outside loops, and reads everywhere; what is read in a loop counts twice."""
        if node[0] in ("field", "has") and type(node[1]) is str:
            steps = resolve("Event", self._start(node[1], node[2:])[2])
            self._reads.update({steps[:end]: weight for end in range(1, len(steps) + 1)})
        if weight == 1 and node[0] in ("call", "has", *LOOPS):
            self._tests[node] += 1
            if self._tests[node] > 1:
                return
        for child in children(node):
            self._count(child, 2 if node[0] in LOOPS and child is node[2] else weight)

    def expression(self, node: Node) -> str:
        """Return the Python of a node: a name if it is shared, else written out."""
        if self._tests[node] < 2 or may_fail(node):
            return self._write(node)
        if any(part[0] in LOOPS for part in walk(node)):
            return self._write(node) if self._is_nested else self._late(node)
        if node not in self._locals:
            self._keep(node, self._next_name(), self._write(node))
        return self._locals[node]

    def _late(self, node: Node) -> str:
        """Return a shared loop: run by whoever needs it first, then remembered."""
        if ("late", node) not in self._locals:
            name = self._keep(("late", node), self._next_name(), "None")
            text = f"({name} if {name} is not None else ({name} := {self._write(node)}))"
            self._locals["late", node] = text
        return self._locals["late", node]

    def _next_name(self) -> str:
        self._test_count += 1
        return f"t{self._test_count}"

    def _keep(self, key: Any, name: str, text: str) -> str:
        self.prologue.append(f"{name} = {text}")
        self._locals[key] = name
        return name

    def _write(self, node: Node) -> str:
        match node[0]:
            case "const":
                return self._constant(node, node[-1])
            case "field":
                return self._field(node[1], node[2:])
            case "has":
                return self._has(node[1], node[2:])
            case "attribute":
                return self._attribute(node[1:])
            case "has_attribute":
                owner, key = self._attribute(node[1:-1]), self._constant(node[-1:], node[-1])
                return f"({key} in {owner})" if len(node) == 2 else f"has_key({owner}, {key})"
            case "select" | "has_select" as kind:
                function = "select" if kind == "select" else "has_key"
                name = self._constant(node[2:], node[2])
                return f"{function}({self.expression(node[1])}, {name})"
            case "list":
                return self._list(node)
            case "map":
                return f"make_map({', '.join(map(self.expression, children(node)))})"
            case kind if kind in LOOPS:
                return self._loop(node)
            case kind if kind in _LITERALS:
                return self._constant(node, literal(node))
        return self._call(node[1], node[2:])

    def _constant(self, key: Node, value: Any) -> str:
        name = self._constants.setdefault(key, f"k{len(self._constants)}")
        self.namespace[name] = value
        return name

    def _list(self, node: Node) -> str:
        if all(part[0] == "const" for part in children(node)):
            return self._constant(node, tuple(part[-1] for part in children(node)))
        return "(" + "".join(f"{self.expression(part)}, " for part in children(node)) + ")"

    def _attribute(self, keys: Node) -> str:
        text = "event.attributes"
        for key in keys:
            text = f"select({text}, {self._constant((key,), key)})"
        return text

    def _start(self, root: str | int, names: Node) -> tuple[str, str, tuple[str, ...]]:
        """Return where a path starts: the Python name, its message, and the names from there."""
        if isinstance(root, str):
            if root not in ROOTS:
                raise ExpressionInvalid(f"{root!r:.80} is no variable of conditions")
            return "event", "Event", names if root == "event" else (root, *names)
        if not 0 <= root < len(self._scope):
            raise ExpressionInvalid(f"there is no loop {root}")
        return f"v{root}", self._scope[root], names

    def _field(self, root: str | int, names: Node) -> str:
        start, message, path = self._start(root, names)
        return self._read(start, resolve(message, path))

    def _read(self, start: str, steps: tuple[Field, ...]) -> str:
        if not steps:
            return start
        step = steps[-1]
        if start == "event" and steps in self._locals:
            return self._locals[steps]
        text = self._form(self._read(start, steps[:-1]), step)
        if start == "event" and self._reads[steps] > 1:
            return self._keep(steps, "_".join(("f", *(s.attribute for s in steps))), text)
        return text

    def _form(self, owner: str, step: Field) -> str:
        """Return the Python of one step from a message to its field."""
        if step.attribute in FORMS and (step.message or owner.isidentifier()):
            return FORMS[step.attribute].format(owner)
        text = f"{owner}.{step.attribute}"
        if step.kind is Kind.MESSAGE and step.message != "Contact":  # there is always a contact
            return f"({text} or empty_{step.message})"
        return f"time_of({text})" if step.kind is Kind.TIMESTAMP else text

    def _has(self, root: str | int, names: Node) -> str:
        start, message, path = self._start(root, names)
        *above, step = resolve(message, expand_from(message, path, True))
        owner = f"{self._read(start, tuple(above))}.{step.attribute}"
        if step.kind is not Kind.MESSAGE or step.message == "Date":
            return f"(not not {owner})"
        return (
            f"({owner} is not None)" if step.message != "Contact" else f"({owner} != empty_Contact)"
        )

    def _loop(self, node: Node) -> str:
        kind, source, body = node
        message = self._element(source)
        is_nested, self._is_nested = self._is_nested, True
        elements, number = self.expression(source), len(self._scope)
        self._scope.append(message)
        text = self.expression(body)
        self._scope.pop()
        self._is_nested = is_nested
        if kind in ("exists", "all") and may_fail(body):
            function = "exists" if kind == "exists" else "for_all"
            return f"{function}({elements}, lambda v{number}: {text})"
        return _LOOPS[kind].format(f"v{number}", elements, text)

    def _element(self, source: Node) -> str:
        """Return the message of a range's elements, "" for plain values."""
        if source[0] == "filter":
            return self._element(source[1])
        if source[0] in ("list", "transform") or source[:2] in _RANGES:
            return ""
        if source[0] == "field":
            _, message, path = self._start(source[1], source[2:])
            steps = resolve(message, path)
            if steps and steps[-1].kind in (Kind.MESSAGES, Kind.STRINGS):
                return steps[-1].message
        raise ExpressionInvalid("a loop goes over a list")

    def _call(self, op: str, arguments: Node) -> str:
        if op in ("and", "or"):
            return self._junction(op, arguments)
        if op == "search":
            return OPERATORS[op].format(self.expression(arguments[0]), self._search(arguments[1]))
        texts = [self.expression(part) for part in arguments]
        constants = [part[-1] for part in arguments if part[0] == "const"]
        if op in _TEXTS and any(isinstance(value, str | bool | NoneType) for value in constants):
            # Python compares these as CEL does: they equal nothing of another type.
            is_text = any(type(value) is str for value in constants)
            return f"({texts[0]} {_TEXTS[op][0 if is_text else 1]} {texts[1]})"
        if op == "in" and arguments[1][0] == "list" and len(arguments[1]) > SCAN_MAX:
            elements = arguments[1][1:]
            if all(part[0] == "const" for part in elements):
                texts[1] = self._constant(("set", elements), frozenset(e[-1] for e in elements))
        if op in OPERATORS:
            return OPERATORS[op].format(*texts)
        return f"{op}({', '.join(texts)})"

    def _search(self, pattern: Node) -> str:
        if pattern[0] != "const" or type(pattern[-1]) is not str:
            raise ExpressionInvalid("search takes a constant pattern")
        try:
            return self._constant(("search", pattern), search(pattern[-1]))
        except EvaluationError as error:
            raise ExpressionInvalid(str(error)) from None

    def _junction(self, op: str, arguments: Node) -> str:
        safe = [part for part in arguments if not may_fail(part)]
        risky = [part for part in arguments if may_fail(part)]
        texts = [self.expression(part) for part in safe]
        if len(risky) == 1:
            texts.append(self.expression(risky[0]))
        elif risky:
            is_nested, self._is_nested = self._is_nested, True
            tests = ", ".join(f"lambda: {self.expression(part)}" for part in risky)
            self._is_nested = is_nested
            texts.append(f"{'all_of' if op == 'and' else 'any_of'}({tests})")
        return "(" + f" {op} ".join(texts) + ")"


_LOOPS = {
    "exists": "any({2} for {0} in {1})",
    "all": "all({2} for {0} in {1})",
    "exists_one": "(sum(1 for {0} in {1} if {2}) == 1)",
    "filter": "tuple([{0} for {0} in {1} if {2}])",
    "transform": "tuple([{2} for {0} in {1}])",
}
"""Loops as Python: {0} is the variable, {1} the range, {2} the body."""


def fused_source(nodes: tuple[Node, ...]) -> tuple[str, dict[str, Any]]:
    """Return the source of the function for many conditions, and the names it refers to."""
    builder = _Builder(nodes)
    body: list[str] = []
    for index, node in enumerate(nodes):
        test = f"if {builder.expression(node)}: passed.append({index})"
        if may_fail(node):
            body += ["try:", f"    {test}", f"except EvaluationError: errored.append({index})"]
        else:
            body.append(test)
    lines = ["passed = []", "errored = []", *builder.prologue, *body, "return passed, errored"]
    return "def match(event):\n    " + "\n    ".join(lines) + "\n", builder.namespace


@lru_cache(maxsize=COMPILED_MAX)
def _compile_fused(nodes: tuple[Node, ...]) -> Fused:
    source, namespace = fused_source(nodes)
    exec(compile(source, "<conditions>", "exec"), namespace)
    fused: Fused = namespace["match"]
    return fused


@lru_cache(maxsize=COMPILED_MAX)
def _compile_predicate(node: Node) -> Predicate:
    builder = _Builder((node,))
    expression = builder.expression(node)
    lines = [*builder.prologue, f"return {expression}"]
    source = "def predicate(event):\n    " + "\n    ".join(lines) + "\n"
    exec(compile(source, "<condition>", "exec"), builder.namespace)
    predicate: Predicate = builder.namespace["predicate"]
    return predicate
