"""The registry's store in memory: the specification of `RegistryStore` in Python.

Decides: what the port means, for tests, the demo and simulation.
Never: survives its process.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.bounds import AUDIT_LINES_MAX, AUDIT_RETENTION_MS
from core.clock import Clock, SystemClock
from core.errors import Conflict
from core.registry.store import (
    EMPTY_STATE,
    NO_AUDIT,
    OPERATION_RETENTION_MS,
    AuditLines,
    Change,
    LoggedAudit,
    RegistryState,
)

_LogId = tuple[int, int]
"""(when the line was written, epoch ms; 0 for the first line of that millisecond, 1, ...)."""


class MemoryRegistryStore:
    """Documents in dictionaries. Several registries may share one, like daemons share a server."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Make an empty store.

        Args:
            clock: says when remembered operations are forgotten; the machine's if not given.
        """
        self._clock = clock or SystemClock()
        self._state = EMPTY_STATE
        self._operations: dict[str, tuple[int, bytes]] = {}
        """Operation id -> (kept until, result), in the order of writing."""
        self._audit: dict[str, dict[_LogId, bytes]] = {}
        """Account -> its lines, oldest first."""
        self._last_log_id: dict[str, _LogId] = {}

    async def load(self) -> RegistryState:
        """Return the state; states never change, so this one can be shared."""
        return self._state

    async def revision(self) -> int:
        """Return the newest revision."""
        return self._state.revision

    async def write(
        self,
        expected_revision: int,
        changes: Sequence[Change],
        op_id: str,
        op_result: bytes,
        audit: AuditLines = NO_AUDIT,
    ) -> int:
        """Apply all changes, or none."""
        assert changes or op_id, "a write writes something"
        self._forget_old_operations()
        if self._state.revision != expected_revision:
            raise Conflict(f"the registry is at revision {self._state.revision} by now")
        if op_id and op_id in self._operations:
            raise Conflict("the operation was written before")
        self._state = self._state.after(changes)
        if op_id:
            kept_until_ms = self._clock.now_ms() + OPERATION_RETENTION_MS
            self._operations[op_id] = (kept_until_ms, op_result)
        self._append(audit)
        return self._state.revision

    async def find_op(self, op_id: str) -> bytes | None:
        """Return the result kept with an operation id."""
        self._forget_old_operations()
        kept = self._operations.get(op_id)
        return None if kept is None else kept[1]

    async def append_audit(self, audit: AuditLines) -> None:
        """Append lines to an account's log."""
        self._append(audit)

    def _append(self, audit: AuditLines) -> None:
        if not audit.lines:
            return
        log, now_ms = self._audit.setdefault(audit.account, {}), self._clock.now_ms()
        for line in audit.lines:
            last_ms, last = self._last_log_id.get(audit.account, (0, -1))
            log_id = (now_ms, 0) if now_ms > last_ms else (last_ms, last + 1)
            self._last_log_id[audit.account] = log_id
            log[log_id] = line
        while log:
            oldest = next(iter(log))
            if len(log) <= AUDIT_LINES_MAX and oldest[0] >= now_ms - AUDIT_RETENTION_MS:
                return
            del log[oldest]

    async def audit(self, account: str, before: str, limit: int) -> list[LoggedAudit]:
        """Return the newest lines of an account."""
        end = _log_id(before) if before else None
        log = self._audit.get(account, {})
        found = [log_id for log_id in reversed(log) if end is None or log_id < end]
        return [LoggedAudit(f"{at[0]}-{at[1]}", log[at]) for at in found[:limit]]

    async def close(self) -> None:
        """Nothing to release."""

    def _forget_old_operations(self) -> None:
        now_ms = self._clock.now_ms()
        while self._operations:
            oldest = next(iter(self._operations))
            if self._operations[oldest][0] > now_ms:
                return
            del self._operations[oldest]


def _log_id(text: str) -> _LogId:
    """Return the parts of an id.

    Raises:
        ValueError: it is none.
    """
    written_ms, place = text.split("-")
    return int(written_ms), int(place)
