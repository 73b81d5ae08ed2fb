"""One partition in memory: its contacts, lanes, bodies, leases and counters.

Decides: what each change of an invitation does to the index, the counters, the outcomes and the
body, so that no operation can forget one of them.
Never: the gate (`memory_gate.py`), nor who may call what (`memory_store.py`).

Invariants, checked by `validate`:
    1. Conservation (R6): planned = scheduled + in flight + ended, counted, not derived.
    2. A SCHEDULED invitation is indexed once, at its due time. The index is lazy: it may also hold
       members that wait no more; the claim that meets one drops it.
    3. An IN_FLIGHT invitation stands in exactly one lease, the one whose token its mark shows.
    4. A body is kept exactly as long as an invitation of its event waits, is in flight, or could be
       reinstated because a client cancelled it.

Units: every `*_ms` is epoch milliseconds, but for the lease deadlines, which are lease clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from core.bounds import CHANNEL_COUNT_DAYS, DAY_MS, OUTCOME_RETENTION_MS
from core.contact_ports import Erased, LoggedLine
from core.gate import ClaimAnswer, Lane, Source
from core.model import Reason, State, WaitReason
from core.outcomes import Outcome
from core.ports import CommittedPlan, Counters, Move, OwnerState, Plan, RuleCount, Waiting
from core.records import (
    FLAG_FOLLOW_UP,
    NO_KEY,
    ContactRecord,
    Reference,
    member_parts,
    pack_contact,
)
from core.timing_wheel import memory_contact as contacts
from core.timing_wheel.memory_directory import EventDirectory, OrderDirectory
from core.timing_wheel.memory_lane import LaneIndex
from core.timing_wheel.memory_timers import Timers

FACTS = 0
"""No event's body: where the facts of a contact stand among the bodies."""

PARKED_WAITS = frozenset({WaitReason.FROZEN, WaitReason.COMPLAINTS})
"""What is held until it is moved."""

SWEEP_MEMBERS_MAX = 1_000
"""Members that one sweep forgets at most."""


class Lease(msgspec.Struct):
    """A claim that is not settled yet, and the replay of its answer (E20)."""

    deadline_ms: int
    members: dict[bytes, None]
    """Claimed and not settled, in claim order."""
    answers: list[ClaimAnswer]


class Partition:
    """All state of one partition. Every public method is one atomic step."""

    def __init__(self, slot_width_ms: int) -> None:
        self._slot_width_ms = slot_width_ms
        self.owner = OwnerState(0, b"", 0)
        self.required_revision = 0
        self.loaded_until_ms = 0
        self.near_version = 0
        self.contacts: dict[bytes, ContactRecord] = {}
        self.details: dict[bytes, bytes] = {}
        self.bodies: dict[tuple[bytes, int], bytes] = {}
        self.consent_log: dict[bytes, list[LoggedLine]] = {}
        self.notes: dict[bytes, bytes] = {}
        self.leases: dict[bytes, Lease] = {}
        self.slots: dict[int, LaneIndex] = {}
        self.near = LaneIndex()
        self.deferred = LaneIndex()
        self.parked = LaneIndex()
        self.timers = Timers()
        self.outcomes: dict[int, list[Outcome]] = {}
        self.grown: set[bytes] = set()
        """Contacts whose record may have outgrown its bounds in this step."""
        self.event_directory = EventDirectory()
        self.order_directory = OrderDirectory()
        self._planned = 0
        self._scheduled = 0
        self._in_flight = 0
        self._ended: Counter[tuple[int, int]] = Counter()
        self.events: Counter[int] = Counter()
        self.rules: Counter[tuple[int, int]] = Counter()
        self.channels: Counter[tuple[int, int, int, str]] = Counter()
        """By channel number, medium, epoch day and what happened: sent, or heard of what was sent."""
        self.erasures: dict[bytes, Erased] = {}
        """What erasures that go on have still to do elsewhere."""

    # Index -------------------------------------------------------------------------------------

    def lane(self, source: Source) -> LaneIndex:
        """Return the index of a lane; an empty one for a slot that holds nothing."""
        if source.lane == Lane.NEAR:
            return self.near
        if source.lane == Lane.DEFERRED:
            return self.deferred
        if source.lane == Lane.PARKED:
            return self.parked
        if source.lane == Lane.TIMERS:
            return self.timers.index
        return self.slots.get(source.slot) or LaneIndex()

    def slot_of(self, due_ms: int) -> Source:
        """Return the slot in which an entry due then waits while it is far."""
        return Source(Lane.FAR, due_ms // self._slot_width_ms)

    def place(self, member: bytes, due_ms: int) -> Lane:
        """Index a new entry: near if that part of the wheel is loaded, else in its slot (E5)."""
        if due_ms < self.loaded_until_ms:
            self.near.add(member, due_ms)
            self.near_version += 1
            return Lane.NEAR
        self.slots.setdefault(due_ms // self._slot_width_ms, LaneIndex()).add(member, due_ms)
        return Lane.FAR

    def defer(self, member: bytes, ref: Reference, due_ms: int, wait: int) -> None:
        """Let an entry wait until `due_ms` in the deferred lane (E8)."""
        ref.due_ms, ref.wait = due_ms, wait
        self.deferred.add(member, due_ms)
        self.near_version += 1

    def park(self, member: bytes, ref: Reference, wait: int) -> None:
        """Hold an entry until it is moved; due in its lane means that it has expired (E18)."""
        ref.wait = wait or WaitReason.FROZEN
        self.parked.add(member, ref.expire_ms)
        self.near_version += 1

    def move(self, move: Move, now_ms: int) -> bool:
        """Let a waiting entry wait for another time; False if it waits no more."""
        found = self.found(move.member)
        self.lane(move.source).remove(move.member)
        if found is None or found[2].state != State.SCHEDULED:
            return False
        contact_key, _, ref = found
        ref.expire_ms = move.expire_ms or ref.expire_ms
        if move.detail:
            self.details[move.member] = move.detail
        if move.due_ms >= ref.expire_ms:
            self.end(move.member, ref, State.EXPIRED, Reason.NO_SLOT, now_ms)
            self.drop_idle_body(contact_key, ref.body_sequence)
        else:
            stays = move.due_ms == ref.due_ms and ref.wait not in PARKED_WAITS
            self.defer(move.member, ref, move.due_ms, ref.wait if stays else WaitReason.NONE)
        return True

    # Life of an invitation -----------------------------------------------------------------------

    def found(self, member: bytes) -> tuple[bytes, ContactRecord, Reference] | None:
        """Return contact key, record and reference of a member, None if there is none."""
        contact_key, sequence, _ = member_parts(member)
        record = self.contacts.get(contact_key)
        ref = contacts.find(record, sequence) if record is not None else None
        return (contact_key, record, ref) if record is not None and ref is not None else None

    def create(
        self,
        contact_key: bytes,
        plan: Plan,
        event_key: bytes,
        body_sequence: int,
        is_consent_checked: bool,
        now_ms: int,
    ) -> CommittedPlan:
        """Create an invitation and index it, unless it is born ended."""
        record = self.contacts[contact_key]
        self.grown.add(contact_key)
        ref = contacts.add_reference(
            record, plan, event_key, body_sequence, is_consent_checked, now_ms
        )
        member = contacts.member(contact_key, ref)
        self.details[member] = plan.detail
        self._planned += 1
        lane = Lane.FAR
        if ref.state == State.SCHEDULED:
            self._scheduled += 1
            lane = self.place(member, ref.due_ms)
        else:
            self._write_ending(member, ref, now_ms)
        return CommittedPlan(ref.sequence, ref.state, ref.reason, ref.due_ms, lane, member)

    def take(self, ref: Reference, token: bytes) -> None:
        """SCHEDULED becomes IN_FLIGHT under a claim."""
        ref.state, ref.mark = State.IN_FLIGHT, token[:8]
        ref.reason, ref.wait = Reason.NONE, WaitReason.NONE
        ref.attempts = min(ref.attempts + 1, 255)
        self._scheduled -= 1
        self._in_flight += 1

    def put_back(self, member: bytes, ref: Reference, due_ms: int, reason: int) -> None:
        """IN_FLIGHT becomes SCHEDULED again, in the deferred lane, with the reason of the retry."""
        ref.state, ref.reason, ref.mark = State.SCHEDULED, reason, NO_KEY
        self._in_flight -= 1
        self._scheduled += 1
        self.defer(member, ref, due_ms, WaitReason.RETRY)

    def end(
        self, member: bytes, ref: Reference, state: int, reason: int, now_ms: int,
        content_revision: int = 0, template_mark: int = 0,
    ) -> None:  # fmt: skip
        """SCHEDULED or IN_FLIGHT becomes ended, and stays so. The index entry is left to the claim.

        The caller drops the body afterwards (`drop_idle_body`), when no follower can need it.
        """
        assert ref.state in contacts.LIVE_STATES, "an invitation ends once"
        if ref.state == State.SCHEDULED:
            self._scheduled -= 1
        else:
            self._in_flight -= 1
        if state == State.SENT:
            self.count_sent(ref, now_ms)
        ref.state, ref.reason, ref.wait = state, reason, WaitReason.NONE
        ref.mark = contacts.ended_mark(now_ms, content_revision)
        ref.template_mark = template_mark
        self.grown.add(member[:8])
        self._write_ending(member, ref, now_ms)

    def count_sent(self, ref: Reference, now_ms: int) -> None:
        """Count a message that was sent: by rule (B37), and by channel and day (g6)."""
        self.rules[ref.rule_number, RuleCount.SENT] += 1
        if not ref.flags & FLAG_FOLLOW_UP:
            self.rules[ref.rule_number, RuleCount.FIRST_SENT] += 1
        self.channels[ref.channel_number, ref.medium, now_ms // DAY_MS, "sent"] += 1

    def move_ended(self, ref: Reference, state: int, reason: int) -> None:
        """Give what has ended another ended state; the instant of its ending stays (R6)."""
        assert ref.state not in contacts.LIVE_STATES, "what lives ends first"
        self._ended[ref.state, ref.reason] -= 1
        self._ended[state, reason] += 1
        ref.state, ref.reason = state, reason

    def _write_ending(self, member: bytes, ref: Reference, now_ms: int) -> None:
        self._ended[ref.state, ref.reason] += 1
        self.outcomes.setdefault(now_ms // DAY_MS, []).append(
            Outcome(
                member, State(ref.state), Reason(ref.reason), ref.rule_number, now_ms, ref.attempts
            )
        )

    def drop_idle_body(self, contact_key: bytes, body_sequence: int) -> None:
        """Forget the body of an event once no invitation of it can be sent any more (E21), and the facts
        once nothing of the contact can."""
        record = self.contacts[contact_key]
        if not contacts.is_body_needed(record, body_sequence):
            self.bodies.pop((contact_key, body_sequence), None)
            if not contacts.has_kept(record):
                self.bodies.pop((contact_key, FACTS), None)

    def end_waiting(
        self,
        contact_key: bytes,
        is_meant: Callable[[Reference], bool],
        ending: tuple[int, int],
        now_ms: int,
    ) -> list[Reference]:
        """End, as (state, reason), those SCHEDULED invitations that are meant, oldest first."""
        ended = [
            ref
            for ref in self.contacts[contact_key].references
            if ref.state == State.SCHEDULED and is_meant(ref)
        ]
        for ref in ended:
            self.end(contacts.member(contact_key, ref), ref, *ending, now_ms)
        for ref in ended:
            self.drop_idle_body(contact_key, ref.body_sequence)
        return ended

    # Contacts ----------------------------------------------------------------------------------

    def cancel(self, member: bytes, state: int, reason: int, now_ms: int) -> int:
        """End a waiting invitation; return its state after the call, 0 if there is none."""
        found = self.found(member)
        if found is None:
            return State.UNSPECIFIED
        contact_key, _, ref = found
        if ref.state == State.SCHEDULED:
            self.end(member, ref, state, reason, now_ms)
            self.drop_idle_body(contact_key, ref.body_sequence)
        return ref.state

    def waiting(self, member: bytes) -> Waiting | None:
        """Return plan and body of a member, None where there is no plan."""
        detail, found = self.details.get(member), self.found(member)
        if detail is None or found is None:
            return None
        contact_key, record, ref = found
        body = self.bodies.get((contact_key, ref.body_sequence), b"")
        facts = self.bodies.get((contact_key, FACTS), b"")
        raw = pack_contact(record)
        return Waiting(member, msgspec.structs.replace(ref), detail, body, facts, raw)

    # Housekeeping --------------------------------------------------------------------------------

    def counters(self) -> Counters:
        """Return the conservation law; kinds of which there is none are left out."""
        return Counters(
            self._planned, self._scheduled, self._in_flight,
            {key: count for key, count in self._ended.items() if count},
            {key: count for key, count in self.events.items() if count},
            dict(self.rules),
        )  # fmt: skip

    def trim(self) -> None:
        """Bring the records that this step has touched back within their bounds.

        Called once at the end of each writing call, so that nothing vanishes within a batch.
        """
        for contact_key in self.grown:
            for ref in contacts.trim(self.contacts[contact_key]):
                self.drop_idle_body(contact_key, ref.body_sequence)
        self.grown.clear()

    def sweep(self, now_ms: int) -> int:
        """Forget ended invitations whose day of ending is past its retention, oldest day first.

        A day is past it once its last instant is. Consents, stamps, tombstones, events seen and
        counters stay. Also forgets dead directory generations, which are not counted.
        """
        self.event_directory.drop_dead(now_ms)
        self.order_directory.drop_dead(now_ms)
        for key in [key for key in self.channels if key[2] < now_ms // DAY_MS - CHANNEL_COUNT_DAYS]:
            del self.channels[key]
        first_kept_day = (now_ms - OUTCOME_RETENTION_MS) // DAY_MS
        dropped = 0
        for day in sorted(day for day in self.outcomes if day < first_kept_day):
            lines = self.outcomes[day]
            taken = lines[: SWEEP_MEMBERS_MAX - dropped]
            for line in taken:
                self._forget(line.member)
            dropped += len(taken)
            self.outcomes[day] = lines[len(taken) :]
            if not self.outcomes[day]:
                del self.outcomes[day]
            if dropped == SWEEP_MEMBERS_MAX:
                break
        return dropped

    def _forget(self, member: bytes) -> None:
        self.details.pop(member, None)
        self.notes.pop(member, None)
        found = self.found(member)
        if found is not None:
            contact_key, record, ref = found
            record.references.remove(ref)
            self.drop_idle_body(contact_key, ref.body_sequence)

    def validate(self) -> None:
        """Assert the invariants of the module docstring. For tests; O(everything)."""
        counters = self.counters()
        assert counters.imbalance == 0, f"conservation law: {counters}"
        indexed = Counter((e.member, e.due_ms) for e in self.near)
        indexed.update((e.member, e.due_ms) for e in self.deferred)
        parked = {e.member: e.due_ms for e in self.parked}
        self.timers.validate()
        for number, slot in self.slots.items():
            for entry in slot:
                assert entry.due_ms // self._slot_width_ms == number, "an entry is in its own slot"
                indexed[entry.member, entry.due_ms] += 1
        places = Counter(member for member, _ in indexed.elements())
        leased = Counter(member for lease in self.leases.values() for member in lease.members)
        lease_marks = {m: token[:8] for token, lease in self.leases.items() for m in lease.members}
        states: Counter[int] = Counter()
        live_bodies: set[tuple[bytes, int]] = set()
        for contact_key, record in self.contacts.items():
            for ref in record.references:
                member = contacts.member(contact_key, ref)
                states[ref.state] += 1
                if ref.state == State.SCHEDULED and ref.wait in PARKED_WAITS:
                    assert parked[member] == ref.expire_ms, "what is parked is due to expire"
                elif ref.state == State.SCHEDULED:
                    assert places[member] == 1, f"{member.hex()} waits in {places[member]} lanes"
                    assert indexed[member, ref.due_ms] == 1, "an entry is indexed at its due time"
                if ref.state == State.IN_FLIGHT:
                    assert leased[member] == 1, f"{member.hex()} is in {leased[member]} leases"
                    assert lease_marks[member] == ref.mark, "the mark names the lease"
                if ref.state == State.IN_FLIGHT and ref.reason == Reason.ERASED:
                    assert member not in self.details, "what is erased has no plan"
                    continue
                if ref.state in contacts.LIVE_STATES:
                    assert member in self.details, "what waits has its plan"
                if contacts.is_kept(ref):
                    live_bodies.add((contact_key, ref.body_sequence))
        assert states[State.SCHEDULED] == counters.scheduled, "scheduled is counted"
        assert states[State.IN_FLIGHT] == counters.in_flight == leased.total(), "flight is counted"
        kept = {key for key in self.bodies if key[1] != FACTS}
        assert kept == live_bodies, "a body lives as long as its event's invitations"
        for contact_key, sequence in self.bodies.keys() - kept:
            assert sequence == FACTS and contacts.has_kept(self.contacts[contact_key]), "facts too"
