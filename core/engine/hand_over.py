"""From claimed to settled: ask the address, hand over, record how it went.

Decides: what is asked once more before a message leaves, and what goes back for one that did not.
Never: what a delivery means (`core/engine/settlement.py`).

Knowledge of a send is not given up while the lease stands: a settlement is repeated until the store
takes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from core import bounds
from core.clock import Clock, monotonic_ns
from core.engine.addresses import AddressDesk
from core.engine.due_case import Ready
from core.engine.horizon import Horizon
from core.engine.planner import Planner
from core.engine.right_of_way import RightOfWay
from core.engine.settlement import Meaning, handed_over
from core.engine.volume import VolumeDesk
from core.errors import StoreUnavailable
from core.gate import Lane
from core.model import State, WaitReason
from core.ports import Settlement, Store, Waiting
from core.records import PlanDetail
from core.registry.registry import Registry
from core.sending import Delivery, Postbox
from core.stats import Stats

_LOG = logging.getLogger(__name__)

_PAUSE_MS = 200

OnBadAddress = Callable[[Sequence[tuple[Waiting, PlanDetail]]], Awaitable[None]]


class Claimed(msgspec.Struct):
    """What one claim has let through."""

    partition: int
    token: bytes
    is_light: bool
    now_ms: int = 0
    """When it was asked for first."""
    claimed_ns: int = 0
    """The same instant, of the machine's monotonic clock."""
    entries: list[Ready] = []
    again: list[Ready] = []
    """What is to be judged anew."""

    def begin(self, now_ms: int) -> None:
        """Note when it is asked for."""
        self.now_ms, self.claimed_ns = now_ms, monotonic_ns()


def _nobody() -> None:
    return


class HandOver:
    """The last part of a dispatcher's rounds."""

    def __init__(
        self, store: Store, registry: Registry, horizon: Horizon, planner: Planner,
        volume: VolumeDesk, postbox: Postbox, clock: Clock, stats: Stats, way: RightOfWay,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._horizon = horizon
        self._meaning = Meaning(planner, postbox, stats)
        self._volume = volume
        self._addresses = AddressDesk(store, planner.identity, stats)
        self._postbox = postbox
        self._clock = clock
        self._stats = stats
        self._way = way
        self.on_freed: Callable[[], None] = _nobody
        """Called when a sender may have places again."""
        self.on_bad_address: OnBadAddress | None = None
        """Awaited with messages that ended because their address takes none (g10)."""

    async def deliver(self, claim: Claimed) -> None:
        """Hand over what a claim has let through, and settle all of it."""
        if not claim.entries:
            return
        try:
            entries = await self._allowed(claim)
            # Each sender by itself: what one of them has taken is settled, however long another takes.
            groups: dict[str, list[Ready]] = {}
            for one in entries:
                groups.setdefault(one.place.key if one.place is not None else "", []).append(one)
            sends = (self._send(claim, group) for group in groups.values())
            for error in await asyncio.gather(*sends, return_exceptions=True):
                if isinstance(error, BaseException):
                    raise error
        finally:
            for one in claim.entries:
                if one.place is not None:
                    one.place.leave(is_spent=True)

    async def _allowed(self, claim: Claimed) -> list[Ready]:
        """Return what may go on; what may not is settled or ended, and what it holds given back."""
        entries = await self._past_addresses(claim, claim.entries)
        age_ns = monotonic_ns() - claim.claimed_ns
        if not entries or age_ns <= bounds.HAND_OVER_MS * 1_000_000:
            return entries
        allowed = await self._store.mark_sending(
            claim.partition, claim.token, [e.item for e in entries], self._clock.now_ms()
        )
        ended = [one for one, may in zip(entries, allowed, strict=True) if not may]
        vacate(ended)
        await self._unsend(ended)
        entries = [one for one, may in zip(entries, allowed, strict=True) if may]
        # What a phone says is asked again too: it may know what the contact's record does not (R4).
        return await self._past_addresses(claim, entries)

    async def _send(self, claim: Claimed, entries: list[Ready]) -> None:
        """Hand over by one sender, and settle."""
        for one in entries:
            if one.place is not None:
                # From here on the transport counts it.
                one.place.leave(is_spent=True)
        letters = [(one.letter, one.rendered) for one in entries if one.letter is not None]
        began_ns = monotonic_ns()
        deliveries = await self._postbox.send(letters)
        self._stats.count_hand_overs(letters, deliveries, monotonic_ns() - began_ns)
        self.on_freed()
        await self._way.give_way(is_light=claim.is_light)
        now_ms = self._clock.now_ms()
        settlements = [
            self._settlement(one, delivery, now_ms)
            for one, delivery in zip(entries, deliveries, strict=True)
        ]
        settled = await self._settle(claim, settlements, now_ms)
        # What was taken back meanwhile may be on its way again, under the same reservations.
        await self._unsend(
            one
            for one, how in zip(entries, settlements, strict=True)
            if how.releases_caps and how.member in settled
        )
        bad = [
            (one.waiting, one.detail)
            for one, delivery in zip(entries, deliveries, strict=True)
            if delivery.is_bad_address and one.waiting is not None and one.detail is not None
        ]
        if bad and self.on_bad_address is not None:
            await self.on_bad_address(bad)

    async def _past_addresses(self, claim: Claimed, entries: list[Ready]) -> list[Ready]:
        """Return what may go on to its address; settle what that refuses."""
        now_ms = self._clock.now_ms()
        entries, refused = await self._addresses.mark(entries, now_ms)
        if refused:
            await self._settle(claim, [how for _, how in refused], now_ms)
            vacate(one for one, _ in refused)
            # Asked a second time, it has reserved something the first time.
            await self._unsend(one for one, _ in refused)
            deferred = sum(how.state == State.SCHEDULED for _, how in refused)
            self._stats.deferred[WaitReason.CAPPED] += deferred
            self._stats.ended_at_gate += len(refused) - deferred
        return entries

    async def _unsend(self, unsent: Iterable[Ready]) -> None:
        """Return what volume limits and addresses had given to messages that certainly did not go."""
        entries = [one for one in unsent if one.grants or one.at_address is not None]
        if entries:
            await self._volume.give_back(entries)
            await self._addresses.release(entries, self._clock.now_ms())

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
            return handed_over(one.item.member, one.letter, State.SENT)

    async def _settle(
        self, claim: Claimed, settlements: list[Settlement], now_ms: int
    ) -> set[bytes]:
        """Record the outcomes; knowledge of a send is not given up while the lease stands. Return the
        members for which that counted."""
        while True:
            try:
                async with self._way.call(is_light=claim.is_light):
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
                    return set()
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
        return {
            how.member
            for how, answer in zip(settlements, answers, strict=True)
            if answer.is_settled
        }


def vacate(unsent: Iterable[Ready]) -> None:
    """Give up the places of what certainly does not go."""
    for one in unsent:
        if one.place is not None:
            one.place.leave(is_spent=False)
