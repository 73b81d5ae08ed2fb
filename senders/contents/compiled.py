"""Templates ready to run: read once for each revision and locale, then only filled.

Decides: what is done beforehand. What stands between tags is encoded for the wire once; a plain output
of a known text is looked up without the library; the rest runs in the sandbox.
Never: whether a template is right; what is compiled here was checked when it was saved
(`checking.py`), and what has become wrong since fails as a message.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from liquid import Markup
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.output import OutputNode
from liquid.exceptions import LiquidError

from core.errors import RenderingFailed
from senders.contents import checking
from senders.contents.sandbox import Budget, Buffer, Context, weight_of
from senders.contents.schema import TEXT, VARIABLES, Fields, Shape, step

Encode = Callable[[str], bytes]

INTERNAL: Final = ("_preheader", "_unsubscribe")
"""Outputs that are put into a page; shops cannot name them."""


class _Run:
    """Nodes that only the library can run."""

    __slots__ = ("nodes", "weight")

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.weight = sum(map(weight_of, nodes))


_Piece = str | tuple[str, ...] | _Run
"""Text, the path of a plain output, or nodes to run."""


class Program:
    """One text of a template.

    Args:
        source: was checked.
        is_html: values are escaped.
        encode: makes bytes of text; pieces that are encoded apart may be joined.
    """

    def __init__(self, source: str, *, is_html: bool = False, encode: Encode | None = None) -> None:
        try:
            self._template = checking.read(source, is_html=is_html)
        except checking.Mistake:
            raise RenderingFailed("the template cannot be read by this version") from None
        self._is_html = is_html
        self.roots = checking.roots_of(self._template)
        self._pieces = tuple(_pieces(self._template.nodes))
        self._encode = encode
        self._ready = (
            tuple(encode(piece) if isinstance(piece, str) else b"" for piece in self._pieces)
            if encode is not None
            else ()
        )

    @property
    def is_plain(self) -> bool:
        """Whether it never needs the library."""
        return not any(isinstance(piece, _Run) for piece in self._pieces)

    def text(self, values: Mapping[str, Any], budget: Budget, locale: str) -> str:
        """Return the text filled.

        Raises:
            RenderingFailed: it costs too much, or something does not go together.
        """
        return "".join(self._filled(values, budget, locale))

    def encoded(self, values: Mapping[str, Any], budget: Budget, locale: str) -> bytes:
        """Return the text filled and encoded; as `text`."""
        assert self._encode is not None
        filled = self._filled(values, budget, locale)
        encode, pieces = self._encode, self._pieces
        return b"".join([
            ready if isinstance(piece, str) else encode(text)
            for piece, ready, text in zip(pieces, self._ready, filled, strict=True)
        ])  # fmt: skip

    def _filled(self, values: Mapping[str, Any], budget: Budget, locale: str) -> list[str]:
        context: Context | None = None
        filled = []
        try:
            for piece in self._pieces:
                if isinstance(piece, str):
                    filled.append(piece)
                elif isinstance(piece, tuple):
                    found = self._looked_up(piece, values)
                    budget.write(found)
                    filled.append(found)
                else:
                    if context is None:
                        context = Context(self._template, values, budget, locale)
                    filled.append(_run(piece, context))
        except LiquidError as error:
            raise RenderingFailed(f"the template: {str(error.message)[:200]}") from None
        except RenderingFailed:
            raise
        except Exception as error:
            # The library's filters meet whatever values there are; the text could quote one.
            raise RenderingFailed(f"the template cannot be run: {type(error).__name__}") from None
        return filled

    def _looked_up(self, path: tuple[str, ...], values: Mapping[str, Any]) -> str:
        value: Any = values
        for name in path:
            value = value.get(name)
            if value is None:
                return ""
        if not self._is_html or isinstance(value, Markup):
            return str(value)
        return html.escape(value)


def _run(piece: _Run, context: Context) -> str:
    context.budget.spend(piece.weight)
    buffer = Buffer(context.budget)
    for node in piece.nodes:
        node.render(context, buffer)
    return buffer.getvalue().replace("\r", "")


def _pieces(nodes: Sequence[Node]) -> list[_Piece]:
    pieces: list[_Piece] = []
    waiting: list[Node] = []

    def flush() -> None:
        if waiting:
            pieces.append(_Run(tuple(waiting)))
            waiting.clear()

    # What a template assigns stands for its own value, whatever else has the name.
    own = frozenset(checking.assigned(nodes))
    for node in nodes:
        plain = _plain_piece(node, own)
        if plain is None:
            waiting.append(node)
        else:
            flush()
            pieces.append(plain)
    flush()
    return pieces


def _plain_piece(node: Node, own: Collection[str]) -> str | tuple[str, ...] | None:
    """Return the text or path of a node that needs no library, else None.

    Args:
        own: names that the template assigns.
    """
    if isinstance(node, ContentNode):
        return node.text
    if not isinstance(node, OutputNode) or not isinstance(node.expression, FilteredExpression):
        return None
    path = node.expression.left
    if node.expression.filters or not isinstance(path, Path):
        return None
    names = tuple(path.path)
    if names and names[0] in INTERNAL:
        return (str(names[0]),)
    if names and names[0] in own:
        return None
    shape: Shape | None = VARIABLES.get(str(names[0])) if names else None
    for name in names[1:]:
        if not isinstance(shape, Fields) or not isinstance(name, str):
            return None
        shape = step(shape, name)
    return tuple(str(name) for name in names) if shape is TEXT else None
