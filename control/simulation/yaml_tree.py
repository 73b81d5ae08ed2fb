"""YAML as plain data that remembers its lines.

Decides: which YAML is taken: one document of mappings, sequences and scalars, as JSON has them. Keys
that come twice, anchors, aliases, tags and merge keys are refused: the first is a mistake, the others
make a small file large or a large one unreadable. A scalar is what it would be in JSON; everything
else is text: `2026-03-29`, `10:00`, `NO` and `off` stay what they look like.
Never: what the data mean.

Invariant: the work is linear in the size of the text, and no depth of it can exhaust the stack.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from core.errors import InvalidField, LimitExceeded

SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
DEPTH_MAX: Final = 32
"""Levels below the document; a rule has nine."""

Path = tuple[str | int, ...]
"""Keys and positions from the document down."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: Final[dict[str, bool | None]] = {
    "true": True, "True": True, "false": False, "False": False, "null": None, "~": None, "": None,
}  # fmt: skip
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Tree:
    """One document.

    Attributes:
        data: dicts, lists, texts, numbers, booleans and None.
        lines: where each part of it begins, from 1.
    """

    def __init__(self, data: Any, lines: dict[Path, int]) -> None:
        self.data = data
        self.lines = lines

    def line(self, path: Path) -> int:
        """Return the line of a part, or of the nearest part around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: bytes) -> Tree:
    """Return the document in a text.

    Raises:
        InvalidField: it is not such a document; the message begins with the line.
        LimitExceeded: it is too large.
    """
    if len(text) > SIZE_BYTES_MAX:
        raise LimitExceeded(f"a configuration has at most {SIZE_BYTES_MAX:,} bytes")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise _problem(line, str(error.problem or error.context)) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _problem(1, "this is not YAML in UTF-8") from None
    return Tree(builder.root, builder.lines)


class _Builder:
    """Puts a document together from the parser's events, without recursion."""

    def __init__(self) -> None:
        self.root: Any = None
        self.lines: dict[Path, int] = {}
        self._open: list[dict[str, Any] | list[Any]] = []
        self._path: list[str | int] = []
        self._key: list[str | None] = []
        """For each open mapping the key whose value comes next; None for sequences."""
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event of the parser."""
        mark: Any = event.start_mark
        line = mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise _problem(line, "aliases (*name) are not taken: write it out")
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _problem(line, "there must be one document only")
        elif isinstance(event, yaml.NodeEvent):
            if event.anchor is not None:
                raise _problem(line, "anchors (&name) are not taken: write it out")
            if getattr(event, "tag", None) is not None:
                raise _problem(line, "tags (!name) are not taken")
            self._take_node(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._key.pop()
            self._close()

    def _take_node(self, event: yaml.NodeEvent, line: int) -> None:
        is_key = bool(self._open) and isinstance(self._open[-1], dict) and self._key[-1] is None
        if is_key:
            if not isinstance(event, yaml.ScalarEvent):
                raise _problem(line, "a key must be a text")
            return self._take_key(event.value, line)
        if isinstance(event, yaml.ScalarEvent):
            self._place(_scalar(event), line)
            self._close()
            return None
        if len(self._open) >= DEPTH_MAX:
            raise _problem(line, f"at most {DEPTH_MAX} levels are taken")
        begun: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._place(begun, line)
        self._open.append(begun)
        self._key.append(None)
        return None

    def _take_key(self, key: str, line: int) -> None:
        around = self._open[-1]
        if key in around:
            before = self.lines[(*self._path, key)]
            raise _problem(line, f"the key {key[:80]!r} is there twice, first in line {before}")
        if key == "<<":
            raise _problem(line, "merge keys (<<) are not taken: write it out")
        self._key[-1] = key
        self.lines[(*self._path, key)] = line

    def _place(self, value: Any, line: int) -> None:
        """Put a value where it belongs; the path then leads to it."""
        if not self._open:
            self.root = value
            self.lines[()] = line
            return
        around = self._open[-1]
        if isinstance(around, dict):
            key = self._key[-1]
            assert key is not None, "a value follows its key"
            around[key] = value
            self._path.append(key)
        else:
            self._path.append(len(around))
            self.lines[tuple(self._path)] = line
            around.append(value)

    def _close(self) -> None:
        """Leave the value that has just ended."""
        if self._open:
            self._path.pop()
            self._key[-1] = None


def _scalar(event: yaml.ScalarEvent) -> Any:
    """Return what a scalar would be in JSON; else its text."""
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


def _problem(line: int, text: str) -> InvalidField:
    return InvalidField(f"line {line}: {text}")
