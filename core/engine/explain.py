"""Why it was sent, and why not: the story of an invitation or an event, gate by gate (R10).

Decides: which parts make a story. What is told of a decision was written down when it was decided: the
plan at accept, the notes of the gate, the consent log, the stamps, the state.
Never: changes anything, not even when it is asked what would happen now.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.clock import Clock
from core.contact_ports import LoggedLine
from core.engine import explain_gates as gates
from core.engine.explain_caps import NOTE_SKIPPED, Ledgers, Note, notes_of
from core.engine.explain_consents import Table, whole_log
from core.engine.explain_gates import Scene
from core.engine.explain_now import Rehearsal
from core.engine.explain_parts import Decision, Explanation, Gate, Verdict, told
from core.engine.explain_replan import Replanner
from core.engine.explain_story import end, hurry, origin, plan, summary
from core.engine.explain_texts import plain
from core.engine.explain_then import feedback, gates_then, noted
from core.engine.heard import times_of
from core.engine.identity import Identity
from core.engine.reader import InvitationView, Reader
from core.engine.refusals import Refusals
from core.errors import NotFound, StaleRegistry
from core.model import Disposition, Event, State
from core.partitions import partition_of
from core.ports import OrderNote, Store, Waiting
from core.records import NO_KEY, ContactRecord
from core.registry.registry import Registry
from core.registry.snapshot import Snapshot
from core.rules.matcher import evaluate
from core.timer_records import unpack_facts

__all__ = ["Decision", "Explainer", "Explanation"]

_NOTE_REPLACED = 3
_CAP_NOTES = frozenset({1, NOTE_SKIPPED, _NOTE_REPLACED})
"""What else is noted of an invitation is feedback."""

_event = msgspec.msgpack.Decoder(Event)


class Explainer:
    """Tells stories from what the store has kept.

    Args:
        rehearsal: answers what would happen to an invitation now.
        replanner: answers what today's rules would make of an event.
    """

    def __init__(
        self, store: Store, registry: Registry, identity: Identity, reader: Reader, clock: Clock,
        refusals: Refusals, rehearsal: Rehearsal, replanner: Replanner,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._identity = identity
        self._reader = reader
        self._clock = clock
        self._refusals = refusals
        self._rehearsal = rehearsal
        self._replanner = replanner

    def _partition(self, key: bytes) -> int:
        return partition_of(key, self._store.meta.partition_count)

    # Invitations --------------------------------------------------------------------------------

    async def invitation(
        self, account: str, member: bytes, *, with_now: bool = False
    ) -> Explanation:
        """Return why an invitation was sent, was not, or waits.

        Args:
            with_now: say also what would happen if it were due this moment.

        Raises:
            NotFound: there is none of this name in the account.
        """
        view = await self._reader.get(account, member)
        contact = await self._contact(account, member[:8])
        decisions = await self._story(view, contact)
        now = await self._now(view, contact) if with_now else []
        return self._told(account, contact, decisions, now, [view], Disposition.PLANNED)

    def _told(
        self, account: str, contact: _Contact, decisions: list[Decision], now: list[Decision],
        views: list[InvitationView], disposition: int,
    ) -> Explanation:  # fmt: skip
        said = "; ".join(summary(view) for view in views) if views else decisions[-1].text
        channels = self._registry.snapshot.channels(account)
        return Explanation(
            said, decisions, views, disposition, now, contact.key,
            {channel.number: channel.name for channel in channels},
        )  # fmt: skip

    async def _contact(self, account: str, contact_key: bytes) -> _Contact:
        partition = self._partition(contact_key)
        record = await self._store.contact(partition, contact_key)
        lines = await whole_log(self._store, partition, contact_key)
        views = await self._reader.by_contact(account, contact_key)
        return _Contact(contact_key, partition, record or ContactRecord(), lines, views)

    async def _waiting(self, contact: _Contact, member: bytes) -> Waiting:
        (waiting,) = (await self._store.read({contact.partition: [member]}))[contact.partition]
        if waiting is None:
            raise NotFound("the invitation was erased while it was looked at", field="name")
        return waiting

    async def _notes(self, contact: _Contact, view: InvitationView) -> list[Note]:
        """Return what caps wrote down; what was heard since is put on the view."""
        (raw,) = await self._store.notes(contact.partition, [view.member])
        view.heard = times_of(raw)
        return [note for note in notes_of(raw) if note.code in _CAP_NOTES]

    def _scene(
        self, view: InvitationView, waiting: Waiting, contact: _Contact, table: Table, at_ms: int
    ) -> Scene:
        ledgers = Ledgers(contact.key, contact.record, contact.views)
        snapshot = self._registry.snapshot
        return Scene(view, waiting, contact.record, table, ledgers, snapshot, at_ms)

    async def _story(self, view: InvitationView, contact: _Contact) -> list[Decision]:
        waiting = await self._waiting(contact, view.member)
        notes = await self._notes(contact, view)
        snapshot, ref, now_ms = self._registry.snapshot, view.reference, self._clock.now_ms()
        story = origin(view, snapshot)
        story += _condition_at_accept(view, waiting, snapshot)
        story += [plan(view, waiting, snapshot), *hurry(view)]
        story += _facts(view, waiting)
        if ref.state == State.SCHEDULED:
            table = Table.now(contact.record.consents, contact.lines, now_ms)
            scene = self._scene(view, waiting, contact, table, now_ms)
            story += [gates.consents(scene), *noted(scene, notes)]
            drawn = gates.diversion(scene)
            story += [drawn] if drawn is not None else []
        else:
            then_ms = ref.settle_ms or now_ms
            table = Table.then(contact.lines, then_ms)
            scene = self._scene(view, waiting, contact, table, then_ms)
            story += gates_then(scene, notes)
        story += [end(view), *feedback(scene)]
        for line in story:
            line.member = view.member
        return story

    async def _now(self, view: InvitationView, contact: _Contact) -> list[Decision]:
        waiting, now_ms = await self._waiting(contact, view.member), self._clock.now_ms()
        # A no is final: it is said only by the newest configuration.
        await self._registry.refresh()
        notes = await self._notes(contact, view)
        ledger = notes[-1].ledger if notes else b""
        table = Table.now(contact.record.consents, contact.lines, now_ms)
        for attempt in range(2):
            scene = self._scene(view, waiting, contact, table, now_ms)
            try:
                lines = self._rehearsal.of(scene, contact.partition, ledger)
                break
            except StaleRegistry:
                if attempt:
                    raise
                await self._registry.refresh()
        for line in lines:
            line.member = view.member
        return lines

    # Events -------------------------------------------------------------------------------------

    async def event(
        self, account: str, source: str, event_id: str, *, with_now: bool = False
    ) -> Explanation:
        """Return what became of an event, also if nothing did.

        Args:
            with_now: say also what today's rules would make of it, and what would happen now to what
                it led to.

        Raises:
            NotFound: no such event in the account, or it was published too long ago.
        """
        event_key = self._identity.event_key(account, source, event_id)
        now_ms = self._clock.now_ms()
        mark = await self._store.event_mark(self._partition(event_key), event_key, now_ms)
        contact = None if mark is None else await self._contact(account, mark.contact_key)
        events = contact.record.events if contact is not None else ()
        seen = next((one for one in events if one.event_key == event_key), None)
        if contact is None or seen is None:
            raise NotFound(
                "no event with this id and source is known; events are remembered for at least "
                "14 days",
                field="event.id",
            )
        views = self._led_to(contact.views, event_key)
        decisions = [told(Gate.EVENT, f"accepted as event {event_id}", seen.time_ms)]
        decisions += self._refused(event_key, seen.disposition, seen.time_ms)
        now: list[Decision] = await self._replanned(account, event_key, views) if with_now else []
        for view in views:
            decisions += (await self._story(view, contact))[1:]
            now += await self._now(view, contact) if with_now else []
        return self._told(account, contact, decisions, now, views, seen.disposition)

    async def order(
        self, account: str, channel_name: str, reference: str, *, with_now: bool = False
    ) -> Explanation:
        """Return what became of an order: of everything that was planned about it (R7).

        Raises:
            NotFound: no such channel, or no event has told of the order.
        """
        views = await self._reader.by_order(account, channel_name, reference)
        channel = self._registry.snapshot.channel_by_name[channel_name]
        order_key = self._identity.order_key(account, channel.id, reference)
        keys = await self._reader.contacts_of_order(order_key)
        if not keys:
            raise NotFound("no event has told of this order", field="order.order_reference")
        decisions: list[Decision] = []
        now: list[Decision] = []
        contact = await self._contact(account, keys[0])
        for key in keys:
            contact = await self._contact(account, key)
            for view in views:
                if view.member[:8] == key:
                    decisions += await self._story(view, contact)
                    now += await self._now(view, contact) if with_now else []
        if not views:
            text = "an event has told of this order, but no rule wanted to send anything about it"
            decisions = [told(Gate.RULE, text, 0, Verdict.REFUSED)]
        return self._told(account, contact, decisions, now, views, Disposition.UNSPECIFIED)

    def _refused(self, event_key: bytes, disposition: int, time_ms: int) -> list[Decision]:
        """Return why rules did not want an event."""
        lines: list[Decision] = []
        if disposition == Disposition.INACTIVE:
            text = "the event type was switched off: stored, nothing planned"
            lines.append(told(Gate.RULE, text, time_ms, Verdict.REFUSED))
        elif disposition == Disposition.NO_MATCH:
            text = (
                "no active rule of the channel wanted it, every condition was false, or it told of no "
                "contact"
            )
            lines.append(told(Gate.RULE, text, time_ms, Verdict.REFUSED))
        for text, values in self._refusals.seen(event_key):
            line = told(Gate.CONDITION, text, time_ms, Verdict.REFUSED)
            line.values = values
            lines.append(line)
        return lines

    def _led_to(self, views: Sequence[InvitationView], event_key: bytes) -> list[InvitationView]:
        """Return what an event led to, and what came back of that."""
        keys = {event_key}
        found: list[InvitationView] = []
        for view in views:
            if view.reference.event_key in keys:
                keys.add(self._identity.reinstated_key(view.member))
                found.append(view)
        return found

    async def _replanned(
        self, account: str, event_key: bytes, views: Sequence[InvitationView]
    ) -> list[Decision]:
        """Return what today's rules would make of an event, if its content is still kept."""
        now_ms = self._clock.now_ms()
        event = self._refusals.event(event_key)
        for view in views:
            if event is None and view.reference.event_key == event_key:
                partition = self._partition(view.member)
                (waiting,) = (await self._store.read({partition: [view.member]}))[partition]
                event = _event.decode(waiting.body) if waiting and waiting.body else None
        if event is None:
            text = "what today's rules would make of it cannot be told: its content is not kept"
            return [told(Gate.EVENT, text, now_ms, Verdict.NOT_ASKED)]
        snapshot = self._registry.snapshot
        one = self._replanner.incoming(snapshot, account, event)
        order = None
        if one.order_key != NO_KEY:
            partition = self._partition(one.order_key)
            # A note that says nothing only reads.
            asked = {partition: [OrderNote(one.order_key)]}
            (order,) = (await self._store.note_orders(asked, now_ms))[partition]
        return self._replanner.of(snapshot, one, order, now_ms)


class _Contact(msgspec.Struct):
    """All that a contact's stories are made of."""

    key: bytes
    partition: int
    record: ContactRecord
    lines: list[LoggedLine]
    views: list[InvitationView]


def _condition_at_accept(
    view: InvitationView, waiting: Waiting, snapshot: Snapshot
) -> list[Decision]:
    """Return that its condition held, with what it read, while the event is kept."""
    detail = view.detail
    if not detail.condition:
        return []
    line = told(Gate.CONDITION, f"its condition was true: {detail.condition}", detail.accept_ms)
    rule = snapshot.rule_revision(view.reference.rule_number, detail.revision)
    if rule is not None and waiting.body:
        seen = evaluate(rule, _event.decode(waiting.body)).fields
        line.values = tuple((name, plain(name, value)) for name, value in seen.items())
    return [line]


def _facts(view: InvitationView, waiting: Waiting) -> list[Decision]:
    """Return what became known of the order or contact while it waited."""
    lines: list[Decision] = []
    for key, time_ms, body in unpack_facts(waiting.facts):
        event = _event.decode(body)
        is_own = (event.id, event.type) == (view.detail.event_id, view.detail.event_type)
        if key in (NO_KEY, view.reference.order_key) and not is_own:
            text = f"event {event.id or '(without id)'} of type {event.type} told more since"
            lines.append(told(Gate.EVENT, text, time_ms))
    return lines
