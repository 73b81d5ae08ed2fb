"""How two states of a document are told apart on the command line."""

from __future__ import annotations

from control.cli.audit import difference


def test_a_difference_names_fields_by_path() -> None:
    before = '{"id":"a","update_ms":1,"steps":[{"id":"s","wait":{"days":7}}],"tags":["x","y"]}'
    after = '{"id":"a","update_ms":2,"steps":[{"id":"s","wait":{"days":9}}],"tags":["x"],"n":1}'
    assert difference(before, after) == [
        "  steps[0].wait.days: 7 -> 9", '- tags[1]: "y"', "+ n: 1",
    ]  # fmt: skip
    assert difference("", '{"id":"a","limit":0,"note":"","on":false}') == ["+ limit: 0"]
    assert difference(before, "") == ["removed"]
    assert difference('{"active":true}', '{"active":false}') == ["  active: true -> false"]
