"""What a registry store must do, in memory and on a real server alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from core.bounds import AUDIT_RETENTION_MS
from core.clock import ManualClock
from core.errors import Conflict, StoreUnavailable
from core.redis_keys import registry_audit, registry_op
from core.registry import memory_store, redis_store
from core.registry.memory_store import MemoryRegistryStore
from core.registry.redis_store import RedisRegistryStore
from core.registry.store import (
    EMPTY_STATE,
    OPERATION_RETENTION_MS,
    AuditLines,
    Change,
    Kind,
    RegistryState,
    RegistryStore,
)
from tests.support.valkey import ValkeyServer

SPANISH = Change(Kind.CHANNEL, "accounts/a/channels/es", b'{"id":"es"}')
FRENCH = Change(Kind.CHANNEL, "accounts/a/channels/fr", b'{"id":"fr"}')
RULE = Change(Kind.RULE, "accounts/a/rules/r", b'{"id":"\xc3\xa9"}')


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest_asyncio.fixture(params=["memory", "redis"])
async def registry_store(
    request: pytest.FixtureRequest, server: ValkeyServer
) -> AsyncIterator[RegistryStore]:
    """Give an empty store."""
    if request.param == "memory":
        yield MemoryRegistryStore()
        return
    client = Redis.from_url(server.url)
    await client.flushall()
    await client.aclose()
    store = RedisRegistryStore.connect(server.url)
    yield store
    await store.close()


async def test_a_new_store_is_empty(registry_store: RegistryStore) -> None:
    assert await registry_store.load() == EMPTY_STATE
    assert await registry_store.revision() == 0
    assert await registry_store.find_op("any") is None


async def test_a_write_raises_the_revision_by_one(registry_store: RegistryStore) -> None:
    assert await registry_store.write(0, [SPANISH], "", b"") == 1
    assert await registry_store.write(1, [FRENCH, RULE], "", b"") == 2
    assert await registry_store.revision() == 2
    assert await registry_store.load() == EMPTY_STATE.after([SPANISH]).after([FRENCH, RULE])


async def test_changes_are_applied_in_order(registry_store: RegistryStore) -> None:
    second = Change(SPANISH.kind, SPANISH.key, b"2")
    gone = Change(FRENCH.kind, FRENCH.key, None)
    never = Change(Kind.CAP, "accounts/a/caps/never", None)
    await registry_store.write(0, [SPANISH, FRENCH, second, gone, never, RULE], "", b"")
    documents = (await registry_store.load()).documents
    assert documents[Kind.CHANNEL] == {SPANISH.key: b"2"}
    assert documents[Kind.RULE] == {RULE.key: RULE.value}
    assert documents[Kind.CAP] == {}


async def test_every_kind_of_document_is_kept(registry_store: RegistryStore) -> None:
    changes = [Change(kind, f"key/{kind}", kind.encode()) for kind in Kind]
    await registry_store.write(0, changes, "", b"")
    state = await registry_store.load()
    assert state == EMPTY_STATE.after(changes)
    assert all(state.documents[kind] == {f"key/{kind}": kind.encode()} for kind in Kind)


async def test_a_loaded_state_never_changes(registry_store: RegistryStore) -> None:
    await registry_store.write(0, [SPANISH], "", b"")
    state = await registry_store.load()
    await registry_store.write(1, [FRENCH, Change(SPANISH.kind, SPANISH.key, None)], "", b"")
    assert state == EMPTY_STATE.after([SPANISH])


@pytest.mark.parametrize("expected", [0, 2, 10])
async def test_a_write_from_another_revision_changes_nothing(
    registry_store: RegistryStore, expected: int
) -> None:
    await registry_store.write(0, [SPANISH], "", b"")
    with pytest.raises(Conflict):
        await registry_store.write(expected, [FRENCH], "op", b"answer")
    assert await registry_store.load() == EMPTY_STATE.after([SPANISH])
    assert await registry_store.find_op("op") is None


async def test_of_writers_at_the_same_time_one_wins(registry_store: RegistryStore) -> None:
    """A25: this is what makes a swap of activations atomic."""
    results = await asyncio.gather(
        *(registry_store.write(0, [SPANISH], f"op-{n}", b"%d" % n) for n in range(8)),
        return_exceptions=True,
    )
    winners = [n for n, result in enumerate(results) if result == 1]
    assert len(winners) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 7
    kept = [await registry_store.find_op(f"op-{n}") for n in range(8)]
    assert [n for n, answer in enumerate(kept) if answer is not None] == winners


async def test_the_first_answer_is_kept(registry_store: RegistryStore) -> None:
    await registry_store.write(0, [SPANISH], "op", b"first\x00\xff")
    assert await registry_store.find_op("op") == b"first\x00\xff"


async def test_an_operation_is_never_applied_twice(registry_store: RegistryStore) -> None:
    """A repetition after a lost answer is told apart even if it has read the newest revision."""
    await registry_store.write(0, [SPANISH], "op", b"first")
    with pytest.raises(Conflict):
        await registry_store.write(1, [FRENCH], "op", b"second")
    assert await registry_store.load() == EMPTY_STATE.after([SPANISH])
    assert await registry_store.find_op("op") == b"first"


async def test_writes_without_an_operation_are_not_told_apart(
    registry_store: RegistryStore,
) -> None:
    await registry_store.write(0, [SPANISH], "", b"")
    assert await registry_store.write(1, [SPANISH], "", b"") == 2
    assert await registry_store.find_op("") is None


def lines(*texts: str, account: str = "a") -> AuditLines:
    return AuditLines(account, tuple(text.encode() for text in texts))


async def log(store: RegistryStore, account: str = "a", before: str = "") -> list[str]:
    return [one.line.decode() for one in await store.audit(account, before, 100)]


async def test_a_write_without_changes_remembers_its_operation(
    registry_store: RegistryStore,
) -> None:
    assert await registry_store.write(0, [], "op", b"first") == 1
    assert await registry_store.find_op("op") == b"first"
    assert (await registry_store.load()).documents == EMPTY_STATE.documents


async def test_audit_lines_are_written_with_the_change(registry_store: RegistryStore) -> None:
    """R24, R44, A33: newest first, each account its own."""
    await registry_store.write(0, [SPANISH], "", b"", lines("1", "2"))
    await registry_store.write(1, [FRENCH], "", b"", lines("\x00\u00e9", account="b"))
    await registry_store.write(2, [RULE], "", b"", lines("3"))
    assert await log(registry_store) == ["3", "2", "1"]
    assert await log(registry_store, "b") == ["\x00\u00e9"]
    assert await log(registry_store, "c") == []
    assert await registry_store.load() == EMPTY_STATE.after([SPANISH]).after([FRENCH]).after([RULE])


async def test_a_refused_write_leaves_no_audit_line(registry_store: RegistryStore) -> None:
    await registry_store.write(0, [SPANISH], "op", b"first", lines("1"))
    with pytest.raises(Conflict):
        await registry_store.write(0, [FRENCH], "", b"", lines("late"))
    with pytest.raises(Conflict):
        await registry_store.write(1, [FRENCH], "op", b"again", lines("again"))
    assert await log(registry_store) == ["1"]


async def test_audit_lines_may_stand_beside_writes(registry_store: RegistryStore) -> None:
    await registry_store.write(0, [SPANISH], "", b"", lines("1"))
    await registry_store.append_audit(lines("2", "3"))
    await registry_store.append_audit(lines())
    assert await log(registry_store) == ["3", "2", "1"]
    assert await registry_store.revision() == 1, "nobody need load anything anew"


async def test_the_audit_log_is_read_in_pieces(registry_store: RegistryStore) -> None:
    await registry_store.append_audit(lines(*"12345"))
    newest = await registry_store.audit("a", "", 2)
    assert [one.line for one in newest] == [b"5", b"4"]
    assert await log(registry_store, before=newest[-1].id) == ["3", "2", "1"]
    assert await log(registry_store, before=(await registry_store.audit("a", "", 5))[-1].id) == []
    for wrong in ("x", "1", "1-2-3", "1-x"):
        with pytest.raises(ValueError, match=r"unpack|literal"):
            await registry_store.audit("a", wrong, 1)


async def test_of_too_many_audit_lines_the_oldest_go(
    registry_store: RegistryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (memory_store, redis_store):
        monkeypatch.setattr(module, "AUDIT_LINES_MAX", 3)
    await registry_store.write(0, [SPANISH], "", b"", lines("1", "2"))
    await registry_store.append_audit(lines("3", "4"))
    assert await log(registry_store) == ["4", "3", "2"]
    await registry_store.write(1, [SPANISH], "", b"", lines(*"56789"))
    assert await log(registry_store) == ["9", "8", "7"]


async def test_memory_forgets_audit_lines_after_two_years() -> None:
    clock = ManualClock(1_000)
    store = MemoryRegistryStore(clock)
    await store.append_audit(lines("old"))
    clock.move_to_ms(1_000 + AUDIT_RETENTION_MS)
    await store.append_audit(lines("new"))
    assert await log(store) == ["new", "old"]
    clock.move_to_ms(1_001 + AUDIT_RETENTION_MS)
    await store.write(0, [SPANISH], "", b"", lines("newer"))
    assert await log(store) == ["newer", "new"]


async def test_the_server_forgets_audit_lines_after_two_years(server: ValkeyServer) -> None:
    client = Redis.from_url(server.url)
    await client.flushall()
    store = RedisRegistryStore(client)
    seconds, micros = await client.time()
    old_ms = seconds * 1_000 + micros // 1_000 - AUDIT_RETENTION_MS
    for account in ("a", "b"):
        for age_ms in (60_000, -60_000):
            name = f"{old_ms - age_ms}-0"
            await client.xadd(registry_audit(account), {"line": f"{age_ms}"}, id=name)
    await store.append_audit(lines("new"))
    await store.write(0, [SPANISH], "", b"", lines("new", account="b"))
    assert await log(store) == await log(store, "b") == ["new", "-60000"]
    await store.close()


async def test_closing_twice_is_fine(registry_store: RegistryStore) -> None:
    await registry_store.close()
    await registry_store.close()


async def test_memory_forgets_an_operation_after_a_day() -> None:
    clock = ManualClock(1_000)
    store = MemoryRegistryStore(clock)
    await store.write(0, [SPANISH], "op", b"first")
    clock.move_to_ms(1_000 + OPERATION_RETENTION_MS - 1)
    assert await store.find_op("op") == b"first"
    clock.move_to_ms(1_000 + OPERATION_RETENTION_MS)
    assert await store.find_op("op") is None
    assert await store.write(1, [SPANISH], "op", b"again") == 2


async def test_the_server_forgets_an_operation_after_a_day(server: ValkeyServer) -> None:
    client = Redis.from_url(server.url)
    await client.flushall()
    store = RedisRegistryStore(client)
    await store.write(0, [SPANISH], "op", b"first")
    left_ms = await client.pttl(registry_op("op"))
    assert OPERATION_RETENTION_MS - 60_000 < left_ms <= OPERATION_RETENTION_MS
    await store.close()


async def test_a_restarted_server_has_what_was_written() -> None:
    """A4, B3."""
    with ValkeyServer("--appendonly", "yes", "--appendfsync", "always") as durable:
        store = RedisRegistryStore.connect(durable.url)
        await store.write(0, [SPANISH], "op", b"first")
        durable.kill()
        with pytest.raises(StoreUnavailable):
            await store.revision()
        with pytest.raises(StoreUnavailable):
            await store.load()
        with pytest.raises(StoreUnavailable):
            await store.find_op("op")
        with pytest.raises(StoreUnavailable):
            await store.write(1, [FRENCH], "", b"")
        durable.start()
        # The script is unknown to the new process.
        assert await store.write(1, [FRENCH], "", b"") == 2
        assert await store.load() == EMPTY_STATE.after([SPANISH]).after([FRENCH])
        assert await store.find_op("op") == b"first"
        await store.close()


async def test_a_full_server_refuses_and_changes_nothing() -> None:
    with ValkeyServer("--maxmemory", "3mb") as full:
        store = RedisRegistryStore.connect(full.url)
        await store.write(0, [SPANISH], "", b"")

        async def fill() -> None:
            for revision in range(1, 64):
                large = Change(Kind.CAP, str(revision), bytes(256 * 1024))
                await store.write(revision, [large], "", b"")

        with pytest.raises(StoreUnavailable):
            await fill()
        state = await store.load()
        assert state.revision == 1 + len(state.documents[Kind.CAP])
        await store.close()


def test_states_share_the_kinds_that_do_not_change() -> None:
    before = EMPTY_STATE.after([SPANISH, RULE])
    after = before.after([FRENCH])
    assert isinstance(after, RegistryState)
    assert after.documents[Kind.RULE] is before.documents[Kind.RULE]
    assert set(after.documents[Kind.CHANNEL]) == {SPANISH.key, FRENCH.key}
    assert set(before.documents[Kind.CHANNEL]) == {SPANISH.key}
