"""Conditions pass the public conformance suite of CEL, as far as they go (R42).

The suite is that of github.com/google/cel-spec, directory tests/simple/testdata. It is not part of
this repository: AFTERWORD_CEL_SPEC names the folder with its `*.textproto` files.

Every case is checked in an environment of the same make as the product's, with the case's own
variables, lowered by the product's lowerer, and run. A case ends in one of three ways: it passes, it is
refused by name before anything runs, or it is wrong. None may be wrong. The figures are in
docs/CONDITIONS.md.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cel.expr import checked_pb2, value_pb2
from cel.expr.conformance.proto2 import test_all_types_extensions_pb2 as extensions  # noqa: F401
from cel.expr.conformance.proto2 import test_all_types_pb2 as proto2_types  # noqa: F401
from cel.expr.conformance.proto3 import test_all_types_pb2 as proto3_types  # noqa: F401
from cel.expr.conformance.test import simple_pb2
from cel_expr_python import cel
from google.protobuf import any_pb2, descriptor_pool, duration_pb2, text_format, timestamp_pb2

from control import cel_schema
from control.cel_errors import explain
from control.cel_kinds import DYN, Typed
from control.cel_lowerer import Lowerer
from core.errors import ExpressionInvalid
from core.model import Contact, Event
from core.rules.cel_types import (
    NANOS_PER_SECOND,
    Duration,
    EvaluationError,
    Map,
    Timestamp,
    TypeName,
    Uint,
    key_of,
)
from core.rules.cel_values import dyn_eq, make_map
from core.rules.lowering import compile_predicate

FOLDER = os.environ.get("AFTERWORD_CEL_SPEC", "")

PASSED = {
    "basic": 39, "comparisons": 317, "conversions": 108, "dynamic": 0, "enums": 14, "fields": 58,
    "fp_math": 29, "integer_math": 61, "lists": 39, "logic": 21, "macros": 44, "namespace": 14,
    "parse": 176, "plumbing": 5, "proto2": 0, "proto3": 0, "string": 51, "timestamps": 78,
    "type_deduction": 12, "wrappers": 0,
}  # fmt: skip
"""Files of standard CEL, and how many cases passed when docs/CONDITIONS.md was written. The others are
of extensions, which the front end does not know."""

_QUESTION = re.compile(r"(?<!\\)((?:\\\\)*)\\\?")


class Refused(Exception):
    """The case is refused before anything runs; the text says why."""


def cases(name: str) -> Iterator[tuple[str, simple_pb2.SimpleTest]]:
    file = simple_pb2.SimpleTestFile()
    text = (Path(FOLDER) / f"{name}.textproto").read_text(encoding="utf-8")
    # Python's reader of this format keeps the backslash of "\\?", which stands for a question mark.
    # And the suite may be newer than its classes: what they do not know is in messages of its own.
    text_format.Parse(_QUESTION.sub(r"\1?", text), file, allow_unknown_field=True)
    for section in file.section:
        if section.name.startswith("strong_"):  # enumerations as types: an option of the language
            continue
        for test in section.test:
            if test.WhichOneof("result_matcher") != "typed_result" or test.typed_result.HasField(
                "result"
            ):
                yield f"{name}/{section.name}/{test.name}", test


# --- from the suite's words to ours --------------------------------------------------------------


_PRIMITIVES = {
    checked_pb2.Type.BOOL: cel.Type.BOOL, checked_pb2.Type.INT64: cel.Type.INT,
    checked_pb2.Type.UINT64: cel.Type.UINT, checked_pb2.Type.DOUBLE: cel.Type.DOUBLE,
    checked_pb2.Type.STRING: cel.Type.STRING, checked_pb2.Type.BYTES: cel.Type.BYTES,
}  # fmt: skip
_WELL_KNOWN = {
    checked_pb2.Type.TIMESTAMP: cel.Type.TIMESTAMP,
    checked_pb2.Type.DURATION: cel.Type.DURATION,
}


def type_of(declared: checked_pb2.Type) -> cel.Type:
    match declared.WhichOneof("type_kind"):
        case "primitive":
            return _PRIMITIVES[declared.primitive]
        case "well_known" if declared.well_known in _WELL_KNOWN:
            return _WELL_KNOWN[declared.well_known]
        case "list_type":
            return cel.Type.List(type_of(declared.list_type.elem_type))
        case "map_type":
            return cel.Type.Map(
                type_of(declared.map_type.key_type), type_of(declared.map_type.value_type)
            )
        case "message_type":
            return cel.Type(declared.message_type)
        case "null":
            return cel.Type.NULL
    return cel.Type.DYN


def python_of(value: value_pb2.Value) -> Any:
    """Return a value of the suite as conditions hold it."""
    kind = value.WhichOneof("kind")
    match kind:
        case "null_value":
            return None
        case "uint64_value":
            return Uint(value.uint64_value)
        case "list_value":
            return tuple(map(python_of, value.list_value.values))
        case "map_value":
            entries = [(python_of(e.key), python_of(e.value)) for e in value.map_value.entries]
            return make_map(*(part for entry in entries for part in entry))
        case "type_value":
            return TypeName(value.type_value)
        case "object_value":
            return object_of(value.object_value)
        case "enum_value":
            raise Refused("enumerations as types of their own")
    return getattr(value, str(kind))


def object_of(packed: any_pb2.Any) -> Any:
    for message, make in (
        (timestamp_pb2.Timestamp(), Timestamp),
        (duration_pb2.Duration(), Duration),
    ):
        if packed.Unpack(message):
            return make(message.seconds * NANOS_PER_SECOND + message.nanos)
    raise Refused(f"a message of type {packed.TypeName()}")


def is_same(ours: Any, expected: Any) -> bool:
    """Return whether two values are equal and of equal types, all the way down."""
    if isinstance(expected, float) and expected != expected:
        return isinstance(ours, float) and ours != ours
    if isinstance(expected, tuple):
        return (
            isinstance(ours, tuple)
            and len(ours) == len(expected)
            and all(map(is_same, ours, expected))
        )
    if isinstance(expected, Map):
        return (
            isinstance(ours, Map)
            and ours.keys() == expected.keys()
            and all(is_same(ours[key], expected[key]) for key in expected)
        )
    return type(ours) is type(expected) and dyn_eq(ours, expected)


# --- one case ------------------------------------------------------------------------------------


def check(test: simple_pb2.SimpleTest) -> checked_pb2.CheckedExpr:
    if test.disable_macros:
        raise Refused("macros cannot be switched off")
    variables = {}
    for declared in test.type_env:
        if declared.HasField("function"):
            raise Refused(f"the function `{declared.name}` of the case's own")
        variables[declared.name] = type_of(declared.ident.type)
    environment = cel_schema.environment_of(
        descriptor_pool.Default(), variables, test.container or ""
    )
    checked = checked_pb2.CheckedExpr()
    try:
        packed = any_pb2.Any.FromString(environment.compile(test.expr).serialize())
    except RuntimeError as error:
        raise Refused(explain(test.expr, str(error)).message) from None
    packed.Unpack(checked)
    return checked


def outcome(test: simple_pb2.SimpleTest) -> Any:
    """Return the value, or the error, of a case."""
    checked = check(test)
    known = {declared.name: Typed(["attribute", declared.name], DYN) for declared in test.type_env}
    bound = Map()
    for name, binding in test.bindings.items():
        bound[key_of(name)] = python_of(binding.value)
    lowerer = Lowerer(test.expr, checked, known)
    try:
        predicate = compile_predicate(lowerer.value(checked.expr).tree)
    except ExpressionInvalid as error:
        raise Refused(error.message) from None
    try:
        return predicate(Event("", "", "", "", 0, Contact(), attributes=bound))
    except EvaluationError as error:
        return error


def run(test: simple_pb2.SimpleTest) -> tuple[str, str]:
    """Return (passed, refused or wrong; the reason)."""
    try:
        ours = outcome(test)
        matcher = test.WhichOneof("result_matcher")
        if matcher in ("eval_error", "any_eval_errors"):
            return ("passed", "") if isinstance(ours, EvaluationError) else ("wrong", repr(ours))
        if matcher in ("unknown", "any_unknowns"):
            raise Refused("unknown values")
        expected = True
        if matcher == "value":
            expected = python_of(test.value)
        if matcher == "typed_result":
            expected = python_of(test.typed_result.result)
    except Refused as refused:
        return "refused", str(refused)
    if is_same(ours, expected):
        return "passed", ""
    return "wrong", f"{ours!r} instead of {expected!r}"


@pytest.mark.skipif(not FOLDER, reason="AFTERWORD_CEL_SPEC does not name the suite's folder")
@pytest.mark.parametrize("name", PASSED)
def test_no_case_of_the_suite_gives_a_wrong_value_r42(name: str) -> None:
    counted: Counter[str] = Counter()
    wrong, unnamed = [], []
    for title, test in cases(name):
        result, reason = run(test)
        counted[result] += 1
        if result == "wrong":
            wrong.append(f"{title}: {test.expr}: {reason}")
        if result == "refused" and not reason:
            unnamed.append(title)
    print(f"{name}: {dict(counted)}")
    assert not wrong, "\n".join(wrong)
    assert not unnamed
    assert counted["passed"] >= PASSED[name]
