"""Erasure on a real server that writes everything down: nothing of the person is left, in no key and in
no file (R22; GDPR, article 17)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from core.bounds import HOUR_MS
from core.engine.consent_documents import ConsentDocument
from core.engine.consents import Statement
from core.engine.reach import Whom
from core.model import Disposition, Medium, Purpose, Reason, State
from core.partitions import partition_of
from core.redis_link import RedisLink
from core.sending import Delivery
from core.timing_wheel.redis_store import SCRIPTS, RedisStore
from tests.support import person
from tests.support.shop import ACCOUNT, Shop, open_shop
from tests.support.valkey import ValkeyServer

PARTITIONS = 16
"""So many that the keys of one person, which are never the same twice, lie in several."""
READS = {
    b"string": ("GET",), b"hash": ("HGETALL",), b"zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
    b"set": ("SMEMBERS",), b"list": ("LRANGE", "0", "-1"), b"stream": ("XRANGE", "-", "+"),
}  # fmt: skip


class Server:
    """All that a server holds, in memory and on disk."""

    def __init__(self, server: ValkeyServer) -> None:
        self.folder = Path(server.socket_path).parent
        self.link = RedisLink(server.socket_path)

    async def everything(self) -> bytes:
        """Return names and values of all keys, of every type."""
        raw: list[bytes] = []
        cursor = b"0"
        while True:
            cursor, keys = await self.link.call("SCAN", cursor, "COUNT", "1000")
            for key in keys:
                kind = await self.link.call("TYPE", key)
                read, *rest = READS[kind.encode() if isinstance(kind, str) else kind]
                raw += [key, flat(await self.link.call(read, key, *rest))]
            if cursor == b"0":
                return b"\n".join(raw)

    async def rewrite(self) -> None:
        """Let the server write its append-only file anew, and wait until it has."""
        await self.link.call("BGREWRITEAOF")
        while True:
            told = (await self.link.call("INFO", "persistence")).decode()
            if not any(f"{flag}:1" in told for flag in ("aof_rewrite_in_progress", "scheduled")):
                assert "aof_last_bgrewrite_status:ok" in told
                break
            await asyncio.sleep(0.05)
        # The old files go in the background.
        for _ in range(100):
            if len([path for path in self.files() if path.suffix == ".aof"]) <= 2:
                return
            await asyncio.sleep(0.05)

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def on_disk(self) -> bytes:
        """Return the bytes of every file in the data directory."""
        return b"\n".join(path.read_bytes() for path in self.files())


def flat(reply: Any) -> bytes:
    if isinstance(reply, list):
        return b"\n".join(flat(one) for one in reply)
    return reply if isinstance(reply, bytes) else str(reply).encode()


def found(raw: bytes, strings: Iterable[str] = person.STRINGS) -> list[str]:
    """Return which of the strings occur; case does not matter."""
    lowered = raw.lower()
    return [text for text in strings if text.lower().encode() in lowered]


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[tuple[Shop, Server]]:
    # Compressed, a string on disk could not be seen.
    options = ("--appendonly", "yes", "--appendfsync", "no", "--rdbcompression", "no")
    with ValkeyServer(*options) as valkey:
        links = [RedisLink(valkey.socket_path, list(SCRIPTS.values())) for _ in range(2)]
        store = await RedisStore.open(
            links, partition_count=PARTITIONS, slot_width_ms=HOUR_MS, is_virtual=True
        )
        server = Server(valkey)
        async with open_shop(
            store, start=person.START, rules=person.rules(), caps=person.CAPS, media=person.MEDIA
        ) as shop:
            yield shop, server
        await server.link.close()
        await store.close()


class Holding:
    """Holds letters at the transport's door until told to let them go."""

    def __init__(self, shop: Shop) -> None:
        self._send = shop.post.send
        self.came, self.go = asyncio.Event(), asyncio.Event()
        shop.post.send = self.send  # type: ignore[method-assign]

    async def send(self, letters: Any) -> list[Delivery]:
        self.came.set()
        await self.go.wait()
        return await self._send(letters)


async def erase_in_flight(shop: Shop, key: bytes) -> None:
    """Erase the person while a mail to them is on its way; it arrives, and has no follow-up."""
    sent = len(shop.post.sent)
    held = Holding(shop)
    passing = asyncio.create_task(shop.until("2026-03-08 13:00"))
    await held.came.wait()
    done = await shop.engine.eraser.erase(ACCOUNT, key)
    assert len(done.in_flight) == 1, "it may still arrive, and is named"
    assert len(done.cancelled) == 7
    assert done.event_count >= 12
    assert len(done.links.own) == 3
    held.go.set()
    await passing
    assert len(shop.post.sent) == sent + 1


async def replay(shop: Shop, server: Server) -> None:
    """What was before is refused, whoever it names, and leaves nothing (R22)."""
    refused = shop.engine.stats.events_refused
    events = person.life(shop)
    for event in events:
        event.occur_ms -= 8 * 24 * HOUR_MS
    answers = await shop.engine.acceptor.accept(ACCOUNT, events)
    for event, answer in zip(events, answers, strict=True):
        assert answer.error is not None, event.id
        assert (answer.error.reason, answer.error.field) == ("CONTACT_ERASED", "event.contact")
    assert shop.engine.stats.events_refused == refused + len(events)
    counters = await shop.engine.store.counters(range(PARTITIONS))
    assert sum(c.events.get(Disposition.REFUSED, 0) for c in counters.values()) == len(events)
    assert found(await server.everything()) == []


async def return_later(shop: Shop, key: bytes) -> None:
    """What comes later is taken, and blocked until a consent with proof; then nothing is counted."""
    before = await shop.ends()
    await shop.until("2026-03-09 09:00")
    await shop.publish(person.checkout(shop, "ORD-NEW-1"))
    ends = await shop.ends()
    for reason in (Reason.SUPPRESSED,):
        assert ends[State.SKIPPED, reason] - before.get((State.SKIPPED, reason), 0) == 2
    await shop.until("2026-03-10 09:00")
    proof = ConsentDocument("https://shop.example/account", actor="desk")
    said = Statement(Purpose.REVIEW, Medium.EMAIL, document=proof)
    await shop.engine.consents.grant(ACCOUNT, Whom(contact=person.CONTACT), said)
    record = await shop.engine.store.contact(partition_of(key, PARTITIONS), key)
    assert record is not None
    assert record.stamps == []
    await shop.until("2026-03-10 10:00")
    await shop.publish(person.checkout(shop, "ORD-NEW-2"))
    await shop.until("2026-03-18 00:00")
    # The request of 8 March would have kept this one back until the 22nd.
    assert shop.mails()[-1] == ("2026-03-17 09:00", person.EMAIL, False)
    assert (State.SKIPPED, Reason.SUPPRESSED) in await shop.ends()


@pytest.mark.integration
async def test_nothing_of_an_erased_person_is_left_anywhere() -> None:
    """R22, R6, R49, g4: raw bytes of every key and, once rewritten, of every file."""
    async with opened() as (shop, server):
        await person.live(shop)
        key = shop.engine.identity.contact_key(ACCOUNT, person.CONTACT)
        dossiers, links = await shop.engine.dossiers.whole(ACCOUNT, key)
        events = [seen.event_key for seen in dossiers[0].record.events]
        assert any(map(shop.engine.refusals.tell, events))
        identity = shop.engine.identity
        orders = [identity.order_key(ACCOUNT, "madrid", order) for order in person.ORDERS]
        assert len({partition_of(each, PARTITIONS) for each in (key, *links.own, *orders)}) > 1
        assert found(await server.everything()) == person.STRINGS, "they can be seen"
        await server.rewrite()
        assert found(server.on_disk()) == person.STRINGS, "on disk, too"

        await erase_in_flight(shop, key)
        assert found(await server.everything()) == []
        await server.rewrite()
        assert found(server.on_disk()) == []
        ends = await shop.ends()
        assert ends[State.CANCELLED, Reason.ERASED] == 7
        assert await shop.pending() == 0
        assert not any(map(shop.engine.refusals.tell, events)), "nor does this process remember"

        await replay(shop, server)
        await return_later(shop, key)
