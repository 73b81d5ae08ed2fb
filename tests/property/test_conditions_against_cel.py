"""Conditions mean what CEL says they mean (R42): the lowered function against the C++ runtime.

Typed expressions and events are drawn from a seed; every expression is checked, lowered and fused
with others, and the outcome (true, false or error) is compared with the runtime's for every event.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from cel.expr import checked_pb2
from google.protobuf import any_pb2, message_factory

from control import cel_schema
from control.cel_frontend import ConditionFrontend
from control.cel_lowerer import Lowerer
from core.errors import ExpressionInvalid
from core.model import (
    Address,
    Cart,
    Contact,
    Event,
    Evidence,
    Family,
    Item,
    Money,
    Order,
    Review,
    Shipment,
)
from core.rules.cel_values import EvaluationError
from core.rules.fields import ROOTS
from core.rules.lowering import compile_fused, compile_predicate

EXPRESSIONS, EVENTS, FUSED = 800, 8, 20
WORDS = ["", "a", "b", "PLN", "EUR", "paid", "ab", "żółć"]
NUMBERS = [0, 1, 2, -1, 3, 7, 100, 2**63 - 1, -(2**63)]
DOUBLES = [0.0, 1.0, -1.0, 0.5, 99.99, 100.0, 1e300]
KEYS = ["vip", "n", "s", "l", "m", "z", "not told"]
TEXTS = [
    "1",
    "-7",
    "+3",
    "2.5",
    "1e3",
    "true",
    "F",
    "x",
    "",
    "90s",
    "1h30m",
    "2024-02-29T23:59:59.5Z",
]
TIMES = [
    "1970-01-01T00:00:00Z", "2024-02-29T23:59:59.999Z", "2024-03-31T01:30:00+01:00",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2000-12-31T12:00:00-11:30",
]  # fmt: skip
SPANS = ["0s", "1h", "-90m", "36h", "1.5s", "250ms", "-1ns", "100000h", "1h30m0.25s"]
ZONES = [
    "",
    "UTC",
    "Europe/Warsaw",
    "America/St_Johns",
    "Asia/Kathmandu",
    "+02:00",
    "-11:30",
    "Nowhere",
]
PARTS = [
    "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfYear", "getDayOfWeek", "getHours",
    "getMinutes", "getSeconds", "getMilliseconds",
]  # fmt: skip
PATTERNS = ["", "a", "^a", "b$", "[A-Z]{3}", "a|b+", ".", "^.$", "(", "\\\\d+", "(?i)p"]
""" "(" is no pattern."""
TYPES = ["int", "uint", "double", "string", "bool", "bytes", "list", "map", "null_type", "type"]
TYPES += ["google.protobuf.Timestamp", "google.protobuf.Duration", "Order", "google.type.Money"]


class Drawn:
    """Draws typed CEL text."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._items: list[str] = []
        self._dyns: list[str] = []
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
            *[lambda: self._new_test(depth - 1)] * 8,
        ]
        return choice(makers)()

    def _new_test(self, depth: int) -> str:
        """Draw a test with what is neither a plain field nor a plain comparison."""
        choice, string = self._random.choice, self.string
        a_list, a_map = self.list(depth), self.map(depth)
        texts = [
            f"({self.timestamp(depth)} {choice(SIGNS)} {self.timestamp(depth)})",
            f"({self.duration(depth)} {choice(SIGNS)} {self.duration(depth)})",
            f"({self.uint(depth)} {choice(SIGNS)} {self.uint(0)})",
            f"({self.bytes(depth)} {choice(SIGNS)} {self.bytes(0)})",
            f"({self.int(depth)} {choice(SIGNS[2:])} {self.double(0)})",
            f"({self.double(depth)} {choice(SIGNS[2:])} {choice([self.uint, self.int])(0)})",
            f"(dyn({self.int(0)}) {choice(SIGNS)} {choice([self.uint, self.double, self.dyn])(0)})",
            f"({a_list} {choice(SIGNS[:2])} {self.list(depth)})",
            f"({a_map} {choice(SIGNS[:2])} {self.map(0)})",
            f"(event.attributes.m == {a_map})",
            f"({string(0)} in {a_list})",
            f"({string(0)} in {a_map})",
            f"({self.dyn(0)} in {choice([a_list, a_map])})",
            f"has({a_map}.{choice('ab')})",
            f"{string(depth)}.matches({self._pattern()})",
            f"{self.dyn(0)}.matches({self._pattern()})",
            f"bool({choice([self._text, self.dyn])(0)})",
            f"(type({self.any(0)}) {choice(SIGNS[:2])} {choice(TYPES)})",
            f"(type({self.any(0)}) == type({self.any(0)}))",
            f"({self._message()} {choice(SIGNS[:2])} {self._message()})",
            f"(dyn({self._message()}) == {self.dyn(0)})",
            f"({self._one_order()}.status == {string(0)})",
            f"has({self._one_order()}.{choice(['amount', 'items', 'order_time', 'status'])})",
            f"(dyn({self._one_order()}).{choice(['status', 'amount', 'nothing'])} == {string(0)})",
            f"event.consents.{choice(LOOPS)}(c, c.{choice(['given', 'medium > 1', 'purpose == 2'])})",
            f"event.consents.{choice(LOOPS)}(c, c.evidence_time {choice(SIGNS)} {self.timestamp(0)})",
            f"{a_list}.{choice(LOOPS)}(t, t {choice(SIGNS)} {string(0)})",
            f"{a_map}.{choice(LOOPS)}(k, k == {string(0)})",
            f"(size({a_map}) {choice(SIGNS)} size({a_list}))",
            self._dyn_loop(depth),
            self._dyn_loop(depth),
        ]
        return choice(texts)

    def _dyn_loop(self, depth: int) -> str:
        choice = self._random.choice
        source = choice(["event.attributes.l", "event.attributes.m", "event.attributes"])
        source = choice([source, source, self.dyn(0)])
        name = f"d{len(self._dyns)}"
        if len(self._dyns) == 2:
            return f"({name[:1]}0 == {self.dyn(0)})"
        self._dyns.append(name)
        body = choice([self._dyn_test, self._new_test, self.bool])(min(depth, 1))
        value = self.dyn(0)
        self._dyns.pop()
        return choice(
            [
                f"{source}.{choice(LOOPS)}({name}, {body})",
                f"(size({source}.filter({name}, {body})) > 1)",
                f"(size({source}.map({name}, {value})) > 1)",
                f"({source}.map({name}, {body}, {value}).size() == 1)",
            ]
        )

    def _pattern(self) -> str:
        choice = self._random.choice
        return choice([f'"{choice(PATTERNS)}"'] * 4 + [self.string(0)])

    def _message(self) -> str:
        paths = ["order.total", "cart.total", "order", "event.order", "contact", "shipment"]
        paths += [
            "order.items[0]",
            "cart.items[1]",
            "order.items[0].price",
            "event.activation_date",
        ]
        first, second = self._random.choice(paths), self._random.choice(paths)
        return self._random.choice([f"dyn({first})", f"[dyn({first}), dyn({second})]"])

    def _one_order(self) -> str:
        return self._random.choice(
            [
                "[order][0]",
                f"({self.bool(0)} ? order : event.order)",
                "[order, event.order].filter(o, o.status != '')[0]",
            ]
        )

    def any(self, depth: int) -> str:
        makers = [self.int, self.uint, self.double, self.string, self.bytes, self.bool, self.list]
        makers += [self.map, self.timestamp, self.duration, self.dyn]
        return self._random.choice(
            [self._random.choice(makers)(depth), "null", "order", "order.total", "order.items"]
        )

    def timestamp(self, depth: int) -> str:
        choice = self._random.choice
        leaves = ["event.occur_time", "order.order_time", "event.requested_send_time"]
        leaves += ["shipment.promised_time", "shipment.delivery_time", "event.order.order_time"]
        leaves += [f'timestamp("{choice(TIMES)}")', f"timestamp({self.int(0)})"]
        if depth == 0 or self._random.random() < 0.6:
            return choice(leaves)
        one, span = self.timestamp(depth - 1), self.duration(depth - 1)
        return choice([f"({one} + {span})", f"({one} - {span})", f"({span} + {one})",
                       f"timestamp({self._text(0)})", f"timestamp({self.dyn(0)})"])  # fmt: skip

    def duration(self, depth: int) -> str:
        choice = self._random.choice
        if depth == 0 or self._random.random() < 0.6:
            return f'duration("{choice(SPANS)}")'
        one, two = self.duration(depth - 1), self.duration(depth - 1)
        return choice([f"({one} {choice('+-')} {two})", f"duration({self._text(0)})",
                       f"({self.timestamp(0)} - {self.timestamp(0)})"])  # fmt: skip

    def uint(self, depth: int) -> str:
        choice = self._random.choice
        if depth == 0 or self._random.random() < 0.5:
            return choice(["0u", "1u", "7u", "18446744073709551615u"])
        one, two = self.uint(depth - 1), self.uint(depth - 1)
        return choice([f"({one} {choice('+-*/%')} {two})", f"uint({self.int(0)})",
                       f"uint({self.double(0)})", f"uint({self._text(0)})"])  # fmt: skip

    def bytes(self, depth: int) -> str:
        choice = self._random.choice
        if depth == 0 or self._random.random() < 0.5:
            return choice(['b""', 'b"a"', 'b"\\xc5\\xbc"', 'b"\\xff"'])
        return choice([f"({self.bytes(0)} + {self.bytes(0)})", f"bytes({self.string(depth - 1)})"])

    def list(self, depth: int) -> str:
        """Draw a list of texts."""
        choice = self._random.choice
        leaves = ["contact.address.lines", f"[{self.string(0)}]", '["a", "b"]', "[]"]
        leaves += [f"[{self.string(0)}, dyn({self.string(0)})]"]
        leaves += ["order.items.map(i, i.sku)", f"[{self.string(0)}, {self.string(0)}]"]
        if depth == 0 or self._random.random() < 0.5:
            return choice(leaves)
        one = self.list(depth - 1)
        texts = [f"({one} + {self.list(0)})", f"{one}.filter(t, t != {self.string(0)})"]
        texts += [f"{one}.map(t, t + {self.string(0)})", f"{one}.map(t, t == 'a', t + t)"]
        texts += [f"({one} + event.attributes.l)", f"({self.bool(0)} ? {one} : {self.list(0)})"]
        return choice([*texts, f"order.items.filter(i, i.quantity > {self.int(0)}).map(i, i.sku)"])

    def map(self, depth: int) -> str:
        choice = self._random.choice
        leaves = ["{'a': 1.0, 'k': 'k'}", "{'a': 1.0}", f"{{'b': {self.string(0)}}}"]
        return choice([*leaves, f"{{{self.string(depth)}: {self.double(0)}}}"])

    def _text(self, _: int) -> str:
        return self._random.choice([f'"{self._random.choice(TEXTS)}"', self.string(0)])

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
        part, zone = choice(PARTS), choice(ZONES)
        texts = [f"({one} {choice('+-*/%')} {two})", f"-({one})", f"size({self.string(0)})"] * 2
        texts += [f"{self.timestamp(depth - 1)}.{part}()", f'{self.timestamp(0)}.{part}("{zone}")']
        texts += [f"{self.duration(depth - 1)}.{choice(PARTS[6:])}()", f"int({self.double(0)})"]
        texts += [f"int({self._text(0)})", f"int({self.uint(0)})", f"int({self.timestamp(0)})"]
        texts += [f"[1, 2, 3][{one}]", f"size({self.list(depth - 1)})", f"size({self.bytes(0)})"]
        texts += [f"order.items[{self.int(0)}].quantity", f"int({self.dyn(0)})"]
        texts += [f"{{1: 2, 2: 1}}[{one}]", f"{{'a': 1, 'b': 2}}[{self.string(0)}]"]
        return choice([*texts, "event.activation_date.year", "event.activation_date.day"])

    def double(self, depth: int) -> str:
        choice = self._random.choice
        if depth == 0 or self._random.random() < 0.5:
            return choice([repr(choice(DOUBLES)), "order.amount", "cart.amount", "order.amount"])
        one, two = self.double(depth - 1), self.double(depth - 1)
        texts = [f"({one} {choice('+-*/')} {two})", f"-({one})", f"double({self.int(0)})"]
        return choice([*texts, f"double({self._text(0)})", f"double({self.uint(0)})"])

    def string(self, depth: int) -> str:
        choice = self._random.choice
        leaves = [f'"{choice(WORDS)}"', "order.status", "event.order.status", "order.currency"]
        leaves += ["contact.email", "contact.country", "contact.address.city", "event.type"]
        leaves += ["shipment.carrier", "event.locale", "cart.total.currency_code"]
        leaves += [f"{item}.sku" for item in self._items] * 4
        leaves += [f"{item}.price.currency_code" for item in self._items]
        if depth == 0 or self._random.random() < 0.8:
            return choice(leaves)
        texts = [f"({self.string(depth - 1)} + {self.string(depth - 1)})"] * 3
        makers = [self.int, self.uint, self.bool, self.bytes, self.timestamp, self.duration]
        texts += [f"string({choice(makers)(depth - 1)})", f"string({self.dyn(0)})"] * 2
        texts += [f"string({choice(DOUBLES)!r})", "string(order.amount)", f"{self.list(0)}[0]"]
        return choice([*texts, f"contact.address.lines[{self.int(0)}]", "order.items[0].sku"])

    def dyn(self, depth: int) -> str:
        choice = self._random.choice
        leaves = [
            f'event.attributes["{choice(KEYS)}"]',
            "event.attributes.vip",
            "event.attributes.n",
        ]
        leaves += ["event.attributes.s", "event.attributes.m.k", "event.attributes.s.k"]
        leaves += [
            "event.attributes.l[0]",
            "event.attributes.l[3]",
            "event.attributes.m[event.type]",
        ]
        for name in self._dyns:
            leaves += [name, name, f"{name}.k", f"{name}[0]", f"event.attributes[{name}]"] * 3
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
        paths += ["event.attributes", "event.consents", "event.occur_time", "order.order_time"]
        paths += ["shipment.promised_time", "event.activation_date", "event.activation_date.day"]
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
            "1", "", choice(WORDS), "", choice(INSTANTS[1:]),
            Contact(choice(WORDS), country=choice(WORDS), address=maybe(
                Address(choice([[], ["a"], ["b", "PLN"]]), choice(WORDS)))),
            maybe(Order("r", choice(WORDS), maybe(self._money()), choice(INSTANTS), self._lines())),
            maybe(Cart("c", "u", maybe(self._money()), self._lines())),
            maybe(Shipment(choice(WORDS), promised_ms=choice(INSTANTS), delivered_ms=choice(INSTANTS))),
            maybe(Review(choice([0, 1, 2]), choice([0, 1, 5]), has_comment=choice([True, False]))),
            consents=[
                Evidence(choice([1, 2]), choice([1, 2]), choice([True, False]), choice(INSTANTS))
                for _ in range(choice([0, 1, 2]))
            ],
            activation_date=choice(["", "2024-02-29"]), requested_send_ms=choice(INSTANTS),
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


INSTANTS = [0, 1, 951_782_400_000, 1_709_251_199_999, 1_711_846_800_123]
"""Epoch ms; 0 is not told."""
SIGNS = ["==", "!=", "<", "<=", ">", ">="]
TESTS = ["startsWith", "endsWith", "contains"]
LOOPS = ["exists", "all", "exists_one"]


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
        self._fill_time(message.occur_time, event.occur_ms)
        if event.requested_send_ms:
            self._fill_time(message.requested_send_time, event.requested_send_ms)
        if event.activation_date:
            date = message.activation_date
            date.year, date.month, date.day = map(int, event.activation_date.split("-"))
        for told in event.consents:
            consent = message.consents.add(
                purpose=told.purpose, medium=told.medium, given=told.given
            )
            if told.time_ms:
                self._fill_time(consent.evidence_time, told.time_ms)
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
            if event.order.order_ms:
                self._fill_time(message.order.order_time, event.order.order_ms)
            self._fill(message.order, event.order)
        if event.cart:
            message.cart.SetInParent()
            self._fill(message.cart, event.cart)
        if event.shipment:
            message.shipment.SetInParent()
            message.shipment.carrier = event.shipment.carrier
            if event.shipment.promised_ms:
                self._fill_time(message.shipment.promised_time, event.shipment.promised_ms)
            if event.shipment.delivered_ms:
                self._fill_time(message.shipment.delivery_time, event.shipment.delivered_ms)
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

    def _fill_time(self, message: Any, instant_ms: int) -> None:
        message.FromMilliseconds(instant_ms)

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
    assert sum(seen.values()) > EXPRESSIONS * EVENTS * 0.9, "few are refused"


EDGES = [
    "7 / 2 == 3", "-7 / 2 == -3", "7 / -2 == -3", "-7 / -2 == 3", "7 % 3 == 1", "-7 % 3 == -1",
    "7 % -3 == 1", "-7 % -3 == -1", "1 / 0 == 0", "1 % 0 == 0", "0.0 / 0.0 == 0.0 / 0.0",
    "0.0 / 0.0 != 0.0 / 0.0", "1.0 / 0.0 > 1e308", "-1.0 / 0.0 < -1e308", "1.0 / -0.0 < 0.0",
    "9223372036854775807 + 1 > 0", "-9223372036854775808 - 1 < 0", "-9223372036854775808 / -1 > 0",
    "-9223372036854775808 % -1 == 0", "-(-9223372036854775808) > 0", "9223372036854775807 * 2 > 0",
    "4611686018427387904 * 2 > 0", "1e308 * 10.0 > 1e308", "0.1 + 0.2 == 0.3", 'size("żółć") == 4',
    'size("😀") == 1', '"😀" > "\\uffff"', '"a" < "B"', "false < true", "true || 1 / 0 == 1",
    "1 / 0 == 1 || true", "false && 1 / 0 == 1", "1 / 0 == 1 && false", "true && 1 / 0 == 1",
    "1 / 0 == 1 && true", "1 / 0 == 1 && 1 / 0 == 1 && false", "1 / 0 == 1 || 1 % 0 == 1 || true",
    "!(1 / 0 == 1)", "(1 / 0 == 1) == (1 / 0 == 1)", "true ? true : 1 / 0 == 1",
    "false ? true : 1 / 0 == 1", "1 / 0 == 1 ? true : true", "1 in [1, 1 / 0]",
    "[1, 0].exists(x, 1 / x == 1)", "[0, 1].exists(x, 1 / x == 1)", "[0, 2].exists(x, 1 / x == 1)",
    "[0, 1].all(x, 1 / x == 2)", "[0, 1].all(x, 1 / x == 1)", "[].exists(x, true)",
    "[].all(x, false)", "[1, 2].all(x, [1, 2, 3].exists(y, y == x + 1))",
    "[true, false] == [true, false]", "event.attributes.told == 5", "event.attributes.told == 5.0",
    "event.attributes.told + 1 == 6", "event.attributes.told + 1.0 == 6.0",
    "event.attributes.told > 4", 'event.attributes.told > "4"', "event.attributes.told == true",
    "event.attributes.yes == 1", "event.attributes.yes == 1.0", "event.attributes.yes in [1.0]",
    "1 in event.attributes.list", "true in event.attributes.list",
    "event.attributes.list == [1, 1.5]", "event.attributes.nothing == null",
    "event.attributes.nothing == false", "event.attributes.nothing != 0",
    "event.attributes.told == null", "null == null", "event.attributes.told < 9223372036854775807",
    "-event.attributes.told == -5.0", "-event.attributes.yes == 1", "event.attributes.map.a == 1",
    "event.attributes.map == event.attributes.map", "event.attributes.map.a.b == 1",
    "has(event.attributes.map.b)", "has(event.attributes.none.b)", '"a" in event.attributes.map',
    "1 in event.attributes.map", "1 in event.attributes.told", "size(event.attributes.map) == 1",
    "size(event.attributes) == 5", "size(event.attributes.told) == 1",
    "event.attributes.list + event.attributes.list == [1, 1.5, 1, 1.5]",
    "(true ? event.attributes.told : 1) == 5", "(true ? 1 : event.attributes.told) + 1 == 2",
    "has(order.amount)", "has(order.total)", "order.amount == 0.0", "order.currency == ''",
    "has(cart.amount)", "has(cart.total)", "cart.amount == 0.0", "has(event.cart)",
    "has(event.order)", "has(event.review)", "has(review.kind)",
    "review.kind == Review.Kind.KIND_PRODUCT",
    "review.kind == afterword.v1.Review.Kind.KIND_PRODUCT", "Review.Kind.KIND_PRODUCT == 2",
    "event.order.total.units == order.total.units", "'' in contact.address.lines",
    "order.items.exists(order, order.sku == 'a')", "order.items.all(i, !has(i.price))",
    "order.items.exists(order, .order.items[0] == order)",
    # numbers of different types
    "1 < 2u", "-1 < 0u", "1 <= 1.5", "2u > 1.5", "dyn(1) == 1.0", "dyn(1u) == 1", "dyn(1) in [1.0]",
    "dyn(9223372036854775807) < 9223372036854775808.0",
    "dyn(9007199254740993) == 9007199254740992.0",
    "dyn(18446744073709551615u) > 9223372036854775807", "0u - 1u == 0u", "7u / 2u == 3u",
    "7u % 0u == 1u", "18446744073709551615u + 1u == 0u", "-dyn(1u) == -1", "order.amount > 0",
    "0 >= order.amount",
    # conversions
    "int(9.9) == 9 && int(-9.9) == -9", "int(9223372036854775807.0) > 0", "int(0.0 / 0.0) == 0",
    "int('9223372036854775808') > 0", "int('') == 0", "int('1_0') == 10", "int('+1') == 1",
    "int(dyn(true)) == 1", "uint(-1) == 0u", "uint(-0.5) == 0u", "uint(1.8e19) > 1u",
    "uint(2e19) > 1u", "double('1e400') > 1e308", "double('1_0') == 10.0",
    "double('infinity') > 1.0", "double('0x1p3') == 8.0", "double('1e') == 1.0",
    "string(1.0) == '1'", "string(0.1 + 0.2) == '0.30000000000000004'",
    "string(1000000.0) == '1e+06'", "string(123456.789) == '123456.789'", "string(-0.0) == '-0'",
    "string(1e-7) == '1e-07'", "string(1234567.5) == '1.2345675e+06'", "string(0.0001) == '0.0001'",
    "string(5e-324) == '5e-324'", "string(1.0 / 0.0) == 'inf'", "string(b'\\xff') == ''",
    "bytes('ż') == b'\\xc5\\xbc'", "string(1u) == '1'", "bool('TRUE') && bool('t') && bool('1')",
    "bool('yes')", "string(dyn([1])) == ''", "string(dyn(null)) == ''", "int(duration('5s')) == 5",
    "duration(dyn(1)) == duration('1s')", "type(type(1)) == type",
    "type(order) == afterword.v1.Order", "type(order.total) == google.type.Money",
    "type(null) == null_type", "type(timestamp(0)) == google.protobuf.Timestamp",
    "type(event.attributes) == map", "type(event.attributes.told) == double",
    "type(contact.address.lines) == list", "[int] == [type(1)]",
    # times
    "timestamp('2020-02-30T00:00:00Z') > timestamp(0)",
    "timestamp('2020-01-01T00:00:00') > timestamp(0)",
    "timestamp('2020-01-01t00:00:00z') > timestamp(0)", "timestamp(253402300800) > timestamp(0)",
    "timestamp('0000-01-01T00:00:00Z') < timestamp(0)",
    "timestamp('9999-12-31T23:59:59-01:00') > timestamp(0)",
    "timestamp('2020-01-01T00:00:00+02:00') == timestamp('2019-12-31T22:00:00Z')",
    "timestamp('9999-12-31T23:59:59Z') - timestamp('0001-01-01T00:00:00Z') > duration('1s')",
    "timestamp('9999-12-31T23:59:59Z') + duration('1s') > timestamp(0)", "timestamp(0) == dyn(0)",
    "duration('315576000001s') > duration('1s')", "duration('315576000000s') > duration('1s')",
    "duration('200000000000s') + duration('1s') > duration('1s')",
    "duration('1.5h') == duration('90m')", "duration('1s1h') == duration('3601s')",
    "duration('.5s') == duration('500ms')", "duration('0') == duration('0s')",
    "duration('1') == duration('1s')", "duration('1h-1m') == duration('59m')",
    "-dyn(duration('1s')) == 1", "string(duration('1h1ms')) == '3600.001s'",
    "string(duration('-0.5s')) == '-0.500s'",
    "string(timestamp('2009-02-13T23:31:30.5Z')) == '2009-02-13T23:31:30.500Z'",
    "string(timestamp('0001-01-01T00:00:00Z')) == '0001-01-01T00:00:00Z'",
    "timestamp('0001-01-01T00:00:00Z').getFullYear('-01:00') == 0",
    "timestamp('9999-12-31T23:59:59Z').getFullYear('+01:00') == 10000",
    "timestamp('0001-01-01T00:00:00Z').getDayOfWeek('-01:00') == 0",
    "timestamp('1969-12-31T23:59:59.5Z').getMilliseconds() == 500",
    "int(timestamp('1969-12-31T23:59:59.5Z')) == -1", "timestamp(0).getHours('X/Y') == 0",
    "timestamp(0).getHours('-02:30') == 21", "timestamp(0).getMinutes('-02:30') == 30",
    "timestamp(0).getHours('2:00') == 2", "timestamp('2024-12-31T00:00:00Z').getDayOfYear() == 365",
    "duration('-1h1500ms').getMilliseconds() == -500", "duration('3661.5s').getMinutes() == 61",
    # texts
    "'ż'.matches('^.$')", "'a\\nb'.matches('a.b')", "'a'.matches('(a' + '')", "'abc'.matches('b')",
    "'a'.matches(dyn(1))", "b'a' + b'b' == b'ab'", "size(b'ż') == 2",
    # lists, maps, messages
    "[1, 2][dyn(1.0)] == 2", "[1, 2][dyn(0.5)] == 2", "[1, 2][-1] == 2", "[1, 2][2] == 2",
    "[1][dyn(true)] == 1", "{1: 2}[dyn(1.0)] == 2", "{1: 2}[dyn(1u)] == 2",
    "{true: 1}[dyn(1)] == 1", "{1: 2}[dyn(null)] == 2", "dyn(1.5) in {1: 2}", "dyn(true) in {1: 2}",
    "dyn(null) in {1: 2}", "dyn([1]) in {1: 2}", "{dyn(1.5): 1} == {}", "{dyn(null): 1} == {}",
    "dyn({1: 1}) == dyn({1u: 1.0})", "{'a': 1}.b == 1", "has({'a': 1}.b)", "dyn(order).nope == 1",
    "has(dyn(order).nope)", "dyn(order).amount == 0.0", "has(dyn(order).amount)",
    "has(dyn(cart).amount)", "dyn(cart).currency == 'EUR'", "dyn(1).foo == 1", "dyn([1]).foo == 1",
    "order.total == null", "order == event.order", "dyn(order) == dyn(cart)",
    "[order.total] == [order.total]", "order.items == cart.items",
    "[order.items[0]] == order.items", "order.items[0] in order.items",
    "order.items.filter(i, i.sku == 'a') == order.items", "event.attributes.list[0] == 1",
    "event.attributes.list[2] == 1", "event.attributes['map']['a'] == 1",
    "event.attributes.map == {'a': 1}", "event.attributes == {'a': 1}",
    "[1, 2] + event.attributes.list == [1]", "([1] + event.attributes.list)[1] + 1 == 2",
    "0.0 / 0.0 in [0.0 / 0.0]",
    "event.attributes.list[0] + 1.0 == 2.0", "type(event.attributes.list[0]) == double",
    "[1, dyn('a')][1] + 1 == 2", "[dyn('a'), 1][1] + 1 == 2", "[1, dyn('a')].exists(x, x + 1 == 2)",
    "dyn((event.attributes.list + [1])[0]) + 1.0 == 2.0", "(true ? [1] : [dyn('a')])[0] == 1",
    # macros
    "[1, 2, 2].exists_one(x, x == 2)", "[1, 0].exists_one(x, 1 / x == 1)",
    "[1, 2].map(x, x * 2) == [2, 4]", "[0, 1].map(x, 1 / x) == [1]",
    "[1, 2, 3].map(x, x > 1, x + 1) == [3, 4]", "[3].filter(x, x / 0 == 1) == []",
    "[1].filter(x, dyn(1)) == []", "[dyn(1), true].exists(x, x)", "[1].all(x, dyn(1))",
    "[[1], [2, 3]].exists(x, x.exists(y, y == 3))",
    "[1, 2].map(x, [x].map(y, x + y)) == [[2], [4]]", "{'a': 1, 'b': 2}.exists_one(k, k == 'a')",
    "{'a': 1}.map(k, k + 'b') == ['ab']", "dyn(1).exists(x, true)",
    "event.attributes.exists(k, k == 'told')",
    "event.attributes.list.map(x, x + 1.0) == [2.0, 2.5]", "event.attributes.told.map(x, x) == []",
    "event.attributes.map.all(k, event.attributes.map[k] == 1)",
    "event.attributes.list.filter(x, x > 1) == [1.5]",
    "event.attributes.list.exists(x, x.foo == 1 || x == 1)",
]  # fmt: skip


def lowered(frontend: ConditionFrontend, source: str) -> Any:
    """Return the tree, also of a condition that is refused because it cannot but err."""
    checked = checked_pb2.CheckedExpr()
    serialized = cel_schema.make_environment(frontend.pool).compile(source).serialize()
    any_pb2.Any.FromString(serialized).Unpack(checked)
    return Lowerer(source, checked).test(checked.expr)


@pytest.mark.parametrize("source", EDGES)
def test_edges_agree_with_the_runtime(frontend: ConditionFrontend, source: str) -> None:
    runtime = Runtime(frontend)
    attributes = {"told": 5, "yes": True, "list": [1, 1.5], "nothing": None, "map": {"a": 1}}
    event = Event(
        "1", "", "t", "", 0, Contact(), Order(items=[Item("a")]), Cart(total=Money("EUR")),
        review=Review(kind=2), attributes=attributes,
    )  # fmt: skip
    tree = lowered(frontend, source)
    expected = runtime.outcome(runtime.compile(source), runtime.variables(event))
    passed, errored = compile_fused([tree])(event)
    assert (None if errored else bool(passed)) is expected
    if expected is None:
        with pytest.raises(EvaluationError):
            compile_predicate(tree)(event)
    else:
        assert compile_predicate(tree)(event) is expected
