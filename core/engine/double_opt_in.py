"""Double opt-in: a consent that counts once its contact has confirmed it by a link (g3, R11).

Decides: when a request may be made, what its token is good for, and what a confirmation writes.
Never: renders the mail, or shows the page; sends anything else.

    request   PENDING, until the token runs out       -> token, and one mail if that is wished
    confirm   CONFIRMED, with both times as evidence

A token is good for one request: that which the contact's table holds as PENDING with the token's very
instant. A newer request, a grant or a refusal takes its place there; a withdrawal or a suppression that
is not older makes it worthless. What happens between looking and writing has a time that is not older
than `now_ms`, which was taken before looking, and so beats the confirmation (R17).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

import msgspec

from core import bounds
from core.antispam.consent import is_covering, is_suppression
from core.clock import Clock
from core.contact_ports import ConsentLine, LoggedLine
from core.engine.consent_documents import (
    DOUBLE_OPT_IN,
    SOURCE_LINK,
    ConsentDocument,
    packed,
    unpacked,
)
from core.engine.consent_tokens import ConsentTicket, ConsentTokens
from core.engine.consent_views import ConsentView
from core.engine.consents import ConsentBook, Statement
from core.engine.manual import ByHand, Wish
from core.engine.reach import Whom
from core.errors import FailedPrecondition, InvalidField, LimitExceeded
from core.model import ConsentStatus, Contact, Event, Medium, Purpose
from core.records import NO_KEY, ConsentEntry
from core.registry.registry import Registry
from core.registry.resources import Channel

TEMPLATE = "confirm-consent"
"""Id of the mail's template, in the catalogue of the senders."""
EVENT_SOURCE = "afterword-consents"
"""Source of the ids of the mails, which no shop uses."""

LinkOf = Callable[[str], str]


class Request(msgspec.Struct, frozen=True):
    """What is asked for."""

    whom: Whom
    said: Statement
    """Its time is not looked at: the request is made now."""
    expire_after_ms: int
    language: str = ""
    """Two letters: that of mail and page, where the contact's own is known."""
    sends: bool = False
    sender_name: str = ""
    """Full name of the channel that sends."""


class Requested(msgspec.Struct):
    """What a request has led to. Without a token there is nothing to confirm."""

    view: ConsentView
    token: str = ""
    link: str = ""
    expire_ms: int = 0
    member: bytes = b""
    """Of the mail."""


class DoubleOptIn:
    """Asks for consents and takes their confirmation, for one store.

    Attributes:
        link_of: makes the link of a token; "" where the deployment has none.
    """

    def __init__(
        self, tokens: ConsentTokens, consents: ConsentBook, by_hand: ByHand, registry: Registry,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._tokens = tokens
        self._consents = consents
        self._by_hand = by_hand
        self._registry = registry
        self._clock = clock
        self.link_of: LinkOf = lambda token: ""
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        """Contact key to the turn of requests of that contact, while there are any."""

    # Asking -----------------------------------------------------------------------------------------

    async def request(
        self, account: str, asked: Request, *, validate_only: bool = False
    ) -> Requested:
        """Ask for a consent.

        Raises:
            NotFound: a channel does not exist.
            FailedPrecondition, InvalidField: a mail is wished and cannot be made.
            LimitExceeded: the contact was asked too often.
        """
        self._consents.scope(account, asked.said.channel_name)
        sender = self._sender(account, asked)
        contact_key = await self._consents.reach.contact_key(account, asked.whom)
        turn = self._turns.setdefault(contact_key, asyncio.Lock())
        async with turn:
            return await self._request(account, contact_key, asked, sender, validate_only)

    async def _request(
        self, account: str, contact_key: bytes, asked: Request, sender: Channel | None,
        validate_only: bool,
    ) -> Requested:  # fmt: skip
        """Ask a contact; requests of one contact come one after the other, so that all are counted."""
        scope, scope_key = self._consents.scope(account, asked.said.channel_name)
        now_ms = self._clock.now_ms()
        entries, log = await self._consents.state(contact_key)
        line = ConsentLine(
            scope, asked.said.purpose, asked.said.medium, ConsentStatus.PENDING, now_ms, scope_key,
            now_ms + asked.expire_after_ms,
            packed(msgspec.structs.replace(asked.said.document, account=account)),
        )  # fmt: skip
        again = _same_request(log, line, asked.said.document.request_id)
        if again is not None:
            line = again
        elif _stands(entries, line, now_ms):
            return Requested(await self._consents.one(account, contact_key, line))
        else:
            _check_not_too_often(log, line, sends=asked.sends)
        ticket = ConsentTicket(
            account, contact_key, line.purpose, line.medium, _channel_number(line), line.time_ms,
            line.expire_ms, sender.number if sender is not None else 0, asked.language,
        )  # fmt: skip
        token = self._tokens.make(ticket)
        answer = Requested(_as_if(ticket, line), token, self.link_of(token), line.expire_ms)
        if not validate_only:
            if again is None:
                whom = Whom(contact_key)
                await self._consents.write(account, whom, [line])
            answer.view = await self._consents.one(account, contact_key, line)
        if asked.sends and sender is not None:
            answer.member = await self._send(account, asked, sender, ticket, answer, validate_only)
        return answer

    def _sender(self, account: str, asked: Request) -> Channel | None:
        """Return the channel that asks, None if it is none in particular."""
        name = asked.sender_name or asked.said.channel_name
        if not name:
            if asked.sends:
                raise InvalidField(
                    "sender_channel is required to send the mail of a consent for the whole account: "
                    '"accounts/{account}/channels/{channel}"',
                    field="sender_channel",
                    reason="FIELD_REQUIRED",
                )
            return None
        self._consents.scope(account, name)
        if asked.sends and not self.link_of("x"):
            raise FailedPrecondition(
                "the mail needs a link, and this deployment has none: set public.url, or leave out "
                "`send` and give the token to the contact yourself"
            )
        return self._registry.snapshot.channel_by_name[name]

    async def _send(
        self, account: str, asked: Request, sender: Channel, ticket: ConsentTicket,
        answer: Requested, validate_only: bool,
    ) -> bytes:  # fmt: skip
        """Send the one mail; the same request again sends no second one."""
        contact = asked.whom.contact
        assert contact is not None and contact.email, "asked before"
        event = Event(
            id=f"{ticket.contact_key.hex()}-{ticket.request_ms}-{ticket.purpose}.{ticket.medium}"
            f".{ticket.channel_number}",
            source=EVENT_SOURCE, type="", channel=sender.name, occur_ms=ticket.request_ms,
            # Without names: forms are filled in with advertising for others to receive.
            contact=Contact(email=contact.email, locale=contact.locale),
            locale=asked.said.document.locale,
            attributes={
                "consent_purpose": Purpose(ticket.purpose).name,
                "consent_medium": Medium(ticket.medium).name,
            },
        )  # fmt: skip
        wish = Wish(
            kinds=0, purpose=Purpose.TRANSACTIONAL, medium=Medium.EMAIL, template=TEMPLATE,
            link=answer.link,
        )  # fmt: skip
        made = await self._by_hand.create(account, event, wish, validate_only=validate_only)
        return made.member

    # Confirming ---------------------------------------------------------------------------------------

    def read(self, token: str) -> ConsentTicket | None:
        """Return what a token stands for, None if it was not made here."""
        return self._tokens.read(token)

    def sender(self, ticket: ConsentTicket) -> Channel | None:
        """Return the channel that asked, None for none in particular or one that is gone."""
        channel = self._registry.snapshot.channel_by_number.get(ticket.sender_number)
        return channel if channel is not None and channel.account == ticket.account else None

    async def confirm(
        self, ticket: ConsentTicket, ip_address: str = "", user_agent: str = "", *,
        actor: str = "recipient", source: str = SOURCE_LINK, validate_only: bool = False,
    ) -> ConsentView:  # fmt: skip
        """Confirm a consent; twice is harmless.

        Raises:
            FailedPrecondition: it was withdrawn, superseded, or has expired.
        """
        account, contact_key = ticket.account, ticket.contact_key
        now_ms = self._clock.now_ms()
        entries, log = await self._consents.state(contact_key)
        request = _line_of(self._consents, ticket)
        _check_not_withdrawn(entries, request)
        if _is_confirmed(entries, log, request):
            return await self._consents.one(account, contact_key, request)
        told = _request_of(log, request)
        if told is None or not _is_open(entries, request):
            raise FailedPrecondition(
                "this link has been superseded: something newer is known of the consent; use the "
                "newest link, or ask again",
                field="token",
            )
        if now_ms >= ticket.expire_ms:
            raise FailedPrecondition(
                "this link has expired: ask for the consent again", field="token"
            )
        document = msgspec.structs.replace(
            told, actor=actor, method=DOUBLE_OPT_IN, source=source,
            ip_address=ip_address or told.ip_address, user_agent=user_agent or told.user_agent,
            request_ms=ticket.request_ms, confirm_ms=now_ms,
        )  # fmt: skip
        line = msgspec.structs.replace(
            request, status=int(ConsentStatus.CONFIRMED), time_ms=now_ms, expire_ms=0,
            document=packed(document),
        )  # fmt: skip
        if not validate_only:
            await self._consents.write(account, Whom(contact_key), [line])
            return await self._consents.one(account, contact_key, line)
        return _as_if(ticket, line)


# --- what a token is good for -----------------------------------------------------------------------


def _line_of(consents: ConsentBook, ticket: ConsentTicket) -> ConsentLine:
    """Return the line of the request that a token was made for."""
    scope, scope_key = consents.scope_of_number(ticket.channel_number)
    return ConsentLine(
        scope, ticket.purpose, ticket.medium, ConsentStatus.PENDING, ticket.request_ms, scope_key,
        ticket.expire_ms,
    )  # fmt: skip


def _is_same_place(entry: ConsentEntry | LoggedLine, line: ConsentLine) -> bool:
    return (entry.scope, entry.scope_key, entry.purpose, entry.medium) == (
        line.scope, line.scope_key, line.purpose, line.medium,
    )  # fmt: skip


def _is_open(entries: Sequence[ConsentEntry], request: ConsentLine) -> bool:
    """Return whether the request stands, and no confirmation or refusal beside it that is not older."""
    here = [entry for entry in entries if _is_same_place(entry, request)]
    return any(
        entry.status == ConsentStatus.PENDING and entry.time_ms == request.time_ms for entry in here
    ) and not any(
        entry.status in (ConsentStatus.CONFIRMED, ConsentStatus.DENIED)
        and entry.time_ms >= request.time_ms
        for entry in here
    )


def _request_of(log: Sequence[LoggedLine], request: ConsentLine) -> ConsentDocument | None:
    """Return the evidence of a request."""
    for line in reversed(log):
        if (
            line.status == ConsentStatus.PENDING
            and line.time_ms == request.time_ms
            and _is_same_place(line, request)
        ):
            return unpacked(line.document) or ConsentDocument()
    return None


def _same_request(
    log: Sequence[LoggedLine], wanted: ConsentLine, request_id: str
) -> ConsentLine | None:
    """Return the request that a call with this id has made before."""
    for line in reversed(log) if request_id else ():
        if line.status == ConsentStatus.PENDING and _is_same_place(line, wanted):
            told = unpacked(line.document)
            if told is not None and told.request_id == request_id:
                return msgspec.structs.replace(
                    wanted, time_ms=line.time_ms, expire_ms=line.expire_ms, document=line.document
                )
    return None


def _is_confirmed(
    entries: Sequence[ConsentEntry], log: Sequence[LoggedLine], request: ConsentLine
) -> bool:
    """Return whether this request was confirmed, and nothing newer has taken its place."""
    for entry in entries:
        if entry.status != ConsentStatus.CONFIRMED or not _is_same_place(entry, request):
            continue
        for line in log:
            if line.status == entry.status and line.time_ms == entry.time_ms:
                told = unpacked(line.document)
                if _is_same_place(line, request) and told is not None:
                    return told.request_ms == request.time_ms
    return False


def _check_not_withdrawn(entries: Sequence[ConsentEntry], request: ConsentLine) -> None:
    """Refuse a request that was taken back, or is from before the contact was suppressed."""
    channel_number = _channel_number(request)
    for entry in entries:
        is_no = entry.status == ConsentStatus.WITHDRAWN or is_suppression(entry.status)
        if (
            is_no
            and entry.time_ms >= request.time_ms
            and entry.purpose in (0, request.purpose)
            and entry.medium in (0, request.medium)
            and is_covering(entry.scope, entry.scope_key, channel_number, NO_KEY)
        ):
            raise FailedPrecondition(
                "the consent was withdrawn after this link was made: ask for it again",
                field="token",
            )


def _stands(entries: Sequence[ConsentEntry], wanted: ConsentLine, now_ms: int) -> bool:
    """Return whether there is such a consent with proof, so that nothing need be asked."""
    given = [
        entry.time_ms
        for entry in entries
        if entry.status == ConsentStatus.CONFIRMED
        and _is_same_place(entry, wanted)
        and not 0 < entry.expire_ms <= now_ms
    ]
    if not given:
        return False
    try:
        _check_not_withdrawn(entries, msgspec.structs.replace(wanted, time_ms=given[0]))
    except FailedPrecondition:
        return False
    return True


def _check_not_too_often(log: Sequence[LoggedLine], wanted: ConsentLine, *, sends: bool) -> None:
    """Refuse a request too many, whatever it is for: whoever is written to did not choose that. A mail
    goes to one address for all media, so these are counted together where one is to be sent."""
    most = bounds.OPT_IN_REQUESTS_PER_DAY_MAX
    recent = [
        line
        for line in log
        if line.status == ConsentStatus.PENDING
        and line.time_ms > wanted.time_ms - bounds.DAY_MS
        and (sends or line.medium == wanted.medium)
    ]
    if len(recent) >= most:
        what = "to confirm consents" if sends else "to confirm consents for this medium"
        raise LimitExceeded(
            f"the contact was asked {what} {most} times in the last 24 hours; ask again later",
            field="contact",
        )


def _channel_number(line: ConsentLine) -> int:
    return int.from_bytes(line.scope_key, "little")


def _as_if(ticket: ConsentTicket, line: ConsentLine) -> ConsentView:
    """Return how a consent would stand after a line."""
    return ConsentView(
        ticket.contact_key, line.scope, line.scope_key, "", line.purpose, line.medium, line.status,
        line.time_ms, line.expire_ms, proof=unpacked(line.document),
    )  # fmt: skip
