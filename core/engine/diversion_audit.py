"""The proof of neutrality: every first review request of a channel, and how its platform was drawn.

Decides: what an auditor is told, so that every draw can be made again outside (g8, B42).
Never: judges it; `control/cli/platforms.py` draws again and counts.

It reads all plans that are stored, whole partitions one after the other, in bounded steps. What has
been erased or has outlived its retention is not there any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from core.engine.destinations import platform_drawn, platform_used, why
from core.engine.diversion import NOT_DRAWN, unit_of
from core.errors import NotFound
from core.ports import Store, Waiting
from core.records import PlanDetail, member_parts
from core.registry.registry import Registry
from core.registry.resources import Channel

SCAN_STEP = 500
"""Plans looked at in one step."""

_detail = msgspec.msgpack.Decoder(PlanDetail)


class DrawnRequest(msgspec.Struct, frozen=True):
    """One first review request; field meanings as in the API's ExportDiversionResponse."""

    member: bytes
    plan_ms: int
    unit: str
    salt: str
    bucket: int
    shares: str
    platform: str
    platform_used: str
    why: str
    kinds: int
    state: int


class DiversionAudit:
    """Reads the draws of one store."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    async def requests(
        self, account: str, channel_name: str, start_ms: int = 0, end_ms: int | None = None
    ) -> AsyncIterator[DrawnRequest]:
        """Yield every first review request that was planned in [start_ms, end_ms), each once.

        Raises:
            NotFound: no such channel.
        """
        await self._registry.refresh()
        channel = self._registry.snapshot.channel_by_name.get(channel_name)
        if channel is None or channel.account != account:
            raise NotFound(f'"{channel_name[:200]}" is no channel of this account', field="channel")
        for partition in range(self._store.meta.partition_count):
            seen: set[bytes] = set()
            cursor = 0
            while True:
                cursor, found = await self._store.scan_details(partition, cursor, SCAN_STEP)
                # A scan may tell of the same plan twice.
                fresh = {
                    member: detail
                    for member, raw in found
                    if member not in seen
                    and (detail := _wanted(channel, member, raw, start_ms, end_ms)) is not None
                }
                seen.update(fresh)
                if fresh:
                    read = await self._store.read({partition: list(fresh)})
                    for one in _told(channel, fresh, read[partition]):
                        yield one
                if not cursor:
                    break


def _wanted(
    channel: Channel, member: bytes, raw: bytes, start_ms: int, end_ms: int | None
) -> PlanDetail | None:
    if member_parts(member)[2] != channel.number:
        return None
    detail = _detail.decode(raw)
    is_in_time = start_ms <= detail.accept_ms and (end_ms is None or detail.accept_ms < end_ms)
    return detail if is_in_time and not detail.parent_sequence else None


def _told(
    channel: Channel, details: dict[bytes, PlanDetail], read: Sequence[Waiting | None]
) -> list[DrawnRequest]:
    salts = channel.diversion.salts if channel.diversion is not None else ()
    told: list[DrawnRequest] = []
    for waiting in read:
        if waiting is None or not waiting.reference.kinds:
            continue
        ref, detail = waiting.reference, details[waiting.member]
        number = detail.salt_number
        told.append(
            DrawnRequest(
                member=waiting.member,
                plan_ms=detail.accept_ms,
                unit=unit_of(detail.order_reference, detail.event_id),
                salt=salts[number - 1] if 0 < number <= len(salts) else "",
                bucket=detail.bucket,
                shares=detail.shares,
                platform=platform_drawn(detail),
                platform_used=platform_used(detail, ref),
                why=why(detail, ref.flags) if detail.bucket != NOT_DRAWN else "nothing was divided",
                kinds=ref.kinds,
                state=ref.state,
            )
        )
    return told
