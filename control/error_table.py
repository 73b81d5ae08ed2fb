"""The one place where an error becomes a status.

Decides: which gRPC code each class of error has, and how its details travel: a google.rpc.Status with
exactly one ErrorInfo and, where a field is to blame, a BadRequest.
Never: tells what is inside: an unexpected exception becomes INTERNAL without its text, and the log
gets its type and place only, because its text may be somebody's address.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyPb

from afterword.googleapis import error_details_pb2, status_pb2
from core import errors
from core.errors import AfterwordError

_LOG = logging.getLogger(__name__)

DOMAIN: Final = "afterword.v1"
MESSAGE_CHARS_MAX: Final = 1_000
"""Messages travel in the trailing metadata, where what is too long is lost with everything else."""
DETAILS_KEY: Final = "grpc-status-details-bin"


class Unauthenticated(AfterwordError):
    """No valid credential."""

    reason = "UNAUTHENTICATED"


class NotServing(AfterwordError):
    """The daemon is starting or draining; repeating the call is safe."""

    reason = "NOT_SERVING"


class Internal(AfterwordError):
    """Something that should not happen; nothing about it is told."""

    reason = "INTERNAL"


CODES: Final[dict[type[AfterwordError], grpc.StatusCode]] = {
    errors.InvalidField: grpc.StatusCode.INVALID_ARGUMENT,
    errors.OutOfRange: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ExpressionInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.EventIdReused: grpc.StatusCode.ALREADY_EXISTS,
    errors.RevisionConflict: grpc.StatusCode.ABORTED,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.LimitExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    NotServing: grpc.StatusCode.UNAVAILABLE,
    Internal: grpc.StatusCode.INTERNAL,
}
"""Class of error -> code. One that is not here never leaves the engine on purpose: INTERNAL."""


def public(error: BaseException) -> AfterwordError:
    """Return the error as clients may see it."""
    if isinstance(error, AfterwordError) and type(error) in CODES:
        return error
    return Internal("internal error")


def status_of(error: AfterwordError) -> status_pb2.Status:
    """Return an error with its details."""
    message = error.message[:MESSAGE_CHARS_MAX]
    status = status_pb2.Status(code=CODES[type(error)].value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    status.details.append(_packed(info))
    if error.field and CODES[type(error)] is not grpc.StatusCode.NOT_FOUND:
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field=error.field, description=message)
        status.details.append(_packed(bad))
    return status


def _packed(detail: Any) -> AnyPb:
    packed = AnyPb()
    packed.Pack(detail)
    return packed


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: AfterwordError) -> NoReturn:
    """End a call with an error."""
    status = status_of(error)
    await context.abort(
        CODES[type(error)],
        status.message,
        trailing_metadata=((DETAILS_KEY, status.SerializeToString()),),
    )


def log_unexpected(error: BaseException, where: str) -> None:
    """Note an unexpected exception: its type and place, not its text, nor values."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-6:]))
    _LOG.error("%s failed: %s at %s", where, type(error).__name__, places)
