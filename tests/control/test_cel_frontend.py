"""What conditions are taken, how others are refused, and what is warned about (R42, R21, h8)."""

from __future__ import annotations

from functools import reduce

import msgspec
import pytest

from control.cel_errors import FIELD
from control.cel_frontend import ConditionFrontend
from core.bounds import EXPRESSION_CHARS_MAX
from core.errors import ExpressionInvalid
from core.model import Family
from core.rules.lowering import compile_fused


@pytest.fixture(scope="module")
def frontend() -> ConditionFrontend:
    return ConditionFrontend()


def refusal(frontend: ConditionFrontend, source: str, family: Family = Family.NOTIFICATION) -> str:
    with pytest.raises(ExpressionInvalid) as caught:
        frontend.compile(source, family)
    assert caught.value.field == FIELD
    assert caught.value.reason == "EXPRESSION_INVALID"
    return caught.value.message


@pytest.mark.parametrize(
    ("source", "tree"),
    [
        (
            'order.status == "paid"',
            ["call", "eq", ["field", "order", "status"], ["const", "paid"]],
        ),
        (
            "event.order.amount >= 100.0",
            ["call", "ge", ["field", "order", "amount"], ["const", 100.0]],
        ),
        ("has(event.order)", ["has", "event", "order"]),
        (
            "event.attributes['vip'] == true && has(event.attributes['a b'].c)",
            [
                "call", "and", ["call", "dyn_eq", ["attribute", "vip"], ["const", True]],
                ["has_attribute", "a b", "c"],
            ],
        ),
        (
            'order.items.exists(i, "x" in i.tags)',
            ["exists", ["field", "order", "items"],
             ["call", "in", ["const", "x"], ["field", 0, "tags"]]],
        ),
        (
            "order.items.all(i, i.tags.exists(t, t == i.sku))",
            ["all", ["field", "order", "items"],
             ["exists", ["field", 0, "tags"], ["call", "eq", ["field", 1], ["field", 0, "sku"]]]],
        ),
        (
            "review.kind == Review.Kind.KIND_PRODUCT",
            ["call", "eq", ["field", "review", "kind"], ["const", 2]],
        ),
    ],
)  # fmt: skip
def test_conditions_and_their_trees(
    frontend: ConditionFrontend, source: str, tree: list[object]
) -> None:
    condition = frontend.compile(source, Family.NOTIFICATION)
    assert condition.source == source
    assert condition.tree == tree
    assert msgspec.json.decode(msgspec.json.encode(condition.tree)) == tree
    compile_fused([condition.tree])


def test_a_long_row_of_alternatives_is_not_deep(frontend: ConditionFrontend) -> None:
    source = " || ".join(f'order.reference == "{n}"' for n in range(120))
    condition = frontend.compile(source, Family.NOTIFICATION)
    assert len(condition.tree) == 2 + 120


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("order.amount > 100", r"line 1, column 14: .*\(double, int\).*as in 100\.0"),
        ('order.status == "a" &&\n  order.status == 1', r"line 2, column 16: .*same type"),
        ("orders.status == 1", r"line 1, column 7: .*'orders.status'.*variables are event, contact"),
        ("fetch(1)", r"column 6: .*functions are has, size"),
        ("order.sum > 1.0", r"column 6: undefined field 'sum'.*reference, status, total, items, amount"),
        ("order.status ==", r"line 1, column 16: Syntax error.*looks like order.status"),
        ('order.status = "x"', "column 14: .*compare with =="),
        ('order.status == "x" and true', "column 21: .*combine with &&"),
        ("", "line 1, column 1: Syntax error"),
        ("has(order)", r"has\(order.total\) asks"),
        ("order.status", "column 6: a condition is a bool, but it is of type string"),
        ("event.attributes.vip", "a bool, but its type is known only when it runs; .*== true"),
        ('"żółć" == string(1)', "line 1, column 17: the function `string`"),
    ],
)  # fmt: skip
def test_errors_tell_place_and_what_would_be_right(
    frontend: ConditionFrontend, source: str, message: str
) -> None:
    with pytest.raises(ExpressionInvalid, match=message):
        frontend.compile(source, Family.NOTIFICATION)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("order.items.map(i, i.sku) == ['a']", "the macro `map` is not supported yet"),
        ("order.items.map(i, true, i.sku) == ['a']", "the macro `map` is not supported yet"),
        ("order.items.filter(i, true).size() > 0", "the macro `filter` is not supported yet"),
        ("order.items.exists_one(i, true)", "the macro `exists_one` is not supported yet"),
        ("event.attributes.l.exists(x, x == 1)", "`exists` over event.attributes"),
        ("event.type.matches('a.*')", "the function `matches` is not supported yet"),
        ("int(event.attributes.n) > 1", "the function `int` is not supported yet"),
        ("type(1) == int", "the function `type` is not supported yet"),
        ("dyn(1) == 1", "the function `dyn` is not supported yet"),
        ("duration('3s') > duration('2s')", "the function `duration` is not supported yet"),
        ("order.items[0].sku == 'a'", "an index into a list"),
        ("event.attributes[event.type] == 1", "an index other than a literal string"),
        ("1u < 2u", "a literal of type uint"),
        ("b'a' == b'b'", "a literal of type bytes"),
        ("1e400 > 1.0", "too large"),
        ("order == order", "a message as a value"),
        ("order.total == null", r"a message as a value.*use has\(\)"),
        ("order.items == cart.items", "a list of messages as a value"),
        ("event.attributes == {}", "a map as a value"),
        ("{'a': 1}['a'] == 1", "a map literal"),
        ("Item{sku: 'a'}.sku == 'a'", "making a message"),
        ("(true ? order : order).status == 'a'", "a message as a value"),
        ("contact.address.lines + ['x'] == []", "joining lists"),
        ("has(event.attributes)", r"`has\(event.attributes\)`"),
        (
            "event.channel == 'x'",
            "`event.channel` cannot be used.*activate the rule on the channels",
        ),
        ("event.consents.exists(c, c.given)", "`event.consents` cannot be used"),
        ("event.occur_time == event.occur_time", "`event.occur_time` cannot .*times and dates"),
        ("has(event.activation_date)", "`event.activation_date` cannot .*times and dates"),
        ("order.order_time == order.order_time", "`order.order_time` cannot"),
        ("shipment.delivery_time == shipment.promised_time", "`shipment.delivery_time` cannot"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    frontend: ConditionFrontend, source: str, name: str
) -> None:
    with pytest.raises(ExpressionInvalid, match=rf"line 1, column \d+: .*{name}"):
        frontend.compile(source, Family.NOTIFICATION)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("true" + " " * EXPRESSION_CHARS_MAX, "4,100 characters; up to 4,096"),
        ("(" * 40 + "true" + ")" * 40, "nested too deep; up to 32"),
        ("1" + " + 1" * 40 + " > 0", "nested too deep"),
        ("1" + " + 1" * 900 + " > 0", "nested too deep"),
        ("event.attributes" + ".a" * 80 + " == 1", "nested too deep"),
        ("order.items.exists(i, order.items.exists(j, i.sku == j.sku))", "steps; up to 50,000"),
        (f"{reduce(lambda text, _: f'({text}+{text})', range(8), 'event.id')} == ''", "steps"),
    ],
)
def test_bounds(frontend: ConditionFrontend, source: str, message: str) -> None:
    assert message in refusal(frontend, source)


# --- review families (h8, R21) -------------------------------------------------------------------


@pytest.mark.parametrize("family", [Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW])
@pytest.mark.parametrize(
    "source",
    [
        "review.rating > 3",
        "event.review.rating > 3",
        "has(review.rating)",
        "event.attributes.rating == 5",
        "event.attributes.reviewScore > 3",
        "event.attributes['nps'] > 7",
        "event.attributes.survey.star_count > 3",
        "has(event.attributes.open_complaint)",
        "'sentiment' in event.attributes",
    ],
)
def test_review_families_may_not_look_at_ratings_h8(
    frontend: ConditionFrontend, family: Family, source: str
) -> None:
    assert "everybody has to be asked alike" in refusal(frontend, source, family)
    frontend.compile(source, Family.AUTOMATION)


@pytest.mark.parametrize(
    "source",
    [
        "order.status == 'paid'",
        "contact.country in ['PL', 'DE']",
        "order.items.exists(i, i.category == 'shoes')",
        "event.attributes.restart == true",
        "review.has_comment",
    ],
)
def test_review_families_may_look_at_facts_of_the_order_h8(
    frontend: ConditionFrontend, source: str
) -> None:
    condition = frontend.compile(source, Family.SERVICE_REVIEW)
    assert frontend.warnings(condition, Family.SERVICE_REVIEW) == []


def test_the_worth_of_an_order_is_a_grey_zone_for_reviews_h8(frontend: ConditionFrontend) -> None:
    condition = frontend.compile(
        "order.currency == 'EUR' && order.amount > 50.0", Family.SERVICE_REVIEW
    )
    [warning] = frontend.warnings(condition, Family.SERVICE_REVIEW)
    assert "grey zone" in warning
    assert frontend.warnings(condition, Family.AUTOMATION) == []


# --- warnings (R42) ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("order.amount > 50.0", ["order.amount is compared without"]),
        ("order.currency == 'EUR' && order.amount > 50.0", []),
        ("order.amount > 50.0 && order.currency in ['EUR', 'USD']", []),
        (
            "order.currency != 'EUR' && order.amount > 50.0",
            ["order.amount is compared without"],
        ),
        ("order.currency != 'EUR' || order.amount > 50.0", ["order.currency may"]),
        ("cart.currency == 'EUR' && order.amount > 50.0", ["order.amount is compared without"]),
        ("order.total.currency_code == 'EUR' && order.amount > 50.0", []),
        ("(order.currency == 'EUR' ? order.amount > 50.0 : false)", []),
        ("order.items.exists(i, i.price.units > 50)", ["units is compared without"]),
        ("order.items.exists(i, i.price.currency_code == 'EUR' && i.price.units > 50)", []),
    ],
)
def test_an_amount_without_a_currency_test_warns_r42(
    frontend: ConditionFrontend, source: str, names: list[str]
) -> None:
    check_warnings(frontend, source, names)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("order.status != 'test'", ["order.status may be unset"]),
        ("!(order.status == 'test')", ["order.status may be unset"]),
        ("order.status == 'paid'", []),
        ("has(event.order) && order.status != 'test'", []),
        ("has(order.status) && order.status != 'test'", []),
        ("order.status != 'test' && has(order.total)", []),
        ("!has(event.order) || order.status != 'test'", []),
        ("has(event.cart) && order.status != 'test'", ["order.status may be unset"]),
        ("order.currency == 'EUR' && order.amount < 50.0", []),
        ("order.currency == 'EUR' && cart.currency == 'EUR' && cart.amount < 50.0", []),
        ("review.rating < 3", ["review.rating may be unset"]),
        ("!review.has_comment", ["review.has_comment may be unset"]),
        ("order.items.all(i, i.sku != 'x')", ["order.items may be unset"]),
        ("has(order.items) && order.items.all(i, i.sku != 'x')", []),
        ("contact.country != 'PL'", ["contact.country may be unset"]),
        ("event.type != 'return'", []),
        ("event.attributes.vip != true", []),
        ("1 < 2", []),
    ],
)
def test_an_unguarded_test_that_missing_data_passes_warns_r42(
    frontend: ConditionFrontend, source: str, names: list[str]
) -> None:
    check_warnings(frontend, source, names)


def check_warnings(frontend: ConditionFrontend, source: str, names: list[str]) -> None:
    condition = frontend.compile(source, Family.NOTIFICATION)
    found = frontend.warnings(condition, Family.NOTIFICATION)
    assert len(found) == len(names), found
    for warning, name in zip(found, names, strict=True):
        assert warning.startswith(name)


def test_a_warning_proposes_has_r42(frontend: ConditionFrontend) -> None:
    condition = frontend.compile("order.status != 'test'", Family.NOTIFICATION)
    assert frontend.warnings(condition, Family.NOTIFICATION) == [
        'order.status may be unset; it then reads as "", which passes the test: write '
        "has(order.status) && ... if it should not"
    ]
