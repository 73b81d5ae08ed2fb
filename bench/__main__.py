"""`python -m bench`: the micro benchmarks through pytest-benchmark, then the throughput of the whole.

Options: `--only throughput`, `--only micro`; the number of items comes from AFTERWORD_BENCH_N. It
takes a little over a minute.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", choices=["micro", "throughput"])
    only = parser.parse_args().only
    status = 0
    if only != "throughput":
        files = sorted(str(path) for path in HERE.glob("bench_*.py"))
        options = [
            "--benchmark-only", "--benchmark-columns=min,median,ops,rounds",
            "--benchmark-group-by=group", "--benchmark-max-time=0.5", "--benchmark-min-rounds=3", "-q",
        ]  # fmt: skip
        status = int(pytest.main([*options, *files]))
    if only != "micro":
        from bench.bench_throughput import report

        report()
    return status


if __name__ == "__main__":
    sys.exit(main())
