"""The registry's store in memory: the specification of `RegistryStore` in Python.

Decides: what the port means, for tests, the demo and simulation.
Never: survives its process.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.clock import Clock, SystemClock
from core.errors import Conflict
from core.registry.store import EMPTY_STATE, OPERATION_RETENTION_MS, Change, RegistryState


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

    async def load(self) -> RegistryState:
        """Return the state; states never change, so this one can be shared."""
        return self._state

    async def revision(self) -> int:
        """Return the newest revision."""
        return self._state.revision

    async def write(
        self, expected_revision: int, changes: Sequence[Change], op_id: str, op_result: bytes
    ) -> int:
        """Apply all changes, or none."""
        assert changes, "a write writes something"
        self._forget_old_operations()
        if self._state.revision != expected_revision:
            raise Conflict(f"the registry is at revision {self._state.revision} by now")
        if op_id and op_id in self._operations:
            raise Conflict("the operation was written before")
        self._state = self._state.after(changes)
        if op_id:
            kept_until_ms = self._clock.now_ms() + OPERATION_RETENTION_MS
            self._operations[op_id] = (kept_until_ms, op_result)
        return self._state.revision

    async def find_op(self, op_id: str) -> bytes | None:
        """Return the result kept with an operation id."""
        self._forget_old_operations()
        kept = self._operations.get(op_id)
        return None if kept is None else kept[1]

    async def close(self) -> None:
        """Nothing to release."""

    def _forget_old_operations(self) -> None:
        now_ms = self._clock.now_ms()
        while self._operations:
            oldest = next(iter(self._operations))
            if self._operations[oldest][0] > now_ms:
                return
            del self._operations[oldest]
