"""What all transports over HTTP share: places, concurrency, and what a failed call means.

Decides: how many calls are under way; that trouble of the provider itself (credentials refused, no
connection, no answer) rests the whole transport for a growing while instead of burning through what
is due.
Never: requests and answers of a provider; each transport has its own.

Invariant: one outcome for each letter, in order; a call that cannot have arrived is DEFERRED, one that
may have is UNKNOWN.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from core.clock import monotonic_ns
from core.errors import InvalidField, RenderingFailed
from core.sending import Delivery, Letter
from senders import backoff
from senders.credentials import SecretMissing
from senders.http_client import Forbidden, HttpAnswer, HttpClient, NoAnswer, NotSent

PLACES = 64

TROUBLE_STATUSES: Final = frozenset({401, 403, 404, 405, 408, 425, 429, 503})
"""Of a provider: the call was not acted on, and the next one would not be either."""

_E164: Final = re.compile(r"\+[1-9][0-9]{1,14}")


class Request(msgspec.Struct, frozen=True):
    """One call as it will be made."""

    url: str
    headers: dict[str, str]
    body: bytes


class Verdict(msgspec.Struct, frozen=True):
    """What an answer means: for the letter, and whether the provider as a whole is in trouble."""

    delivery: Delivery
    is_trouble: bool = False


class Provider(Protocol):
    """How one provider is spoken to."""

    holds_unknown: bool
    """It takes no idempotency key: a second call may be a second message."""

    def render(self, letter: Letter) -> bytes:
        """Return what is said, ready to be called with.

        Raises:
            RenderingFailed: the letter cannot be made; its message says why.
        """

    def request(self, letter: Letter, rendered: bytes) -> Request:
        """Return the call.

        Raises:
            SecretMissing: a credential is not there.
        """

    def meaning(self, answer: HttpAnswer, letter: Letter) -> Verdict:
        """Return what the answer says."""


def retry_ms(answer: HttpAnswer, letter: Letter) -> int:
    """Return how long a letter waits: what the answer asks for, or longer by its own attempts."""
    return max(answer.retry_after_ms, _pause_ms(letter))


def _pause_ms(letter: Letter) -> int:
    return backoff.retry_ms(letter.attempts, letter.delivery_id)


def check_phone(address: str) -> None:
    """Refuse what is no phone number.

    Raises:
        RenderingFailed: it is not E.164.
    """
    if _E164.fullmatch(address) is None:
        raise RenderingFailed("the address is no phone number in E.164")


class HttpTransport:
    """Hands letters to one provider over HTTP.

    Args:
        provider: how it is spoken to.
        client: makes the calls; closed with the transport.
        places: calls under way at most.
        now_ns: monotonic clock.
    """

    def __init__(
        self, provider: Provider, client: HttpClient, *, places: int = PLACES,
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:  # fmt: skip
        self.holds_unknown = provider.holds_unknown
        self._provider = provider
        self._client = client
        self._places = places
        self._now_ns = now_ns
        self._under_way = 0
        self._troubles = 0
        self._rests = 0
        """How often it has begun to rest."""
        self._rests_until_ns = 0
        self._is_closed = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def free(self) -> int:
        """Return how many letters may go now; 0 while it rests, then one to see whether it is over."""
        if self._is_closed or self._now_ns() < self._rests_until_ns:
            return 0
        room = max(self._places - self._under_way, 0)
        return min(room, max(1 - self._under_way, 0)) if self._troubles else room

    def prepare(self, letter: Letter) -> bytes:
        """Render.

        Raises:
            RenderingFailed: the message says why.
        """
        try:
            return self._provider.render(letter)
        except UnicodeEncodeError:
            raise RenderingFailed("a value is not valid Unicode") from None

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        """Hand over, all at once; one outcome for each, in order. Never raises."""
        if self._is_closed:
            return [Delivery(Delivery.Kind.DEFERRED, "closing") for _ in letters]
        self._under_way += len(letters)
        self._is_idle.clear()
        try:
            if len(letters) == 1:
                return [await self._send_one(*letters[0])]
            calls = [self._send_one(letter, rendered) for letter, rendered in letters]
            return list(await asyncio.gather(*calls))
        finally:
            self._under_way -= len(letters)
            if not self._under_way:
                self._is_idle.set()

    async def _send_one(self, letter: Letter, rendered: bytes) -> Delivery:
        kind = Delivery.Kind
        rests = self._rests
        try:
            request = self._provider.request(letter, rendered)
        except (SecretMissing, InvalidField) as error:
            self._note(rests, is_trouble=True)
            return Delivery(kind.DEFERRED, str(error), _pause_ms(letter))
        try:
            answer = await self._client.post(
                request.url, headers=request.headers, body=request.body
            )
        except Forbidden as error:
            return Delivery(kind.FAILED, str(error))
        except NotSent as error:
            self._note(rests, is_trouble=True)
            return Delivery(kind.DEFERRED, str(error), _pause_ms(letter))
        except NoAnswer as error:
            self._note(rests, is_trouble=True)
            return Delivery(kind.UNKNOWN, str(error), _pause_ms(letter), was_handed_over=True)
        try:
            verdict = self._provider.meaning(answer, letter)
        except Exception as error:
            # An answer that breaks the reader must not cost the outcomes of the other letters.
            told = f"the answer cannot be read: {type(error).__name__}"
            verdict = Verdict(Delivery(kind.UNKNOWN, told, _pause_ms(letter), was_handed_over=True))
        is_unknown = verdict.delivery.kind is kind.UNKNOWN
        is_trouble = verdict.is_trouble or is_unknown
        self._note(rests, is_trouble=is_trouble, asked_ms=answer.retry_after_ms)
        return verdict.delivery

    def _note(self, rests: int, *, is_trouble: bool, asked_ms: int = 0) -> None:
        """Rest, or go on as before, by how a call went that began after so many rests.

        Args:
            asked_ms: how long the provider wants to be left alone.
        """
        if rests != self._rests:
            # It began before the last rest: calls that were under way together are one trouble.
            return
        if not is_trouble:
            self._troubles = 0
            return
        pause_ms = backoff.reconnect_ms(self._troubles, b"http")
        pause_ms = max(pause_ms, min(asked_ms, backoff.RECONNECT_LONGEST_MS))
        self._troubles += 1
        self._rests += 1
        self._rests_until_ns = self._now_ns() + pause_ms * 1_000_000

    async def close(self) -> None:
        """Finish what is under way, then close connections. Idempotent."""
        self._is_closed = True
        await self._is_idle.wait()
        await self._client.close()
