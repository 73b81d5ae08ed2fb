"""Addresses that several contacts share, in memory: what they say to a message on its way (R4).

Decides: suppressions and withdrawals of the address, then its caps; what a message reserves there, and
what comes back.
Never: what the contact says; the claim has asked that before.

An address has a contact record of its own, that of a contact known by this address alone. It knows none
of the invitations that go to it, only their tags. So that the unit of an order is returned with the last
of its messages, each message that counts towards one leaves a second stamp, under a ledger that is the
beginning of the order's key: as long as one of those stands, the order's unit is in use.

Units: every `*_ms` is epoch milliseconds.
"""

from __future__ import annotations

import msgspec

from core.antispam import caps, consent
from core.antispam.caps import Verdict
from core.bounds import CAP_WINDOW_MAX_MS
from core.contact_ports import AddressAnswer, AddressCode, AddressItem
from core.gate import CapRule
from core.model import Reason
from core.records import NO_KEY, ConsentEntry, ContactRecord
from core.timing_wheel.memory_contact import ORDER_COUNTING_STATES
from core.timing_wheel.memory_partition import Partition


def mark(partition: Partition, item: AddressItem, now_ms: int) -> AddressAnswer:
    """Ask what the address says, and reserve if it lets the message pass."""
    record = partition.contacts.get(item.address_key) or ContactRecord()
    reason = _refusal(record.consents, item, now_ms)
    if reason is not Reason.NONE:
        return AddressAnswer(AddressCode.SUPPRESSED, reason)
    # What the message says is settled by now: here a cap can only defer or skip.
    asked = tuple(msgspec.structs.replace(cap, looks_again=False) for cap in item.caps)
    decision = caps.check(record.stamps, asked, item.tag, item.order_key, now_ms, item.expire_ms)
    if decision.verdict == Verdict.SKIP:
        return AddressAnswer(AddressCode.CAPPED, Reason.CAPPED)
    if decision.verdict == Verdict.DEFER:
        return AddressAnswer(AddressCode.DEFERRED, due_ms=decision.until_ms or 0)
    if decision.verdict == Verdict.EXPIRE:
        return AddressAnswer(AddressCode.EXPIRED, Reason.NO_SLOT)
    if any(cap.is_counted for cap in item.caps):
        counted = (*item.caps, *_holder(item))
        record.stamps = caps.reserve(record.stamps, counted, item.tag, item.order_key, now_ms)
        partition.contacts[item.address_key] = record
        partition.grown.add(item.address_key)
    return AddressAnswer(AddressCode.PASSED)


def release(partition: Partition, item: AddressItem) -> None:
    """Return what a message reserved; the order's unit with the last message that counted towards it."""
    record = partition.contacts.get(item.address_key)
    if record is None:
        return
    was_holding = item.order_key != NO_KEY and any(
        stamp.tag == item.tag and stamp.ledger == item.order_key[:4] for stamp in record.stamps
    )
    kept = [stamp for stamp in record.stamps if stamp.tag != item.tag]
    is_used = any(stamp.ledger == item.order_key[:4] for stamp in kept) or any(
        ref.order_key == item.order_key and ref.state in ORDER_COUNTING_STATES
        for ref in record.references
    )
    if was_holding and not is_used:
        kept = [stamp for stamp in kept if stamp.tag != item.order_key]
    record.stamps = kept


def _refusal(entries: list[ConsentEntry], item: AddressItem, now_ms: int) -> Reason:
    asked = (item.channel_number, item.order_key, item.purpose, item.medium)
    reason = consent.suppression(entries, *asked)
    if reason is not Reason.NONE:
        return reason
    is_withdrawn = consent.decide(entries, *asked, now_ms)[1] == Reason.CONSENT_WITHDRAWN
    return Reason.UNSUBSCRIBED if is_withdrawn else Reason.NONE


def _holder(item: AddressItem) -> tuple[CapRule, ...]:
    """Return what remembers that this message counts towards its order's unit."""
    if item.order_key == NO_KEY or not any(c.is_order_unit and c.is_counted for c in item.caps):
        return ()
    return (CapRule(item.order_key[:4], 1, CAP_WINDOW_MAX_MS, False, False, 0, is_checked=False),)
