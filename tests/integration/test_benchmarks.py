"""Every benchmark runs, on few items: a benchmark that nobody runs rots."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.integration
@pytest.mark.parametrize("file", sorted(path.name for path in BENCH.glob("bench_*.py")))
def test_a_benchmark_runs(file: str) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "--benchmark-disable", "-p", "no:cacheprovider",
            str(BENCH / file),
        ],
        env={**os.environ, "AFTERWORD_BENCH_N": "500"},
        cwd=BENCH.parent,
        capture_output=True,
        text=True,
        timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-1_000:]
