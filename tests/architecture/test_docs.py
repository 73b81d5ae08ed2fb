"""The documents tell what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT, name_of, own_files
from tests.architecture.test_makefile import TARGETS

KEYSPACE = ROOT / "docs" / "KEYSPACE.md"
FAMILY_ROW = re.compile(r"^\| *`([a-z_]+)` *\| *`(aw:[^`]+)` *\|", re.MULTILINE)
DOCUMENTS = [path for path in own_files() if path.suffix == ".md"]


def test_keyspace_names_exactly_the_families() -> None:
    """Each family has one table row: | `name` | `pattern` | ... |."""
    from core.redis_keys import FAMILIES

    rows = FAMILY_ROW.findall(KEYSPACE.read_text(encoding="utf-8"))
    assert len(rows) == len(set(rows)), "a family is listed twice"
    assert dict(rows) == FAMILIES


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:|#", target):
            continue
        assert (path.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_make_targets_named_in_documents_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z][\w-]*)", text))
    named |= set(re.findall(r"^ *(?:\$ )?make ([a-z][\w-]*)", text, re.MULTILINE)) & set(
        re.findall(r"make ([a-z][\w-]*)", "".join(re.findall(r"```.*?```", text, re.DOTALL)))
    )
    assert named <= set(TARGETS)
