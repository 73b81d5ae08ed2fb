"""Reading invitations back, and cancelling them.

Decides: how an invitation is found by its own id, by contact, by order, and by channel and due time.
Never: shows what belongs to another account: that is answered like what does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from core import bounds
from core.clock import Clock
from core.engine.facts import Known
from core.engine.heard import times_of
from core.engine.identity import Identity
from core.engine.said_template import said_template
from core.errors import FailedPrecondition, InvalidField, NotFound
from core.gate import Lane, Source
from core.model import Event, Reason, State
from core.partitions import partition_of
from core.ports import DueEntry, OrderNote, Store, Waiting
from core.records import (
    KIND_PRODUCT,
    KIND_SERVICE,
    PlanDetail,
    Reference,
    member_of,
    member_parts,
)
from core.registry.contents import ContentTemplate
from core.registry.registry import Registry
from core.registry.rule_parts import ReviewSettings

_detail = msgspec.msgpack.Decoder(PlanDetail)
_SCAN_READS_MAX = 64
"""Lanes looked at for one page; then an empty page with a token is given (E19)."""


class InvitationView(msgspec.Struct):
    """An invitation as it stands."""

    member: bytes
    reference: Reference
    detail: PlanDetail
    review: ReviewSettings = ReviewSettings()
    """Of the rule of a review request: as it is now, of reminders as it was."""
    heard: Mapping[int, int] = {}
    """Kind of feedback -> when it was first heard, epoch ms. Only of one that is read by its name: in
    lists it would cost a read each."""
    said: ContentTemplate | None = None
    """The shop's own template that was sent, in its revision then."""


class Reader:
    """Reads the invitations of one store."""

    def __init__(self, store: Store, registry: Registry, identity: Identity, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._identity = identity
        self._clock = clock

    def _partition(self, key: bytes) -> int:
        return partition_of(key, self._store.meta.partition_count)

    def view(self, account: str, waiting: Waiting | None) -> InvitationView | None:
        """Return an invitation as it was read; None if it is not of the account."""
        if waiting is None:
            return None
        detail = _detail.decode(waiting.detail)
        if detail.account != account:
            return None
        ref = waiting.reference
        said = said_template(self._registry.snapshot, ref, detail)
        return InvitationView(waiting.member, ref, detail, self._review(ref, detail), said=said)

    def _review(self, ref: Reference, detail: PlanDetail) -> ReviewSettings:
        snapshot = self._registry.snapshot
        rule = snapshot.rule_by_number(ref.rule_number)
        if ref.step and rule is not None:
            rule = snapshot.rule_revision(ref.rule_number, detail.revision)
        if rule is None or not ref.kinds:
            return ReviewSettings()
        review = rule.review or ReviewSettings()
        channel = snapshot.channel(detail.account, detail.channel)
        if ref.kinds != KIND_SERVICE | KIND_PRODUCT or channel is None:
            return review
        # Asked about with the service, products still have their own say about comments (B36).
        product = snapshot.product_rule(channel, detail.event_type)
        is_strict = product is not None and product.review is not None and (
            product.review.comment_required
        )  # fmt: skip
        return replace(review, comment_required=review.comment_required or is_strict)

    async def get(self, account: str, member: bytes) -> InvitationView:
        """Return one invitation.

        Raises:
            NotFound: there is none of this name in the account.
        """
        view = None
        if len(member) == 16:
            partition = self._partition(member)
            found = await self._store.read({partition: [member]})
            view = self.view(account, found[partition][0])
        if view is None:
            raise NotFound("no such invitation in this account", field="name")
        if view.reference.attempts and State(view.reference.state).is_ended:
            (notes,) = await self._store.notes(partition, [member])
            view.heard = times_of(notes)
        return view

    async def event_of(self, account: str, member: bytes) -> Event:
        """Return the event of an invitation, with what has become known since.

        Raises:
            NotFound: there is no such invitation in the account.
            FailedPrecondition: its event has been forgotten.
        """
        waiting = None
        if len(member) == 16:
            partition = self._partition(member)
            waiting = (await self._store.read({partition: [member]}))[partition][0]
        if waiting is None or self.view(account, waiting) is None:
            raise NotFound("no such invitation in this account", field="name")
        if not waiting.body:
            raise FailedPrecondition("the event of the invitation is not kept any more")
        return Known(waiting.body, waiting.facts, waiting.reference.order_key).event

    async def by_contact(self, account: str, contact_key: bytes) -> list[InvitationView]:
        """Return all invitations of a contact, oldest first."""
        partition = self._partition(contact_key)
        record = await self._store.contact(partition, contact_key)
        if record is None or not record.references:
            return []
        members = [
            member_of(contact_key, ref.sequence, ref.channel_number) for ref in record.references
        ]
        found = await self._store.read({partition: members})
        return [view for one in found[partition] if (view := self.view(account, one)) is not None]

    async def by_order(
        self, account: str, channel_name: str, order_reference: str
    ) -> list[InvitationView]:
        """Return all invitations of an order, over every contact it is known under.

        Raises:
            NotFound: no such channel.
        """
        channel = self._registry.snapshot.channel_by_name.get(channel_name)
        if channel is None or channel.account != account:
            raise NotFound(f'"{channel_name[:200]}" is no channel of this account', field="channel")
        order_key = self._identity.order_key(account, channel.id, order_reference)
        contacts = await self.contacts_of_order(order_key)
        views: list[InvitationView] = []
        for key in contacts:
            views += [
                view
                for view in await self.by_contact(account, key)
                if view.reference.order_key == order_key
            ]
        return views

    async def contacts_of_order(self, order_key: bytes) -> tuple[bytes, ...]:
        """Return the contacts an order is known under; a note that says nothing only reads."""
        partition = self._partition(order_key)
        answers = await self._store.note_orders(
            {partition: [OrderNote(order_key)]}, self._clock.now_ms()
        )
        return answers[partition][0].contact_keys

    async def waiting(
        self, account: str, channel_name: str, start_ms: int, end_ms: int, page_size: int,
        page_token: str,
    ) -> tuple[list[InvitationView], str]:  # fmt: skip
        """Return invitations that wait in a channel and are due in [start_ms, end_ms).

        Grouped by partition, then lane, by due time in each. Bounded work per call: a page may be
        empty and have a next one.

        Returns:
            (views, token of the next page, "" on the last).

        Raises:
            NotFound: no such channel.
            InvalidField: the token is not one of ours.
        """
        channel = self._registry.snapshot.channel_by_name.get(channel_name)
        if channel is None or channel.account != account:
            raise NotFound(f'"{channel_name[:200]}" is no channel of this account', field="channel")
        partition, lane, skip = _parse_token(page_token)
        views: list[InvitationView] = []
        reads = 0
        while partition < self._store.meta.partition_count:
            lanes = await self._lanes(partition, end_ms)
            while lane < len(lanes):
                if len(views) >= page_size or reads >= _SCAN_READS_MAX:
                    return views, f"{partition}.{lane}.{skip}"
                entries = await self._store.read_lane(
                    partition, lanes[lane], end_ms, skip + bounds.PAGE_SIZE_MAX
                )
                reads += 1
                fresh = entries[skip:]
                taken, used = await self._matching(
                    account, partition, fresh, channel.number, start_ms, page_size - len(views)
                )
                views += taken
                if used < len(fresh) or len(fresh) == bounds.PAGE_SIZE_MAX:
                    skip += used
                else:
                    lane, skip = lane + 1, 0
            partition, lane, skip = partition + 1, 0, 0
        return views, ""

    async def _lanes(self, partition: int, end_ms: int) -> list[Source]:
        slots = (await self._store.far_slots([partition], end_ms))[partition]
        return [
            Source(Lane.NEAR),
            Source(Lane.DEFERRED),
            *(Source(Lane.FAR, number) for number in slots),
        ]

    async def _matching(
        self, account: str, partition: int, entries: list[DueEntry], channel_number: int,
        start_ms: int, room: int,
    ) -> tuple[list[InvitationView], int]:  # fmt: skip
        """Return views of entries that match, at most `room`, and how many entries were used."""
        wanted: list[bytes] = []
        used = 0
        for entry in entries:
            if len(wanted) == room:
                break
            used += 1
            if entry.due_ms >= start_ms and member_parts(entry.member)[2] == channel_number:
                wanted.append(entry.member)
        if not wanted:
            return [], used
        found = await self._store.read({partition: wanted})
        views = [self.view(account, one) for one in found[partition]]
        return [
            view for view in views if view is not None and view.reference.state == State.SCHEDULED
        ], used

    async def cancel(self, account: str, member: bytes) -> InvitationView:
        """Cancel a waiting invitation; idempotent for those a client has cancelled.

        Raises:
            NotFound: there is none of this name in the account.
            FailedPrecondition: it is on its way, or has ended otherwise; nothing was changed.
        """
        await self.get(account, member)
        await self._store.cancel(
            self._partition(member), [member], State.CANCELLED, Reason.BY_CLIENT,
            self._clock.now_ms(),
        )  # fmt: skip
        view = await self.get(account, member)
        ref = view.reference
        if ref.state != State.CANCELLED or ref.reason != Reason.BY_CLIENT:
            why = f" ({Reason(ref.reason).name})" if ref.reason else ""
            raise FailedPrecondition(
                f"only a waiting invitation can be cancelled; this one is "
                f"{State(ref.state).name}{why}",
                field="name",
            )
        return view


def _parse_token(token: str) -> tuple[int, int, int]:
    if not token:
        return 0, 0, 0
    try:
        partition, lane, skip = (int(part) for part in token.split("."))
        if min(partition, lane, skip) < 0:
            raise ValueError
    except ValueError:
        raise InvalidField(
            "use the next_page_token of the answer before, unchanged", field="page_token"
        ) from None
    return partition, lane, skip
