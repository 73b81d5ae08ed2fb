"""Files and functions stay short, and nothing tells where it was written.

The limits are ratchets. What was longer when its limit came is listed with the length it must not
exceed; an entry goes when it is no longer needed, and follows its file or function down.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.architecture.repository import (
    PRODUCT,
    ROOT,
    files_below,
    is_generated,
    is_kernel,
    name_of,
    own_files,
)

KERNEL_FILE_LINES, KERNEL_FUNCTION_LINES = 350, 40
FILE_LINES, FUNCTION_LINES = 400, 60
SLACK = 1.1
"""How far an exception may lie above the present length, so that small edits need no second edit."""

LONG_FILES: dict[str, int] = {
    "core/ports.py": 545,
    "core/timing_wheel/wheel.py": 430,
}
"""File -> lines it may have."""

LONG_FUNCTIONS: dict[str, int] = {}
"""File:function -> lines it may have. Docstrings do not count: the kernels are to have long ones."""


def python_files() -> list[Path]:
    own = files_below(*PRODUCT, "bench", "proto", suffix=".py")
    return [path for path in own if not is_generated(path)]


def function_lengths(path: Path) -> dict[str, int]:
    """Return "file:Class.function" -> lines without decorators and docstring."""
    lengths: dict[str, int] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (child.end_lineno or child.lineno) - child.lineno + 1
                if ast.get_docstring(child, clean=False) is not None:
                    docstring = child.body[0]
                    lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
                name = f"{prefix}{child.name}"
                lengths[name] = max(lines, lengths.get(name, 0))
                visit(child, f"{name}.")
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")
            else:
                visit(child, prefix)

    visit(ast.parse(path.read_text(encoding="utf-8")), f"{name_of(path)}:")
    return lengths


def complaints(
    lengths: dict[str, int], limits: dict[str, int], exceptions: dict[str, int]
) -> list[str]:
    """Return what is too long, and which exceptions are not exact."""
    found = []
    for name, lines in lengths.items():
        ceiling = exceptions.get(name)
        if lines <= limits[name]:
            if ceiling is not None:
                found.append(f"{name}: {lines} lines are within {limits[name]}; drop the exception")
        elif ceiling is None:
            found.append(f"{name}: {lines} lines, at most {limits[name]}")
        elif lines > ceiling:
            found.append(f"{name}: {lines} lines, its exception allows {ceiling}")
        elif ceiling > lines * SLACK:
            found.append(f"{name}: {lines} lines; lower its exception from {ceiling}")
    found += [
        f"{name}: does not exist; drop the exception" for name in exceptions.keys() - lengths.keys()
    ]
    return found


def test_files_are_short() -> None:
    lengths, limits = {}, {}
    for path in python_files():
        name = name_of(path)
        lengths[name] = len(path.read_text(encoding="utf-8").splitlines())
        limits[name] = KERNEL_FILE_LINES if is_kernel(path) else FILE_LINES
    assert not complaints(lengths, limits, LONG_FILES)


def test_functions_are_short() -> None:
    lengths, limits = {}, {}
    for path in python_files():
        limit = KERNEL_FUNCTION_LINES if is_kernel(path) else FUNCTION_LINES
        for name, lines in function_lengths(path).items():
            lengths[name] = lines
            limits[name] = limit
    assert not complaints(lengths, limits, LONG_FUNCTIONS)


def test_a_ratchet_complains_both_ways() -> None:
    limits = dict.fromkeys("abcd", 10)
    assert not complaints({"a": 10, "b": 12}, limits, {"b": 12})
    assert len(complaints({"a": 11}, limits, {})) == 1
    assert len(complaints({"a": 10}, limits, {"a": 12})) == 1
    assert len(complaints({"a": 13}, limits, {"a": 12})) == 1
    assert len(complaints({"a": 11}, limits, {"a": 20})) == 1
    assert len(complaints({}, limits, {"gone": 20})) == 1


# --- nothing tells where it was written ----------------------------------------------------------

PLACES = (
    # Folders of somebody's machine. Spelt in halves, so that this file passes its own test.
    r"(?<![\w.~-])/" + r"(?:root|work|home/\w+|Users/\w+|opt/pypi[\w-]*)/",
    r"(?<![\w.~-])/" + r"tmp/[a-z]",
    # Package registries: the installers know theirs, and it is not ours to choose.
    r"\bpypi\." + r"org\b",
    r"\bpython" + r"hosted\b",
    r"\bregistry\.npm" + r"js\b",
    r"\bdeb\.debian\." + r"org\b",
    r"\bbuf\." + r"build/",
)


def test_no_machine_paths_or_registry_hosts() -> None:
    pattern = re.compile("|".join(PLACES))
    found = []
    for path in own_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{name_of(path)}:{number}: {match.group()}"
            for number, line in enumerate(lines, start=1)
            if (match := pattern.search(line))
        ]
    assert not found


def test_text_files_end_with_one_newline_and_have_no_trailing_blanks() -> None:
    found = []
    for path in own_files():
        if path.suffix not in {".py", ".lua", ".proto", ".md", ".toml", ".yaml", ".yml"}:
            continue
        text = path.read_text(encoding="utf-8")
        if is_generated(path) or not text:
            continue
        if not text.endswith("\n") or text.endswith("\n\n"):
            found.append(f"{name_of(path)}: end of file")
        if path.suffix != ".md" and re.search(r"[ \t]$", text, re.MULTILINE):
            found.append(f"{name_of(path)}: trailing blanks")
    assert not found


def test_the_licence_is_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
