"""The way out: read, judge, render, claim, hand over, settle.

Decides: the order of the steps of a round.

    read      plans and bodies of due entries whose turn it is (`core/engine/lines.py`); nothing changes
    judge     what registry, facts and hours say now (`core/engine/judge.py`); what passes is rendered,
              ahead of the claim, so that nothing claimed waits for a template
    place     at the sender, and a token of its pace; what gets none stands in line, unclaimed
              (`core/engine/places.py`)
    volume    tokens for what is limited over all contacts (`core/engine/volume.py`)
    claim     the gate, in the store; what passes is ours for the length of a lease; what was judged by
              something that is not so any more is read and judged again
    address   what a phone says that several contacts share (`core/engine/addresses.py`)
    hand over at once (R12), by each sender for itself; a claim older than HAND_OVER_MS looks at the
              consent again first (E4)
    settle    outcome, next step, reservations; repeated until the store takes it or the lease ends

Never: a claim that could not be handed over now: every letter has its place before.

Rounds run side by side; no two that have not claimed share a contact, so that of two entries of one
contact the earlier is claimed first (R26, `core/engine/lines.py`). A light round holds what need not
wait for a heap, and overtakes the others: they do their work in small pieces, and have few calls at the
store at a time.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext

import msgspec

from core import bounds
from core.clock import Clock, SystemClock, monotonic_ns
from core.engine.caps_due import capped_members, last_ledger
from core.engine.due_case import Fired, Ready
from core.engine.hand_over import Claimed, HandOver, vacate
from core.engine.horizon import Horizon
from core.engine.judge import Judge
from core.engine.ownership import Ownership
from core.engine.patience import patiently
from core.engine.places import Places
from core.engine.planner import Planner
from core.engine.puzzles import Puzzles
from core.engine.right_of_way import PIECE, RightOfWay
from core.engine.timers import TimerRunner
from core.engine.volume import VolumeDesk, keep
from core.errors import OwnershipLost, StaleRegistry, StoreUnavailable
from core.gate import ClaimAction, ClaimAnswer, ClaimCode, Lane
from core.model import WaitReason
from core.ports import Store, Waiting
from core.registry.registry import Registry
from core.registry.snapshot import Snapshot
from core.sending import Postbox
from core.stats import Stats

_LOG = logging.getLogger(__name__)

_PAUSE_MS = 200
CLAIM_PATIENCE_MS = 1_800
"""How long one claim is tried; then its entries wait for their lease or the next look."""


LOOKS_MAX = 3
"""How often a round judges an entry before it waits for the next look."""


class Round(msgspec.Struct):
    """One round under way."""

    is_light: bool
    deliveries: list[asyncio.Task[None]] = []
    """What was claimed, on its way out."""


class Dispatcher:
    """Fires due entries of the partitions that this process owns."""

    def __init__(
        self, store: Store, registry: Registry, ownership: Ownership, horizon: Horizon,
        planner: Planner, timers: TimerRunner, postbox: Postbox, clock: Clock, stats: Stats,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._ownership = ownership
        self._horizon = horizon
        self.judge = Judge(postbox)
        self.places = Places(horizon, postbox, clock, stats)
        self._volume = VolumeDesk(store, stats)
        self._way = RightOfWay()
        self.hand_over = HandOver(
            store, registry, horizon, planner, self._volume, postbox, clock, stats, self._way
        )
        self._timers = timers
        self._clock = clock
        self._lease_clock = SystemClock()
        self._stats = stats
        self._puzzles = Puzzles()
        self.on_claimed: Callable[[], None] = lambda: None
        """Called when a round has claimed and another may begin."""
        self.claiming = {False: 0, True: 0}
        """Rounds that have not claimed yet, light or not. Those that hand over are bounded by the
        places of their senders."""

    async def fire(self, fired: Sequence[Fired], *, is_light: bool = False) -> None:
        """Carry one round through. Entries that could not be claimed go back into the wheel."""
        self.claiming[is_light] += 1
        round_ = Round(is_light)
        try:
            with self._way.first() if is_light else nullcontext():
                left = await self._until_claimed(fired, round_)
        finally:
            self.claiming[is_light] -= 1
            self._horizon.lines.arrived(member for _, member, _ in fired)
            self._horizon.lines.claimed(fired)
            self.on_claimed()
        try:
            await asyncio.gather(*round_.deliveries, self._put_back_soon(left))
        except Exception as error:
            # What was claimed comes back by its lease.
            self._went_wrong(len(fired), error)

    async def _until_claimed(self, fired: Sequence[Fired], round_: Round) -> list[Fired]:
        """Carry a round up to the claim; return what waits for the next look."""
        try:
            timers = [entry for entry in fired if entry[2][1].lane == Lane.TIMERS]
            if timers:
                fired = [entry for entry in fired if entry[2][1].lane != Lane.TIMERS]
                await self._fire_timers(timers)
            ready, revision = await self._read_and_judge(fired, round_)
            return await self._claim_all(ready, revision, round_)
        except Exception as error:
            # A bug in one round must not stop the others.
            self._went_wrong(len(fired), error)
            return list(fired)

    def _went_wrong(self, count: int, error: Exception) -> None:
        if isinstance(error, StoreUnavailable):
            self._stats.store_errors += 1
            return
        self._stats.round_errors += 1
        _LOG.error("a round of %d entries failed", count, exc_info=error)

    async def _fire_timers(self, timers: Sequence[Fired]) -> None:
        try:
            await self._timers.fire(timers)
        except StoreUnavailable:
            self._stats.store_errors += 1
            await self._put_back_soon(timers)

    async def _put_back_soon(self, fired: Sequence[Fired]) -> None:
        """Look again a little later. What was claimed meanwhile answers GONE, which is harmless."""
        if not fired:
            return
        if not self._clock.is_virtual:
            await asyncio.sleep(_PAUSE_MS / 1_000)
        for due_ms, member, (partition, source) in fired:
            self._horizon.insert(partition, source, member, due_ms)

    # Read and judge ----------------------------------------------------------------------------

    async def _read_and_judge(
        self, fired: Sequence[Fired], round_: Round
    ) -> tuple[list[Ready], int]:
        """Return the entries judged, and by which revision of the registry: the gate must know that
        one, because the newest may have come in between (R13)."""
        await self._way.give_way(is_light=round_.is_light)
        by_partition: dict[int, list[Fired]] = {}
        for entry in fired:
            by_partition.setdefault(entry[2][0], []).append(entry)
        read = await self._store.read({
            p: [member for _, member, _ in entries] for p, entries in by_partition.items()
        })  # fmt: skip
        ledgers = await self._ledgers(read)
        try:
            ready, revision = await self._judge_all(by_partition, read, ledgers, round_)
            if all(one.item.action != ClaimAction.END for one in ready):
                return self._placed(ready), revision
        except StaleRegistry:
            # Planned with something that another daemon has configured since.
            pass
        # A no is final: it is said only by the newest configuration.
        await self._registry.refresh()
        ready, revision = await self._judge_all(by_partition, read, ledgers, round_)
        return self._placed(ready), revision

    def _placed(self, ready: list[Ready]) -> list[Ready]:
        """Return what has a place at its sender, or needs none; the rest stands in line."""
        return self.places.admit(self._registry.snapshot, ready, self._clock.now_ms())

    async def _ledgers(self, read: dict[int, list[Waiting | None]]) -> dict[bytes, bytes]:
        """Return for entries that come back from a cap which may want a time of day: member -> the
        ledger they waited for, by the gate's last note (R27)."""
        found: dict[bytes, bytes] = {}
        for partition, entries in read.items():
            members = capped_members(self._registry.snapshot, entries)
            if members:
                notes = await self._store.notes(partition, members)
                found |= {m: last_ledger(raw) for m, raw in zip(members, notes, strict=True)}
        return found

    async def _judge_all(
        self, by_partition: dict[int, list[Fired]], read: dict[int, list[Waiting | None]],
        ledgers: dict[bytes, bytes], round_: Round,
    ) -> tuple[list[Ready], int]:  # fmt: skip
        snapshot, now_ms = self._registry.snapshot, self._clock.now_ms()
        ready: list[Ready] = []
        for partition, entries in by_partition.items():
            for entry, waiting in zip(entries, read[partition], strict=True):
                if len(ready) % PIECE == 0:
                    await self._way.give_way(is_light=round_.is_light)
                ledger = ledgers.get(entry[1], b"")
                ready.append(self._judged(snapshot, entry, waiting, now_ms, ledger))
        ready.sort(key=_turn)
        return ready, snapshot.revision

    def _judged(
        self, snapshot: Snapshot, entry: Fired, waiting: Waiting | None, now_ms: int, ledger: bytes
    ) -> Ready:
        """Judge one entry. One that cannot be understood waits, and does not hold up the others."""
        try:
            return self.judge.judge(snapshot, entry, waiting, now_ms, ledger)
        except StaleRegistry:
            raise
        except Exception:
            due_ms, member, where = entry
            self._stats.round_errors += 1
            _LOG.exception("invitation %s cannot be judged", member.hex())
            return Ready(due_ms, where, self._puzzles.item(member, where[1], now_ms), waiting)

    # Claim --------------------------------------------------------------------------------------

    async def _claim_all(self, ready: list[Ready], revision: int, round_: Round) -> list[Fired]:
        """Claim; return what is to be looked at once more a little later: it was judged anew a few
        times, and what it was judged by had changed each time."""
        left: list[Fired] = []
        for _ in range(LOOKS_MAX):
            try:
                if left:
                    ready, revision = await self._read_and_judge(left, round_)
                await self._volume.take(ready, self._clock.now_ms())
            except Exception:
                vacate(ready)
                if not left:
                    raise
                # What was claimed before goes out all the same.
                self._stats.round_errors += 1
                _LOG.exception("%d entries could not be judged anew", len(left))
                break
            try:
                left = await self._claim_once(ready, revision, round_)
            except Exception:
                _take_place(ready)
                raise
            if not left:
                break
        return left

    async def _claim_once(
        self, ready: Sequence[Ready], revision: int, round_: Round
    ) -> list[Fired]:
        """Claim, and hand over what each call lets through at once; return what is to be judged anew."""
        by_partition: dict[int, list[Ready]] = {}
        for one in ready:
            by_partition.setdefault(one.where[0], []).append(one)
        size = self._way.items_max()
        batches = [
            (p, entries[at : at + size])
            for p, entries in by_partition.items()
            for at in range(0, len(entries), size)
        ]
        again: list[Fired] = []

        async def claim(partition: int, entries: list[Ready]) -> set[bytes]:
            async with self._way.call(is_light=round_.is_light):
                claimed = await self._claim(partition, entries, revision)
            claimed.is_light = round_.is_light
            again.extend(_fired(one) for one in claimed.again)
            if claimed.entries:
                round_.deliveries.append(asyncio.create_task(self.hand_over.deliver(claimed)))
            return {one.item.member for one in claimed.entries}

        taken = set().union(*await asyncio.gather(*(claim(*batch) for batch in batches)))
        unsent = [one for one in ready if one.item.member not in taken]
        vacate(unsent)
        await self._volume.give_back(unsent)
        return again

    async def _claim(self, partition: int, entries: list[Ready], revision: int) -> Claimed:
        token, now_ms = secrets.token_bytes(16), self._clock.now_ms()
        claimed = Claimed(partition, token, monotonic_ns(), [])
        owner = self._ownership.owned.get(partition)
        if owner is None:
            self._horizon.forget(partition)
            return claimed
        deadline_ms = self._lease_clock.now_ms() + bounds.CLAIM_LEASE_MS
        items = [one.item for one in entries]
        try:
            # The same token gives the first answer again, so a lost reply costs nothing (E20).
            answers = await patiently(
                lambda: self._store.claim(
                    partition, owner, token, items, now_ms, deadline_ms, revision
                ),
                self._stats,
                CLAIM_PATIENCE_MS,
            )
        except OwnershipLost:
            self._ownership.lose(partition)
            self._horizon.forget(partition)
            return claimed
        except StaleRegistry:
            await self._refresh()
            await self._put_back_soon([_fired(one) for one in entries])
            return claimed
        except StoreUnavailable:
            # It may have been claimed: then the lease brings it back.
            keep(entries)
            _take_place(entries)
            await self._put_back_soon([_fired(one) for one in entries])
            return claimed
        self._stats.claims += 1
        for one, answer in zip(entries, answers, strict=True):
            if answer.code == ClaimCode.LOOK_AGAIN:
                claimed.again.append(one)
            elif self._follow(partition, one, answer, now_ms):
                claimed.entries.append(one)
        return claimed

    async def _refresh(self) -> None:
        """Load the newest configuration; if it is away, those who need it find out again."""
        try:
            await self._registry.refresh()
        except StoreUnavailable:
            self._stats.store_errors += 1

    def _follow(self, partition: int, one: Ready, answer: ClaimAnswer, now_ms: int) -> bool:
        """Draw the consequence of the gate's answer; True if the entry is ours to send."""
        stats = self._stats
        if answer.code == ClaimCode.CLAIMED:
            stats.claimed += 1
            stats.count_lateness(now_ms - answer.due_ms)
            if one.letter is None:
                # Read as not waiting, claimed as waiting: it came back in between. Its lease decides.
                return False
            one.letter.attempts = answer.attempts - 1
            return True
        if answer.code == ClaimCode.DEFERRED:
            is_gate = one.item.action == ClaimAction.GATE
            stats.deferred[WaitReason.CAPPED if is_gate else one.item.wait] += 1
            self._horizon.on_deferred(partition, one.item.member, answer.due_ms)
        elif answer.code == ClaimCode.PARKED:
            assert one.waiting is not None, "only what waits is parked"
            stats.deferred[one.item.wait or WaitReason.FROZEN] += 1
            self._horizon.on_parked(partition, one.item.member, one.waiting.reference.expire_ms)
        elif answer.code == ClaimCode.NOT_DUE:
            self._horizon.insert(partition, one.where[1], one.item.member, answer.due_ms)
        elif answer.code == ClaimCode.ENDED:
            stats.ended_at_gate += 1
        else:
            stats.gone += 1
        return False


def _fired(one: Ready) -> Fired:
    return one.due_ms, one.item.member, one.where


def _take_place(entries: Iterable[Ready]) -> None:
    """Let the places of entries be spent: they may have gone out."""
    for one in entries:
        if one.place is not None:
            one.place.leave(is_spent=True)


def _turn(one: Ready) -> tuple[int, int, int, bytes]:
    """Return what decides who comes first, and takes the last room in a cap (R26)."""
    member = one.item.member
    if one.waiting is None:
        return one.due_ms, 0, 0, member
    first_ms = one.detail.first_due_ms if one.detail is not None else 0
    return one.waiting.reference.due_ms, -one.waiting.reference.priority, first_ms, member


assert int(WaitReason.RETRY) == 2, "settle.lua writes it"
