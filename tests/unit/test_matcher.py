"""Which rules an event sets off, and what Explain is told about it (R42)."""

from __future__ import annotations

from typing import Any

from core.model import Contact, Event, Family, Item, Medium, Money, Order, Purpose
from core.registry.resources import Rule
from core.registry.rule_parts import Action, Condition, Step, Wait
from core.rules.matcher import Evaluation, Matcher, evaluate


def rule(id: str, tree: list[Any] | None = None) -> Rule:
    return Rule(
        account="shop", id=id, family=Family.NOTIFICATION, purpose=Purpose.TRANSACTIONAL,
        event_type="checkout", steps=[Step("s", Wait(days=1), [Action(Medium.EMAIL)])],
        condition=Condition("", tree) if tree else None,
    )  # fmt: skip


ORDER = Order("7", "paid", Money("PLN", 99), items=[Item("a"), Item("b")])
EVENT = Event("1", "", "checkout", "c", 0, Contact(), ORDER, attributes={"vip": True, "m": {}})
PAID = ["call", "eq", ["field", "order", "status"], ["const", "paid"]]
OPEN = ["call", "eq", ["field", "order", "status"], ["const", "open"]]
UNTOLD = ["call", "dyn_eq", ["attribute", "nope"], ["const", True]]


def ids(rules: list[Rule]) -> list[str]:
    return [one.id for one in rules]


def test_a_rule_without_condition_always_passes() -> None:
    passed, errored = Matcher([rule("a"), rule("b")]).match(EVENT)
    assert (ids(passed), errored) == (["a", "b"], [])
    assert Matcher([]).match(EVENT) == ([], [])


def test_rules_come_back_in_their_order_and_errors_apart_r42() -> None:
    matcher = Matcher(
        [rule("z"), rule("err", UNTOLD), rule("no", OPEN), rule("yes", PAID), rule("a")]
    )
    passed, errored = matcher.match(EVENT)
    assert ids(passed) == ["z", "yes", "a"]
    assert ids(errored) == ["err"]


def test_evaluate_tells_what_was_read() -> None:
    tree = [
        "call", "and", PAID,
        ["call", "ge", ["field", "order", "amount"], ["const", 50.0]],
        ["has", "order", "currency"],
        ["exists", ["field", "order", "items"], ["call", "eq", ["field", 0, "sku"], ["const", "b"]]],
        ["call", "dyn_eq", ["attribute", "vip"], ["const", True]],
        ["call", "eq", ["field", "event", "cart", "total", "units"], ["const", 0]],
    ]  # fmt: skip
    assert evaluate(rule("r", tree), EVENT) == Evaluation(
        True,
        None,
        {
            "order.status": "paid",
            "order.amount": 99.0,
            "has(order.currency)": True,
            "order.items": 2,
            "event.attributes.vip": True,
            "event.cart.total.units": 0,
        },
    )


def test_evaluate_tells_why_a_condition_erred_r42() -> None:
    assert evaluate(rule("r", UNTOLD), EVENT) == Evaluation(False, "no such key: 'nope'", {})
    told = ["has_attribute", "m", "k"]
    assert evaluate(rule("r", told), EVENT) == Evaluation(
        False, None, {"has(event.attributes.m.k)": False}
    )


def test_evaluate_shows_times_as_text_and_leaves_messages_out() -> None:
    tree = [
        "call", "or",
        ["call", "gt", ["field", "event", "occur_time"], ["timestamp", 0, 0]],
        ["call", "dyn_eq", ["field", "order"], ["field", "event", "order"]],
        ["call", "eq", ["field", "event", "activation_date", "year"], ["const", 2024]],
        ["call", "dyn_eq",
         ["select", ["call", "index", ["field", "order", "items"], ["const", 0]], "sku"],
         ["const", "a"]],
        ["exists", ["call", "elements", ["attribute", "m"]], ["call", "dyn_eq", ["field", 0],
                                                              ["bytes", "00"]]],
    ]  # fmt: skip
    assert evaluate(rule("r", tree), EVENT).fields == {
        "event.occur_time": "1970-01-01T00:00:00Z",
        "event.activation_date.year": 0,
        "order.items": 2,
        "event.attributes.m": {},
    }


def test_evaluate_of_no_condition() -> None:
    assert evaluate(rule("r"), EVENT) == Evaluation(True, None, {})
