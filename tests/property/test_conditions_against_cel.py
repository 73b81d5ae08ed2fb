"""Conditions mean what CEL says they mean (R42): the lowered function against the C++ runtime.

Typed expressions and events are drawn from a seed; every expression is checked, lowered and fused
with others, and the outcome (true, false or error) is compared with the runtime's for every event.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from google.protobuf import message_factory

from control import cel_schema
from control.cel_frontend import ConditionFrontend
from core.errors import ExpressionInvalid
from core.model import Address, Cart, Contact, Event, Family, Item, Money, Order, Review, Shipment
from core.rules.cel_values import EvaluationError
from core.rules.fields import ROOTS
from core.rules.lowering import compile_fused, compile_predicate

EXPRESSIONS, EVENTS, FUSED = 500, 8, 20
WORDS = ["", "a", "b", "PLN", "EUR", "paid", "ab", "żółć"]
NUMBERS = [0, 1, 2, -1, 3, 7, 100, 2**63 - 1, -(2**63)]
DOUBLES = [0.0, 1.0, -1.0, 0.5, 99.99, 100.0, 1e300]
KEYS = ["vip", "n", "s", "l", "m", "z", "not told"]


class Drawn:
    """Draws typed CEL text."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._items: list[str] = []
        self.choice = self._random.choice

    def bool(self, depth: int) -> str:
        choice = self._random.choice
        if depth == 0:
            return choice(
                ["true", "false", self._has(), "review.has_comment", self._attribute_test()]
            )
        two = f"{self.bool(depth - 1)}", f"{self.bool(depth - 1)}"
        makers = [
            lambda: f"({two[0]} && {two[1]})",
            lambda: f"({two[0]} || {two[1]})",
            lambda: f"({two[0]} && {two[1]} && {self._comparison(depth - 1)})",
            lambda: f"!{two[0]}",
            lambda: f"({two[0]} ? {two[1]} : {self._comparison(depth - 1)})",
            lambda: self._comparison(depth - 1),
            lambda: self._comparison(depth - 1),
            lambda: self._comparison(depth - 1),
            lambda: f"{self.string(depth - 1)}.{choice(TESTS)}({self.string(depth - 1)})",
            lambda: self._membership(depth - 1),
            lambda: self._loop(depth - 1),
            lambda: self._dyn_test(depth - 1),
            lambda: f"({two[0]} == {two[1]})",
        ]
        return choice(makers)()

    def int(self, depth: int) -> str:
        choice = self._random.choice
        leaves = [
            str(choice(NUMBERS)),
            str(choice([1, 2, 3])),
            "review.rating",
            "order.total.units",
        ]
        leaves += [f"size({path})" for path in ("order.items", "cart.items", "contact.email")]
        leaves += [f"{item}.quantity" for item in self._items] * 3
        if depth == 0 or self._random.random() < 0.4:
            return choice(leaves)
        one, two = self.int(depth - 1), self.int(depth - 1)
        return choice([f"({one} {choice('+-*/%')} {two})", f"-({one})", f"size({self.string(0)})"])

    def double(self, depth: int) -> str:
        choice = self._random.choice
        if depth == 0 or self._random.random() < 0.5:
            return choice([repr(choice(DOUBLES)), "order.amount", "cart.amount", "order.amount"])
        one, two = self.double(depth - 1), self.double(depth - 1)
        return choice([f"({one} {choice('+-*/')} {two})", f"-({one})"])

    def string(self, depth: int) -> str:
        choice = self._random.choice
        leaves = [f'"{choice(WORDS)}"', "order.status", "event.order.status", "order.currency"]
        leaves += ["contact.email", "contact.country", "contact.address.city", "event.type"]
        leaves += ["shipment.carrier", "event.locale", "cart.total.currency_code"]
        leaves += [f"{item}.sku" for item in self._items] * 4
        leaves += [f"{item}.price.currency_code" for item in self._items]
        if depth == 0 or self._random.random() < 0.8:
            return choice(leaves)
        return f"({self.string(depth - 1)} + {self.string(depth - 1)})"

    def dyn(self, depth: int) -> str:
        choice = self._random.choice
        leaves = [
            f'event.attributes["{choice(KEYS)}"]',
            "event.attributes.vip",
            "event.attributes.n",
        ]
        leaves += ["event.attributes.s", "event.attributes.m.k", "event.attributes.s.k"]
        if depth == 0 or self._random.random() < 0.7:
            return choice(leaves)
        other = choice([self.dyn(depth - 1), self.double(0), self.int(0)])
        texts = [f"({self.dyn(depth - 1)} {choice('+-*/')} {other})", f"-{self.dyn(depth - 1)}"]
        return choice([*texts, f"({self.bool(0)} ? {self.dyn(0)} : {self.dyn(0)})"])

    def _comparison(self, depth: int) -> str:
        kind = self._random.choice([self.int, self.double, self.string, self.string])
        return f"({kind(depth)} {self._random.choice(SIGNS)} {kind(depth)})"

    def _dyn_test(self, depth: int) -> str:
        choice = self._random.choice
        other = choice([self.dyn, self.int, self.double, self.string, self.bool])(0)
        sides = [self.dyn(depth), other]
        self._random.shuffle(sides)
        return choice(
            [
                f"({sides[0]} {choice(SIGNS[:2])} {sides[1]})",
                f"({self.dyn(depth)} {choice(SIGNS)} {self.dyn(0)})",
                f"({self.dyn(depth)} {choice(SIGNS)} {choice([self.int, self.double])(0)})",
                f"({self.dyn(depth)} == null)",
                f"({self.dyn(depth)} in [1, {self.dyn(0)}])",
                f'({self.dyn(0)} in ["a", "b", "s"])',
                f"(size({self.dyn(0)}) > 1)",
                f'({self.dyn(0)}.startsWith("s"))',
                f"(event.attributes.l == [1.0, {self.dyn(0)}])",
                f"({self.string(0)} in event.attributes.m)",
                f"({self.dyn(0)} in event.attributes.l)",
                f"(!{self.dyn(0)})",
                f"({self.dyn(0)} && {self.bool(0)})",
                f"({self.bool(0)} || {self.dyn(0)})",
            ]
        )

    def _attribute_test(self) -> str:
        key = self._random.choice(KEYS[:-1])
        tests = [f'("{key}" in event.attributes)', f"(event.attributes.{key} == true)"]
        tests += [f"has(event.attributes.{key})", "has(event.attributes.m.k)"]
        return self._random.choice([*tests, "has(event.attributes.s.k)"])

    def _has(self) -> str:
        paths = ["event.order", "order.total", "order.amount", "order.currency", "order.items"]
        paths += ["cart.amount", "event.shipment", "event.review", "contact.email", "review.rating"]
        paths += ["contact.address", "contact.address.lines", "review.has_comment", "event.contact"]
        paths += [f"{item}.price" for item in self._items] + [
            f"{item}.tags" for item in self._items
        ]
        return f"has({self._random.choice(paths)})"

    def _membership(self, depth: int) -> str:
        choice = self._random.choice
        words = [f'"{word}"' for word in WORDS for _ in range(choice([1, 2]))]
        lists = [f'[{self.string(0)}, "PLN"]', f"[{', '.join(words)}]", "contact.address.lines"]
        lists += [f"{item}.tags" for item in self._items] * 3
        texts = [f"({self.string(depth)} in {choice(lists)})"] * 2
        return choice([*texts, f"({self.int(depth)} in [1, {self.int(0)}, 3])"])

    def _loop(self, depth: int) -> str:
        choice = self._random.choice
        name = f"x{len(self._items)}"
        if len(self._items) == 2:
            return f"{choice(self._items)}.tags.{choice(LOOPS)}(t, t == {self.string(0)})"
        self._items.append(name)
        body = self.bool(min(depth, 2))
        self._items.pop()
        return f"{choice(['order', 'cart', 'event.order'])}.items.{choice(LOOPS)}({name}, {body})"

    def event(self) -> Event:
        choice, maybe = self._random.choice, self._maybe
        attributes = {
            "vip": choice([True, False, "yes", 1.0]),
            "n": choice([0.0, 1.0, 5.5, 5]),
            "s": choice(["s", "", "str"]),
            "l": choice([[], [1.0, 2.0], [1, "a", True], [[1.0], None]]),
            "m": {key: choice([1.0, "k"]) for key in "ka" if choice([True, False])},
            "z": None,
        }
        chosen = {key: value for key, value in attributes.items() if self._random.random() < 0.7}
        return Event(
            "1", "", choice(WORDS), "", 0,
            Contact(choice(WORDS), country=choice(WORDS), address=maybe(
                Address(choice([[], ["a"], ["b", "PLN"]]), choice(WORDS)))),
            maybe(Order("r", choice(WORDS), maybe(self._money()), items=self._lines())),
            maybe(Cart("c", "u", maybe(self._money()), self._lines())),
            maybe(Shipment(choice(WORDS))),
            maybe(Review(choice([0, 1, 2]), choice([0, 1, 5]), has_comment=choice([True, False]))),
            attributes={"one": 1.0, **chosen}, locale=choice(WORDS),
        )  # fmt: skip

    def _maybe(self, value: Any) -> Any:
        return value if self._random.random() < 0.7 else None

    def _money(self) -> Money:
        choice = self._random.choice
        return Money(choice(["PLN", "EUR", ""]), choice([0, 1, 99, 100]), choice([0, 990_000_000]))

    def _lines(self) -> list[Item]:
        choice = self._random.choice
        return [
            Item(choice(WORDS), quantity=choice([0, 1, 2, 3]), price=self._maybe(self._money()),
                 tags=choice([[], ["a"], ["b", "PLN"]]))
            for _ in range(choice([0, 1, 2, 3]))
        ]  # fmt: skip


SIGNS = ["==", "!=", "<", "<=", ">", ">="]
TESTS = ["startsWith", "endsWith", "contains"]
LOOPS = ["exists", "all"]


class Runtime:
    """Google's own evaluator."""

    def __init__(self, frontend: ConditionFrontend) -> None:
        self._environment = cel_schema.make_environment(frontend.pool)
        descriptor = frontend.pool.FindMessageTypeByName("afterword.v1.Event")
        self._event_class = message_factory.GetMessageClass(descriptor)

    def compile(self, source: str) -> Any:
        return self._environment.compile(source)

    def variables(self, event: Event) -> dict[str, Any]:
        message = self._event_class(id=event.id, type=event.type, locale=event.locale)
        message.contact.email, message.contact.country = event.contact.email, event.contact.country
        if event.contact == Contact():
            message.ClearField("contact")
        if address := event.contact.address:
            message.contact.address.SetInParent()
            message.contact.address.lines.extend(address.lines)
            message.contact.address.city = address.city
        if event.order:
            message.order.reference, message.order.status = (
                event.order.reference,
                event.order.status,
            )
            self._fill(message.order, event.order)
        if event.cart:
            message.cart.SetInParent()
            self._fill(message.cart, event.cart)
        if event.shipment:
            message.shipment.SetInParent()
            message.shipment.carrier = event.shipment.carrier
        if review := event.review:
            message.review.SetInParent()
            message.review.kind, message.review.rating = review.kind, review.rating
            message.review.has_comment = review.has_comment
        message.attributes.update(event.attributes)
        return {root: getattr(message, root, message) for root in ROOTS}

    def _fill(self, message: Any, owner: Order | Cart) -> None:
        if owner.total:
            self._fill_money(message.total, owner.total)
            message.amount, message.currency = owner.total.amount, owner.total.currency
        for item in owner.items:
            line = message.items.add(sku=item.sku, quantity=item.quantity, tags=item.tags)
            if item.price:
                self._fill_money(line.price, item.price)

    def _fill_money(self, message: Any, money: Money) -> None:
        message.SetInParent()
        message.currency_code, message.units = money.currency, money.units
        message.nanos = money.nanos

    def outcome(self, expression: Any, variables: dict[str, Any]) -> bool | None:
        """Return the result; None for an error."""
        value = expression.eval(data=variables)
        return None if value.type().name() == "ERROR" else value.value()


@pytest.fixture(scope="module")
def frontend() -> ConditionFrontend:
    return ConditionFrontend()


def checked(frontend: ConditionFrontend, source: str) -> Any:
    """Return the tree; None where the front end refuses a combination that was drawn."""
    try:
        return frontend.compile(source, Family.NOTIFICATION).tree
    except ExpressionInvalid:
        return None


@pytest.mark.parametrize("seed", [1, 2])
def test_lowered_conditions_agree_with_the_runtime(frontend: ConditionFrontend, seed: int) -> None:
    drawn, runtime = Drawn(seed), Runtime(frontend)
    events = [drawn.event() for _ in range(EVENTS)]
    variables = [runtime.variables(event) for event in events]
    sources: list[str] = []
    while len(sources) < EXPRESSIONS:
        source = drawn.bool(drawn.choice([1, 2, 3]))
        if len(sources) % 4 > 1:  # share parts with others, as the rules of one shop do
            source = f"({source} {drawn.choice(['&&', '||'])} {drawn.choice(sources[-6:])})"
        sources.append(source)
    seen = {True: 0, False: 0, None: 0}
    for start in range(0, EXPRESSIONS, FUSED):
        chunk, trees = [], []
        for source in sources[start : start + FUSED]:
            tree = checked(frontend, source)
            if tree is not None:
                trees.append(tree)
                chunk.append((source, runtime.compile(source)))
        fused = compile_fused(trees)
        for event, values in zip(events, variables, strict=True):
            passed, errored = fused(event)
            for index, (source, expression) in enumerate(chunk):
                expected = runtime.outcome(expression, values)
                ours = None if index in errored else index in passed
                assert ours is expected, f"seed {seed}: {source}\n{event}"
                seen[expected] += 1
    assert min(seen.values()) > EXPRESSIONS * EVENTS // 20, seen
    assert sum(seen.values()) > EXPRESSIONS * EVENTS * 0.95, "hardly any is refused"


EDGES = [
    "7 / 2 == 3", "-7 / 2 == -3", "7 / -2 == -3", "-7 / -2 == 3", "7 % 3 == 1", "-7 % 3 == -1",
    "7 % -3 == 1", "-7 % -3 == -1", "1 / 0 == 0", "1 % 0 == 0", "0.0 / 0.0 == 0.0 / 0.0",
    "0.0 / 0.0 != 0.0 / 0.0", "1.0 / 0.0 > 1e308", "-1.0 / 0.0 < -1e308", "1.0 / -0.0 < 0.0",
    "9223372036854775807 + 1 > 0", "-9223372036854775808 - 1 < 0",
    "-9223372036854775808 / -1 > 0", "-9223372036854775808 % -1 == 0",
    "-(-9223372036854775808) > 0", "9223372036854775807 * 2 > 0", "4611686018427387904 * 2 > 0",
    "1e308 * 10.0 > 1e308", "0.1 + 0.2 == 0.3", 'size("żółć") == 4', 'size("😀") == 1',
    '"😀" > "\\uffff"', '"a" < "B"', "false < true", "true || 1 / 0 == 1", "1 / 0 == 1 || true",
    "false && 1 / 0 == 1", "1 / 0 == 1 && false", "true && 1 / 0 == 1", "1 / 0 == 1 && true",
    "1 / 0 == 1 && 1 / 0 == 1 && false", "1 / 0 == 1 || 1 % 0 == 1 || true",
    "!(1 / 0 == 1)", "(1 / 0 == 1) == (1 / 0 == 1)", "true ? true : 1 / 0 == 1",
    "false ? true : 1 / 0 == 1", "1 / 0 == 1 ? true : true", "1 in [1, 1 / 0]",
    "[1, 0].exists(x, 1 / x == 1)", "[0, 1].exists(x, 1 / x == 1)", "[0, 2].exists(x, 1 / x == 1)",
    "[0, 1].all(x, 1 / x == 2)", "[0, 1].all(x, 1 / x == 1)", "[].exists(x, true)", "[].all(x, false)",
    "[1, 2].all(x, [1, 2, 3].exists(y, y == x + 1))", "[true, false] == [true, false]",
    "event.attributes.told == 5", "event.attributes.told == 5.0", "event.attributes.told + 1 == 6",
    "event.attributes.told + 1.0 == 6.0", "event.attributes.told > 4", 'event.attributes.told > "4"',
    "event.attributes.told == true", "event.attributes.yes == 1", "event.attributes.yes == 1.0",
    "event.attributes.yes in [1.0]", "1 in event.attributes.list", "true in event.attributes.list",
    "event.attributes.list == [1, 1.5]", "event.attributes.nothing == null",
    "event.attributes.nothing == false", "event.attributes.nothing != 0",
    "event.attributes.told == null",
    "null == null", "event.attributes.told < 9223372036854775807", "-event.attributes.told == -5.0",
    "-event.attributes.yes == 1", "event.attributes.map.a == 1",
    "event.attributes.map == event.attributes.map",
    "event.attributes.map.a.b == 1", "has(event.attributes.map.b)", "has(event.attributes.none.b)",
    '"a" in event.attributes.map', "1 in event.attributes.map", "1 in event.attributes.told",
    "size(event.attributes.map) == 1", "size(event.attributes) == 5", "size(event.attributes.told) == 1",
    "event.attributes.list + event.attributes.list == [1, 1.5, 1, 1.5]",
    "(true ? event.attributes.told : 1) == 5", "(true ? 1 : event.attributes.told) + 1 == 2",
    "has(order.amount)", "has(order.total)", "order.amount == 0.0", "order.currency == ''",
    "has(cart.amount)", "has(cart.total)", "cart.amount == 0.0", "has(event.cart)", "has(event.order)",
    "has(event.review)", "has(review.kind)", "review.kind == Review.Kind.KIND_PRODUCT",
    "review.kind == afterword.v1.Review.Kind.KIND_PRODUCT", "Review.Kind.KIND_PRODUCT == 2",
    "event.order.total.units == order.total.units", "'' in contact.address.lines",
    "order.items.exists(order, order.sku == 'a')", "order.items.all(i, !has(i.price))",
]  # fmt: skip


@pytest.mark.parametrize("source", EDGES)
def test_edges_agree_with_the_runtime(frontend: ConditionFrontend, source: str) -> None:
    runtime = Runtime(frontend)
    attributes = {"told": 5, "yes": True, "list": [1, 1.5], "nothing": None, "map": {"a": 1}}
    event = Event(
        "1", "", "t", "", 0, Contact(), Order(items=[Item("a")]), Cart(total=Money("EUR")),
        review=Review(kind=2), attributes=attributes,
    )  # fmt: skip
    tree = frontend.compile(source, Family.NOTIFICATION).tree
    expected = runtime.outcome(runtime.compile(source), runtime.variables(event))
    passed, errored = compile_fused([tree])(event)
    assert (None if errored else bool(passed)) is expected
    if expected is None:
        with pytest.raises(EvaluationError):
            compile_predicate(tree)(event)
    else:
        assert compile_predicate(tree)(event) is expected
