"""What is refused when a template is saved, with the place of the mistake.

Decides: that a template can be read, names only variables and filters that there are, and runs no tag
that there is not.
Never: what it costs to run (`sandbox.py`).

A text is looked over by itself before the library reads it: what the library's patterns would go over
again and again (tags that never end) is refused in one pass.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from liquid.ast import Node
from liquid.builtin.expressions import FilteredExpression, LoopExpression, Path
from liquid.builtin.expressions.arguments import KeywordArgument
from liquid.builtin.expressions.filtered import Filter
from liquid.builtin.tags.for_tag import BreakNode, ContinueNode, ForNode
from liquid.exceptions import LiquidError
from liquid.expression import Expression
from liquid.template import BoundTemplate

from core import bounds
from core.errors import InvalidField
from senders.contents.filters import ARGUMENTS, FILTERS
from senders.contents.sandbox import HTML, PLAIN, TAGS, children_of
from senders.contents.schema import (
    ANY,
    FLAG,
    NUMBER,
    VARIABLES,
    Fields,
    ListOf,
    Shape,
    known_below,
    step,
)

_FORLOOP: Final = Fields(
    index=NUMBER, index0=NUMBER, rindex=NUMBER, rindex0=NUMBER, length=NUMBER, first=FLAG, last=FLAG,
    name=ANY, parentloop=ANY,
)  # fmt: skip
_CLOSERS: Final = {"{{": "}}", "{%": "%}"}


class Mistake(Exception):
    """What is wrong in a text, and where."""

    def __init__(self, source: str, at: int, told: str) -> None:
        line = source.count("\n", 0, at) + 1
        column = at - (source.rfind("\n", 0, at) + 1) + 1
        super().__init__(f"line {line}, column {column}: {told}")


def parsed(source: str, *, field: str, is_html: bool = False, chars_max: int) -> BoundTemplate:
    """Return a template that is right.

    Raises:
        InvalidField: it is not; the message says where and what would be right.
    """
    if len(source) > chars_max:
        raise InvalidField(f"{field} has at most {chars_max:,} characters", field=field)
    _check_characters(source, field)
    try:
        _check_marks(source)
        template = read(source, is_html=is_html)
        _Checker(source).check(template.nodes)
    except Mistake as mistake:
        raise InvalidField(f"{field}, {mistake}", field=field) from None
    return template


def read(source: str, *, is_html: bool) -> BoundTemplate:
    """Return a template as the library reads it.

    Raises:
        Mistake: it cannot be read.
    """
    try:
        return (HTML if is_html else PLAIN).from_string(source)
    except LiquidError as error:
        at = error.token.start_index if error.token is not None else 0
        raise Mistake(source, min(max(at, 0), len(source)), str(error.message)[:200]) from None


def _check_characters(source: str, field: str) -> None:
    try:
        source.encode()
    except UnicodeEncodeError:
        raise InvalidField(f"{field} is not valid Unicode", field=field) from None
    for at, character in enumerate(source):
        if (character < " " and character not in "\n\t") or character == "\x7f":
            mistake = Mistake(source, at, f"the control character U+{ord(character):04X}")
            raise InvalidField(f"{field}, {mistake}", field=field)


def _check_marks(source: str) -> None:
    """Refuse tags that do not end, are too long, too many, or of no kind that there is."""
    at, count, comments = 0, 0, 0
    while True:
        at, opener = _next_mark(source, at)
        if not opener:
            break
        end = source.find(_CLOSERS[opener], at + 2, at + 2 + bounds.TEMPLATE_EXPRESSION_CHARS_MAX)
        if end < 0:
            raise Mistake(
                source, at,
                f"no {_CLOSERS[opener]} within {bounds.TEMPLATE_EXPRESSION_CHARS_MAX} characters "
                f"after {opener}",
            )  # fmt: skip
        count += 1
        if count > bounds.TEMPLATE_TAGS_MAX:
            raise Mistake(source, at, f"at most {bounds.TEMPLATE_TAGS_MAX:,} tags and outputs")
        if opener == "{%":
            word = _first_word(source[at + 2 : end])
            comments += (word == "comment") - (word == "endcomment")
            if word not in TAGS:
                raise Mistake(source, at, f"unknown tag {word[:40]!r}; there are {_told(TAGS)}")
        at = end + 2
    if comments:
        raise Mistake(source, len(source), "a comment without endcomment")


def _next_mark(source: str, start: int) -> tuple[int, str]:
    brace = source.find("{", start)
    while brace >= 0:
        if source[brace : brace + 2] in _CLOSERS:
            return brace, source[brace : brace + 2]
        brace = source.find("{", brace + 1)
    return -1, ""


def _first_word(inner: str) -> str:
    text = inner.removeprefix("-").strip()
    if text.startswith("#"):
        return "#"
    end = next((at for at, one in enumerate(text) if not (one.isalnum() or one == "_")), len(text))
    return text[:end]


def _told(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


# --- names --------------------------------------------------------------------------------------


class _Checker:
    """Goes through a template with what each name stands for."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._scopes: list[Mapping[str, Shape]] = [VARIABLES]
        self._loops = 0

    def check(self, nodes: Iterable[Node]) -> None:
        """Refuse what is not known."""
        listed = list(nodes)
        # What is assigned anywhere is known everywhere, and may be anything: a loop may read what its
        # last round has made.
        self._scopes.append(dict.fromkeys(assigned(listed), ANY))
        for node in listed:
            self._node(node)

    def _node(self, node: Node) -> None:
        if isinstance(node, BreakNode | ContinueNode) and not self._loops:
            raise Mistake(self._source, node.token.start_index, "this is for loops only")
        for expression in node.expressions():
            self._expression(expression)
        is_loop = isinstance(node, ForNode)
        self._scopes.append(self._of_loop(node) if isinstance(node, ForNode) else {})
        self._loops += is_loop
        for child in children_of(node):
            self._node(child)
        self._loops -= is_loop
        self._scopes.pop()

    def _of_loop(self, node: ForNode) -> Mapping[str, Shape]:
        iterable = node.expression.iterable
        shape: Shape | None = ANY
        if isinstance(iterable, Path):
            shape = self._shape(iterable)
        one = shape.item if isinstance(shape, ListOf) else ANY
        return {str(node.expression.identifier): one, "forloop": _FORLOOP}

    def _expression(self, expression: Expression, *, is_looped: bool = False) -> None:
        if isinstance(expression, Path):
            self._shape(expression)
        elif isinstance(expression, FilteredExpression):
            for used in expression.filters or ():
                self._filter(used)
        elif type(expression).__name__ == "RangeLiteral" and not is_looped:
            raise Mistake(self._source, expression.token.start_index, "a range is for loops only")
        for child in expression.children():
            looped = isinstance(expression, LoopExpression) and child is expression.iterable
            self._expression(child, is_looped=looped)

    def _filter(self, used: Filter) -> None:
        at, name = used.token.start_index, used.name
        if name not in FILTERS:
            raise self._unknown("filter", name, FILTERS, at)
        least, most = ARGUMENTS[name]
        named = [one.name for one in used.args if isinstance(one, KeywordArgument)]
        if named and (name, named) != ("default", ["allow_false"]):
            raise Mistake(self._source, at, f"{name} has no argument {named[0][:40]!r}")
        if not least <= len(used.args) - len(named) <= most:
            right = str(least) if least == most else f"{least} to {most}"
            raise Mistake(self._source, at, f"{name} takes {right} arguments behind its colon")

    def _shape(self, path: Path) -> Shape:
        """Return what a path leads to."""
        at = path.token.start_index
        root = str(path.path[0])
        shape = next((scope[root] for scope in reversed(self._scopes) if root in scope), None)
        if shape is None:
            raise self._unknown("variable", root, VARIABLES, at)
        told = root
        for segment in path.path[1:]:
            if isinstance(segment, Path):
                self._shape(segment)
            behind = step(shape, None if isinstance(segment, Path) else segment)
            if behind is None:
                known = known_below(shape)
                if not known:
                    raise Mistake(self._source, at, f"{told} has no field {str(segment)[:40]!r}")
                raise self._unknown(
                    "variable", f"{told}.{segment}", [f"{told}.{k}" for k in known], at
                )
            shape, told = behind, f"{told}.{segment}"
        return shape

    def _unknown(self, what: str, name: str, known: Iterable[str], at: int) -> Mistake:
        listed = list(known)
        near = difflib.get_close_matches(name[:80], listed, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        return Mistake(
            self._source, at, f"unknown {what} {name[:80]!r}; {hint}there are {_told(listed)}"
        )


def assigned(nodes: Iterable[Node]) -> Iterator[str]:
    """Return the names that a template gives values to."""
    for node in nodes:
        for name in node.template_scope():
            yield str(name)
        yield from assigned(children_of(node))


def roots_of(template: BoundTemplate) -> frozenset[str]:
    """Return the first names of all paths in a template."""
    found: set[str] = set()

    def look(expression: Any) -> None:
        if isinstance(expression, Path):
            found.add(str(expression.path[0]))
        for child in expression.children():
            look(child)

    def visit(node: Node) -> None:
        for expression in node.expressions():
            look(expression)
        for child in children_of(node):
            visit(child)

    for node in template.nodes:
        visit(node)
    return frozenset(found)
