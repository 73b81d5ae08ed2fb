"""What went wrong, in one line a person can act on, and the exit code that goes with it.

Exit codes: 0 it is done, 1 the daemon refused or cannot be reached, 2 the command line is wrong.
"""

from __future__ import annotations

import sys

import grpc

from afterword import errors

OK, FAILED, USAGE = 0, 1, 2


def explain_error(error: grpc.RpcError, address: str) -> str:
    """Return one line, or one for each field to blame."""
    problem = errors.details(error)
    if problem.field_violations:
        return "\n".join(_blame(violation) for violation in problem.field_violations)
    if problem.reason:
        return problem.message
    if problem.code is grpc.StatusCode.UNAVAILABLE:
        return f"nothing answers at {address}; start the daemon with: make run"
    if problem.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"{address} did not answer in time"
    if problem.code is grpc.StatusCode.UNIMPLEMENTED:
        return f"{address} answers, but does not know this call: another version, or not Afterword"
    return f"{problem.code.name}: {problem.message}"


def _blame(violation: errors.FieldViolation) -> str:
    """Return the field and what would be right, the field once."""
    described, field = violation.description, violation.field
    if described.startswith(field) or f"{field}: " in described:
        return described
    return f"{field}: {described}"


def report(text: str) -> None:
    """Print a problem to standard error."""
    for line in text.splitlines() or [""]:
        print(f"afterword: {line}", file=sys.stderr)
