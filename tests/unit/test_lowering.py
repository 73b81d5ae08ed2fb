"""Trees become one function: what it reads, shares, refuses and reports (R42, decision 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from core.bounds import ATTRIBUTE_LOOP_MAX, EXPRESSION_COST_MAX, EXPRESSION_DEPTH_MAX
from core.errors import ExpressionInvalid
from core.model import Contact, Event, Item, Money, Order
from core.rules.cel_convert import PATTERN_CHARS_MAX
from core.rules.cel_cost import cost
from core.rules.cel_types import Duration, Timestamp, TypeName, Uint
from core.rules.cel_values import EvaluationError
from core.rules.lowering import compile_fused, compile_predicate, fused_source
from core.rules.tree import depth, freeze

Tree = list[Any]
VIP: Tree = ["call", "dyn_eq", ["attribute", "vip"], ["const", True]]


def const(value: Any) -> Tree:
    return ["const", value]


def field(*path: str | int) -> Tree:
    return ["field", *path]


def call(op: str, *arguments: Tree) -> Tree:
    return ["call", op, *arguments]


def source_of(*trees: Tree) -> str:
    return fused_source(tuple(freeze(tree) for tree in trees))[0]


IN_PLN = call("eq", field("order", "currency"), const("PLN"))
HAS_A = ["exists", field("order", "items"), call("eq", field(0, "sku"), const("a"))]
OVERFLOW = call("eq", call("int_add", const(2**63 - 1), const(1)), const(0))
DIVISION = call("eq", call("int_div", const(1), const(0)), const(0))


def event(**fields: Any) -> Event:
    return Event("1", "", "checkout", "shop", 0, Contact(email="a@b.example"), **fields)


ORDER = Order("7", "paid", Money("PLN", 99, 990_000_000), items=[Item("a", quantity=2)])


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (IN_PLN, True),
        (call("ge", field("order", "amount"), const(99.99)), True),
        (call("eq", field("event", "order", "total", "units"), const(99)), True),
        (call("not", IN_PLN), False),
        (call("and", IN_PLN, HAS_A, const(True)), True),
        (call("or", const(False), HAS_A), True),
        (call("if", IN_PLN, const(False), const(True)), False),
        (["all", field("order", "items"), call("gt", field(0, "quantity"), const(2))], False),
        (["has", "order", "total"], True),
        (["has", "order", "amount"], True),
        (["has", "event", "shipment"], False),
        (["has", "contact", "email"], True),
        (["has", "contact", "phone"], False),
        (["has", "event", "contact"], True),
        (["has", "order", "items"], True),
        (call("in", field("order", "status"), ["list", const("paid"), const("x")]), True),
        (call("starts", field("contact", "email"), const("a@")), True),
        (call("eq", call("size", field("order", "items")), const(1)), True),
    ],
)
def test_conditions_of_an_order(tree: Tree, expected: bool) -> None:
    assert compile_predicate(tree)(event(order=ORDER)) is expected
    assert compile_fused([tree])(event(order=ORDER)) == ([0] if expected else [], [])


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (call("eq", field("order", "status"), const("")), True),
        (call("eq", field("order", "amount"), const(0.0)), True),
        (call("eq", field("contact", "address", "city"), const("")), True),
        (call("eq", field("review", "rating"), const(0)), True),
        (["has", "event", "order"], False),
        (["has", "order", "currency"], False),
        (["all", field("cart", "items"), const(False)], True),
        (HAS_A, False),
    ],
)
def test_what_is_unset_reads_as_protobuf_says_r42(tree: Tree, expected: bool) -> None:
    assert compile_predicate(tree)(event()) is expected


def test_an_order_without_cost_has_an_amount_r42() -> None:
    assert compile_predicate(["has", "order", "amount"])(event(order=Order(total=Money("PLN"))))


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (VIP, "no such key: 'vip'"),
        (call("dyn_eq", ["attribute", "a", "b"], const(1)), "no map"),
        (OVERFLOW, "integer overflow"),
        (DIVISION, "division by zero"),
        (call("dyn_bool", ["attribute", "a"]), "a double where a bool is needed"),
        (call("dyn_lt", ["attribute", "a"], const("x")), "no < for a double and a string"),
    ],
)
def test_a_condition_that_errs_is_false_and_reported_r42(tree: Tree, text: str) -> None:
    told = event(attributes={"a": 1})
    assert compile_fused([const(True), tree, const(True)])(told) == ([0, 2], [1])
    with pytest.raises(EvaluationError, match=text):
        compile_predicate(tree)(told)


def test_a_false_operand_outweighs_an_error_on_either_side_r42() -> None:
    for tree in (
        call("and", VIP, const(False)),
        call("and", const(False), VIP),
        call("and", VIP, OVERFLOW, const(False), DIVISION),
        call("and", call("or", VIP, OVERFLOW), const(False)),
    ):
        assert compile_fused([tree])(event()) == ([], [])
    for tree in (call("or", VIP, const(True)), call("or", VIP, OVERFLOW, const(True))):
        assert compile_fused([tree])(event()) == ([0], [])
    for tree in (call("and", VIP, const(True)), call("or", VIP, DIVISION, const(False))):
        assert compile_fused([tree])(event()) == ([], [0])


def test_one_element_that_errs_does_not_decide_a_loop() -> None:
    inverse = call("eq", call("int_div", const(2), field(0, "quantity")), const(2))
    lines = Order(items=[Item(quantity=0), Item(quantity=1)])
    assert compile_fused([["exists", field("order", "items"), inverse]])(event(order=lines)) == (
        [0],
        [],
    )
    assert compile_fused([["all", field("order", "items"), inverse]])(event(order=lines)) == (
        [],
        [0],
    )


def test_a_guarded_attribute_does_not_err() -> None:
    guarded = call("and", ["has_attribute", "vip"], VIP)
    assert compile_fused([guarded])(event()) == ([], [])
    assert compile_fused([guarded])(event(attributes={"vip": True})) == ([0], [])


# --- sharing -------------------------------------------------------------------------------------


def test_fields_and_tests_that_rules_share_are_read_and_made_once() -> None:
    above = [call("ge", field("order", "amount"), const(float(limit))) for limit in range(50)]
    source = source_of(*(call("and", IN_PLN, test) for test in above))
    assert source.count("event.order ") == 1
    assert source.count(".total ") == 1
    assert source.count(".units") == 1
    assert source.count(".currency") == 1


def test_a_single_read_stays_behind_its_guard() -> None:
    source = source_of(call("and", IN_PLN, HAS_A))
    assert source.index(".items") > source.index("and"), source


def test_a_shared_loop_runs_once_and_only_if_needed() -> None:
    trees = [call("and", IN_PLN, HAS_A), call("and", call("not", IN_PLN), HAS_A), HAS_A]
    fused = compile_fused(trees)

    class Counting(list[Item]):
        passes = 0

        def __iter__(self) -> Any:
            Counting.passes += 1
            return super().__iter__()

    for currency, expected in (("PLN", [0, 2]), ("EUR", [1, 2])):
        Counting.passes = 0
        order = Order(total=Money(currency), items=Counting([Item("a")]))
        assert fused(event(order=order)) == (expected, [])
        assert Counting.passes == 1


def test_a_shared_test_inside_loops_and_functions_of_their_own() -> None:
    both = call("or", call("and", VIP, HAS_A), call("and", DIVISION, HAS_A), HAS_A)
    nested = [
        "exists",
        field("order", "items"),
        call("and", IN_PLN, call("ne", field(0, "sku"), const("z"))),
    ]
    fused = compile_fused([both, nested, HAS_A, call("not", HAS_A), IN_PLN])
    assert fused(event(order=ORDER)) == ([0, 1, 2, 4], [])
    assert fused(event()) == ([3], [])


def test_numbers_and_bools_that_python_takes_for_one_are_kept_apart() -> None:
    trees = [call("dyn_eq", ["attribute", "n"], const(value)) for value in (1, 1.0, True)]
    assert compile_fused(trees)(event(attributes={"n": True})) == ([2], [])
    assert compile_fused(trees)(event(attributes={"n": 1.0})) == ([0, 1], [])
    assert freeze(const(1)) != freeze(const(1.0)) != freeze(const(True))
    zeros = [
        call("lt", call("double_div", const(1.0), const(zero)), const(0.0)) for zero in (0.0, -0.0)
    ]
    assert compile_fused(zeros)(event()) == ([1], [])


def test_equal_conditions_share_the_compiled_function() -> None:
    assert compile_fused([IN_PLN, VIP]) is compile_fused([list(IN_PLN), list(VIP)])
    assert compile_fused([IN_PLN]) is not compile_fused([VIP])


def test_long_lists_of_constants() -> None:
    words = ["list", *(const(str(n)) for n in range(300))]
    tree = call("in", field("order", "reference"), words)
    assert compile_predicate(tree)(event(order=ORDER))
    assert not compile_predicate(tree)(event())


# --- safety --------------------------------------------------------------------------------------


def test_nothing_a_user_wrote_is_in_the_source() -> None:
    evil = '"); raise SystemExit(1)  # {0}'
    trees = [
        call("eq", field("order", "status"), const(evil)),
        call("dyn_eq", ["attribute", evil, evil], const(evil)),
        ["has_attribute", evil],
        call("in", const(evil), ["list", const(evil)]),
    ]
    assert "SystemExit" not in source_of(*trees)
    told = event(order=Order(status=evil), attributes={evil: {evil: evil}})
    assert compile_fused(trees)(told) == ([0, 1, 2, 3], [])


@pytest.mark.parametrize(
    "tree",
    [
        field("event", "__class__"),
        field("event", "order", "__init__", "__globals__"),
        field("event", "occur_ms"),
        field("os", "system"),
        field(0, "sku"),
        field(-1, "sku"),
        field(True, "sku"),
        ["has", "order"],
        ["has", "event", "nothing"],
        ["has_attribute"],
        ["attribute", 1],
        ["const", b"bytes"],
        ["const", [1]],
        ["const"],
        ["exists", field("order"), const(True)],
        ["exists", ["attribute", "list"], const(True)],
        ["filter", field("order", "status"), const(True)],
        ["transform", call("dyn_add", field("order", "items"), field("order", "items")), const(1)],
        ["exists", field("order", "items"), ["select", field(1), "sku"]],
        ["select", field("order"), 1],
        ["select", field("order", "__class__"), "x"],
        ["uint", -1],
        ["uint", 2**64],
        ["bytes", "0"],
        ["bytes", "zz"],
        ["timestamp", 1.5, 0],
        ["timestamp", 0, -1],
        ["duration", 0, 10**9],
        ["type", "os.PathLike"],
        ["map", const("a")],
        call("search", field("order", "status"), field("order", "status")),
        call("search", field("order", "status"), const("(")),
        call("index", const(1)),
        call("getHours", const(1), const(2), const(3)),
        ["exists", field("order", "items"), field(1, "sku")],
        ["exists", field("order", "items"), field(0, "__class__")],
        call("__import__", const("os")),
        call("eq", const(1)),
        call("if", const(True), const(True)),
        call("not", const(True), const(True)),
        call("and"),
        ["eval", "1"],
        [],
    ],
)
def test_trees_that_name_anything_else_are_refused(tree: Tree) -> None:
    with pytest.raises(ExpressionInvalid):
        compile_fused([tree])


def test_a_field_named_at_run_time_is_one_of_the_table() -> None:
    for name in ("__class__", "sku_", "attributes", "order_ms"):
        tree = call("dyn_eq", ["select", field("order"), name], const(1))
        assert compile_fused([tree])(event(order=ORDER)) == ([], [0])
    reached = call("dyn_eq", ["select", field("order"), "amount"], const(99.99))
    assert compile_fused([reached])(event(order=ORDER)) == ([0], [])


def test_the_deepest_condition_compiles() -> None:
    tree = call("dyn_eq", ["attribute", "a"], const(1))
    while depth(tree) < EXPRESSION_DEPTH_MAX:
        tree = call(("and", "or")[depth(tree) % 2], tree, call("not", VIP), IN_PLN)
    assert compile_fused([tree])(event(attributes={"a": 1, "vip": True}))[1] == []
    tree = const(1)
    while depth(tree) < EXPRESSION_DEPTH_MAX - 1:
        tree = call("int_add", tree, const(1))
    assert compile_predicate(call("eq", tree, const(EXPRESSION_DEPTH_MAX - 1)))(event())


def test_a_tree_survives_its_storage() -> None:
    tree = call("and", IN_PLN, HAS_A, VIP, call("lt", field("order", "amount"), const(1.0)))
    assert freeze(msgspec.json.decode(msgspec.json.encode(tree))) == freeze(tree)


def test_constants_that_json_has_no_form_for_survive_their_storage() -> None:
    values = {
        ("uint", 2**64 - 1): Uint(2**64 - 1),
        ("bytes", "00ff"): b"\x00\xff",
        ("timestamp", -1, 999_999_999): Timestamp(-1),
        ("duration", 315_576_000_000, 0): Duration(315_576_000_000 * 10**9),
        ("type", "google.protobuf.Duration"): TypeName("google.protobuf.Duration"),
    }
    for tree, value in values.items():
        stored = msgspec.json.decode(msgspec.json.encode(list(tree)))
        assert compile_predicate(stored)(event()) == value


def test_what_is_unset_reads_as_protobuf_says_for_times_r42() -> None:
    epoch: Tree = ["timestamp", 0, 0]
    bare = event(order=Order())
    assert compile_predicate(call("eq", field("order", "order_time"), epoch))(bare)
    assert compile_predicate(call("eq", field("event", "activation_date", "year"), const(0)))(bare)
    assert compile_fused([["has", "order", "order_time"], ["has", "event", "consents"],
                          ["has", "event", "activation_date"], ["has", "event", "attributes"],
                          ["has", "event", "requested_send_time"]])(bare) == ([], [])  # fmt: skip
    told = event(order=Order(order_ms=1_500), activation_date="2024-02-29", attributes={"a": 1.0})
    at: Tree = ["timestamp", 1, 500_000_000]
    assert compile_predicate(call("eq", field("order", "order_time"), at))(told)
    assert compile_predicate(call("eq", field("event", "activation_date", "day"), const(29)))(told)
    assert compile_fused([["has", "order", "order_time"], ["has", "event", "activation_date"],
                          ["has", "event", "attributes"]])(told) == ([0, 1, 2], [])  # fmt: skip


LONG = {"long": ["x"] * (ATTRIBUTE_LOOP_MAX + 1), "fits": ["x"] * ATTRIBUTE_LOOP_MAX}


@pytest.mark.parametrize("name", LONG)
def test_lists_of_attributes_are_gone_through_up_to_a_bound(name: str) -> None:
    trees = [
        ["exists", call("elements", ["attribute", name]), const(True)],
        call("dyn_in", const("x"), ["attribute", name]),
    ]
    passed, errored = compile_fused(trees)(event(attributes=LONG))
    assert (passed, errored) == (([0, 1], []) if name == "fits" else ([], [0, 1]))


def test_a_pattern_is_short() -> None:
    tree = call("matches", const("a" * 300), ["attribute", "pattern"])
    for length, expected in ((PATTERN_CHARS_MAX, ([0], [])), (PATTERN_CHARS_MAX + 1, ([], [0]))):
        assert compile_fused([tree])(event(attributes={"pattern": "a" * length})) == expected


def test_a_pattern_takes_linear_time_and_little_memory() -> None:
    evil = call("search", field("order", "status"), const("(a*)*(a|aa)+$"))
    assert not compile_predicate(evil)(event(order=Order(status="a" * 60_000 + "b")))
    for pattern in ("((a{100}){100}){100}", "(a{9}){9}", "[ab]*a[ab]{60}b{1,5}", "a" * 257, "("):
        with pytest.raises(ExpressionInvalid, match=r"pattern|regular expression"):
            compile_predicate(call("search", const("a"), const(pattern)))
    uuid = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
    assert not compile_predicate(call("search", const("a"), const(uuid)))(event())


def test_a_shared_filter_can_be_a_range() -> None:
    dear = ["filter", field("order", "items"), call("gt", field(0, "quantity"), const(1))]
    counted = call("gt", call("size", dear), const(0))
    named = ["exists", dear, call("eq", field(0, "sku"), const("a"))]
    made = ["all", ["transform", dear, field(0, "sku")], call("eq", field(0), const("a"))]
    fused = compile_fused([counted, named, counted, named, made, call("and", made, counted)])
    assert fused(event(order=ORDER)) == ([0, 1, 2, 3, 4, 5], [])
    assert fused(event()) == ([4], [])


def test_every_kind_of_nesting_compiles_at_its_deepest() -> None:
    one: Tree = ["list", const(1)]
    makers: list[Callable[[Tree], Tree]] = [
        lambda tree: call("if", tree, VIP, VIP),
        lambda tree: call("or", call("and", tree, VIP), VIP),
        lambda tree: ["exists", one, tree],
        lambda tree: ["all", call("elements", one), call("or", tree, VIP)],
        lambda tree: ["exists_one", one, call("and", tree, VIP)],
        lambda tree: ["filter", one, call("dyn_bool", tree)],
        lambda tree: ["transform", ["filter", ["list", tree], const(True)], field(0)],
        lambda tree: ["map", const("a"), tree],
        lambda tree: ["select", ["map", const("a"), tree], "a"],
        lambda tree: call("index", ["list", tree], const(0)),
        lambda tree: call("type", call("matches", call("string", tree), const("a"))),
    ]
    for maker in makers:
        tree = VIP
        while depth(maker(tree)) <= EXPRESSION_DEPTH_MAX:
            tree = maker(tree)
        compile_fused([tree, tree, call("dyn_not", tree)])


def test_cost_grows_with_what_is_made() -> None:
    joined = field("order", "status")
    for _ in range(4):
        joined = call("string_add", joined, joined)
    plain = cost(call("contains", field("order", "status"), const("x")))
    assert 100 < plain < 200
    assert cost(call("contains", joined, const("x"))) > 16 * plain
    search = call("search", field("order", "status"), const("x"))
    assert cost(search) > 3 * plain
    tags: Tree = call("elements", ["attribute", "tags"])
    assert cost(["exists", tags, VIP]) > ATTRIBUTE_LOOP_MAX
    assert cost(["exists", tags, ["exists", tags, VIP]]) > EXPRESSION_COST_MAX
    inner = call("elements", ["select", field(0), "tags"])
    assert cost(["exists", tags, ["exists", inner, VIP]]) < EXPRESSION_COST_MAX
    skus = ["transform", field("order", "items"), field(0, "sku")]
    assert cost(["exists", skus, call("in", field(0), skus)]) > 200 * 200


def test_cost_multiplies_through_loops() -> None:
    assert cost(IN_PLN) == 3
    assert cost(HAS_A) == 1 + 200 * 3
    tags = ["exists", field(0, "tags"), call("eq", field(1), const("x"))]
    assert cost(["all", field("order", "items"), tags]) == 1 + 200 * (1 + 32 * 3)
    assert depth(["all", field("order", "items"), tags]) == 4


def test_a_thousand_rules_in_one_function() -> None:
    trees = [call("eq", field("order", "reference"), const(str(n))) for n in range(1_000)]
    assert compile_fused(trees)(event(order=ORDER)) == ([7], [])
