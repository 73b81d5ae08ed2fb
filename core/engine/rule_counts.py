"""What came of a rule, counted over all partitions (B37).

Never: counts; the scripts do, with the outcomes they write.
"""

from __future__ import annotations

from core.ports import RuleCount, Store


class RuleCounts:
    """Reads the counts of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def stats(self, rule_number: int) -> tuple[int, int, int, int]:
        """Return (messages sent, first messages sent, reviews of these, of these with a text)."""
        found = await self._store.counters(range(self._store.meta.partition_count))
        sent, first, reviewed, commented = (
            sum(counters.rules.get((rule_number, what), 0) for counters in found.values())
            for what in RuleCount
        )
        return sent, first, reviewed, commented
