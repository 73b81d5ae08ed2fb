"""When media may be used, and on which days not, between protobuf and the registry.

Decides: that a window says both of its ends, and that a medium has one entry.
Never: what a window means on a given day (`core/rules`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from afterword.googleapis.date_pb2 import Date
from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import types_pb2
from control.conversion import checks, times
from core.errors import InvalidField
from core.model import Medium
from core.registry.rule_parts import MediumHours, OnClosed, Window

WINDOWS_MAX = 32
CLOSED_DATES_MAX = 100


def hours_from_proto(found: Sequence[pb2.MediumHours], field: str) -> tuple[MediumHours, ...]:
    """Return when media may be used, one entry for each medium that has one."""
    entries: list[MediumHours] = []
    for index, pb in enumerate(found):
        path = f"{field}[{index}]"
        medium = Medium(
            checks.choice(pb.medium, f"{path}.medium", types_pb2.Medium, is_required=True)
        )
        if any(medium == other.medium for other in entries):
            raise InvalidField(
                f"{path}.medium is that of another entry; each medium has at most one",
                field=f"{path}.medium",
            )
        checks.choice(pb.on_closed, f"{path}.on_closed", pb2.MediumHours.OnClosed)
        entries.append(
            MediumHours(
                medium=medium,
                open=_windows(pb.open, f"{path}.open"),
                quiet=_windows(pb.quiet, f"{path}.quiet"),
                closed_on_holidays=pb.closed_on_holidays,
                on_closed=OnClosed(pb.on_closed or OnClosed.HOLD),
            )
        )
    return tuple(entries)


def _windows(found: Sequence[pb2.Window], field: str) -> tuple[Window, ...]:
    checks.count(len(found), field, WINDOWS_MAX, "windows")
    return tuple(_window(pb, f"{field}[{index}]") for index, pb in enumerate(found))


def _window(pb: pb2.Window, field: str) -> Window:
    if not pb.HasField("start"):
        checks.missing(f"{field}.start", "the first instant inside, for example 09:00")
    if not pb.HasField("end"):
        checks.missing(f"{field}.end", "the first instant outside, for example 20:00")
    for index, day in enumerate(pb.weekdays):
        checks.choice(day, f"{field}.weekdays[{index}]", types_pb2.Weekday, is_required=True)
    return Window(
        start_ms=times.time_of_day_ms(pb.start, f"{field}.start"),
        end_ms=times.time_of_day_ms(pb.end, f"{field}.end"),
        weekdays=tuple(sorted({int(day) for day in pb.weekdays})),
    )


def hours_to_proto(entries: Iterable[MediumHours]) -> list[pb2.MediumHours]:
    """Return when media may be used, as clients see it."""
    return [
        pb2.MediumHours(
            medium=types_pb2.Medium.ValueType(entry.medium),
            open=[_window_to_proto(window) for window in entry.open],
            quiet=[_window_to_proto(window) for window in entry.quiet],
            closed_on_holidays=entry.closed_on_holidays,
            on_closed=pb2.MediumHours.OnClosed.ValueType(entry.on_closed),
        )
        for entry in entries
    ]


def _window_to_proto(window: Window) -> pb2.Window:
    return pb2.Window(
        weekdays=[types_pb2.Weekday.ValueType(day) for day in window.weekdays],
        start=times.time_of_day(window.start_ms),
        end=times.time_of_day(window.end_ms),
    )


def dates_from_proto(found: Sequence[Date], field: str) -> tuple[str, ...]:
    """Return civil dates in order, each once."""
    checks.count(len(found), field, CLOSED_DATES_MAX, "dates")
    dates = {times.civil_date(date, f"{field}[{index}]") for index, date in enumerate(found)}
    return tuple(sorted(dates))


def dates_to_proto(dates: Iterable[str]) -> list[Date]:
    """Return civil dates as clients see them."""
    return [times.date(date) for date in dates]
