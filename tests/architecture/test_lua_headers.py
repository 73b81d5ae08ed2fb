"""Every Lua file says what it does, declares its keys and cannot stop half-way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.lua_source import LuaSource, errors_after_writes
from tests.architecture.repository import files_below, name_of

FILES = [path for path in files_below("core", suffix=".lua") if path.parent.name == "lua"]
SOURCES = {path: LuaSource.read(path) for path in FILES}
SCRIPTS = [path for path in FILES if not SOURCES[path].is_library]
LIBRARIES = [source for source in SOURCES.values() if source.is_library]
scripts = pytest.mark.parametrize("path", SCRIPTS, ids=name_of)


def test_there_are_scripts() -> None:
    assert SCRIPTS


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_first_line_tells_script_from_library(path: Path) -> None:
    assert SOURCES[path].is_script or SOURCES[path].is_library


@scripts
def test_header_has_every_section(path: Path) -> None:
    assert not SOURCES[path].missing_sections()


@scripts
def test_header_names_keys_by_their_family(path: Path) -> None:
    from core.redis_keys import FAMILIES

    named = re.findall(r"aw:[^\s,;)`]+[^\s,;)`.:]", SOURCES[path].header)
    assert set(named) <= set(FAMILIES.values())


@scripts
def test_includes_exist(path: Path) -> None:
    for name in SOURCES[path].includes:
        included = (path.parent / f"{name}.lua").resolve()
        assert included in SOURCES, name
        assert SOURCES[included].is_library, name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_key_is_built_inside(path: Path) -> None:
    assert not SOURCES[path].built_keys()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_fails_after_the_first_write(path: Path) -> None:
    others = [library for library in LIBRARIES if library is not SOURCES[path]]
    assert not errors_after_writes(SOURCES[path], others)


# --- the checks themselves -----------------------------------------------------------------------

GOOD = """#!lua name=example
-- Purpose: shows the form.
-- KEYS[1] aw:{t}:meta, hash
-- ARGV[1] now_ms, epoch ms
-- Returns: 1
-- Atomicity: all or nothing.
-- Cost: O(1).
local call = redis.call
local function put(key, value) -- redis.error_reply in a comment is no error
  if value then
    key = key
  end
  call('HSET', key, 'a' .. 'b', value)
end
local function twice(x) return x * 2 end
if call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return redis.error_reply('STALE')
end
put(KEYS[1], ARGV[1])
return 1
"""


def test_the_good_example_passes() -> None:
    source = LuaSource(GOOD)
    assert source.is_script
    assert source.missing_sections() == []
    assert source.built_keys() == []
    assert errors_after_writes(source) == []


def test_a_missing_section_is_found() -> None:
    assert LuaSource(GOOD.replace("-- Cost:", "-- Price:")).missing_sections() == ["Cost"]


def test_functions_end_where_they_end() -> None:
    source = LuaSource(GOOD)
    ends = {name: source.line_of(end) for name, (_, end) in source.functions().items()}
    assert ends == {"put": 14, "twice": 15}


@pytest.mark.parametrize(
    "line",
    [
        "redis.call('GET', 'aw:' .. ARGV[1])",
        "redis.call('GET', KEYS[1] .. ':x')",
        "call('DEL', string.format('%s:x', KEYS[1]))",
        "redis.call('GET', 'literal')",
        "local slot_key = 'aw:{t}:slot:1'",
    ],
)
def test_a_built_key_is_found(line: str) -> None:
    assert LuaSource(GOOD + line).built_keys()


@pytest.mark.parametrize(
    "line",
    [
        "if x then return redis.error_reply('LATE') end",
        "return {err = 'LATE'}",
        "error('late')",
        "check(1)",
    ],
)
def test_an_error_after_a_write_is_found(line: str) -> None:
    library = LuaSource("-- Library: checks.\nlocal function check(x)\n  assert(x)\nend\n")
    assert errors_after_writes(LuaSource(GOOD.replace("return 1", line)), [library])
