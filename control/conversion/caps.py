"""Frequency caps and volume limits between protobuf and the registry.

Decides: whether a cap makes sense by itself; whether the account's caps do together is asked by the
registry.
"""

from __future__ import annotations

from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import types_pb2
from control.conversion import checks, times
from core import bounds
from core.errors import InvalidField, OutOfRange
from core.model import Medium, Purpose
from core.registry.resources import Cap, CapScope, CapSteps, CapSubject, CapUnit, DeferTo
from core.registry.rule_parts import OnCap

OUTPUT_ONLY = frozenset({"name", "etag", "create_time", "update_time"})

_PURPOSES = (Purpose.REVIEW, Purpose.MARKETING, Purpose.TRANSACTIONAL, Purpose.OPERATIONAL)


def cap_from_proto(pb: pb2.Cap, account: str, cap_id: str) -> Cap:
    """Return a cap as a client wants it."""
    checks.choice(pb.scope, "cap.scope", pb2.Cap.Scope, is_required=True)
    checks.choice(pb.steps, "cap.steps", pb2.Cap.Steps)
    checks.choice(pb.unit, "cap.unit", pb2.Cap.Unit)
    checks.choice(pb.on_cap, "cap.on_cap", pb2.Cap.OnCap)
    checks.choice(pb.defer_to, "cap.defer_to", pb2.Cap.DeferTo)
    checks.choice(pb.subject, "cap.subject", pb2.Cap.Subject)
    if pb.subject == pb2.Cap.SUBJECT_ALL_CONTACTS:
        _check_volume(pb)
    elif pb.scope == pb2.Cap.SCOPE_PRODUCT:
        _check_product(pb)
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
        limit=_limit(pb),
        purposes=_purposes(list(pb.purposes)),
        media=_media(list(pb.media)),
        steps=CapSteps(pb.steps),
        unit=CapUnit(pb.unit or _unit(pb.scope)),
        on_cap=OnCap(pb.on_cap),
        longest_deferral_ms=_longest_deferral_ms(pb),
        defer_to=DeferTo(pb.defer_to or DeferTo.EXACT),
        subject=CapSubject(pb.subject or CapSubject.CONTACT),
    )  # fmt: skip


def _limit(pb: pb2.Cap) -> int | None:
    if not pb.HasField("limit"):
        return None
    is_volume = pb.subject == pb2.Cap.SUBJECT_ALL_CONTACTS
    limit_max = bounds.VOLUME_LIMIT_MAX if is_volume else bounds.CAP_LIMIT_MAX
    if not 0 <= pb.limit <= limit_max:
        raise OutOfRange(
            f"cap.limit must be 0 to {limit_max:,}"
            + ("" if is_volume else ", so that it is exact for every contact")
            + "; leave it out for no cap",
            field="cap.limit",
        )
    return pb.limit


def _unit(scope: int) -> CapUnit:
    return CapUnit.ORDER if scope == CapScope.PRODUCT else CapUnit.MESSAGE


def _check_volume(pb: pb2.Cap) -> None:
    """Refuse what a limit over all contacts cannot be told."""
    what = "with cap.subject SUBJECT_ALL_CONTACTS"
    if pb.scope == pb2.Cap.SCOPE_PRODUCT:
        raise InvalidField(
            f"cap.scope {what} is ACCOUNT, CHANNEL, PURPOSE, RULE or MEDIUM: products are counted for "
            "each contact",
            field="cap.scope",
        )
    if pb.unit not in (0, CapUnit.MESSAGE):
        raise InvalidField(f"cap.unit {what} is UNIT_MESSAGE; leave it out", field="cap.unit")
    if pb.on_cap not in (0, OnCap.DEFER):
        raise InvalidField(
            f"cap.on_cap {what} is ON_CAP_DEFER: what finds no room waits; leave it out",
            field="cap.on_cap",
        )
    _check_plain_deferral(pb, f"{what} is not to be set: what finds no room waits until it expires")


def _check_product(pb: pb2.Cap) -> None:
    """Refuse what a cap on products cannot be told."""
    what = "with cap.scope SCOPE_PRODUCT"
    if pb.unit not in (0, CapUnit.ORDER):
        raise InvalidField(
            f"cap.unit {what} is UNIT_ORDER: a reminder repeats its request; leave it out",
            field="cap.unit",
        )
    if pb.steps:
        raise InvalidField(
            f"cap.steps {what} is not to be set: a reminder asks about what its request did",
            field="cap.steps",
        )
    if any(purpose != types_pb2.PURPOSE_REVIEW for purpose in pb.purposes):
        raise InvalidField(
            f"cap.purposes {what} is REVIEW, or left out: only requests for reviews ask about products",
            field="cap.purposes",
        )
    if pb.on_cap:
        raise InvalidField(
            f"cap.on_cap {what} is not to be set: what was asked about is left out of the request",
            field="cap.on_cap",
        )
    _check_plain_deferral(pb, f"{what} is not to be set: nothing is deferred for a product")


def _check_plain_deferral(pb: pb2.Cap, why: str) -> None:
    if pb.HasField("longest_deferral"):
        raise InvalidField(f"cap.longest_deferral {why}", field="cap.longest_deferral")
    if pb.defer_to not in (0, DeferTo.EXACT):
        raise InvalidField(f"cap.defer_to {why}", field="cap.defer_to")


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
        defer_to=pb2.Cap.DeferTo.ValueType(cap.defer_to),
        subject=pb2.Cap.Subject.ValueType(cap.subject),
        etag=cap.etag,
        create_time=times.timestamp(cap.create_ms),
        update_time=times.timestamp(cap.update_ms),
    )
