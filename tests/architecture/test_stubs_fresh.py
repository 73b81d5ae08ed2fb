"""The committed stubs are what the `.proto` files generate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT

CLIENT = ROOT / "proto"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    target = tmp_path_factory.mktemp("stubs")
    done = subprocess.run(
        [sys.executable, CLIENT / "generate.py", "--to", target], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return contents(target)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.glob("afterword/**/*_pb2*.py*")
        if "__pycache__" not in path.parts
    }


def test_stubs_are_fresh(generated: dict[str, bytes]) -> None:
    committed = contents(CLIENT)
    assert committed.keys() == generated.keys(), "make proto"
    stale = [name for name, content in generated.items() if committed[name] != content]
    assert not stale, "make proto"


def test_no_stub_needs_googleapis_common_protos(generated: dict[str, bytes]) -> None:
    for name, content in generated.items():
        if not name.startswith("afterword/googleapis/"):
            assert b"from google.type" not in content, name
            assert b"from google.rpc" not in content, name


def test_every_api_file_has_types(generated: dict[str, bytes]) -> None:
    for path in CLIENT.glob("afterword/v1/*.proto"):
        assert f"afterword/v1/{path.stem}_pb2.pyi" in generated
    assert (CLIENT / "afterword" / "py.typed").is_file()
