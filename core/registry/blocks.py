"""Block lists: domains and patterns of addresses that an account does not write to.

Decides: which addresses a block means.
Never: single addresses; those are suppressed with their contact, and may be millions.

Cost: a lookup is a few dictionary accesses for the domains, and one match for each pattern.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

from core.model import Medium, Purpose
from core.registry.resources import Resource
from core.rules.cel_convert import search

ALL_BELOW = "*."
"""What a domain begins with that means all domains below it too."""


class BlockKind(enum.IntEnum):
    """What the value of a block is. Numbers as in the API."""

    DOMAIN = 1
    PATTERN = 2


class Block(Resource, kw_only=True):
    """Addresses that are not written to."""

    kind: BlockKind
    value: str
    """A domain in lower case, with `ALL_BELOW` or without; or an RE2 expression for whole addresses."""
    media: tuple[Medium, ...] = ()
    """Empty: all."""
    purposes: tuple[Purpose, ...] = ()
    """Empty: all."""
    reason: str = ""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/blocks/{self.id}"

    def covers(self, purpose: int, medium: int) -> bool:
        """Return whether it looks at such a message."""
        return (not self.media or medium in self.media) and (
            not self.purposes or purpose in self.purposes
        )


def anchored(pattern: str) -> Callable[[bytes], Any]:
    """Return a match of whole texts in UTF-8.

    Raises:
        EvaluationError: RE2 does not take the pattern, or it exceeds a bound.
    """
    # By itself first: an unpaired parenthesis must not reach out of the frame.
    search(pattern)
    return search(rf"\A(?:{pattern})\z")


class BlockList:
    """The blocks of one account, compiled."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._by_domain: dict[str, list[Block]] = {}
        self._patterns: list[tuple[Callable[[bytes], Any], Block]] = []
        for block in blocks:
            if block.kind is BlockKind.DOMAIN:
                self._by_domain.setdefault(block.value, []).append(block)
            else:
                self._patterns.append((anchored(block.value), block))

    @property
    def is_empty(self) -> bool:
        """True if it forbids nothing."""
        return not self._by_domain and not self._patterns

    def find(self, address: str, purpose: int, medium: int) -> Block | None:
        """Return a block that forbids a message, None if none does.

        Args:
            address: in the form in which addresses are compared (`core/engine/identity.py`).
        """
        if self._by_domain and medium == Medium.EMAIL:
            for domain in _domains(address.rpartition("@")[2]):
                for block in self._by_domain.get(domain, ()):
                    if block.covers(purpose, medium):
                        return block
        if self._patterns:
            text = address.encode()
            for match, block in self._patterns:
                if block.covers(purpose, medium) and match(text) is not None:
                    return block
        return None


NO_BLOCKS = BlockList(())


def _domains(domain: str) -> list[str]:
    """Return the values of blocks that mean a domain."""
    labels = domain.split(".")
    return [domain] + [ALL_BELOW + ".".join(labels[at:]) for at in range(len(labels))]
