"""Dead letters: invitations that have failed, listed and replayed.

Decides: what stands in the list, newest first: what ended FAILED, can still be read, and has not come
back.
Never: what may come back (`core/engine/reinstate.py`).

There is no index of them: what ended is written down by day, and of a day only the lines of what failed
are looked at.

Cost: a call looks at no more than `DAYS_MAX` days, so a page may be empty and have a next one. A day
costs a read of its outcomes, 32 bytes for each, in every partition.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from core import bounds
from core.clock import Clock
from core.engine.identity import Identity
from core.engine.reader import InvitationView, Reader
from core.engine.reinstate import SecondThoughts
from core.errors import AfterwordError, InvalidField
from core.model import Reason, State
from core.outcomes import Outcome
from core.partitions import partition_of
from core.ports import Store
from core.records import member_parts, unpack_contact

_LOG = logging.getLogger(__name__)

DAYS_MAX: Final = 16
_DAYS_KEPT: Final = bounds.OUTCOME_RETENTION_MS // bounds.DAY_MS + 1

Place = tuple[int, bytes]
"""Where the list goes on: after what ended then (epoch ms), of this member."""


class DeadLetter(msgspec.Struct):
    """One invitation that has failed."""

    view: InvitationView
    fail_ms: int


class Replayed(msgspec.Struct):
    """What became of one that was to be replayed."""

    member: bytes
    new: InvitationView | None = None
    error: AfterwordError | None = None


class DeadLetters:
    """Lists and replays what has failed in one store."""

    def __init__(
        self, store: Store, identity: Identity, reader: Reader, second_thoughts: SecondThoughts,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._identity = identity
        self._reader = reader
        self._second_thoughts = second_thoughts
        self._clock = clock

    async def page(
        self, account: str, size: int, page_token: str, *, channel_number: int = 0,
        reason: Reason = Reason.NONE,
    ) -> tuple[list[DeadLetter], str]:  # fmt: skip
        """Return dead letters, newest first, and the token of the next page, "" on the last.

        Args:
            channel_number: of this channel alone; 0: of all.
            reason: that failed for this reason alone; NONE: for any.

        Raises:
            InvalidField: the token is not one of ours.
        """
        today = self._clock.now_ms() // bounds.DAY_MS
        place = _parsed(page_token) if page_token else ((today + 1) * bounds.DAY_MS, b"")
        first = min(place[0] // bounds.DAY_MS, today)
        last = max(first - DAYS_MAX, today - _DAYS_KEPT)
        found: list[DeadLetter] = []
        for day in range(first, last, -1):
            for one in await self._failed(day, place, channel_number, reason):
                if len(found) == size:
                    return found, _token(place)
                place = one.settle_ms, one.member
                letter = await self._letter(account, one)
                if letter is not None:
                    found.append(letter)
        if last <= today - _DAYS_KEPT:
            return found, ""
        # What ended in the very first millisecond of the last day was looked at, too.
        return found, _token(((last + 1) * bounds.DAY_MS - 1, b""))

    async def _failed(
        self, day: int, place: Place, channel_number: int, reason: Reason
    ) -> list[Outcome]:
        """Return what failed on a day and comes after a place, newest first."""
        partitions = range(self._store.meta.partition_count)
        read = await asyncio.gather(
            *(self._store.outcomes(p, day, int(State.FAILED)) for p in partitions)
        )
        ended = [
            one
            for outcomes in read
            for one in outcomes
            if (-one.settle_ms, one.member) > (-place[0], place[1])
            and reason in (Reason.NONE, one.reason)
            and channel_number in (0, member_parts(one.member)[2])
        ]
        return sorted(ended, key=lambda one: (-one.settle_ms, one.member))

    async def _letter(self, account: str, outcome: Outcome) -> DeadLetter | None:
        """Return what failed, None if it is forgotten, of another account, or has come back."""
        member = outcome.member
        partition = partition_of(member, self._store.meta.partition_count)
        waiting = (await self._store.read({partition: [member]}))[partition][0]
        try:
            view = self._reader.view(account, waiting)
        except msgspec.MsgspecError:
            _LOG.error("the plan of failed invitation %s cannot be read", member.hex())
            return None
        if waiting is None or view is None or view.reference.state != State.FAILED:
            return None
        key = self._identity.reinstated_key(member)
        if any(ref.event_key == key for ref in unpack_contact(waiting.record).references):
            return None
        return DeadLetter(view, outcome.settle_ms)

    async def replay(
        self, account: str, letters: Sequence[DeadLetter], *, validate_only: bool = False
    ) -> list[Replayed]:
        """Replay each; a refusal of one does not harm the others."""
        answers: list[Replayed] = []
        for letter in letters:
            answer = Replayed(letter.view.member)
            try:
                answer.new = await self._second_thoughts.replay(
                    account, answer.member, validate_only=validate_only
                )
            except AfterwordError as error:
                answer.error = error
            answers.append(answer)
        return answers


def _token(place: Place) -> str:
    return f"{place[0]}.{place[1].hex()}"


def _parsed(page_token: str) -> Place:
    at, _, member = page_token.partition(".")
    try:
        return int(at), bytes.fromhex(member)
    except ValueError:
        raise InvalidField("it is no token of this list", field="page_token") from None
