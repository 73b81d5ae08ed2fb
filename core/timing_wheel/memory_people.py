"""The store in memory, people and budgets: see `core.contact_ports.ContactStore`.

Decides: nothing; it leads to the pages that do (`memory_addresses.py`, `memory_feedback.py`,
`memory_erasure.py`, `memory_volume.py`), each partition's list one atomic step.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from core.contact_ports import (
    CHANNEL_COUNTS,
    AddressAnswer,
    AddressItem,
    Erased,
    Feedback,
    FeedbackAnswer,
    VolumeAnswer,
)
from core.timing_wheel import memory_addresses as addresses
from core.timing_wheel import memory_erasure as erasure
from core.timing_wheel import memory_feedback as heard
from core.timing_wheel.memory_partition import Partition
from core.timing_wheel.memory_volume import VolumeBudget


class MemoryPeople:
    """What a store does for people, over the partitions of whoever inherits it."""

    def __init__(self, partitions: Sequence[Partition]) -> None:
        self._partitions = partitions
        self._budgets: dict[bytes, VolumeBudget] = {}

    @contextlib.contextmanager
    def _step(self, number: int) -> Iterator[Partition]:
        """One writing step of a partition; its end trims what has grown."""
        partition = self._partitions[number]
        yield partition
        partition.trim()

    async def mark_addresses(
        self, partition: int, items: Sequence[AddressItem], now_ms: int
    ) -> list[AddressAnswer]:
        """Ask what addresses say, and reserve."""
        with self._step(partition) as held:
            return [addresses.mark(held, item, now_ms) for item in items]

    async def release_addresses(
        self, partition: int, items: Sequence[AddressItem], now_ms: int
    ) -> None:
        """Return what was reserved."""
        for item in items:
            addresses.release(self._partitions[partition], item)

    async def record_feedback(
        self, partition: int, feedback: Sequence[Feedback], now_ms: int
    ) -> list[FeedbackAnswer]:
        """Note what is heard of sent messages."""
        with self._step(partition) as held:
            return [heard.record(held, one, now_ms) for one in feedback]

    async def channel_counts(
        self, partitions: Sequence[int], days: Sequence[int]
    ) -> dict[tuple[int, int], dict[str, int]]:
        """Return sums over partitions and days."""
        wanted = frozenset(days)
        sums: Counter[tuple[int, int, str]] = Counter()
        for number in partitions:
            for (channel, medium, day, what), count in self._partitions[number].channels.items():
                if day in wanted:
                    sums[channel, medium, what] += count
        return {
            (channel, medium): {what: sums[channel, medium, what] for what in CHANNEL_COUNTS}
            for channel, medium, _ in sums
        }

    async def erase_contact(self, partition: int, contact_key: bytes, now_ms: int) -> Erased:
        """Forget a contact in its partition."""
        with self._step(partition) as held:
            return erasure.erase(held, contact_key, now_ms)

    async def finish_erasure(self, partition: int, contact_key: bytes) -> None:
        """Drop what was kept for going on."""
        self._partitions[partition].erasures.pop(contact_key, None)

    async def forget_events(self, keys: Mapping[int, Sequence[bytes]], now_ms: int) -> None:
        """Drop marks of events."""
        for number, listed in keys.items():
            for key in listed:
                self._partitions[number].event_directory.forget(key, now_ms)

    async def forget_orders(
        self, keys: Mapping[int, Sequence[bytes]], contact_key: bytes, now_ms: int
    ) -> None:
        """Take a contact out of the entries of orders and aliases."""
        for number, listed in keys.items():
            for key in listed:
                self._partitions[number].order_directory.forget(key, contact_key, now_ms)

    async def forget_facts(
        self, partition: int, contact_key: bytes, facts: Sequence[bytes]
    ) -> None:
        """Forget facts of somebody else."""
        erasure.forget_facts(self._partitions[partition], contact_key, facts)

    async def take_volume(
        self, ledger: bytes, token: bytes, count: int, limit: int, window_ms: int, now_ms: int
    ) -> VolumeAnswer:
        """Take from a budget."""
        budget = self._budgets.setdefault(ledger, VolumeBudget())
        return budget.take(token, count, limit, window_ms, now_ms)

    async def give_back_volume(self, ledger: bytes, token: bytes, count: int) -> None:
        """Return to a budget what was not used."""
        self._budgets.setdefault(ledger, VolumeBudget()).give_back(token, count)

    async def scan_details(
        self, partition: int, cursor: int, limit: int
    ) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return plans by member; the cursor is the first member to come, as a number."""
        first = cursor.to_bytes(16, "big")
        details = self._partitions[partition].details
        left = sorted(member for member in details if member >= first)
        found = [(member, details[member]) for member in left[:limit]]
        return (int.from_bytes(left[limit], "big") if len(left) > limit else 0), found
