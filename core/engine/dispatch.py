"""The way out: read, judge, render, claim, hand over, settle.

Decides: the order of the steps of a round.

    read      plans and bodies of due entries; nothing changes
    judge     what registry, facts and hours say now (`core/engine/judge.py`); what passes is rendered,
              ahead of the claim, so that nothing claimed waits for a template
    claim     the gate, in the store; what passes is ours for the length of a lease
    hand over at once (R12); a claim older than HAND_OVER_MS looks at the consent again first (E4)
    settle    outcome, next step, reservations; repeated until the store takes it or the lease ends

Never: a claim that could not be handed over now: the caller passes no more entries than the postbox
has room for.

Rounds overlap, but they read and claim one after the other: of two entries of one contact the earlier
is claimed first (R26).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence

import msgspec

from core import bounds
from core.clock import Clock, SystemClock, monotonic_ns
from core.engine.horizon import Horizon
from core.engine.judge import Fired, Judge, Ready
from core.engine.ownership import Ownership
from core.engine.patience import patiently
from core.engine.planner import Planner
from core.engine.settlement import Meaning
from core.engine.timers import TimerRunner
from core.errors import OwnershipLost, StaleRegistry, StoreUnavailable
from core.gate import ClaimAction, ClaimAnswer, ClaimCode, ClaimItem, Lane
from core.model import State, WaitReason
from core.ports import Settlement, Store, Waiting
from core.registry.registry import Registry
from core.registry.snapshot import Snapshot
from core.sending import Delivery, Postbox
from core.stats import Stats

_LOG = logging.getLogger(__name__)

_PAUSE_MS = 200
CLAIM_PATIENCE_MS = 1_800
"""How long one claim is tried; then its entries wait for their lease or the next look."""


PUZZLED_MS = 15 * bounds.MINUTE_MS
"""When an entry that could not be judged is looked at again."""


class Claimed(msgspec.Struct):
    """What one partition's claim has let through."""

    partition: int
    token: bytes
    claimed_ns: int
    entries: list[Ready]


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
        self._meaning = Meaning(planner, postbox, stats)
        self._judge = Judge(postbox)
        self._timers = timers
        self._postbox = postbox
        self._clock = clock
        self._lease_clock = SystemClock()
        self._stats = stats
        self._reading = asyncio.Lock()
        self._claiming = asyncio.Lock()
        self.under_way = 0
        """Entries taken from the wheel whose hand-over has not ended."""

    async def fire(self, fired: Sequence[Fired]) -> None:
        """Carry one round through. Entries that could not be claimed go back into the wheel."""
        count = len(fired)
        self.under_way += count
        try:
            timers = [entry for entry in fired if entry[2][1].lane == Lane.TIMERS]
            if timers:
                fired = [entry for entry in fired if entry[2][1].lane != Lane.TIMERS]
                await self._fire_timers(timers)
            async with self._reading:
                ready, revision = await self._read_and_judge(fired)
                await self._claiming.acquire()
            try:
                claims = await self._claim_all(ready, revision)
            finally:
                self._claiming.release()
            await asyncio.gather(*(self._deliver(claim) for claim in claims))
        except StoreUnavailable:
            self._stats.store_errors += 1
            await self._put_back_soon(fired)
        except Exception:
            # A bug in one round must not stop the others; what was claimed comes back by its lease.
            self._stats.round_errors += 1
            _LOG.exception("a round of %d entries failed", len(fired))
            await self._put_back_soon(fired)
        finally:
            self.under_way -= count

    async def _fire_timers(self, timers: Sequence[Fired]) -> None:
        try:
            await self._timers.fire(timers)
        except StoreUnavailable:
            self._stats.store_errors += 1
            await self._put_back_soon(timers)

    async def _put_back_soon(self, fired: Sequence[Fired]) -> None:
        """Look again a little later. What was claimed meanwhile answers GONE, which is harmless."""
        if not self._clock.is_virtual:
            await asyncio.sleep(_PAUSE_MS / 1_000)
        for due_ms, member, (partition, source) in fired:
            self._horizon.insert(partition, source, member, due_ms)

    # Read and judge ----------------------------------------------------------------------------

    async def _read_and_judge(self, fired: Sequence[Fired]) -> tuple[list[Ready], int]:
        """Return the entries judged, and by which revision of the registry: the gate must know that
        one, because the newest may have come in between (R13)."""
        by_partition: dict[int, list[Fired]] = {}
        for entry in fired:
            by_partition.setdefault(entry[2][0], []).append(entry)
        read = await self._store.read({
            p: [member for _, member, _ in entries] for p, entries in by_partition.items()
        })  # fmt: skip
        try:
            ready, revision = self._judge_all(by_partition, read)
            if all(one.item.action != ClaimAction.END for one in ready):
                return ready, revision
        except StaleRegistry:
            # Planned with something that another daemon has configured since.
            pass
        # A no is final: it is said only by the newest configuration.
        await self._registry.refresh()
        return self._judge_all(by_partition, read)

    def _judge_all(
        self, by_partition: dict[int, list[Fired]], read: dict[int, list[Waiting | None]]
    ) -> tuple[list[Ready], int]:
        snapshot, now_ms = self._registry.snapshot, self._clock.now_ms()
        ready = [
            self._judged(snapshot, entry, waiting, now_ms)
            for p, entries in by_partition.items()
            for entry, waiting in zip(entries, read[p], strict=True)
        ]
        ready.sort(key=_turn)
        return ready, snapshot.revision

    def _judged(
        self, snapshot: Snapshot, entry: Fired, waiting: Waiting | None, now_ms: int
    ) -> Ready:
        """Judge one entry. One that cannot be understood waits, and does not hold up the others."""
        try:
            return self._judge.judge(snapshot, entry, waiting, now_ms)
        except StaleRegistry:
            raise
        except Exception:
            due_ms, member, where = entry
            self._stats.round_errors += 1
            _LOG.exception("invitation %s cannot be judged", member.hex())
            item = ClaimItem(
                member, where[1], ClaimAction.DEFER, False, due_ms=now_ms + PUZZLED_MS,
                wait=WaitReason.RETRY,
            )  # fmt: skip
            return Ready(due_ms, where, item, waiting)

    # Claim --------------------------------------------------------------------------------------

    async def _claim_all(self, ready: Sequence[Ready], revision: int) -> list[Claimed]:
        by_partition: dict[int, list[Ready]] = {}
        for one in ready:
            by_partition.setdefault(one.where[0], []).append(one)
        batches = [
            (p, entries[at : at + bounds.CLAIM_BATCH_MAX])
            for p, entries in by_partition.items()
            for at in range(0, len(entries), bounds.CLAIM_BATCH_MAX)
        ]
        return await asyncio.gather(*(self._claim(p, entries, revision) for p, entries in batches))

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
            await self._put_back_soon([(e.due_ms, e.item.member, e.where) for e in entries])
            return claimed
        except StoreUnavailable:
            # It may have been claimed: then the lease brings it back.
            await self._put_back_soon([(e.due_ms, e.item.member, e.where) for e in entries])
            return claimed
        self._stats.claims += 1
        for one, answer in zip(entries, answers, strict=True):
            if self._follow(partition, one, answer, now_ms):
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
            if one.item.action == ClaimAction.GATE:
                stats.deferred_by_cap += 1
            else:
                stats.deferred_by_hours += 1
            self._horizon.on_deferred(partition, one.item.member, answer.due_ms)
        elif answer.code == ClaimCode.PARKED:
            assert one.waiting is not None, "only what waits is parked"
            self._horizon.on_parked(partition, one.item.member, one.waiting.reference.expire_ms)
        elif answer.code == ClaimCode.NOT_DUE:
            self._horizon.insert(partition, one.where[1], one.item.member, answer.due_ms)
        elif answer.code == ClaimCode.ENDED:
            stats.ended_at_gate += 1
        else:
            stats.gone += 1
        return False

    # Hand over and settle ----------------------------------------------------------------------

    async def _deliver(self, claim: Claimed) -> None:
        if not claim.entries:
            return
        entries = claim.entries
        if monotonic_ns() - claim.claimed_ns > bounds.HAND_OVER_MS * 1_000_000:
            allowed = await self._store.mark_sending(
                claim.partition, claim.token, [e.item for e in entries], self._clock.now_ms()
            )
            entries = [one for one, may in zip(entries, allowed, strict=True) if may]
        letters = [(one.letter, one.rendered) for one in entries if one.letter is not None]
        deliveries = await self._postbox.send(letters)
        now_ms = self._clock.now_ms()
        settlements = [
            self._settlement(one, delivery, now_ms)
            for one, delivery in zip(entries, deliveries, strict=True)
        ]
        await self._settle(claim, entries, settlements, now_ms)

    def _settlement(self, one: Ready, delivery: Delivery, now_ms: int) -> Settlement:
        assert one.waiting is not None and one.detail is not None and one.letter is not None
        try:
            return self._meaning.of(
                self._registry.snapshot, one.item.member, one.waiting.reference, one.detail,
                one.letter, delivery, now_ms,
            )  # fmt: skip
        except Exception:
            if delivery.kind is not Delivery.Kind.ACCEPTED:
                raise
            # What was sent must be settled, or its lease would bring it back.
            self._stats.round_errors += 1
            _LOG.exception("no next step can be planned after %s", one.item.member.hex())
            revision = one.letter.revision
            return Settlement(one.item.member, State.SENT, content_revision=revision)

    async def _settle(
        self, claim: Claimed, entries: list[Ready], settlements: list[Settlement], now_ms: int
    ) -> None:
        """Record the outcomes; knowledge of a send is not given up while the lease stands."""
        while True:
            try:
                answers = await self._store.settle(
                    claim.partition, claim.token, settlements, now_ms
                )
                break
            except StoreUnavailable:
                self._stats.store_errors += 1
                age_ms = (monotonic_ns() - claim.claimed_ns) // 1_000_000
                if age_ms > bounds.CLAIM_LEASE_MS:
                    _LOG.error(
                        "%d outcomes were lost with the store; the lease brings the entries back",
                        len(settlements),
                    )
                    return
                await asyncio.sleep(_PAUSE_MS / 1_000)
        horizon, stats = self._horizon, self._stats
        for settlement, answer in zip(settlements, answers, strict=True):
            if not answer.is_settled:
                stats.settled_too_late += 1
                continue
            if settlement.state == State.SENT:
                stats.sent += 1
            elif settlement.state == State.SCHEDULED:
                horizon.on_deferred(claim.partition, settlement.member, settlement.due_ms)
            for plan in answer.next_plans:
                if plan.lane == Lane.NEAR and plan.state == State.SCHEDULED:
                    horizon.on_near(claim.partition, plan)
            for member, due_ms in answer.woken:
                horizon.on_deferred(claim.partition, member, due_ms)


def _turn(one: Ready) -> tuple[int, int, int, bytes]:
    """Return what decides who comes first, and takes the last room in a cap (R26)."""
    member = one.item.member
    if one.waiting is None:
        return one.due_ms, 0, 0, member
    first_ms = one.detail.first_due_ms if one.detail is not None else 0
    return one.waiting.reference.due_ms, -one.waiting.reference.priority, first_ms, member


assert int(WaitReason.RETRY) == 2, "settle.lua writes it"
