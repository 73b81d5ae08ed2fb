"""The registry's durable store: Redis or Valkey, one hash per kind of document.

Decides: which commands and script carry out the port.
Never: a retry. A write whose answer is lost may have been executed; the caller finds out by the
operation id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from core.bounds import AUDIT_LINES_MAX, AUDIT_RETENTION_MS
from core.clock import SystemClock
from core.errors import Conflict, StoreUnavailable
from core.redis_keys import registry_audit, registry_documents, registry_meta, registry_op
from core.registry.store import (
    NO_AUDIT,
    OPERATION_RETENTION_MS,
    AuditLines,
    Change,
    Kind,
    LoggedAudit,
    RegistryState,
)

_KINDS: Final = tuple(Kind)
_SCRIPT: Final = (Path(__file__).parent / "lua" / "registry_write.lua").read_text(encoding="utf-8")
_LINE: Final = b"line"
_CLOCK: Final = SystemClock()
_SCRIPT_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class RedisRegistryStore:
    """Documents on a server. All keys share one hash tag, so a write is one script."""

    def __init__(self, client: Redis) -> None:
        """Use a client, which then belongs to the store.

        Args:
            client: without retries and without decoding, as `connect` makes it.
        """
        self._client = client

    @classmethod
    def connect(cls, url: str, timeout_ms: int = 10_000) -> RedisRegistryStore:
        """Return a store on the server at a URL; it connects when first used.

        Args:
            url: redis://, rediss:// or unix:// as redis-py reads them.
            timeout_ms: for connecting and for each answer.
        """
        return cls(
            Redis.from_url(
                url,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=timeout_ms / 1_000,
                socket_connect_timeout=timeout_ms / 1_000,
            )
        )

    async def load(self) -> RegistryState:
        """Read everything in one transaction. Cost: one round trip."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hget(registry_meta(), "revision")
        for kind in _KINDS:
            pipeline.hgetall(registry_documents(kind))
        revision, *tables = await _answer(pipeline.execute())
        return RegistryState(
            int(revision or 0),
            {
                kind.value: {key.decode(): value for key, value in table.items()}
                for kind, table in zip(_KINDS, tables, strict=True)
            },
        )

    async def revision(self) -> int:
        """Read one hash field."""
        return int(await _answer(self._client.hget(registry_meta(), "revision")) or 0)

    async def write(
        self,
        expected_revision: int,
        changes: Sequence[Change],
        op_id: str,
        op_result: bytes,
        audit: AuditLines = NO_AUDIT,
    ) -> int:
        """Run `registry_write.lua`: meta, the operation, the log, and the hash of each kind that
        changes."""
        assert changes or op_id, "a write writes something"
        kinds = list(dict.fromkeys(change.kind for change in changes))
        keys = [
            registry_meta(),
            registry_op(op_id),
            registry_audit(audit.account),
            *(registry_documents(kind) for kind in kinds),
        ]
        index = {kind: number for number, kind in enumerate(kinds, start=4)}
        arguments: list[str | bytes | int] = [
            expected_revision,
            OPERATION_RETENTION_MS if op_id else 0,
            op_result,
            AUDIT_LINES_MAX,
            _oldest_audit_id(),
            len(audit.lines),
            *audit.lines,
        ]
        for change in changes:
            arguments += [index[change.kind], change.key, change.value or b""]
        code = await self._run(keys, arguments)
        if code == -1:
            raise Conflict(f"the registry is not at revision {expected_revision} any more")
        if code == -2:
            raise Conflict("the operation was written before")
        return code

    async def _run(self, keys: list[str], arguments: list[str | bytes | int]) -> int:
        try:
            reply = await _answer(self._client.evalsha(_SCRIPT_SHA, len(keys), *keys, *arguments))
        except NoScriptError:
            # The server has not run anything, so sending it again is no retry.
            reply = await _answer(self._client.eval(_SCRIPT, len(keys), *keys, *arguments))
        return int(reply)

    async def find_op(self, op_id: str) -> bytes | None:
        """Read one string."""
        return cast("bytes | None", await _answer(self._client.get(registry_op(op_id))))

    async def append_audit(self, audit: AuditLines) -> None:
        """Add to the stream and trim it, in one transaction. Cost: one round trip."""
        if not audit.lines:
            return
        key = registry_audit(audit.account)
        pipeline = self._client.pipeline(transaction=True)
        for line in audit.lines:
            pipeline.xadd(key, {_LINE: line}, maxlen=AUDIT_LINES_MAX, approximate=False)
        pipeline.xtrim(key, minid=_oldest_audit_id(), approximate=False)
        await _answer(pipeline.execute())

    async def audit(self, account: str, before: str, limit: int) -> list[LoggedAudit]:
        """Read the stream backwards. Cost: one round trip, O(limit)."""
        end = "+"
        if before:
            written_ms, place = (int(part) for part in before.split("-"))
            end = f"({written_ms}-{place}"
        found = await _answer(self._client.xrevrange(registry_audit(account), end, "-", limit))
        return [LoggedAudit(name.decode(), fields[_LINE]) for name, fields in found]

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()


def _oldest_audit_id() -> str:
    """Return the id from which on lines are kept: ids begin with the server's time."""
    return f"{_CLOCK.now_ms() - AUDIT_RETENTION_MS}-0"


async def _answer(reply: Awaitable[Any] | Any) -> Any:
    """Return what the server says, or say that it could not.

    The text of an error may repeat stored values, so only its kind is told.
    """
    try:
        return await reply
    except NoScriptError:
        raise
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"the registry's store: {type(error).__name__}") from error
