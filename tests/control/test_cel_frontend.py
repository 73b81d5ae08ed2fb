"""What conditions are taken, how others are refused, and what is warned about (R42, R21, h8)."""

from __future__ import annotations

from functools import reduce

import msgspec
import pytest

from control.cel_errors import FIELD
from control.cel_frontend import ConditionFrontend
from core.bounds import EXPRESSION_CHARS_MAX
from core.errors import ExpressionInvalid
from core.model import Contact, Event, Family
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
        ("order.amount > 100", ["call", "gt", ["field", "order", "amount"], ["const", 100.0]]),
        ("100 <= order.amount", ["call", "le", ["const", 100.0], ["field", "order", "amount"]]),
        (
            "review.rating > order.amount",
            ["call", "dyn_gt", ["field", "review", "rating"], ["field", "order", "amount"]],
        ),
        (
            "event.occur_time > timestamp('2024-01-01T00:00:00.5Z')",
            ["call", "gt", ["field", "event", "occur_time"], ["timestamp", 1704067200, 500_000_000]],
        ),
        (
            "order.items.filter(i, i.quantity > 1).map(i, i.sku).size() == 1",
            ["call", "eq", ["call", "size",
              ["transform", ["filter", ["field", "order", "items"],
                ["call", "gt", ["field", 0, "quantity"], ["const", 1]]], ["field", 0, "sku"]],
            ], ["const", 1]],
        ),
        (
            "order.items[0].price.units == 5",
            ["call", "eq", ["select", ["select",
              ["call", "index", ["field", "order", "items"], ["const", 0]], "price"], "units"],
             ["const", 5]],
        ),
        (
            "event.attributes.tags.exists_one(t, t.startsWith('a')) && event.attributes.n.matches('b')",
            ["call", "and", ["exists_one", ["call", "elements", ["attribute", "tags"]],
              ["call", "dyn_starts", ["field", 0], ["const", "a"]]],
             ["call", "matches", ["attribute", "n"], ["const", "b"]]],
        ),
        (
            "order.status.matches('^a') || type(event.attributes.n) == uint || b'\\x00' == bytes('a')",
            ["call", "or", ["call", "search", ["field", "order", "status"], ["const", "^a"]],
             ["call", "dyn_eq", ["call", "type", ["attribute", "n"]], ["type", "uint"]],
             ["call", "eq", ["bytes", "00"], ["call", "bytes", ["const", "a"]]]],
        ),
        (
            "has(event.attributes) && order.items.exists(order, .order.status == order.sku)",
            ["call", "and", ["has", "event", "attributes"],
             ["exists", ["field", "order", "items"],
              ["call", "eq", ["field", "order", "status"], ["field", 0, "sku"]]]],
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
        ("order.amount == 100", r"line 1, column 14: .*\(double, int\).*as in 100\.0"),
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
        ('"żółć" == "a".matches("(")', "line 1, column 8: .*no matching overload"),
        ('"żółć".matches("(")', r"line 1, column 15: not a regular expression: missing \)"),
        ("event.occur_time < timestamp('2024-13-01T00:00:00Z')", "column 29: timestamp out of range"),
        ("event.occur_time < timestamp('tomorrow')", "column 29: .*write 2024-05-01T10:00:00Z"),
        ("duration('1 day') > duration('1h')", "column 9: no duration: '1 day'; write 1h30m or 90s"),
        ("event.occur_time.getHours('Warsaw') < 5", "column 26: no time zone: 'Warsaw'; "),
        ("order.total.amount > 1.0", "undefined field 'amount'.*currency_code, units, nanos$"),
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
        ("1e400 > 1.0", "too large"),
        ("Item{sku: 'a'}.sku == 'a'", r"making a message, `afterword.v1.Item\{...\}`, is not"),
        ("google.protobuf.Timestamp{} == event.occur_time", "`google.protobuf.Timestamp{...}`"),
        ("event == event", "the whole event as a value"),
        ("[event].size() == 1", "the whole event as a value"),
        ("type(event.attributes.x) == dyn", "the type `dyn` is not"),
        ("event.type.charAt(0) == 'a'", "'charAt'.*the functions are has, size, startsWith"),
        ("order.items.all(i, x, i < 2)", "undeclared reference to 'i'"),
        ("math.greatest(1, 2) == 2", "undeclared reference to 'math'"),
        (
            "event.channel == 'x'",
            "`event.channel` cannot be used.*activate the rule on the channels",
        ),
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
        ("order.items.exists(i, i.tags.exists(t, t.matches('a')))", "steps; up to 50,000"),
        (
            "event.attributes.l.exists(a, event.attributes.m.exists(b, a == b))",
            "steps; up to 50,000",
        ),
        ("[1]" + ".map(x, [x, x])" * 35 + " == dyn([1])", "nested too deep"),
        ("order.items.map(i, i.name + order.status).map(i, i + i).map(i, i + i)[0] == ''", "steps"),
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
        "'sentiment' in event.attributes.survey",
        "dyn(event.attributes).rating > 3",
        "dyn(review).rating > 3",
        "dyn(review)['rating'] == 3",
        "[review][0].rating > 3",
        "review == event.review",
        "[review].exists(r, dyn(r) == dyn(1))",
        "event.attributes == {'rating': 5.0}",
        "event.attributes.survey == {'rating': 5.0}",
        "event.attributes.survey == {'rat' + 'ing': 5.0}",
        "event.attributes.map(k, event.attributes[k]).size() > 1",
        "event.attributes.exists(k, k.startsWith('rat'))",
        "event.attributes['rat' + 'ing'] == 5.0",
        "event.attributes.survey[event.type + 'ing'] == 5.0",
        "event.attributes.survey[string(b'rating')] == 5.0",
        "('rat' + 'ing') in event.attributes.survey",
        "event.type in event.attributes",
        "['rat'].exists(k, (k + 'ing') in event.attributes.survey)",
        "event.attributes.answers.exists(a, a.question == 'rating' && a.value > 3.0)",
        "event.attributes.answers.exists(a, a.question == 'rat' + ('i' + 'ng'))",
        "[event.attributes.survey].exists(s, s['rat' + 'ing'] > 3.0)",
        "[event.attributes.survey].exists(s, ('rat' + 'ing') in s)",
        "{'s': event.attributes.survey}.s['rat' + 'ing'] > 3.0",
        "event.attributes.answers.filter(a, a.nps > 3.0).size() > 0",
        "event.attributes.answers[0].nps > 3.0",
        "type(event.attributes) == map",
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
        "'gift' in event.attributes && size(event.attributes) > 2",
        "event.attributes.tags.exists(t, t == 'gift')",
        "order.items.exists(i, i.sku in event.attributes.skus && i.name == 'star wars')",
        "event.occur_time < timestamp('2030-01-01T00:00:00Z')",
        "event.attributes['group'] == 'a' && order.items[0].sku.matches('^a')",
    ],
)
def test_review_families_may_look_at_facts_of_the_order_h8(
    frontend: ConditionFrontend, source: str
) -> None:
    condition = frontend.compile(source, Family.SERVICE_REVIEW)
    assert frontend.warnings(condition, Family.SERVICE_REVIEW) == []


def test_review_families_do_not_go_through_the_keys_of_a_map_h8(
    frontend: ConditionFrontend,
) -> None:
    source = "event.attributes.survey.exists(k, size(k) == 6)"
    event = Event("1", "", "t", "", 0, Contact(), attributes={"survey": {"rating": 5.0}})
    for family, expected in ((Family.AUTOMATION, ([0], [])), (Family.SERVICE_REVIEW, ([], [0]))):
        assert compile_fused([frontend.compile(source, family).tree])(event) == expected
    event.attributes["survey"] = ["rating"]
    tree = frontend.compile(source, Family.SERVICE_REVIEW).tree
    assert compile_fused([tree])(event) == ([0], [])


def test_the_worth_of_an_order_is_a_grey_zone_for_reviews_h8(frontend: ConditionFrontend) -> None:
    condition = frontend.compile(
        "order.currency == 'EUR' && order.amount > 50.0", Family.SERVICE_REVIEW
    )
    [warning] = frontend.warnings(condition, Family.SERVICE_REVIEW)
    assert "grey zone" in warning
    dear = frontend.compile("order.items[0].price.units > 50", Family.SERVICE_REVIEW)
    assert "grey zone" in frontend.warnings(dear, Family.SERVICE_REVIEW)[-1]
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
        ("order.items.all(i, i.sku == 'x')", ["order.items may be unset"]),
        ("order.items.all(i, i.sku != 'x')", ["order.items may", "order.items.sku may be unset"]),
        ("has(order.items) && order.items.all(i, i.sku == 'x')", []),
        ("has(order.items) && order.items.all(i, has(i.sku) && i.sku != 'x')", []),
        ("order.items.exists(i, i.sku != 'x')", ["order.items.sku may be unset"]),
        ("order.items.exists(i, i.sku == order.reference)", ["order.items.sku", "order.reference"]),
        ("order.items.filter(i, i.quantity > 1).size() < 2", ["order.items may be unset"]),
        ("order.items.filter(i, i.quantity > 1).map(i, i.sku).size() > 2", []),
        ("order.items[0].sku != 'x'", []),
        ("order.order_time < event.occur_time - duration('1h')", ["order.order_time may be unset"]),
        ("order.order_time > timestamp('2024-01-01T00:00:00Z')", []),
        ("shipment.delivery_time > shipment.promised_time", ["shipment.promised_time may"]),
        ("has(shipment.promised_time) && shipment.delivery_time > shipment.promised_time", []),
        ("order.reference == cart.id", ["order.reference may", "cart.id may"]),
        ("order.reference == cart.id && has(cart.id)", ["order.reference may"]),
        ("order.status == event.attributes.status", []),
        ("order.status != event.attributes.status", ["order.status may be unset"]),
        ("event.attributes.exists(k, k == order.status)", []),
        ("event.activation_date.year == 2024", []),
        ("event.activation_date.month != 5", ["event.activation_date.month may be unset"]),
        ("order.status.matches('^a')", []),
        ("!order.status.matches('^a')", ["order.status may be unset"]),
        ("order.total == cart.total", []),
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


def test_a_warning_among_several_fields_says_that_it_can_pass_r42(
    frontend: ConditionFrontend,
) -> None:
    condition = frontend.compile(
        "shipment.delivery_time > shipment.promised_time", Family.NOTIFICATION
    )
    assert frontend.warnings(condition, Family.NOTIFICATION) == [
        "shipment.promised_time may be unset; it then reads as 1970-01-01T00:00:00Z, which can pass "
        "the test: write has(shipment.promised_time) && ... if it should not"
    ]


def test_a_warning_proposes_has_r42(frontend: ConditionFrontend) -> None:
    condition = frontend.compile("order.status != 'test'", Family.NOTIFICATION)
    assert frontend.warnings(condition, Family.NOTIFICATION) == [
        'order.status may be unset; it then reads as "", which passes the test: write '
        "has(order.status) && ... if it should not"
    ]
