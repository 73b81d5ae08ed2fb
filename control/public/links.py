"""The links that messages carry.

Decides: which messages have one: what needs a consent and goes to the contact, by e-mail. Receipts and
delivery notices have none: unsubscribing must not stop them.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from control.public.words import known_language
from core.engine.unsubscribe_tokens import Ticket, UnsubscribeTokens
from core.model import CONSENT_PURPOSES, Medium
from core.sending import Letter

PATH = "/u/"
CONFIRM_PATH = "/c/"


def base_path(public_url: str) -> str:
    """Return what stands before `PATH` where people reach us: "" or "/like-this"."""
    return urlsplit(public_url).path.rstrip("/")


def confirm_link(public_url: str, token: str) -> str:
    """Return the link of a token of double opt-in, "" where people cannot reach us."""
    return f"{public_url.rstrip('/')}{CONFIRM_PATH}{token}" if public_url else ""


class UnsubscribeLinks:
    """Makes links.

    Args:
        public_url: where people reach the listener, for example through a proxy.
    """

    def __init__(self, public_url: str, tokens: UnsubscribeTokens) -> None:
        self._base = public_url.rstrip("/") + PATH
        self._tokens = tokens

    def of(self, letter: Letter) -> str:
        """Return the link of a letter, the same each time; "" for a letter that has none."""
        if letter.medium != Medium.EMAIL or letter.purpose not in CONSENT_PURPOSES:
            return ""
        if not letter.member:
            return ""
        channel = letter.channel
        language = known_language(letter.locale, channel.locale)
        ticket = Ticket(channel.account, letter.member, letter.purpose, letter.medium, language)
        return self._base + self._tokens.make(ticket)
