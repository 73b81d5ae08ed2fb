"""One partition in memory: its contacts, lanes, bodies, leases and counters.

Decides: what each change of an invitation does to the index, the counters, the outcomes and the
body, so that no operation can forget one of them.
Never: the gate (`memory_gate.py`), nor who may call what (`memory_store.py`).

Invariants, checked by `validate`:
    1. Conservation (R6): planned = scheduled + in flight + ended, counted, not derived.
    2. A SCHEDULED invitation is indexed once, at its due time. The index is lazy: it may also hold
       members that wait no more; the claim that meets one drops it.
    3. An IN_FLIGHT invitation stands in exactly one lease, the one whose token its mark shows.
    4. A body is kept exactly as long as an invitation of its event waits or is in flight.

Units: every `*_ms` is epoch milliseconds, but for the lease deadlines, which are lease clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import msgspec

from core.antispam import consent
from core.bounds import CONTACT_FACTS_BYTES_MAX, DAY_MS, OUTCOME_RETENTION_MS
from core.model import ConsentStatus, Disposition, Reason, State, WaitReason
from core.ports import (
    ClaimAnswer,
    Commit,
    CommitAnswer,
    CommittedPlan,
    Counters,
    Lane,
    Move,
    OwnerState,
    Plan,
    RuleCount,
    Source,
    Stop,
    Waiting,
)
from core.records import (
    FLAG_FOLLOW_UP,
    FLAG_REVIEWED,
    NO_KEY,
    ConsentEntry,
    ContactRecord,
    EventSeen,
    Outcome,
    Reference,
    member_parts,
    pack48,
)
from core.timer_records import FACT_HEAD, unpack_facts
from core.timing_wheel import memory_contact as contacts
from core.timing_wheel import memory_history as history
from core.timing_wheel.memory_directory import EventDirectory, OrderDirectory
from core.timing_wheel.memory_lane import LaneIndex
from core.timing_wheel.memory_timers import Timers

FACTS = 0
"""No event's body: where the facts of a contact stand among the bodies."""

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
        self.documents: dict[bytes, dict[bytes, bytes]] = {}
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
        self._events: Counter[int] = Counter()
        self._rules: Counter[tuple[int, int]] = Counter()

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

    def park(self, member: bytes, ref: Reference) -> None:
        """Hold an entry until it is moved; due in its lane means that it has expired (E18)."""
        ref.wait = WaitReason.FROZEN
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
            self.defer(move.member, ref, move.due_ms, WaitReason.NONE)
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

    def end(self, member: bytes, ref: Reference, state: int, reason: int, now_ms: int) -> None:
        """SCHEDULED or IN_FLIGHT becomes ended, and stays so. The index entry is left to the claim.

        The caller drops the body afterwards (`drop_idle_body`), when no follower can need it.
        """
        assert ref.state in contacts.LIVE_STATES, "an invitation ends once"
        if ref.state == State.SCHEDULED:
            self._scheduled -= 1
        else:
            self._in_flight -= 1
        if state == State.SENT:
            self._rules[ref.rule_number, RuleCount.SENT] += 1
            if not ref.flags & FLAG_FOLLOW_UP:
                self._rules[ref.rule_number, RuleCount.FIRST_SENT] += 1
        ref.state, ref.reason, ref.wait = state, reason, WaitReason.NONE
        ref.mark = contacts.ended_mark(now_ms)
        self.grown.add(member[:8])
        self._write_ending(member, ref, now_ms)

    def _write_ending(self, member: bytes, ref: Reference, now_ms: int) -> None:
        self._ended[ref.state, ref.reason] += 1
        self.outcomes.setdefault(now_ms // DAY_MS, []).append(
            Outcome(
                member, State(ref.state), Reason(ref.reason), ref.rule_number, now_ms, ref.attempts
            )
        )

    def drop_idle_body(self, contact_key: bytes, body_sequence: int) -> None:
        """Forget the body of an event once every invitation of it has ended (E21), and the facts once
        everything of the contact has."""
        record = self.contacts[contact_key]
        if not contacts.is_body_needed(record, body_sequence):
            self.bodies.pop((contact_key, body_sequence), None)
            if not contacts.has_live(record):
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

    def commit(self, commit: Commit, now_ms: int) -> CommitAnswer:
        """Apply one event to one contact, once.

        Order: evidence, stops, facts, tombstone, history, timers, plans (R39).
        """
        record = self.contacts.get(commit.contact_key) or ContactRecord()
        for seen in record.events:
            if seen.event_key == commit.event_key:
                self._events[Disposition.DUPLICATE] += commit.is_primary
                return self._repeated(commit, seen, record)
        if commit.fires is not None:
            if not self.timers.is_due(commit.contact_key, *commit.fires):
                return CommitAnswer(True, Disposition.NO_MATCH, (), ())
            self.timers.drop(commit.contact_key, commit.fires[0])
        self.contacts[commit.contact_key] = record
        self.grown.add(commit.contact_key)
        for entry in commit.consents:
            record.consents = consent.merge(record.consents, ConsentEntry(*entry))
        stopped: list[Reference] = []
        for stop in commit.stops:
            stopped += self.end_waiting(
                commit.contact_key,
                partial(contacts.is_stopped, stop=stop),
                (State.CANCELLED, stop.reason),
                now_ms,
            )
            self.timers.stop(commit.contact_key, stop)
            self._count_review(record, stop)
        self._keep_facts(record, commit)
        contacts.add_tombstone(
            record, commit.tombstone_order, commit.tombstone_type, commit.event_time_ms
        )
        is_new = history.note(record, commit.history)
        closed = history.closed_rules(record, commit.guards, is_new)
        timers = [msgspec.structs.replace(timer, body=commit.body) for timer in commit.timers]
        if timers and self.timers.set(commit.contact_key, timers):
            self.near_version += 1
        disposition = commit.disposition
        plans_left = [plan for plan in commit.plans if plan.rule_number not in closed]
        if commit.plans and not plans_left:
            disposition = Disposition.NO_MATCH
        record.events.append(EventSeen(commit.event_key, disposition, now_ms))
        self._events[disposition] += commit.is_primary
        body_sequence = record.next_sequence
        plans = tuple(
            self.create(commit.contact_key, plan, commit.event_key, body_sequence, True, now_ms)
            for plan in plans_left
        )
        if any(plan.state == State.SCHEDULED for plan in plans):
            self.bodies[commit.contact_key, body_sequence] = commit.body
        return CommitAnswer(False, disposition, plans, tuple(ref.sequence for ref in stopped))

    def _count_review(self, record: ContactRecord, stop: Stop) -> None:
        """Count a review once for each run whose request was sent (B37)."""
        if stop.reason != Reason.REVIEWED:
            return
        for ref in record.references:
            if (
                contacts.is_stopped(ref, stop)
                and ref.state in (State.SENT, State.DELIVERED)
                and not ref.flags & (FLAG_FOLLOW_UP | FLAG_REVIEWED)
            ):
                ref.flags |= FLAG_REVIEWED
                self._rules[ref.rule_number, RuleCount.REVIEWED] += 1
                if stop.has_comment:
                    self._rules[ref.rule_number, RuleCount.COMMENTED] += 1

    def _keep_facts(self, record: ContactRecord, commit: Commit) -> None:
        """Keep what the event tells for those that wait already."""
        key = commit.facts_key
        if key is None or not contacts.has_live(record, key):
            return
        head = FACT_HEAD.pack(key, pack48(commit.event_time_ms), len(commit.body))
        facts = self.bodies.get((commit.contact_key, FACTS), b"") + head + commit.body
        while len(facts) > CONTACT_FACTS_BYTES_MAX:
            _, _, oldest = next(unpack_facts(facts))
            facts = facts[FACT_HEAD.size + len(oldest) :]
        self.bodies[commit.contact_key, FACTS] = facts

    @staticmethod
    def _repeated(commit: Commit, seen: EventSeen, record: ContactRecord) -> CommitAnswer:
        plans = tuple(
            CommittedPlan(
                ref.sequence, ref.state, ref.reason, ref.due_ms, Lane.FAR,
                contacts.member(commit.contact_key, ref),
            )
            for ref in record.references
            if ref.event_key == commit.event_key
        )  # fmt: skip
        return CommitAnswer(True, seen.disposition, plans, ())

    def write_consent(
        self,
        contact_key: bytes,
        entry: ConsentEntry,
        document: tuple[bytes, bytes],
        now_ms: int,
    ) -> tuple[list[bytes], list[bytes]]:
        """Write an entry and its document; a withdrawal ends what waits in its scope (R19)."""
        record = self.contacts.setdefault(contact_key, ContactRecord())
        record.consents = consent.merge(record.consents, entry)
        self.grown.add(contact_key)
        self.documents.setdefault(contact_key, {})[document[0]] = document[1]
        if entry.status != ConsentStatus.WITHDRAWN:
            return [], []

        def is_covered(ref: Reference) -> bool:
            return (
                ref.purpose == entry.purpose
                and ref.medium == entry.medium
                and consent.is_covering(
                    entry.scope, entry.scope_key, ref.channel_number, ref.order_key
                )
            )

        claimed = [
            contacts.member(contact_key, ref)
            for ref in record.references
            if ref.state == State.IN_FLIGHT and is_covered(ref)
        ]
        ended = self.end_waiting(
            contact_key, is_covered, (State.SKIPPED, Reason.UNSUBSCRIBED), now_ms
        )
        return [contacts.member(contact_key, ref) for ref in ended], claimed

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
        contact_key, _, ref = found
        body = self.bodies.get((contact_key, ref.body_sequence), b"")
        facts = self.bodies.get((contact_key, FACTS), b"")
        return Waiting(member, msgspec.structs.replace(ref), detail, body, facts)

    # Housekeeping --------------------------------------------------------------------------------

    def counters(self) -> Counters:
        """Return the conservation law; kinds of which there is none are left out."""
        return Counters(
            self._planned, self._scheduled, self._in_flight,
            {key: count for key, count in self._ended.items() if count},
            {key: count for key, count in self._events.items() if count},
            dict(self._rules),
        )  # fmt: skip

    def trim(self) -> None:
        """Bring the records that this step has touched back within their bounds.

        Called once at the end of each writing call, so that nothing vanishes within a batch.
        """
        for contact_key in self.grown:
            contacts.trim(self.contacts[contact_key])
        self.grown.clear()

    def sweep(self, now_ms: int) -> int:
        """Forget ended invitations whose day of ending is past its retention, oldest day first.

        A day is past it once its last instant is. Consents, stamps, tombstones, events seen and
        counters stay. Also forgets dead directory generations, which are not counted.
        """
        self.event_directory.drop_dead(now_ms)
        self.order_directory.drop_dead(now_ms)
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
            found[1].references.remove(found[2])

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
                if ref.state == State.SCHEDULED and ref.wait == WaitReason.FROZEN:
                    assert parked[member] == ref.expire_ms, "what is parked is due to expire"
                elif ref.state == State.SCHEDULED:
                    assert places[member] == 1, f"{member.hex()} waits in {places[member]} lanes"
                    assert indexed[member, ref.due_ms] == 1, "an entry is indexed at its due time"
                if ref.state == State.IN_FLIGHT:
                    assert leased[member] == 1, f"{member.hex()} is in {leased[member]} leases"
                    assert lease_marks[member] == ref.mark, "the mark names the lease"
                if ref.state in contacts.LIVE_STATES:
                    assert member in self.details, "what waits has its plan"
                    live_bodies.add((contact_key, ref.body_sequence))
        assert states[State.SCHEDULED] == counters.scheduled, "scheduled is counted"
        assert states[State.IN_FLIGHT] == counters.in_flight == leased.total(), "flight is counted"
        kept = {key for key in self.bodies if key[1] != FACTS}
        assert kept == live_bodies, "a body lives as long as its event's invitations"
        for contact_key, sequence in self.bodies.keys() - kept:
            assert sequence == FACTS and contacts.has_live(self.contacts[contact_key]), "facts too"
