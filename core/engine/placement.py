"""Invitations that no event of the shop causes: marked, noted and committed like those of one.

Decides: the order of the writes, which is that of `core/engine/accept.py` and healed like it.
Never: what is planned, or whether it may be sent.
"""

from __future__ import annotations

from collections.abc import Callable

from core.clock import Clock
from core.engine.erasure import contact_erased
from core.engine.identity import Identity, body_hash
from core.engine.incoming import Incoming
from core.engine.patience import PATIENCE_MS, patiently
from core.errors import EventIdReused
from core.gate import Lane
from core.model import Disposition
from core.partitions import partition_of
from core.ports import Commit, CommitAnswer, CommittedPlan, EventMark, OrderAnswer, OrderNote, Store
from core.records import NO_KEY, ContactRecord
from core.stats import Stats


class Placement:
    """Puts single invitations into one store.

    Args:
        on_near: told of each that is due before the loaded horizon: (partition, plan).
    """

    def __init__(
        self, store: Store, identity: Identity, clock: Clock, stats: Stats,
        on_near: Callable[[int, CommittedPlan], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._identity = identity
        self._clock = clock
        self._stats = stats
        self._on_near = on_near

    def partition(self, key: bytes) -> int:
        """Return where a key is kept."""
        return partition_of(key, self._store.meta.partition_count)

    async def record(self, contact_key: bytes) -> ContactRecord:
        """Return what is known of a contact."""
        found = await self._store.contact(self.partition(contact_key), contact_key)
        return found or ContactRecord()

    async def order(self, order_key: bytes, contact_key: bytes = NO_KEY) -> OrderAnswer:
        """Return what is known of an order; note a contact of it first, if one is given."""
        if order_key == NO_KEY:
            return OrderAnswer((), ())
        partition, note = self.partition(order_key), OrderNote(order_key, contact_key)
        answers = await patiently(
            lambda: self._store.note_orders({partition: [note]}, self._clock.now_ms()),
            self._stats,
            PATIENCE_MS,
        )
        return answers[partition][0]

    async def is_marked(self, one: Incoming) -> bool:
        """Return whether the id of an event is known."""
        partition = self.partition(one.event_key)
        found = await self._store.event_mark(partition, one.event_key, self._clock.now_ms())
        return found is not None

    async def mark(self, one: Incoming) -> None:
        """Mark the id of an event, and go on with the contact of the first time.

        Raises:
            EventIdReused: the id was used with another content.
        """
        await self.find_contact(one)
        partition = self.partition(one.event_key)
        mark = EventMark(one.event_key, body_hash(one.body), one.contact_key)
        answers = await patiently(
            lambda: self._store.mark_events({partition: [mark]}, self._clock.now_ms()),
            self._stats,
            PATIENCE_MS,
        )
        answer = answers[partition][0]
        if not answer.is_same_body:
            raise id_reused()
        one.contact_key = answer.contact_key

    async def find_contact(self, one: Incoming) -> None:
        """Find for whom less than an e-mail stands by now (R4); the strongest of them counts."""
        contact = one.event.contact
        for key in () if contact.email else self._identity.alias_keys(one.channel.account, contact):
            known = (await self.order(key)).contact_keys
            if known:
                one.contact_key = known[-1]
                return

    async def commit(self, commit: Commit) -> CommitAnswer:
        """Apply a commit, and tell the wheel of what is due soon.

        Raises:
            FailedPrecondition: the contact was erased after the event occurred (R22).
        """
        partition = self.partition(commit.contact_key)
        answers = await patiently(
            lambda: self._store.commit({partition: [commit]}, self._clock.now_ms()),
            self._stats,
            PATIENCE_MS,
        )
        answer = answers[partition][0]
        if answer.disposition == Disposition.REFUSED:
            mark = {self.partition(commit.event_key): [commit.event_key]}
            await self._store.forget_events(mark, self._clock.now_ms())
            raise contact_erased()
        if not answer.is_duplicate:
            self._stats.invitations_planned += len(answer.plans)
            for plan in answer.plans:
                if plan.lane == Lane.NEAR:
                    self._on_near(partition, plan)
        return answer


def id_reused() -> EventIdReused:
    """Return the refusal of an id that stands for something else."""
    return EventIdReused(
        "an event or invitation with this id and source, but another content, was accepted before: "
        "use a new id",
        field="event.id",
    )
