"""The list of what must work is whole, and tests quote only what is on it."""

from __future__ import annotations

import pytest

from tests.requirements.quotes import (
    ROW_COUNTS,
    all_tests,
    known_ids,
    numbered,
    quoted,
    quoted_in_name,
    quotes_of,
    table,
)
from tests.requirements.report import MISSING, NO_DUTY, PARTLY, PASSED, Recorder, result_of, verdict


def test_there_are_exactly_the_rows_that_there_are() -> None:
    rows = table("rows")
    assert list(rows) == numbered(ROW_COUNTS)
    assert len(rows) == 127
    for entry in rows.values():
        assert set(entry) <= {"does", "no_duty", "lacks"}
        assert all(entry.values()), "say it, or leave it out"
    assert list(table("rulings")) == numbered({"R": 49})


def test_every_quoted_id_exists() -> None:
    known = known_ids()
    wrong = {test.node: sorted(test.ids - known) for test in all_tests() if test.ids - known}
    assert wrong == {}


def test_what_is_no_duty_and_what_lacks_says_so_rightly() -> None:
    proved = {id for test in all_tests() for id in test.ids}
    for key, entry in table("rows").items():
        if "no_duty" in entry:
            assert key not in proved, f"{key} is no duty, and yet a test proves it"
        if "lacks" in entry:
            assert key in proved, f"{key} lacks everything: leave `lacks` out"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("A25: one winner (B10, R37).", {"A25", "B10", "R37"}),
        ("R23-R25, h7", {"R23", "R24", "R25", "h7"}),
        ("d1.3 is d1; A1-B2 are two", {"d1", "A1", "B2"}),
        ("pitfall:sent-early and a4, X1, RFC 8058, E1a, A123", {"pitfall:sent-early"}),
    ],
)
def test_ids_are_found_in_docstrings(text: str, ids: set[str]) -> None:
    assert quoted(text) == ids


def test_ids_are_found_at_the_ends_of_names() -> None:
    assert quoted_in_name("test_a1_r25_what_d2_is_due_b14_d1_d14") == {
        "A1", "R25", "B14", "d1", "D14",
    }  # fmt: skip


def test_a_module_speaks_for_its_tests_only_if_it_says_so() -> None:
    source = '''"""About B1.

Proves: A1,
A3.

Also A4.
"""
class TestThis:
    """C1."""
    def test_that(self): "C2"
'''
    (found,) = quotes_of("tests/x.py", source)
    assert found.node == "tests/x.py::TestThis::test_that"
    assert found.ids == {"A1", "A3", "C1", "C2"}


def test_a_row_is_proved_by_a_test_that_ran() -> None:
    assert result_of({"does": "x"}, []) == MISSING
    assert result_of({"does": "x", "no_duty": "y"}, []) == NO_DUTY
    assert result_of({"does": "x"}, ["not run", "passed"]) == PASSED
    assert result_of({"does": "x", "lacks": "y"}, ["passed"]) == PARTLY
    assert result_of({"does": "x"}, ["passed", "FAILED"]) == "FAILED"
    assert result_of({"does": "x"}, ["skipped"]) == "skipped"


def test_the_worst_of_all_parameters_counts() -> None:
    def report(node: str, outcome: str, when: str = "call") -> pytest.TestReport:
        return pytest.TestReport(node, ("f", 1, ""), {}, outcome, None, when)  # type: ignore[arg-type]

    recorder = Recorder()
    for node, outcome in (("f::a[1]", "passed"), ("f::a[2]", "skipped"), ("f::b[x::y]", "failed")):
        recorder.pytest_runtest_logreport(report(node, outcome))
    recorder.pytest_runtest_logreport(report("f::b[2]", "passed"))
    recorder.pytest_runtest_logreport(report("f::c", "passed", "setup"))
    assert recorder.outcomes == {"f::a": "passed", "f::b": "FAILED"}


def test_the_verdict() -> None:
    fine, ran = {"A1": "passed", "A2": MISSING, "A34": NO_DUTY, "B4": PARTLY}, pytest.ExitCode.OK
    assert verdict(fine, [], ran) == 0
    assert verdict(fine, ["A1", "A34"], ran) == 0
    assert verdict(fine, ["A1", "A2"], ran) == 1, "nothing proves A2"
    assert verdict(fine, ["B4"], ran) == 1, "B4 lacks something"
    assert verdict({**fine, "A1": "FAILED"}, [], pytest.ExitCode.TESTS_FAILED) == 1
    assert verdict(fine, [], pytest.ExitCode.USAGE_ERROR) == 1, "what did not run proves nothing"
