"""What waited for somebody unknown goes over to whom they turn out to be (D21).

Decides: when a contact is identified; what goes over: invitations that had nobody to go to, timers,
purchases, and what `core/engine/linking.py` says of consents and caps; and what is known of a contact by
the events that name less than an e-mail.
Never: touches what can be sent where it waits, nor merges two sides with different e-mails (R4): what
goes over comes from a phone, reference or session.

What the identifying event ends is ended before anything goes over, as if it had waited for the contact
from the start; what a purchase has ended by now stays behind. An invitation for a session has no
address, so it cannot be sent while it goes over; whatever crashes in between is healed by publishing
the identifying event again. What is left behind ends SKIPPED (UNIDENTIFIED).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from core.clock import Clock
from core.engine import profiles
from core.engine.identity import Identity
from core.engine.incoming import IDENTIFY, Incoming
from core.engine.linking import PHONE_SCOPE, Evidence, Linking, StampLine
from core.engine.plans import address_for
from core.engine.profiles import NO_RULE as NO_RULE
from core.engine.triggers import has_bought
from core.gate import Lane
from core.model import CONSENT_PURPOSES, Contact, Disposition, Event, Reason, State
from core.partitions import partition_of
from core.ports import Commit, CommitAnswer, CommittedPlan, Plan, Stop, Store, Waiting
from core.records import ContactRecord, HistoryKind, PlanDetail, member_of
from core.registry.registry import Registry
from core.registry.rule_parts import OncePer
from core.timer_records import Timer

Commits = Callable[[Sequence[tuple[int, Commit]]], Awaitable[list[CommitAnswer]]]
OnNear = Callable[[int, CommittedPlan], None]
OnTimer = Callable[[int, bytes, int], None]

HistoryLine = tuple[int, bytes, int, int]

_LINES_MAX = 128
"""Lines of a record that one commit brings."""

_detail = msgspec.msgpack.Decoder(PlanDetail)
_event = msgspec.msgpack.Decoder(Event)
_contact = msgspec.msgpack.Decoder(Contact)
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def alias_keys_of(identity: Identity, account: str, event: Event) -> tuple[bytes, ...]:
    """Return the keys of those whom an event identifies: by an identify event whoever had the phone,
    reference or session; by any other event with an e-mail whoever had the session."""
    contact = event.contact
    is_identify = event.type == IDENTIFY
    if not contact.email or not (is_identify or contact.session_id):
        return ()
    known = contact if is_identify else Contact(session_id=contact.session_id)
    return tuple(identity.alias_keys(account, known))


def merged(contact: Contact, identified: Contact) -> Contact:
    """Return a contact with what is known by now: what it told itself stays."""
    told = {
        name: getattr(contact, name) or getattr(identified, name)
        for name in contact.__struct_fields__
    }
    return Contact(**told)


class Adoption:
    """Carries what waited for aliases of a contact over to the contact."""

    def __init__(
        self, store: Store, registry: Registry, commits: Commits, identity: Identity, clock: Clock,
        on_near: OnNear, on_timer: OnTimer,
    ) -> None:  # fmt: skip
        self._store = store
        self._registry = registry
        self._commits = commits
        self._identity = identity
        self._clock = clock
        self._on_near = on_near
        self._on_timer = on_timer
        self._linking = Linking(store, identity, clock)

    def _partition(self, key: bytes) -> int:
        return partition_of(key, self._store.meta.partition_count)

    # How a contact is reached ---------------------------------------------------------------------

    async def complete(self, incoming: Sequence[Incoming]) -> None:
        """Add to events without an e-mail what is known of the contacts that were found for them."""
        found = [one for one in incoming if not one.event.contact.email and self._was_found(one)]
        profiles = await self._profiles({one.contact_key for one in found})
        for one in found:
            profile = profiles.get(one.contact_key)
            if profile is not None:
                known = merged(one.event.contact, _contact.decode(profile.body))
                one.event = msgspec.structs.replace(one.event, contact=known)
                one.body = _encode(one.event)

    def _was_found(self, one: Incoming) -> bool:
        """Return whether an event is about somebody else than it names."""
        if not one.has_contact:
            return False
        named = self._identity.contact_key(one.channel.account, one.event.contact)
        return one.contact_key != named

    async def newest(self, incoming: Incoming, contact_keys: Sequence[bytes]) -> bytes:
        """Return whom an event is about, of all that its session, reference or phone ever stood for:
        who was identified by it last."""
        best, best_ms = contact_keys[-1], -1
        if len(contact_keys) == 1:
            return best
        aliases = set(self._identity.alias_keys(incoming.channel.account, incoming.event.contact))
        profiles = await self._profiles(set(contact_keys))
        for key in contact_keys:
            profile = profiles.get(key)
            if profile is None or profile.time_ms < best_ms:
                continue
            known = _contact.decode(profile.body)
            if aliases.intersection(self._identity.alias_keys(incoming.channel.account, known)):
                best, best_ms = key, profile.time_ms
        return best

    async def _profiles(self, contact_keys: Iterable[bytes]) -> dict[bytes, Timer]:
        """Return what says how contacts are reached; nothing for those of whom it is not known."""
        partitions: dict[int, list[bytes]] = {}
        for key in contact_keys:
            partitions.setdefault(self._partition(key), []).append(key)
        return {
            key: timer
            for partition, keys in partitions.items()
            for key, timers in zip(keys, await self._store.timers(partition, keys), strict=True)
            for timer in timers
            if timer.rule_number == NO_RULE
        }

    async def _write_profiles(self, identified: Sequence[Incoming]) -> None:
        """Keep how contacts are reached, where that is news."""
        held = await self._profiles({one.contact_key for one in identified})
        await self._commits([
            (
                self._partition(one.contact_key),
                profiles.commit_of(self._identity, one, held.get(one.contact_key)),
            )
            for one in identified
            if one.has_rivals or not profiles.is_kept(one, held.get(one.contact_key))
        ])  # fmt: skip

    async def aliases(self, contact_key: bytes) -> tuple[bytes, ...]:
        """Return the keys of everything by which a contact was ever identified."""
        held = (await self._profiles([contact_key])).get(contact_key)
        return () if held is None else profiles.read(held).alias_keys

    # What goes over -------------------------------------------------------------------------------

    async def adopt(self, identified: Sequence[tuple[Incoming, tuple[Stop, ...]]]) -> None:
        """Take over what waits for the aliases that events name.

        Args:
            identified: such events, each with what it ends: for its contact, and so for them.

        Raises:
            StoreUnavailable: a part may have been done; publish the events again.
        """
        if not identified:
            return
        await self._write_profiles([one for one, _ in identified])
        aliases: dict[int, list[bytes]] = {}
        for one, _ in identified:
            for key in one.alias_keys:
                aliases.setdefault(self._partition(key), []).append(key)
        records = await self._store.contacts(aliases)
        known = {
            key
            for partition, keys in aliases.items()
            for key, record in zip(keys, records[partition], strict=True)
            if record is not None
        }
        # One after the other: of two contacts that a session turns out to be, one gets what waits.
        for one, stops in identified:
            for key in one.alias_keys:
                if key in known and key != one.contact_key:
                    await self._adopt(one, key, stops)

    async def _adopt(self, incoming: Incoming, key: bytes, stops: tuple[Stop, ...]) -> None:
        if stops:
            await self._commits([(self._partition(key), _stopping(incoming, key, stops))])
        record, timers = await self._held(key)
        if record is not None:
            await self._take(incoming, key, record, timers)

    async def _held(self, key: bytes) -> tuple[ContactRecord | None, list[Timer]]:
        partition = self._partition(key)
        record = await self._store.contact(partition, key)
        if record is None:
            return None, []
        return record, (await self._store.timers(partition, [key]))[0]

    async def _take(
        self, incoming: Incoming, key: bytes, record: ContactRecord, timers: list[Timer]
    ) -> None:
        partition, target = self._partition(key), self._partition(incoming.contact_key)
        members = [
            member_of(key, ref.sequence, ref.channel_number)
            for ref in record.references
            if ref.state == State.SCHEDULED
        ]
        read = (await self._store.read({partition: members}))[partition] if members else []
        homeless = [one for one in read if one is not None and _is_homeless(one)]
        own = await self._store.contact(target, incoming.contact_key) or ContactRecord()
        await self._forbid(incoming, key, record, own)
        wanted = [one for one in homeless if not self._is_pointless(one, own)]
        commits = await self._news(incoming, key, record, own)
        commits += [self._commit(incoming, one) for one in wanted]
        commits += [self._set_timer(incoming, key, timer) for timer in timers]
        answers = await self._commits([(target, commit) for commit in commits])
        for answer, commit in zip(answers, commits, strict=True):
            self._hint(target, answer, commit)
        now_ms = self._clock.now_ms()
        for ended, state, reason in (
            (wanted, State.SKIPPED, Reason.UNIDENTIFIED),
            ([one for one in homeless if one not in wanted], State.CANCELLED, Reason.PURCHASED),
        ):
            gone = [one.member for one in ended]
            if gone:
                await self._store.cancel(partition, gone, state, reason, now_ms)
        if timers:
            await self._store.drop_timers(partition, [key + timer.id for timer in timers])

    async def _forbid(
        self, incoming: Incoming, key: bytes, record: ContactRecord, own: ContactRecord
    ) -> None:
        """Let both sides know what the other forbids, before anything goes over."""
        await self._linking.forbid(key, record, incoming.contact_key, own)
        phone = Contact(phone=incoming.event.contact.phone)
        is_phone = key in self._identity.alias_keys(incoming.channel.account, phone)
        if is_phone and not incoming.has_rivals:
            await self._linking.forbid(incoming.contact_key, own, key, record, PHONE_SCOPE)

    def _hint(self, partition: int, answer: CommitAnswer, commit: Commit) -> None:
        for plan in answer.plans:
            if plan.lane == Lane.NEAR:
                self._on_near(partition, plan)
        for timer in commit.timers:
            self._on_timer(partition, commit.contact_key + timer.id, timer.due_ms)

    def _is_pointless(self, one: Waiting, own: ContactRecord) -> bool:
        """Return whether the contact has bought since what the invitation came from (D5)."""
        ref, snapshot = one.reference, self._registry.snapshot
        rule = snapshot.rule_revision(ref.rule_number, _detail.decode(one.detail).revision)
        channel = snapshot.channel_by_number.get(ref.channel_number)
        if rule is None or channel is None:
            return False
        return has_bought(rule, channel, own, _event.decode(one.body).occur_ms)

    async def _news(
        self, incoming: Incoming, key: bytes, record: ContactRecord, own: ContactRecord
    ) -> list[Commit]:
        """Return what brings the contact the consents, purchases and stamps of the other, where they
        lack any: before all that may need them."""
        # Whose consent it was cannot be told where others were known by the same before.
        consents: list[Evidence] = []
        if not incoming.has_rivals:
            consents = await self._linking.grants(key, record, own)
        known = {line[:2] for line in _purchases(own)}
        history = [line for line in _purchases(record) if line[:2] not in known]
        counted = {(stamp.ledger, stamp.tag) for stamp in own.stamps}
        stamps = [one for one in self._linking.stamps(key, record) if one[:2] not in counted]
        return [
            self._base(
                incoming, key + bytes((at // _LINES_MAX,)), b"",
                consents=consents[at : at + _LINES_MAX], history=history[at : at + _LINES_MAX],
                stamps=stamps[at : at + _LINES_MAX],
            )
            for at in range(0, max(len(consents), len(history), len(stamps)), _LINES_MAX)
        ]  # fmt: skip

    def _commit(self, incoming: Incoming, one: Waiting) -> Commit:
        """Return what makes the same invitation wait for the contact."""
        ref, detail = one.reference, _detail.decode(one.detail)
        event = self._event(incoming, one.body)
        key = self._message_key(incoming, one, detail)
        detail = msgspec.structs.replace(detail, address=address_for(event.contact, ref.medium))
        plan = Plan(
            medium=ref.medium, purpose=ref.purpose, step=ref.step,
            channel_number=ref.channel_number, rule_number=ref.rule_number,
            due_ms=max(ref.due_ms, self._clock.now_ms()), expire_ms=ref.expire_ms,
            order_key=ref.order_key, message_key=key, detail=_encode(detail),
            flags=ref.flags, priority=ref.priority,
            needs_consent=ref.purpose in CONSENT_PURPOSES, kinds=ref.kinds,
        )  # fmt: skip
        return self._base(incoming, one.member, _encode(event), event.occur_ms, (plan,))

    def _message_key(self, incoming: Incoming, one: Waiting, detail: PlanDetail) -> bytes:
        """Return what makes it the same message: for rules that write once to each contact it is
        another one now, which the contact may have had (R1)."""
        ref = one.reference
        rule = self._registry.snapshot.rule_revision(ref.rule_number, detail.revision)
        if rule is None or rule.once_per is not OncePer.CONTACT:
            return ref.message_key
        return self._identity.rule_message_key(
            incoming.contact_key, ref.rule_number, ref.step, ref.medium, 0
        )

    def _set_timer(self, incoming: Incoming, key: bytes, timer: Timer) -> Commit:
        event = self._event(incoming, timer.body)
        return self._base(incoming, key + timer.id, _encode(event), event.occur_ms, timers=(timer,))

    def _event(self, incoming: Incoming, body: bytes) -> Event:
        event = _event.decode(body)
        event.contact = merged(event.contact, incoming.event.contact)
        return event

    def _base(
        self, incoming: Incoming, part: bytes, body: bytes, time_ms: int = 0,
        plans: tuple[Plan, ...] = (), timers: tuple[Timer, ...] = (),
        consents: Sequence[Evidence] = (), history: Sequence[HistoryLine] = (),
        stamps: Sequence[StampLine] = (),
    ) -> Commit:  # fmt: skip
        return Commit(
            event_key=self._identity.adopted_key(incoming.event_key, part),
            contact_key=incoming.contact_key,
            disposition=Disposition.PLANNED if plans else Disposition.NO_MATCH,
            body=body,
            event_time_ms=time_ms or incoming.event.occur_ms,
            plans=plans,
            timers=timers,
            consents=tuple(consents),
            history=tuple(history),
            stamps=tuple(stamps),
            is_primary=False,
        )


def _stopping(incoming: Incoming, key: bytes, stops: tuple[Stop, ...]) -> Commit:
    return Commit(
        event_key=incoming.event_key, contact_key=key, disposition=Disposition.NO_MATCH, body=b"",
        event_time_ms=incoming.event.occur_ms, stops=stops, is_primary=False,
    )  # fmt: skip


def _purchases(record: ContactRecord) -> list[HistoryLine]:
    return [
        (line.kind, line.key, line.time_ms, line.channel_number)
        for line in record.history
        if line.kind != HistoryKind.FIRED
    ]


def _is_homeless(one: Waiting) -> bool:
    """Return whether an invitation has nobody to go to: only then does it go over."""
    detail = _detail.decode(one.detail)
    return not detail.address and not detail.carrier
