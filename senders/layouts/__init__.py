"""The pages around the words of the default e-mails.

Decides: how a layout is filled: which of its blocks are shown, how often, and where words go.
Never: what the words are, or what a recipient's values are; those go in later (`senders/mime.py`).

A layout is written as MJML in `data/*.mjml` and compiled into HTML, which is committed beside it; after
a change of the source run `make templates`. In it

    <!-- if:name --> ... <!-- end:name -->        is shown if there is such a word, or list of them
    <!-- unless:name --> ... <!-- end:name -->    is shown if there is none
    <!-- each:name --> ... <!-- end:name -->      is shown for each entry of a list
    [[name]]                                      is a word, as markup
    {{name}}                                      is left for the recipient's value

A word that is put in is never looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

DATA: Final = Path(__file__).with_name("data")

_MARK: Final = re.compile(
    r"<!--\s*(if|unless|each|end):([a-z_]+)\s*-->|\[\[([a-z_]+)\]\]", re.ASCII
)

Scope = Mapping[str, "str | Sequence[Mapping[str, str]]"]
"""Words by name, as markup, and lists of entries that have words of their own. Empty is not there."""


class Layout:
    """A compiled layout."""

    def __init__(self, source: str) -> None:
        marks = _MARK.split(source)
        steps = (
            (text, *mark)
            for text, mark in zip(
                marks[::4], [*zip(marks[1::4], marks[2::4], marks[3::4], strict=True), _NO_MARK],
                strict=True,
            )
        )  # fmt: skip
        self._nodes = _block(steps, "")

    def page(self, scope: Scope) -> str:
        """Return the page, values left open."""
        return "".join(_shown(self._nodes, scope))


@cache
def layout(name: str) -> Layout:
    """Return a layout of ours."""
    return Layout((DATA / f"{name}.html").read_text(encoding="utf-8"))


_NO_MARK: Final = (None, None, None)
_Step = tuple[str, str | None, str | None, str | None]
_Node = tuple[str, str, "list[_Node]"]
"""(kind, name or text, what is inside); of the kinds "text", "word", "if", "unless" and "each"."""


def _block(steps: Iterator[_Step], name: str) -> list[_Node]:
    """Return what stands before the end of a block, "" being the whole page."""
    nodes: list[_Node] = []
    for text, kind, block, word in steps:
        nodes.append(("text", text, []))
        if word:
            nodes.append(("word", word, []))
        elif kind == "end":
            assert block == name, f"{name!r} ends as {block!r}"
            return nodes
        elif kind and block:
            nodes.append((kind, block, _block(steps, block)))
    assert not name, f"{name!r} does not end"
    return nodes


def _shown(nodes: list[_Node], scope: Scope) -> Iterator[str]:
    for kind, name, inside in nodes:
        found = scope.get(name, "")
        if kind == "text":
            yield name
        elif kind == "word":
            assert isinstance(found, str)
            yield found
        elif kind == "each":
            for entry in found:
                assert isinstance(entry, Mapping)
                yield from _shown(inside, {**scope, **entry})
        elif bool(found) is (kind == "if"):
            yield from _shown(inside, scope)
