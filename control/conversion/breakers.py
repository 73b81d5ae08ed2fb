"""Complaint breakers of channels between protobuf and the registry."""

from __future__ import annotations

from collections.abc import Iterable

from afterword.v1 import channel_service_pb2 as pb2
from control.conversion import times
from control.conversion.steps import medium_to_proto
from core.errors import OutOfRange
from core.model import Medium
from core.registry.breakers import (
    MILLION,
    MIN_COMPLAINTS_MAX,
    THRESHOLD_MIN_PPM,
    WINDOW_DAYS_MAX,
    Breaker,
    BreakerSettings,
)

_DEFAULTS = BreakerSettings()


def settings_from_proto(pb: pb2.Channel) -> BreakerSettings:
    """Return when complaints hold a channel back; what is not set has its default."""
    if not pb.HasField("complaint_breaker"):
        return _DEFAULTS
    given, field = pb.complaint_breaker, "channel.complaint_breaker"
    if given.threshold and not THRESHOLD_MIN_PPM / MILLION <= given.threshold <= 1:
        raise OutOfRange(
            f"{field}.threshold must be a share from 0.0001 to 1, or 0 for "
            f"{_DEFAULTS.threshold_ppm / MILLION:g}",
            field=f"{field}.threshold",
        )
    return BreakerSettings(
        is_off=given.disabled,
        threshold_ppm=round(given.threshold * MILLION) or _DEFAULTS.threshold_ppm,
        min_complaints=_number(
            given.min_complaints, f"{field}.min_complaints", MIN_COMPLAINTS_MAX,
            _DEFAULTS.min_complaints,
        ),
        window_days=_number(
            given.window_days, f"{field}.window_days", WINDOW_DAYS_MAX, _DEFAULTS.window_days
        ),
    )  # fmt: skip


def _number(value: int, field: str, most: int, default: int) -> int:
    if not 0 <= value <= most:
        raise OutOfRange(f"{field} must be 1 to {most:,}, or 0 for {default}", field=field)
    return value or default


def settings_to_proto(settings: BreakerSettings) -> pb2.ComplaintBreaker | None:
    """Return the settings as clients see them, None for the defaults."""
    if settings == _DEFAULTS:
        return None
    return pb2.ComplaintBreaker(
        disabled=settings.is_off,
        threshold=settings.threshold_ppm / MILLION,
        min_complaints=settings.min_complaints,
        window_days=settings.window_days,
    )


def tripped_to_proto(breakers: Iterable[Breaker]) -> list[pb2.TrippedBreaker]:
    """Return what is held back."""
    return [
        pb2.TrippedBreaker(
            medium=medium_to_proto(one.medium),
            trip_time=times.timestamp(one.trip_ms),
            sent_count=one.sent_count,
            complaint_count=one.complaint_count,
            rate=one.rate,
            message=(
                f"{one.complaint_count:,} of {one.sent_count:,} messages sent over "
                f"{Medium(one.medium).name} were called unwanted ({one.rate:.2%}). Requests for "
                "reviews and advertising over it wait, and expire in their time. Find out why, then "
                "call ResetComplaintBreaker."
            ),
        )
        for one in breakers
    ]
