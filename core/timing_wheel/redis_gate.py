"""The durable store, way out: claim, settle, recover."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from core import bounds
from core.errors import OwnershipLost, StaleRegistry, StoreUnavailable
from core.gate import ClaimAnswer, ClaimItem
from core.ports import Owner, SettleAnswer, Settlement
from core.records import (
    unpack48,
)
from core.redis_link import check
from core.timing_wheel import codec
from core.timing_wheel.redis_base import RedisBase

_RECOVER_CLAIMS_MAX = 16


class RedisGate(RedisBase):
    """The gate and what follows it."""

    async def claim(
        self,
        partition: int,
        owner: Owner,
        token: bytes,
        items: Sequence[ClaimItem],
        now_ms: int,
        lease_deadline_ms: int,
        registry_revision: int,
    ) -> list[ClaimAnswer]:
        """See `Store.claim`."""
        await self._ready()
        keys = self._keys[partition]
        lanes: dict[bytes, int] = {}
        cap_sets: dict[bytes, int] = {}
        packed: list[bytes] = []
        for item in items:
            lane = lanes.setdefault(self._source_key(keys, item.source), len(lanes))
            caps = cap_sets.setdefault(codec.pack_caps(item.caps), len(cap_sets))
            packed.append(codec.pack_claim_item(item, lane, caps))
        names = [
            keys.meta, keys.counters, keys.contacts, keys.bodies, keys.claims,
            keys.claim_deadlines, keys.deferred, keys.notes,
            keys.outcomes(now_ms // bounds.DAY_MS), keys.parked, *lanes,
        ]  # fmt: skip
        status, *answer = check(await self._send(partition, "claim", names, [
            now_ms, owner.epoch, owner.nonce, token, lease_deadline_ms, registry_revision,
            self._lease_clock.now_ms(), self._skew_max_ms, len(items), b"".join(packed), *cap_sets,
        ]))  # fmt: skip
        if status == 1:
            raise OwnershipLost(f"partition {partition} has another owner")
        if status == 2:
            raise StaleRegistry(f"partition {partition} demands a newer registry")
        if status == 3:
            raise StoreUnavailable(
                f"this machine's clock and the store's differ by more than {self._skew_max_ms} ms"
            )
        return codec.unpack_claims(answer[0])

    async def mark_sending(
        self, partition: int, token: bytes, items: Sequence[ClaimItem], now_ms: int
    ) -> list[bool]:
        """See `Store.mark_sending`."""
        await self._ready()
        keys = self._keys[partition]
        packed = b"".join(map(codec.pack_mark_item, items))
        names = [
            keys.meta, keys.counters, keys.contacts, keys.bodies,
            keys.outcomes(now_ms // bounds.DAY_MS), keys.deferred, keys.claims, keys.claim_deadlines,
            keys.notes,
        ]  # fmt: skip
        raw = check(
            await self._send(partition, "mark_sending", names, [now_ms, token, len(items), packed])
        )
        return [answer == 1 for answer in raw]

    async def settle(
        self, partition: int, token: bytes, settlements: Sequence[Settlement], now_ms: int
    ) -> list[SettleAnswer]:
        """See `Store.settle`."""
        await self._ready()
        keys, width = self._keys[partition], self.meta.slot_width_ms
        slots: dict[int, int] = {}
        packed: list[bytes] = []
        details: list[bytes] = []
        for settlement in settlements:
            packed.append(codec.pack_settlement(settlement))
            for plan in settlement.next_plans:
                index = slots.setdefault(plan.due_ms // width, len(slots))
                packed.append(codec.pack_plan(plan, index))
                details.append(plan.detail)
        names = [
            keys.meta, keys.counters, keys.contacts, keys.details, keys.bodies, keys.slots,
            keys.near, keys.outcomes(now_ms // bounds.DAY_MS), keys.claims, keys.claim_deadlines,
            keys.deferred, keys.traffic(now_ms // bounds.DAY_MS), keys.notes,
            *map(keys.slot, slots),
        ]  # fmt: skip
        arguments: list[bytes | int] = [now_ms, width, token, len(settlements), b"".join(packed)]
        arguments += details
        raw = check(await self._send(partition, "settle", names, arguments))
        return codec.unpack_settlements(raw, settlements)

    async def recover(
        self, owned: Mapping[int, Owner], lease_now_ms: int, now_ms: int
    ) -> dict[int, list[tuple[bytes, int, int]]]:
        """See `Store.recover`."""
        await self._ready()
        day = now_ms // bounds.DAY_MS
        sent: dict[int, asyncio.Future[Any]] = {}
        for p, owner in owned.items():
            keys = self._keys[p]
            names = [
                keys.meta, keys.counters, keys.contacts, keys.bodies, keys.claims,
                keys.claim_deadlines, keys.deferred, keys.outcomes(day), keys.notes,
                keys.traffic(day),
            ]  # fmt: skip
            sent[p] = self._send(
                p, "recover", names,
                [now_ms, lease_now_ms, owner.epoch, owner.nonce, _RECOVER_CLAIMS_MAX],
            )  # fmt: skip
        recovered: dict[int, list[tuple[bytes, int, int]]] = {}
        for p, (status, *answer) in (await self._gather(sent)).items():
            if status == 0:
                raw = answer[0]
                recovered[p] = [
                    (raw[at : at + 16], raw[at + 16], unpack48(raw[at + 17 : at + 23]))
                    for at in range(0, len(raw), 23)
                ]
        return recovered
