"""Why it was sent, and why not: the story of an invitation or an event, in the order it happened.

Decides: how stored decisions read. Everything told here was written down when it was decided: the plan
at accept, the notes of the gate, the consent entries, the state. Nothing is guessed from the present
configuration except names.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from core.clock import Clock
from core.engine.identity import Identity
from core.engine.reader import InvitationView, Reader
from core.errors import NotFound
from core.model import (
    CONSENT_PURPOSES,
    ConsentScope,
    ConsentStatus,
    Disposition,
    Medium,
    Purpose,
    Reason,
    State,
    WaitReason,
)
from core.partitions import partition_of
from core.ports import Store
from core.records import ConsentEntry, ContactRecord, unpack48
from core.registry.registry import Registry
from core.rules.zones import clock as zone_clock

_NOTE_BYTES = 17
_NOTE_DEFERRED = 1

_SUMMARIES = {
    Reason.NO_CONSENT: "not sent: there was no consent for this purpose and medium",
    Reason.CONSENT_WITHDRAWN: "not sent: the consent had been withdrawn",
    Reason.UNSUBSCRIBED: "not sent: the contact unsubscribed while it waited",
    Reason.CAPPED: "not sent: a frequency cap was full",
    Reason.NO_RECIPIENT: "not sent: the contact has no address for this medium",
    Reason.MEDIUM_NOT_CONFIGURED: "not sent: no transport is configured for this medium",
    Reason.DUPLICATE: "not sent: this order has its request of this kind already",
    Reason.BY_CLIENT: "not sent: a client cancelled it",
    Reason.RULE_INACTIVE: "not sent: the rule was off, with no other in its place, when it fell due",
    Reason.RULE_DELETED: "not sent: the rule was deleted",
    Reason.EVENT_TYPE_INACTIVE: "not sent: the event type was off when it fell due",
    Reason.STEP_OFF: "not sent: the step was switched off",
    Reason.ORDER_CANCELLED: "not sent: the order was cancelled",
    Reason.RETURNED: "not sent: the goods went back",
    Reason.PURCHASED: "not sent: the purchase was made",
    Reason.REVIEWED: "not sent: the review had been written",
    Reason.NO_SLOT: "not sent: no permitted moment was left before its end",
    Reason.TOO_LATE: "not sent: its time had run out",
    Reason.LATE_EVENT: "not sent: the event came more than 72 hours after the message was due",
    Reason.INVALID_RECIPIENT: "not delivered: the recipient's server refused the address",
    Reason.PROVIDER_ERROR: "not sent: the transport failed for good",
    Reason.RENDERING_ERROR: "not sent: the message could not be made",
    Reason.OUTCOME_UNKNOWN: "handed over, but no answer came; it is not sent again",
}


_STOPS = frozenset({
    Reason.ORDER_CANCELLED, Reason.RETURNED, Reason.PURCHASED, Reason.REVIEWED,
    Reason.UNSUBSCRIBED, Reason.BY_CLIENT,
})  # fmt: skip
"""Reasons that come from somebody or something, at any time."""


class Decision(msgspec.Struct):
    """One line of the story."""

    stage: str
    text: str
    time_ms: int
    passed: bool


class Explanation(msgspec.Struct):
    """The whole story."""

    summary: str
    decisions: list[Decision]
    invitations: list[InvitationView]
    disposition: int = Disposition.UNSPECIFIED


def utc(ms: int) -> str:
    """Return an instant as people read it."""
    text = datetime.fromtimestamp(ms / 1_000, UTC).isoformat(sep=" ", timespec="milliseconds")
    return text.replace("+00:00", " UTC").replace(".000", "")


def local(ms: int, zone: str) -> str:
    """Return an instant on the clock of a zone, named."""
    offset_ms = zone_clock(zone).offset_ms(ms)
    shown = datetime.fromtimestamp((ms + offset_ms) / 1_000, UTC)
    return f"{shown.strftime('%Y-%m-%d %H:%M:%S')} {zone}".replace(":00 ", " ")


class Explainer:
    """Tells stories from what the store has kept."""

    def __init__(
        self, store: Store, registry: Registry, identity: Identity, reader: Reader, clock: Clock
    ) -> None:
        self._store = store
        self._registry = registry
        self._identity = identity
        self._reader = reader
        self._clock = clock

    async def invitation(self, account: str, member: bytes) -> Explanation:
        """Return why an invitation was sent, was not, or waits.

        Raises:
            NotFound: there is none of this name in the account.
        """
        view = await self._reader.get(account, member)
        decisions = await self._story(view)
        return Explanation(_summary(view), decisions, [view], Disposition.PLANNED)

    async def event(self, account: str, source: str, event_id: str) -> Explanation:
        """Return what became of an event, also if nothing did.

        Raises:
            NotFound: no such event in the account, or it was published too long ago.
        """
        count = self._store.meta.partition_count
        event_key = self._identity.event_key(account, source, event_id)
        now_ms = self._clock.now_ms()
        mark = await self._store.event_mark(partition_of(event_key, count), event_key, now_ms)
        record = None
        if mark is not None:
            record = await self._store.contact(
                partition_of(mark.contact_key, count), mark.contact_key
            )
        seen = (
            next((e for e in record.events if e.event_key == event_key), None) if record else None
        )
        if mark is None or record is None or seen is None:
            raise NotFound(
                "no event with this id and source is known; events are remembered for at least "
                "14 days",
                field="event.id",
            )
        views = [
            view
            for view in await self._reader.by_contact(account, mark.contact_key)
            if view.reference.event_key == event_key
        ]
        decisions = [Decision("accept", f"accepted as event {event_id}", seen.time_ms, True)]
        if seen.disposition == Disposition.INACTIVE:
            text = "the event type was switched off: stored, nothing planned"
            decisions.append(Decision("rule", text, seen.time_ms, False))
        elif seen.disposition == Disposition.NO_MATCH:
            text = "no active rule of the channel wanted it, or every condition was false"
            decisions.append(Decision("rule", text, seen.time_ms, False))
        for view in views:
            decisions += (await self._story(view))[1:]
        summary = decisions[-1].text if not views else "; ".join(_summary(view) for view in views)
        return Explanation(summary, decisions, views, seen.disposition)

    async def _story(self, view: InvitationView) -> list[Decision]:
        ref, detail = view.reference, view.detail
        partition = partition_of(view.member, self._store.meta.partition_count)
        record = await self._store.contact(partition, view.member[:8])
        assert record is not None, "an invitation has a contact"
        order = f", order {detail.order_reference}" if detail.order_reference else ""
        told = f"event {detail.event_id or '(without id)'} of type {detail.event_type}{order}"
        story = [
            Decision("accept", f"{told} was accepted", detail.accept_ms, True),
            Decision(
                "rule",
                f"rule {detail.rule} (revision {detail.revision}) wanted it: step {detail.step} "
                f"over {Medium(ref.medium).name}",
                detail.accept_ms,
                True,
            ),
        ]
        if detail.condition:
            text = f"its condition was true: {detail.condition}"
            story.append(Decision("condition", text, detail.accept_ms, True))
        base = "the message before was sent" if detail.parent_sequence else "it happened"
        story.append(
            Decision(
                "plan",
                f"counted from {local(detail.base_ms, detail.zone)}, when {base}, it is first due "
                f"{local(detail.first_due_ms, detail.zone)} (zone from the {detail.zone_source}) "
                f"and may go until {utc(ref.expire_ms)}",
                detail.accept_ms,
                True,
            )
        )
        story += self._consent(ref.purpose, ref.medium, view, record)
        story += await self._gate_notes(partition, view)
        story.append(_end(view))
        return story

    def _consent(
        self, purpose: int, medium: int, view: InvitationView, record: ContactRecord
    ) -> list[Decision]:
        if purpose not in CONSENT_PURPOSES:
            text = f"{Purpose(purpose).name} messages need no consent"
            return [Decision("consent", text, view.detail.accept_ms, True)]
        what = f"{Purpose(purpose).name} over {Medium(medium).name}"
        found = [
            entry
            for entry in record.consents
            if entry.purpose == purpose and entry.medium == medium and self._covers(entry, view)
        ]
        if not found:
            text = f"nobody has told of a consent to {what}"
            return [Decision("consent", text, view.detail.accept_ms, False)]
        return [
            Decision(
                "consent",
                f"consent to {what} for {ConsentScope(entry.scope).name.lower()}: "
                f"{ConsentStatus(entry.status).name} at {utc(entry.time_ms)}",
                entry.time_ms,
                entry.status == ConsentStatus.GRANTED,
            )
            for entry in found
        ]

    def _covers(self, entry: ConsentEntry, view: InvitationView) -> bool:
        if entry.scope == ConsentScope.ACCOUNT:
            return True
        if entry.scope == ConsentScope.CHANNEL:
            return int.from_bytes(entry.scope_key, "little") == view.reference.channel_number
        return entry.scope_key == view.reference.order_key

    async def _gate_notes(self, partition: int, view: InvitationView) -> list[Decision]:
        raw = (await self._store.notes(partition, [view.member]))[0]
        decisions: list[Decision] = []
        for at in range(0, len(raw), _NOTE_BYTES):
            time_ms, until_ms = unpack48(raw[at : at + 6]), unpack48(raw[at + 6 : at + 12])
            cap = self._registry.snapshot.cap_by_ledger(raw[at + 12 : at + 16])
            name = f"cap {cap.id}" if cap is not None else "a cap that is gone"
            limit = f" ({cap.limit} in {_span(cap.window_ms)})" if cap is not None else ""
            text = f"{name}{limit} was full"
            if raw[at + 16] == _NOTE_DEFERRED:
                text += f": deferred to the moment it frees, {local(until_ms, view.detail.zone)}"
            decisions.append(Decision("cap", text, time_ms, False))
        return decisions


def _span(ms: int) -> str:
    for unit, name in ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute")):
        if ms % unit == 0:
            count = ms // unit
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{ms / 1_000:g} seconds"


def _end(view: InvitationView) -> Decision:
    ref = view.reference
    if ref.state == State.SCHEDULED:
        return Decision("claim", _summary(view), 0, True)
    if ref.state == State.IN_FLIGHT:
        return Decision("send", "claimed; on its way to the transport", 0, True)
    passed = ref.state in (State.SENT, State.DELIVERED)
    return Decision(_stage(view), _summary(view), ref.settle_ms, passed)


def _stage(view: InvitationView) -> str:
    """Return at which stage it ended."""
    ref, reason = view.reference, Reason(view.reference.reason)
    if ref.state in (State.SENT, State.DELIVERED):
        return "send"
    if reason in _STOPS:
        return "stop"
    # What ends before it is due, and was not stopped, ended at birth.
    if reason == Reason.LATE_EVENT or ref.settle_ms < ref.due_ms:
        return "accept"
    return "claim"


def _summary(view: InvitationView) -> str:
    ref, zone = view.reference, view.detail.zone
    if ref.state == State.SCHEDULED:
        why = {
            WaitReason.CAPPED: ", held back by a frequency cap",
            WaitReason.RETRY: ", to be tried again",
        }.get(WaitReason(ref.wait), "")
        return f"waits until {local(ref.due_ms, zone)}{why}"
    if ref.state == State.IN_FLIGHT:
        return "on its way"
    if ref.state in (State.SENT, State.DELIVERED):
        tries = f" at attempt {ref.attempts}" if ref.attempts > 1 else ""
        return f"sent {local(ref.settle_ms, zone)}{tries}"
    reason = Reason(ref.reason)
    text = _SUMMARIES.get(reason, f"ended {State(ref.state).name}")
    return f"{text} ({State(ref.state).name}, {reason.name}; {utc(ref.settle_ms)})"
