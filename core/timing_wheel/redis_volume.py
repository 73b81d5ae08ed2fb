"""The durable store, budgets of many contacts (R29)."""

from __future__ import annotations

from core import bounds
from core.contact_ports import VolumeAnswer
from core.records import unpack48
from core.redis_keys import volume
from core.redis_link import RedisLink, check
from core.timing_wheel.redis_base import RedisBase
from core.timing_wheel.redis_scripts import SCRIPTS

_IDLE_MS = bounds.DAY_MS


class RedisVolume(RedisBase):
    """Budgets. Each has a key of its own, in no partition."""

    def _volume_link(self, ledger: bytes) -> RedisLink:
        return self._links[ledger[0] % len(self._links)]

    async def take_volume(
        self, ledger: bytes, token: bytes, count: int, limit: int, window_ms: int, now_ms: int
    ) -> VolumeAnswer:
        """See `ContactStore.take_volume`."""
        await self._ready()
        # The server's clock is the machine's: on a virtual one it may not say what is over.
        idle_ms = 0 if self.meta.is_virtual else 2 * window_ms + _IDLE_MS
        raw = check(
            await self._volume_link(ledger).send(
                "EVALSHA", SCRIPTS["take_volume"].sha, 1, volume(ledger),
                now_ms, token, count, limit, window_ms, idle_ms,
            )
        )  # fmt: skip
        wakes = tuple(unpack48(raw[at : at + 6]) for at in range(4, len(raw), 6))
        return VolumeAnswer(int.from_bytes(raw[:4], "little"), wakes)

    async def give_back_volume(self, ledger: bytes, token: bytes, count: int) -> None:
        """See `ContactStore.give_back_volume`."""
        await self._ready()
        check(
            await self._volume_link(ledger).send(
                "EVALSHA", SCRIPTS["give_back_volume"].sha, 1, volume(ledger), token, count
            )
        )
