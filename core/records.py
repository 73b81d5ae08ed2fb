"""The stored shapes: what one contact, one plan and one outcome look like in bytes.

Decides: field order, widths and units of every binary record. The Lua twin of this page is
`core/timing_wheel/lua/record.lua`; a test packs on one side and reads on the other.

A contact record is one value in the partition's `contacts` hash. It holds all that changes about a
contact: consents, cap stamps, order tombstones, the events seen, and one reference per invitation.
What never changes about an invitation (its plan) and about an event (its body) is stored apart.

    header   23 B   version, next sequence, number of lines in the contact's consent log, number of
                    entries in each of the six sections
    consent  24 B   scope, purpose, medium, status, scope key, time, expiry
    stamp    18 B   ledger, unit tag, time: one send that a cap counts
    tombstone 16 B  order, event type number, time: a stop that outlives what it stopped
    history  17 B   kind, key, time, channel: a purchase, or that a rule on purchases has fired
    event    15 B   event key, disposition, time: accepted once
    reference 72 B  one invitation, see `Reference`

All integers are little-endian; times are epoch ms in six bytes.
"""

from __future__ import annotations

import enum
import struct

import msgspec
from msgspec.structs import astuple

from core.model import Reason, State

RECORD_VERSION = 3
NO_KEY = bytes(8)

HEADER = struct.Struct("<B6sIHHHHHH")
CONSENT = struct.Struct("<BBBB8s6s6s")
STAMP = struct.Struct("<4s8s6s")
TOMBSTONE = struct.Struct("<8sH6s")
HISTORY = struct.Struct("<B8s6sH")
EVENT_SEEN = struct.Struct("<8sB6s")
REFERENCE = struct.Struct("<6sBBBBBBBBHI6s6s8s8s8s8s6sBB")

_FIRST_ENDED = int(State.SENT)
_BOUNCED = frozenset({Reason.INVALID_RECIPIENT, Reason.TEMPORARY_RECIPIENT_ERROR})
_SECTIONS = (CONSENT, STAMP, TOMBSTONE, HISTORY, EVENT_SEEN, REFERENCE)

assert [layout.size for layout in (HEADER, *_SECTIONS)] == [23, 24, 18, 16, 17, 15, 72]

FLAG_HOLD_UNKNOWN = 1
"""An unknown outcome is held, not retried: the transport has no idempotency key (E17)."""
FLAG_FOLLOW_UP = 2
"""Not the first step of its run."""
FLAG_REVIEWED = 4
"""The order has been reviewed since it was sent; counted once (B37)."""
FLAG_STOPPED = 8
"""Something came that would have ended it, had a client not cancelled it before: it stays so (R44)."""
FLAG_FELL_BACK = 16
"""It was meant for another review platform and stayed on the own one (R47)."""
FLAG_ELSEWHERE = 32
"""It does not go to the contact: no withdrawal and no suppression of the contact ends it (R49)."""
FLAG_HEARD = 64
"""Something was heard of it in flight, which its outcome does not undo (R48)."""

BY_HAND = 0
"""Rule number of an invitation made by hand."""

KIND_SERVICE, KIND_PRODUCT = 1, 2
"""What a review request asks about, as bits; 0 in other messages. The numbers of the families."""


class HistoryKind(enum.IntEnum):
    """What a line of a contact's history says."""

    PURCHASE = 1
    """`key` is the order's."""
    REFUND = 2
    """The order with this key does not count."""
    FIRED = 3
    """A rule on purchases has fired; `key` is its number, little-endian."""


def pack48(value: int) -> bytes:
    """Return `value` in six little-endian bytes; 0 <= value < 2**48."""
    return value.to_bytes(6, "little")


def unpack48(raw: bytes) -> int:
    """Return the number in six little-endian bytes."""
    return int.from_bytes(raw, "little")


def member_of(contact_key: bytes, sequence: int, channel_number: int) -> bytes:
    """Return the wheel member: contact 8, sequence 6 (big-endian, to sort by age), channel 2."""
    return contact_key + sequence.to_bytes(6, "big") + channel_number.to_bytes(2, "big")


def member_parts(member: bytes) -> tuple[bytes, int, int]:
    """Return (contact key, sequence, channel number) of a wheel member."""
    return member[:8], int.from_bytes(member[8:14], "big"), int.from_bytes(member[14:16], "big")


class ConsentEntry(msgspec.Struct, frozen=True, gc=False):
    """One line of a contact's consent table: evidence, a withdrawal or a suppression.

    For the same (scope, scope_key, purpose, medium) stand at most one answer (GRANTED, DENIED), one
    PENDING, one CONFIRMED, one ASSUMED, one WITHDRAWN and one of each `Suppression`; the newer stays.
    Medium 0 means all media (of evidence and withdrawals those of DATA_FORWARDING only), and purpose 0,
    in a suppression, all purposes.
    """

    scope: int
    purpose: int
    medium: int
    status: int
    scope_key: bytes
    """8 bytes: zeros for the account, the channel number little-endian, or the order key."""
    time_ms: int
    expire_ms: int = 0
    """From this instant on evidence counts as none; 0: never."""


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """One send that a cap counts: `ledger` is the cap and what it counts per, `tag` message or order."""

    ledger: bytes
    tag: bytes
    time_ms: int


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """An order that an event of this type has ended: later plans for it are born cancelled (E7)."""

    order_key: bytes
    event_type_number: int
    time_ms: int


class History(msgspec.Struct, frozen=True, gc=False):
    """What triggers that look at the past need to know (R43)."""

    kind: int
    key: bytes
    time_ms: int
    channel_number: int


class EventSeen(msgspec.Struct, frozen=True, gc=False):
    """An event that was applied to this contact: applying it again changes nothing."""

    event_key: bytes
    disposition: int
    time_ms: int


class Reference(msgspec.Struct, gc=False):
    """All that changes about one invitation, and what the gate needs to decide on it.

    `mark` holds the claim tag (first 8 bytes of the claim token) while IN_FLIGHT, and once ended the
    instant it ended (six bytes) and the revision of the rule whose content was sent (two). `wait` and
    `template_mark` are one byte: the one until it has ended, the other from then on.
    """

    sequence: int
    state: int
    medium: int
    purpose: int
    step: int
    channel_number: int
    rule_number: int
    due_ms: int
    expire_ms: int
    event_key: bytes
    order_key: bytes
    message_key: bytes
    body_sequence: int
    reason: int = 0
    wait: int = 0
    attempts: int = 0
    flags: int = 0
    mark: bytes = NO_KEY
    priority: int = 0
    kinds: int = 0
    template_mark: int = 0
    """Which revision of its template was sent (`core/engine/said_template.py`); 0: not known."""

    @property
    def was_sent(self) -> bool:
        """Whether it is known to have gone out; what bounced did."""
        is_bounced = self.state == State.NOT_DELIVERED and self.reason in _BOUNCED
        return is_bounced or self.state in (State.SENT, State.DELIVERED)

    @property
    def settle_ms(self) -> int:
        """When it ended; 0 while it has not."""
        return unpack48(self.mark[:6]) if self.state >= State.SENT else 0

    @property
    def content_revision(self) -> int:
        """Revision of the rule whose content was sent, modulo 2**16; 0 while nothing was (D1)."""
        return unpack48(self.mark[6:]) if self.was_sent else 0


class ContactRecord(msgspec.Struct, gc=False):
    """One contact, unpacked. Sections keep insertion order, oldest first."""

    next_sequence: int = 1
    consents: list[ConsentEntry] = []
    stamps: list[Stamp] = []
    tombstones: list[Tombstone] = []
    history: list[History] = []
    events: list[EventSeen] = []
    references: list[Reference] = []
    consent_lines: int = 0
    """Lines of the contact's consent log; the number of the newest (I4)."""


def pack_reference(ref: Reference) -> bytes:
    """Return the 72 bytes of one reference."""
    return REFERENCE.pack(
        pack48(ref.sequence), ref.state, ref.reason,
        ref.template_mark if ref.state >= _FIRST_ENDED else ref.wait, ref.step, ref.medium, ref.purpose,
        ref.attempts, ref.flags, ref.channel_number, ref.rule_number, pack48(ref.due_ms),
        pack48(ref.expire_ms), ref.mark, ref.event_key, ref.order_key, ref.message_key,
        pack48(ref.body_sequence), ref.priority, ref.kinds,
    )  # fmt: skip


def unpack_references(raw: bytes) -> list[Reference]:
    """Return the references in a section, oldest first."""
    return [
        Reference(
            sequence=unpack48(f[0]), state=f[1], reason=f[2], step=f[4], medium=f[5], purpose=f[6],
            wait=f[3] if f[1] < _FIRST_ENDED else 0,
            template_mark=f[3] if f[1] >= _FIRST_ENDED else 0,
            attempts=f[7], flags=f[8], channel_number=f[9], rule_number=f[10],
            due_ms=unpack48(f[11]), expire_ms=unpack48(f[12]), mark=f[13], event_key=f[14],
            order_key=f[15], message_key=f[16], body_sequence=unpack48(f[17]), priority=f[18],
            kinds=f[19],
        )
        for f in REFERENCE.iter_unpack(raw)
    ]  # fmt: skip


def pack_consent(entry: ConsentEntry) -> bytes:
    """Return the 24 bytes of one consent entry."""
    return CONSENT.pack(
        entry.scope, entry.purpose, entry.medium, entry.status, entry.scope_key,
        pack48(entry.time_ms), pack48(entry.expire_ms),
    )  # fmt: skip


def pack_contact(record: ContactRecord) -> bytes:
    """Return the stored value of a contact."""
    return b"".join((
        HEADER.pack(
            RECORD_VERSION, pack48(record.next_sequence), record.consent_lines,
            len(record.consents), len(record.stamps), len(record.tombstones), len(record.history),
            len(record.events), len(record.references),
        ),
        *map(pack_consent, record.consents),
        *(STAMP.pack(s.ledger, s.tag, pack48(s.time_ms)) for s in record.stamps),
        *(TOMBSTONE.pack(t[0], t[1], pack48(t[2])) for t in map(astuple, record.tombstones)),
        *(HISTORY.pack(h.kind, h.key, pack48(h.time_ms), h.channel_number) for h in record.history),
        *(EVENT_SEEN.pack(e.event_key, e.disposition, pack48(e.time_ms)) for e in record.events),
        *map(pack_reference, record.references),
    ))  # fmt: skip


def unpack_contact(raw: bytes) -> ContactRecord:
    """Return the contact in a stored value.

    Raises:
        AssertionError: the value was not written by this version.
    """
    version, next_sequence, consent_lines, *counts = HEADER.unpack_from(raw)
    assert version == RECORD_VERSION, f"contact record of version {version}"
    at = HEADER.size
    sections: list[bytes] = []
    for count, layout in zip(counts, _SECTIONS, strict=True):
        sections.append(raw[at : at + count * layout.size])
        at += count * layout.size
    assert at == len(raw), "a contact record ends with its last section"
    consents, stamps, stones, lines, events, references = sections
    return ContactRecord(
        next_sequence=unpack48(next_sequence),
        consents=[
            ConsentEntry(f[0], f[1], f[2], f[3], f[4], unpack48(f[5]), unpack48(f[6]))
            for f in CONSENT.iter_unpack(consents)
        ],
        stamps=[Stamp(f[0], f[1], unpack48(f[2])) for f in STAMP.iter_unpack(stamps)],
        tombstones=[Tombstone(f[0], f[1], unpack48(f[2])) for f in TOMBSTONE.iter_unpack(stones)],
        history=[History(f[0], f[1], unpack48(f[2]), f[3]) for f in HISTORY.iter_unpack(lines)],
        events=[EventSeen(f[0], f[1], unpack48(f[2])) for f in EVENT_SEEN.iter_unpack(events)],
        references=unpack_references(references),
        consent_lines=consent_lines,
    )


class PlanDetail(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What never changes about an invitation. Field order is the storage format: append only."""

    account: str
    channel: str
    rule: str
    revision: int
    step: str
    event_id: str
    event_type: str
    order_reference: str
    address: str
    locale: str
    zone: str
    zone_source: str
    base_ms: int
    first_due_ms: int
    accept_ms: int
    condition: str = ""
    parent_sequence: int = 0
    generation: int = 0
    registry_revision: int = 0
    """Of the snapshot it was planned with: what a stop of that revision or a later one ends (D17)."""
    carrier: str = ""
    """Id of the carrier it goes to instead of the contact; the address is looked up when due."""
    mode: int = 1
    """1 by a rule, 2 by hand."""
    content: tuple[str, str] = ("", "")
    """Subject and text of one made by hand."""
    is_hurried: bool = False
    """To be sent now: open windows do not hold it back, quiet hours do (R45)."""
    content_revision: int = 0
    """Revision of the rule whose content the message before had: a reminder repeats it (B19)."""
    platform: str = ""
    """Id of the review platform drawn for the order; empty: the own one (A29, R47)."""
    bucket: int = -1
    """What it was drawn by, 0 to 9,999; -1: nothing was drawn."""
    shares: str = ""
    """The weights that held then, as "own=6000 trustpilot=4000": with the bucket, the proof."""
    salt_number: int = 0
    """Which of the channel's salts keyed the draw, counted from 1; 0: nothing was drawn."""
    platform_template: str = ""
    """Template of the message before, where it led to a platform: a reminder repeats it (B19)."""
    template: str = ""
    """Id of the template, of one made by hand that is no usual message."""
    link: str = ""
    """Where the recipient of one made by hand confirms something."""
    template_revision: int = 0
    """Of the shop's own template that the message before had: a reminder repeats it (B19)."""
