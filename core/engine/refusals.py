"""Conditions that said no: what they looked at, kept for a while for whoever asks why.

Decides: how much is remembered of events that not every rule wanted (C13, R42).
Never: durable; what became of an event is in the store, this says why a rule let it pass. Errors of
conditions are counted as well, because one that always errs is a mistake in the rule.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from core.bounds import REFUSALS_REMEMBERED_MAX
from core.engine.explain_texts import plain, quoted
from core.model import Event
from core.registry.resources import Rule
from core.rules.matcher import evaluate
from core.stats import Stats

Values = tuple[tuple[str, str], ...]
"""(name, value) of what a condition read."""

SHOWN_MAX = 8
"""Values that one line tells of."""


class Refusals:
    """The newest events that a condition did not let pass, with the rules it belongs to."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._held: OrderedDict[bytes, tuple[Event, tuple[Rule, ...]]] = OrderedDict()

    def note(
        self, event_key: bytes, event: Event, refused: Sequence[Rule], error_count: int
    ) -> None:
        """Remember that conditions did not hold for an event, some of them by an error."""
        self._stats.condition_errors += error_count
        self._held[event_key] = (event, tuple(refused))
        self._held.move_to_end(event_key)
        if len(self._held) > REFUSALS_REMEMBERED_MAX:
            self._held.popitem(last=False)

    def forget(self, is_meant: Callable[[bytes, Event], bool]) -> None:
        """Forget events, given by key and content: of somebody who is erased (R22)."""
        gone = [key for key, (event, _) in self._held.items() if is_meant(key, event)]
        for key in gone:
            del self._held[key]

    def event(self, event_key: bytes) -> Event | None:
        """Return an event that is remembered."""
        found = self._held.get(event_key)
        return None if found is None else found[0]

    def tell(self, event_key: bytes) -> list[str]:
        """Return a line for each condition that did not hold for an event, with what it saw."""
        return [text for text, _ in self.seen(event_key)]

    def seen(self, event_key: bytes) -> list[tuple[str, Values]]:
        """Return the same lines, each with the values by name."""
        found = self._held.get(event_key)
        if found is None:
            return []
        event, refused = found
        return [_line(rule, event) for rule in refused if rule.condition is not None]


def _line(rule: Rule, event: Event) -> tuple[str, Values]:
    assert rule.condition is not None, "a rule without condition refuses nothing"
    seen = evaluate(rule, event)
    found = list(seen.fields.items())[:SHOWN_MAX]
    values = tuple((name, plain(name, value)) for name, value in found)
    saw = ", ".join(f"{name} = {quoted(name, value)}" for name, value in found)
    how = "false" if seen.error is None else f"taken for false, because it erred ({seen.error})"
    told = f"; it saw {saw}" if saw else ""
    return f"the condition of rule {rule.id} was {how}: {rule.condition.source}{told}", values
