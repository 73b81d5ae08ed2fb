"""Block lists between protobuf and the registry."""

from __future__ import annotations

import re
from collections.abc import Iterable

from afterword.v1 import consent_service_pb2 as pb2
from afterword.v1 import types_pb2
from control.conversion import checks, times
from core import bounds
from core.engine.identity import normal_email
from core.errors import InvalidField
from core.model import Medium, Purpose
from core.registry.blocks import ALL_BELOW, Block, BlockKind, anchored
from core.rules.cel_values import EvaluationError

_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_PURPOSES = (Purpose.REVIEW, Purpose.MARKETING, Purpose.TRANSACTIONAL, Purpose.OPERATIONAL)


def block_from_proto(pb: pb2.Block, account: str, block_id: str) -> Block:
    """Return a block as a client wants it."""
    kind = BlockKind(checks.choice(pb.kind, "block.kind", pb2.Block.Kind, is_required=True))
    value = checks.text(pb.value, "block.value", bounds.BLOCK_CHARS_MAX, is_required=True)
    checks.count(len(pb.media), "block.media", len(Medium))
    checks.count(len(pb.purposes), "block.purposes", len(Purpose))
    return Block(
        account=account,
        id=block_id,
        kind=kind,
        value=_domain(value) if kind is BlockKind.DOMAIN else _pattern(value),
        media=tuple(sorted(_media(pb.media))),
        purposes=tuple(sorted(_purposes(pb.purposes))),
        reason=checks.text(pb.reason, "block.reason", bounds.TEXT_CHARS_MAX),
    )


def _domain(value: str) -> str:
    """Return a domain in the form in which addresses are compared."""
    below = ALL_BELOW if value.startswith(ALL_BELOW) else ""
    domain = normal_email("x@" + value.removeprefix(ALL_BELOW)).removeprefix("x@")
    if not _DOMAIN.fullmatch(domain):
        raise InvalidField(
            'block.value must be a domain such as "example.com", or "*.example.com" for all below it '
            "too",
            field="block.value",
        )
    return below + domain


def _pattern(value: str) -> str:
    try:
        anchored(value)
    except EvaluationError as error:
        raise InvalidField(
            f"block.value must be an RE2 expression for whole addresses: {error}",
            field="block.value",
        ) from None
    return value


def _media(found: Iterable[int]) -> set[Medium]:
    media = {
        checks.choice(medium, f"block.media[{index}]", types_pb2.Medium, is_required=True)
        for index, medium in enumerate(found)
    }
    return {Medium(medium) for medium in media}


def _purposes(found: Iterable[int]) -> set[Purpose]:
    purposes = set()
    for index, purpose in enumerate(found):
        if purpose not in _PURPOSES:
            raise InvalidField(
                f"block.purposes[{index}] must be REVIEW, MARKETING, TRANSACTIONAL or OPERATIONAL",
                field=f"block.purposes[{index}]",
            )
        purposes.add(Purpose(purpose))
    return purposes


def block_to_proto(block: Block) -> pb2.Block:
    """Return a block as clients see it."""
    return pb2.Block(
        name=block.name,
        kind=pb2.Block.Kind.ValueType(block.kind),
        value=block.value,
        media=[types_pb2.Medium.ValueType(medium) for medium in block.media],
        purposes=[types_pb2.Purpose.ValueType(purpose) for purpose in block.purposes],
        reason=block.reason,
        etag=block.etag,
        create_time=times.timestamp(block.create_ms),
    )
