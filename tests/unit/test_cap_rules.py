"""From configured caps to what the gate applies: steps, subjects, products, and what can be counted."""

from __future__ import annotations

from typing import Any

import pytest

from core.bounds import CAP_LIMITS_MAX, CONTACT_STAMPS_MAX, DAY_MS
from core.gate import CapRule
from core.model import Medium, Purpose
from core.records import BY_HAND
from core.registry.cap_rules import (
    MessageCaps,
    VolumeRule,
    cap_rule,
    caps_of,
    product_ledger_of,
    product_rule,
    said_of_caps,
    stamps_needed,
    volume_ledger_of,
)
from core.registry.resources import Cap, CapScope, CapSubject, CapUnit
from core.registry.rule_parts import Action, OnCap, Step, Wait


def cap(id: str = "a", **fields: Any) -> Cap:
    values: dict[str, Any] = {
        "scope": CapScope.ACCOUNT, "limit": 1, "window_ms": DAY_MS, "number": 7,
    }  # fmt: skip
    return Cap(account="shop", id=id, **{**values, **fields})


def step(**fields: Any) -> Step:
    actions = [Action(medium=Medium.EMAIL)]
    return Step(id="s", wait=Wait(elapsed_ms=0), actions=actions, **fields)


def looked_at(
    *found: Cap, said: Step | None = None, purpose: int = Purpose.REVIEW, rule_number: int = 3
) -> MessageCaps:
    return caps_of(found, 1, rule_number, purpose, Medium.EMAIL, False, said)


def on_cap(rule: CapRule) -> str:
    return "skip" if rule.is_skip else "replace" if rule.is_replace else "defer"


@pytest.mark.parametrize(
    ("by_cap", "by_step", "purpose", "expected"),
    [
        (OnCap.BY_PURPOSE, OnCap.BY_PURPOSE, Purpose.REVIEW, "defer"),
        (OnCap.BY_PURPOSE, OnCap.BY_PURPOSE, Purpose.MARKETING, "skip"),
        (OnCap.DEFER, OnCap.BY_PURPOSE, Purpose.MARKETING, "defer"),
        (OnCap.REPLACE, OnCap.BY_PURPOSE, Purpose.MARKETING, "replace"),
        (OnCap.DEFER, OnCap.SKIP, Purpose.REVIEW, "skip"),
        (OnCap.SKIP, OnCap.DEFER, Purpose.MARKETING, "defer"),
        (OnCap.SKIP, OnCap.REPLACE, Purpose.REVIEW, "replace"),
    ],
)
def test_step_goes_over_cap_and_cap_over_purpose(
    by_cap: OnCap, by_step: OnCap, purpose: int, expected: str
) -> None:
    """R28, h6."""
    rule = cap_rule(cap(on_cap=by_cap), b"aaaa", purpose, step(on_cap=by_step))
    assert on_cap(rule) == expected


def test_exempt_counts_and_not_counted_is_checked() -> None:
    """R24."""
    (exempt,) = looked_at(cap(), said=step(exempt_from_caps=["a"])).gate
    assert (exempt.is_checked, exempt.is_counted) == (False, True)
    (quiet,) = looked_at(cap(), said=step(not_counted_by_caps=["a"])).gate
    assert (quiet.is_checked, quiet.is_counted) == (True, False)
    neither = step(exempt_from_caps=["a"], not_counted_by_caps=["a"])
    assert looked_at(cap(), said=neither).gate == ()
    (other,) = looked_at(cap("b"), said=neither).gate
    assert (other.is_checked, other.is_counted) == (True, True)


def test_caps_of_a_medium_also_count_per_address() -> None:
    """R4: those of the scope MEDIUM and those for chosen media; nothing is replaced there."""
    found = looked_at(
        cap("a"), cap("b", scope=CapScope.MEDIUM, on_cap=OnCap.REPLACE),
        cap("c", media=[Medium.EMAIL]), cap("d", media=[Medium.SMS]),
    )  # fmt: skip
    assert [one.id for one in found.caps] == ["a", "b", "c"]
    assert [one.ledger for one in found.address] == [one.ledger for one in found.gate[1:]]
    assert found.gate[1].is_replace
    assert not found.address[0].is_replace


def test_a_volume_limit_is_no_business_of_the_gate() -> None:
    """R29."""
    limit = cap(subject=CapSubject.ALL_CONTACTS, limit=1_000_000, scope=CapScope.CHANNEL)
    found = looked_at(limit)
    assert (found.gate, found.is_blocked) == ((), False)
    assert found.volumes == (VolumeRule(volume_ledger_of(limit, 1), 1_000_000, DAY_MS),)
    assert looked_at(limit, said=step(exempt_from_caps=["a"])).volumes == ()
    assert looked_at(cap(subject=CapSubject.ALL_CONTACTS, limit=0)).is_blocked


def test_ledgers_of_volume_limits_differ_among_all_there_are() -> None:
    """They have no contact to tell them apart: caps, channels, and a cap whose scope was changed."""
    caps = [cap(number=number, scope=scope) for number in (1, 2, 256) for scope in CapScope]
    ledgers = {volume_ledger_of(one, value) for one in caps for value in (0, 1, 256)}
    assert len(ledgers) == len(caps) * 3


def test_a_product_has_a_ledger_of_its_own_and_looks_again() -> None:
    """R28."""
    limit = cap(scope=CapScope.PRODUCT, unit=CapUnit.ORDER)
    assert looked_at(limit).gate == ()
    assert looked_at(limit).products == (limit,)
    rule = product_rule(limit, "mug", step(on_cap=OnCap.SKIP))
    assert (rule.looks_again, rule.is_order_unit, rule.is_skip) == (True, True, False)
    assert rule.ledger == product_ledger_of(limit, "mug") != product_ledger_of(limit, "pan")


def test_caps_per_rule_do_not_look_at_what_was_made_by_hand() -> None:
    """R45: and a full cap defers it, whatever the purpose, unless it says otherwise."""
    per_rule = cap("r", scope=CapScope.RULE)
    volume = cap("v", scope=CapScope.RULE, subject=CapSubject.ALL_CONTACTS)
    by_hand = looked_at(
        per_rule, volume, cap("a"), cap("s", on_cap=OnCap.SKIP), purpose=Purpose.MARKETING,
        rule_number=BY_HAND,
    )  # fmt: skip
    assert [(one.id, on_cap(rule)) for one, rule in zip(by_hand.caps, by_hand.gate, strict=True)] == [
        ("a", "defer"), ("s", "skip"),
    ]  # fmt: skip
    assert by_hand.volumes == ()


def test_the_sum_of_limits_is_that_of_the_ledgers_of_one_contact() -> None:
    """A31: what must be counted exactly, see `core.bounds.CAP_LIMITS_MAX`."""
    assert stamps_needed([cap(limit=5), cap(limit=None), cap(limit=0)]) == 5
    assert stamps_needed([cap(limit=5, scope=CapScope.MEDIUM)]) == 20
    assert stamps_needed([cap(limit=5, scope=CapScope.MEDIUM, media=[Medium.SMS])]) == 5
    assert stamps_needed([cap(limit=5, scope=CapScope.PURPOSE)]) == 10
    assert stamps_needed([cap(limit=5, subject=CapSubject.ALL_CONTACTS)]) == 0
    assert CAP_LIMITS_MAX < CONTACT_STAMPS_MAX


def test_a_step_that_says_nothing_of_caps_shares_what_was_worked_out() -> None:
    assert said_of_caps(step()) == said_of_caps(None) == ()
    said = {
        said_of_caps(step(exempt_from_caps=["a"])),
        said_of_caps(step(not_counted_by_caps=["a"])),
        said_of_caps(step(on_cap=OnCap.SKIP)),
        said_of_caps(step(exempt_from_caps=["a"], on_cap=OnCap.SKIP)),
    }
    assert len(said) == 4
