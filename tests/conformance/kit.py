"""Words for the conformance tests: keys, plans, commits, and one daemon's hands on a store.

Everything goes through `core.ports.Store`; nothing here knows which store it is.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

from core.bounds import DAY_MS, HOUR_MS
from core.contact_ports import ConsentLine, ConsentsWritten, LoggedLine
from core.gate import CapRule, ClaimAnswer, ClaimItem, Lane, Source
from core.model import ConsentScope, ConsentStatus, Disposition, Medium, Purpose
from core.outcomes import Outcome
from core.ports import (
    Commit,
    CommitAnswer,
    CommittedPlan,
    Counters,
    DueEntry,
    Move,
    Owner,
    Plan,
    SettleAnswer,
    Settlement,
    Store,
    Waiting,
)
from core.records import NO_KEY, ContactRecord, Reference, member_parts
from core.timer_records import Timer

PARTITION_COUNT = 4
SLOT_MS = HOUR_MS
NOW = 20_000 * DAY_MS + 10 * HOUR_MS
"""The present of the tests: a full hour, well inside both directory generations."""
FOR_EVER = NOW + 1_000 * DAY_MS
LEASE_MS = 60_000

NEAR = Source(Lane.NEAR)
DEFERRED = Source(Lane.DEFERRED)
PARKED = Source(Lane.PARKED)
TIMERS = Source(Lane.TIMERS)


def key(name: str) -> bytes:
    """Return 8 evenly distributed bytes for a name."""
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def contact_key(name: str = "contact", partition: int = 0) -> bytes:
    """Return a contact key that lives in the given partition."""
    return partition.to_bytes(2, "big") + key(name)[2:]


def far(due_ms: int) -> Source:
    """Return the slot of an entry that is not loaded."""
    return Source(Lane.FAR, due_ms // SLOT_MS)


def plan(**fields: Any) -> Plan:
    """Return a plan due at NOW that needs no consent and collides with nothing."""
    given: dict[str, Any] = {
        "medium": Medium.EMAIL,
        "purpose": Purpose.REVIEW,
        "step": 0,
        "channel_number": 1,
        "rule_number": 1,
        "due_ms": NOW,
        "expire_ms": NOW + 30 * DAY_MS,
        "order_key": NO_KEY,
        "message_key": NO_KEY,
        "detail": b"detail",
    }
    return Plan(**(given | fields))


def commit(*plans: Plan, **fields: Any) -> Commit:
    """Return the commit of event "event" at contact "contact"."""
    given: dict[str, Any] = {
        "event_key": key("event"),
        "contact_key": contact_key(),
        "disposition": Disposition.PLANNED if plans else Disposition.NO_MATCH,
        "body": b"body",
        "event_time_ms": NOW - 1,
        "plans": plans,
    }
    return Commit(**(given | fields))


def timer(name: str = "timer", **fields: Any) -> Timer:
    """Return a timer of rule 1, due in a day."""
    given: dict[str, Any] = {
        "id": key(name),
        "rule_number": 1,
        "key": NO_KEY,
        "due_ms": NOW + DAY_MS,
        "time_ms": NOW,
        "revision": 1,
        "body": b"body",
    }
    return Timer(**(given | fields))


Entry = tuple[int, int, int, int, bytes, int, int, bytes]


def consent_entry(
    status: int = ConsentStatus.GRANTED,
    *,
    scope: int = ConsentScope.ACCOUNT,
    scope_key: bytes = NO_KEY,
    purpose: int = Purpose.REVIEW,
    medium: int = Medium.EMAIL,
    time_ms: int = NOW - 1_000,
    expire_ms: int = 0,
    document: bytes = b"document",
) -> Entry:
    """Return evidence as `Commit.consents` has it."""
    return (scope, purpose, medium, status, scope_key, time_ms, expire_ms, document)


def line(status: int, **fields: Any) -> ConsentLine:
    """Return a line as `write_consents` takes it, else as `consent_entry`."""
    scope, purpose, medium, _, scope_key, time_ms, expire_ms, document = consent_entry(
        status, **fields
    )
    return ConsentLine(scope, purpose, medium, status, time_ms, scope_key, expire_ms, document)


def cap(**fields: Any) -> CapRule:
    """Return a cap of one message in 14 days, which defers."""
    given: dict[str, Any] = {
        "ledger": b"cap1",
        "limit": 1,
        "window_ms": 14 * DAY_MS,
        "is_order_unit": False,
        "is_skip": False,
        "longest_deferral_ms": 0,
    }
    return CapRule(**(given | fields))


def item(member: bytes, source: Source | None = None, **fields: Any) -> ClaimItem:
    """Return an item that asks the gate, without consent; read from the slot of NOW."""
    given: dict[str, Any] = {"needs_consent": False}
    return ClaimItem(member, source if source is not None else far(NOW), **(given | fields))


class Hands:
    """One daemon that owns partition 0: short words for what the tests do most."""

    def __init__(self, store: Store, owner: Owner, partition: int = 0) -> None:
        self.store = store
        self.owner = owner
        self.partition = partition
        self._names = (f"event {number}" for number in itertools.count())
        self._tokens = (key(f"token {n}") + bytes(8) for n in itertools.count())

    @classmethod
    async def own(cls, store: Store, partition: int = 0, nonce: bytes = b"hands 01") -> Hands:
        """Acquire the partition."""
        observed = await store.owners([partition])
        owner = (await store.acquire(observed, nonce))[partition]
        assert owner is not None
        return cls(store, owner, partition)

    async def commit(self, *plans: Plan, now_ms: int = NOW, **fields: Any) -> CommitAnswer:
        """Commit one event, a new one unless `event_key` is given."""
        fields.setdefault("event_key", key(next(self._names)))
        listed = {self.partition: [commit(*plans, **fields)]}
        return (await self.store.commit(listed, now_ms))[self.partition][0]

    async def plan(self, now_ms: int = NOW, **fields: Any) -> CommittedPlan:
        """Commit an event with one plan; return what became of it."""
        return (await self.commit(plan(**fields), now_ms=now_ms)).plans[0]

    def new_token(self) -> bytes:
        """Return a claim token that was not used before."""
        return next(self._tokens)

    async def claim(
        self,
        *items: ClaimItem,
        now_ms: int = NOW,
        token: bytes | None = None,
        owner: Owner | None = None,
        lease_deadline_ms: int = LEASE_MS,
        registry_revision: int = 0,
    ) -> list[ClaimAnswer]:
        """Claim items under a new token, or the one given."""
        return await self.store.claim(
            self.partition, owner or self.owner, token or self.new_token(), items, now_ms,
            lease_deadline_ms, registry_revision,
        )  # fmt: skip

    async def take(self, *items: ClaimItem, now_ms: int = NOW, **fields: Any) -> bytes:
        """Claim items, all of which pass; return the token."""
        token = self.new_token()
        answers = await self.claim(*items, now_ms=now_ms, token=token, **fields)
        assert [answer.code for answer in answers] == [0] * len(items)
        return token

    async def settle(
        self, token: bytes, member: bytes, state: int, now_ms: int = NOW, **fields: Any
    ) -> SettleAnswer:
        """Settle one entry."""
        settlements = [Settlement(member, state, **fields)]
        return (await self.store.settle(self.partition, token, settlements, now_ms))[0]

    async def recover(
        self, lease_now_ms: int = LEASE_MS + 1, now_ms: int = NOW
    ) -> list[tuple[bytes, int, int]]:
        """Take back what has run out."""
        owned = {self.partition: self.owner}
        answer = await self.store.recover(owned, lease_now_ms, now_ms)
        return [(member, state, due_ms) for member, state, due_ms in answer[self.partition]]

    async def open_until(self, until_ms: int) -> None:
        """Raise `loaded_until`."""
        await self.store.open_slots({self.partition: self.owner}, until_ms)

    async def lane(self, source: Source, until_ms: int = FOR_EVER) -> list[DueEntry]:
        """Return all entries of a lane."""
        return await self.store.read_lane(self.partition, source, until_ms, 1_000)

    async def record(self, contact: bytes | None = None) -> ContactRecord:
        """Return the record of a known contact."""
        record = await self.store.contact(self.partition, contact or contact_key())
        assert record is not None
        return record

    async def ref(self, member: bytes) -> Reference:
        """Return the reference of a known member."""
        contact, sequence, _ = member_parts(member)
        record = await self.record(contact)
        return next(ref for ref in record.references if ref.sequence == sequence)

    async def state(self, member: bytes) -> tuple[int, int]:
        """Return (state, reason) of a known member."""
        ref = await self.ref(member)
        return ref.state, ref.reason

    async def read(self, member: bytes) -> Waiting | None:
        """Return plan and body of a member."""
        return (await self.store.read({self.partition: [member]}))[self.partition][0]

    async def body(self, member: bytes) -> bytes:
        """Return the body kept for a known member, empty if there is none."""
        waiting = await self.read(member)
        assert waiting is not None
        return waiting.body

    async def counters(self) -> Counters:
        """Return the conservation law of the partition."""
        return (await self.store.counters([self.partition]))[self.partition]

    async def outcomes(self, now_ms: int = NOW) -> list[Outcome]:
        """Return what ended on the day of an instant."""
        return await self.store.outcomes(self.partition, now_ms // DAY_MS)

    async def cancel(
        self, members: Sequence[bytes], state: int, reason: int, now_ms: int = NOW
    ) -> list[int]:
        """Cancel members."""
        return await self.store.cancel(self.partition, members, state, reason, now_ms)

    async def write(
        self, *lines: ConsentLine, contact: bytes | None = None, now_ms: int = NOW
    ) -> ConsentsWritten:
        """Write consent lines."""
        return await self.store.write_consents(
            self.partition, contact or contact_key(), lines, now_ms
        )

    async def log(
        self, contact: bytes | None = None, after: int = 0, limit: int = 1_000
    ) -> list[LoggedLine]:
        """Return lines of the consent log of a contact."""
        return await self.store.consent_log(self.partition, contact or contact_key(), after, limit)

    async def write_consent(
        self, entry: Entry, contact: bytes | None = None, now_ms: int = NOW
    ) -> tuple[list[bytes], list[bytes]]:
        """Write one line; return the members that ended by it and those claimed before."""
        scope, purpose, medium, status, scope_key, time_ms, expire_ms, document = entry
        one = ConsentLine(scope, purpose, medium, status, time_ms, scope_key, expire_ms, document)
        written = await self.write(one, contact=contact, now_ms=now_ms)
        return list(written.ended), list(written.in_flight)

    async def timers(self, contact: bytes | None = None) -> list[Timer]:
        """Return the timers of a contact."""
        return (await self.store.timers(self.partition, [contact or contact_key()]))[0]

    async def move(self, member: bytes, source: Source, due_ms: int, **fields: Any) -> bool:
        """Move one entry."""
        now_ms = fields.pop("now_ms", NOW)
        moves = [Move(member, source, due_ms, **fields)]
        return (await self.store.move(self.partition, moves, now_ms))[0]

    async def near_version(self) -> int:
        """Return the version of the fixed lanes."""
        return (await self.store.near_versions([self.partition]))[self.partition]
