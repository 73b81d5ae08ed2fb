"""A transport that counts and keeps nothing: for load tests of everything before it.

Decides: nothing; every letter is accepted at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.sending import Delivery, Letter

PLACES = 4_096
"""More than one claim takes, so that this transport is never the bottleneck."""

_ACCEPTED = Delivery(Delivery.Kind.ACCEPTED, "counted", was_handed_over=True)


def nothing(letter: Letter) -> bytes:
    """Render nothing."""
    del letter
    return b""


class CountingTransport:
    """Accepts everything.

    Args:
        render: makes the message of a letter; by default none, to measure without rendering.

    Attributes:
        letters: how many letters were handed over.
        message_bytes: how long their messages were together.
        follow_ups: how many of them were no first messages.
    """

    holds_unknown = False

    def __init__(self, *, render: Callable[[Letter], bytes] = nothing) -> None:
        self._render = render
        self.letters = 0
        self.follow_ups = 0
        self.message_bytes = 0

    def free(self) -> int:
        """Return a constant: nothing is ever under way."""
        return PLACES

    def prepare(self, letter: Letter) -> bytes:
        """Render.

        Raises:
            RenderingFailed: the message says why.
        """
        return self._render(letter)

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        """Count."""
        self.letters += len(letters)
        for letter, message in letters:
            self.follow_ups += letter.is_follow_up
            self.message_bytes += len(message)
        return [_ACCEPTED] * len(letters)

    async def close(self) -> None:
        """Nothing to do."""
