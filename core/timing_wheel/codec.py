"""Arguments and answers of the scripts, as bytes.

Decides: nothing; it is the Python half of the layouts that the script headers draw.
Cost: one `struct` call per item each way; this is the hot path.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from core.gate import CapRule, ClaimAnswer, ClaimItem
from core.ports import (
    Commit,
    CommitAnswer,
    CommittedPlan,
    Guard,
    MarkAnswer,
    Move,
    OrderAnswer,
    Plan,
    SettleAnswer,
    Settlement,
)
from core.records import (
    HEADER,
    HISTORY,
    NO_KEY,
    REFERENCE,
    STAMP,
    ConsentEntry,
    Reference,
    member_of,
    pack48,
    pack_consent,
    unpack48,
    unpack_references,
)
from core.timer_records import Timer

_COMMIT_HEAD = struct.Struct("<8s8sBB6s8sHBBHBHHBBB")
_STOP_HEAD = struct.Struct("<8sBBHH")
_GUARD = struct.Struct("<IHBB6s6s6s")
_TIMER_HEAD = struct.Struct("<8sI8s6s6s6s")
_MOVE = struct.Struct("<16sB6s6s")
_PLAN_HEAD = struct.Struct("<BBBBBHI6s6s8x8s8s8sBBBBBH2s6sH15sB")
_STOP_TYPE = struct.Struct("<HB")
_COMMIT_ANSWER = struct.Struct("<BBHH")
_PLAN_ANSWER = struct.Struct("<6sBBB6sH")
_CLAIM_ITEM = struct.Struct("<16sBBBBBBB6s")
_CLAIM_ANSWER = struct.Struct("<BBBB6s")
_CAP = struct.Struct("<4sH6sB6s")
_SETTLEMENT = struct.Struct("<16sBBBB6sHB")
_MARK = struct.Struct("<8s8s8sH")
_NOTE = struct.Struct("<8s8sH6sH")
_TOMBSTONE = struct.Struct("<H6s")
_WOKEN = struct.Struct("<16s6s")
_LENGTH = struct.Struct("<I")

_encode = msgspec.msgpack.Encoder().encode

assert _CLAIM_ITEM.size == 29
assert _COMMIT_HEAD.size == 46
assert _PLAN_HEAD.size == 88
assert _PLAN_ANSWER.size == 17
assert _SETTLEMENT.size == 29


def pack_plan(plan: Plan, slot_index: int, event_key: bytes = NO_KEY) -> bytes:
    """Return the plan as `birth.lua` draws it."""
    stops, channel = plan.stop_types, plan.channel_number
    due = plan.due_ms.to_bytes(6, "little")
    head = _PLAN_HEAD.pack(
        plan.step, plan.medium, plan.purpose, 0, plan.flags, channel, plan.rule_number, due,
        plan.expire_ms.to_bytes(6, "little"), event_key, plan.order_key, plan.message_key,
        plan.priority, plan.kinds, plan.needs_consent, plan.state, plan.reason, slot_index,
        channel.to_bytes(2, "big"), due, channel, b"%015d" % plan.due_ms, len(stops),
    )  # fmt: skip
    if not stops:
        return head
    return head + b"".join(map(_STOP_TYPE.pack, stops, plan.stop_reasons))


def pack_consent_line(entry: ConsentEntry, document: bytes, now_ms: int) -> bytes:
    """Return one line for table and log: the entry, the length of what follows, and the msgpack of
    `LoggedLine` without its head and number, which the script gives it."""
    logged = _encode((
        entry.scope, entry.purpose, entry.medium, entry.status, entry.scope_key, entry.time_ms,
        entry.expire_ms, now_ms, document,
    ))  # fmt: skip
    return pack_consent(entry) + _LENGTH.pack(len(logged) - 1) + logged[1:]


def pack_commit(commit: Commit, plans: Sequence[bytes], now_ms: int) -> bytes:
    """Return the head argument that `commit.lua` draws; the plans are packed already."""
    head = _COMMIT_HEAD.pack(
        commit.contact_key, commit.event_key, commit.disposition, commit.is_primary,
        commit.event_time_ms.to_bytes(6, "little"), commit.tombstone_order, commit.tombstone_type,
        len(commit.consents), len(commit.stops), len(commit.plans), len(commit.history),
        len(commit.guards), len(commit.timers), commit.fires is not None,
        commit.facts_key is not None, len(commit.stamps),
    )  # fmt: skip
    parts = [head]
    if commit.fires is not None:
        parts.append(commit.fires[0] + pack48(commit.fires[1]))
    parts += [
        pack_consent_line(ConsentEntry(*line[:7]), line[7], now_ms) for line in commit.consents
    ]
    for ledger, tag, time_ms in commit.stamps:
        parts.append(STAMP.pack(ledger, tag, pack48(time_ms)))
    for stop in commit.stops:
        numbers = stop.rule_numbers
        kinds = stop.kinds | (128 if stop.has_comment else 0)
        parts.append(
            _STOP_HEAD.pack(stop.order_key, stop.reason, kinds, stop.channel_number, len(numbers))
        )
        parts.append(struct.pack(f"<{len(numbers)}I", *numbers))
    if commit.facts_key is not None:
        parts.append(commit.facts_key)
    for kind, key, time_ms, channel_number in commit.history:
        parts.append(HISTORY.pack(kind, key, pack48(time_ms), channel_number))
    parts += map(_pack_guard, commit.guards)
    parts += map(_pack_timer_head, commit.timers)
    parts += plans
    return b"".join(parts)


def _pack_guard(guard: Guard) -> bytes:
    return _GUARD.pack(
        guard.rule_number, guard.channel_number, guard.count, guard.is_multiple,
        pack48(guard.since_ms), pack48(guard.until_ms), pack48(guard.quiet_since_ms),
    )  # fmt: skip


def _pack_timer_head(timer: Timer) -> bytes:
    return _TIMER_HEAD.pack(
        timer.id, timer.rule_number, timer.key, pack48(timer.due_ms), pack48(timer.time_ms),
        pack48(timer.revision),
    )  # fmt: skip


def pack_move(move: Move, lane_index: int) -> bytes:
    """Return one move as `move.lua` draws it."""
    return _MOVE.pack(move.member, lane_index, pack48(move.due_ms), pack48(move.expire_ms))


def unpack_plans(
    raw: bytes, at: int, count: int, contact_key: bytes
) -> tuple[tuple[CommittedPlan, ...], int]:
    """Return `count` plan answers from `at` on, and where they end."""
    end = at + 17 * count
    if count == 1:
        sequence, state, reason, lane, due, channel = _PLAN_ANSWER.unpack_from(raw, at)
        number = int.from_bytes(sequence, "little")
        member = contact_key + number.to_bytes(6, "big") + channel.to_bytes(2, "big")
        due_ms = int.from_bytes(due, "little")
        return (CommittedPlan(number, state, reason, due_ms, lane, member),), end
    plans = tuple(
        CommittedPlan(
            sequence := unpack48(f[0]), f[1], f[2], unpack48(f[4]), f[3],
            member_of(contact_key, sequence, f[5]),
        )
        for f in _PLAN_ANSWER.iter_unpack(raw[at:end])
    )  # fmt: skip
    return plans, end


def unpack_commits(raw: bytes, commits: Sequence[Commit]) -> list[CommitAnswer]:
    """Return the answers of a commit call."""
    at = 0
    answers: list[CommitAnswer] = []
    for commit in commits:
        is_duplicate, disposition, plans, stopped = _COMMIT_ANSWER.unpack_from(raw, at)
        at += 6
        created: tuple[CommittedPlan, ...] = ()
        if plans:
            created, at = unpack_plans(raw, at, plans, commit.contact_key)
        ended: tuple[int, ...] = ()
        if stopped:
            ended = tuple(unpack48(raw[at + 6 * i : at + 6 * i + 6]) for i in range(stopped))
            at += 6 * stopped
        answers.append(CommitAnswer(is_duplicate == 1, disposition, created, ended))
    return answers


def pack_caps(caps: Sequence[CapRule]) -> bytes:
    """Return one cap set as `claim.lua` draws it."""
    return b"".join(
        _CAP.pack(
            cap.ledger,
            cap.limit,
            pack48(cap.window_ms),
            cap.is_order_unit
            | cap.is_skip << 1
            | cap.is_counted << 2
            | cap.is_checked << 3
            | cap.is_replace << 4
            | cap.looks_again << 5,
            pack48(cap.longest_deferral_ms),
        )
        for cap in caps
    )


def _claim_flags(item: ClaimItem) -> int:
    return (
        item.needs_consent | item.heeds_suppression << 1 | item.forwards_data << 2
        | item.fell_back << 3
    )  # fmt: skip


def pack_mark_item(item: ClaimItem) -> bytes:
    """Return one item argument of the second look."""
    return item.member + bytes((_claim_flags(item),))


def pack_claim_item(item: ClaimItem, lane_index: int, cap_set: int) -> bytes:
    """Return one item argument."""
    return _CLAIM_ITEM.pack(
        item.member, lane_index, item.action, _claim_flags(item), item.state, item.reason,
        item.wait, cap_set, item.due_ms.to_bytes(6, "little"),
    )  # fmt: skip


def unpack_claims(raw: bytes) -> list[ClaimAnswer]:
    """Return the answers of a claim call."""
    return [
        ClaimAnswer(f[0], f[1], f[2], int.from_bytes(f[4], "little"), f[3])
        for f in _CLAIM_ANSWER.iter_unpack(raw)
    ]


def pack_settlement(settlement: Settlement) -> bytes:
    """Return one settlement as `settle.lua` draws it; its plans follow it."""
    return _SETTLEMENT.pack(
        settlement.member, settlement.state, settlement.reason,
        settlement.releases_caps | (not settlement.was_tried) << 1,
        len(settlement.next_plans), settlement.due_ms.to_bytes(6, "little"),
        settlement.content_revision % 2**16, settlement.template_mark,
    )  # fmt: skip


def unpack_settlements(raw: bytes, settlements: Sequence[Settlement]) -> list[SettleAnswer]:
    """Return the answers of a settle call."""
    at = 0
    answers: list[SettleAnswer] = []
    for settlement in settlements:
        is_settled, plans, woken = raw[at], raw[at + 1], raw[at + 2]
        at += 3
        born: tuple[CommittedPlan, ...] = ()
        if plans:
            born, at = unpack_plans(raw, at, plans, settlement.member[:8])
        freed: tuple[tuple[bytes, int], ...] = ()
        if woken:
            freed = tuple(
                (f[0], unpack48(f[1])) for f in _WOKEN.iter_unpack(raw[at : at + 22 * woken])
            )
            at += 22 * woken
        answers.append(SettleAnswer(is_settled == 1, born, freed))
    return answers


def pack_mark(event_key: bytes, body_hash: bytes, contact_key: bytes, pair: int) -> bytes:
    """Return one event mark argument."""
    return _MARK.pack(event_key, body_hash, contact_key, pair)


def unpack_marks(raw: bytes) -> list[MarkAnswer]:
    """Return the answers of a mark call."""
    return [
        MarkAnswer(raw[at] == 1, raw[at + 1] == 1, raw[at + 2 : at + 10])
        for at in range(0, len(raw), 10)
    ]


def pack_note(
    order_key: bytes, contact_key: bytes, stop_event_type: int, time_ms: int, pair: int
) -> bytes:
    """Return one order note argument."""
    return _NOTE.pack(order_key, contact_key, stop_event_type, pack48(time_ms), pair)


def unpack_notes(raw: bytes) -> list[OrderAnswer]:
    """Return the answers of a note call."""
    answers: list[OrderAnswer] = []
    at = 0
    while at < len(raw):
        contacts, tombstones = raw[at], raw[at + 1]
        at += 2
        keys = tuple(raw[at + 8 * i : at + 8 * i + 8] for i in range(contacts))
        at += 8 * contacts
        ends = tuple(
            (number, unpack48(time))
            for number, time in _TOMBSTONE.iter_unpack(raw[at : at + 8 * tombstones])
        )
        at += 8 * tombstones
        answers.append(OrderAnswer(keys, ends))
    return answers


def find_reference(member: bytes, raw: bytes | None) -> Reference | None:
    """Return one invitation of a stored contact without unpacking the rest.

    Cost: one search among the references, which end the record.
    """
    if raw is None:
        return None
    first = len(raw) - HEADER.unpack_from(raw)[8] * REFERENCE.size
    wanted = member[13:7:-1]
    at = raw.find(wanted, first)
    while at >= 0:
        if (at - first) % REFERENCE.size == 0:
            return unpack_references(raw[at : at + REFERENCE.size])[0]
        at = raw.find(wanted, at + 1)
    return None
