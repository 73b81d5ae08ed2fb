"""The other port of the engine: what takes a message out, and what it says of it.

Decides: what a transport is given, and the five outcomes of a hand-over.
Never: how a message is made or carried (`senders/`).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

import msgspec

from core.model import Event
from core.registry.contents import ContentTemplate
from core.registry.resources import Channel
from core.registry.rule_parts import EmailSender

_decode_event = msgspec.msgpack.Decoder(Event).decode


class Letter(msgspec.Struct):
    """One message about to go out: everything a transport needs to render and hand it over."""

    delivery_id: str
    """Stable over retries; a provider's idempotency key, the left half of a Message-ID."""
    medium: int
    address: str
    """Recipient on this medium."""
    family: int
    is_follow_up: bool
    locale: str
    subject: str
    """From the action; empty for the default of the family."""
    body: Event | bytes
    """The event, or its stored form: read it through `event`."""
    channel: Channel
    attempts: int
    """Hand-overs before this one."""
    send_ms: int
    """Business clock at rendering; the Date of an e-mail."""
    sender: EmailSender | None = None
    """Who writes, if not the channel (D2)."""
    preheader: str = ""
    text: str = ""
    """The text, where the template leaves it open; placeholders not filled."""
    kinds: int = 0
    """What a review request asks about, as bits of `core.records`."""
    questionnaire: str = ""
    """Id of the questionnaire that the review link leads to; empty: the default."""
    comment_required: bool = False
    """The questionnaire takes a review only with a text (B36)."""
    purpose: int = 0
    member: bytes = b""
    """Of the invitation, for links by which the contact speaks; empty where it goes to somebody else."""
    template: str = ""
    """Id of the template; empty: the default of the family."""
    revision: int = 0
    """Of the rule whose content it has."""
    content: ContentTemplate | None = None
    """The template, if it is one of the shop's own: the revision to be rendered."""
    zone: str = ""
    """The recipient's time zone; empty: the channel's."""
    platform: str = ""
    """Id of the review platform that it leads to; empty: the own one (A28)."""
    review_url: str = ""
    """Where the review is written there; empty: the sender has a link of its own, or none."""
    confirm_url: str = ""
    """Where the recipient confirms a consent, if that is what it asks for (g3)."""
    parameters: tuple[str, ...] = ()
    """What fills the approved template of a WhatsApp message; placeholders not filled."""
    rule: str = ""
    """Id of the rule."""
    step: str = ""
    """Id of the step."""
    carrier: str = ""
    """Id of the carrier that it goes to; empty: it goes to the contact."""

    @property
    def event(self) -> Event:
        """The event; decoded when a template first asks for it."""
        if isinstance(self.body, bytes):
            self.body = _decode_event(self.body)
        return self.body


class Delivery(msgspec.Struct, frozen=True):
    """What a transport says of one letter."""

    class Kind(enum.IntEnum):
        """The five outcomes of a hand-over."""

        ACCEPTED = 1
        DEFERRED = 2
        """Try again, not before `retry_after_ms` from now."""
        REJECTED = 3
        """Refused for this recipient, for good."""
        FAILED = 4
        """The transport cannot send this at all, for good."""
        UNKNOWN = 5
        """Handed over, but the answer did not come."""

    kind: Kind
    detail: str = ""
    """What the other side said, one line, without the recipient's address."""
    retry_after_ms: int = 0
    was_handed_over: bool = False
    """False: the other side has certainly not got it, so caps can be returned."""
    is_bad_address: bool = False
    """With REJECTED: the address takes no mail at all, whatever is sent to it (g10)."""


class Transport(Protocol):
    """One way to hand messages over. One implementation per file in `senders/`."""

    holds_unknown: bool
    """True: an unknown outcome is held, not retried; the other side takes no idempotency key."""

    def free(self) -> int:
        """Return how many letters can be handed over now without waiting (R12, E4)."""

    def prepare(self, letter: Letter) -> bytes:
        """Render; changes nothing.

        Raises:
            RenderingFailed: the letter cannot be made; its message says why.
        """

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        """Hand over at once; one outcome for each, in order. Never raises."""

    async def close(self) -> None:
        """Finish what is under way, then close connections. Idempotent."""


class Postbox(Protocol):
    """All transports behind one door: what the engine hands letters to."""

    def supports(self, medium: int, channel: Channel | None = None) -> bool:
        """True if letters of a channel can go out over a medium; without a channel, those of any channel
        that names no sender for it."""

    def holds_unknown(self, medium: int) -> bool:
        """True if an unknown outcome over this medium is held instead of retried."""

    def free(self, medium: int, channel: Channel | None = None) -> int:
        """Return how many letters can be handed over now without waiting; 0 if it is not supported. As
        `supports`."""

    def prepare(self, letter: Letter) -> bytes:
        """Render; see `Transport.prepare`."""

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        """Hand over at once; one outcome for each, in order. Never raises."""

    async def close(self) -> None:
        """Close all transports. Idempotent."""
