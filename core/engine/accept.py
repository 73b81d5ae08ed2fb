"""The way in: dedupe, plan, commit, answer.

Decides: the order of the writes, so that a crash between any two of them is healed by publishing the
same event again:

    alias   whom a session, reference or phone stands for by now (R4, D21)
    mark    the event id, first wins; another body under the same id is refused here (E6)
    note    what the event says of its order; of checkout and cancellation the second sees the first (E7)
    commit  evidence, stops, plans: everything about the contact in one step, once per event
    adopt   what waited for a contact that this event has identified, and how they are reached (D21)

A review that came by the link of a request gets its order from there before, and is noted at the
request afterwards (`core/engine/review_desk.py`).

An event that occurred before its contact was erased is refused by the commit, and what it has left in
the directories is taken back (R22).

Never: acknowledges before the last of them.

Shape: lists in, lists out; concurrent callers share script calls (E1). A bad event does not harm the
others of its batch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from core import bounds
from core.clock import Clock
from core.engine.adoption import Adoption, OnNear, OnTimer, alias_keys_of
from core.engine.coalescer import Coalescer
from core.engine.erasure import contact_erased
from core.engine.identity import Identity, body_hash
from core.engine.incoming import IDENTIFY, Incoming
from core.engine.patience import PATIENCE_MS, patiently
from core.engine.planner import Planner, channel_of, event_type_of, stop_number
from core.engine.review_desk import ReviewDesk
from core.errors import AfterwordError, EventIdReused, InvalidField, StoreUnavailable
from core.gate import Lane
from core.model import Disposition, Event
from core.partitions import partition_of
from core.ports import (
    Commit,
    CommitAnswer,
    EventMark,
    MarkAnswer,
    OrderAnswer,
    OrderNote,
    Stop,
    Store,
)
from core.records import NO_KEY
from core.registry.registry import Registry
from core.registry.resources import ID_OPTIONAL_TYPES
from core.registry.snapshot import Snapshot
from core.stats import Stats

OnProfile = Callable[[bytes, str, str], Awaitable[object]]

_encoder = msgspec.msgpack.Encoder(order="deterministic")


class EventAnswer(msgspec.Struct):
    """What became of one event."""

    error: AfterwordError | None = None
    disposition: int = Disposition.UNSPECIFIED
    contact_key: bytes = NO_KEY
    members: tuple[bytes, ...] = ()
    stopped_count: int = 0


class Acceptor:
    """Takes events for one store.

    Args:
        on_near: told of each invitation that is due before the loaded horizon, so that the owner's
            wheel has it at once.
        on_timer: the same for each timer that was set: (partition, member, due_ms).
        on_profile: awaited when a contact has told a time zone or country of their own: (contact key,
            time zone, country).
    """

    def __init__(
        self, store: Store, registry: Registry, identity: Identity, planner: Planner, clock: Clock,
        stats: Stats, on_near: OnNear, on_timer: OnTimer, on_profile: OnProfile,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._identity = identity
        self._planner = planner
        self._clock = clock
        self._stats = stats
        self._on_near = on_near
        self._on_timer = on_timer
        self._on_profile = on_profile
        self._partition_count = store.meta.partition_count
        self._mark = Coalescer[EventMark, MarkAnswer](
            lambda batch: patiently(
                lambda: store.mark_events(batch, clock.now_ms()), stats, PATIENCE_MS
            )
        )
        self._note = Coalescer[OrderNote, OrderAnswer](
            lambda batch: patiently(
                lambda: store.note_orders(batch, clock.now_ms()), stats, PATIENCE_MS
            )
        )
        self._commit = Coalescer[Commit, CommitAnswer](
            lambda batch: patiently(lambda: store.commit(batch, clock.now_ms()), stats, PATIENCE_MS)
        )
        self.reviews: ReviewDesk | None = None
        """Reads the links that reviews were written by."""
        self._adoption = Adoption(store, registry, self._commit, identity, clock, on_near, on_timer)

    async def accept(
        self, account: str, events: Sequence[Event], *, validate_only: bool = False,
        is_import: bool = False,
    ) -> list[EventAnswer]:  # fmt: skip
        """Apply events; return one answer for each, in order.

        Events of one call may be applied in any order.

        Args:
            is_import: they are history: recorded, and nothing follows from them (D9).

        Raises:
            StoreUnavailable: the store stayed away; publish the same events again.
        """
        snapshot = self._registry.snapshot
        now_ms = self._clock.now_ms()
        answers = [EventAnswer() for _ in events]
        incoming: list[tuple[EventAnswer, Incoming]] = []
        written: list[tuple[EventAnswer, bytes, int]] = []
        for answer, event in zip(answers, events, strict=True):
            try:
                if (
                    event.review is not None
                    and event.review.link_token
                    and self.reviews is not None
                ):
                    event, member = await self.reviews.complete(account, event)
                    written.append((answer, member, event.occur_ms))
                incoming.append(
                    (answer, self.incoming(snapshot, account, event, is_import=is_import))
                )
            except StoreUnavailable:
                raise
            except AfterwordError as error:
                answer.error = error
        if validate_only:
            self._preview(snapshot, incoming, now_ms)
            return answers
        await self._resolve([one for _, one in incoming])
        incoming = await self._marked(incoming)
        await self._adoption.complete([one for _, one in incoming])
        orders = await self._noted(incoming)
        await self._committed(snapshot, incoming, orders, now_ms)
        taken = [(member, at_ms) for answer, member, at_ms in written if answer.error is None]
        if taken and self.reviews is not None and not is_import:
            await self.reviews.reviewed(account, taken)
        self._stats.events_received += len(answers)
        self._stats.events_refused += sum(answer.error is not None for answer in answers)
        return answers

    def incoming(
        self, snapshot: Snapshot, account: str, event: Event, *, is_import: bool = False
    ) -> Incoming:
        """Return an event with its keys; changes nothing.

        Raises:
            InvalidField, NotFound: it cannot be accepted.
        """
        channel = channel_of(snapshot, account, event)
        event_type = event_type_of(snapshot, account, event)
        identity = self._identity
        order_key = NO_KEY
        reference = event.order.reference if event.order is not None else ""
        if reference:
            order_key = identity.order_key(account, channel.id, reference)
        if event.id:
            event_key = identity.event_key(account, event.source, event.id)
        elif reference and event.type in ID_OPTIONAL_TYPES:
            event_key = identity.unnamed_event_key(account, channel.id, event.type, reference)
        else:
            raise InvalidField(
                "an event needs an id of its own: 1 to 256 characters that your system never uses "
                "twice (only checkout, order_created and order_cancelled may leave it out, if they "
                "have an order reference)",
                field="event.id",
                reason="FIELD_REQUIRED",
            )
        contact = event.contact
        has_contact = bool(
            contact.email or contact.phone or contact.reference or contact.session_id
        )
        if has_contact:
            contact_key = identity.contact_key(account, contact)
        elif order_key != NO_KEY:
            contact_key = order_key
        else:
            raise InvalidField(
                "an event needs a contact (email, phone, reference or session_id) or an order "
                "reference that leads to one",
                field="event.contact",
                reason="FIELD_REQUIRED",
            )
        incoming = Incoming(
            event, channel, event_type, event_key, contact_key, has_contact, order_key,
            _encoder.encode(event), is_import,
        )  # fmt: skip
        incoming.stop_number = stop_number(snapshot, incoming)
        if not is_import:
            incoming.alias_keys = alias_keys_of(identity, account, event)
        return incoming

    async def _resolve(self, incoming: Sequence[Incoming]) -> None:
        """Find the contact of events that come without an e-mail; note for whom others stand.

        An order is looked for by its own note; so are people known by less than an e-mail.
        """
        notes: list[tuple[int, OrderNote]] = []
        owners: list[tuple[Incoming, bool]] = []
        for one in incoming:
            contact, account = one.event.contact, one.channel.account
            if one.has_contact and not contact.email:
                for key in self._identity.alias_keys(account, contact):
                    notes.append((self._partition(key), OrderNote(key)))
                    owners.append((one, True))
            for key in one.alias_keys:
                notes.append((self._partition(key), OrderNote(key, one.contact_key)))
                owners.append((one, False))
        if not notes:
            return
        answers = await self._note(notes)
        for (owner, is_asking), answer in zip(reversed(owners), reversed(answers), strict=True):
            # Backwards, so that the strongest of a contact's aliases is the last to be heard.
            if is_asking and answer.contact_keys:
                owner.contact_key = await self._adoption.newest(owner, answer.contact_keys)
            elif len(answer.contact_keys) > 1:
                owner.has_rivals = True

    def _preview(
        self, snapshot: Snapshot, incoming: list[tuple[EventAnswer, Incoming]], now_ms: int
    ) -> None:
        for answer, one in incoming:
            commit = self._planner.commits(snapshot, one, None, now_ms)[0]
            answer.disposition = commit.disposition
            answer.contact_key = commit.contact_key

    def _partition(self, key: bytes) -> int:
        return partition_of(key, self._partition_count)

    async def _marked(
        self, incoming: list[tuple[EventAnswer, Incoming]]
    ) -> list[tuple[EventAnswer, Incoming]]:
        """Return those whose id is new, or known with the same body."""
        marks = await self._mark([
            (
                self._partition(one.event_key),
                EventMark(one.event_key, body_hash(one.body), one.contact_key),
            )
            for _, one in incoming
        ])  # fmt: skip
        taken: list[tuple[EventAnswer, Incoming]] = []
        for (answer, one), mark in zip(incoming, marks, strict=True):
            if not mark.is_same_body:
                answer.error = EventIdReused(
                    "an event with this id and source, but another content, was accepted before: "
                    "use a new id for a new event",
                    field="event.id",
                )
                continue
            if not mark.is_new:
                # Whoever it was about then: they may stand for somebody else by now.
                one.contact_key = mark.contact_key
                answer.disposition = Disposition.DUPLICATE
            taken.append((answer, one))
        return taken

    async def _noted(
        self, incoming: list[tuple[EventAnswer, Incoming]]
    ) -> list[OrderAnswer | None]:
        notes = [
            (
                self._partition(one.order_key),
                OrderNote(
                    one.order_key,
                    one.contact_key if one.has_contact else NO_KEY,
                    one.stop_number,
                    one.event.occur_ms,
                ),
            )
            for _, one in incoming
            if one.order_key != NO_KEY
        ]
        found = iter(await self._note(notes))
        return [next(found) if one.order_key != NO_KEY else None for _, one in incoming]

    async def _committed(
        self,
        snapshot: Snapshot,
        incoming: list[tuple[EventAnswer, Incoming]],
        orders: list[OrderAnswer | None],
        now_ms: int,
    ) -> None:
        commits: list[tuple[int, Commit]] = []
        owners: list[EventAnswer] = []
        identified: list[tuple[Incoming, tuple[Stop, ...]]] = []
        for (answer, one), order in zip(incoming, orders, strict=True):
            planned = self._planner.commits(snapshot, one, order, now_ms)
            for commit in planned:
                commits.append((self._partition(commit.contact_key), commit))
                owners.append(answer)
            if one.alias_keys:
                identified.append((one, planned[0].stops))
        results = await self._commit(commits)
        stats = self._stats
        for answer, (partition, commit), result in zip(owners, commits, results, strict=True):
            answer.stopped_count += len(result.stopped)
            stats.invitations_stopped += len(result.stopped)
            if not commit.is_primary:
                continue
            if result.disposition == Disposition.REFUSED:
                answer.error, answer.disposition = contact_erased(), Disposition.UNSPECIFIED
                continue
            if answer.disposition == Disposition.DUPLICATE and result.is_duplicate:
                stats.events_duplicate += 1
            else:
                answer.disposition = result.disposition
            answer.contact_key = commit.contact_key
            answer.members = tuple([plan.member for plan in result.plans])
            if result.is_duplicate:
                continue
            stats.invitations_planned += len(result.plans)
            for plan in result.plans:
                if plan.lane == Lane.NEAR:
                    self._on_near(partition, plan)
            for timer in commit.timers:
                self._on_timer(partition, commit.contact_key + timer.id, timer.due_ms)
        refused = {one for answer, one in incoming if answer.error is not None}
        if refused:
            await self._take_back(refused)
        await self._adoption.adopt([pair for pair in identified if pair[0] not in refused])
        for _, one in incoming:
            if one in refused:
                continue
            contact = one.event.contact
            is_told = one.event.type == IDENTIFY and not one.is_import
            if is_told and (contact.time_zone or contact.country):
                await self._on_profile(one.contact_key, contact.time_zone, contact.country)

    async def _take_back(self, refused: Collection[Incoming]) -> None:
        """Leave no mark of refused events, and no link that nothing else tells of."""
        now_ms = self._clock.now_ms()
        marks: dict[int, list[bytes]] = {}
        for one in refused:
            marks.setdefault(self._partition(one.event_key), []).append(one.event_key)
        await self._store.forget_events(marks, now_ms)
        for one in refused:
            known = await self._adoption.aliases(one.contact_key) if one.alias_keys else ()
            for key in set(one.alias_keys) - set(known):
                keys = {self._partition(key): [key]}
                await self._store.forget_orders(keys, one.contact_key, now_ms)


assert bounds.EVENT_GENERATION_MS > PATIENCE_MS, "a retried event is still remembered"
