"""The store in memory: the executable specification of `core.ports.Store`.

Decides: what every operation means. The durable store answers equally; the conformance suite runs
over both. Used by tests, simulation, the demo and benchmarks; nothing survives the process.

Shape: one `Partition` per partition. No method waits, so each partition's list is one atomic step.

Where the port is silent, this page decides:
    - `NO_KEY` matches nothing as message key, as order of a tombstone, or as scope key of an order;
      as `Stop.order_key` it matches everything of the contact.
    - The event's time in the contact record is the instant of the commit; a tombstone's is the
      event's time, and the first of its (order, type) stays.
    - A commit that brings a withdrawal or suppression ends nothing; the claim asks. A write ends what
      its lines cover, unless newer evidence has outdone them; nothing that does not go to the contact.
    - An entry waits for the cap that its last note names: those it may replace wait for the same (R28).
    - `CommittedPlan.lane` says where the call has put the entry; FAR where it put nothing (born
      ended, or a repetition).
    - `ClaimAnswer` carries the state, due time and attempts after the call; only the code for GONE,
      no attempts for NOT_DUE. The due time is checked before END and DEFER; a DEFER to or beyond
      the expiry ends the entry (EXPIRED NO_SLOT).
    - Ending and taking reset `wait`; a retry keeps its `reason` until the next claim; what is
      recovered waits with RETRY.
    - Settling twice answers `is_settled=False` the second time and changes nothing; so a repeated
      withdrawal names nobody as ended.
    - A follower that a tombstone forbids is born CANCELLED, and counted.
    - Waking sets the due time to now and `wait` to NONE, and happens only if a stamp was returned.
    - `acquire` starts the renewal counter at 0; `release` only empties the nonce.
    - A lease has run out when the lease clock reaches its deadline. A claim that took nothing is
      remembered until then too.
    - `open_slots` answers False where the caller is not the owner; `recover` serves the partitions
      that it owns, and leaves the others out of its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.bounds import HOUR_MS, PARTITIONS_DEFAULT, PARTITIONS_MAX
from core.contact_ports import ConsentLine, ConsentsWritten, LoggedLine
from core.errors import OwnershipLost, StaleRegistry
from core.gate import FIXED_LANES, ClaimAnswer, ClaimItem, Source
from core.outcomes import Outcome
from core.ports import (
    Commit,
    CommitAnswer,
    Counters,
    DueEntry,
    Durability,
    EventMark,
    MarkAnswer,
    Move,
    OrderAnswer,
    OrderNote,
    Owner,
    OwnerState,
    SettleAnswer,
    Settlement,
    Store,
    StoreMeta,
    Waiting,
)
from core.records import ContactRecord
from core.timer_records import Timer
from core.timing_wheel import memory_commit as changes
from core.timing_wheel import memory_consents as consents
from core.timing_wheel import memory_gate as gate
from core.timing_wheel.memory_contact import copied
from core.timing_wheel.memory_partition import Partition
from core.timing_wheel.memory_people import MemoryPeople


class MemoryStore(MemoryPeople, Store):
    """All partitions of one deployment, in dictionaries."""

    def __init__(self, meta: StoreMeta) -> None:
        assert 0 < meta.partition_count <= PARTITIONS_MAX
        assert meta.partition_count & (meta.partition_count - 1) == 0, "partition = hash & (P - 1)"
        self.meta = meta
        self.durability = Durability.MEMORY
        super().__init__([Partition(meta.slot_width_ms) for _ in range(meta.partition_count)])
        self._epoch = 0

    @classmethod
    def create(
        cls,
        partition_count: int = PARTITIONS_DEFAULT,
        slot_width_ms: int = HOUR_MS,
        is_virtual: bool = True,
        secret: bytes = bytes(32),
    ) -> MemoryStore:
        """Return an empty store."""
        return cls(StoreMeta(partition_count, slot_width_ms, is_virtual, secret))

    def validate(self) -> None:
        """Assert the invariants of every partition; see `Partition.validate`."""
        for partition in self._partitions:
            partition.validate()
        for budget in self._budgets.values():
            budget.validate()

    # Ownership ---------------------------------------------------------------------------------

    async def owners(self, partitions: Sequence[int]) -> dict[int, OwnerState]:
        """Return who owns each partition now; epoch 0 if nobody ever did."""
        return {number: self._partitions[number].owner for number in partitions}

    async def acquire(
        self, observed: Mapping[int, OwnerState], nonce: bytes
    ) -> dict[int, Owner | None]:
        """Take partitions; the clock of this store is a counter that only rises."""
        answers: dict[int, Owner | None] = {}
        for number, state in observed.items():
            partition = self._partitions[number]
            if partition.owner != state:
                answers[number] = None
                continue
            self._epoch = max(self._epoch, state.epoch) + 1
            partition.owner = OwnerState(self._epoch, nonce, 0)
            answers[number] = Owner(self._epoch, nonce)
        return answers

    async def renew(self, owned: Mapping[int, Owner]) -> dict[int, bool]:
        """Raise the renewal counter where the caller still owns."""
        answers: dict[int, bool] = {}
        for number, owner in owned.items():
            answers[number] = self._is_owner(number, owner)
            if answers[number]:
                partition = self._partitions[number]
                partition.owner = OwnerState(owner.epoch, owner.nonce, partition.owner.renewals + 1)
        return answers

    async def release(self, owned: Mapping[int, Owner]) -> None:
        """Give partitions back; those of others are left alone."""
        for number, owner in owned.items():
            if self._is_owner(number, owner):
                partition = self._partitions[number]
                partition.owner = OwnerState(owner.epoch, b"", partition.owner.renewals)

    def _is_owner(self, number: int, owner: Owner) -> bool:
        state = self._partitions[number].owner
        return bool(state.nonce) and (state.epoch, state.nonce) == (owner.epoch, owner.nonce)

    # Accept ------------------------------------------------------------------------------------

    async def mark_events(
        self, marks: Mapping[int, Sequence[EventMark]], now_ms: int
    ) -> dict[int, list[MarkAnswer]]:
        """Record each event id once; first wins."""
        return {
            number: [self._partitions[number].event_directory.mark(m, now_ms) for m in listed]
            for number, listed in marks.items()
        }

    async def event_mark(self, partition: int, event_key: bytes, now_ms: int) -> MarkAnswer | None:
        """Return the first sight of an event; there is no body to compare, so it is the same."""
        found = self._partitions[partition].event_directory.find(event_key, now_ms)
        return None if found is None else MarkAnswer(False, True, found.contact_key)

    async def note_orders(
        self, notes: Mapping[int, Sequence[OrderNote]], now_ms: int
    ) -> dict[int, list[OrderAnswer]]:
        """Write, then read, the order directory."""
        return {
            number: [self._partitions[number].order_directory.note(n, now_ms) for n in listed]
            for number, listed in notes.items()
        }

    async def commit(
        self, commits: Mapping[int, Sequence[Commit]], now_ms: int
    ) -> dict[int, list[CommitAnswer]]:
        """Apply events to contacts."""
        answers: dict[int, list[CommitAnswer]] = {}
        for number, listed in commits.items():
            with self._step(number) as held:
                answers[number] = [changes.apply(held, commit, now_ms) for commit in listed]
        return answers

    # Wheel source --------------------------------------------------------------------------------

    async def far_slots(self, partitions: Sequence[int], until_ms: int) -> dict[int, list[int]]:
        """Return the numbers of slots that hold something and start before `until_ms`."""
        width_ms = self.meta.slot_width_ms
        return {
            number: sorted(
                slot
                for slot, index in self._partitions[number].slots.items()
                if index and slot * width_ms < until_ms
            )
            for number in partitions
        }

    async def next_far_slot(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """Return the first slot number that holds something, None where there is none."""
        return {
            number: min(
                (slot for slot, index in self._partitions[number].slots.items() if index),
                default=None,
            )
            for number in partitions
        }

    async def open_slots(self, owned: Mapping[int, Owner], until_ms: int) -> dict[int, bool]:
        """Raise `loaded_until` where the caller owns; False where it does not."""
        answers: dict[int, bool] = {}
        for number, owner in owned.items():
            answers[number] = self._is_owner(number, owner)
            if answers[number]:
                partition = self._partitions[number]
                partition.loaded_until_ms = max(partition.loaded_until_ms, until_ms)
        return answers

    async def read_lane(
        self, partition: int, source: Source, until_ms: int, limit: int
    ) -> list[DueEntry]:
        """Return the first entries of a lane."""
        return self._partitions[partition].lane(source).first(until_ms, limit)

    async def read_lanes(
        self, lanes: Sequence[tuple[int, Source]], until_ms: int, limit: int, *, skip: int = 0
    ) -> list[list[DueEntry]]:
        """Return the first entries of many lanes."""
        return [
            self._partitions[partition].lane(source).first(until_ms, limit, skip)
            for partition, source in lanes
        ]

    async def drop_empty_slots(self, slots: Mapping[int, Sequence[int]]) -> None:
        """Forget slot numbers whose slot holds nothing."""
        for number, listed in slots.items():
            held = self._partitions[number].slots
            for slot in listed:
                if slot in held and not held[slot]:
                    del held[slot]

    async def near_versions(self, partitions: Sequence[int]) -> dict[int, int]:
        """Return the number that rises with every entry that NEAR or DEFERRED gains."""
        return {number: self._partitions[number].near_version for number in partitions}

    async def lane_sizes(self, partitions: Sequence[int]) -> dict[int, dict[int, int]]:
        """Return how many entries the fixed lanes have."""
        return {
            number: {each.lane: len(self._partitions[number].lane(each)) for each in FIXED_LANES}
            for number in partitions
        }

    async def read(self, members: Mapping[int, Sequence[bytes]]) -> dict[int, list[Waiting | None]]:
        """Return plan and body of each member."""
        return {
            number: [self._partitions[number].waiting(member) for member in listed]
            for number, listed in members.items()
        }

    # Claim, settle, recover ----------------------------------------------------------------------

    async def claim(
        self,
        partition: int,
        owner: Owner,
        token: bytes,
        items: Sequence[ClaimItem],
        now_ms: int,
        lease_deadline_ms: int,
        registry_revision: int,
    ) -> list[ClaimAnswer]:
        """The gate. Ownership is checked before a token is recognised, the registry after it."""
        if not self._is_owner(partition, owner):
            raise OwnershipLost(f"partition {partition} has another owner")
        required = self._partitions[partition].required_revision
        if registry_revision < required and token not in self._partitions[partition].leases:
            raise StaleRegistry(f"registry revision {registry_revision}, {required} is required")
        with self._step(partition) as held:
            return gate.claim(held, token, items, now_ms, lease_deadline_ms)

    async def mark_sending(
        self, partition: int, token: bytes, items: Sequence[ClaimItem], now_ms: int
    ) -> list[bool]:
        """Second look at a claim that waited."""
        with self._step(partition) as held:
            return gate.look_again(held, token, items, now_ms)

    async def settle(
        self, partition: int, token: bytes, settlements: Sequence[Settlement], now_ms: int
    ) -> list[SettleAnswer]:
        """Record how claimed entries went."""
        with self._step(partition) as held:
            return gate.settle(held, token, settlements, now_ms)

    async def recover(
        self, owned: Mapping[int, Owner], lease_now_ms: int, now_ms: int
    ) -> dict[int, list[tuple[bytes, int, int]]]:
        """See `Store.recover`."""
        answers: dict[int, list[tuple[bytes, int, int]]] = {}
        for number, owner in owned.items():
            if self._is_owner(number, owner):
                with self._step(number) as held:
                    answers[number] = gate.recover(held, lease_now_ms, now_ms)
        return answers

    # Contacts and invitations --------------------------------------------------------------------

    async def write_consents(
        self, partition: int, contact_key: bytes, lines: Sequence[ConsentLine], now_ms: int
    ) -> ConsentsWritten:
        """Grant, withdraw, suppress."""
        with self._step(partition) as held:
            return consents.write(held, contact_key, lines, now_ms)

    async def consent_log(
        self, partition: int, contact_key: bytes, after: int = 0, limit: int = 1_000
    ) -> list[LoggedLine]:
        """Return the lines of a contact with numbers above `after`, oldest first."""
        lines = self._partitions[partition].consent_log.get(contact_key, [])
        return [line for line in lines if line.number > after][:limit]

    async def contact(self, partition: int, contact_key: bytes) -> ContactRecord | None:
        """Return a copy of the contact's record, None if nothing is known of it."""
        record = self._partitions[partition].contacts.get(contact_key)
        return None if record is None else copied(record)

    async def contacts(
        self, keys: Mapping[int, Sequence[bytes]]
    ) -> dict[int, list[ContactRecord | None]]:
        """Return copies of many contacts' records."""
        return {
            number: [await self.contact(number, key) for key in listed]
            for number, listed in keys.items()
        }

    async def cancel(
        self, partition: int, members: Sequence[bytes], state: int, reason: int, now_ms: int
    ) -> list[int]:
        """End waiting invitations; return the state of each after the call."""
        with self._step(partition) as held:
            return [held.cancel(member, state, reason, now_ms) for member in members]

    async def move(self, partition: int, moves: Sequence[Move], now_ms: int) -> list[bool]:
        """Give waiting entries another due time."""
        with self._step(partition) as held:
            return [held.move(move, now_ms) for move in moves]

    async def timers(self, partition: int, contact_keys: Sequence[bytes]) -> list[list[Timer]]:
        """Return the timers of each contact."""
        return [self._partitions[partition].timers.of(key) for key in contact_keys]

    async def drop_timers(self, partition: int, members: Sequence[bytes]) -> None:
        """Forget timers."""
        for member in members:
            self._partitions[partition].timers.drop(member[:8], member[8:])

    async def notes(self, partition: int, members: Sequence[bytes]) -> list[bytes]:
        """Return what the gate wrote down about each member, empty if nothing."""
        return [self._partitions[partition].notes.get(member, b"") for member in members]

    # Housekeeping --------------------------------------------------------------------------------

    async def require_registry(self, revision: int) -> None:
        """Demand a registry revision everywhere; a demand is never lowered."""
        for partition in self._partitions:
            partition.required_revision = max(partition.required_revision, revision)

    async def counters(self, partitions: Sequence[int]) -> dict[int, Counters]:
        """Return the conservation law of each partition."""
        return {number: self._partitions[number].counters() for number in partitions}

    async def outcomes(self, partition: int, day: int, state: int = 0) -> list[Outcome]:
        """Return what ended on a day, in order."""
        ended = self._partitions[partition].outcomes.get(day, ())
        return [one for one in ended if state in (0, one.state)]

    async def sweep(self, partition: int, now_ms: int) -> int:
        """Drop what its retention has outlived; return the number of invitations forgotten."""
        return self._partitions[partition].sweep(now_ms)

    async def close(self) -> None:
        """Nothing to release."""
