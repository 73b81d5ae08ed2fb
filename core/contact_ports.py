"""The part of the store's port that is about people: consents, suppressions, addresses, feedback,
erasure, and the budgets that no single contact has.

Decides: the contract of each operation; `core.ports.Store` is made of it, and the same conformance
suite runs over it. Units: every `*_ms` is epoch milliseconds, or a span where the name says so.

Who is asked where. A contact's consents, suppressions and stamps lie in its record, and the claim
script decides on them. What holds for an *address* that several contacts share (a phone number of a
household, R4) lies in a record of its own under the address' key, in the address' partition: it is
asked after the claim, as the last step before the hand-over ("a send starts = its claim or mark", R12).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from core.gate import CapRule
from core.records import NO_KEY, ConsentEntry


class ConsentLine(msgspec.Struct, frozen=True):
    """One line for a contact's consent log, and what it does to the table the gate reads.

    `status` is a `ConsentStatus` or a `Suppression`. GRANTED, CONFIRMED, DENIED, PENDING and ASSUMED are
    evidence, WITHDRAWN a withdrawal (R17); a suppression stands beside them; LIFTED takes away every
    suppression of exactly this scope, purpose and medium.
    """

    scope: int
    purpose: int
    """0: every purpose; only in suppressions and LIFTED."""
    medium: int
    """0: every medium; only in suppressions and LIFTED."""
    status: int
    time_ms: int
    """When it was said; capped at the time of the write."""
    scope_key: bytes = NO_KEY
    expire_ms: int = 0
    """From this instant on the evidence counts no more; 0: never."""
    document: bytes = b""
    """msgpack of the evidence (`core.engine.consents.ConsentDocument`), kept with the line."""


def entry_of(line: ConsentLine, now_ms: int) -> ConsentEntry:
    """Return the entry of the table that a line writes: nothing was said later than it is written."""
    return ConsentEntry(
        line.scope, line.purpose, line.medium, line.status, line.scope_key,
        min(line.time_ms, now_ms), line.expire_ms,
    )  # fmt: skip


class LoggedLine(msgspec.Struct, frozen=True, array_like=True):
    """A line as the log keeps it. Field order is the storage format: append only."""

    number: int
    """Counts a contact's lines from 1; with the contact it names the line for ever."""
    scope: int
    purpose: int
    medium: int
    status: int
    scope_key: bytes
    time_ms: int
    expire_ms: int
    write_ms: int
    document: bytes


class ConsentsWritten(msgspec.Struct, frozen=True):
    """What a write of consents has done."""

    numbers: tuple[int, ...]
    """Of the lines, in order."""
    ended: tuple[bytes, ...] = ()
    """Members of waiting invitations that it ended."""
    in_flight: tuple[bytes, ...] = ()
    """Members that it covers and that had been claimed before: they may still arrive (R12)."""


class AddressItem(msgspec.Struct, frozen=True):
    """One claimed message on its way to an address that is not its contact's own key (R4).

    Of the caps, `looks_again` and `is_replace` say nothing here: a full cap skips or defers.
    """

    address_key: bytes
    tag: bytes
    """8 bytes naming the message among all that go to the address."""
    order_key: bytes
    purpose: int
    medium: int
    channel_number: int
    expire_ms: int
    caps: tuple[CapRule, ...] = ()


class AddressCode(enum.IntEnum):
    """What the address says to a message."""

    PASSED = 0
    SUPPRESSED = 1
    CAPPED = 2
    """A cap that skips is full."""
    DEFERRED = 3
    """A cap is full until `due_ms`."""
    EXPIRED = 4
    """A cap is full for longer than the message lives."""


class AddressAnswer(msgspec.Struct, frozen=True):
    """Verdict on one address item. But for PASSED nothing was reserved."""

    code: int
    reason: int = 0
    """`Reason` of what ends for it."""
    due_ms: int = 0


class FeedbackKind(enum.IntEnum):
    """What is heard of a message after it was sent. Numbers as in the API."""

    UNSPECIFIED = 0
    DELIVERED = 1
    HARD_BOUNCED = 2
    """The address does not exist, or never takes mail."""
    SOFT_BOUNCED = 3
    """It did not arrive this time."""
    COMPLAINED = 4
    """The recipient called it unwanted."""
    OPENED = 5
    CLICKED = 6
    REVIEWED = 7
    UNSUBSCRIBED = 8
    RESOLVED_SENT = 9
    """An operator found that a message of unknown outcome was sent (R48)."""
    RESOLVED_NOT_SENT = 10
    """An operator found that it was not."""


NOTE_FEEDBACK = 16
"""Code of a note that says what was heard: this and the `FeedbackKind`. Its time is the feedback's, its
ledger that of the note before."""


class Feedback(msgspec.Struct, frozen=True):
    """What is heard of one message."""

    member: bytes
    kind: int
    time_ms: int
    reason: int = 0
    """`Reason` where it ends NOT_DELIVERED."""
    lines: tuple[ConsentLine, ...] = ()
    """Suppressions that follow from it, written in the same step."""


class FeedbackAnswer(msgspec.Struct, frozen=True):
    """What became of one feedback. `state` 0: no such invitation."""

    state: int
    is_new: bool = False
    """False: heard before, nothing changed."""
    ended: tuple[bytes, ...] = ()
    in_flight: tuple[bytes, ...] = ()


CHANNEL_COUNTS = ("sent", "complained", "hard_bounced")
"""What is counted by channel, medium and day (g6)."""


class Erased(msgspec.Struct, frozen=True):
    """What is left to do after a contact's own partition has forgotten it: keys elsewhere."""

    event_keys: tuple[bytes, ...]
    order_keys: tuple[bytes, ...]
    cancelled: tuple[bytes, ...]
    in_flight: tuple[bytes, ...]


class VolumeAnswer(msgspec.Struct, frozen=True):
    """What a budget gives: the first `granted` asked for may go; the others not before `wakes`."""

    granted: int
    wakes: tuple[int, ...] = ()
    """For each not granted, in order: when to ask again, epoch ms, ascending."""


class ContactStore(Protocol):
    """What a store does for people and budgets. Owner-free, idempotent where not said otherwise."""

    # Consents ------------------------------------------------------------------------------------

    async def write_consents(
        self, partition: int, contact_key: bytes, lines: Sequence[ConsentLine], now_ms: int
    ) -> ConsentsWritten:
        """Append lines to the contact's log and bring its table up to date, in one step.

        A withdrawal or suppression ends, in the same step, every waiting invitation that it covers
        (SKIPPED; UNSUBSCRIBED for WITHDRAWN and UNSUBSCRIBED, else SUPPRESSED). A repetition appends
        again: the log says what was told, each time.
        """

    async def consent_log(
        self, partition: int, contact_key: bytes, after: int = 0, limit: int = 1_000
    ) -> list[LoggedLine]:
        """Return the lines of a contact with numbers above `after`, oldest first."""

    # Addresses -----------------------------------------------------------------------------------

    async def mark_addresses(
        self, partition: int, items: Sequence[AddressItem], now_ms: int
    ) -> list[AddressAnswer]:
        """Ask what addresses say, and reserve, in order: suppressions, withdrawals (as UNSUBSCRIBED),
        then caps. What a tag has reserved never stands in its own way and is not reserved twice."""

    async def release_addresses(
        self, partition: int, items: Sequence[AddressItem], now_ms: int
    ) -> None:
        """Return what was reserved for messages that were certainly not handed over (R25). The unit of
        an order stays while another message counts towards it. Idempotent; wakes nobody."""

    # Feedback ------------------------------------------------------------------------------------

    async def record_feedback(
        self, partition: int, feedback: Sequence[Feedback], now_ms: int
    ) -> list[FeedbackAnswer]:
        """Note what is heard of sent messages; move SENT, DELIVERED, NOT_DELIVERED and UNKNOWN among
        each other (R6, R48); write the suppressions that follow, once per kind.

        DELIVERED moves SENT and UNKNOWN; bounces move those and DELIVERED to NOT_DELIVERED, and end the
        follow-ups that wait (CANCELLED PARENT_NOT_DELIVERED); a resolution moves UNKNOWN alone, and one
        that it was not sent returns its reservations. All else leaves the state, but UNKNOWN becomes
        DELIVERED: it has evidently arrived. Too early (DELIVERED and SOFT_BOUNCED of what waits or is in
        flight) and too late (a resolution of what is not UNKNOWN) change nothing, and may be said again.
        What has ended otherwise keeps its state.
        """

    async def channel_counts(
        self, partitions: Sequence[int], days: Sequence[int]
    ) -> dict[tuple[int, int], dict[str, int]]:
        """Return sums over the partitions and epoch days: (channel number, medium) ->
        {"sent", "complained", "hard_bounced"}, each day that on which it was heard. Kept for
        `bounds.CHANNEL_COUNT_DAYS`."""

    # Erasure -------------------------------------------------------------------------------------

    async def erase_contact(self, partition: int, contact_key: bytes, now_ms: int) -> Erased:
        """Forget the contact in its partition: what waits ends CANCELLED (ERASED), all else goes; left
        are the key with one ERASED suppression for each purpose that needs consent, suppressions that
        nothing ends, what is in flight (as bare references, with the reason ERASED), and, until
        `finish_erasure`, the keys of `Erased`. A contact that is not known is erased all the same.

        A repetition answers what is still to be done, and erases what has come since.
        """

    async def finish_erasure(self, partition: int, contact_key: bytes) -> None:
        """Drop what `erase_contact` kept for going on after a crash."""

    async def forget_events(self, keys: Mapping[int, Sequence[bytes]], now_ms: int) -> None:
        """Drop marks of events from the directory."""

    async def forget_orders(
        self, keys: Mapping[int, Sequence[bytes]], contact_key: bytes, now_ms: int
    ) -> None:
        """Take a contact out of the directory entries of these orders and aliases; tombstones stay."""

    async def forget_facts(
        self, partition: int, contact_key: bytes, facts: Sequence[bytes]
    ) -> None:
        """Forget what a contact's invitations were told by events of somebody else, who is erased.

        Args:
            facts: each whole, as stored: see `core.timer_records.split_facts`. Idempotent.
        """

    # Budgets of many contacts ----------------------------------------------------------------------

    async def take_volume(
        self, ledger: bytes, token: bytes, count: int, limit: int, window_ms: int, now_ms: int
    ) -> VolumeAnswer:
        """Take up to `count` from a budget of `limit` in any window (R29); never more is out than
        that. The same token gives the first answer again within the window. A limit of 0 grants nothing
        and promises nothing.

        Wakes are when tokens will be free that nobody else was promised, one `window / limit` apart at
        least. They reserve nothing: who asks first gets what is free.
        """

    async def give_back_volume(self, ledger: bytes, token: bytes, count: int) -> None:
        """Return what a token took and did not use: `count` in all, also if said in several calls; so a
        repetition returns nothing more."""

    # Reading all ---------------------------------------------------------------------------------

    async def scan_details(
        self, partition: int, cursor: int, limit: int
    ) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return (next cursor, 0 at the end; [(member, detail)]): every plan that is there from the
        beginning to the end of a scan, some perhaps twice."""
