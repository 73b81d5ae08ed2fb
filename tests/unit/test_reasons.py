"""The published reasons: every one has words, a gate and a way to come about, and the vendor's are all
among them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from afterword.v1 import invitation_service_pb2 as pb2
from core.engine.explain_parts import DUE_GATES, GATE_OF, STAGES, Gate, Verdict
from core.engine.explain_texts import SUMMARIES
from core.model import Reason, State, WaitReason

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "EXPLAIN.md").read_text(encoding="utf-8")

VENDOR = """
INVALID_TEMPLATE RENDERING_ERROR INVALID_RECIPIENT_EMAIL TEMPORARY_RECIPIENT_ERROR
REPORTED_AS_SPAM_SENDER REPORTED_AS_SPAM_RECIPIENT REPORTED_AS_SPAM_CONTENT
REPORTED_AS_SPAM_FREQUENCY PROVIDER_ERROR DELAYED RECIPIENT_UNSUBSCRIBED
RECIPIENT_BLACKLISTED_PROVIDER RECIPIENT_BLACKLISTED_ACCOUNT RECIPIENT_BLACKLISTED_CHANNEL
RECIPIENT_BLACKLISTED_EMAIL BLACKLISTED_DOMAIN DUPLICATE INVITE_SENDING_SUSPENDED_BY_EMPLOYEE
INVITE_SENDING_SUSPENDED_BY_CUSTOMER INTERNAL_ERROR BLOCKED_BY_CONSUMER
"""
"""What the API that shops know today gives as reasons (semantics, section 3)."""

RESERVED = {
    "INVALID_TEMPLATE": "templates are checked when a rule is saved, so none is wrong when due",
}
"""Reasons that nothing gives yet."""


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the document."""
    _, _, after = DOCUMENT.partition(f"## {heading}\n")
    section = after.partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_published_with_words_and_a_gate(reason: Reason) -> None:
    """R9: one enumeration, the same numbers inside and out."""
    name = "REASON_UNSPECIFIED" if reason is Reason.NONE else f"REASON_{reason.name}"
    assert pb2.Invitation.Reason.Value(name) == reason
    assert GATE_OF[reason] in STAGES
    assert reason is Reason.NONE or SUMMARIES[reason].startswith(("not ", "handed over"))


def test_no_published_reason_is_unknown_inside() -> None:
    assert set(pb2.Invitation.Reason.values()) == {int(reason) for reason in Reason}
    assert set(pb2.Invitation.WaitReason.values()) == {int(wait) for wait in WaitReason}


def test_states_are_those_of_the_ruling() -> None:
    """R8: deferred, held and waiting for volume are SCHEDULED; opened, clicked, reviewed are times."""
    names = (
        "SCHEDULED IN_FLIGHT SENT DELIVERED NOT_DELIVERED SKIPPED CANCELLED EXPIRED FAILED UNKNOWN"
    )
    assert [state.name for state in State][1:] == names.split()
    published = {name.removeprefix("STATE_"): n for name, n in pb2.Invitation.State.items()}
    assert published == {state.name: state.value for state in State}


def test_gates_and_answers_have_the_same_numbers_in_the_api() -> None:
    """R10."""
    assert {
        name.removeprefix("GATE_"): number for name, number in pb2.ExplainResponse.Gate.items()
    } == {gate.name: gate.value for gate in Gate}
    names = pb2.ExplainResponse.Verdict.items()
    assert {name.removeprefix("VERDICT_"): number for name, number in names} == {
        verdict.name: verdict.value for verdict in Verdict
    }


def test_gates_stand_in_the_order_of_the_ruling() -> None:
    """R10: rule and type state, stops, expiry, identity and address, medium, feature, entitlement,
    suppression, consent, condition, windows and quiet hours, caps."""
    wanted = [
        Gate.STATE, Gate.STOPS, Gate.EXPIRY, Gate.ADDRESS, Gate.MEDIUM, Gate.FEATURES,
        Gate.ENTITLEMENT, Gate.SUPPRESSION, Gate.CONSENT, Gate.CONDITION, Gate.HOURS, Gate.CAPS,
    ]  # fmt: skip
    assert [gate for gate in DUE_GATES if gate in wanted] == wanted


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.NONE])
def test_every_reason_can_come_about_or_is_reserved(reason: Reason) -> None:
    """R9: something gives it, in Python or in a script."""
    given = re.compile(rf"\bReason\.{reason.name}\b")
    told = {"explain_parts.py", "explain_texts.py", "model.py", "explain_then.py"}
    givers = [
        path
        for folder in ("core", "senders", "control")
        for path in (ROOT / folder).rglob("*.py")
        if path.name not in told and given.search(path.read_text(encoding="utf-8"))
    ]
    assert bool(givers) != (reason.name in RESERVED), "reserved, and only what nothing gives"


def test_reserved_reasons_say_why() -> None:
    assert all(f"`{name}`" in DOCUMENT for name in RESERVED)


def test_every_reason_of_the_vendor_maps_to_one_of_ours() -> None:
    """R9: "beside them the vendor's delivery reasons"."""
    mapped = {row[0].strip("`"): row[1] for row in rows("From other systems")}
    assert set(mapped) == set(VENDOR.split())
    for ours in mapped.values():
        named = re.findall(r"`(\w+)`", ours)
        assert named
        assert all(name in Reason.__members__ | WaitReason.__members__ for name in named)


def test_the_document_lists_every_reason_with_its_gate() -> None:
    listed = {row[0].strip("`"): row[1] for row in rows("Reasons")}
    assert listed == {
        reason.name: STAGES[GATE_OF[reason]] for reason in Reason if reason is not Reason.NONE
    }
