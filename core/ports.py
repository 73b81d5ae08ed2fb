"""The ports of the engine: what a store and a sender must do, and what they must survive.

Decides: the contract of each operation under duplicates, absence and a crash between call and reply.
The conformance suite (`tests/conformance/`) is this page in executable form: a store is a store if it
passes.
Never: how it is done. `core/timing_wheel/memory_store.py` is the specification in Python,
`core/timing_wheel/redis_store.py` the durable one.

Shape: batch first. Operations take and return lists, keyed by partition; each partition's list is
applied atomically and in order, different partitions independently.

Errors of every operation: `StoreUnavailable` if the answer did not arrive; the operation may then have
taken effect, and repeating it with the same keys or token is safe. What a repetition answers is said
where it is not simply the first answer again.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from core.contact_ports import ContactStore
from core.gate import ClaimAnswer, ClaimItem, Source
from core.outcomes import Outcome
from core.records import NO_KEY, ContactRecord, Reference
from core.timer_records import Timer

# --- shapes -------------------------------------------------------------------------------------


class Owner(msgspec.Struct, frozen=True, gc=False):
    """Proof of ownership of a partition: compared by equality (E11)."""

    epoch: int
    nonce: bytes
    """8 random bytes, new for each process."""


class OwnerState(msgspec.Struct, frozen=True, gc=False):
    """Who owns a partition, as the store sees it. `nonce` is empty if nobody does."""

    epoch: int
    nonce: bytes
    renewals: int


class EventMark(msgspec.Struct, frozen=True, gc=False):
    """First sight of an event id (E6)."""

    event_key: bytes
    body_hash: bytes
    contact_key: bytes


class MarkAnswer(msgspec.Struct, frozen=True, gc=False):
    """What the directory holds for the event id, after the call."""

    is_new: bool
    is_same_body: bool
    contact_key: bytes
    """The contact recorded at first sight: a repeated event is driven there again."""


class OrderNote(msgspec.Struct, frozen=True, gc=False):
    """What an event says about an order (E7): who ordered, and whether the event ends the order.

    `contact_key` is `NO_KEY` if the event names none; `stop_event_type` is 0 unless events of this
    type leave a tombstone.
    """

    order_key: bytes
    contact_key: bytes = NO_KEY
    stop_event_type: int = 0
    time_ms: int = 0


class OrderAnswer(msgspec.Struct, frozen=True, gc=False):
    """All contacts ever named for the order and all tombstones, this note's included.

    Both in order of first writing.
    """

    contact_keys: tuple[bytes, ...]
    tombstones: tuple[tuple[int, int], ...]
    """(event type number, time_ms)."""


class Plan(msgspec.Struct, frozen=True, gc=False):
    """An invitation to be created. Field meanings as in `core.records.Reference`."""

    medium: int
    purpose: int
    step: int
    channel_number: int
    rule_number: int
    due_ms: int
    expire_ms: int
    order_key: bytes
    message_key: bytes
    detail: bytes
    """msgpack of `PlanDetail`."""
    flags: int = 0
    priority: int = 0
    needs_consent: bool = False
    stop_types: tuple[int, ...] = ()
    """Event type numbers whose tombstone on this order ends the plan at birth."""
    stop_reasons: tuple[int, ...] = ()
    """The reason for each of `stop_types`."""
    state: int = 1
    """SCHEDULED, or an ended state that a gate decided at accept (then `reason` says why)."""
    reason: int = 0
    kinds: int = 0
    """What a review request asks about, as bits of `core.records`. Of the kinds that another holder
    of the message key has, it is born without (R2); 0: not a review request, one holder in all."""


class Stop(msgspec.Struct, frozen=True, gc=False):
    """End what waits under these rules, timers included, because of the event in hand. What is in
    flight may arrive, but is not tried again and has no next step; its reason says so meanwhile.

    Of what was made by hand, which has no rule, only review requests end. What a client has cancelled
    is flagged: it cannot be reinstated any more (R44).
    """

    order_key: bytes
    """Key of the order or cart; `NO_KEY`: whatever waits for the contact."""
    rule_numbers: frozenset[int]
    reason: int
    kinds: int = 3
    """Review requests end only if they ask about one of these kinds (R38)."""
    has_comment: bool = False
    """With the reason REVIEWED: the review has a text (B37)."""
    channel_number: int = 0
    """Only runs of this channel end; 0: those of all."""


class Guard(msgspec.Struct, frozen=True, gc=False):
    """A rule fires only at the n-th purchase (D9, D12). Looked at once for all its plans."""

    rule_number: int
    count: int
    since_ms: int
    """Purchases after this instant count."""
    until_ms: int
    """Purchases up to this instant count: the time of the event."""
    channel_number: int = 0
    """0: those of all channels."""
    is_multiple: bool = False
    """Every multiple of `count` fires, not `count` alone."""
    quiet_since_ms: int = 0
    """Not if the rule has fired for the contact after this instant."""


class Commit(msgspec.Struct, frozen=True, gc=False):
    """One event, applied to one contact. Applied once per (contact, event key).

    Order of application: evidence, stops, tombstone, plans (R39: stop first, then plan).

    Refused (disposition REFUSED), with nothing changed but a count, if the contact was erased and the
    event occurred at or before that (R22).
    """

    event_key: bytes
    contact_key: bytes
    disposition: int
    """PLANNED, NO_MATCH or INACTIVE."""
    body: bytes
    """The event as msgpack; stored only if a plan is scheduled, a timer set or a fact kept."""
    event_time_ms: int
    plans: tuple[Plan, ...] = ()
    stops: tuple[Stop, ...] = ()
    consents: tuple[tuple[int, int, int, int, bytes, int, int, bytes], ...] = ()
    """Evidence: (scope, purpose, medium, status, scope key, time_ms, expire_ms, document). It joins the
    contact's table and its consent log."""
    tombstone_order: bytes = NO_KEY
    tombstone_type: int = 0
    history: tuple[tuple[int, bytes, int, int], ...] = ()
    """(kind, key, time_ms, channel number) of a purchase or a refund. A purchase counts once per key,
    and not once the key was refunded."""
    guards: tuple[Guard, ...] = ()
    """Plans of a guarded rule are dropped unless `history` brings a new purchase and its guard
    agrees; without any plan left, PLANNED becomes NO_MATCH."""
    timers: tuple[Timer, ...] = ()
    """Timers to set; their event is `body`. One that is set already moves, unless its event is newer."""
    fires: tuple[bytes, int] | None = None
    """(timer id, due_ms): the timer that causes this. Nothing happens if it is gone or has moved."""
    stamps: tuple[tuple[bytes, bytes, int], ...] = ()
    """(ledger, tag, time_ms) of sends that caps count although another contact has had them, of whom it
    has turned out who they are (R4). The same ledger and tag are stamped once."""
    facts_key: bytes | None = None
    """Keep the body for what waits already with this order key, `NO_KEY`: for all that waits."""
    is_primary: bool = True
    """Counts towards the event counters; false for the further contacts of one order."""


class CommittedPlan(msgspec.Struct, frozen=True, gc=False):
    """One created invitation, in the order of `Commit.plans`."""

    sequence: int
    state: int
    reason: int
    due_ms: int
    lane: int
    member: bytes


class CommitAnswer(msgspec.Struct, frozen=True, gc=False):
    """What an event has caused for this contact.

    On a repetition (`is_duplicate`) `plans` are the invitations of the first time in their present
    state, and nothing has changed.
    """

    is_duplicate: bool
    disposition: int
    plans: tuple[CommittedPlan, ...]
    stopped: tuple[int, ...]
    """Sequences of invitations that this call ended; empty on a repetition."""


class DueEntry(msgspec.Struct, frozen=True, gc=False):
    """An index entry as read from a lane: (member, due)."""

    member: bytes
    due_ms: int


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """All that is known of an invitation: reference fields, plan and body, as stored."""

    member: bytes
    reference: Reference
    detail: bytes
    body: bytes
    """Empty once every invitation of the event has ended; but what a client cancelled keeps it until
    it is swept, because it may be reinstated (R44)."""
    facts: bytes = b""
    """What became known since; see `core.timer_records.unpack_facts`."""
    record: bytes = b""
    """The contact as stored when this was read, for what a message says by it; the gate decides on the
    contact as it is then."""


class Move(msgspec.Struct, frozen=True, gc=False):
    """Let a waiting entry wait for another time."""

    member: bytes
    source: Source
    due_ms: int
    expire_ms: int = 0
    """0: as it is."""
    detail: bytes = b""
    """Empty: as it is."""


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """How one claimed entry went."""

    member: bytes
    state: int
    """SENT, NOT_DELIVERED, FAILED, UNKNOWN, SKIPPED, EXPIRED; or SCHEDULED to try again at `due_ms`."""
    reason: int = 0
    due_ms: int = 0
    releases_caps: bool = False
    """Definitely not handed over: the cap reservations are returned (R25)."""
    next_plans: tuple[Plan, ...] = ()
    """Steps that follow a SENT one; born CANCELLED if a tombstone of the order forbids them."""
    content_revision: int = 0
    """Revision of the rule whose content was sent, modulo 2**16; kept with what has ended (D1)."""
    was_tried: bool = True
    """False, with SCHEDULED: nothing was tried, so the claim was no attempt."""
    template_mark: int = 0
    """Which revision of its template was sent, one byte; kept with what has ended (D1)."""


class SettleAnswer(msgspec.Struct, frozen=True, gc=False):
    """Whether the settlement counted. False: the claim had been reclaimed; knowledge came too late."""

    is_settled: bool
    next_plans: tuple[CommittedPlan, ...] = ()
    woken: tuple[tuple[bytes, int], ...] = ()
    """(member, due_ms) of entries that a released reservation made due now (R25)."""


class RuleCount(enum.IntEnum):
    """What is counted of a rule (B37)."""

    SENT = 1
    FIRST_SENT = 2
    REVIEWED = 3
    COMMENTED = 4


class Counters(msgspec.Struct, frozen=True, gc=False):
    """The conservation law of one partition (R6), and the events behind it."""

    planned: int = 0
    scheduled: int = 0
    in_flight: int = 0
    ended: Mapping[tuple[int, int], int] = {}
    """(state, reason) -> count; states after SENT by feedback move here among themselves."""
    events: Mapping[int, int] = {}
    """Disposition -> count."""
    rules: Mapping[tuple[int, int], int] = {}
    """(rule number, `RuleCount`) -> count."""

    @property
    def imbalance(self) -> int:
        """planned - (scheduled + in flight + ended): anything but 0 is a bug or a loss."""
        return self.planned - self.scheduled - self.in_flight - sum(self.ended.values())


class StoreMeta(msgspec.Struct, frozen=True, gc=False):
    """What a store was created with; fixed for its life."""

    partition_count: int
    slot_width_ms: int
    is_virtual: bool
    secret: bytes
    """Keys the contact hashes."""


class Durability(enum.IntEnum):
    """What an acknowledgement means. Numbers as in the API."""

    UNSPECIFIED = 0
    MEMORY = 1
    FSYNCED = 2
    REPLICATED = 3


# --- the store ----------------------------------------------------------------------------------


class Store(ContactStore, Protocol):
    """One deployment's state. Owner-free operations may be called by any daemon (E3)."""

    meta: StoreMeta
    durability: Durability

    # Ownership -----------------------------------------------------------------------------

    async def owners(self, partitions: Sequence[int]) -> dict[int, OwnerState]:
        """Return who owns each partition now."""

    async def acquire(
        self, observed: Mapping[int, OwnerState], nonce: bytes
    ) -> dict[int, Owner | None]:
        """Take each partition whose owner state is still as observed; None where it is not.

        A repetition answers None: the owner state has changed. The new epoch is
        max(old + 1, the store's clock in microseconds). Whether the old owner may be
        presumed dead is the caller's decision (E12), not the store's.
        """

    async def renew(self, owned: Mapping[int, Owner]) -> dict[int, bool]:
        """Raise the renewal counter where the caller still owns; False where it does not."""

    async def release(self, owned: Mapping[int, Owner]) -> None:
        """Give partitions back, so that the next owner need not wait. Idempotent."""

    # Accept (owner-free) ---------------------------------------------------------------------

    async def mark_events(
        self, marks: Mapping[int, Sequence[EventMark]], now_ms: int
    ) -> dict[int, list[MarkAnswer]]:
        """Record each event id once; first wins. The partition is that of the event key."""

    async def note_orders(
        self, notes: Mapping[int, Sequence[OrderNote]], now_ms: int
    ) -> dict[int, list[OrderAnswer]]:
        """Write, then read, the order directory. The partition is that of the order key."""

    async def commit(
        self, commits: Mapping[int, Sequence[Commit]], now_ms: int
    ) -> dict[int, list[CommitAnswer]]:
        """Apply events to contacts. The partition is that of the contact key.

        A plan is born ended, instead of scheduled, when its `state` says so, else when a tombstone
        of its order matches (CANCELLED), else when another invitation holds its message key
        (SKIPPED DUPLICATE, R2), else when it needs a consent and there is a suppression, or none is
        given or asked for (SKIPPED, R11).
        A scheduled plan due before `loaded_until` is indexed in the near lane, else in its slot.
        """

    # Wheel source (owner only where marked) ----------------------------------------------------

    async def far_slots(self, partitions: Sequence[int], until_ms: int) -> dict[int, list[int]]:
        """Return the numbers of slots that start before `until_ms`, ascending; among them may be
        slots that have become empty and were not dropped yet."""

    async def next_far_slot(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """Return the first slot number of each partition, None where there is none; see
        `far_slots`."""

    async def open_slots(self, owned: Mapping[int, Owner], until_ms: int) -> dict[int, bool]:
        """Owner only. Raise `loaded_until` to `until_ms` (never lower it): from now on, commits due
        before it go to the near lane, and the slots before it only shrink. False: not ours."""

    async def read_lane(
        self, partition: int, source: Source, until_ms: int, limit: int
    ) -> list[DueEntry]:
        """Return the first `limit` index entries of a lane due before `until_ms`, by (due, member)."""

    async def read_lanes(
        self, lanes: Sequence[tuple[int, Source]], until_ms: int, limit: int, *, skip: int = 0
    ) -> list[list[DueEntry]]:
        """The same for many lanes, in the order asked; of each but its first `skip`."""

    async def drop_empty_slots(self, slots: Mapping[int, Sequence[int]]) -> None:
        """Forget slot numbers whose slot holds nothing. Idempotent; never drops an entry."""

    async def near_versions(self, partitions: Sequence[int]) -> dict[int, int]:
        """Return a number per partition that rises whenever a fixed lane gains an entry."""

    async def lane_sizes(self, partitions: Sequence[int]) -> dict[int, dict[int, int]]:
        """Return how many index entries each fixed lane of a partition has, by `Lane`; what has ended
        is among them until it is looked at."""

    async def read(self, members: Mapping[int, Sequence[bytes]]) -> dict[int, list[Waiting | None]]:
        """Return plan and body of each member, None where there is no plan. Changes nothing."""

    # Claim, settle, recover ------------------------------------------------------------------

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
        """The gate (R12): decide on each due entry and take those that pass, in order.

        An entry passes if it waits, is due (`due <= now`), has not expired, is not suppressed, has its
        consent, and no cap is exceeded; its caps are then reserved with the stamp time `now_ms`, in the
        same step. Order of checks: still waiting, due, END and DEFER actions, expiry, suppressions,
        consent, consent to forward, caps (R10); but every DEFER, and an END that needs consent, come
        after expiry, suppressions and consent.

        Every answer carries state, due and attempts, but GONE only its code and NOT_DUE no attempts.
        NOT_DUE and LOOK_AGAIN have changed nothing; all others have left the lane they were read from.

        Args:
            token: 16 random bytes naming this claim; the same token gives the first answer again.
            lease_deadline_ms: lease clock; after it `recover` may take the entries back.
            registry_revision: of the caller's snapshot.

        Raises:
            OwnershipLost: the partition has another owner; nothing changed.
            StaleRegistry: the partition demands a newer snapshot (R13); nothing changed. Not if the
                token is known: what was claimed is claimed.
        """

    async def mark_sending(
        self, partition: int, token: bytes, items: Sequence[ClaimItem], now_ms: int
    ) -> list[bool]:
        """Second look at a claim that waited (E4): True where consent still stands, nothing suppresses
        it, and no event has ended it. Else the entry ends, and its reservations are returned; what may
        not forward data any more waits again, due as before (R47)."""

    async def settle(
        self, partition: int, token: bytes, settlements: Sequence[Settlement], now_ms: int
    ) -> list[SettleAnswer]:
        """Record how claimed entries went. Fenced by the token, not by the epoch (E2).

        A repetition answers `is_settled` False, as it does for what was reclaimed.
        """

    async def recover(
        self, owned: Mapping[int, Owner], lease_now_ms: int, now_ms: int
    ) -> dict[int, list[tuple[bytes, int, int]]]:
        """Owner only. Take back claims whose lease deadline is `lease_now_ms` or before: (member,
        state, due_ms) of each. A call takes a bounded number of claims; call again for the rest.

        Entries flagged HOLD_UNKNOWN end UNKNOWN, and those that something was heard of as that says;
        the others wait again, due as before, in the deferred lane. Partitions that have another owner
        are left alone, and out of the answer.
        """

    # Contacts and invitations (owner-free) -------------------------------------------------------

    async def move(self, partition: int, moves: Sequence[Move], now_ms: int) -> list[bool]:
        """Give waiting entries another due time, in the deferred lane; False for what waits no more.

        Owner-free and idempotent. A wait reason goes, unless the due time stays and the entry was not
        parked; one that expires before it is due now ends EXPIRED (NO_SLOT), and answers True.
        """

    async def timers(self, partition: int, contact_keys: Sequence[bytes]) -> list[list[Timer]]:
        """Return the timers of each contact."""

    async def drop_timers(self, partition: int, members: Sequence[bytes]) -> None:
        """Forget timers, given by contact key and timer id. Idempotent."""

    async def contact(self, partition: int, contact_key: bytes) -> ContactRecord | None:
        """Return the contact's record, None if nothing is known of it."""

    async def contacts(
        self, keys: Mapping[int, Sequence[bytes]]
    ) -> dict[int, list[ContactRecord | None]]:
        """Return many contacts' records."""

    async def cancel(
        self, partition: int, members: Sequence[bytes], state: int, reason: int, now_ms: int
    ) -> list[int]:
        """End waiting invitations; return the state of each after the call (0: no such invitation).

        SCHEDULED becomes `state`; everything else is left as it is, truthfully.
        """

    async def notes(self, partition: int, members: Sequence[bytes]) -> list[bytes]:
        """Return what the gate wrote down about each member: 17 bytes a deferral or skip by cap
        (time 6, until 6, ledger 4, code 1), oldest first. Codes: 1 deferred or without a slot, 2
        skipped, 3 replaced (R28), from `contact_ports.NOTE_FEEDBACK` on: what was heard."""

    async def event_mark(self, partition: int, event_key: bytes, now_ms: int) -> MarkAnswer | None:
        """Return the directory's entry for an event, None if it has none."""

    # Housekeeping ------------------------------------------------------------------------------

    async def require_registry(self, revision: int) -> None:
        """Write the least registry revision that claims must have into every partition (R13)."""

    async def counters(self, partitions: Sequence[int]) -> dict[int, Counters]:
        """Return the conservation law of each partition."""

    async def outcomes(self, partition: int, day: int, state: int = 0) -> list[Outcome]:
        """Return what ended on a day (epoch days, UTC), in order; only in this state, if it is not 0."""

    async def sweep(self, partition: int, now_ms: int) -> int:
        """Drop what its retention has outlived; bounded work per call. Return records dropped."""

    async def close(self) -> None:
        """Release connections. Idempotent."""
