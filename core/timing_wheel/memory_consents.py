"""What is told about consent, in one contact in memory: the table, the log, and what ends by it.

Decides: what joins table and log, and which invitations a withdrawal or suppression ends (R18, R19).
Never: which entry of the table counts; that is the kernel's (`core/antispam/consent.py`).

Units: every `*_ms` is epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.antispam import consent
from core.contact_ports import ConsentLine, ConsentsWritten, LoggedLine, entry_of
from core.model import ConsentStatus, Purpose, Reason, State, Suppression
from core.records import FLAG_ELSEWHERE, ConsentEntry, ContactRecord, Reference
from core.timing_wheel import memory_contact as contacts
from core.timing_wheel.memory_partition import Partition


def add_line(
    partition: Partition, contact_key: bytes, entry: ConsentEntry, document: bytes, now_ms: int,
    meant: ConsentEntry | None = None,
) -> int:  # fmt: skip
    """Write one line to table and log of a known contact; return its number.

    Args:
        meant: what joins the table, if it is another than what is logged.
    """
    record = partition.contacts[contact_key]
    partition.grown.add(contact_key)
    record.consents = consent.merge(record.consents, meant or entry)
    record.consent_lines += 1
    partition.consent_log.setdefault(contact_key, []).append(
        LoggedLine(
            record.consent_lines, entry.scope, entry.purpose, entry.medium, entry.status,
            entry.scope_key, entry.time_ms, entry.expire_ms, now_ms, document,
        )
    )  # fmt: skip
    return record.consent_lines


def write(
    partition: Partition, contact_key: bytes, lines: Sequence[ConsentLine], now_ms: int
) -> ConsentsWritten:
    """Write lines in order, each with what it ends; the contact may have been unknown before."""
    record = partition.contacts.setdefault(contact_key, ContactRecord())
    numbers: list[int] = []
    ended: list[bytes] = []
    in_flight: dict[bytes, None] = {}
    for line in lines:
        entry = entry_of(line, now_ms)
        meant = consent.as_last_word(record.consents, entry, now_ms)
        numbers.append(add_line(partition, contact_key, entry, line.document, now_ms, meant))
        reason = ending(entry)
        if reason is Reason.NONE:
            continue

        def is_meant(ref: Reference, entry: ConsentEntry = entry) -> bool:
            return is_ended(record, entry, ref, now_ms)

        for ref in record.references:
            if ref.state == State.IN_FLIGHT and is_meant(ref):
                in_flight[contacts.member(contact_key, ref)] = None
        refs = partition.end_waiting(contact_key, is_meant, (State.SKIPPED, reason), now_ms)
        ended += [contacts.member(contact_key, ref) for ref in refs]
    return ConsentsWritten(tuple(numbers), tuple(ended), tuple(in_flight))


def ending(entry: ConsentEntry) -> Reason:
    """Return as what invitations end by such an entry, NONE if they do not.

    Without consent to forward data they stay on the own platform: that ends nothing (R47).
    """
    if consent.is_evidence(entry.status) or entry.purpose == Purpose.DATA_FORWARDING:
        return Reason.NONE
    is_own_word = entry.status in (ConsentStatus.WITHDRAWN, Suppression.UNSUBSCRIBED)
    return Reason.UNSUBSCRIBED if is_own_word else Reason.SUPPRESSED


def is_ended(record: ContactRecord, entry: ConsentEntry, ref: Reference, now_ms: int) -> bool:
    """Return whether an entry of the table ends an invitation: it covers it, and nothing newer has
    outdone it. What does not go to the contact is none of the contact's business (R49)."""
    asked = (ref.channel_number, ref.order_key, ref.purpose, ref.medium)
    if ref.flags & FLAG_ELSEWHERE or not consent.covering(entry, *asked):
        return False
    if entry.status == ConsentStatus.WITHDRAWN:
        return consent.decide(record.consents, *asked, now_ms)[1] == Reason.CONSENT_WITHDRAWN
    return consent.suppression(record.consents, *asked) is not Reason.NONE
