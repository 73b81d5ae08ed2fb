"""Messages that people send back: a stop word unsubscribes the phone it came from (g7).

Decides: what is a stop word, and what one ends: REVIEW and MARKETING over SMS, and over WhatsApp if it
came by that, in the whole account, for the phone and for every contact known by it.
Never: reads anything else into a message, or keeps one that is no stop word.

Source: FCC 24-24 (47 CFR 64.1200(a)(10)) for the English words and the one confirmation; the others are
what carriers of the country take.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

import msgspec

from core.antispam.consent import suppression
from core.contact_ports import LoggedLine
from core.engine.consent_documents import SOURCE_MESSAGE, ConsentDocument, unpacked
from core.engine.consents import ConsentBook, Statement, Written
from core.engine.reach import Whom
from core.engine.unsubscribe import ACTOR
from core.model import CONSENT_PURPOSES, ConsentScope, ConsentStatus, Medium, Reason
from core.records import NO_KEY, ConsentEntry

METHOD: Final = "stop-word"

STOP_WORDS: Final = frozenset({
    "stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout",
    "opt out",
    "stopp", "abmelden",  # de
    "baja", "alto",  # es
    "arret", "arrêt",  # fr
    "koniec",  # pl
    "parar", "sair",  # pt
})  # fmt: skip
"""Whole messages, in lower case, without punctuation."""

_NOT_WORDS = re.compile(r"[^\w]+|_+")


def stop_word(text: str) -> str:
    """Return the stop word that a message is, "" if it is none: case, punctuation and the form of an
    accent do not matter, but nothing may stand beside it."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    word = _NOT_WORDS.sub(" ", plain).strip()
    return word if word in STOP_WORDS else ""


class Received(msgspec.Struct, frozen=True):
    """What a message has brought about."""

    word: str
    """"": it was no stop word, and nothing was done."""
    written: Written | None = None
    may_confirm: bool = False
    """One message may say so: nothing had stopped them before."""


class Inbox:
    """Takes messages from phones."""

    def __init__(self, consents: ConsentBook) -> None:
        self._consents = consents

    async def receive(
        self, account: str, phone: str, text: str, medium: int = Medium.SMS, channel_name: str = "",
        time_ms: int = 0, *, message_id: str = "", validate_only: bool = False,
    ) -> Received:  # fmt: skip
        """Take a message.

        Args:
            phone: who wrote, in E.164 form.
            medium: by what it came.
            channel_name: whose number it was sent to; for the evidence only.
            time_ms: when it came; 0: now.
            message_id: what is received again under the same one unsubscribes once, and not again
                after a later consent; "": it is not known.

        Raises:
            NotFound: the channel does not exist.
        """
        self._consents.scope(account, channel_name)
        word = stop_word(text)
        if not word:
            return Received("")
        media = [Medium.SMS] + ([Medium.WHATSAPP] if medium == Medium.WHATSAPP else [])
        document = ConsentDocument(
            collection_point=channel_name, actor=ACTOR, method=METHOD, source=SOURCE_MESSAGE,
            reason=word, request_id=message_id,
        )  # fmt: skip
        said = [
            Statement(int(purpose), int(each), "", time_ms, document)
            for purpose in sorted(CONSENT_PURPOSES)
            for each in media
        ]
        # By key, so that the phone's own record is the one meant, whoever it stands for.
        whom = Whom(self._consents.reach.phone_key(account, phone))
        entries, log = await self._consents.state(whom.key)
        before_ms = _when_received(log, message_id)
        if before_ms:
            return await self._again(account, whom, said, before_ms, word, validate_only)
        may_confirm = any(
            suppression(entries, 0, NO_KEY, each.purpose, each.medium) != Reason.UNSUBSCRIBED
            for each in said
        )
        if validate_only:
            others = await self._consents.reach.others_by_phone(account, whom, whom.key)
            return Received(word, Written([whom.key, *others]), may_confirm)
        written = await self._consents.unsubscribe(account, whom, said)
        return Received(word, written, may_confirm)

    async def _again(
        self, account: str, whom: Whom, said: Sequence[Statement], time_ms: int, word: str,
        validate_only: bool,
    ) -> Received:  # fmt: skip
        """Write what a message said to whoever it was not written for, as of when it came first."""
        others = await self._consents.reach.others_by_phone(account, whom, whom.key)
        written = Written([whom.key, *others])
        for key in written.contact_keys:
            entries, _ = await self._consents.state(key)
            if not validate_only and not all(_is_written(entries, each, time_ms) for each in said):
                then = [msgspec.structs.replace(each, time_ms=time_ms) for each in said]
                return Received(word, await self._consents.unsubscribe(account, whom, then))
        return Received(word, written)


def _when_received(log: Sequence[LoggedLine], message_id: str) -> int:
    """Return when a message was received before, 0 if it was not."""
    for line in log if message_id else ():
        told = unpacked(line.document)
        if told is not None and (told.method, told.request_id) == (METHOD, message_id):
            return line.time_ms
    return 0


def _is_written(entries: Sequence[ConsentEntry], said: Statement, time_ms: int) -> bool:
    return any(
        entry.status == ConsentStatus.WITHDRAWN
        and (entry.scope, entry.purpose, entry.medium)
        == (ConsentScope.ACCOUNT, said.purpose, said.medium)
        and entry.time_ms >= time_ms
        for entry in entries
    )
