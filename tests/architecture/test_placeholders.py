"""What may stand in a text is told where texts are written: in the API, the help and the documents."""

from __future__ import annotations

import argparse
import re

import pytest

from control.cli import rule_options
from senders.templates import SUBJECT_VARIABLES, TEXT_VARIABLES
from tests.architecture.repository import ROOT

RULES = (ROOT / "proto/afterword/v1/rule_service.proto").read_text(encoding="utf-8")
CONSENTS = (ROOT / "proto/afterword/v1/consent_service.proto").read_text(encoding="utf-8")
FURTHER = set(TEXT_VARIABLES) - set(SUBJECT_VARIABLES)


def named(text: str) -> set[str]:
    return set(re.findall(r"\{\{(\w+)\}\}", text))


def comment_of(source: str, message: str, field: str) -> str:
    """Return the comment of a field of a message."""
    body = source[source.index(f"\nmessage {message} {{") :]
    found = re.search(rf"((?:  //[^\n]*\n)+)  [\w. ]*\b{field} = ", body)
    assert found is not None
    return found[1]


def test_the_api_names_every_placeholder() -> None:
    assert named(comment_of(RULES, "Action", "subject")) == set(SUBJECT_VARIABLES)
    assert named(comment_of(RULES, "Action", "body")) == FURTHER


def test_the_help_names_every_placeholder() -> None:
    parser = argparse.ArgumentParser()
    rule_options.add_rule_options(parser, is_new=True)
    told = {action.dest: action.help or "" for action in parser._actions}
    assert named(told["subject"]) == set(SUBJECT_VARIABLES)
    assert named(told["body"]) == FURTHER


def test_the_documents_name_every_placeholder() -> None:
    for name in ("SENDERS.md", "AUTOMATIONS.md"):
        assert named((ROOT / "docs" / name).read_text(encoding="utf-8")) >= set(TEXT_VARIABLES)


@pytest.mark.parametrize(
    "message", ["GrantConsentRequest", "WithdrawConsentRequest", "RequestConsentRequest"]
)
def test_the_one_purpose_without_a_medium_is_told(message: str) -> None:
    """Every other purpose is refused without one."""
    assert "except for DATA_FORWARDING" in comment_of(CONSENTS, message, "medium")
