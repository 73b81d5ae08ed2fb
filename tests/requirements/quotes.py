"""Which tests quote which ids: the rows of rows.toml, rulings, pitfalls and the words of the semantics.

A test quotes an id in its docstring, in the docstring of its class, in its module's docstring if that
reads "Proves: A1, B2-B4", or at either end of its name (`test_a1_r25_...`, `..._b14`). In a name, h, g
and d1 to d9 are those of the semantics: rows D1 to D9 are quoted in docstrings only. "B2-B4" quotes all
three.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.architecture.repository import files_below, name_of

HERE = Path(__file__).resolve().parent

_ID = r"(?:[ABCDER]|[dgh])\d{1,2}"
_QUOTED = re.compile(
    rf"(?<![\w.:/-])(?:(?P<slug>pitfall:[a-z0-9-]+)"
    rf"|(?P<first>{_ID})(?:-(?P<last>{_ID}))?)(?![\w-])"
)
_PROVES = re.compile(r"^Proves: (.*(?:\n(?! *\n).*)*)", re.MULTILINE)
_IN_NAME = re.compile(r"[abcdergh]\d{1,2}")

ROW_COUNTS = {"A": 34, "B": 44, "C": 26, "D": 23}
OTHER_COUNTS = {"R": 49, "E": 24, "d": 9, "g": 10, "h": 10}
"""How many there are of each kind; they are numbered from 1."""


class Test(NamedTuple):
    """A test function and what it quotes."""

    file: str
    name: str
    ids: frozenset[str]

    @property
    def node(self) -> str:
        """What pytest calls it, without parameters."""
        return f"{self.file}::{self.name}"


def table(name: str) -> dict[str, Any]:
    """Return one of the data files: rows, rulings or pitfalls."""
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


def numbered(counts: dict[str, int]) -> list[str]:
    """Return the ids of some kinds, in order."""
    return [f"{kind}{number}" for kind, count in counts.items() for number in range(1, count + 1)]


def known_ids() -> set[str]:
    """Return whatever may be quoted."""
    slugs = {f"pitfall:{slug}" for slug in table("pitfalls")}
    return slugs | set(numbered(ROW_COUNTS)) | set(numbered(OTHER_COUNTS))


def quoted(text: str) -> set[str]:
    """Return the ids in a docstring, ranges spelt out."""
    found: set[str] = set()
    for match in _QUOTED.finditer(text):
        slug, first, last = match.group("slug", "first", "last")
        if slug:
            found.add(slug)
        elif last and first[0] == last[0] and int(first[1:]) <= int(last[1:]):
            found |= {f"{first[0]}{n}" for n in range(int(first[1:]), int(last[1:]) + 1)}
        else:
            found |= {first, last} - {None}
    return found


def quoted_in_name(name: str) -> set[str]:
    """Return the ids at both ends of a test's name."""
    words = name.split("_")[1:]
    found: set[str] = set()
    for row in (words, words[::-1]):
        for word in row:
            if not _IN_NAME.fullmatch(word):
                break
            # There are nine d of the semantics; from d10 on it can only be a row.
            is_small = word[0] in "gh" or (word[0] == "d" and int(word[1:]) <= OTHER_COUNTS["d"])
            found.add(word if is_small else word.upper())
    return found


def quotes_of(file: str, source: str) -> Iterator[Test]:
    """Return the tests of one file."""
    tree = ast.parse(source)
    for_all: set[str] = set()
    for match in _PROVES.finditer(ast.get_docstring(tree) or ""):
        for_all |= quoted(match.group(1))

    def visit(node: ast.Module | ast.ClassDef, prefix: str, inherited: set[str]) -> Iterator[Test]:
        for child in node.body:
            if isinstance(child, ast.ClassDef) and child.name.startswith("Test"):
                told = quoted(ast.get_docstring(child) or "")
                yield from visit(child, f"{prefix}{child.name}::", inherited | told)
            elif isinstance(
                child, ast.FunctionDef | ast.AsyncFunctionDef
            ) and child.name.startswith("test_"):
                told = quoted(ast.get_docstring(child) or "") | quoted_in_name(child.name)
                yield Test(file, f"{prefix}{child.name}", frozenset(inherited | told))

    yield from visit(tree, "", for_all)


def all_tests() -> list[Test]:
    """Return every test of the repository."""
    return [
        test
        for path in files_below("tests", suffix=".py")
        if path.name.startswith("test_")
        for test in quotes_of(name_of(path), path.read_text(encoding="utf-8"))
    ]
