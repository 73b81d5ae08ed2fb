"""The durable store, way in: directories and commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from core import bounds
from core.ports import (
    Commit,
    CommitAnswer,
    EventMark,
    MarkAnswer,
    OrderAnswer,
    OrderNote,
)
from core.timing_wheel import codec
from core.timing_wheel.redis_base import RedisBase, batches, gather_lists


class RedisAccept(RedisBase):
    """Marks, notes and commits; owner-free (E3)."""

    def _bucket_pairs(
        self, family: Any, keys: Sequence[bytes], generation: int
    ) -> tuple[list[bytes], list[int]]:
        """Return the directory keys a batch needs and, for each entry, the index of its pair."""
        index: dict[int, int] = {}
        names: list[bytes] = []
        pairs: list[int] = []
        for key in keys:
            bucket = key[7] % bounds.DIRECTORY_BUCKETS
            pair = index.get(bucket)
            if pair is None:
                pair = index[bucket] = len(index)
                names += (family(generation, bucket), family(generation - 1, bucket))
            pairs.append(pair)
        return names, pairs

    async def mark_events(
        self, marks: Mapping[int, Sequence[EventMark]], now_ms: int
    ) -> dict[int, list[MarkAnswer]]:
        """See `Store.mark_events`."""
        await self._ready()
        generation = now_ms // bounds.EVENT_GENERATION_MS
        sent: dict[int, list[asyncio.Future[Any]]] = {}
        for partition, all_marks in marks.items():
            for batch in batches(all_marks):
                names, pairs = self._bucket_pairs(
                    self._keys[partition].events, [m.event_key for m in batch], generation
                )
                packed = b"".join(
                    codec.pack_mark(m.event_key, m.body_hash, m.contact_key, pair)
                    for m, pair in zip(batch, pairs, strict=True)
                )
                sent.setdefault(partition, []).append(
                    self._send(partition, "mark_events", names, [len(batch), packed])
                )
        return {
            p: [answer for raw in raws for answer in codec.unpack_marks(raw)]
            for p, raws in (await gather_lists(sent)).items()
        }

    async def event_mark(self, partition: int, event_key: bytes, now_ms: int) -> MarkAnswer | None:
        """See `Store.event_mark`."""
        await self._ready()
        generation = now_ms // bounds.EVENT_GENERATION_MS
        bucket = event_key[7] % bounds.DIRECTORY_BUCKETS
        family = self._keys[partition].events
        for number in (generation, generation - 1):
            held = await self._link(partition).call("HGET", family(number, bucket), event_key)
            if held:
                return MarkAnswer(False, True, held[8:16])
        return None

    async def note_orders(
        self, notes: Mapping[int, Sequence[OrderNote]], now_ms: int
    ) -> dict[int, list[OrderAnswer]]:
        """See `Store.note_orders`."""
        await self._ready()
        generation = now_ms // bounds.ORDER_GENERATION_MS
        sent: dict[int, list[asyncio.Future[Any]]] = {}
        for partition, all_notes in notes.items():
            for batch in batches(all_notes):
                names, pairs = self._bucket_pairs(
                    self._keys[partition].orders, [n.order_key for n in batch], generation
                )
                packed = b"".join(
                    codec.pack_note(n.order_key, n.contact_key, n.stop_event_type, n.time_ms, pair)
                    for n, pair in zip(batch, pairs, strict=True)
                )
                sent.setdefault(partition, []).append(
                    self._send(partition, "note_orders", names, [len(batch), packed])
                )
        return {
            p: [answer for raw in raws for answer in codec.unpack_notes(raw)]
            for p, raws in (await gather_lists(sent)).items()
        }

    async def commit(
        self, commits: Mapping[int, Sequence[Commit]], now_ms: int
    ) -> dict[int, list[CommitAnswer]]:
        """See `Store.commit`."""
        await self._ready()
        sent: dict[int, list[asyncio.Future[Any]]] = {}
        cut: dict[int, list[Sequence[Commit]]] = {}
        for partition, all_commits in commits.items():
            for batch in batches(all_commits):
                cut.setdefault(partition, []).append(batch)
                sent.setdefault(partition, []).append(self._send_commit(partition, batch, now_ms))
        replies = await gather_lists(sent)
        return {
            partition: [
                answer
                for raw, batch in zip(replies[partition], cut[partition], strict=True)
                for answer in codec.unpack_commits(raw, batch)
            ]
            for partition in cut
        }

    def _send_commit(
        self, partition: int, batch: Sequence[Commit], now_ms: int
    ) -> asyncio.Future[Any]:
        keys, width = self._keys[partition], self.meta.slot_width_ms
        slots: dict[int, int] = {}
        arguments: list[bytes | int] = [now_ms, width, len(batch)]
        for commit in batch:
            plans = [
                codec.pack_plan(
                    plan, slots.setdefault(plan.due_ms // width, len(slots)), commit.event_key
                )
                for plan in commit.plans
            ]
            arguments.append(codec.pack_commit(commit, plans, now_ms))
            arguments.append(commit.body)
            arguments += [plan.detail for plan in commit.plans]
        names = [
            keys.meta, keys.counters, keys.contacts, keys.details, keys.bodies, keys.slots,
            keys.near, keys.outcomes(now_ms // bounds.DAY_MS), keys.timers, keys.timer_dues,
            keys.consents, *map(keys.slot, slots),
        ]  # fmt: skip
        return self._send(partition, "commit", names, arguments)
