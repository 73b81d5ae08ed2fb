"""Second thoughts of an operator: a cancelled or failed invitation waits again, a waiting one goes now.

Decides: what may come back and as what (R8, R44), and what may be hurried (R45).
Never: lets any past a gate: what decides when an invitation is due decides on these too.

What comes back is a new invitation of the next generation, with the same plan and event: a cancelled one
for its own time, which must lie ahead; a failed one for now, with as long to live as it had at first.
The former one stays as it ended; it still keeps its order from being asked by a rule.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from core.clock import Clock
from core.engine.horizon import Horizon
from core.engine.identity import Identity
from core.engine.judge import verdict_of
from core.engine.pending import Pending
from core.engine.placement import Placement
from core.engine.reader import InvitationView, Reader
from core.engine.stand_in import MODE_BY_HAND, stops_by_hand
from core.errors import FailedPrecondition, NotFound
from core.gate import Lane, Source
from core.model import CONSENT_PURPOSES, Disposition, Event, Reason, State, WaitReason
from core.ports import Commit, Move, Plan, Store, Waiting
from core.records import (
    FLAG_ELSEWHERE,
    FLAG_FELL_BACK,
    FLAG_FOLLOW_UP,
    FLAG_HOLD_UNKNOWN,
    FLAG_STOPPED,
    NO_KEY,
    ContactRecord,
    PlanDetail,
    Reference,
    member_of,
    member_parts,
)
from core.registry.registry import Registry
from core.registry.snapshot import FROZEN, Snapshot

_HANDED_OVER = frozenset({
    State.IN_FLIGHT, State.SENT, State.DELIVERED, State.NOT_DELIVERED, State.UNKNOWN,
})  # fmt: skip
_FINAL = frozenset({Reason.RULE_DELETED, Reason.RULE_STOPPED})
"""What ends a rule's invitations for good; what else configuration says is asked again when due."""

_FLAGS_KEPT = FLAG_HOLD_UNKNOWN | FLAG_FOLLOW_UP | FLAG_ELSEWHERE | FLAG_FELL_BACK

_detail = msgspec.msgpack.Decoder(PlanDetail)
_event = msgspec.msgpack.Decoder(Event)
_encode = msgspec.msgpack.Encoder().encode


class SecondThoughts:
    """Reinstates and hurries the invitations of one store.

    Args:
        on_moved: called when something has become due now.
    """

    def __init__(
        self, store: Store, registry: Registry, identity: Identity, placement: Placement,
        pending: Pending, horizon: Horizon, reader: Reader, clock: Clock,
        on_moved: Callable[[], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._identity = identity
        self._placement = placement
        self._pending = pending
        self._horizon = horizon
        self._reader = reader
        self._clock = clock
        self._on_moved = on_moved

    async def _read(self, account: str, member: bytes) -> tuple[Waiting, PlanDetail]:
        """Return all that is known of an invitation of the account.

        Raises:
            NotFound: there is none of this name.
        """
        await self._reader.get(account, member)
        partition = self._placement.partition(member)
        waiting = (await self._store.read({partition: [member]}))[partition][0]
        if waiting is None:
            raise NotFound("no such invitation in this account", field="name")
        return waiting, _detail.decode(waiting.detail)

    # Reinstate (R44) ----------------------------------------------------------------------------

    async def reinstate(
        self, account: str, member: bytes, *, validate_only: bool = False
    ) -> InvitationView:
        """Let an invitation that a client cancelled wait again; return the new one.

        Once for each: repeated, it answers the one that came back, as it stands.

        Raises:
            NotFound: there is none of this name in the account.
            FailedPrecondition: it ended otherwise, its time has come, or its order, rule or contact
                was ended since.
        """
        return await self._bring_back(account, member, self._require_cancelled, validate_only)

    async def replay(
        self, account: str, member: bytes, *, validate_only: bool = False
    ) -> InvitationView:
        """Let an invitation that has failed wait again, due now; return the new one.

        Once for each: repeated, it answers the one that came back, as it stands.

        Raises:
            NotFound: there is none of this name in the account.
            FailedPrecondition: it has not failed, nothing is left to send, or its order, rule or contact
                was ended since.
        """
        return await self._bring_back(account, member, self._require_failed, validate_only)

    async def _bring_back(
        self, account: str, member: bytes, require: Callable[[Waiting, PlanDetail], None],
        validate_only: bool,
    ) -> InvitationView:  # fmt: skip
        waiting, detail = await self._read(account, member)
        record = await self._placement.record(member[:8])
        key = self._identity.reinstated_key(member)
        before = next((ref for ref in record.references if ref.event_key == key), None)
        if before is not None:
            return await self._reader.get(account, _member(member, before))
        await self._registry.refresh()
        snapshot = self._registry.snapshot
        require(waiting, detail)
        self._require_rule(snapshot, waiting.reference, detail)
        stops = self._stops(snapshot, waiting.reference, detail)
        await self._require_order(waiting.reference, record, stops)
        if validate_only:
            return await self._reader.get(account, member)
        plan = self._plan(snapshot, waiting.reference, detail, stops)
        answer = await self._placement.commit(
            Commit(
                event_key=key,
                contact_key=member[:8],
                disposition=Disposition.PLANNED,
                body=waiting.body,
                event_time_ms=_event.decode(waiting.body).occur_ms,
                plans=(plan,),
                is_primary=False,
            )
        )
        return await self._reader.get(account, answer.plans[0].member)

    def _require_cancelled(self, waiting: Waiting, detail: PlanDetail) -> None:
        ref = waiting.reference
        if (ref.state, ref.reason) != (State.CANCELLED, Reason.BY_CLIENT):
            hint = (
                "; add another with CreateInvitation"
                if ref.state in (State.SKIPPED, State.EXPIRED)
                else ""
            )
            raise FailedPrecondition(
                "only an invitation that a client has cancelled can be reinstated; this one is "
                f"{_standing(ref)}{hint}",
                field="name",
            )
        if detail.first_due_ms <= self._clock.now_ms():
            raise FailedPrecondition(
                "its time has come while it was cancelled: only what is first due in the future can be "
                "reinstated; add another with CreateInvitation",
                field="name",
            )
        if not waiting.body:
            raise FailedPrecondition(
                "its contact was erased since: nothing is left of what it was about", field="name"
            )

    def _require_failed(self, waiting: Waiting, detail: PlanDetail) -> None:
        ref = waiting.reference
        if ref.state != State.FAILED:
            raise FailedPrecondition(
                f"only an invitation that has failed can be replayed; this one is {_standing(ref)}",
                field="name",
            )
        if not waiting.body:
            raise FailedPrecondition(
                "nothing is left of what it was about; add another with CreateInvitation",
                field="name",
            )

    def _require_rule(self, snapshot: Snapshot, ref: Reference, detail: PlanDetail) -> None:
        verdict = verdict_of(snapshot, ref, detail)
        if verdict is not None and verdict[1] in _FINAL:
            done = "deleted" if verdict[1] is Reason.RULE_DELETED else "stopped"
            raise FailedPrecondition(
                f"its rule {detail.rule} was {done} since ({verdict[1].name})", field="name"
            )

    def _stops(
        self, snapshot: Snapshot, ref: Reference, detail: PlanDetail
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if detail.mode == MODE_BY_HAND:
            return stops_by_hand(snapshot, detail.account, ref.kinds)
        rule = snapshot.rule_by_number(ref.rule_number)
        return snapshot.stop_numbers(rule, ref.kinds) if rule is not None else ((), ())

    async def _require_order(
        self, ref: Reference, record: ContactRecord, stops: tuple[tuple[int, ...], tuple[int, ...]]
    ) -> None:
        """Refuse what an event has ended since, or what was asked otherwise."""
        reasons = dict(zip(*stops, strict=True))
        ended = {t.event_type_number for t in record.tombstones if t.order_key == ref.order_key}
        known = await self._placement.order(ref.order_key)
        ended |= {number for number, _ in known.tombstones}
        why = next((Reason(reasons[number]).name for number in sorted(ended & reasons.keys())), "")
        if why or ref.flags & FLAG_STOPPED:
            told = f" ({why})" if why else ""
            raise FailedPrecondition(
                f"an event has ended its order or run since{told}", field="name"
            )
        if any(_asks_the_same(ref, other) for other in record.references):
            raise FailedPrecondition(
                "its order was asked otherwise since (DUPLICATE)", field="name"
            )

    def _plan(
        self, snapshot: Snapshot, ref: Reference, detail: PlanDetail,
        stops: tuple[tuple[int, ...], tuple[int, ...]],
    ) -> Plan:  # fmt: skip
        now_ms, generation = self._clock.now_ms(), detail.generation + 1
        due_ms, expire_ms = detail.first_due_ms, ref.expire_ms
        if ref.state == State.FAILED:
            due_ms, expire_ms = now_ms, now_ms + max(1, ref.expire_ms - detail.first_due_ms)
        new = msgspec.structs.replace(
            detail, generation=generation, first_due_ms=due_ms, accept_ms=now_ms,
            registry_revision=snapshot.revision, is_hurried=False,
        )  # fmt: skip
        return Plan(
            medium=ref.medium, purpose=ref.purpose, step=ref.step,
            channel_number=ref.channel_number, rule_number=ref.rule_number,
            due_ms=due_ms, expire_ms=expire_ms, order_key=ref.order_key,
            message_key=self._identity.next_generation_key(ref.message_key, generation),
            detail=_encode(new), flags=ref.flags & _FLAGS_KEPT,
            priority=ref.priority,
            needs_consent=ref.purpose in CONSENT_PURPOSES and not detail.carrier,
            stop_types=stops[0], stop_reasons=stops[1], kinds=ref.kinds,
        )  # fmt: skip

    # Send now (R45) -----------------------------------------------------------------------------

    async def send_now(
        self, account: str, member: bytes, *, validate_only: bool = False
    ) -> InvitationView:
        """Make a waiting invitation due now; repeated, it changes nothing more.

        Raises:
            NotFound: there is none of this name in the account.
            FailedPrecondition: it does not wait, its rule is frozen or off, or its time is over.
        """
        waiting, detail = await self._read(account, member)
        ref, now_ms = waiting.reference, self._clock.now_ms()
        if detail.is_hurried and ref.state in _HANDED_OVER:
            return await self._reader.get(account, member)
        await self._registry.refresh()
        self._require_waiting(ref, detail, now_ms)
        if validate_only:
            return await self._reader.get(account, member)
        source = self._source(member, ref)
        hurried = _encode(msgspec.structs.replace(detail, is_hurried=True))
        await self._pending.move(
            self._placement.partition(member), [Move(member, source, now_ms, detail=hurried)]
        )
        self._on_moved()
        view = await self._reader.get(account, member)
        if not view.detail.is_hurried:
            # It went, or was ended, between the look and the move.
            self._require_waiting(view.reference, view.detail, now_ms)
        return view

    def _source(self, member: bytes, ref: Reference) -> Source:
        """Return where it is indexed. What was held back stands in the deferred lane; of the rest the
        wheel knows, and a slot that it does not know is tidied later."""
        if ref.wait != WaitReason.NONE:
            return Source(Lane.DEFERRED)
        return self._horizon.source_of(self._placement.partition(member), member, ref.due_ms)

    def _require_waiting(self, ref: Reference, detail: PlanDetail, now_ms: int) -> None:
        if ref.state != State.SCHEDULED:
            raise FailedPrecondition(
                f"only a waiting invitation can be sent now; this one is {_standing(ref)}",
                field="name",
            )
        verdict = verdict_of(self._registry.snapshot, ref, detail)
        if verdict is FROZEN or ref.wait == WaitReason.FROZEN:
            raise FailedPrecondition(
                f"its rule {detail.rule} is FROZEN; resume it first", field="name"
            )
        is_complained = self._registry.snapshot.is_held_back(
            ref.channel_number, ref.medium, ref.purpose
        )
        if ref.wait == WaitReason.COMPLAINTS or (is_complained and not detail.carrier):
            raise FailedPrecondition(
                f"too many complaints hold back channel {detail.channel}; reset its breaker first "
                "(ResetComplaintBreaker)",
                field="name",
            )
        if verdict is not None:
            raise FailedPrecondition(
                f"the configuration does not let it go as it stands ({verdict[1].name}); sent now it "
                "would end",
                field="name",
            )
        if now_ms >= ref.expire_ms:
            raise FailedPrecondition("its time has run out (TOO_LATE)", field="name")


def _asks_the_same(ref: Reference, other: Reference) -> bool:
    """Return whether another invitation asks the same of the same order, or has."""
    return (
        other.sequence != ref.sequence
        and ref.order_key != NO_KEY
        and other.order_key == ref.order_key
        and bool(other.kinds & ref.kinds)
        and (other.step, other.medium) == (ref.step, ref.medium)
        and (other.state == State.SCHEDULED or other.state in _HANDED_OVER)
    )


def _member(cancelled: bytes, ref: Reference) -> bytes:
    return member_of(member_parts(cancelled)[0], ref.sequence, ref.channel_number)


def _standing(ref: Reference) -> str:
    why = f" ({Reason(ref.reason).name})" if ref.reason else ""
    return f"{State(ref.state).name}{why}"
