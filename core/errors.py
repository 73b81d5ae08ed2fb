"""Every error that core raises on purpose.

Decides: what went wrong, with a stable machine code that a client may switch on.
Never: a transport status; `control/error_table.py` maps each class to one.

User mistakes are errors, broken invariants are asserts, a refused cap is a value.
"""

from __future__ import annotations


class AfterwordError(Exception):
    """Base of all deliberate errors.

    Attributes:
        reason: stable code, the name of a value of `ErrorReason` in the API.
        field: path of the offending field in the request ("rule.steps[0].wait"), or "".
    """

    reason = "INTERNAL"

    def __init__(self, message: str, *, field: str = "", reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        if reason is not None:
            self.reason = reason


class InvalidField(AfterwordError):
    """A field holds what it may not hold; the message says what would be right."""

    reason = "FIELD_INVALID"


class OutOfRange(AfterwordError):
    """A number, time or size lies outside the published bounds."""

    reason = "FIELD_OUT_OF_RANGE"


class NotFound(AfterwordError):
    """The named resource does not exist in the caller's account."""

    reason = "RESOURCE_NOT_FOUND"


class AlreadyExists(AfterwordError):
    """The name or id is taken by something else."""

    reason = "RESOURCE_ALREADY_EXISTS"


class FailedPrecondition(AfterwordError):
    """The request is well formed, but the present state forbids it."""

    reason = "FAILED_PRECONDITION"


class RevisionConflict(AfterwordError):
    """The etag sent is not the resource's present etag: read again, then write."""

    reason = "ETAG_MISMATCH"


class LimitExceeded(AfterwordError):
    """A bound on size or number was reached; nothing was done."""

    reason = "LIMIT_EXCEEDED"


class PermissionDenied(AfterwordError):
    """The credential does not allow this, or the resource belongs to somebody else."""

    reason = "PERMISSION_DENIED"


class StoreUnavailable(AfterwordError):
    """The store did not answer; whether the operation took effect is unknown.

    Retry with the same operation id: every write of the store is idempotent under it.
    """

    reason = "STORE_UNAVAILABLE"


class OwnershipLost(AfterwordError):
    """Another owner holds the partition now; the caller's epoch is stale."""

    reason = "OWNERSHIP_LOST"


class StaleRegistry(AfterwordError):
    """The caller's registry snapshot is older than the partition demands (R13)."""

    reason = "STALE_REGISTRY"


class RenderingFailed(AfterwordError):
    """A message cannot be made from its template and event; sending it again would not help."""

    reason = "RENDERING_ERROR"


class ExpressionInvalid(AfterwordError):
    """A condition does not parse, does not type-check, or uses what is not supported.

    The message carries line, column and what would be right.
    """

    reason = "EXPRESSION_INVALID"


class EventIdReused(AfterwordError):
    """An event with this id and source, but another body, was accepted before."""

    reason = "EVENT_ID_REUSED"


class Conflict(AfterwordError):
    """Two writers met; reading again and repeating the call will do."""

    reason = "CONFLICT"
