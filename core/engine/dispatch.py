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
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext

from core.clock import Clock
from core.engine.caps_due import capped_members, last_ledger
from core.engine.claims import Claims, Round
from core.engine.due_case import Fired, Ready
from core.engine.hand_over import HandOver, vacate
from core.engine.horizon import Horizon
from core.engine.judge import Judge
from core.engine.ownership import Ownership
from core.engine.places import Places
from core.engine.planner import Planner
from core.engine.puzzles import Puzzles
from core.engine.right_of_way import PIECE, RightOfWay
from core.engine.timers import TimerRunner
from core.engine.volume import VolumeDesk
from core.errors import StaleRegistry, StoreUnavailable
from core.gate import ClaimAction, Lane
from core.ports import Store, Waiting
from core.registry.registry import Registry
from core.registry.snapshot import Snapshot
from core.sending import Postbox
from core.stats import Stats

_LOG = logging.getLogger(__name__)

_PAUSE_MS = 200
LOOKS_MAX = 3
"""How often a round judges an entry before it waits for the next look."""


class Dispatcher:
    """Fires due entries of the partitions that this process owns."""

    def __init__(
        self, store: Store, registry: Registry, ownership: Ownership, horizon: Horizon,
        planner: Planner, timers: TimerRunner, postbox: Postbox, clock: Clock, stats: Stats,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._horizon = horizon
        self.judge = Judge(postbox)
        self.places = Places(horizon, postbox, clock, stats)
        self._volume = VolumeDesk(store, stats)
        self._way = RightOfWay()
        self.hand_over = HandOver(
            store, registry, horizon, planner, self._volume, postbox, clock, stats, self._way
        )
        self._claims = Claims(
            store, registry, ownership, horizon, self._volume, self.hand_over, self._way, clock,
            stats,
        )  # fmt: skip
        self._timers = timers
        self._clock = clock
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
                await self._until_claimed(fired, round_)
        except BaseException:
            self._over(fired)
            raise
        finally:
            self.claiming[is_light] -= 1
            self._horizon.lines.arrived(member for _, member, _ in fired)
            self.on_claimed()
        # What waits for the next look is out of sight until then: of its contact nothing goes before.
        waiting = {member[:8] for _, member, _ in round_.left}
        self._over(entry for entry in fired if entry[1][:8] not in waiting)
        try:
            await self._put_back_soon(round_.left)
        finally:
            self._over(round_.left)
        for error in await asyncio.gather(*round_.deliveries, return_exceptions=True):
            if isinstance(error, Exception):
                # What was claimed comes back by its lease.
                self._went_wrong(len(fired), error)

    def _over(self, fired: Iterable[Fired]) -> None:
        """Let others have the contacts of what has claimed, or was put back."""
        self._horizon.lines.claimed(fired)
        self.on_claimed()

    async def _until_claimed(self, fired: Sequence[Fired], round_: Round) -> None:
        """Carry a round up to the claim."""
        timers = [entry for entry in fired if entry[2][1].lane == Lane.TIMERS]
        if timers:
            fired = [entry for entry in fired if entry[2][1].lane != Lane.TIMERS]
            try:
                await self._timers.fire(timers)
            except Exception as error:
                self._went_wrong(len(timers), error)
                round_.left += timers
        try:
            ready, revision = await self._read_and_judge(fired, round_)
            await self._claim_all(ready, revision, round_)
        except Exception as error:
            # A bug in one round must not stop the others.
            self._went_wrong(len(fired), error)
            round_.left += fired

    def _went_wrong(self, count: int, error: Exception) -> None:
        if isinstance(error, StoreUnavailable):
            self._stats.store_errors += 1
            return
        self._stats.round_errors += 1
        _LOG.error("a round of %d entries failed", count, exc_info=error)

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

    async def _claim_all(self, ready: list[Ready], revision: int, round_: Round) -> None:
        """Claim, and judge anew what was judged by something that is not so any more, a few times."""
        again: list[Fired] = []
        for _ in range(LOOKS_MAX):
            try:
                if again:
                    # Those before have been claimed or have left.
                    ready = []
                    ready, revision = await self._read_and_judge(again, round_)
                await self._volume.take(ready, self._clock.now_ms())
            except Exception:
                vacate(ready)
                if not again:
                    raise
                # What was claimed before goes out all the same.
                self._stats.round_errors += 1
                _LOG.exception("%d entries could not be judged anew", len(again))
                break
            again = await self._claims.claim(ready, revision, round_)
            if not again:
                break
        round_.left += again


def _turn(one: Ready) -> tuple[int, int, int, bytes]:
    """Return what decides who comes first, and takes the last room in a cap (R26)."""
    member = one.item.member
    if one.waiting is None:
        return one.due_ms, 0, 0, member
    first_ms = one.detail.first_due_ms if one.detail is not None else 0
    return one.waiting.reference.due_ms, -one.waiting.reference.priority, first_ms, member
