"""The durable store, people: addresses, feedback, erasure."""

from __future__ import annotations

import asyncio
import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from core import bounds
from core.contact_ports import (
    CHANNEL_COUNTS,
    AddressAnswer,
    AddressItem,
    Erased,
    Feedback,
    FeedbackAnswer,
    entry_of,
)
from core.model import State
from core.records import pack48, unpack48
from core.redis_link import check
from core.timing_wheel import codec
from core.timing_wheel.redis_accept import RedisAccept
from core.timing_wheel.redis_base import batches, gather_lists
from core.timing_wheel.redis_contacts import RedisContacts

_ADDRESS = struct.Struct("<8s8s8sHBB6sB")
_ADDRESS_ANSWER = struct.Struct("<BB6s")
_FEEDBACK = struct.Struct("<16sBB6sB")
_FEEDBACK_ANSWER = struct.Struct("<BBHH")
_FORGET = struct.Struct("<8sH")
_ERASED = struct.Struct("<IIII")
_SCAN_STEP = 10_000

assert _ADDRESS.size == 35
assert _FEEDBACK.size == 25


class RedisPeople(RedisAccept, RedisContacts):
    """What a store does for people; see `core.contact_ports`."""

    async def mark_addresses(
        self, partition: int, items: Sequence[AddressItem], now_ms: int
    ) -> list[AddressAnswer]:
        """See `ContactStore.mark_addresses`."""
        await self._ready()
        answers: list[AddressAnswer] = []
        for batch in batches(items):
            sets: dict[bytes, int] = {}
            packed = b"".join(
                _ADDRESS.pack(
                    item.address_key, item.tag, item.order_key, item.channel_number, item.purpose,
                    item.medium, pack48(item.expire_ms),
                    sets.setdefault(_pack_caps(item), len(sets)),
                )
                for item in batch
            )  # fmt: skip
            raw = check(
                await self._send(
                    partition, "mark_addresses", [self._keys[partition].contacts],
                    [now_ms, len(batch), packed, *sets],
                )
            )  # fmt: skip
            answers += [
                AddressAnswer(code, reason, unpack48(due))
                for code, reason, due in _ADDRESS_ANSWER.iter_unpack(raw)
            ]
        return answers

    async def release_addresses(
        self, partition: int, items: Sequence[AddressItem], now_ms: int
    ) -> None:
        """See `ContactStore.release_addresses`."""
        await self._ready()
        for batch in batches(items):
            packed = b"".join(item.address_key + item.tag + item.order_key for item in batch)
            names = [self._keys[partition].contacts]
            check(
                await self._send(
                    partition, "release_addresses", names, [now_ms, len(batch), packed]
                )
            )

    async def record_feedback(
        self, partition: int, feedback: Sequence[Feedback], now_ms: int
    ) -> list[FeedbackAnswer]:
        """See `ContactStore.record_feedback`."""
        await self._ready()
        keys = self._keys[partition]
        names = [
            keys.meta, keys.counters, keys.contacts, keys.bodies,
            keys.outcomes(now_ms // bounds.DAY_MS), keys.deferred, keys.notes, keys.consents,
            keys.traffic(now_ms // bounds.DAY_MS),
        ]  # fmt: skip
        answers: list[FeedbackAnswer] = []
        for batch in batches(feedback):
            packed = b"".join(_pack_feedback(one, now_ms) for one in batch)
            raw = check(
                await self._send(partition, "record_feedback", names, [now_ms, len(batch), packed])
            )
            answers += _unpack_feedback(raw)
        return answers

    async def channel_counts(
        self, partitions: Sequence[int], days: Sequence[int]
    ) -> dict[tuple[int, int], dict[str, int]]:
        """See `ContactStore.channel_counts`."""
        await self._ready()
        sent = {
            (p, day): self._link(p).send("HGETALL", self._keys[p].traffic(day))
            for p in partitions
            for day in days
        }
        sums: Counter[tuple[int, int, str]] = Counter()
        for flat in (await self._gather(sent)).values():
            for name, value in zip(flat[::2], flat[1::2], strict=True):
                channel, medium, what = name.decode("ascii").split(":")
                sums[int(channel), int(medium), what] += int(value)
        return {
            (channel, medium): {what: sums[channel, medium, what] for what in CHANNEL_COUNTS}
            for channel, medium, _ in list(sums)
        }

    async def erase_contact(self, partition: int, contact_key: bytes, now_ms: int) -> Erased:
        """See `ContactStore.erase_contact`."""
        await self._ready()
        keys, width = self._keys[partition], self.meta.slot_width_ms
        record = await self.contact(partition, contact_key)
        waiting = [
            ref
            for ref in (record.references if record is not None else [])
            if ref.state == State.SCHEDULED
        ]
        slots = sorted({ref.due_ms // width for ref in waiting})
        names = [
            keys.counters, keys.contacts, keys.details, keys.bodies,
            keys.outcomes(now_ms // bounds.DAY_MS), keys.timers, keys.timer_dues, keys.consents,
            keys.notes, keys.near, keys.deferred, keys.parked, keys.erasures,
            *map(keys.slot, slots),
        ]  # fmt: skip
        raw = check(
            await self._send(
                partition, "erase_contact", names, [now_ms, contact_key, width, *slots]
            )
        )
        if record is not None and record.next_sequence > bounds.CONTACT_INVITATIONS_MAX:
            # The record may have forgotten some of its invitations already.
            for key in (keys.details, keys.notes):
                await self._drop_members(partition, key, contact_key)
        return _unpack_erased(raw)

    async def _drop_members(self, partition: int, key: bytes, contact_key: bytes) -> None:
        """Drop all fields of a hash that begin with a contact's key."""
        link = self._link(partition)
        pattern = re.sub(rb"([*?\[\]\\^-])", rb"\\\1", contact_key) + b"*"
        cursor = b"0"
        while True:
            cursor, flat = await link.call(
                "HSCAN", key, cursor, "MATCH", pattern, "COUNT", _SCAN_STEP
            )
            for fields in batches(flat[::2]):
                if fields:
                    await link.call("HDEL", key, *fields)
            if cursor == b"0":
                return

    async def finish_erasure(self, partition: int, contact_key: bytes) -> None:
        """See `ContactStore.finish_erasure`."""
        await self._ready()
        await self._link(partition).call("HDEL", self._keys[partition].erasures, contact_key)

    async def forget_events(self, keys: Mapping[int, Sequence[bytes]], now_ms: int) -> None:
        """See `ContactStore.forget_events`."""
        await self._ready()
        generation = now_ms // bounds.EVENT_GENERATION_MS
        sent: dict[int, list[asyncio.Future[Any]]] = {}
        for partition, listed in keys.items():
            family = self._keys[partition].events
            for event_key in listed:
                bucket = event_key[7] % bounds.DIRECTORY_BUCKETS
                sent.setdefault(partition, []).extend(
                    self._link(partition).send("HDEL", family(number, bucket), event_key)
                    for number in (generation, generation - 1)
                )
        await gather_lists(sent)

    async def forget_orders(
        self, keys: Mapping[int, Sequence[bytes]], contact_key: bytes, now_ms: int
    ) -> None:
        """See `ContactStore.forget_orders`."""
        await self._ready()
        generation = now_ms // bounds.ORDER_GENERATION_MS
        sent: dict[int, list[asyncio.Future[Any]]] = {}
        for partition, listed in keys.items():
            for batch in batches(listed):
                names, pairs = self._bucket_pairs(self._keys[partition].orders, batch, generation)
                packed = b"".join(map(_FORGET.pack, batch, pairs))
                sent.setdefault(partition, []).append(
                    self._send(partition, "forget_orders", names, [contact_key, len(batch), packed])
                )
        await gather_lists(sent)

    async def forget_facts(
        self, partition: int, contact_key: bytes, facts: Sequence[bytes]
    ) -> None:
        """See `ContactStore.forget_facts`."""
        await self._ready()
        for batch in batches(facts):
            names = [self._keys[partition].bodies]
            check(await self._send(partition, "forget_facts", names, [contact_key, *batch]))

    async def scan_details(
        self, partition: int, cursor: int, limit: int
    ) -> tuple[int, list[tuple[bytes, bytes]]]:
        """See `ContactStore.scan_details`."""
        await self._ready()
        following, flat = await self._link(partition).call(
            "HSCAN", self._keys[partition].details, cursor, "COUNT", limit
        )
        return int(following), list(zip(flat[::2], flat[1::2], strict=True))


def _pack_caps(item: AddressItem) -> bytes:
    return codec.pack_caps(
        tuple(msgspec.structs.replace(cap, looks_again=False) for cap in item.caps)
    )


def _pack_feedback(feedback: Feedback, now_ms: int) -> bytes:
    head = _FEEDBACK.pack(
        feedback.member, feedback.kind, feedback.reason, pack48(feedback.time_ms),
        len(feedback.lines),
    )  # fmt: skip
    return head + b"".join(
        codec.pack_consent_line(entry_of(line, now_ms), line.document, now_ms)
        for line in feedback.lines
    )


def _unpack_feedback(raw: bytes) -> list[FeedbackAnswer]:
    answers: list[FeedbackAnswer] = []
    at = 0
    while at < len(raw):
        state, is_new, ended, flying = _FEEDBACK_ANSWER.unpack_from(raw, at)
        at += _FEEDBACK_ANSWER.size
        members, at = _cut(raw, at, ended + flying, 16)
        answers.append(FeedbackAnswer(state, is_new == 1, members[:ended], members[ended:]))
    return answers


def _unpack_erased(raw: bytes) -> Erased:
    events, orders, cancelled, flying = _ERASED.unpack_from(raw)
    event_keys, at = _cut(raw, _ERASED.size, events, 8)
    order_keys, at = _cut(raw, at, orders, 8)
    ended, at = _cut(raw, at, cancelled, 16)
    in_flight, _ = _cut(raw, at, flying, 16)
    return Erased(
        tuple(sorted(event_keys)), tuple(sorted(order_keys)), tuple(sorted(ended)), in_flight
    )


def _cut(raw: bytes, at: int, count: int, width: int) -> tuple[tuple[bytes, ...], int]:
    """Return `count` pieces from `at` on, and where they end."""
    end = at + count * width
    return tuple(raw[i : i + width] for i in range(at, end, width)), end
