"""Review links: made when a message is rendered, followed when somebody clicks, and given back with the
review that was written by them (A21, B36, R47).

Decides: where the link of a request leads, what its token still says, and what a review has to bring.

    request rendered    link to `/r/<token>` where people reach us, else to the page itself
    clicked             CLICKED is on record; on to the shop's page or the platform's
    page opened         `resolve`: order, goods, questionnaire
    review written      `complete`: the event gets its order or contact and what it is about

Where a click leads is made of the configuration alone: nothing of the request stands in it but the
token, which is of our own making.
Never: shows a questionnaire, or keeps a review.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.clock import Clock
from core.contact_ports import FeedbackKind
from core.engine.facts import Known
from core.engine.feedback import FeedbackBook, Told
from core.engine.review_links import filled, page_link
from core.engine.review_tokens import ReviewTicket, ReviewTokens, last_day_of
from core.errors import FailedPrecondition, InvalidField, NotFound
from core.model import Contact, Event, Family, Item, Order, Review
from core.partitions import partition_of
from core.ports import Store, Waiting
from core.records import KIND_PRODUCT, KIND_SERVICE, PlanDetail
from core.registry.diversion_parts import OWN_PLATFORM
from core.registry.registry import Registry
from core.sending import Letter

PATH = "/r/"
"""Of review links, behind where people reach us."""
REVIEW_SUBMITTED = "review_submitted"

_TOKEN = "event.review.link_token"
_BOTH = KIND_SERVICE | KIND_PRODUCT
_detail = msgspec.msgpack.Decoder(PlanDetail)
_event = msgspec.msgpack.Decoder(Event)


class ReviewRequest(msgspec.Struct, frozen=True):
    """What a review link is about."""

    ticket: ReviewTicket
    detail: PlanDetail
    platform: str
    """Id, `OWN_PLATFORM` included."""
    items: tuple[Item, ...] = ()
    """The goods that did not go back, where it asks about products."""
    knows_items: bool = False
    """False: the daemon has forgotten the order's goods."""


class ReviewDesk:
    """Makes and reads the review links of one store.

    Attributes:
        base: where people reach us; "" where they cannot, and then links lead to the page itself.
    """

    def __init__(
        self, tokens: ReviewTokens, store: Store, registry: Registry, feedback: FeedbackBook,
        clock: Clock,
    ) -> None:  # fmt: skip
        self.base = ""
        self._tokens = tokens
        self._store = store
        self._registry = registry
        self._feedback = feedback
        self._clock = clock

    # Making ---------------------------------------------------------------------------------------

    def link(self, letter: Letter, comment_kinds: int) -> str:
        """Return the link of a review request, "" if its answer is a reply to the message.

        Args:
            letter: with the platform's own link, if it leads to one.
            comment_kinds: about what a review is taken only with a text.
        """
        page = letter.channel.review_page_url
        if not letter.kinds or not letter.member or not (letter.platform or page):
            return letter.review_url
        if letter.platform and not self.base:
            return letter.review_url
        token = self._tokens.make(
            ReviewTicket(
                letter.member, letter.kinds, comment_kinds, bool(letter.platform),
                letter.questionnaire, last_day_of(letter.send_ms),
            )
        )  # fmt: skip
        return f"{self.base.rstrip('/')}{PATH}{token}" if self.base else page_link(page, token)

    # Following ------------------------------------------------------------------------------------

    def read(self, token: str) -> ReviewTicket | None:
        """Return what a token stands for, None if it was not made here."""
        return self._tokens.read(token)

    async def target(self, ticket: ReviewTicket, token: str) -> str:
        """Return where a link leads, "" if nowhere any more.

        Raises:
            StoreUnavailable: it could not be looked up.
        """
        if self._clock.now_ms() >= ticket.expire_ms:
            return ""
        snapshot = self._registry.snapshot
        channel = snapshot.channel_by_number.get(ticket.channel_number)
        if channel is None:
            return ""
        if not ticket.is_elsewhere:
            return page_link(channel.review_page_url, token)
        waiting = await self._waiting(ticket)
        if waiting is None:
            return ""
        detail = _detail.decode(waiting.detail)
        platform = snapshot.platform(channel.account, detail.platform)
        if platform is None:
            return ""
        return filled(platform.review_url, _event_of(waiting, detail), channel)

    async def click(self, ticket: ReviewTicket) -> None:
        """Note that somebody followed a link; reminders may end by it (R47).

        Raises:
            StoreUnavailable: it may not be on record.
        """
        channel = self._registry.snapshot.channel_by_number.get(ticket.channel_number)
        if channel is not None:
            told = Told(ticket.member, FeedbackKind.CLICKED)
            await self._feedback.record(channel.account, [told], actor="recipient")

    async def resolve(self, account: str, token: str) -> ReviewRequest:
        """Return what a link is about.

        Raises:
            InvalidField: it is no link of this account.
            FailedPrecondition: it has expired.
            NotFound: the request is not known any more.
        """
        ticket = self._ticket(account, token, "token")
        if self._clock.now_ms() >= ticket.expire_ms:
            raise FailedPrecondition("this review link has expired", field="token")
        waiting, detail = await self._request(ticket, "token")
        items: tuple[Item, ...] = ()
        if waiting.body and ticket.kinds & KIND_PRODUCT:
            known = Known(waiting.body, waiting.facts, waiting.reference.order_key)
            items = tuple(known.kept_items)
        platform = detail.platform if ticket.is_elsewhere else OWN_PLATFORM
        return ReviewRequest(ticket, detail, platform, items, bool(waiting.body))

    def _ticket(self, account: str, token: str, field: str) -> ReviewTicket:
        ticket = self._tokens.read(token)
        channel = None
        if ticket is not None:
            channel = self._registry.snapshot.channel_by_number.get(ticket.channel_number)
        if ticket is None or channel is None or channel.account != account:
            raise InvalidField(
                f"{field} must be the token of a review link of this account, whole and unchanged",
                field=field,
            )
        return ticket

    async def _waiting(self, ticket: ReviewTicket) -> Waiting | None:
        partition = partition_of(ticket.contact_key, self._store.meta.partition_count)
        found = await self._store.read({partition: [ticket.member]})
        return found[partition][0]

    async def _request(self, ticket: ReviewTicket, field: str) -> tuple[Waiting, PlanDetail]:
        waiting = await self._waiting(ticket)
        if waiting is None or not waiting.detail:
            raise NotFound("the request of this review link is not known any more", field=field)
        return waiting, _detail.decode(waiting.detail)

    # Given back -----------------------------------------------------------------------------------

    async def complete(self, account: str, event: Event) -> tuple[Event, bytes]:
        """Return an event with what the link of its review says, and the member of the request.

        A link that has expired will do: the review was written, and says so late.

        Raises:
            InvalidField: it is no review by this link, or lacks the text that it must have.
            NotFound: the request is not known any more.
            StoreUnavailable: publish the event again.
        """
        review = event.review
        assert review is not None and review.link_token, "asked before"
        if event.type != REVIEW_SUBMITTED:
            raise InvalidField(
                f"{_TOKEN} goes with events of type {REVIEW_SUBMITTED}", field=_TOKEN
            )
        ticket = self._ticket(account, review.link_token, _TOKEN)
        channel = self._registry.snapshot.channel_by_number[ticket.channel_number]
        if event.channel != channel.name:
            raise InvalidField(
                f"event.channel must be {channel.name}, whose review link it is",
                field="event.channel",
            )
        kind = review.kind or _only(ticket.kinds)
        _check_kind(ticket, kind)
        _check_comment(ticket, kind, review)
        _, detail = await self._request(ticket, _TOKEN)
        completed = msgspec.structs.replace(
            event, review=msgspec.structs.replace(review, kind=kind, link_token="")
        )
        completed.order = _order(event, detail)
        if completed.contact == Contact():
            completed.contact = _contact(detail, is_needed=completed.order is None)
        return completed, ticket.member

    async def reviewed(self, account: str, written: Sequence[tuple[bytes, int]]) -> None:
        """Note at requests that a review was written by their links; (member, when).

        Raises:
            StoreUnavailable: publish the events again.
        """
        told = [Told(member, FeedbackKind.REVIEWED, time_ms) for member, time_ms in written]
        await self._feedback.record(account, told)


def _only(kinds: int) -> int:
    """Return the kind of review if only one is asked for, 0 for any."""
    return 0 if kinds == _BOTH else kinds


def _check_kind(ticket: ReviewTicket, kind: int) -> None:
    if kind & ~ticket.kinds:
        asked = Family(ticket.kinds).name.partition("_")[0]
        raise InvalidField(
            f"event.review.kind must be {asked}, which is all that the review link asks about; or leave "
            "it out",
            field="event.review.kind",
        )


def _check_comment(ticket: ReviewTicket, kind: int, review: Review) -> None:
    wanted = ticket.comment_kinds & (kind or _BOTH)
    if wanted and not review.has_comment:
        about = "a product" if wanted == KIND_PRODUCT else "the order"
        raise InvalidField(
            f"event.review.has_comment must be true: this request takes a review of {about} only with "
            "a text (its rule's review.comment_required)",
            field="event.review.has_comment",
        )


def _order(event: Event, detail: PlanDetail) -> Order | None:
    """Return the order of a review: the one that was asked about.

    Raises:
        InvalidField: the event names another one.
    """
    given = event.order
    if not detail.order_reference:
        return given
    if given is None:
        return Order(reference=detail.order_reference)
    if given.reference not in ("", detail.order_reference):
        raise InvalidField(
            "event.order.reference must be that of the order which the review link asks about; leave "
            "it out",
            field="event.order.reference",
        )
    return msgspec.structs.replace(given, reference=detail.order_reference)


def _contact(detail: PlanDetail, *, is_needed: bool) -> Contact:
    """Return who was asked, as far as the address tells: an order leads to them too, and better than a
    phone that several may share."""
    address = detail.address
    if "@" in address:
        return Contact(email=address)
    if not is_needed:
        return Contact()
    if not address:
        raise NotFound("the contact of this review link is not known any more", field=_TOKEN)
    return Contact(phone=address)


def _event_of(waiting: Waiting, detail: PlanDetail) -> Event:
    """Return the event of a request, or what is left of it."""
    if waiting.body:
        return _event.decode(waiting.body)
    return Event(
        "", "", detail.event_type, detail.channel, 0, Contact(),
        Order(reference=detail.order_reference), locale=detail.locale,
    )  # fmt: skip


assert (int(Family.SERVICE_REVIEW), int(Family.PRODUCT_REVIEW)) == (KIND_SERVICE, KIND_PRODUCT)
