"""Why it was sent, and why not: the story of an invitation or an event, in the order it happened.

Decides: how stored decisions read. Everything told here was written down when it was decided: the plan
at accept, the notes of the gate, the consent entries, the state. Nothing is guessed from the present
configuration except names.
"""

from __future__ import annotations

import msgspec

from core.clock import Clock
from core.engine.explain_texts import ASKED, STOPS, SUMMARIES, WAITS, local, span, utc
from core.engine.identity import Identity
from core.engine.reader import InvitationView, Reader
from core.engine.refusals import Refusals
from core.engine.stand_in import MODE_BY_HAND
from core.errors import NotFound
from core.model import (
    CONSENT_PURPOSES,
    ConsentScope,
    ConsentStatus,
    Disposition,
    Event,
    Medium,
    Purpose,
    Reason,
    State,
    WaitReason,
)
from core.partitions import partition_of
from core.ports import Store
from core.records import NO_KEY, ConsentEntry, ContactRecord, unpack48
from core.registry.registry import Registry
from core.timer_records import unpack_facts

_NOTE_BYTES = 17
_NOTE_DEFERRED = 1

_event = msgspec.msgpack.Decoder(Event)


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


class Explainer:
    """Tells stories from what the store has kept."""

    def __init__(
        self, store: Store, registry: Registry, identity: Identity, reader: Reader, clock: Clock,
        refusals: Refusals,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._identity = identity
        self._reader = reader
        self._clock = clock
        self._refusals = refusals

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
        views = await self._views(account, mark.contact_key, event_key)
        decisions = [Decision("accept", f"accepted as event {event_id}", seen.time_ms, True)]
        if seen.disposition == Disposition.INACTIVE:
            text = "the event type was switched off: stored, nothing planned"
            decisions.append(Decision("rule", text, seen.time_ms, False))
        elif seen.disposition == Disposition.NO_MATCH:
            text = (
                "no active rule of the channel wanted it, every condition was false, or it told of no "
                "contact"
            )
            decisions.append(Decision("rule", text, seen.time_ms, False))
        decisions += [
            Decision("condition", text, seen.time_ms, False)
            for text in self._refusals.tell(event_key)
        ]
        for view in views:
            decisions += (await self._story(view))[1:]
        summary = decisions[-1].text if not views else "; ".join(_summary(view) for view in views)
        return Explanation(summary, decisions, views, seen.disposition)

    async def _views(
        self, account: str, contact_key: bytes, event_key: bytes
    ) -> list[InvitationView]:
        """Return what an event led to, and what came back of that."""
        keys = {event_key}
        views: list[InvitationView] = []
        for view in await self._reader.by_contact(account, contact_key):
            if view.reference.event_key in keys:
                keys.add(self._identity.reinstated_key(view.member))
                views.append(view)
        return views

    async def _story(self, view: InvitationView) -> list[Decision]:
        detail = view.detail
        partition = partition_of(view.member, self._store.meta.partition_count)
        record = await self._store.contact(partition, view.member[:8])
        assert record is not None, "an invitation has a contact"
        story = _origin(view)
        if detail.condition:
            text = f"its condition was true: {detail.condition}"
            story.append(Decision("condition", text, detail.accept_ms, True))
        story.append(_plan(view))
        if detail.is_hurried:
            text = "somebody wanted it sent now: windows do not hold it back, quiet hours do"
            story.append(Decision("plan", text, view.reference.due_ms, True))
        story += await self._facts(partition, view)
        story += self._consent(view, record)
        story += await self._gate_notes(partition, view)
        story.append(_end(view))
        return story

    async def _facts(self, partition: int, view: InvitationView) -> list[Decision]:
        """Return what became known of the order or contact while it waited."""
        waiting = (await self._store.read({partition: [view.member]}))[partition][0]
        told: list[Decision] = []
        for key, time_ms, body in unpack_facts(waiting.facts if waiting is not None else b""):
            event = _event.decode(body)
            is_own = (event.id, event.type) == (view.detail.event_id, view.detail.event_type)
            if key in (NO_KEY, view.reference.order_key) and not is_own:
                text = f"event {event.id or '(without id)'} of type {event.type} told more since"
                told.append(Decision("accept", text, time_ms, True))
        return told

    def _consent(self, view: InvitationView, record: ContactRecord) -> list[Decision]:
        purpose, medium = view.reference.purpose, view.reference.medium
        if view.detail.carrier:
            text = "what goes to a carrier needs no consent of the contact"
            return [Decision("consent", text, view.detail.accept_ms, True)]
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
            limit = f" ({cap.limit} in {span(cap.window_ms)})" if cap is not None else ""
            text = f"{name}{limit} was full"
            if raw[at + 16] == _NOTE_DEFERRED:
                text += f": deferred to the moment it frees, {local(until_ms, view.detail.zone)}"
            decisions.append(Decision("cap", text, time_ms, False))
        return decisions


def _origin(view: InvitationView) -> list[Decision]:
    """Return what it comes from: an event and a rule, or somebody's wish."""
    ref, detail = view.reference, view.detail
    order = f", order {detail.order_reference}" if detail.order_reference else ""
    of_type = f" of type {detail.event_type}" if detail.event_type else ""
    told = f"event {detail.event_id or '(without id)'}{of_type}{order}"
    over = f"over {Medium(ref.medium).name}{ASKED.get(ref.kinds, '')}"
    if detail.carrier:
        over += f", to the carrier {detail.carrier}"
    if detail.mode == MODE_BY_HAND:
        wish = f"somebody wanted it by hand {over}; no rule, and no reminder follows"
    else:
        wish = (
            f"rule {detail.rule} (revision {detail.revision}) wanted it: step {detail.step} {over}"
        )
    lines = [
        Decision("accept", f"{told} was accepted", detail.accept_ms, True),
        Decision("rule", wish, detail.accept_ms, True),
    ]
    if detail.generation:
        times = "once" if detail.generation == 1 else f"{detail.generation} times"
        text = f"a client had cancelled it, and wanted it back: reinstated {times}"
        lines.append(Decision("plan", text, detail.accept_ms, True))
    return lines


def _plan(view: InvitationView) -> Decision:
    ref, detail = view.reference, view.detail
    when = f"{local(detail.first_due_ms, detail.zone)} (zone from the {detail.zone_source})"
    if detail.mode == MODE_BY_HAND:
        counted = f"it is first due {when}"
    else:
        base = "the message before was sent" if detail.parent_sequence else "it happened"
        base_time = local(detail.base_ms, detail.zone)
        counted = f"counted from {base_time}, when {base}, it is first due {when}"
    text = f"{counted} and may go until {utc(ref.expire_ms)}"
    return Decision("plan", text, detail.accept_ms, True)


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
    if reason in STOPS:
        return "stop"
    # What ends before it is due, and was not stopped, ended at birth.
    if reason == Reason.LATE_EVENT or ref.settle_ms < ref.due_ms:
        return "accept"
    return "claim"


def _summary(view: InvitationView) -> str:
    ref, zone = view.reference, view.detail.zone
    if ref.state == State.SCHEDULED:
        why = WAITS.get(WaitReason(ref.wait), "")
        return f"waits until {local(ref.due_ms, zone)}{why}"
    if ref.state == State.IN_FLIGHT:
        return "on its way"
    if ref.state in (State.SENT, State.DELIVERED):
        tries = f" at attempt {ref.attempts}" if ref.attempts > 1 else ""
        said = ""
        if ref.content_revision not in (0, view.detail.revision):
            said = f" with the content of revision {ref.content_revision}"
        return f"sent {local(ref.settle_ms, zone)}{tries}{said}"
    reason = Reason(ref.reason)
    text = SUMMARIES.get(reason, f"ended {State(ref.state).name}")
    return f"{text} ({State(ref.state).name}, {reason.name}; {utc(ref.settle_ms)})"
