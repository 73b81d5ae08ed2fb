"""What is proved: every row, ruling and pitfall with the tests that quote it and how they went.

Run as `make requirements`, or `python -m tests.requirements.report --help`. Runs the quoted tests once,
as `make test` would. Exit code 1: a test that proves something failed, or a row named after --strict is
not proved in full.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from tests.architecture.repository import ROOT
from tests.requirements.quotes import Test, all_tests, known_ids, quoted, table

PASSED, FAILED, SKIPPED, NOT_RUN = "passed", "FAILED", "skipped", "not run"
MISSING, PARTLY, NO_DUTY = "MISSING", "partly", "no duty"
NAMES_SHOWN = 2


class Recorder:
    """A pytest plugin: the outcome of each test, over all its parameters."""

    def __init__(self) -> None:
        self.exit_code = pytest.ExitCode.OK
        self.outcomes: dict[str, str] = {}
        self.broken_files: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst of what is told of a test; a skip counts only if nothing ran."""
        node = report.nodeid.split("[", 1)[0]
        before = self.outcomes.get(node)
        if report.failed or before == FAILED:
            self.outcomes[node] = FAILED
        elif report.skipped:
            self.outcomes[node] = before or SKIPPED
        elif report.when == "call":
            self.outcomes[node] = PASSED

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember files that could not even be imported."""
        if report.failed:
            self.broken_files.add(report.nodeid.split("::", 1)[0])

    def of(self, test: Test) -> str:
        """Return how a test went."""
        if test.file in self.broken_files:
            return FAILED
        return self.outcomes.get(test.node, NOT_RUN)


def run(tests: Iterable[Test], with_slow: bool) -> Recorder:
    """Run the tests given, in parallel, quietly."""
    recorder = Recorder()
    arguments = [
        "-q", "-n", "auto", "--dist", "loadfile", "--benchmark-disable", "--no-header",
        "--tb=short", f"--rootdir={ROOT}",
    ]  # fmt: skip
    if not with_slow:
        arguments += ["-m", "not slow"]
    left = list(tests)
    while left:
        known_broken = len(recorder.broken_files)
        nodes = [str(ROOT / test.node) for test in left]
        recorder.exit_code = pytest.ExitCode(pytest.main([*arguments, *nodes], plugins=[recorder]))
        if len(recorder.broken_files) == known_broken:
            break
        # Of a file that cannot be imported pytest does not find the tests named, and runs none.
        left = [test for test in left if test.file not in recorder.broken_files]
    return recorder


def result_of(entry: Any, outcomes: Sequence[str]) -> str:
    """Return one word for a row: what is worst about it."""
    fields: Mapping[str, str] = entry if isinstance(entry, dict) else {}
    if "no_duty" in fields:
        return NO_DUTY
    if not outcomes:
        return MISSING
    if FAILED in outcomes:
        return FAILED
    if PASSED not in outcomes:
        return SKIPPED if SKIPPED in outcomes else NOT_RUN
    return PARTLY if "lacks" in fields else PASSED


def names_of(tests: Sequence[Test]) -> str:
    """Return how many tests there are, and the shortest names of them."""
    if not tests:
        return ""
    names = sorted((test.name.rpartition("::")[2].removeprefix("test_") for test in tests), key=len)
    more = f" +{len(names) - NAMES_SHOWN}" if len(names) > NAMES_SHOWN else ""
    return f"{len(tests)}: {', '.join(names[:NAMES_SHOWN])}{more}"


def print_table(
    title: str, entries: Mapping[str, Any], prefix: str, tests: Sequence[Test], recorder: Recorder
) -> dict[str, str]:
    """Print one table; return the result of each of its rows."""
    results: dict[str, str] = {}
    width = max(map(len, entries))
    print(f"\n{title}\n")
    for key, entry in entries.items():
        proofs = [test for test in tests if prefix + key in test.ids]
        result = result_of(entry, [recorder.of(test) for test in proofs])
        results[prefix + key] = result
        fields = entry if isinstance(entry, dict) else {"does": entry}
        print(f"{key:<{width}}  {result:<8} {fields['does']}")
        for line in (names_of(proofs), fields.get("no_duty", "")):
            if line:
                print(f"{'':<{width}}           {line}")
        if "lacks" in fields:
            print(f"{'':<{width}}           lacks: {fields['lacks']}")
        for test in proofs:
            if recorder.of(test) == FAILED:
                print(f"{'':<{width}}           failed: {test.node}")
    counts = Counter(results.values())
    told = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
    print(f"\n{len(results)} {title.lower()}: {told}")
    missing = [key.removeprefix(prefix) for key, result in results.items() if result == MISSING]
    if missing:
        print(f"missing: {' '.join(missing)}")
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.requirements.report")
    parser.add_argument(
        "--strict", nargs="+", default=[], metavar="ROW",
        help="fail if one of these is not proved in full: A1 B2-B9 R25 pitfall:sent-early",
    )  # fmt: skip
    parser.add_argument("--slow", action="store_true", help="run tests marked slow, too")
    parser.add_argument(
        "--list", action="store_true", help="run nothing, only tell who quotes what"
    )
    options = parser.parse_args(arguments)
    strict: set[str] = set()
    for word in options.strict:
        if not (ids := quoted(word)) or ids - known_ids():
            parser.error(f"{word} is not known; say A1, B2-B9, R25 or pitfall:sent-early")
        strict |= ids
    rows, rulings, pitfalls = table("rows"), table("rulings"), table("pitfalls")
    wanted = {*rows, *rulings, *(f"pitfall:{slug}" for slug in pitfalls)}
    tests = [test for test in all_tests() if test.ids & wanted]
    recorder = Recorder() if options.list else run(tests, options.slow)
    results = print_table("Rows", rows, "", tests, recorder)
    results |= print_table("Rulings", rulings, "", tests, recorder)
    results |= print_table("Pitfalls", pitfalls, "pitfall:", tests, recorder)
    return verdict(results, strict, recorder.exit_code)


def verdict(results: Mapping[str, str], strict: Iterable[str], exit_code: pytest.ExitCode) -> int:
    """Say what is wrong, if anything is; return the exit code of the report."""
    failed = [key for key, result in results.items() if result == FAILED]
    unproved = [key for key in in_order(strict) if results.get(key) not in (PASSED, NO_DUTY)]
    is_broken = exit_code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if failed:
        print(f"\nFAILED: {' '.join(failed)}")
    if unproved:
        print(f"\nnot proved in full: {' '.join(unproved)}")
    if is_broken:
        print(f"\nthe tests could not be run: {exit_code!r}")
    return 1 if failed or unproved or is_broken else 0


def in_order(keys: Iterable[str]) -> list[str]:
    """Return ids as people order them: A2 before A10."""
    return sorted(keys, key=lambda key: (key[0], len(key), key))


if __name__ == "__main__":
    sys.exit(main())
