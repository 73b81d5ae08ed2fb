"""What became of the invitations of a store: one line each, in an order that depends on nothing else.

Decides: what a line says, and that ended invitations come by settle time, then by name, and those that
still wait after them, by due time, then by name.

Shape: ids are short in lines: "ask", not "accounts/default/rules/ask".
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from functools import lru_cache

import msgspec
from msgspec import UNSET, UnsetType

from core import bounds
from core.bounds import DAY_MS
from core.errors import LimitExceeded
from core.gate import Lane, Source
from core.model import Medium, Reason, State
from core.outcomes import Outcome
from core.ports import Store
from core.records import FLAG_FELL_BACK, PlanDetail, Reference, member_parts
from core.registry.diversion_parts import OWN_PLATFORM

_FOREVER_MS = 2**47
_EPOCH = datetime.date(1970, 1, 1)
_detail = msgspec.msgpack.Decoder(PlanDetail)
_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, frozen=True):
    """One invitation. Field order is that of the file.

    `settle_time` is None while it waits, and only then there is a `due_time`.
    """

    invitation: str
    rule: str
    step: str
    channel: str
    contact: str
    medium: str
    planned_time: str
    settle_time: str | None
    state: str
    reason: str
    platform: str
    due_time: str | UnsetType = UNSET


def time_text(time_ms: int) -> str:
    """Return an instant as proto JSON has it: RFC 3339 in UTC, milliseconds only if there are some."""
    day, rest_ms = divmod(time_ms, DAY_MS)
    seconds, rest_ms = divmod(rest_ms, 1_000)
    minutes, seconds = divmod(seconds, 60)
    text = f"{_day_text(day)}T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return f"{text}.{rest_ms:03}Z" if rest_ms else f"{text}Z"


@lru_cache(maxsize=1_024)
def _day_text(day: int) -> str:
    return (_EPOCH + datetime.timedelta(days=day)).isoformat()


def json_line(line: Line) -> bytes:
    """Return a line as the file has it."""
    return _encode(line) + b"\n"


class Collector:
    """Collects endings while time goes by, so that nothing is forgotten in between."""

    def __init__(self, store: Store, start_ms: int) -> None:
        self._store = store
        self._day = start_ms // DAY_MS
        self._seen: dict[int, int] = {}
        """Partition -> endings of the present day that have been collected."""
        self._ended: list[tuple[int, bytes, Line]] = []

    async def collect(self, now_ms: int) -> None:
        """Take what has ended since the last call.

        Raises:
            LimitExceeded: it was so much that the store has forgotten some of it.
        """
        today = now_ms // DAY_MS
        for day in range(self._day, today + 1):
            for partition in range(self._store.meta.partition_count):
                found = await self._store.outcomes(partition, day)
                fresh = found[self._seen.get(partition, 0) :]
                self._seen[partition] = len(found)
                if fresh:
                    await self._take(partition, fresh)
            if day < today:
                self._seen.clear()
        self._day = today

    async def _take(self, partition: int, fresh: list[Outcome]) -> None:
        read = await self._store.read({partition: [outcome.member for outcome in fresh]})
        for outcome, waiting in zip(fresh, read[partition], strict=True):
            if waiting is None:
                raise LimitExceeded(
                    f"more than {bounds.CONTACT_INVITATIONS_MAX:,} invitations of one contact ended "
                    "between two events; the store keeps no more to tell of"
                )
            line = _line(
                outcome.member, waiting.detail, waiting.reference, outcome.state,
                outcome.reason, settle_time=time_text(outcome.settle_ms),
            )  # fmt: skip
            self._ended.append((outcome.settle_ms, outcome.member, line))

    def ended(self) -> list[Line]:
        """Return a line for each ending collected."""
        return [line for _, _, line in sorted(self._ended, key=lambda entry: entry[:2])]


async def waiting(store: Store) -> list[Line]:
    """Return a line for each invitation that waits."""
    lines: list[tuple[int, bytes, Line]] = []
    for partition in range(store.meta.partition_count):
        members = await _indexed(store, partition)
        for at in range(0, len(members), bounds.PAGE_SIZE_MAX):
            page = members[at : at + bounds.PAGE_SIZE_MAX]
            for found in (await store.read({partition: page}))[partition]:
                if found is None or found.reference.state != State.SCHEDULED:
                    continue
                due_ms = found.reference.due_ms
                line = _line(
                    found.member, found.detail, found.reference, State.SCHEDULED,
                    Reason.NONE, due_time=time_text(due_ms),
                )  # fmt: skip
                lines.append((due_ms, found.member, line))
    return [line for _, _, line in sorted(lines, key=lambda entry: entry[:2])]


async def _indexed(store: Store, partition: int) -> list[bytes]:
    """Return what the lanes of a partition hold, each member once; not all need be invitations."""
    slots = (await store.far_slots([partition], _FOREVER_MS))[partition]
    lanes = [Source(lane) for lane in Lane if lane != Lane.FAR]
    lanes += [Source(Lane.FAR, number) for number in slots]
    members: dict[bytes, None] = {}
    for lane in lanes:
        for entry in await store.read_lane(partition, lane, _FOREVER_MS, bounds.WHEEL_ENTRIES_MAX):
            members[entry.member] = None
    return list(members)


def _line(
    member: bytes, raw_detail: bytes, ref: Reference, state: int, reason: int, *,
    settle_time: str | None = None, due_time: str | UnsetType = UNSET,
) -> Line:  # fmt: skip
    detail = _detail.decode(raw_detail)
    return Line(
        invitation=member.hex(),
        rule=detail.rule,
        step=detail.step,
        channel=detail.channel,
        contact=member_parts(member)[0].hex(),
        medium=Medium(ref.medium).name,
        planned_time=time_text(detail.first_due_ms),
        settle_time=settle_time,
        state=State(state).name,
        reason=Reason(reason).name if reason else "",
        platform=OWN_PLATFORM if ref.flags & FLAG_FELL_BACK else detail.platform or OWN_PLATFORM,
        due_time=due_time,
    )


def counted(lines: Iterable[Line]) -> dict[tuple[str, str], int]:
    """Return how many lines have each (state, reason), by state and reason."""
    counts: dict[tuple[str, str], int] = {}
    for line in lines:
        key = (line.state, line.reason)
        counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items()))
