"""What waits, taken as a whole: found again after an edit, a stop, a thaw or a move.

Decides: when a waiting invitation falls due under another revision of its rule (R40) or another zone of
its contact (d2), and which entries a stop ends.
Never: touches what is in flight or has ended.

Cost: what waits under one rule is found by reading all that waits, a few thousand entries at a time:
there is no index by rule, because edits are rare and every entry would pay for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from core import bounds
from core.clock import Clock
from core.engine.facts import Known
from core.engine.follow_ups import due_of
from core.engine.horizon import FIXED, TIMERS, Horizon
from core.engine.opening import Hours, may_be_closed
from core.engine.planner import Planner
from core.engine.plans import activation_date, passes, step_index, wait_for
from core.gate import Lane, Source
from core.model import REVIEW_FAMILIES, Event, Reason, State, WaitReason
from core.partitions import partition_of
from core.ports import DueEntry, Move, Store, Waiting
from core.records import PlanDetail, Reference, member_of
from core.registry.registry import Registry
from core.registry.resources import Channel, Rule
from core.registry.rule_parts import WaitBase
from core.registry.snapshot import Snapshot
from core.rules.schedule import due_ms, expiry_ms
from core.rules.zones import resolve_zone

_FOREVER_MS = 2**47
_detail = msgspec.msgpack.Decoder(PlanDetail)
_event = msgspec.msgpack.Decoder(Event)
_encode = msgspec.msgpack.Encoder().encode


class PendingEffect(msgspec.Struct):
    """What an edit did, or would do, to what waits."""

    moved: int = 0
    cancelled: int = 0
    unchanged: int = 0


class Found(msgspec.Struct):
    """A waiting invitation and where it is indexed."""

    partition: int
    source: Source
    waiting: Waiting
    detail: PlanDetail


class Pending:
    """Finds and changes what waits in one store."""

    def __init__(
        self, store: Store, registry: Registry, planner: Planner, horizon: Horizon, clock: Clock
    ) -> None:
        self._store = store
        self._registry = registry
        self._planner = planner
        self._horizon = horizon
        self._clock = clock

    # Finding ------------------------------------------------------------------------------------

    async def walk(self, lanes: Sequence[Lane] = tuple(Lane)) -> AsyncIterator[list[Found]]:
        """Yield all that waits, each once, in pieces of one lane of one partition.

        What waits goes from its slot to the deferred lane and from there to be parked, so the lanes
        are read in this order: nothing slips by while others, or the caller, move it.
        """
        for partition in range(self._store.meta.partition_count):
            numbers = (await self._store.far_slots([partition], _FOREVER_MS))[partition]
            sources = [Source(Lane.FAR, number) for number in numbers]
            sources += [source for source in FIXED if source != TIMERS]
            seen: set[bytes] = set()
            for source in sources:
                if source.lane not in lanes:
                    continue
                entries = await self._entries(partition, source)
                fresh = [entry for entry in entries if entry.member not in seen]
                seen.update(entry.member for entry in fresh)
                for at in range(0, len(fresh), bounds.SLOT_READ_MAX):
                    piece = fresh[at : at + bounds.SLOT_READ_MAX]
                    yield await self._found(partition, source, piece)

    async def _entries(self, partition: int, source: Source) -> list[DueEntry]:
        """Return all of a lane before any of it is touched."""
        limit = bounds.SLOT_READ_MAX
        while True:
            entries = await self._store.read_lane(partition, source, _FOREVER_MS, limit)
            if len(entries) < limit:
                return entries
            limit *= 2

    async def _found(
        self, partition: int, source: Source, entries: Sequence[DueEntry]
    ) -> list[Found]:
        members = [entry.member for entry in entries]
        read = (await self._store.read({partition: members}))[partition]
        return [
            Found(partition, source, one, _detail.decode(one.detail))
            for one in read
            if one is not None and one.reference.state == State.SCHEDULED
        ]

    # Edits (R40) --------------------------------------------------------------------------------

    async def apply_to_pending(
        self, account: str, rule_id: str, *, is_preview: bool, rule: Rule | None = None
    ) -> PendingEffect:
        """Plan again what waits under a rule of the account, by its newest revision.

        Args:
            is_preview: only say what would become of it.
            rule: with a preview, the rule as it would be.
        """
        rule = rule or self._registry.snapshot.rule(account, rule_id)
        assert rule is not None, "asked for a rule that was just written"
        return await self.apply(rule, is_preview=is_preview)

    async def apply(self, rule: Rule, *, is_preview: bool = False) -> PendingEffect:
        """Plan again, by a revision of a rule, what waits under it.

        What is gone from the rule, or whose condition is false now, is cancelled
        (CONDITION_CHANGED). Repeating it changes nothing more.

        Raises:
            StoreUnavailable: a part may have been done; repeat it.
        """
        effect = PendingEffect()
        async for found in self.walk():
            # What a newer edit has planned meanwhile is left to it.
            mine = [
                one
                for one in found
                if one.waiting.reference.rule_number == rule.number
                and one.detail.revision <= rule.revision
            ]
            if mine:
                await self._apply(rule, mine, effect, is_preview=is_preview)
        return effect

    async def _apply(
        self, rule: Rule, found: Sequence[Found], effect: PendingEffect, *, is_preview: bool
    ) -> None:
        moves: list[Move] = []
        cancelled: list[bytes] = []
        for one in found:
            move = self._replanned(rule, one)
            if move is None:
                cancelled.append(one.waiting.member)
                continue
            if move.due_ms != one.waiting.reference.due_ms:
                effect.moved += 1
            else:
                effect.unchanged += 1
                if move.detail == one.waiting.detail:
                    continue
            moves.append(move)
        effect.cancelled += len(cancelled)
        if is_preview:
            return
        if cancelled:
            await self._store.cancel(
                found[0].partition, cancelled, State.CANCELLED, Reason.CONDITION_CHANGED,
                self._clock.now_ms(),
            )  # fmt: skip
        await self.move(found[0].partition, moves)

    def _replanned(self, rule: Rule, one: Found) -> Move | None:
        """Return where an invitation goes under a revision of its rule, None if it ends."""
        ref, detail = one.waiting.reference, one.detail
        index = next((i for i, step in enumerate(rule.steps) if step.id == detail.step), None)
        channel = self._registry.snapshot.channel_by_number.get(ref.channel_number)
        if index is None or channel is None:
            return None
        known = Known(one.waiting.body, one.waiting.facts, ref.order_key).event
        if rule.condition is not None and not passes(rule.condition, known):
            return None
        planned_ms = self._planned_ms(rule, index, one, channel)
        if planned_ms is None:
            return None
        now_ms = self._clock.now_ms()
        # What a cap or a retry holds back is not brought forward by an edit.
        is_held = ref.wait in (WaitReason.CAPPED, WaitReason.RETRY)
        due = max(planned_ms, now_ms, ref.due_ms if is_held else 0)
        new = msgspec.structs.replace(
            detail, revision=rule.revision, first_due_ms=planned_ms,
            condition=rule.condition.source if rule.condition is not None else "",
        )  # fmt: skip
        if planned_ms == detail.first_due_ms:
            due = ref.due_ms
        expire_ms = max(expiry_ms(planned_ms, rule, index), due + 1)
        return Move(one.waiting.member, one.source, due, expire_ms, _encode(new))

    def _planned_ms(self, rule: Rule, index: int, one: Found, channel: Channel) -> int | None:
        """Return when it is first due by a rule; None if the rule has no such action."""
        ref, detail, step = one.waiting.reference, one.detail, rule.steps[index]
        event, zone = _event.decode(one.waiting.body), detail.zone
        action = next((a for a in step.actions if a.medium == ref.medium), None)
        if action is None:
            return None
        wait = wait_for(step, action, event)
        is_review = rule.family in REVIEW_FAMILIES
        if index and step.wait.base is WaitBase.PREVIOUS_STEP_SENT:
            planned = due_of(wait, rule, detail.base_ms, zone, ref.message_key)
        elif is_review and not index and event.requested_send_ms:
            return detail.first_due_ms
        else:
            activation = activation_date(event, wait, is_review, channel)
            planned = due_ms(wait, detail.base_ms, zone, ref.message_key, activation)
        planned = max(planned, detail.accept_ms)
        if detail.carrier or not may_be_closed(channel, rule.purpose, ref.medium):
            return planned
        hours = Hours(channel, event.contact, ref.medium, zone, detail.zone_source)
        return (
            planned if hours.skips else hours.opening_ms(planned, channel.closed_dates) or planned
        )

    # A contact's zone (d2) ----------------------------------------------------------------------

    async def follow_contact(self, contact_key: bytes, time_zone: str, country: str) -> int:
        """Plan again what waits for a contact whose profile names another zone; return how many
        moved. Instants are compared, so telling the same again moves nothing."""
        partition = partition_of(contact_key, self._store.meta.partition_count)
        record = await self._store.contact(partition, contact_key)
        members = [
            member_of(contact_key, ref.sequence, ref.channel_number)
            for ref in (record.references if record is not None else ())
            if ref.state == State.SCHEDULED and ref.wait == WaitReason.NONE
        ]
        if not members:
            return 0
        read = (await self._store.read({partition: members}))[partition]
        moves = []
        for waiting in read:
            if waiting is not None:
                move = self._in_zone(partition, waiting, time_zone, country)
                if move is not None:
                    moves.append(move)
        await self.move(partition, moves)
        return len(moves)

    def _in_zone(
        self, partition: int, waiting: Waiting, time_zone: str, country: str
    ) -> Move | None:
        ref, detail = waiting.reference, _detail.decode(waiting.detail)
        snapshot = self._registry.snapshot
        channel = snapshot.channel_by_number.get(ref.channel_number)
        rule = snapshot.rule_revision(ref.rule_number, detail.revision)
        if channel is None or rule is None or not waiting.body:
            return None
        zone, source = resolve_zone(time_zone, country, channel.time_zone)
        if zone == detail.zone:
            return None
        there = msgspec.structs.replace(detail, zone=zone, zone_source=source)
        one = Found(partition, self._source_of(partition, waiting), waiting, there)
        index = step_index(rule, detail.step, ref.step)
        planned_ms = self._planned_ms(rule, index, one, channel)
        if planned_ms is None or planned_ms == detail.first_due_ms:
            return None
        due = max(planned_ms, self._clock.now_ms())
        new = msgspec.structs.replace(there, first_due_ms=planned_ms)
        expire_ms = max(expiry_ms(planned_ms, rule, index), due + 1)
        return Move(waiting.member, one.source, due, expire_ms, _encode(new))

    def _source_of(self, partition: int, waiting: Waiting) -> Source:
        """Return where an entry is indexed, as far as the wheel knows; a slot is tidied later."""
        return self._horizon.source_of(partition, waiting.member, waiting.reference.due_ms)

    # Stops and thaws (D17, E18) -----------------------------------------------------------------

    async def end_stopped(self) -> int:
        """Cancel what was stopped and still waits; return how many. The gate refuses it meanwhile."""
        snapshot = self._registry.snapshot
        ended = 0
        async for found in self.walk():
            stopped = [
                one.waiting.member
                for one in found
                if snapshot.is_stopped(
                    one.waiting.reference.rule_number, one.waiting.reference.channel_number,
                    one.detail.registry_revision,
                )
            ]  # fmt: skip
            if stopped:
                await self._store.cancel(
                    found[0].partition, stopped, State.CANCELLED, Reason.RULE_STOPPED,
                    self._clock.now_ms(),
                )  # fmt: skip
                ended += len(stopped)
        return ended

    async def thaw(self) -> int:
        """Let go what is held though what held it does not any more; return how many."""
        snapshot, now_ms = self._registry.snapshot, self._clock.now_ms()
        thawed = 0
        async for found in self.walk((Lane.PARKED,)):
            moves = [
                Move(one.waiting.member, one.source, max(now_ms, one.waiting.reference.due_ms))
                for one in found
                if not _is_held(snapshot, one.waiting.reference)
            ]
            if moves:
                await self.move(found[0].partition, moves)
                thawed += len(moves)
        return thawed

    async def move(self, partition: int, moves: Sequence[Move]) -> None:
        """Move entries, and tell the wheel."""
        if not moves:
            return
        answers = await self._store.move(partition, moves, self._clock.now_ms())
        for move, waits in zip(moves, answers, strict=True):
            if waits:
                self._horizon.on_deferred(partition, move.member, move.due_ms)


def _is_held(snapshot: Snapshot, ref: Reference) -> bool:
    """Return whether what an entry was parked for still stands; the rest is judged when due."""
    if ref.wait == WaitReason.COMPLAINTS:
        return snapshot.is_held_back(ref.channel_number, ref.medium, ref.purpose)
    return snapshot.is_frozen(ref.rule_number, ref.channel_number)
