"""Reads Lua just well enough to check the house rules for scripts.

Heuristic by design: it knows text, not flow. A script that is right but looks wrong to it is to be
written so that it looks right; the next reader has no better eyes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

SECTIONS = ("Purpose", "KEYS", "ARGV", "Returns", "Atomicity", "Cost")
READ_COMMANDS = (
    "BITCOUNT EXISTS GET GETBIT GETRANGE HEXISTS HGET HGETALL HKEYS HLEN HMGET HSCAN HSTRLEN HVALS "
    "LINDEX LLEN LRANGE MGET OBJECT PTTL SCARD SISMEMBER SMEMBERS SMISMEMBER STRLEN TIME TTL TYPE "
    "XLEN XRANGE ZCARD ZCOUNT ZLEXCOUNT ZMSCORE ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE "
    "ZREVRANGEBYSCORE ZSCAN ZSCORE"
)
READS = frozenset(READ_COMMANDS.split())
KEYLESS = frozenset({"TIME", "PUBLISH"})
ERROR = re.compile(r"redis\.error_reply|return\s*\{\s*err\b|(?<![\w.:])(?:error|assert)\s*\(")
FUNCTION = re.compile(
    r"^(?:local\s+)?(?:function\s+(?P<name>[\w.:]+)|(?P<variable>\w+)\s*=\s*function)\s*\("
    r"(?:[^\n]*\bend[ \t]*$|.*?^end\b)",  # in one line, or down to the `end` at the margin
    re.MULTILINE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Call:
    """One `redis.call` in a script."""

    position: int
    command: str  # "" if it is not written out
    key: str  # the text at the key's position, "" if there is none


class LuaSource:
    """A script or library fragment."""

    def __init__(self, text: str, name: str = "") -> None:
        self.name = name
        self.text = text
        self.lines = text.splitlines()
        self.code = _without_comments(text)
        self._callers = {"redis.call", "redis.pcall", *_aliases(self.code)}

    @classmethod
    def read(cls, path: Path) -> LuaSource:
        return cls(path.read_text(encoding="utf-8"), path.name)

    @property
    def is_library(self) -> bool:
        return bool(self.lines) and self.lines[0].startswith("-- Library:")

    @property
    def is_script(self) -> bool:
        return bool(self.lines) and self.lines[0].startswith("#!lua")

    @property
    def header(self) -> str:
        """The comment at the top, without its dashes."""
        lines = []
        for line in self.lines[1 if self.is_script else 0 :]:
            if not line.startswith("--"):
                break
            lines.append(line.removeprefix("--").strip())
        return "\n".join(lines)

    @property
    def includes(self) -> list[str]:
        return re.findall(r"^-- @include (\S+)", self.text, re.MULTILINE)

    def missing_sections(self) -> list[str]:
        return [
            name for name in SECTIONS if not re.search(rf"^{name}\b", self.header, re.MULTILINE)
        ]

    def calls(self) -> Iterator[Call]:
        callers = "|".join(re.escape(name) for name in sorted(self._callers))
        for match in re.finditer(rf"(?<![\w.:])(?:{callers})\s*\(", self.code):
            arguments = _arguments(self.code, match.end())
            literal = re.fullmatch(r"""['"](\w+)['"]""", arguments[0]) if arguments else None
            command = literal.group(1).upper() if literal else ""
            key = arguments[1] if len(arguments) > 1 and command not in KEYLESS else ""
            yield Call(match.start(), command, key)

    def built_keys(self) -> list[str]:
        """Return what looks like a key that was not declared."""
        found = [
            f"line {self.line_of(call.position)}: {call.key}"
            for call in self.calls()
            if re.search(r"\.\.|['\"]|\bformat\b|\bconcat\b", call.key)
        ]
        found += [
            f"line {self.line_of(match.start())}: {match.group().strip()}"
            for match in re.finditer(
                r"KEYS\[[^\]]*\]\s*\.\.|^.*\b\w*key\w*\s*=.*['\"]aw:.*$", self.code, re.MULTILINE
            )
        ]
        return found

    def functions(self) -> dict[str, tuple[int, int]]:
        """Return the functions that begin at the margin -> where they begin and end."""
        return {
            match.group("name") or match.group("variable"): match.span()
            for match in FUNCTION.finditer(self.code)
        }

    def line_of(self, position: int) -> int:
        return self.code.count("\n", 0, position) + 1


def errors_after_writes(source: LuaSource, libraries: Iterable[LuaSource] = ()) -> list[str]:
    """Return where a script may fail after it has written (E13).

    Calls count for what the called function does, here and in the libraries.
    """
    sources = [*libraries, source]
    writing = _callable_that(sources, _write_positions)
    failing = _callable_that(sources, _error_positions)
    spans = source.functions()
    complaints = []
    for name, (begin, end) in {"": (0, len(source.code)), **spans}.items():
        inner = [span for other, span in spans.items() if not name and other]
        region = _blanked(source.code, begin, end, inner)
        writes = [at for at in _write_positions(source) if _within(at, begin, end, inner)]
        writes += _calls_of(writing - {name}, region)
        errors = [at for at in _error_positions(source) if _within(at, begin, end, inner)]
        errors += _calls_of(failing - {name}, region)
        if writes:
            complaints += [
                f"line {source.line_of(at)}: may fail after the write in line "
                f"{source.line_of(min(writes))}"
                for at in sorted(errors)
                if at > min(writes)
            ]
    return complaints


def _write_positions(source: LuaSource) -> list[int]:
    return [call.position for call in source.calls() if call.command not in READS]


def _error_positions(source: LuaSource) -> list[int]:
    return [match.start() for match in ERROR.finditer(source.code)]


def _callable_that(
    sources: Iterable[LuaSource], positions: Callable[[LuaSource], list[int]]
) -> set[str]:
    """Return the functions that do it themselves or through another one."""
    bodies: dict[str, str] = {}
    found: set[str] = set()
    for source in sources:
        at = positions(source)
        for name, (begin, end) in source.functions().items():
            bodies[name] = _blanked(source.code, begin, end, [])
            if any(begin <= position < end for position in at):
                found.add(name)
    while True:
        more = {name for name, body in bodies.items() if _calls_of(found - {name}, body)} - found
        if not more:
            return found
        found |= more


def _calls_of(names: Iterable[str], region: str) -> list[int]:
    """Return where one of these functions is called; a definition is no call."""
    alternatives = "|".join(re.escape(name) for name in sorted(names))
    if not alternatives:
        return []
    pattern = rf"(?<![\w.:])(?<!function )(?:{alternatives})\s*\("
    return [match.start() for match in re.finditer(pattern, region)]


def _within(at: int, begin: int, end: int, inner: list[tuple[int, int]]) -> bool:
    return begin <= at < end and not any(first <= at < last for first, last in inner)


def _blanked(code: str, begin: int, end: int, inner: list[tuple[int, int]]) -> str:
    """Return the code with everything outside a region, and the inner regions, blank."""
    region = " " * begin + code[begin:end]
    for first, last in inner:
        region = region[:first] + " " * (last - first) + region[last:]
    return region


def _aliases(code: str) -> set[str]:
    """Return local names of redis.call: `local call = redis.call`."""
    found = set()
    for match in re.finditer(r"local\s+([\w, ]+?)\s*=\s*([^\n]+)", code):
        names, values = match.group(1).split(","), match.group(2).split(",")
        for name, value in zip(names, values, strict=False):
            if value.strip() in {"redis.call", "redis.pcall"}:
                found.add(name.strip())
    return found


def _arguments(code: str, start: int) -> list[str]:
    """Return the arguments of the call whose parenthesis opens just before `start`."""
    arguments, depth, quote, begin = [], 0, "", start
    for at in range(start, len(code)):
        character = code[at]
        if quote:
            if character == quote and code[at - 1] != "\\":
                quote = ""
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            if depth == 0:
                arguments.append(code[begin:at].strip())
                break
            depth -= 1
        elif character == "," and depth == 0:
            arguments.append(code[begin:at].strip())
            begin = at + 1
    return arguments


def _without_comments(text: str) -> str:
    """Return the code at its old positions, with comments blank."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group())

    text = re.sub(r"--\[\[.*?\]\]", blank, text, flags=re.DOTALL)
    return re.sub(r"--[^\n]*|^#![^\n]*", blank, text, flags=re.MULTILINE)
