"""What waited for somebody unknown goes over to whom they turn out to be (D21).

Decides: when a contact is identified, and what goes over: invitations that had nobody to go to, timers,
purchases and consents.
Never: touches what can be sent where it waits.

An invitation for a session has no address, so it cannot be sent while it goes over; whatever crashes in
between is healed by publishing the identifying event again. What is left behind ends SKIPPED
(UNIDENTIFIED).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from core.clock import Clock
from core.engine.identity import Identity
from core.engine.incoming import IDENTIFY, Incoming
from core.engine.planner import address_for
from core.model import CONSENT_PURPOSES, Contact, Disposition, Event, Reason, State
from core.partitions import partition_of
from core.ports import Commit, CommitAnswer, CommittedPlan, Plan, Store, Waiting
from core.records import ContactRecord, HistoryKind, PlanDetail, member_of
from core.timer_records import Timer

Commits = Callable[[Sequence[tuple[int, Commit]]], Awaitable[list[CommitAnswer]]]

_detail = msgspec.msgpack.Decoder(PlanDetail)
_event = msgspec.msgpack.Decoder(Event)
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def identified_keys(identity: Identity, incoming: Incoming) -> list[bytes]:
    """Return the keys of those whom an event identifies: by an identify event whoever had the phone,
    reference or session; by any other event with an e-mail whoever had the session."""
    contact = incoming.event.contact
    if not contact.email or incoming.is_import:
        return []
    known = contact if incoming.event.type == IDENTIFY else Contact(session_id=contact.session_id)
    return identity.alias_keys(incoming.channel.account, known)


def merged(contact: Contact, identified: Contact) -> Contact:
    """Return a contact with what is known by now: what it told itself stays."""
    told = {
        name: getattr(contact, name) or getattr(identified, name)
        for name in contact.__struct_fields__
    }
    return Contact(**told)


class Adoption:
    """Carries what waited for aliases of a contact over to the contact."""

    def __init__(self, store: Store, commits: Commits, identity: Identity, clock: Clock) -> None:
        self._store = store
        self._commits = commits
        self._identity = identity
        self._clock = clock

    def _partition(self, key: bytes) -> int:
        return partition_of(key, self._store.meta.partition_count)

    async def adopt(self, incoming: Incoming) -> list[tuple[int, CommittedPlan]]:
        """Take over what waits for the aliases that an event names.

        Returns:
            The invitations that wait for the contact now, with its partition.
        """
        taken: list[tuple[int, CommittedPlan]] = []
        for key in identified_keys(self._identity, incoming):
            partition = self._partition(key)
            record = await self._store.contact(partition, key)
            timers = (await self._store.timers(partition, [key]))[0]
            if key != incoming.contact_key and (record is not None or timers):
                taken += await self._take(incoming, key, record or ContactRecord(), timers)
        return taken

    async def _take(
        self, incoming: Incoming, key: bytes, record: ContactRecord, timers: list[Timer]
    ) -> list[tuple[int, CommittedPlan]]:
        partition = self._partition(key)
        members = [
            member_of(key, ref.sequence, ref.channel_number)
            for ref in record.references
            if ref.state == State.SCHEDULED
        ]
        read = (await self._store.read({partition: members}))[partition] if members else []
        waiting = [one for one in read if one is not None and _is_homeless(one)]
        commits = [self._commit(incoming, record, one) for one in waiting]
        commits += [self._set_timer(incoming, record, key, timer) for timer in timers]
        if not commits:
            return []
        target = self._partition(incoming.contact_key)
        answers = await self._commits([(target, commit) for commit in commits])
        now_ms = self._clock.now_ms()
        gone = [one.member for one in waiting]
        if gone:
            await self._store.cancel(partition, gone, State.SKIPPED, Reason.UNIDENTIFIED, now_ms)
        if timers:
            await self._store.drop_timers(partition, [key + timer.id for timer in timers])
        return [(target, plan) for answer in answers for plan in answer.plans]

    def _commit(self, incoming: Incoming, record: ContactRecord, one: Waiting) -> Commit:
        """Return what makes the same invitation wait for the contact."""
        ref, detail = one.reference, _detail.decode(one.detail)
        event = self._event(incoming, one.body)
        detail = msgspec.structs.replace(detail, address=address_for(event.contact, ref.medium))
        plan = Plan(
            medium=ref.medium, purpose=ref.purpose, step=ref.step,
            channel_number=ref.channel_number, rule_number=ref.rule_number,
            due_ms=max(ref.due_ms, self._clock.now_ms()), expire_ms=ref.expire_ms,
            order_key=ref.order_key, message_key=ref.message_key, detail=_encode(detail),
            flags=ref.flags, priority=ref.priority,
            needs_consent=ref.purpose in CONSENT_PURPOSES, kinds=ref.kinds,
        )  # fmt: skip
        return self._base(incoming, record, one.member, event, plans=(plan,))

    def _set_timer(
        self, incoming: Incoming, record: ContactRecord, key: bytes, timer: Timer
    ) -> Commit:
        event = self._event(incoming, timer.body)
        return self._base(incoming, record, key + timer.id, event, timers=(timer,))

    def _event(self, incoming: Incoming, body: bytes) -> Event:
        event = _event.decode(body)
        event.contact = merged(event.contact, incoming.event.contact)
        return event

    def _base(
        self, incoming: Incoming, record: ContactRecord, member: bytes, event: Event,
        plans: tuple[Plan, ...] = (), timers: tuple[Timer, ...] = (),
    ) -> Commit:  # fmt: skip
        return Commit(
            event_key=self._identity.adopted_key(incoming.event_key, member),
            contact_key=incoming.contact_key,
            disposition=Disposition.PLANNED if plans else Disposition.NO_MATCH,
            body=_encode(event),
            event_time_ms=event.occur_ms,
            plans=plans,
            timers=timers,
            consents=tuple(
                (c.scope, c.purpose, c.medium, c.status, c.scope_key, c.time_ms)
                for c in record.consents
            ),
            history=tuple(
                (line.kind, line.key, line.time_ms, line.channel_number)
                for line in record.history
                if line.kind != HistoryKind.FIRED
            ),
            is_primary=False,
        )


def _is_homeless(one: Waiting) -> bool:
    """Return whether an invitation has nobody to go to: only then does it go over."""
    detail = _detail.decode(one.detail)
    return not detail.address and not detail.carrier
