"""The durable store: one Lua script per operation, on Redis 7.0+ or Valkey 7.2+.

Decides: which script, which keys, in how few round trips. What the operations mean is said in
`core/ports.py`; what the bytes look like in `core/records.py` and the script headers.
Never: a retry. Every script is idempotent under its key or token, so the caller may repeat it.

All partitions of a call are sent before the first answer is awaited; a cluster is a link per node.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import hiredis

from core import bounds
from core.clock import SystemClock
from core.errors import FailedPrecondition, OwnershipLost, StaleRegistry, StoreUnavailable
from core.ports import (
    ClaimAnswer,
    ClaimItem,
    Commit,
    CommitAnswer,
    Counters,
    DueEntry,
    Durability,
    EventMark,
    Lane,
    MarkAnswer,
    OrderAnswer,
    OrderNote,
    Owner,
    OwnerState,
    SettleAnswer,
    Settlement,
    Source,
    StoreMeta,
    Waiting,
)
from core.records import (
    CONSENT,
    ContactRecord,
    Outcome,
    consent_id,
    find_reference,
    pack48,
    unpack48,
    unpack_contact,
    unpack_outcomes,
)
from core.redis_keys import PartitionKeys, partition_keys, store_meta
from core.redis_link import RedisLink, Script, check
from core.timing_wheel import codec

_WHEEL = Path(__file__).parent / "lua"
_ANTISPAM = Path(__file__).parent.parent / "antispam" / "lua"
SCRIPTS = {
    script.name: script
    for script in (
        *(
            Script(_WHEEL / f"{name}.lua")
            for name in (
                "acquire", "cancel", "claim", "commit", "drop_slots", "mark_events",
                "mark_sending", "note_orders", "open_slots", "recover", "renew", "require_registry",
                "settle", "sweep",
            )
        ),
        Script(_ANTISPAM / "write_consent.lua"),
    )
}  # fmt: skip
"""Every script, loaded on each connection."""

T = TypeVar("T")
FORMAT = 1
_RECOVER_CLAIMS_MAX = 16
_SWEEP_MAX = 1_000
_SWEEP_DAYS_MAX = 1_000


class RedisStore:
    """A `core.ports.Store` on one Redis or Valkey server.

    Args:
        links: the pinned connections. A partition always uses the same one, so its calls stay in
            order. Several, because a server reads 16 KiB from a connection in a turn and fsyncs once
            a turn: what one fsync covers grows with the connections.
        durability: what an answer of this server means, found out by whoever configured it.
    """

    def __init__(
        self, links: Sequence[RedisLink], meta: StoreMeta, durability: Durability
    ) -> None:
        self.meta = meta
        self.durability = durability
        self._links = tuple(links)
        self._keys = partition_keys(meta.partition_count)
        self._lease_clock = SystemClock()
        self._skew_max_ms = 0 if meta.is_virtual else bounds.SKEW_MAX_MS

    @classmethod
    async def open(
        cls,
        links: Sequence[RedisLink],
        *,
        partition_count: int = bounds.PARTITIONS_DEFAULT,
        slot_width_ms: int = bounds.HOUR_MS,
        is_virtual: bool = False,
        durability: Durability = Durability.MEMORY,
    ) -> RedisStore:
        """Open the store behind the links, creating it if the server is empty of it.

        Partition count and slot width hold only for a new store; an old one keeps its own.

        Raises:
            FailedPrecondition: a store for a virtual clock would be opened for the real one, or the
                reverse; or it was written by a newer format.
        """
        link, key = links[0], store_meta()
        fresh = {
            b"partition_count": b"%d" % partition_count,
            b"slot_width_ms": b"%d" % slot_width_ms,
            b"is_virtual": b"%d" % is_virtual,
            b"secret": secrets.token_bytes(32),
            b"format": b"%d" % FORMAT,
        }
        for field, value in fresh.items():
            await link.call("HSETNX", key, field, value)
        flat = await link.call("HGETALL", key)
        held = dict(zip(flat[::2], flat[1::2], strict=True))
        if int(held[b"format"]) > FORMAT:
            raise FailedPrecondition("the store was written by a newer Afterword", field="store")
        if (held[b"is_virtual"] == b"1") != is_virtual:
            raise FailedPrecondition(
                "a store made for a virtual clock cannot serve the real one, nor the reverse: "
                "use another data directory",
                field="store.clock",
            )
        meta = StoreMeta(
            partition_count=int(held[b"partition_count"]),
            slot_width_ms=int(held[b"slot_width_ms"]),
            is_virtual=is_virtual,
            secret=held[b"secret"],
        )
        return cls(links, meta, durability)

    # Plumbing -------------------------------------------------------------------------------

    def _link(self, partition: int) -> RedisLink:
        return self._links[partition % len(self._links)]

    def _send(
        self, partition: int, name: str, keys: Sequence[bytes], arguments: Sequence[bytes | int]
    ) -> asyncio.Future[Any]:
        """Send a script; the answer is awaited later, so that many share one write."""
        return self._link(partition).send(
            "EVALSHA", SCRIPTS[name].sha, len(keys), *keys, *arguments
        )

    async def _gather(self, sent: Mapping[int, asyncio.Future[Any]]) -> dict[int, Any]:
        """Return the replies by partition.

        Raises:
            StoreUnavailable: one of them did not come; the others are not waited for.
        """
        replies: dict[int, Any] = {}
        failure: StoreUnavailable | None = None
        for partition, future in sent.items():
            try:
                replies[partition] = check(await future)
            except StoreUnavailable as error:
                failure = error
        if failure is not None:
            raise failure
        return replies

    async def _ready(self) -> None:
        for link in self._links:
            if not link.is_connected:
                await link.connect()

    def _source_key(self, keys: PartitionKeys, source: Source) -> bytes:
        if source.lane == Lane.NEAR:
            return keys.near
        if source.lane == Lane.DEFERRED:
            return keys.deferred
        return keys.slot(source.slot)

    # Ownership -----------------------------------------------------------------------------

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

    # Accept --------------------------------------------------------------------------------

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
            for batch in _batches(all_marks):
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
            for p, raws in (await _gather_lists(sent)).items()
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
            for batch in _batches(all_notes):
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
            for p, raws in (await _gather_lists(sent)).items()
        }

    async def commit(
        self, commits: Mapping[int, Sequence[Commit]], now_ms: int
    ) -> dict[int, list[CommitAnswer]]:
        """See `Store.commit`."""
        await self._ready()
        sent: dict[int, list[asyncio.Future[Any]]] = {}
        batches: dict[int, list[Sequence[Commit]]] = {}
        for partition, all_commits in commits.items():
            for batch in _batches(all_commits):
                batches.setdefault(partition, []).append(batch)
                sent.setdefault(partition, []).append(self._send_commit(partition, batch, now_ms))
        replies = await _gather_lists(sent)
        return {
            partition: [
                answer
                for raw, batch in zip(replies[partition], batches[partition], strict=True)
                for answer in codec.unpack_commits(raw, batch)
            ]
            for partition in batches
        }

    def _send_commit(
        self, partition: int, batch: Sequence[Commit], now_ms: int
    ) -> asyncio.Future[Any]:
        keys, width = self._keys[partition], self.meta.slot_width_ms
        slots: dict[int, int] = {}
        arguments: list[bytes | int] = [now_ms, width, len(batch)]
        for commit in batch:
            arguments.append(codec.pack_commit(commit))
            arguments.append(commit.body)
            for plan in commit.plans:
                index = slots.setdefault(plan.due_ms // width, len(slots))
                arguments.append(codec.pack_plan(plan, index))
                arguments.append(plan.detail)
        names = [
            keys.meta, keys.counters, keys.contacts, keys.details, keys.bodies, keys.slots,
            keys.near, keys.outcomes(now_ms // bounds.DAY_MS), *map(keys.slot, slots),
        ]  # fmt: skip
        return self._send(partition, "commit", names, arguments)

    # Wheel source --------------------------------------------------------------------------

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
            p: self._send(p, "open_slots", [self._keys[p].meta], [owner.epoch, owner.nonce, until_ms])
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
        self, lanes: Sequence[tuple[int, Source]], until_ms: int, limit: int
    ) -> list[list[DueEntry]]:
        """See `Store.read_lanes`."""
        await self._ready()
        sent = {
            index: self._link(partition).send(
                "ZRANGEBYSCORE", self._source_key(self._keys[partition], source), "-inf",
                f"({until_ms}", "WITHSCORES", "LIMIT", 0, limit,
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

    async def read(self, members: Mapping[int, Sequence[bytes]]) -> dict[int, list[Waiting | None]]:
        """See `Store.read`."""
        await self._ready()
        details: dict[int, asyncio.Future[Any]] = {}
        records: dict[int, asyncio.Future[Any]] = {}
        for p, batch in members.items():
            details[p] = self._link(p).send("HMGET", self._keys[p].details, *batch)
            records[p] = self._link(p).send("HMGET", self._keys[p].contacts, *(m[:8] for m in batch))
        plans, contacts = await self._gather(details), await self._gather(records)
        found = {
            p: [find_reference(m, raw) for m, raw in zip(batch, contacts[p], strict=True)]
            for p, batch in members.items()
        }
        bodies = await self._gather({
            p: self._link(p).send("HMGET", self._keys[p].bodies, *(
                m[:8] + (ref.body_sequence if ref else 0).to_bytes(6, "big")
                for m, ref in zip(members[p], refs, strict=True)
            ))
            for p, refs in found.items()
        })  # fmt: skip
        return {
            p: [
                None if plan is None or ref is None else Waiting(member, ref, plan, body or b"")
                for member, ref, plan, body in zip(
                    batch, found[p], plans[p], bodies[p], strict=True
                )
            ]
            for p, batch in members.items()
        }

    # Claim, settle, recover ------------------------------------------------------------------

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
            keys.outcomes(now_ms // bounds.DAY_MS), *lanes,
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
        packed = b"".join(item.member + bytes((item.needs_consent,)) for item in items)
        names = [
            keys.meta, keys.counters, keys.contacts, keys.bodies,
            keys.outcomes(now_ms // bounds.DAY_MS), keys.deferred,
        ]  # fmt: skip
        raw = check(await self._send(partition, "mark_sending", names, [now_ms, token, len(items), packed]))
        return [answer == 1 for answer in raw]

    async def settle(
        self, partition: int, token: bytes, settlements: Sequence[Settlement], now_ms: int
    ) -> list[SettleAnswer]:
        """See `Store.settle`."""
        await self._ready()
        keys, width = self._keys[partition], self.meta.slot_width_ms
        slots: dict[int, int] = {}
        plans: list[bytes] = []
        for settlement in settlements:
            for plan in settlement.next_plans:
                index = slots.setdefault(plan.due_ms // width, len(slots))
                plans += (codec.pack_plan(plan, index), plan.detail)
        names = [
            keys.meta, keys.counters, keys.contacts, keys.details, keys.bodies, keys.slots,
            keys.near, keys.outcomes(now_ms // bounds.DAY_MS), keys.claims, keys.claim_deadlines,
            keys.deferred, *map(keys.slot, slots),
        ]  # fmt: skip
        packed = b"".join(map(codec.pack_settlement, settlements))
        raw = check(
            await self._send(
                partition, "settle", names, [now_ms, width, token, len(settlements), packed, *plans]
            )
        )
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
                keys.claim_deadlines, keys.deferred, keys.outcomes(day),
            ]  # fmt: skip
            sent[p] = self._send(
                p, "recover", names,
                [now_ms, lease_now_ms, owner.epoch, owner.nonce, _RECOVER_CLAIMS_MAX],
            )  # fmt: skip
        recovered: dict[int, list[tuple[bytes, int, int]]] = {}
        for p, (status, *answer) in (await self._gather(sent)).items():
            if status == 1:
                raise OwnershipLost(f"partition {p} has another owner")
            raw = answer[0]
            recovered[p] = [
                (raw[at : at + 16], raw[at + 16], unpack48(raw[at + 17 : at + 23]))
                for at in range(0, len(raw), 23)
            ]
        return recovered

    # Contacts and invitations ----------------------------------------------------------------

    async def write_consent(
        self,
        partition: int,
        contact_key: bytes,
        entry: tuple[int, int, int, int, bytes, int],
        document: tuple[bytes, bytes],
        now_ms: int,
    ) -> tuple[list[bytes], list[bytes]]:
        """See `Store.write_consent`."""
        await self._ready()
        keys = self._keys[partition]
        packed = CONSENT.pack(*entry[:5], pack48(entry[5]))
        names = [
            keys.counters, keys.contacts, keys.bodies, keys.outcomes(now_ms // bounds.DAY_MS),
            keys.consents,
        ]  # fmt: skip
        ended, flying = check(
            await self._send(partition, "write_consent", names, [now_ms, contact_key, packed, *document])
        )
        return _members(ended), _members(flying)

    async def consent_documents(self, partition: int, contact_key: bytes) -> dict[bytes, bytes]:
        """See `Store.consent_documents`."""
        await self._ready()
        record = await self.contact(partition, contact_key)
        if record is None or not record.consents:
            return {}
        ids = list(dict.fromkeys(consent_id(entry) for entry in record.consents))
        reply = await self._link(partition).call(
            "HMGET", self._keys[partition].consents, *(contact_key + one for one in ids)
        )
        return {one: raw for one, raw in zip(ids, reply, strict=True) if raw}

    async def contact(self, partition: int, contact_key: bytes) -> ContactRecord | None:
        """See `Store.contact`."""
        return (await self.contacts({partition: [contact_key]}))[partition][0]

    async def contacts(
        self, keys: Mapping[int, Sequence[bytes]]
    ) -> dict[int, list[ContactRecord | None]]:
        """See `Store.contacts`."""
        await self._ready()
        sent = {
            p: self._link(p).send("HMGET", self._keys[p].contacts, *batch)
            for p, batch in keys.items()
        }
        return {
            p: [unpack_contact(raw) if raw else None for raw in reply]
            for p, reply in (await self._gather(sent)).items()
        }

    async def cancel(
        self, partition: int, members: Sequence[bytes], state: int, reason: int, now_ms: int
    ) -> list[int]:
        """See `Store.cancel`."""
        await self._ready()
        keys = self._keys[partition]
        states: list[int] = []
        for batch in _batches(members):
            names = [
                keys.counters, keys.contacts, keys.bodies, keys.outcomes(now_ms // bounds.DAY_MS)
            ]  # fmt: skip
            states += check(await self._send(partition, "cancel", names, [now_ms, int(state), int(reason), *batch]))
        return states

    async def notes(self, partition: int, members: Sequence[bytes]) -> list[bytes]:
        """See `Store.notes`."""
        await self._ready()
        reply = await self._link(partition).call("HMGET", self._keys[partition].notes, *members)
        return [note or b"" for note in reply]

    # Housekeeping ----------------------------------------------------------------------------

    async def require_registry(self, revision: int) -> None:
        """See `Store.require_registry`."""
        await self._ready()
        await self._gather({
            p: self._send(p, "require_registry", [keys.meta], [revision])
            for p, keys in enumerate(self._keys)
        })  # fmt: skip

    async def counters(self, partitions: Sequence[int]) -> dict[int, Counters]:
        """See `Store.counters`."""
        await self._ready()
        sent = {p: self._link(p).send("HGETALL", self._keys[p].counters) for p in partitions}
        return {p: _counters(reply) for p, reply in (await self._gather(sent)).items()}

    async def outcomes(self, partition: int, day: int) -> list[Outcome]:
        """See `Store.outcomes`."""
        await self._ready()
        raw = await self._link(partition).call("GET", self._keys[partition].outcomes(day))
        return unpack_outcomes(raw or b"")

    async def sweep(self, partition: int, now_ms: int) -> int:
        """See `Store.sweep`. Directory generations die by bucket, outcomes by day."""
        await self._ready()
        keys = self._keys[partition]
        generation = now_ms // bounds.EVENT_GENERATION_MS - 2
        orders = now_ms // bounds.ORDER_GENERATION_MS - 2
        stale = [
            name
            for bucket in range(bounds.DIRECTORY_BUCKETS)
            for name in (keys.events(generation, bucket), keys.orders(orders, bucket))
        ]
        await self._link(partition).call("UNLINK", *stale)
        first_kept = (now_ms - bounds.OUTCOME_RETENTION_MS) // bounds.DAY_MS
        swept = int(await self._link(partition).call("HGET", keys.meta, "swept_until") or 0)
        days = range(max(swept, first_kept - _SWEEP_DAYS_MAX), first_kept)
        held = [self._link(partition).send("EXISTS", keys.outcomes(day)) for day in days]
        dropped = 0
        for day, future in zip(days, held, strict=True):
            while check(await future) and dropped < _SWEEP_MAX:
                names = [keys.contacts, keys.details, keys.notes, keys.outcomes(day)]
                gone = check(await self._send(partition, "sweep", names, [_SWEEP_MAX - dropped]))
                dropped += gone
                if not gone:
                    break
            if dropped >= _SWEEP_MAX:
                return dropped
        await self._link(partition).call("HSET", keys.meta, "swept_until", first_kept)
        return dropped

    async def close(self) -> None:
        """See `Store.close`."""
        for link in self._links:
            await link.close()


async def _gather_lists(
    sent: Mapping[int, Sequence[asyncio.Future[Any]]],
) -> dict[int, list[Any]]:
    """Return all replies by partition; every future is looked at, then the first failure raised."""
    replies: dict[int, list[Any]] = {}
    failure: Exception | None = None
    for partition, futures in sent.items():
        replies[partition] = []
        for future in futures:
            try:
                replies[partition].append(check(await future))
            except (StoreUnavailable, hiredis.ReplyError) as error:
                failure = failure or error
    if failure is not None:
        raise failure
    return replies


def _batches(items: Sequence[T]) -> list[Sequence[T]]:
    if len(items) <= bounds.SCRIPT_BATCH_MAX:
        return [items]
    return [
        items[at : at + bounds.SCRIPT_BATCH_MAX]
        for at in range(0, len(items), bounds.SCRIPT_BATCH_MAX)
    ]


def _members(raw: bytes) -> list[bytes]:
    return [raw[at : at + 16] for at in range(0, len(raw), 16)]


def _counters(flat: Sequence[bytes]) -> Counters:
    planned = scheduled = in_flight = 0
    ended: dict[tuple[int, int], int] = {}
    events: dict[int, int] = {}
    for name, raw in zip(flat[::2], flat[1::2], strict=True):
        value = int(raw)
        if name == b"planned":
            planned = value
        elif name == b"scheduled":
            scheduled = value
        elif name == b"in_flight":
            in_flight = value
        elif name.startswith(b"s:"):
            _, state, reason = name.split(b":")
            ended[int(state), int(reason)] = value
        elif value:
            events[int(name[2:])] = value
    return Counters(planned, scheduled, in_flight, {k: v for k, v in ended.items() if v}, events)
