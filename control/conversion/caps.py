"""Frequency caps between protobuf and the registry."""

from __future__ import annotations

from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import types_pb2
from control.conversion import checks, times
from core import bounds
from core.errors import InvalidField, OutOfRange
from core.model import Medium, Purpose
from core.registry.resources import Cap, CapScope, CapSteps, CapUnit, OnCap

OUTPUT_ONLY = frozenset({"name", "etag", "create_time", "update_time"})

_PURPOSES = (Purpose.REVIEW, Purpose.MARKETING, Purpose.TRANSACTIONAL, Purpose.OPERATIONAL)


def cap_from_proto(pb: pb2.Cap, account: str, cap_id: str) -> Cap:
    """Return a cap as a client wants it."""
    checks.choice(pb.scope, "cap.scope", pb2.Cap.Scope, is_required=True)
    checks.choice(pb.steps, "cap.steps", pb2.Cap.Steps)
    checks.choice(pb.unit, "cap.unit", pb2.Cap.Unit)
    checks.choice(pb.on_cap, "cap.on_cap", pb2.Cap.OnCap)
    limit = pb.limit if pb.HasField("limit") else None
    if limit is not None and not 0 <= limit <= bounds.CAP_LIMIT_MAX:
        raise OutOfRange(
            f"cap.limit must be 0 to {bounds.CAP_LIMIT_MAX:,}; leave it out for no cap",
            field="cap.limit",
        )
    if not pb.HasField("window"):
        checks.missing("cap.window", "1 second to 366 days")
    return Cap(
        account=account,
        id=cap_id,
        display_name=checks.text(pb.display_name, "cap.display_name", bounds.NAME_CHARS_MAX),
        scope=CapScope(pb.scope),
        window_ms=times.span_ms(
            pb.window, "cap.window", bounds.SECOND_MS, bounds.CAP_WINDOW_MAX_MS,
            "1 second to 366 days",
        ),
        limit=limit,
        purposes=_purposes(list(pb.purposes)),
        media=_media(list(pb.media)),
        steps=CapSteps(pb.steps),
        unit=CapUnit(pb.unit or CapUnit.MESSAGE),
        on_cap=OnCap(pb.on_cap),
        longest_deferral_ms=_longest_deferral_ms(pb),
    )  # fmt: skip


def _longest_deferral_ms(pb: pb2.Cap) -> int:
    """Return the bound on a deferral; 0, which is none, if it is not set."""
    if not pb.HasField("longest_deferral"):
        return 0
    return times.span_ms(
        pb.longest_deferral, "cap.longest_deferral", 1, bounds.CAP_WINDOW_MAX_MS,
        "1 millisecond to 366 days; leave it out for as long as the invitation lives",
    )  # fmt: skip


def _purposes(found: list[int]) -> list[Purpose]:
    for index, purpose in enumerate(found):
        if purpose not in _PURPOSES:
            raise InvalidField(
                f"cap.purposes[{index}] must be REVIEW, MARKETING, TRANSACTIONAL or OPERATIONAL",
                field=f"cap.purposes[{index}]",
            )
    return [Purpose(purpose) for purpose in dict.fromkeys(found)]


def _media(found: list[int]) -> list[Medium]:
    for index, medium in enumerate(found):
        if not medium or medium not in types_pb2.Medium.values():
            raise InvalidField(
                f"cap.media[{index}] must be EMAIL, SMS, WHATSAPP or WEBHOOK",
                field=f"cap.media[{index}]",
            )
    return [Medium(medium) for medium in dict.fromkeys(found)]


def cap_to_proto(cap: Cap) -> pb2.Cap:
    """Return a cap as clients see it."""
    return pb2.Cap(
        name=cap.name,
        display_name=cap.display_name,
        scope=pb2.Cap.Scope.ValueType(cap.scope),
        purposes=[types_pb2.Purpose.ValueType(purpose) for purpose in cap.purposes],
        media=[types_pb2.Medium.ValueType(medium) for medium in cap.media],
        steps=pb2.Cap.Steps.ValueType(cap.steps),
        unit=pb2.Cap.Unit.ValueType(cap.unit),
        limit=cap.limit,
        window=times.duration(cap.window_ms),
        on_cap=pb2.Cap.OnCap.ValueType(cap.on_cap),
        longest_deferral=times.duration(cap.longest_deferral_ms)
        if cap.longest_deferral_ms
        else None,
        etag=cap.etag,
        create_time=times.timestamp(cap.create_ms),
        update_time=times.timestamp(cap.update_ms),
    )
