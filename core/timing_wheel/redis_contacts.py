"""The durable store, people: consents, contacts, cancelling, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from core import bounds
from core.contact_ports import ConsentLine, ConsentsWritten, LoggedLine, entry_of
from core.ports import Move
from core.records import ContactRecord, unpack_contact
from core.redis_link import check
from core.timer_records import Timer, unpack_timers
from core.timing_wheel import codec
from core.timing_wheel.redis_base import RedisBase, batches

_logged = msgspec.msgpack.Decoder(LoggedLine)


class RedisContacts(RedisBase):
    """What is known about contacts and their invitations."""

    async def write_consents(
        self, partition: int, contact_key: bytes, lines: Sequence[ConsentLine], now_ms: int
    ) -> ConsentsWritten:
        """See `ContactStore.write_consents`."""
        await self._ready()
        keys = self._keys[partition]
        packed = b"".join(
            codec.pack_consent_line(entry_of(line, now_ms), line.document, now_ms) for line in lines
        )
        names = [
            keys.counters, keys.contacts, keys.bodies, keys.outcomes(now_ms // bounds.DAY_MS),
            keys.consents,
        ]  # fmt: skip
        last, ended, flying = check(
            await self._send(
                partition, "write_consents", names, [now_ms, contact_key, len(lines), packed]
            )
        )
        numbers = tuple(range(last - len(lines) + 1, last + 1))
        return ConsentsWritten(numbers, tuple(_members(ended)), tuple(_members(flying)))

    async def consent_log(
        self, partition: int, contact_key: bytes, after: int = 0, limit: int = 1_000
    ) -> list[LoggedLine]:
        """See `ContactStore.consent_log`."""
        await self._ready()
        record = await self.contact(partition, contact_key)
        newest = record.consent_lines if record is not None else 0
        lines: list[LoggedLine] = []
        for numbers in batches(range(after + 1, newest + 1)):
            if len(lines) >= limit:
                break
            names = [contact_key + number.to_bytes(4, "big") for number in numbers]
            if names:
                reply = await self._link(partition).call(
                    "HMGET", self._keys[partition].consents, *names
                )
                lines += [_logged.decode(raw) for raw in reply if raw]
        return lines[:limit]

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
