"""What is heard of messages after they were sent, and what follows from it (g10, R18, R48).

Decides: which suppressions a kind of feedback means, whose they are, and what ends because of it.

    hard bounce    the address takes nothing any more over this medium, for no purpose
    complaint      no requests for reviews, no advertising over this medium, from the whole account
    unsubscribe    as by the link in the message
    review         reminders of the order end; so does a click where the platform reports no reviews

Never: which state a message has afterwards: the store moves it, in the step in which it writes the
suppressions and ends what they cover.

What went to a carrier says nothing about the customer, so it suppresses nothing (R49).

A phone number may belong to several contacts (R4), so what suppresses it is written to its own record
and to all of theirs as well, before the message's: a repetition after a crash in between finds what is
written and goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from core.clock import Clock
from core.contact_ports import ConsentLine, Feedback, FeedbackAnswer, FeedbackKind
from core.engine.breaker import ComplaintBreaker
from core.engine.consent_documents import ConsentDocument, packed
from core.engine.consents import PHONE_MEDIA
from core.engine.destinations import is_click_review
from core.engine.heard import times_of
from core.engine.identity import Identity
from core.engine.patience import PATIENCE_MS, patiently
from core.engine.reach import Reach, Whom
from core.errors import (
    AfterwordError,
    Conflict,
    FailedPrecondition,
    NotFound,
    StoreUnavailable,
)
from core.model import (
    CONSENT_PURPOSES,
    ConsentScope,
    ConsentStatus,
    Contact,
    Medium,
    Purpose,
    Reason,
    State,
    Suppression,
)
from core.partitions import partition_of
from core.ports import Store, Waiting
from core.records import FLAG_FOLLOW_UP, FLAG_HOLD_UNKNOWN, NO_KEY, PlanDetail, member_of
from core.registry.registry import Registry
from core.stats import Stats

_LOG = logging.getLogger(__name__)

SOURCE = "feedback"
"""By which way a suppression came about, kept with it."""
TRANSPORT = "transport"
"""Actor of what a transport said at the hand-over."""

_detail = msgspec.msgpack.Decoder(PlanDetail)

_REASONS = {
    FeedbackKind.HARD_BOUNCED: Reason.INVALID_RECIPIENT,
    FeedbackKind.SOFT_BOUNCED: Reason.TEMPORARY_RECIPIENT_ERROR,
    FeedbackKind.RESOLVED_NOT_SENT: Reason.PROVIDER_ERROR,
}
"""Why a message ends NOT_DELIVERED."""

_RESOLVED = {
    FeedbackKind.RESOLVED_SENT: (State.SENT, State.DELIVERED),
    FeedbackKind.RESOLVED_NOT_SENT: (State.NOT_DELIVERED,),
}
"""States that say already what an operator says."""

_TOO_EARLY = (FeedbackKind.DELIVERED, FeedbackKind.SOFT_BOUNCED)
"""Says nothing of a message that is not settled yet and may be handed over again."""
_METHODS = {
    FeedbackKind.HARD_BOUNCED: "hard-bounce",
    FeedbackKind.COMPLAINED: "complaint",
    FeedbackKind.UNSUBSCRIBED: "unsubscribe",
}
"""How it was said, kept with what follows."""


class Told(msgspec.Struct, frozen=True):
    """One feedback as it came in."""

    member: bytes
    kind: int
    time_ms: int = 0
    """0: now."""


class Outcome(msgspec.Struct):
    """What became of one feedback."""

    member: bytes = b""
    state: int = 0
    is_new: bool = False
    ended: tuple[bytes, ...] = ()
    in_flight: tuple[bytes, ...] = ()
    error: AfterwordError | None = None


class _Case(msgspec.Struct):
    """One feedback and the message it is about."""

    told: Told
    waiting: Waiting
    detail: PlanDetail
    outcome: Outcome


class FeedbackBook:
    """Takes in what is heard of the messages of one store."""

    def __init__(
        self, store: Store, registry: Registry, identity: Identity, breaker: ComplaintBreaker,
        clock: Clock, stats: Stats,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._reach = Reach(store, registry, identity, clock)
        self._breaker = breaker
        self._clock = clock
        self._stats = stats

    def _partition(self, key: bytes) -> int:
        return partition_of(key, self._store.meta.partition_count)

    async def record(
        self, account: str, told: Sequence[Told], *, actor: str = "", validate_only: bool = False
    ) -> list[Outcome]:
        """Take in feedback; return what became of each, in order.

        Raises:
            StoreUnavailable: a part may have been done; tell all of it again.
        """
        outcomes: list[Outcome] = []
        cases: list[_Case] = []
        for one, waiting in zip(told, await self._read(told), strict=True):
            outcome = Outcome(one.member)
            outcomes.append(outcome)
            detail = None if waiting is None else _detail.decode(waiting.detail)
            if waiting is None or detail is None or detail.account != account:
                outcome.error = NotFound("no such invitation in this account", field="message")
                continue
            outcome.state = waiting.reference.state
            outcome.error = _objection(one.kind, waiting)
            if outcome.error is None:
                cases.append(_Case(one, waiting, detail, outcome))
        if not validate_only:
            await self._record(cases, actor)
        return outcomes

    async def _read(self, told: Sequence[Told]) -> list[Waiting | None]:
        members: dict[int, list[bytes]] = {}
        for one in told:
            members.setdefault(self._partition(one.member), []).append(one.member)
        read = await self._store.read(members)
        found = {one.member: one for listed in read.values() for one in listed if one is not None}
        return [found.get(one.member) for one in told]

    async def _record(self, cases: Sequence[_Case], actor: str) -> None:
        by_partition: dict[int, list[_Case]] = {}
        for case in cases:
            by_partition.setdefault(self._partition(case.told.member), []).append(case)
        await asyncio.gather(
            *(self._record_some(number, listed, actor) for number, listed in by_partition.items())
        )
        for case in cases:
            if self._is_reviewed(case):
                case.outcome.ended += await self._end_reminders(case)
        complained = {
            (case.waiting.reference.channel_number, case.waiting.reference.medium)
            for case in cases
            if case.told.kind == FeedbackKind.COMPLAINED
        }
        for channel_number, medium in sorted(complained):
            await self._breaker.look(channel_number, medium)

    async def _record_some(self, partition: int, cases: Sequence[_Case], actor: str) -> None:
        now_ms = self._clock.now_ms()
        told = [self._feedback(case, actor, now_ms) for case in cases]
        for case, one in zip(cases, told, strict=True):
            await self._suppress_number(case, one, now_ms)
        answers: list[FeedbackAnswer] = await self._store.record_feedback(partition, told, now_ms)
        for case, answer in zip(cases, answers, strict=True):
            outcome = case.outcome
            outcome.state, outcome.is_new = answer.state, answer.is_new
            outcome.ended += answer.ended
            outcome.in_flight += answer.in_flight
            if not answer.state:
                outcome.error = NotFound("no such invitation in this account", field="message")
            elif answer.is_new:
                self._stats.feedback[case.told.kind] += 1

    # What follows -------------------------------------------------------------------------------

    def _feedback(self, case: _Case, actor: str, now_ms: int) -> Feedback:
        told = case.told
        time_ms = min(told.time_ms or now_ms, now_ms)
        lines = () if case.detail.carrier else _lines(case, time_ms, actor)
        reason = _REASONS.get(FeedbackKind(told.kind), Reason.NONE)
        return Feedback(told.member, told.kind, time_ms, int(reason), lines)

    async def _suppress_number(self, case: _Case, feedback: Feedback, now_ms: int) -> None:
        """Write what follows for a phone to whoever else is reached by it.

        Only if the message has not been heard of so before: what an operator lifted since stays so.
        """
        address, member = case.detail.address, case.told.member
        if not feedback.lines or case.waiting.reference.medium not in PHONE_MEDIA or not address:
            return
        (notes,) = await self._store.notes(self._partition(member), [member])
        if case.told.kind in times_of(notes):
            return
        whom = Whom(member[:8], Contact(phone=address))
        for key in await self._reach.others_by_phone(case.detail.account, whom, member[:8]):
            partition = self._partition(key)
            record = await self._store.contact(partition, key)
            standing = {
                (entry.scope, entry.status, entry.purpose, entry.medium): entry.time_ms
                for entry in (record.consents if record is not None else ())
            }
            # What stands from before may have been outdone by a confirmation since (R18).
            lines = [
                line
                for line in feedback.lines
                if standing.get((line.scope, line.status, line.purpose, line.medium), -1)
                < line.time_ms
            ]
            if lines:
                written = await self._store.write_consents(partition, key, lines, now_ms)
                case.outcome.ended += written.ended
                case.outcome.in_flight += written.in_flight

    def _is_reviewed(self, case: _Case) -> bool:
        """Return whether no reminder is wanted any more: a review was written, or a link clicked that
        leads to a platform which does not report reviews (R47)."""
        if case.told.kind == FeedbackKind.REVIEWED:
            return True
        return case.told.kind == FeedbackKind.CLICKED and is_click_review(
            self._registry.snapshot, case.detail, case.waiting.reference
        )

    async def _end_reminders(self, case: _Case) -> tuple[bytes, ...]:
        """End the waiting reminders of a review request; return them."""
        ref, member = case.waiting.reference, case.told.member
        if case.detail.carrier or ref.purpose != Purpose.REVIEW:
            return ()
        partition = self._partition(member)
        record = await self._store.contact(partition, member[:8])
        reminders = [
            member_of(member[:8], other.sequence, other.channel_number)
            for other in (record.references if record is not None else ())
            if other.state == State.SCHEDULED
            and other.purpose == Purpose.REVIEW
            and other.flags & FLAG_FOLLOW_UP
            and (other.kinds & ref.kinds or other.kinds == ref.kinds)
            and (
                other.event_key == ref.event_key
                or (other.order_key == ref.order_key and ref.order_key != NO_KEY)
            )
        ]
        if not reminders:
            return ()
        states = await self._store.cancel(
            partition, reminders, State.CANCELLED, Reason.REVIEWED, self._clock.now_ms()
        )
        return tuple(
            one for one, state in zip(reminders, states, strict=True) if state == State.CANCELLED
        )

    # The outcome of an operator, and of a transport ---------------------------------------------

    async def resolve(
        self, account: str, member: bytes, *, was_sent: bool, actor: str = "",
        validate_only: bool = False,
    ) -> None:  # fmt: skip
        """Say what became of a message of unknown outcome; saying it again changes nothing (R48).

        Raises:
            NotFound: there is none of this name in the account.
            FailedPrecondition: its outcome is known otherwise.
        """
        kind = FeedbackKind.RESOLVED_SENT if was_sent else FeedbackKind.RESOLVED_NOT_SENT
        (outcome,) = await self.record(
            account, [Told(member, kind)], actor=actor, validate_only=validate_only
        )
        if outcome.error is not None:
            raise type(outcome.error)(outcome.error.message, field="name")
        if validate_only:
            return
        if outcome.state not in _RESOLVED[kind]:
            raise FailedPrecondition(
                f"only an invitation of unknown outcome can be resolved; this one is "
                f"{State(outcome.state).name}",
                field="name",
            )

    async def refused(self, refused: Sequence[tuple[Waiting, PlanDetail]]) -> None:
        """Take in that transports refused addresses for good, of messages that were settled so (g10).

        What is lost with a store that stays away is learnt again by the next message to the address.
        """

        async def record() -> None:
            cases = [
                _Case(Told(waiting.member, FeedbackKind.HARD_BOUNCED), waiting, detail, Outcome())
                for waiting, detail in refused
            ]
            await self._record(cases, TRANSPORT)

        try:
            await patiently(record, self._stats, PATIENCE_MS)
        except StoreUnavailable:
            _LOG.error("%d addresses that take no mail were not suppressed", len(refused))


def _objection(kind: int, waiting: Waiting) -> AfterwordError | None:
    """Return why nothing can be heard so of a message."""
    ref = waiting.reference
    state = State(ref.state)
    if kind in _RESOLVED:
        if state == State.UNKNOWN or state in _RESOLVED[FeedbackKind(kind)]:
            return None
        return FailedPrecondition(
            f"only an invitation of unknown outcome can be resolved; this one is {state.name}",
            field="message",
        )
    if not ref.attempts:
        return FailedPrecondition(
            f"it was never sent, so nothing can be heard of it; it is {state.name}", field="message"
        )
    is_once = state == State.IN_FLIGHT and ref.flags & FLAG_HOLD_UNKNOWN
    if not state.is_ended and not is_once and kind in _TOO_EARLY:
        return Conflict("it is on its way: tell it again in a minute", field="message")
    return None


def _lines(case: _Case, time_ms: int, actor: str) -> tuple[ConsentLine, ...]:
    """Return what a feedback writes about its contact."""
    ref = case.waiting.reference
    kind = case.told.kind
    document = packed(
        ConsentDocument(
            actor=actor, method=_METHODS.get(FeedbackKind(kind), ""), source=SOURCE,
            invitation=case.waiting.member,
        )
    )  # fmt: skip

    def line(purpose: int, status: int) -> ConsentLine:
        return ConsentLine(
            ConsentScope.ACCOUNT, purpose, ref.medium, status, time_ms, document=document
        )

    if kind == FeedbackKind.HARD_BOUNCED and ref.medium != Medium.WEBHOOK:
        return (line(0, Suppression.HARD_BOUNCED),)
    if kind == FeedbackKind.COMPLAINED:
        return tuple(line(purpose, Suppression.COMPLAINED) for purpose in sorted(CONSENT_PURPOSES))
    if kind == FeedbackKind.UNSUBSCRIBED:
        return (
            line(ref.purpose, ConsentStatus.WITHDRAWN),
            line(ref.purpose, Suppression.UNSUBSCRIBED),
        )
    return ()
