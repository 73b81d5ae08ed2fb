"""Every key of the keyspace, spelt here and nowhere else.

Decides: names, the Redis type behind each, and what shares a hash tag. `docs/KEYSPACE.md` describes the
same families for people, and a test compares the two.

`{t}` is the hash tag of a partition (`core.partitions.partition_tags`), so everything about a contact
lies in one cluster slot and one script can touch all of it. The registry has a tag of its own.
"""

from __future__ import annotations

import functools

from core.partitions import partition_tags

FAMILIES = {
    "store": "aw:{store}:meta",
    "meta": "aw:{t}:meta",
    "counters": "aw:{t}:counters",
    "contacts": "aw:{t}:contacts",
    "details": "aw:{t}:details",
    "bodies": "aw:{t}:bodies",
    "slots": "aw:{t}:slots",
    "slot": "aw:{t}:slot:<number>",
    "near": "aw:{t}:near",
    "deferred": "aw:{t}:deferred",
    "parked": "aw:{t}:parked",
    "timers": "aw:{t}:timers",
    "timer_dues": "aw:{t}:timer-dues",
    "claims": "aw:{t}:claims",
    "claim_deadlines": "aw:{t}:claim-deadlines",
    "events": "aw:{t}:events:<generation>:<bucket>",
    "orders": "aw:{t}:orders:<generation>:<bucket>",
    "consents": "aw:{t}:consents",
    "notes": "aw:{t}:notes",
    "outcomes": "aw:{t}:outcomes:<day>",
    "traffic": "aw:{t}:traffic:<day>",
    "erasures": "aw:{t}:erasures",
    "volume": "aw:{volume-<ledger>}:takes",
    "registry_meta": "aw:{registry}:meta",
    "registry_documents": "aw:{registry}:documents:<kind>",
    "registry_operation": "aw:{registry}:operation:<id>",
    "registry_audit": "aw:{registry}:audit:<account>",
}
"""Family name -> pattern. `<...>` stands for a number or an id."""


def store_meta() -> bytes:
    """Hash: partition_count, slot_width_ms, is_virtual, secret, format. Written once."""
    return b"aw:{store}:meta"


class PartitionKeys:
    """The keys of one partition, as bytes ready for the wire."""

    def __init__(self, tag: str) -> None:
        prefix = f"aw:{{{tag}}}:"
        self._prefix = prefix.encode("ascii")
        self.meta = self._prefix + b"meta"
        """Hash: epoch, nonce, renewals, loaded_until, near_version, registry_revision."""
        self.counters = self._prefix + b"counters"
        """Hash: planned, scheduled, in_flight, "s:<state>:<reason>", "e:<disposition>",
        "r:<rule>:<what>"."""
        self.contacts = self._prefix + b"contacts"
        """Hash: contact key -> contact record (core.records)."""
        self.details = self._prefix + b"details"
        """Hash: member -> msgpack of PlanDetail."""
        self.bodies = self._prefix + b"bodies"
        """Hash: contact key + body sequence (6, big-endian) -> msgpack of Event; under sequence 0
        the contact's facts (core.timer_records)."""
        self.slots = self._prefix + b"slots"
        """Sorted set: numbers of slots that may hold something, scored by themselves."""
        self.near = self._prefix + b"near"
        """Sorted set: member -> due_ms, committed before `loaded_until`."""
        self.deferred = self._prefix + b"deferred"
        """Sorted set: member -> due_ms, moved by a cap, a retry or a recovery."""
        self.parked = self._prefix + b"parked"
        """Sorted set: member -> expire_ms, held while its rule is frozen."""
        self.timers = self._prefix + b"timers"
        """Hash: contact key -> its timers (core.timer_records)."""
        self.timer_dues = self._prefix + b"timer-dues"
        """Sorted set: contact key + timer id -> due_ms."""
        self.claims = self._prefix + b"claims"
        """Hash: claim token -> deadline, members and the answer given."""
        self.claim_deadlines = self._prefix + b"claim-deadlines"
        """Sorted set: claim token -> lease deadline (lease clock, ms)."""
        self.consents = self._prefix + b"consents"
        """Hash: contact key + number (4, big-endian) -> line of the consent log (msgpack)."""
        self.notes = self._prefix + b"notes"
        """Hash: member -> what the gate wrote down, 17 bytes a note."""
        self.erasures = self._prefix + b"erasures"
        """Hash: contact key -> what an erasure that goes on has still to do."""

    def slot(self, number: int) -> bytes:
        """Sorted set: member -> due_ms, for due times in one slot width."""
        return b"%sslot:%d" % (self._prefix, number)

    def events(self, generation: int, bucket: int) -> bytes:
        """Hash: event key -> body hash 8, contact key 8."""
        return b"%sevents:%d:%d" % (self._prefix, generation, bucket)

    def orders(self, generation: int, bucket: int) -> bytes:
        """Hash: order key -> number of contacts 1, contact keys 8 each, tombstones 8 each (event
        type number 2, time 6)."""
        return b"%sorders:%d:%d" % (self._prefix, generation, bucket)

    def traffic(self, day: int) -> bytes:
        """Hash: "<channel>:<medium>:<sent, complained or hard_bounced>" -> how many on this day."""
        return b"%straffic:%d" % (self._prefix, day)

    def outcomes(self, day: int) -> bytes:
        """String: 32 bytes for each invitation that ended on this day."""
        return b"%soutcomes:%d" % (self._prefix, day)


@functools.cache
def partition_keys(partition_count: int) -> tuple[PartitionKeys, ...]:
    """Return the keys of all partitions."""
    return tuple(PartitionKeys(tag) for tag in partition_tags(partition_count))


def volume(ledger: bytes) -> bytes:
    """Hash: what is out of a budget of many contacts, and what was promised; `take_volume.lua`. Under a
    tag of its own, so that a script that takes touches one cluster slot."""
    return b"aw:{volume-%s}:takes" % ledger.hex().encode("ascii")


def registry_meta() -> str:
    """Hash: revision."""
    return "aw:{registry}:meta"


def registry_documents(kind: str) -> str:
    """Hash: resource key -> JSON document."""
    return f"aw:{{registry}}:documents:{kind}"


def registry_op(op_id: str) -> str:
    """String: the first answer to an operation, kept for a day."""
    return f"aw:{{registry}}:operation:{op_id}"


def registry_audit(account: str) -> str:
    """Stream: one entry a changed document, field "line" (core.registry.audit)."""
    return f"aw:{{registry}}:audit:{account}"
