"""A contact's own withdrawal, by the link in a message.

Decides: which withdrawals a choice means (R19), and what is written down as evidence. Each is a
withdrawal and a suppression in one write (R18): a box ticked later ends the one, not the other.
Never: who may ask: whoever holds a link speaks for its contact, in that nobody else was sent it.

Every withdrawal is repeated without harm, so one that was not answered is simply made again.
"""

from __future__ import annotations

import enum
from functools import partial

from core.bounds import SECOND_MS
from core.engine.consent_documents import SOURCE_LINK, ConsentDocument
from core.engine.consents import PHONE_MEDIA, ConsentBook, Statement
from core.engine.patience import patiently
from core.engine.reach import Whom
from core.engine.unsubscribe_tokens import Ticket, UnsubscribeTokens
from core.model import CONSENT_PURPOSES
from core.registry.registry import Registry
from core.registry.resources import Channel
from core.stats import Stats

ACTOR = "recipient"
PATIENCE_MS = 3 * SECOND_MS
"""How long a store that is away is waited for: an embedded server is back in less."""


class Choice(enum.StrEnum):
    """What no longer comes, over the medium of the message."""

    ACCOUNT = "account"
    """Messages of this purpose, from all channels."""
    CHANNEL = "channel"
    """Messages of this purpose, from this channel."""
    EVERYTHING = "everything"
    """Messages of all purposes that need a consent, from all channels."""


class Way(enum.StrEnum):
    """How the contact asked; kept with the withdrawal (g1)."""

    ONE_CLICK = "one-click"
    PAGE = "page"


class Unsubscriber:
    """Carries out what contacts ask by their links."""

    def __init__(
        self, tokens: UnsubscribeTokens, consents: ConsentBook, registry: Registry, stats: Stats
    ) -> None:
        self._tokens = tokens
        self._consents = consents
        self._registry = registry
        self.stats = stats

    def read(self, token: str) -> Ticket | None:
        """Return what a link stands for, None (and counted) if it was not made here."""
        ticket = self._tokens.read(token)
        if ticket is None:
            self.stats.unsubscribe_tokens_refused += 1
        return ticket

    def channel(self, ticket: Ticket) -> Channel | None:
        """Return the channel that wrote, None if there is none any more."""
        channel = self._registry.snapshot.channel_by_number.get(ticket.channel_number)
        return channel if channel is not None and channel.account == ticket.account else None

    async def withdraw(self, ticket: Ticket, choice: Choice, way: Way) -> Choice:
        """Withdraw; once this returns it is on record, and no send that it covers starts.

        Returns:
            What was done: the whole account where the channel is gone.

        Raises:
            StoreUnavailable: the store stayed away; whether it was done is unknown.
        """
        channel = self.channel(ticket)
        if choice is Choice.CHANNEL and channel is None:
            choice = Choice.ACCOUNT
        name = channel.name if choice is Choice.CHANNEL and channel is not None else ""
        document = ConsentDocument(
            actor=ACTOR, method=str(way), source=SOURCE_LINK, invitation=ticket.member
        )
        everything = sorted({*CONSENT_PURPOSES, ticket.purpose})
        said = [
            Statement(int(purpose), ticket.medium, name, document=document)
            for purpose in (everything if choice is Choice.EVERYTHING else [ticket.purpose])
        ]
        whom = Whom(ticket.contact_key)
        await patiently(partial(self._say, ticket, whom, said), self.stats, PATIENCE_MS)
        if way is Way.PAGE:
            self.stats.unsubscribes_page += 1
        else:
            self.stats.unsubscribes_one_click += 1
        return choice

    async def _say(self, ticket: Ticket, whom: Whom, said: list[Statement]) -> None:
        """Write it, unless that would only make the log longer: a link can be used without end.

        What holds for a phone is written for others too, which may have been left undone.
        """
        is_by_phone = ticket.medium in PHONE_MEDIA
        if is_by_phone or not await self._consents.is_unsubscribed(ticket.account, whom, said):
            await self._consents.unsubscribe(ticket.account, whom, said)
