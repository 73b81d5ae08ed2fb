"""What compiles the rules of a channel and event type into one.

Decides: nothing; the registry is given it, so that it can be read without a compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from core.model import Event
from core.registry.resources import Rule


class EventMatcher(Protocol):
    """The active rules of one channel and event type, compiled into one."""

    rules: tuple[Rule, ...]

    def match(self, event: Event) -> tuple[Sequence[Rule], Sequence[Rule]]:
        """Return (rules whose condition is true, rules whose condition ended in an error)."""


MatcherFactory = Callable[[Sequence[Rule]], EventMatcher]


def default_matcher(rules: Sequence[Rule]) -> EventMatcher:
    """Compile rules with the product's own matcher."""
    # Imported late: a registry that never meets an event needs no compiler.
    from core.rules.matcher import Matcher

    return Matcher(rules)
