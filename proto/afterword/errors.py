"""What went wrong with a call, in one value.

Decides: how the error details of `google.rpc` travel (in the trailing metadata, under
`grpc-status-details-bin`) and how they read.
Never: whether to repeat a call; `reason` tells, see `errors.proto`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import grpc

from afterword.googleapis import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


@dataclasses.dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request that is to blame.

    Attributes:
        field: path in the request, for example "rule.steps[0].wait".
        description: what would be right.
    """

    field: str
    description: str


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorDetails:
    """Why a call was refused.

    Attributes:
        code: the gRPC status code.
        message: for people; its wording may change.
        reason: stable, a value of `afterword.v1.ErrorReason` without its prefix, for example
            "EVENT_ID_REUSED"; "" if the error did not come from Afterword (a broken connection, a
            deadline).
        metadata: further facts under stable names.
        field_violations: the fields to blame, in the order of the request.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    field_violations: tuple[FieldViolation, ...] = ()


def details(error: grpc.RpcError) -> ErrorDetails:
    """Return what an error of a call says.

    Args:
        error: as raised by a stub of `grpc` or `grpc.aio`.

    Returns:
        Code and message at least; the rest as far as the server told it.

    Raises:
        TypeError: if `error` carries no status at all, so was not raised by a call.
    """
    if not isinstance(error, (grpc.Call, grpc.aio.AioRpcError)):
        raise TypeError(f"not the error of a call: {error!r}")
    code, message = error.code(), error.details() or ""
    status = _status(error)
    if status is None:
        return ErrorDetails(code=code, message=message)
    reason, metadata, violations = "", {}, []
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(request):
            violations += [
                FieldViolation(field=violation.field, description=violation.description)
                for violation in request.field_violations
            ]
    return ErrorDetails(code, message, reason, metadata, tuple(violations))


def _status(error: grpc.Call | grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """Return the status with details, or `None` if the server sent none."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return None
