"""One write of the registry as it was asked for, and what is remembered of it.

Decides: what a repeated request id means.
Never: what is written (`edits.py`, `rule_edits.py`) or how (`registry.py`).
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from core.errors import InvalidField
from core.registry.drafts import Draft

AnswerT = TypeVar("AnswerT")


class Call(msgspec.Struct, frozen=True):
    """One write as it was asked for."""

    method: str
    name: str
    """Full name of the resource."""
    account: str
    actor: str
    op_id: str
    validate_only: bool

    @property
    def text(self) -> str:
        """The method and the full name of the resource."""
        return f"{self.method} {self.name}"


class _Operation(msgspec.Struct, frozen=True):
    """What is remembered of a call with an operation id."""

    call: str
    revision: int
    bites: bool
    answer: msgspec.Raw


_OPERATION: Final = msgspec.json.Decoder(_Operation)


def call(
    method: str,
    name: str,
    account: str,
    actor: str,
    op_id: str = "",
    validate_only: bool = False,
) -> Call:
    """Return a call of a method on a resource, given by its full name."""
    return Call(method, name, account, actor, op_id, validate_only)


def result_of(asked: Call, draft: Draft, answer: object) -> bytes:
    """Return what is kept under the operation's id."""
    raw = msgspec.Raw(msgspec.json.encode(answer))
    return msgspec.json.encode(_Operation(asked.text, draft.revision, draft.bites, raw))


def replayed(
    asked: Call, decoder: msgspec.json.Decoder[AnswerT], kept: bytes
) -> tuple[AnswerT, int | None]:
    """Return the first answer again, and the revision that must bite.

    It bites again, in case it did not come to it the first time.

    Raises:
        InvalidField: the id was used for another method or resource.
    """
    operation = _OPERATION.decode(kept)
    if operation.call != asked.text:
        raise InvalidField("request_id was used for another request before", field="request_id")
    return decoder.decode(operation.answer), operation.revision if operation.bites else None
