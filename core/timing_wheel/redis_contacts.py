"""The durable store, people: consents, contacts, cancelling, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core import bounds
from core.ports import Move
from core.records import (
    CONSENT,
    ContactRecord,
    consent_id,
    pack48,
    unpack_contact,
)
from core.redis_link import check
from core.timer_records import Timer, unpack_timers
from core.timing_wheel import codec
from core.timing_wheel.redis_base import RedisBase, batches


class RedisContacts(RedisBase):
    """What is known about contacts and their invitations."""

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
            await self._send(
                partition, "write_consent", names, [now_ms, contact_key, packed, *document]
            )
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
        for batch in batches(members):
            names = [
                keys.counters, keys.contacts, keys.bodies, keys.outcomes(now_ms // bounds.DAY_MS)
            ]  # fmt: skip
            states += check(
                await self._send(
                    partition, "cancel", names, [now_ms, int(state), int(reason), *batch]
                )
            )
        return states

    async def move(self, partition: int, moves: Sequence[Move], now_ms: int) -> list[bool]:
        """See `Store.move`."""
        await self._ready()
        keys = self._keys[partition]
        answers: list[bool] = []
        for batch in batches(moves):
            lanes: dict[bytes, int] = {}
            packed = b"".join(
                codec.pack_move(
                    move, lanes.setdefault(self._source_key(keys, move.source), len(lanes))
                )
                for move in batch
            )
            names = [
                keys.meta, keys.counters, keys.contacts, keys.details, keys.bodies,
                keys.outcomes(now_ms // bounds.DAY_MS), keys.deferred, *lanes,
            ]  # fmt: skip
            details = [move.detail for move in batch]
            raw = check(
                await self._send(partition, "move", names, [now_ms, len(batch), packed, *details])
            )
            answers += [answer == 1 for answer in raw]
        return answers

    async def timers(self, partition: int, contact_keys: Sequence[bytes]) -> list[list[Timer]]:
        """See `Store.timers`."""
        await self._ready()
        reply = await self._link(partition).call(
            "HMGET", self._keys[partition].timers, *contact_keys
        )
        return [unpack_timers(raw or b"") for raw in reply]

    async def drop_timers(self, partition: int, members: Sequence[bytes]) -> None:
        """See `Store.drop_timers`."""
        await self._ready()
        keys = self._keys[partition]
        for batch in batches(members):
            check(await self._send(partition, "drop_timers", [keys.timers, keys.timer_dues], batch))

    async def notes(self, partition: int, members: Sequence[bytes]) -> list[bytes]:
        """See `Store.notes`."""
        await self._ready()
        reply = await self._link(partition).call("HMGET", self._keys[partition].notes, *members)
        return [note or b"" for note in reply]


def _members(raw: bytes) -> list[bytes]:
    return [raw[at : at + 16] for at in range(0, len(raw), 16)]
