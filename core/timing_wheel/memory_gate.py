"""The gate in memory: claim, second look, settle, recover, as pure changes of one partition.

Decides: the order of checks (R10, R12) and what each verdict changes.
Never: who may call; ownership and registry revision are checked by the store before.

Order of checks of a claim: does it wait (GONE), is it due (NOT_DUE), what the daemon asks for (END,
DEFER), expiry, suppressions, consent, consent to forward, caps. Whatever is answered CLAIMED, GONE,
ENDED, DEFERRED or PARKED leaves the lane it was read from; NOT_DUE and LOOK_AGAIN stay where they are.

Units: `now_ms` business clock, `deadline_ms` and `lease_now_ms` lease clock (E10), epoch ms.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.antispam import caps, consent
from core.antispam.caps import Decision, Verdict
from core.bounds import INVITATION_NOTES_MAX
from core.gate import ClaimAction, ClaimAnswer, ClaimCode, ClaimItem
from core.model import Purpose, Reason, State, WaitReason
from core.ports import SettleAnswer, Settlement
from core.records import (
    FLAG_FELL_BACK,
    FLAG_HEARD,
    FLAG_HOLD_UNKNOWN,
    ContactRecord,
    Reference,
    pack48,
)
from core.timing_wheel import memory_contact as contacts
from core.timing_wheel import memory_heard as heard
from core.timing_wheel.memory_partition import Lease, Partition

NOTE_CAPPED = 1
NOTE_SKIPPED_BY_CAP = 2
NOTE_REPLACED = 3


def claim(
    partition: Partition,
    token: bytes,
    items: Sequence[ClaimItem],
    now_ms: int,
    deadline_ms: int,
) -> list[ClaimAnswer]:
    """Decide on each entry in order, take those that pass; a known token gets its answer again."""
    known = partition.leases.get(token)
    if known is not None:
        return list(known.answers)
    lease = Lease(deadline_ms, {}, [])
    partition.leases[token] = lease
    for item in items:
        answer = _claim_one(partition, token, item, now_ms)
        lease.answers.append(answer)
        if answer.code == ClaimCode.CLAIMED:
            lease.members[item.member] = None
    return list(lease.answers)


def _claim_one(partition: Partition, token: bytes, item: ClaimItem, now_ms: int) -> ClaimAnswer:
    found = partition.found(item.member)
    lane = partition.lane(item.source)
    if found is None or found[2].state != State.SCHEDULED:
        lane.remove(item.member)
        return ClaimAnswer(ClaimCode.GONE)
    _, record, ref = found
    if ref.due_ms > now_ms:
        return ClaimAnswer(ClaimCode.NOT_DUE, State.SCHEDULED, due_ms=ref.due_ms)
    if item.action == ClaimAction.GATE:
        return _gate(partition, token, item, found, now_ms)
    lane.remove(item.member)
    if item.action != ClaimAction.PARK and (item.needs_consent or item.action == ClaimAction.DEFER):
        # For a reason that comes after expiry, suppressions and consent (R10).
        refusal = _refused(partition, item, record, ref, now_ms)
        if refusal is not None:
            return refusal
    if item.action == ClaimAction.END:
        return _ended(partition, item.member, item.state, item.reason, now_ms)
    if item.action == ClaimAction.PARK and now_ms < ref.expire_ms:
        partition.park(item.member, ref, item.wait)
        return ClaimAnswer(ClaimCode.PARKED, State.SCHEDULED, 0, ref.due_ms, ref.attempts)
    if item.action == ClaimAction.PARK:
        return _ended(partition, item.member, State.EXPIRED, Reason.TOO_LATE, now_ms)
    assert item.action == ClaimAction.DEFER
    if item.due_ms >= ref.expire_ms:
        return _ended(partition, item.member, State.EXPIRED, Reason.NO_SLOT, now_ms)
    return _deferred(partition, item.member, ref, item.due_ms, item.wait)


def _gate(
    partition: Partition, token: bytes, item: ClaimItem,
    found: tuple[bytes, ContactRecord, Reference], now_ms: int,
) -> ClaimAnswer:  # fmt: skip
    """Decide on a waiting, due entry that nothing else holds back."""
    contact_key, record, ref = found
    lane = partition.lane(item.source)
    refusal = _refused(partition, item, record, ref, now_ms)
    if refusal is not None:
        lane.remove(item.member)
        return refusal
    own_tag = caps.invitation_tag(ref.sequence)
    decision = caps.check(
        record.stamps, item.caps, own_tag, ref.order_key, now_ms, ref.expire_ms
    )  # fmt: skip
    if decision.verdict == Verdict.LOOK_AGAIN or (
        item.forwards_data and not _may_forward(record, ref, now_ms)
    ):
        return ClaimAnswer(ClaimCode.LOOK_AGAIN, State.SCHEDULED, 0, ref.due_ms, ref.attempts)
    lane.remove(item.member)
    if decision.verdict != Verdict.PASS:
        return _capped(partition, item.member, found, decision, now_ms)
    if item.caps:
        record.stamps = caps.reserve(record.stamps, item.caps, own_tag, ref.order_key, now_ms)
        partition.grown.add(contact_key)
    partition.take(ref, token)
    if item.fell_back:
        ref.flags |= FLAG_FELL_BACK
    return ClaimAnswer(ClaimCode.CLAIMED, State.IN_FLIGHT, due_ms=ref.due_ms, attempts=ref.attempts)


def _refused(
    partition: Partition, item: ClaimItem, record: ContactRecord, ref: Reference, now_ms: int
) -> ClaimAnswer | None:
    """Return what expiry, suppressions and consent refuse, having done it; None if they do not."""
    if now_ms >= ref.expire_ms:
        return _ended(partition, item.member, State.EXPIRED, Reason.TOO_LATE, now_ms)
    reason = _objection(item, record, ref, now_ms)
    if reason is Reason.NONE:
        return None
    return _ended(partition, item.member, State.SKIPPED, reason, now_ms)


def _objection(item: ClaimItem, record: ContactRecord, ref: Reference, now_ms: int) -> Reason:
    return consent.refusal(
        record.consents, ref.channel_number, ref.order_key, ref.purpose, ref.medium, now_ms,
        heeds_suppression=item.heeds_suppression, needs_consent=item.needs_consent,
    )  # fmt: skip


def _may_forward(record: ContactRecord, ref: Reference, now_ms: int) -> bool:
    return consent.decide(
        record.consents, ref.channel_number, ref.order_key, Purpose.DATA_FORWARDING, ref.medium,
        now_ms,
    )[0]  # fmt: skip


def _capped(
    partition: Partition, member: bytes, found: tuple[bytes, ContactRecord, Reference],
    decision: Decision, now_ms: int,
) -> ClaimAnswer:  # fmt: skip
    """Do what full caps say."""
    contact_key, record, ref = found
    until_ms = decision.until_ms or 0
    if decision.verdict == Verdict.SKIP:
        _note(partition, member, now_ms, 0, decision.ledger, NOTE_SKIPPED_BY_CAP)
        return _ended(partition, member, State.SKIPPED, Reason.CAPPED, now_ms)
    if decision.verdict == Verdict.EXPIRE:
        _note(partition, member, now_ms, until_ms, decision.ledger, NOTE_CAPPED)
        return _ended(partition, member, State.EXPIRED, Reason.NO_SLOT, now_ms)
    if decision.is_replace:
        rivals = [ref, *_waiting_for(partition, contact_key, record, decision.ledger)]
        best = max(rivals, key=lambda one: (one.priority, one.sequence))
        for one in rivals:
            if one is not best and one is not ref:
                _ended(
                    partition, contacts.member(contact_key, one), State.SKIPPED, Reason.REPLACED,
                    now_ms,
                )  # fmt: skip
        if best is not ref:
            _note(partition, member, now_ms, until_ms, decision.ledger, NOTE_REPLACED)
            return _ended(partition, member, State.SKIPPED, Reason.REPLACED, now_ms)
    _note(partition, member, now_ms, until_ms, decision.ledger, NOTE_CAPPED)
    return _deferred(partition, member, ref, until_ms, WaitReason.CAPPED)


def _waiting_for(
    partition: Partition, contact_key: bytes, record: ContactRecord, ledger: bytes
) -> list[Reference]:
    """Return the entries that wait for this cap: each waits for the one that its last note names."""
    return [
        ref
        for ref in record.references
        if ref.state == State.SCHEDULED
        and ref.wait == WaitReason.CAPPED
        and partition.notes.get(contacts.member(contact_key, ref), b"")[-5:-1] == ledger
    ]


def _note(
    partition: Partition, member: bytes, now_ms: int, until_ms: int, ledger: bytes, code: int
) -> None:
    note = pack48(now_ms) + pack48(until_ms) + ledger + bytes((code,))
    notes = partition.notes.get(member, b"") + note
    partition.notes[member] = notes[-len(note) * INVITATION_NOTES_MAX :]


def _ended(
    partition: Partition, member: bytes, state: int, reason: int, now_ms: int
) -> ClaimAnswer:
    found = partition.found(member)
    assert found is not None, "only a known entry can be ended"
    partition.end(member, found[2], state, reason, now_ms)
    partition.drop_idle_body(found[0], found[2].body_sequence)
    ref = found[2]
    return ClaimAnswer(ClaimCode.ENDED, state, reason, ref.due_ms, ref.attempts)


def _deferred(
    partition: Partition, member: bytes, ref: Reference, due_ms: int, wait: int
) -> ClaimAnswer:
    partition.defer(member, ref, due_ms, wait)
    return ClaimAnswer(ClaimCode.DEFERRED, State.SCHEDULED, 0, due_ms, ref.attempts)


# --- after the claim ----------------------------------------------------------------------------


def _in_flight(
    partition: Partition, token: bytes, member: bytes
) -> tuple[bytes, ContactRecord, Reference] | None:
    """Return the entry if it is in flight under this claim, else None: it was reclaimed (E2)."""
    lease = partition.leases.get(token)
    found = partition.found(member)
    if lease is None or member not in lease.members or found is None:
        return None
    ref = found[2]
    return found if ref.state == State.IN_FLIGHT and ref.mark == token[:8] else None


def _leave_lease(partition: Partition, token: bytes, member: bytes) -> None:
    lease = partition.leases[token]
    del lease.members[member]
    if not lease.members:
        del partition.leases[token]


def release(
    partition: Partition, contact_key: bytes, record: ContactRecord, ref: Reference, now_ms: int
) -> tuple[tuple[bytes, int], ...]:
    """Return reservations; of those that wait for a cap in which one was, wake the first (R25)."""
    woken: list[tuple[bytes, int]] = []
    for ledger in contacts.release_stamps(record, ref):
        first = contacts.first_of(_waiting_for(partition, contact_key, record, ledger))
        if first is not None:
            member = contacts.member(contact_key, first)
            partition.defer(member, first, now_ms, WaitReason.NONE)
            woken.append((member, now_ms))
    return tuple(woken)


def look_again(
    partition: Partition, token: bytes, items: Sequence[ClaimItem], now_ms: int
) -> list[bool]:
    """Return for each claimed entry whether it may still go (E4); end it if its consent is gone, or
    it has been suppressed; let it wait again if what it says may not be forwarded any more (R47)."""
    return [_look_again_one(partition, token, item, now_ms) for item in items]


def _look_again_one(partition: Partition, token: bytes, item: ClaimItem, now_ms: int) -> bool:
    found = _in_flight(partition, token, item.member)
    if found is None:
        return False
    contact_key, record, ref = found
    state, why = State.CANCELLED, ref.reason
    if not why:
        state, why = State.SKIPPED, _objection(item, record, ref, now_ms)
    if why:
        _leave_lease(partition, token, item.member)
        partition.end(item.member, ref, state, why, now_ms)
        partition.drop_idle_body(contact_key, ref.body_sequence)
        release(partition, contact_key, record, ref, now_ms)
    elif item.forwards_data and not _may_forward(record, ref, now_ms):
        _leave_lease(partition, token, item.member)
        ref.attempts = max(0, ref.attempts - 1)
        partition.put_back(item.member, ref, ref.due_ms, Reason.NONE)
        release(partition, contact_key, record, ref, now_ms)
        return False
    return not why


def settle(
    partition: Partition, token: bytes, settlements: Sequence[Settlement], now_ms: int
) -> list[SettleAnswer]:
    """Record outcomes in order; what is not in flight under this token any more is refused."""
    return [_settle_one(partition, token, settlement, now_ms) for settlement in settlements]


def _settle_one(
    partition: Partition, token: bytes, settlement: Settlement, now_ms: int
) -> SettleAnswer:
    member = settlement.member
    found = _in_flight(partition, token, member)
    if found is None:
        return SettleAnswer(False)
    contact_key, record, ref = found
    _leave_lease(partition, token, member)
    state, reason, plans = settlement.state, settlement.reason, settlement.next_plans
    if ref.reason:
        # An event has ended it in flight.
        ended = {"state": State.CANCELLED, "reason": ref.reason}
        plans = tuple(msgspec.structs.replace(plan, **ended) for plan in plans)
        if ref.reason == Reason.ERASED:
            plans = ()  # a plan tells of the contact
        if state in (State.SCHEDULED, State.FAILED):
            state, reason = State.CANCELLED, ref.reason
    next_plans = tuple(
        partition.create(contact_key, plan, ref.event_key, ref.body_sequence, False, now_ms)
        for plan in plans
    )
    if state == State.SCHEDULED:
        if not settlement.was_tried:
            ref.attempts = max(0, ref.attempts - 1)
        partition.put_back(member, ref, settlement.due_ms, reason)
    else:
        said = settlement.content_revision, settlement.template_mark
        partition.end(member, ref, state, reason, now_ms, *said)
        heard.catch_up(partition, contact_key, ref, member, now_ms)
    woken: tuple[tuple[bytes, int], ...] = ()
    if settlement.releases_caps:
        woken = release(partition, contact_key, record, ref, now_ms)
    partition.drop_idle_body(contact_key, ref.body_sequence)
    return SettleAnswer(True, next_plans, woken)


def recover(partition: Partition, lease_now_ms: int, now_ms: int) -> list[tuple[bytes, int, int]]:
    """Take back every claim whose deadline has come at `lease_now_ms`, the oldest first."""
    run_out = sorted(
        (lease.deadline_ms, token)
        for token, lease in partition.leases.items()
        if lease.deadline_ms <= lease_now_ms
    )
    recovered: list[tuple[bytes, int, int]] = []
    for _, token in run_out:
        for member in partition.leases.pop(token).members:
            found = partition.found(member)
            assert found is not None, "what is in flight is known"
            contact_key, _, ref = found
            was_heard = ref.flags & FLAG_HEARD and not ref.reason
            if was_heard or ref.flags & FLAG_HOLD_UNKNOWN:
                partition.end(member, ref, State.UNKNOWN, Reason.OUTCOME_UNKNOWN, now_ms)
                heard.catch_up(partition, contact_key, ref, member, now_ms)
                partition.drop_idle_body(contact_key, ref.body_sequence)
            elif ref.reason:
                partition.end(member, ref, State.CANCELLED, ref.reason, now_ms)
                partition.drop_idle_body(contact_key, ref.body_sequence)
            else:
                partition.put_back(member, ref, ref.due_ms, Reason.NONE)
            recovered.append((member, ref.state, ref.due_ms))
    return recovered
