"""`python -m bench`: micro benchmarks through pytest-benchmark, the gate, fairness, the throughput of
the whole.

Options: `--only micro`, `gate`, `fairness` or `throughput`; the number of items comes from
AFTERWORD_BENCH_N. It takes some four minutes.
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
    parser.add_argument("--only", choices=["micro", "gate", "fairness", "throughput"])
    only = parser.parse_args().only
    status = 0
    if only in (None, "micro"):
        files = sorted(str(path) for path in HERE.glob("bench_*.py"))
        options = [
            "--benchmark-only", "--benchmark-columns=min,median,ops,rounds",
            "--benchmark-group-by=group", "--benchmark-max-time=0.5", "--benchmark-min-rounds=3", "-q",
        ]  # fmt: skip
        status = int(pytest.main([*options, *files]))
    if only in (None, "gate"):
        from bench import bench_gate

        bench_gate.report()
    if only in (None, "fairness"):
        from bench import bench_fairness

        bench_fairness.report()
    if only in (None, "throughput"):
        from bench import bench_throughput

        bench_throughput.report()
    return status


if __name__ == "__main__":
    sys.exit(main())
