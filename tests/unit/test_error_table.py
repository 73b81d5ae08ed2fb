"""Every error has a code, a stable reason and its details."""

from __future__ import annotations

import grpc
import pytest

from afterword.googleapis import error_details_pb2
from afterword.v1 import errors_pb2
from control import error_table
from control.error_table import CODES, public, status_of
from core import errors
from core.errors import AfterwordError

KINDS = sorted(
    {
        kind
        for kind in [*AfterwordError.__subclasses__()]
        if kind.__module__ in {"core.errors", "control.error_table"}
    },
    key=lambda kind: kind.__name__,
)
INSIDE = {errors.OwnershipLost, errors.StaleRegistry, errors.RenderingFailed}
"""What the engine settles by itself; outside it would be a bug."""


def test_every_error_has_a_code_or_stays_inside() -> None:
    assert set(KINDS) == set(CODES) | INSIDE


@pytest.mark.parametrize("kind", sorted(CODES, key=lambda kind: kind.__name__))
def test_every_reason_is_in_the_api(kind: type[AfterwordError]) -> None:
    reason = kind("what would be right").reason
    assert f"ERROR_REASON_{reason}" in errors_pb2.ErrorReason.keys()  # noqa: SIM118


def test_details_name_reason_and_field() -> None:
    error = errors.InvalidField("a colour", field="rule.colour", reason="FIELD_REQUIRED")
    status = status_of(error)
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.domain, info.reason) == ("afterword.v1", "FIELD_REQUIRED")
    assert [(one.field, one.description) for one in bad.field_violations] == [
        ("rule.colour", "a colour")
    ]


def test_details_stay_small() -> None:
    status = status_of(errors.InvalidField("x" * 100_000, field="rule"))
    assert status.ByteSize() < 4_096, "larger trailers lose the error they carry"


@pytest.mark.parametrize(
    "error", [KeyError("maria@example.com"), errors.OwnershipLost("p7"), AfterwordError("base")]
)
def test_what_is_unexpected_tells_nothing(error: Exception) -> None:
    told = public(error)
    assert (told.reason, told.message) == ("INTERNAL", "internal error")
    assert status_of(told).code == grpc.StatusCode.INTERNAL.value[0]


def test_the_log_has_the_place_but_not_the_text(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("maria@example.com")
    except ValueError as error:
        error_table.log_unexpected(error, "/afterword.v1.EventService/Publish")
    assert "ValueError at test_the_log_has_the_place" in caplog.text
    assert "maria" not in caplog.text
