"""What the parts of a rule need to know of the rule while they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from afterword.googleapis.expr_pb2 import Expr
from core.errors import ExpressionInvalid
from core.model import REVIEW_FAMILIES, Family, Purpose
from core.registry.contents import ContentTemplate
from core.registry.rule_parts import Condition

OwnTemplates = Callable[[str], ContentTemplate | None]
"""From an id to the shop's own template."""


def no_templates(template: str) -> None:
    """Return None: there are none."""


class Conditions(Protocol):
    """What checks conditions: `control.cel_frontend.ConditionFrontend`."""

    def compile(self, source: str, family: Family) -> Condition:
        """Return the checked condition, or raise ExpressionInvalid."""

    def warnings(self, condition: Condition, family: Family) -> list[str]:
        """Return what is allowed but probably not meant."""


class Frame(msgspec.Struct):
    """A rule while its parts are read: its kind, and what there is to warn about."""

    family: Family
    purpose: Purpose
    conditions: Conditions
    warnings: list[str] = []
    own: OwnTemplates = no_templates

    @property
    def is_review(self) -> bool:
        """Return whether the rule asks for reviews."""
        return self.family in REVIEW_FAMILIES

    def condition(self, pb: Expr, field: str, of: str = "") -> Condition | None:
        """Return a checked condition, None if there is none.

        Args:
            field: path of the expression's message.
            of: what its warnings begin with, "step 'first'".
        """
        if not pb.expression.strip():
            return None
        try:
            condition = self.conditions.compile(pb.expression, self.family)
        except ExpressionInvalid as error:
            raise ExpressionInvalid(error.message, field=f"{field}.expression") from None
        self.warnings += [
            f"{of}: {warning}" if of else warning
            for warning in self.conditions.warnings(condition, self.family)
        ]
        return condition
