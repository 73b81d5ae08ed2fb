"""The daemon's wheel carries what the daemon reads at run time."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.repository import PRODUCT, ROOT, name_of, own_files


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in the wheel, built from what is under version control, without a network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in own_files():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, target], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(zipfile.ZipFile(next(Path(target).glob("*.whl"))).namelist())


def test_every_file_of_the_product_is_in_the_wheel(contents: set[str]) -> None:
    """Scripts and data as well as code: pyproject.toml, package-data."""
    wanted = {name_of(path) for path in own_files() if path.relative_to(ROOT).parts[0] in PRODUCT}
    assert wanted - contents == set()


def test_nothing_else_is_in_the_wheel(contents: set[str]) -> None:
    tops = {name.partition("/")[0] for name in contents}
    assert {top for top in tops if not top.endswith(".dist-info")} <= {*PRODUCT, "bench"}
