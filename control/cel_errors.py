"""What the author of a condition is told: where it is wrong, and what would be right.

Decides: the words, from the reports of the CEL front end.
Never: what is wrong.
"""

from __future__ import annotations

import re
from typing import NoReturn

from core.bounds import EXPRESSION_DEPTH_MAX
from core.errors import ExpressionInvalid
from core.rules.cel_convert import CONVERSIONS
from core.rules.cel_times import GETTERS
from core.rules.fields import FIELDS, ROOTS

FIELD = "rule.condition.expression"

FUNCTIONS = (
    "has, size, startsWith, endsWith, contains, matches, exists, all, exists_one, filter, map, "
    f"{', '.join(CONVERSIONS)}, dyn, {', '.join(GETTERS)}"
)
"""All that a condition can call."""

_UNTOLD = ("Money", "amount")
_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


def refuse(text: str) -> NoReturn:
    """Raise ExpressionInvalid for the condition."""
    raise ExpressionInvalid(text, field=FIELD)


def too_deep() -> ExpressionInvalid:
    """Return the error for a condition that exceeds the bound on nesting."""
    return ExpressionInvalid(
        f"the condition is nested too deep; up to {EXPRESSION_DEPTH_MAX} levels go", field=FIELD
    )


def explain(source: str, report: str) -> ExpressionInvalid:
    """Return what the checker found first, with its place and what would be right."""
    if "recursion" in report:
        return too_deep()
    found = _ERROR.search(report)
    if found is None:
        return ExpressionInvalid(f"the condition cannot be checked: {report:.200}", field=FIELD)
    line, column, text = int(found[1]), int(found[2]), found[3]
    text = text.partition(" expecting ")[0].removesuffix(" [INVALID_ARGUMENT]")
    hint = _hint(text, source.split("\n")[line - 1][column - 1 :])
    return ExpressionInvalid(f"line {line}, column {column}: {text}; {hint}", field=FIELD)


def _hint(text: str, rest: str) -> str:
    """Return what would be right.

    Args:
        text: the checker's words.
        rest: the rest of the line, from the place it complains about.
    """
    if "no matching overload" in text:
        if "double" in text and "int" in text:
            return "write whole numbers beside a double with a decimal point, as in 100.0"
        return "both sides have to be of the same type, and the operator has to fit it"
    if "undeclared reference" in text:
        if rest.startswith("("):
            return f"the functions are {FUNCTIONS}"
        return f"the variables are {', '.join(ROOTS)}; texts stand in quotes"
    if undefined := re.search(r"struct '[\w.]*?(\w+)'", text):
        known = FIELDS.get(undefined[1], {})
        # The amount of Money is only there for those that have a total.
        return f"its fields are {', '.join(n for n in known if (undefined[1], n) != _UNTOLD)}"
    if "has()" in text:
        return "has(order.total) asks whether a field is set"
    if re.search(r"'(=|&|\||and|or|not)\b", text) or re.search(r"'[=&|]", text):
        return "compare with ==, combine with &&, || and !"
    return 'a condition looks like order.status == "paid" && order.currency == "EUR"'
