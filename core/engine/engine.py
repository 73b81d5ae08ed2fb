"""The data plane of one process: accept, wait, fire, settle, recover, sweep.

Decides: when each loop runs. `step` is one turn and is what tests call; `run` repeats it.
Never: constructs a store, a transport or a clock; `control/daemon.py` does.

No loop ticks idly: the main one sleeps until the next due entry or the next slot to load, and at most
SLEEP_MAX_MS, so that whatever was missed is found by itself.
"""

from __future__ import annotations

import asyncio
import logging

from core import bounds
from core.clock import Clock, ManualClock, SystemClock
from core.engine.accept import Acceptor
from core.engine.breaker import ComplaintBreaker
from core.engine.consent_tokens import ConsentTokens
from core.engine.consents import ConsentBook
from core.engine.dead_letters import DeadLetters
from core.engine.dispatch import Dispatcher
from core.engine.diversion_audit import DiversionAudit
from core.engine.dossier import Dossiers
from core.engine.double_opt_in import DoubleOptIn
from core.engine.erasure import Eraser
from core.engine.explain import Explainer
from core.engine.explain_now import Rehearsal
from core.engine.explain_replan import Replanner
from core.engine.feedback import FeedbackBook
from core.engine.horizon import Horizon
from core.engine.identity import Identity
from core.engine.manual import ByHand
from core.engine.ownership import Ownership
from core.engine.pending import Pending
from core.engine.placement import Placement
from core.engine.planner import Planner
from core.engine.reach import Reach
from core.engine.reader import Reader
from core.engine.refusals import Refusals
from core.engine.reinstate import SecondThoughts
from core.engine.review_desk import ReviewDesk
from core.engine.review_tokens import ReviewTokens
from core.engine.rule_counts import RuleCounts
from core.engine.stop_words import Inbox
from core.engine.timers import TimerRunner
from core.engine.turns import Fired
from core.errors import StoreUnavailable
from core.model import Medium
from core.ports import CommittedPlan, Store
from core.registry.registry import Registry
from core.sending import Postbox
from core.stats import Stats

_LOG = logging.getLogger(__name__)

ROUND_MAX = 128
"""Entries of one round. Where much is due in one instant they are of few partitions, so that the fixed
cost of a script is shared."""
ROUNDS_MAX = 2
"""Rounds that have not claimed yet: one is read while another is claimed. What is handed over is bounded
by the places of its senders."""
LIGHT_ROUND_MAX = 32
LIGHT_ROUNDS_MAX = 4
"""The same of rounds of what need not wait for a heap."""
_SWEEP_PAUSE_S = 5.0
_SWEEP_BREATH_S = 0.05
_RECOVER_PAUSE_S = 1.0
_FAR_FUTURE_MS = 2**46


class Engine:
    """Everything between the API and the transports.

    Args:
        is_exclusive: no other process can be alive on this store.
    """

    def __init__(
        self, store: Store, registry: Registry, postbox: Postbox, clock: Clock, *,
        is_exclusive: bool = True,
    ) -> None:  # fmt: skip
        self.stats = Stats()
        self.store = store
        self.registry = registry
        self.identity = Identity(store.meta.secret)
        self._clock = clock
        self._is_exclusive = is_exclusive
        self._postbox = postbox
        held = frozenset(medium for medium in Medium if postbox.holds_unknown(medium))
        self.refusals = Refusals(self.stats)
        planner = Planner(self.identity, held, self.refusals)
        self.ownership = Ownership(store, self.stats, is_exclusive=is_exclusive)
        self.horizon = Horizon(store, self.ownership, self.stats, clock.now_ms())
        self.pending = Pending(store, registry, planner, self.horizon, clock)
        self._tended_revision = -1
        timers = TimerRunner(
            store, registry, self.horizon, planner, self.identity, clock, self.stats
        )
        self.dispatcher = Dispatcher(
            store, registry, self.ownership, self.horizon, planner, timers, postbox, clock,
            self.stats,
        )  # fmt: skip
        self._wakeup = asyncio.Event()
        self.dispatcher.on_claimed = self.dispatcher.hand_over.on_freed = self._wakeup.set
        self._stopping = asyncio.Event()
        self._short = asyncio.Event()
        """Set when there is something to be read ahead."""
        self._rounds: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

        self.acceptor = Acceptor(
            store, registry, self.identity, planner, clock, self.stats, self._on_near,
            self._on_timer, self.pending.follow_contact,
        )  # fmt: skip
        self._open_books(store, registry, clock)
        self.explainer = Explainer(
            store, registry, self.identity, self.reader, clock, self.refusals,
            Rehearsal(self.dispatcher.judge), Replanner(self.identity, held, self.acceptor.incoming),
        )  # fmt: skip
        placement = Placement(store, self.identity, clock, self.stats, self._on_near)
        self.by_hand = ByHand(registry, self.identity, planner, placement, self.reader, clock)
        self.opt_in = DoubleOptIn(
            ConsentTokens((store.meta.secret,)), self.consents, self.by_hand, registry, clock
        )
        self.second_thoughts = SecondThoughts(
            store, registry, self.identity, placement, self.pending, self.horizon, self.reader,
            clock, self._wakeup.set,
        )  # fmt: skip
        self.dead_letters = DeadLetters(
            store, self.identity, self.reader, self.second_thoughts, clock
        )

    def _open_books(self, store: Store, registry: Registry, clock: Clock) -> None:
        """Make what keeps and tells things about people and messages."""
        reach = Reach(store, registry, self.identity, clock)
        self.consents = ConsentBook(store, registry, reach, clock)
        self.inbox = Inbox(self.consents)
        self.reader = Reader(store, registry, self.identity, clock)
        self.dossiers = Dossiers(store, registry, self.identity, clock)
        self.eraser = Eraser(store, self.dossiers, self.identity, self.refusals, clock, self.stats)
        self.rule_counts = RuleCounts(store)
        self.diversion_audit = DiversionAudit(store, registry)
        self.breaker = ComplaintBreaker(store, registry, clock, self.stats)
        self.breaker.on_reset = self.tend
        self.feedback = FeedbackBook(
            store, registry, self.identity, self.breaker, clock, self.stats
        )
        self.dispatcher.hand_over.on_bad_address = self.feedback.refused
        tokens = ReviewTokens((store.meta.secret,))
        self.reviews = ReviewDesk(tokens, store, registry, self.feedback, clock)
        self.dispatcher.judge.review_link = self.reviews.link
        self.acceptor.reviews = self.reviews

    def _on_near(self, partition: int, plan: CommittedPlan) -> None:
        self.horizon.on_near(partition, plan)
        self._wakeup.set()

    def _on_timer(self, partition: int, member: bytes, due_ms: int) -> None:
        self.horizon.on_timer(partition, member, due_ms)
        self._wakeup.set()

    # Life ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the partitions, take back what a dead predecessor had claimed, load the horizon.

        Raises:
            StoreUnavailable: the store is away.
        """
        await self.ownership.acquire(range(self.store.meta.partition_count))
        self._loops.append(asyncio.create_task(self.ownership.keep(self._stopping, self._wakeup)))
        if self._is_exclusive:
            while await self._recover(_FAR_FUTURE_MS):
                pass
        await self.horizon.extend(self._clock.now_ms())
        await self.tend()

    async def tend(self) -> None:
        """Follow the configuration where it ended or released what waits: stops and thaws.

        Called whenever the configuration is newer than the last time; may be repeated.
        """
        revision = self.registry.snapshot.revision
        if revision == self._tended_revision:
            return
        newest_stop = self.registry.snapshot.newest_stop_revision
        if 0 <= self._tended_revision < newest_stop:
            # After a start nothing is searched for: the gate refuses what was stopped, when due.
            await self.pending.end_stopped()
        if await self.pending.thaw() or len(self.horizon.lines):
            self._wakeup.set()
        # What stands in line may have another sender by now, or none.
        self.horizon.lines.disperse()
        self._tended_revision = revision

    async def run(self) -> None:
        """Fire what falls due until `stop` is called. Only for clocks that move by themselves."""
        assert not self._clock.is_virtual, "a virtual clock is moved with advance_to"
        self._loops += [
            asyncio.create_task(self._extend_loop()),
            asyncio.create_task(self._poll_loop()),
            asyncio.create_task(self._recover_loop()),
            asyncio.create_task(self._sweep_loop()),
        ]
        while not self._stopping.is_set():
            self._wakeup.clear()
            await self._clock.sleep_until_ms(await self.step(), self._wakeup)

    async def step(self) -> int:
        """Start a round of whatever is due and fits; return when to look again, epoch ms."""
        now_ms = self._clock.now_ms()
        if self.horizon.is_short(now_ms):
            self._short.set()
        self.horizon.gather(now_ms)
        claiming = self.dispatcher.claiming
        if claiming[True] < LIGHT_ROUNDS_MAX:
            self._begin(self.horizon.take_light(LIGHT_ROUND_MAX), is_light=True)
        if claiming[False] < ROUNDS_MAX:
            self._begin(self.horizon.take(now_ms, ROUND_MAX), is_light=False)
        # Let the round begin before the next is cut, and others run while the wheel cascades.
        await asyncio.sleep(0)
        return self._next_look_ms(now_ms)

    def _begin(self, fired: list[Fired], *, is_light: bool) -> None:
        if not fired:
            return
        round_ = asyncio.create_task(self.dispatcher.fire(fired, is_light=is_light))
        self._rounds.add(round_)
        round_.add_done_callback(self._round_done)

    def _next_look_ms(self, now_ms: int) -> int:
        """Return when there is something to do; where no more rounds may begin, one's end wakes us."""
        instants = [now_ms + bounds.SLEEP_MAX_MS]
        next_ms = self.horizon.wheel.next_due_ms()
        if next_ms is not None:
            instants.append(next_ms)
        lines, claiming = self.horizon.lines, self.dispatcher.claiming
        has_light_free = claiming[True] < LIGHT_ROUNDS_MAX
        has_free = claiming[False] < ROUNDS_MAX
        if (has_light_free and lines.has_light()) or (has_free and lines.has_any(now_ms)):
            return now_ms
        if has_light_free or has_free:
            line_ms = self.dispatcher.places.wake_ms(now_ms)
            if line_ms is not None:
                instants.append(line_ms)
        return min(instants)

    def _round_done(self, task: asyncio.Task[None]) -> None:
        self._rounds.discard(task)
        self._wakeup.set()

    async def drain(self, timeout_ms: int) -> None:
        """Start nothing new; wait for the hand-overs under way."""
        self._stopping.set()
        self._wakeup.set()
        if self._rounds:
            await asyncio.wait(self._rounds, timeout=timeout_ms / 1_000)

    async def stop(self) -> None:
        """Stop the loops and give the partitions back. Idempotent."""
        self._stopping.set()
        self._wakeup.set()
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        await self.ownership.release()

    # Loops --------------------------------------------------------------------------------------

    async def _every(self, pause_s: float) -> bool:
        """Pause; False once the engine stops."""
        try:
            await asyncio.wait_for(self._stopping.wait(), pause_s)
        except TimeoutError:
            return True
        return False

    def _went_wrong(self, what: str, error: Exception) -> None:
        """Note what a loop met with: the next turn tries again, whatever it was."""
        if isinstance(error, StoreUnavailable):
            self.stats.store_errors += 1
            return
        self.stats.round_errors += 1
        _LOG.error("%s failed", what, exc_info=error)

    async def _extend_loop(self) -> None:
        while True:
            await self._short.wait()
            self._short.clear()
            try:
                if await self.horizon.extend(self._clock.now_ms()):
                    self._wakeup.set()
            except Exception as error:
                self._went_wrong("reading ahead", error)
                await asyncio.sleep(_RECOVER_PAUSE_S / 4)
                self._wakeup.set()

    async def _poll_loop(self) -> None:
        while await self._every(bounds.NEAR_POLL_MS / 1_000):
            try:
                if await self.horizon.poll():
                    self._wakeup.set()
            except Exception as error:
                self._went_wrong("looking for what arrived", error)

    async def _recover_loop(self) -> None:
        lease_clock = SystemClock()
        while await self._every(_RECOVER_PAUSE_S):
            try:
                await self._recover(lease_clock.now_ms())
                await self.registry.refresh()
                await self.tend()
                await self.breaker.catch_up()
            except Exception as error:
                self._went_wrong("recovering and following the configuration", error)

    async def _recover(self, lease_now_ms: int) -> bool:
        """Take back what has run out; False if nothing had. A call takes a part."""
        owned = dict(self.ownership.owned)
        found = await self.store.recover(owned, lease_now_ms, self._clock.now_ms())
        for partition in owned.keys() - found.keys():
            if self.ownership.owned.get(partition) is owned[partition]:
                self.ownership.lose(partition)
                self.horizon.forget(partition)
        for partition, entries in found.items():
            for member, _, due_ms in entries:
                self.stats.reclaimed += 1
                self.horizon.on_deferred(partition, member, due_ms)
        if not any(found.values()):
            return False
        self._wakeup.set()
        return True

    async def _sweep_loop(self) -> None:
        partition = 0
        while await self._every(_SWEEP_PAUSE_S):
            try:
                # What is over may come faster than one call a pause takes it.
                is_more = True
                while is_more:
                    dropped = await self.store.sweep(partition, self._clock.now_ms())
                    is_more = dropped > 0 and await self._every(_SWEEP_BREATH_S)
                await self.horizon.tidy(self._clock.now_ms())
            except Exception as error:
                self._went_wrong("sweeping", error)
            partition = (partition + 1) % self.store.meta.partition_count

    # Virtual time -------------------------------------------------------------------------------

    async def advance_to(self, target_ms: int) -> None:
        """Move a virtual clock to `target_ms`, firing everything on the way at its exact instant.

        Returns when all of it has been handed over and settled.
        """
        clock = self._clock
        assert isinstance(clock, ManualClock), "only a clock that is moved by hand can be advanced"
        await self.tend()
        while True:
            await self.horizon.extend(clock.now_ms())
            due_ms = self.horizon.wheel.earliest_due_ms()
            if due_ms is None or due_ms >= self.horizon.loaded_until_ms:
                due_ms = await self._leap_ms(target_ms)
            if due_ms > target_ms:
                break
            clock.move_to_ms(max(due_ms, clock.now_ms()))
            await self._fire_all()
            if due_ms == target_ms and self.horizon.wheel.next_due_ms() is None:
                break
        clock.move_to_ms(max(target_ms, clock.now_ms()))

    async def _leap_ms(self, target_ms: int) -> int:
        """Return the next instant worth visiting beyond the loaded horizon."""
        if self.horizon.loaded_until_ms > target_ms:
            return target_ms + 1
        beyond_ms = await self.horizon.next_beyond_ms()
        return target_ms + 1 if beyond_ms is None else beyond_ms

    async def _fire_all(self) -> None:
        """Fire what is due now until nothing is, one round after the other."""
        while True:
            await self.horizon.extend(self._clock.now_ms())
            fired = self.horizon.take(self._clock.now_ms(), ROUND_MAX)
            if fired:
                await self.dispatcher.fire(fired)
            elif not self.horizon.has_due(self._clock.now_ms()):
                return
