"""The durable store, waiting: ownership, slots and lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from core.gate import FIXED_LANES, Source
from core.model import State
from core.ports import DueEntry, Owner, OwnerState, Waiting
from core.records import Reference
from core.timing_wheel.codec import find_reference
from core.timing_wheel.redis_base import RedisBase, gather_lists

_FACTS = bytes(6)
_BODY_KEY_END = 14
"""A member begins with its contact and its sequence, as the key of a body does."""


def _is_torn(waiting: Waiting) -> bool:
    """Return whether an invitation waits or is in flight without its event: it has ended meanwhile."""
    return waiting.reference.state < State.SENT and not waiting.body


class RedisLanes(RedisBase):
    """Who owns a partition, and what its lanes hold."""

    async def owners(self, partitions: Sequence[int]) -> dict[int, OwnerState]:
        """See `Store.owners`."""
        await self._ready()
        sent = {
            p: self._link(p).send("HMGET", self._keys[p].meta, "epoch", "nonce", "renewals")
            for p in partitions
        }
        return {
            p: OwnerState(int(r[0] or 0), r[1] or b"", int(r[2] or 0))
            for p, r in (await self._gather(sent)).items()
        }

    async def acquire(
        self, observed: Mapping[int, OwnerState], nonce: bytes
    ) -> dict[int, Owner | None]:
        """See `Store.acquire`."""
        await self._ready()
        sent = {
            p: self._send(
                p, "acquire", [self._keys[p].meta], [seen.epoch, seen.nonce, seen.renewals, nonce]
            )
            for p, seen in observed.items()
        }
        return {
            p: Owner(int(epoch), nonce) if epoch else None
            for p, epoch in (await self._gather(sent)).items()
        }

    async def renew(self, owned: Mapping[int, Owner]) -> dict[int, bool]:
        """See `Store.renew`."""
        await self._ready()
        sent = {
            p: self._send(p, "renew", [self._keys[p].meta], [owner.epoch, owner.nonce, b"renew"])
            for p, owner in owned.items()
        }
        return {p: reply == 1 for p, reply in (await self._gather(sent)).items()}

    async def release(self, owned: Mapping[int, Owner]) -> None:
        """See `Store.release`."""
        await self._ready()
        await self._gather({
            p: self._send(p, "renew", [self._keys[p].meta], [owner.epoch, owner.nonce, b"release"])
            for p, owner in owned.items()
        })  # fmt: skip

    async def far_slots(self, partitions: Sequence[int], until_ms: int) -> dict[int, list[int]]:
        """See `Store.far_slots`."""
        await self._ready()
        last = (until_ms - 1) // self.meta.slot_width_ms
        sent = {
            p: self._link(p).send("ZRANGEBYSCORE", self._keys[p].slots, "-inf", last)
            for p in partitions
        }
        return {p: [int(n) for n in reply] for p, reply in (await self._gather(sent)).items()}

    async def next_far_slot(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """See `Store.next_far_slot`."""
        await self._ready()
        sent = {p: self._link(p).send("ZRANGE", self._keys[p].slots, 0, 0) for p in partitions}
        return {
            p: int(reply[0]) if reply else None for p, reply in (await self._gather(sent)).items()
        }

    async def open_slots(self, owned: Mapping[int, Owner], until_ms: int) -> dict[int, bool]:
        """See `Store.open_slots`."""
        await self._ready()
        sent = {
            p: self._send(
                p, "open_slots", [self._keys[p].meta], [owner.epoch, owner.nonce, until_ms]
            )
            for p, owner in owned.items()
        }
        return {p: reply == 1 for p, reply in (await self._gather(sent)).items()}

    async def read_lane(
        self, partition: int, source: Source, until_ms: int, limit: int
    ) -> list[DueEntry]:
        """See `Store.read_lane`."""
        answers = await self.read_lanes([(partition, source)], until_ms, limit)
        return answers[0]

    async def read_lanes(
        self, lanes: Sequence[tuple[int, Source]], until_ms: int, limit: int, *, skip: int = 0
    ) -> list[list[DueEntry]]:
        """See `Store.read_lanes`."""
        await self._ready()
        sent = {
            index: self._link(partition).send(
                "ZRANGEBYSCORE", self._source_key(self._keys[partition], source), "-inf",
                f"({until_ms}", "WITHSCORES", "LIMIT", skip, limit,
            )
            for index, (partition, source) in enumerate(lanes)
        }  # fmt: skip
        replies = await self._gather(sent)
        return [
            [
                DueEntry(member, int(due))
                for member, due in zip(replies[index][::2], replies[index][1::2], strict=True)
            ]
            for index in range(len(lanes))
        ]

    async def drop_empty_slots(self, slots: Mapping[int, Sequence[int]]) -> None:
        """See `Store.drop_empty_slots`."""
        await self._ready()
        await self._gather({
            p: self._send(
                p, "drop_slots",
                [self._keys[p].slots, *map(self._keys[p].slot, numbers)],
                list(numbers),
            )
            for p, numbers in slots.items()
            if numbers
        })  # fmt: skip

    async def near_versions(self, partitions: Sequence[int]) -> dict[int, int]:
        """See `Store.near_versions`."""
        await self._ready()
        sent = {
            p: self._link(p).send("HGET", self._keys[p].meta, "near_version") for p in partitions
        }
        return {p: int(reply or 0) for p, reply in (await self._gather(sent)).items()}

    async def lane_sizes(self, partitions: Sequence[int]) -> dict[int, dict[int, int]]:
        """See `Store.lane_sizes`."""
        await self._ready()
        sent = {
            p: [
                self._link(p).send("ZCARD", self._source_key(self._keys[p], source))
                for source in FIXED_LANES
            ]
            for p in partitions
        }
        return {
            p: {source.lane: int(size) for source, size in zip(FIXED_LANES, sizes, strict=True)}
            for p, sizes in (await gather_lists(sent)).items()
        }

    async def read(self, members: Mapping[int, Sequence[bytes]]) -> dict[int, list[Waiting | None]]:
        """See `Store.read`. What ends between the two looks is looked at once more."""
        read = await self._read(members)
        torn = {
            p: [one.member for one in found if one is not None and _is_torn(one)]
            for p, found in read.items()
        }
        again = await self._read({p: batch for p, batch in torn.items() if batch})
        for p, found in again.items():
            fresh = dict(zip(torn[p], found, strict=True))
            read[p] = [
                fresh.get(member, one) for member, one in zip(members[p], read[p], strict=True)
            ]
        return read

    async def _read(
        self, members: Mapping[int, Sequence[bytes]]
    ) -> dict[int, list[Waiting | None]]:
        await self._ready()
        sent: dict[int, list[asyncio.Future[Any]]] = {}
        for p, batch in members.items():
            keys, link = self._keys[p], self._link(p)
            # An event's body lies under the sequence of the first it has planned: mostly this one.
            bodies = [m[:_BODY_KEY_END] for m in batch]
            facts = [m[:8] + _FACTS for m in batch]
            sent[p] = [
                link.send("HMGET", keys.details, *batch),
                link.send("HMGET", keys.contacts, *(m[:8] for m in batch)),
                link.send("HMGET", keys.bodies, *bodies, *facts),
            ]
        replies = await gather_lists(sent)
        found = {
            p: [find_reference(m, raw) for m, raw in zip(batch, replies[p][1], strict=True)]
            for p, batch in members.items()
        }
        elsewhere = await self._bodies_elsewhere(members, found)
        return {
            p: [
                None
                if plan is None or ref is None
                else Waiting(
                    member, ref, plan, elsewhere.get(member, body) or b"", facts or b"", record
                )
                for member, ref, plan, record, body, facts in zip(
                    batch,
                    found[p],
                    replies[p][0],
                    replies[p][1],
                    replies[p][2][: len(batch)],
                    replies[p][2][len(batch) :],
                    strict=True,
                )
            ]
            for p, batch in members.items()
        }

    async def _bodies_elsewhere(
        self,
        members: Mapping[int, Sequence[bytes]],
        found: Mapping[int, Sequence[Reference | None]],
    ) -> dict[bytes, bytes]:
        """Return the bodies of those that do not lie under their own sequence, by member."""
        wanted: dict[int, list[tuple[bytes, bytes]]] = {}
        for p, batch in members.items():
            for member, ref in zip(batch, found[p], strict=True):
                if ref is not None:
                    key = member[:8] + ref.body_sequence.to_bytes(6, "big")
                    if key != member[:_BODY_KEY_END]:
                        wanted.setdefault(p, []).append((member, key))
        bodies = await self._gather({
            p: self._link(p).send("HMGET", self._keys[p].bodies, *(key for _, key in pairs))
            for p, pairs in wanted.items()
        })  # fmt: skip
        return {
            member: body
            for p, pairs in wanted.items()
            for (member, _), body in zip(pairs, bodies[p], strict=True)
        }
